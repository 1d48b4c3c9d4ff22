--- Addresses: HOST:PORT, [v6]:PORT and :PORT, and networks in CIDR notation.
-- IP addresses are kept as the bytes that the snapshot holds: network order, IPv4 in four.
local ffi = require "ffi"

ffi.cdef [[
int vf_ip_parse(const char *text, size_t len, uint8_t ip[16]);
]]
local C = ffi.C

local M = { NONE = 0, IPV4 = 1, IPV6 = 2 } -- enum vf_snap_family
local BYTES = { [M.IPV4] = 4, [M.IPV6] = 16 }
local ip_bytes = ffi.new "uint8_t[16]"

--- Reads an IP address.
-- @return its family and its bytes as a string; or M.NONE
local function parse_ip(text)
  local family = C.vf_ip_parse(text, #text, ip_bytes)
  return family, family ~= M.NONE and ffi.string(ip_bytes, BYTES[family]) or nil
end

local function parse_port(digits, lowest)
  local port = #digits <= 5 and tonumber(digits)
  return port and port >= lowest and port <= 65535 and port or nil
end

--- Returns true for a registered name as backends have it (RFC 1123 section 2.1; underscores too).
local function is_name(host)
  if #host > 253 or host:find("..", 1, true) or host:find "^%." then return false end
  if host:find "^[%d.]+$" then return false end -- a malformed IPv4 address
  for label in host:gmatch "[^.]+" do
    if #label > 63 or not label:find "^[%w_-]+$" or label:find "^%-" or label:find "%-$" then return false end
  end
  return host ~= ""
end

local function split(text)
  local host, digits = text:match "^%[([%x:.]+)%]:(%d+)$"
  if host then return host, digits, true end
  host, digits = text:match "^([^%[%]:]*):(%d+)$"
  return host, digits, false
end

--- Reads HOST:PORT.
-- @param listen true: an IP address (or localhost, or nothing: every IPv4 address), port 0 allowed
-- @return {text, host, port, family, ip}, or nil and perhaps a message
function M.parse(text, listen)
  local scheme, rest = text:match "^(%a+)://([^/]*)"
  if scheme then return nil, ("expected HOST:PORT, got a URL: write %s"):format(rest) end
  local host, digits, is_bracketed = split(text)
  if not host then
    if not text:find ":" and text ~= "" then
      return nil, ("expected HOST:PORT, got no port in %q"):format(text)
    end
    return nil
  end
  local port = parse_port(digits, listen and 0 or 1)
  if not port then
    return nil, ("expected a port between %d and 65535, got %s"):format(listen and 0 or 1, digits:sub(1, 20))
  end
  local lookup = host
  if listen and host == "" then lookup = "0.0.0.0" end
  if listen and host == "localhost" then lookup = "127.0.0.1" end
  local family, ip = parse_ip(lookup)
  if is_bracketed and family ~= M.IPV6 then return nil end
  if family == M.NONE and (listen or not is_name(host)) then return nil end
  return { text = text, host = lookup:lower(), port = port, family = family, ip = ip }
end

--- Returns the first address of the network that an address is in.
local function first_of(ip, bits)
  local first = {}
  for i = 1, #ip do
    local kept = math.max(0, math.min(8, bits - (i - 1) * 8))
    first[i] = string.char(ip:byte(i) - ip:byte(i) % 2 ^ (8 - kept))
  end
  return table.concat(first)
end

--- Reads a network: ADDRESS/BITS, or one address.
-- @param is_exact true: the address has to be the first of the network; else any of its addresses stands for it
-- @return {text, family, ip, bits}, or nil and perhaps a message
function M.parse_network(text, is_exact)
  local host, digits = text:match "^([%x:.]+)/(%d+)$"
  host = host or text
  local family, ip = parse_ip(host)
  if family == M.NONE then return nil end
  local bits = digits and tonumber(digits) or #ip * 8
  if bits > #ip * 8 then
    return nil, ("expected at most %d bits behind the slash, got %s"):format(#ip * 8, digits:sub(1, 20))
  end
  local first = first_of(ip, bits)
  if is_exact and first ~= ip then
    return nil, ("%s is not the first address of the network"):format(host)
  end
  return { text = text, family = family, ip = first, bits = bits }
end

--- Returns true for an address that only this machine reaches.
function M.is_loopback(value)
  if value.family == M.IPV4 then return value.ip:byte(1) == 127 end
  return value.family == M.IPV6 and value.ip == ("\0"):rep(15) .. "\1"
end

--- Returns true for the address that stands for every one.
function M.is_any(value)
  return value.ip ~= nil and value.ip == ("\0"):rep(#value.ip)
end

return M
