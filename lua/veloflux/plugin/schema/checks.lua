--- Entity checks in the schema of a plugin: rules over several fields, as their author wrote them.
local author = require "veloflux.plugin.author"
local entity_checks = require "veloflux.model.entity_checks"

local M = {}

local function wrap_check(name, argument)
  if name ~= "custom_entity_check" or type(argument.fn) ~= "function" then return argument end
  local judge = author.guarded("custom_entity_check", argument.fn)
  return { field_sources = argument.field_sources, fn = function(record)
    return judge(author.plain(getmetatable(record).compiled, record))
  end }
end

--- Collects the names of fields that a check speaks of.
local function fields_of_check(argument)
  local names = {}
  local function add(list)
    for _, name in ipairs(type(list) == "table" and list or {}) do names[#names + 1] = name end
  end
  add(argument)
  add(argument.field_sources)
  add(argument.then_at_least_one_of)
  add(argument.else_then_at_least_one_of)
  add(argument.set1)
  add(argument.set2)
  add { argument.if_field }
  if argument.if_field then add { argument.then_field } end
  return names
end

local function has_field(own, path)
  for step in tostring(path):gmatch "[^.]+" do
    own = own and own.by_name and own.by_name[step]
    if not own then return false end
  end
  return true
end

local function check_names(own, argument, note)
  for _, name in ipairs(fields_of_check(argument)) do
    if not has_field(own, name) then note(("there is no field %s"):format(tostring(name))) end
  end
end

--- Reads the checks of a record.
-- @param own definition of the record, with by_name
-- @param checks list of { name = argument } as the author wrote it, or nil
-- @param note function(suffix, message): what is wrong, and where below the list
-- @return a list for model/entity_checks.lua
function M.read(own, checks, note)
  local good = {}
  for _, single in ipairs(type(checks) == "table" and checks or {}) do
    local name, argument = nil, nil
    if type(single) == "table" then name, argument = next(single) end
    if type(name) ~= "string" or not entity_checks.is_known(name) then
      note("", ("unknown entity check %s"):format(tostring(name)))
    elseif type(argument) ~= "table" then
      note("." .. name, "expected a table")
    else
      check_names(own, argument, function(message) note("." .. name, message) end)
      table.insert(good, { [name] = wrap_check(name, argument) })
    end
  end
  return good
end

return M
