--- Rules for single values beyond a type's own bounds, under the names that Kong's schemas give them.
-- A rule is a function(argument) -> function(value) -> true, or nil and a message. Whatever a rule
-- cannot judge (a length of a number) it refuses.
local reader = require "veloflux.model.reader"
local suggest = require "veloflux.model.suggest"
local pattern = require "veloflux.model.pattern"

local M = {}

local UUID = "^" .. ("%x"):rep(8) .. (("%-" .. ("%x"):rep(4)):rep(3)) .. "%-" .. ("%x"):rep(12) .. "$"

local function shown(value)
  return type(value) == "string" and reader.quote(value) or tostring(value)
end

local function shown_list(list)
  local words = {}
  for i, value in ipairs(list) do words[i] = shown(value) end
  return suggest.either(words)
end

local function has(list, value)
  for _, other in ipairs(list) do
    if other == value then return true end
  end
  return false
end

local function rule(holds, says)
  return function(argument)
    return function(value)
      if holds(value, argument) then return true end
      return nil, says(argument, value)
    end
  end
end

local function matches(value, text) return type(value) == "string" and value:find(text) ~= nil end

--- Rules about a text and a list of {pattern, not_match, err}.
local function of_patterns(judge)
  return function(list)
    return function(value)
      for _, entry in ipairs(list) do
        local ok, message = judge(matches(value, entry.pattern), entry, value)
        if not ok then return nil, message end
      end
      return true
    end
  end
end

local function refused(entry, value) return entry.err or ("is not allowed: %s"):format(shown(value)) end

local RULES = {
  eq = rule(function(value, wanted) return value == wanted end,
    function(wanted, value) return ("expected %s, got %s"):format(shown(wanted), shown(value)) end),
  ne = rule(function(value, other) return value ~= other end,
    function(other) return ("expected anything but %s"):format(shown(other)) end),
  one_of = rule(function(value, list) return has(list, value) end,
    function(list, value) return ("expected one of %s, got %s"):format(shown_list(list), shown(value)) end),
  not_one_of = rule(function(value, list) return not has(list, value) end,
    function(list, value) return ("expected anything but %s, got %s"):format(shown_list(list), shown(value)) end),
  gt = rule(function(value, low) return type(value) == "number" and value > low end,
    function(low, value) return ("expected a number above %s, got %s"):format(low, shown(value)) end),
  between = rule(function(value, pair)
    return type(value) == "number" and value >= pair[1] and value <= pair[2]
  end, function(pair, value)
    return ("expected a number between %s and %s, got %s"):format(pair[1], pair[2], shown(value))
  end),
  len_eq = rule(function(value, len) return #value == len end,
    function(len, value) return ("expected a length of %d, got %d"):format(len, #value) end),
  len_min = rule(function(value, len) return #value >= len end,
    function(len, value) return ("expected a length of at least %d, got %d"):format(len, #value) end),
  len_max = rule(function(value, len) return #value <= len end,
    function(len, value) return ("expected a length of at most %d, got %d"):format(len, #value) end),
  match = rule(matches, function(text, value)
    return ("expected a text that matches %s, got %s"):format(text, shown(value))
  end),
  not_match = rule(function(value, text) return not matches(value, text) end, function(text, value)
    return ("expected a text that does not match %s, got %s"):format(text, shown(value))
  end),
  match_none = of_patterns(function(is_match, entry, value) return not is_match or nil, refused(entry, value) end),
  match_all = of_patterns(function(is_match, entry, value) return is_match or nil, refused(entry, value) end),
  match_any = function(wanted)
    return function(value)
      for _, text in ipairs(wanted.patterns) do
        if matches(value, text) then return true end
      end
      return nil, refused(wanted, value)
    end
  end,
  starts_with = rule(function(value, prefix) return value:sub(1, #prefix) == prefix end,
    function(prefix, value) return ("expected a text that begins with %s, got %s"):format(prefix, shown(value)) end),
  is_regex = function(wanted)
    return function(value)
      if not wanted then return true end
      return pattern.check(value)
    end
  end,
  uuid = rule(function(value, wanted) return not wanted or matches(value, UUID) end,
    function(_, value) return ("expected a UUID, got %s"):format(shown(value)) end),
  contains = rule(function(list, wanted) return has(list, wanted) end,
    function(wanted) return ("expected a list with %s"):format(shown(wanted)) end),
}

-- In this order they are asked, so that messages do not depend on chance. Those of the second list
-- are judged by the types themselves; here they serve conditions.
local EXTRA = { "eq", "ne", "not_one_of", "len_eq", "starts_with", "not_match", "match_none", "match_all", "match_any",
  "is_regex", "uuid", "contains" }
local OWN = { "one_of", "gt", "between", "len_min", "len_max", "match" }

local function compile(attr, names, checks)
  for _, name in ipairs(names) do
    if attr[name] ~= nil then checks[#checks + 1] = { name, RULES[name](attr[name]) } end
  end
end

local function asking(checks)
  return function(value)
    for i = 1, #checks do
      local ok, message = checks[i][2](value)
      if not ok then return nil, message, checks[i][1] end
    end
    return true
  end
end

--- Returns a function(value) -> true, or nil, a message and the name of the rule, for those rules in
-- `attr` that its type does not judge itself; nil when there are none.
function M.extra(attr)
  local checks = {}
  if attr.type ~= "string" and attr.one_of then compile(attr, { "one_of" }, checks) end
  compile(attr, EXTRA, checks)
  return #checks > 0 and asking(checks) or nil
end

--- Returns such a function for all rules in `attr`, and `required`: of the conditions between fields.
function M.all(attr)
  local checks = {}
  compile(attr, OWN, checks)
  compile(attr, EXTRA, checks)
  local ask = asking(checks)
  return function(value)
    if value == nil then
      if #checks > 0 or attr.required then return nil, "required: a value", "required" end
      return true
    end
    return ask(value)
  end
end

return M
