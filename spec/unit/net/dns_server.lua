--- A DNS server on loopback for specs: answers from a table, UDP only (RFC 1035 section 4.1).
local uv = require "luv"

local M = {}
local Server = {}
Server.__index = Server

local TYPES = { [1] = "A", [28] = "AAAA" }

local function u16(n) return string.char(math.floor(n / 256) % 256, n % 256) end
local function u32(n) return u16(math.floor(n / 65536)) .. u16(n % 65536) end

local function read_question(packet)
  local labels, at = {}, 13
  while packet:byte(at) ~= 0 do
    local len = packet:byte(at)
    labels[#labels + 1] = packet:sub(at + 1, at + len)
    at = at + len + 1
  end
  local kind = packet:byte(at + 1) * 256 + packet:byte(at + 2)
  return table.concat(labels, "."):lower(), TYPES[kind], packet:sub(13, at + 4)
end

local function address_bytes(text)
  if text:find(":", 1, true) then -- only addresses like ::1 and fd00::1
    local head, tail = text:match "^(.-)::(%x*)$"
    local bytes = head == "" and "" or u16(tonumber(head, 16))
    return bytes .. ("\0"):rep(14 - #bytes) .. u16(tonumber(tail, 16))
  end
  return (text:gsub("(%d+)%.?", function(n) return string.char(tonumber(n)) end))
end

local function answer(self, packet)
  local name, kind, question = read_question(packet)
  local entry = self.zone[name]
  self.queries[#self.queries + 1] = name .. " " .. tostring(kind)
  if self.silent then return end
  local rcode = entry == nil and 3 or entry.rcode or 0
  local records, n = {}, 0
  for _, text in ipairs(entry and kind and entry[kind] or {}) do
    local bytes = address_bytes(text)
    n = n + 1
    records[n] = "\192\12" .. u16(kind == "A" and 1 or 28) .. u16(1) .. u32(entry.ttl or 60) .. u16(#bytes) .. bytes
  end
  return packet:sub(1, 2) .. u16(0x8180 + rcode) .. u16(1) .. u16(n) .. u16(0) .. u16(0) .. question
    .. table.concat(records)
end

--- Starts a server. `zone` maps lower-case names to { A = {...}, AAAA = {...}, ttl = seconds, rcode = number }; it may
--- be changed at any time. `server.queries` lists what was asked; `server.silent` makes it say nothing; a list at
-- `server.held` takes its answers until `release`.
function M.start(zone)
  local self = setmetatable({ zone = zone, queries = {}, socket = uv.new_udp() }, Server)
  self.socket:bind("127.0.0.1", 0)
  self.address = "127.0.0.1:" .. self.socket:getsockname().port
  self.socket:recv_start(function(err, packet, from)
    if err or not packet then return end
    local reply = answer(self, packet)
    if reply and self.held then
      table.insert(self.held, { reply, from.ip, from.port })
    elseif reply then
      self.socket:send(reply, from.ip, from.port)
    end
  end)
  return self
end

--- Sends the answers that were held.
function Server:release()
  for _, reply in ipairs(self.held) do self.socket:send(unpack(reply)) end
  self.held = nil
end

--- How often `name` was asked for.
function Server:count(name)
  local n = 0
  for _, query in ipairs(self.queries) do
    if query:match "^%S+" == name then n = n + 1 end
  end
  return n
end

function Server:close()
  self.socket:close()
  uv.run "nowait"
end

return M
