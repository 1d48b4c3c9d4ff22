--- What every call on a shared dictionary (pdk/shared.lua) begins with: which dictionary, which keys, good arguments.
local area = require "veloflux.runtime.area"

local LONGEST_S = 1e9 -- some 30 years
local LARGEST = 2 ^ 53 -- up to which a Lua number counts one by one

--- DICT: what getmetatable says of a dictionary; its methods serve all plugins.
local M = { DICT = {} }

--- Opens the dictionary.
-- @return struct vf_dict *, or nil, message, code
local function open(self, name, level)
  if type(self) ~= "table" or getmetatable(self) ~= M.DICT then
    error(("%s is called with a colon: pdk.%s(...)"):format(name, (name:gsub("%.", ":"))), level + 1)
  end
  local c, err, code = area.dict(self.name, self.bytes)
  self.c = c
  return c, err, code
end

--- Begins a call on one key, which is left in area.KEY.
-- @param level where errors belong, 1 being the caller
-- @return struct vf_dict * and the length of the key, or nil, message, code
function M.begin(self, key, name, level)
  local c, err, code = self.c
  if not c then
    c, err, code = open(self, name, level + 1)
    if not c then return nil, err, code end
  end
  return c, area.put(0, self.is_common and area.COMMON or area.prefix(name, level + 1), key, name, level + 1)
end

--- The same for all keys: returns what they begin with.
function M.begin_all(self, name, level)
  local c, err, code = self.c
  if not c then
    c, err, code = open(self, name, level + 1)
    if not c then return nil, err, code end
  end
  return c, self.is_common and area.COMMON or area.prefix(name, level + 1)
end

--- Returns a time to live in nanoseconds; 0: for ever.
-- @param level where errors belong, 1 being the caller
function M.nanoseconds(ttl, name, level)
  if ttl == nil or ttl == 0 then return 0 end
  if type(ttl) ~= "number" or not (ttl > 0 and ttl <= LONGEST_S) then
    error(("%s: expected a time to live in seconds, 0 for ever, got %s"):format(name, tostring(ttl)), level + 1)
  end
  return math.max(ttl * 1e9, 1)
end

--- Returns a whole number from 0 on, or raises where its caller was called.
function M.whole(n, what, name)
  if type(n) ~= "number" or not (n >= 0 and n <= LARGEST) or n % 1 ~= 0 then
    error(("%s: %s: expected a whole number from 0 on, got %s"):format(name, what, tostring(n)), 3)
  end
  return n
end

return M
