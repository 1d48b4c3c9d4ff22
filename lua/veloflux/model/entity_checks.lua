--- Checks of several fields of a record, under the names that Kong's schemas give them. A field may be
-- one of a record inside: "redis.host".
--
-- A check is a function(record) -> true, or nil, a message and the field at fault.
local rules = require "veloflux.model.rules"
local suggest = require "veloflux.model.suggest"

local M = {}

--- The key under which a record keeps, while it is read, which fields were given but are wrong.
M.FAILED = {}
local FAILED = M.FAILED

--- Says whether a field of a record was wrong.
function M.has_failed(record) return rawget(record, FAILED) ~= nil end

local function split(path) return path:match "^([^.]+)%.(.+)$" end

local function is_given(record, name)
  if rawget(record, name) ~= nil then return true end
  local failed = rawget(record, FAILED)
  return failed ~= nil and failed[name] == true
end

local function is_given_deep(record, path)
  local head, rest = split(path)
  if not head then return is_given(record, path) end
  local inner = rawget(record, head)
  if type(inner) == "table" then return is_given_deep(inner, rest) end
  return inner == nil and is_given(record, head)
end

--- Paths are rare and cost time, so they have a function of their own.
local function givenness(names)
  for _, name in ipairs(names) do
    if name:find(".", 1, true) then return is_given_deep end
  end
  return is_given
end

local function value_of(record, path)
  local head, rest = split(path)
  if not head then return record[path] end
  local inner = record[head]
  if type(inner) == "table" then return value_of(inner, rest) end
end

--- Returns the first two of `names` that were given, nil when there are fewer.
local function given(record, names, test)
  local first
  for i = 1, #names do
    if test(record, names[i]) then
      if first then return first, names[i] end
      first = names[i]
    end
  end
  return first
end

local function has_value(record, names)
  for i = 1, #names do
    if value_of(record, names[i]) ~= nil then return true end
  end
  return false
end

--- A condition cannot be judged while a field that it is about is wrong.
local function is_failed(record, path)
  local failed = rawget(record, FAILED)
  return failed and failed[split(path) or path]
end

local CHECKS = {}

function CHECKS.mutually_exclusive(names)
  local test = givenness(names)
  return function(record)
    local first, second = given(record, names, test)
    if not second then return true end
    return nil, ("cannot be given together with %s"):format(first), second
  end
end

--- { set1, set2 }: no field of one together with a field of the other.
function CHECKS.mutually_exclusive_sets(rule)
  local first_test, second_test = givenness(rule.set1 or {}), givenness(rule.set2 or {})
  local function find(record, names, test)
    for _, name in ipairs(names or {}) do
      if test(record, name) then return name end
    end
  end
  return function(record)
    local first, second = find(record, rule.set1, first_test), find(record, rule.set2, second_test)
    if not first or not second then return true end
    return nil, ("cannot be given together with %s"):format(first), second
  end
end

function CHECKS.at_least_one_of(names)
  local test = givenness(names)
  return function(record)
    if given(record, names, test) or has_value(record, names) then return true end
    return nil, ("one of %s is required"):format(suggest.either(names))
  end
end

function CHECKS.only_one_of(names)
  local test, exclusive = givenness(names), CHECKS.mutually_exclusive(names)
  return function(record)
    if given(record, names, test) then return exclusive(record) end
    return nil, ("one of %s is required"):format(suggest.either(names))
  end
end

function CHECKS.mutually_required(names)
  local test = givenness(names)
  return function(record)
    if not given(record, names, test) then return true end
    for i = 1, #names do
      if not test(record, names[i]) and value_of(record, names[i]) == nil then
        return nil, ("required: %s go together"):format(table.concat(names, ", ")), names[i]
      end
    end
    return true
  end
end

function CHECKS.distinct(names)
  return function(record)
    local seen = {}
    for i = 1, #names do
      local value = value_of(record, names[i])
      if value ~= nil and seen[value] then
        return nil, ("expected another value than that of %s"):format(seen[value]), names[i]
      end
      if value ~= nil then seen[value] = names[i] end
    end
    return true
  end
end

--- { if_field, if_match, then_field, then_match, then_err }
function CHECKS.conditional(rule)
  local if_match, then_match = rules.all(rule.if_match or {}), rules.all(rule.then_match or {})
  return function(record)
    if is_failed(record, rule.if_field) or is_failed(record, rule.then_field) then return true end
    local value = value_of(record, rule.if_field)
    if value == nil or not if_match(value) then return true end
    local ok, message = then_match(value_of(record, rule.then_field))
    if ok then return true end
    return nil, rule.then_err or ("%s, as %s is %s"):format(message, rule.if_field, tostring(value)), rule.then_field
  end
end

--- { if_field, if_match, then_at_least_one_of, then_err, else_match, else_then_at_least_one_of, else_then_err }
function CHECKS.conditional_at_least_one_of(rule)
  local if_match, else_match = rules.all(rule.if_match or {}), rule.else_match and rules.all(rule.else_match)
  local function check(record, names, err)
    if has_value(record, names) then return true end
    for _, name in ipairs(names) do
      if is_failed(record, name) then return true end
    end
    return nil, err or ("one of %s is required, as %s is %s"):format(suggest.either(names), rule.if_field,
      tostring(value_of(record, rule.if_field)))
  end
  return function(record)
    local value = value_of(record, rule.if_field)
    if value == nil or is_failed(record, rule.if_field) then return true end
    if if_match(value) then return check(record, rule.then_at_least_one_of, rule.then_err) end
    if not else_match or not else_match(value) then return true end
    return check(record, rule.else_then_at_least_one_of, rule.else_then_err)
  end
end

--- { field_sources, fn }: fn(record) judges when the sources are not wrong already.
function CHECKS.custom_entity_check(rule)
  return function(record)
    for _, name in ipairs(rule.field_sources or {}) do
      if is_failed(record, name) then return true end
    end
    return rule.fn(record)
  end
end

--- A validator may rely on the fields, so it is not asked about a record with wrong ones.
local function custom(validate)
  return function(record)
    if rawget(record, FAILED) then return true end
    return validate(record)
  end
end

--- Says whether there is a check called `name`.
function M.is_known(name) return CHECKS[name] ~= nil end

--- Compiles the checks of a record's definition.
-- @return list of {name, function}
function M.compile(attr)
  local checks = {}
  for _, single in ipairs(attr.entity_checks or {}) do
    local name, argument = next(single)
    if not CHECKS[name] then error(("unknown entity check %s"):format(tostring(name)), 0) end
    checks[#checks + 1] = { name, CHECKS[name](argument) }
  end
  if attr.custom_validator then checks[#checks + 1] = { "custom_validator", custom(attr.custom_validator) } end
  return checks
end

return M
