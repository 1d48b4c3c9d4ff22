--- `assert` as specs use it: what luassert calls its assertions, with messages that say where two values differ.
-- assert.equal(expected, got), assert.is_not.equal, assert.has_no.errors: words before the last are for reading, but
-- `not` and `no`.
local failures = require "veloflux.kit.failure"
local show = require "veloflux.kit.show"

local M = {}

local FILLERS = { is = true, are = true, was = true, has = true, be = true, does = true, to = true, have = true }
local NEGATIONS = { ["not"] = true, no = true }

-- Each: function(arguments, n) -> whether it holds, and what to say when it does not (or nil when negated).
local checks = {}

function checks.equal(a)
  return a[1] == a[2], function() return "expected equal values\n" .. show.difference(a[1], a[2]) end,
    function() return "expected another value than " .. show.value(a[1]) end
end

function checks.same(a)
  return #show.differences(a[1], a[2]) == 0,
    function() return "expected the same\n" .. show.difference(a[1], a[2]) end,
    function() return "expected something else than " .. show.value(a[1]) end
end

local function is(name, holds)
  checks[name] = function(a)
    return holds(a[1]), function() return ("expected %s, got %s"):format(name, show.value(a[1])) end,
      function() return ("expected anything but %s"):format(name) end
  end
end

is("true", function(value) return value == true end)
is("false", function(value) return value == false end)
is("nil", function(value) return value == nil end)
is("truthy", function(value) return value and true or false end)
is("falsy", function(value) return not value end)
for _, name in ipairs { "string", "number", "table", "boolean", "function", "userdata", "thread" } do
  is(name, function(value) return type(value) == name end)
end

function checks.matches(a)
  local pattern, text = a[1], a[2]
  local found = type(text) == "string" and (text:find(pattern, a[3] or 1, a[4]) ~= nil)
  return found, function() return ("expected a text that matches %q, got %s"):format(pattern, show.value(text)) end,
    function() return ("expected a text that does not match %q, got %s"):format(pattern, show.value(text)) end
end

function checks.near(a)
  local expected, got, tolerance = a[1], a[2], a[3] or 0
  return type(got) == "number" and math.abs(expected - got) <= tolerance,
    function() return ("expected %s, give or take %s, got %s"):format(expected, tolerance, show.value(got)) end,
    function() return ("expected something further from %s than %s, got %s"):format(expected, tolerance,
      show.value(got)) end
end

local function error_text(err)
  return type(err) == "string" and err:gsub("^[^\n]-:%d+: ", "", 1) or err
end

--- assert.has_error(fn, expected): the message without its place, or a table that is the same.
function checks.error(a, n)
  local ok, err = pcall(a[1])
  if ok then return false, function() return "expected an error, there was none" end end
  local fits = n < 2 or err == a[2] or #show.differences(a[2], error_text(err)) == 0
  return fits, function() return "expected another error\n" .. show.difference(a[2], error_text(err)) end,
    function() return "expected no error, got " .. show.value(err) end
end

--- assert.error_matches(fn, pattern)
function checks.error_matches(a)
  local ok, err = pcall(a[1])
  if ok then return false, function() return "expected an error, there was none" end end
  return tostring(err):find(a[2]) ~= nil,
    function() return ("expected an error that matches %q, got %s"):format(a[2], show.value(err)) end,
    function() return ("expected an error that does not match %q, got %s"):format(a[2], show.value(err)) end
end

local ALIASES = { equals = "equal", eq = "equal", match = "matches", errors = "error", truish = "truthy",
  error_match = "error_matches", matches_error = "error_matches" }

--- How many arguments an assertion has, where it is not one; a message may follow.
local ARGUMENTS = { equal = 2, same = 2, matches = 4, near = 3, error = 2, error_matches = 2 }

local Words = {}

--- Follows words to an assertion. `not` is a word of Lua, so specs write is_not, is_no or has_no.
local function follow(words, key)
  local negated, rest = words.negated, {}
  for word in tostring(key):gmatch "[^_]+" do
    word = word:lower()
    if #rest == 0 and NEGATIONS[word] then negated = not negated
    elseif #rest > 0 or not FILLERS[word] then rest[#rest + 1] = word end
  end
  local name = table.concat(rest, "_")
  name = ALIASES[name] or name
  if name ~= "" and not checks[name] then error(("there is no assertion %s"):format(tostring(key)), 3) end
  return setmetatable({ negated = negated, name = name ~= "" and name or nil }, Words)
end

function Words.__index(self, key) return follow(self, key) end

function Words.__call(self, ...)
  local name = rawget(self, "name")
  if not name then error("an assertion is missing", 2) end
  local arguments, n = { ... }, select("#", ...)
  local holds, positive, negative = checks[name](arguments, n)
  if holds ~= (rawget(self, "negated") or false) then return ... end
  local message = holds and negative() or positive()
  local own = arguments[(ARGUMENTS[name] or 1) + 1] -- a message of the spec's
  if type(own) == "string" then message = own .. "\n" .. message end
  error(failures.new { message = message, trace = debug.traceback("", 2) }, 2)
end

M.assert = setmetatable({}, {
  __index = function(_, key) return follow({ negated = false }, key) end,
  __call = function(_, value, message, ...)
    if value then return value, message, ... end
    if type(message) ~= "string" and message ~= nil then error(message, 2) end
    error(failures.new { message = message or "assertion failed!", trace = debug.traceback("", 2) }, 2)
  end,
})

return M
