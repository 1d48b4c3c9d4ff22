--- Steps on the members of a JSON object.
local pdk = require "veloflux.pdk"

local M = {}

local EXACT = { exact = true } -- long integers stay what they are
local TAKE = {}

function TAKE.remove(object, name) object[name] = nil end

function TAKE.rename(object, name, new_name)
  local value = object[name]
  if value == nil then return end
  object[name] = nil
  object[new_name] = value
end

function TAKE.replace(object, name, value)
  if object[name] ~= nil then object[name] = value end
end

function TAKE.add(object, name, value)
  if object[name] == nil then object[name] = value end
end

--- What is no array yet becomes one.
function TAKE.append(object, name, value)
  local present = object[name]
  local list = pdk.json.is_array(present) and present or pdk.json.array { present }
  list[#list + 1] = value
  object[name] = list
end

--- Takes the steps on a text.
-- @return the new text; or nil and why it is left as it is
function M.transform(text, steps)
  local object, problem = pdk.json.decode(text, EXACT)
  if object == nil then return nil, problem end
  if type(object) ~= "table" or pdk.json.is_array(object) then return nil, "it is no object" end
  for _, step in ipairs(steps) do TAKE[step.operation](object, step.name, step.value) end
  return pdk.json.encode(object)
end

return M
