--- Sets of networks: whether an address is in one of many. The networks of each family become disjoint
-- ranges in order, held as plain bytes; a look-up is a binary search, 14 steps for 10,000 of them.
local ffi = require "ffi"
local address = require "veloflux.model.address"

ffi.cdef [[ int memcmp(const void *a, const void *b, size_t n); ]]
local C = ffi.C

local M = {}

local Set = {}
Set.__index = Set
Set.__metatable = false -- its methods serve all plugins

local IPV4, IPV6 = address.IPV4, address.IPV6
local MAPPED = ("\0"):rep(10) .. "\255\255" -- IPv4 addresses within IPv6 (RFC 4291 section 2.5.5.2)
local bytes = ffi.new "uint8_t[16]"

--- Returns the last address of a network.
local function last_of(first, bits)
  local last = {}
  for i = 1, #first do
    local free = 8 - math.max(0, math.min(8, bits - (i - 1) * 8)) -- bits of this byte that may be anything
    last[i] = string.char(first:byte(i) + 2 ^ free - 1)
  end
  return table.concat(last)
end

local function range_of(text)
  local network, problem = address.parse_network(text)
  if not network then
    return nil, ("%s: %s"):format(tostring(text), problem or "expected an IP address or a network like 10.0.0.0/8")
  end
  local first, bits = network.ip, network.bits
  if #first == 16 and bits >= 96 and first:sub(1, 12) == MAPPED then first, bits = first:sub(13), bits - 96 end
  return { first = first, last = last_of(first, bits) }
end

--- Joins ranges that overlap.
local function disjoint(ranges)
  table.sort(ranges, function(a, b) return a.first < b.first end)
  local joined = {}
  for _, range in ipairs(ranges) do
    local before = joined[#joined]
    if not before or before.last < range.first then
      joined[#joined + 1] = range
    elseif before.last < range.last then
      before.last = range.last
    end
  end
  return joined
end

local function family_of(ranges, width)
  ranges = disjoint(ranges)
  local family = { n = #ranges, width = width, firsts = ffi.new("uint8_t[?]", #ranges * width + 1),
    lasts = ffi.new("uint8_t[?]", #ranges * width + 1) }
  for i, range in ipairs(ranges) do
    ffi.copy(family.firsts + (i - 1) * width, range.first, width)
    ffi.copy(family.lasts + (i - 1) * width, range.last, width)
  end
  return family
end

--- Makes a set.
-- @param list of texts: addresses and networks of both families, in any order; they may overlap
-- @return a set; or nil and a message that names the first that is none
function M.new(list)
  local v4, v6 = {}, {}
  for _, text in ipairs(list) do
    local range, problem = range_of(text)
    if not range then return nil, problem end
    local family = #range.first == 4 and v4 or v6
    family[#family + 1] = range
  end
  return setmetatable({ v4 = family_of(v4, 4), v6 = family_of(v6, 16) }, Set)
end

--- Says whether the range that begins last before an address reaches it.
local function is_within(family, ip)
  local width, low, high = family.width, 0, family.n -- firsts[low - 1] <= ip < firsts[high]
  while low < high do
    local middle = math.floor((low + high) / 2)
    if C.memcmp(family.firsts + middle * width, ip, width) <= 0 then low = middle + 1 else high = middle end
  end
  return low > 0 and C.memcmp(family.lasts + (low - 1) * width, ip, width) >= 0
end

--- Says whether an address is in the set; one of IPv4 within IPv6 (::ffff:10.0.0.1) counts as IPv4.
---@param text string an IP address
---@return boolean|nil is_in nil when it is no address
function Set:has(text)
  local family = C.vf_ip_parse(text, #text, bytes)
  if family == IPV4 then return is_within(self.v4, bytes) end
  if family ~= IPV6 then return nil end
  if C.memcmp(bytes, MAPPED, 12) == 0 then return is_within(self.v4, bytes + 12) end
  return is_within(self.v6, bytes)
end

return M
