--- The members of a JSON object. Values that are put in are texts.
local pdk = require "veloflux.pdk"

local M = {}

local EXACT = { exact = true } -- long integers stay what they are
local Members = {}
Members.__index = Members

--- Reads a body; an empty one is an empty object.
-- @return an object with the functions of list.lua; nil when the body is no JSON object
function M.parse(body)
  local object = body == "" and {} or pdk.json.decode(body, EXACT)
  if type(object) ~= "table" or pdk.json.is_array(object) then return nil end
  return setmetatable({ object = object, is_changed = false }, Members)
end

--- Writes the body.
function M.format(members) return (pdk.json.encode(members.object)) end

local function put(members, name, value)
  members.object[name], members.is_changed = value, true
end

function Members:remove(name)
  if self.object[name] ~= nil then put(self, name, nil) end
end

function Members:rename(name, new_name)
  local value = self.object[name]
  if value == nil or name == new_name then return end
  put(self, name, nil)
  put(self, new_name, value)
end

function Members:replace(name, value)
  if self.object[name] ~= nil then put(self, name, value) end
end

function Members:add(name, value)
  if self.object[name] == nil then put(self, name, value) end
end

--- What is no array yet becomes one.
function Members:append(name, value)
  local present = self.object[name]
  local list = pdk.json.is_array(present) and present or pdk.json.array { present }
  list[#list + 1] = value
  put(self, name, list)
end

return M
