--- Regular expressions: PCRE2 (Perl's syntax), compiled once, cached, with JIT.
--
-- Options are letters: i (case does not count), m (^ and $ at lines), s (. matches newlines), x (spaces and
-- comments in the pattern), u (UTF-8: characters instead of bytes), a (only where the search begins), J (groups
-- may share a name); o and j are taken and mean nothing, as compiling once and JIT go without saying.
--
-- Positions are bytes, counted from 1. Captures are a table: [0] the whole match, [1] and so on the groups, and
-- named ones by name, too; false stands for a group that took no part. No match is nil; nil and a message mean a
-- pattern that is wrong (with its byte), the match limit, which bounds what a search may cost, or with u a
-- subject that is no UTF-8.
local buffer = require "string.buffer"
local bit = require "bit"
local ffi = require "ffi"
local recent = require "veloflux.recent"

ffi.cdef [[
struct vf_re;
struct vf_re_matcher;
struct vf_re_matcher *vf_re_matcher_new(void);
void vf_re_matcher_free(struct vf_re_matcher *matcher);
struct vf_re *vf_re_compile(const char *pattern, size_t len, int options, char *error, size_t error_size,
                            uint32_t *offset);
void vf_re_free(struct vf_re *re);
int vf_re_groups(const struct vf_re *re);
const char *vf_re_name(const struct vf_re *re, uint32_t index, int *number);
int vf_re_search(const struct vf_re *re, struct vf_re_matcher *matcher, const char *subject, size_t len, size_t from,
                 int flags, int32_t offsets[256]);
void vf_re_message(int code, char *out, size_t size);
]]
local C = ffi.C

---@class pdk.re
local M = {}

---@alias pdk.re.Captures table<integer|string, string|false>

local OPTIONS = { i = 1, m = 2, s = 4, x = 8, u = 16, a = 32, J = 64, o = 0, j = 0 } -- enum vf_re_option
local UTF, NOT_EMPTY, CHECKED = 16, 1, 2
local PATTERNS, OPTION_SETS, REPLACEMENTS = 256, 32, 16 -- kept: see veloflux.recent
local MOST_BYTES = 2 ^ 30

local offsets = ffi.new "int32_t[256]" -- of the last match
local message, message_at, number = ffi.new "char[256]", ffi.new "uint32_t[1]", ffi.new "int[1]"
local option_sets = recent.new(OPTION_SETS)
local pattern_sets = {} -- by options
local matcher

-- --- Patterns ----------------------------------------------------------------------------------------------------

local function read_options(letters)
  local bits, seen = 0, {}
  for letter in letters:gmatch "." do
    local value = OPTIONS[letter]
    if not value then error(("options: expected letters of imsxuaJ, got %q"):format(letter), 4) end
    if not seen[letter] then bits = bits + value end
    seen[letter] = true
  end
  option_sets:put(letters, bits)
  return bits
end

local function names_of(re)
  local names, i = {}, 0
  while true do
    local name = C.vf_re_name(re, i, number)
    if name == nil then return names end
    i = i + 1
    names[i] = { name = ffi.string(name), group = number[0] }
  end
end

local function compile(pattern, options, patterns)
  matcher = matcher or ffi.gc(C.vf_re_matcher_new(), C.vf_re_matcher_free)
  local re = C.vf_re_compile(pattern, #pattern, options, message, 256, message_at)
  if re == nil then
    return nil, ("bad pattern: %s at byte %d"):format(ffi.string(message), message_at[0] + 1)
  end
  re = ffi.gc(re, C.vf_re_free)
  local compiled = { re = re, groups = C.vf_re_groups(re), names = names_of(re), is_utf = bit.band(options, UTF) ~= 0,
    replacements = recent.new(REPLACEMENTS) }
  patterns:put(pattern, compiled)
  return compiled
end

-- Returns the compiled pattern, or nil and a message. Called by the public functions themselves: mistakes are
-- their callers'.
local function compiled_of(subject, pattern, options)
  if type(subject) ~= "string" then error("subject: expected a string, got " .. type(subject), 3) end
  if type(pattern) ~= "string" then error("pattern: expected a string, got " .. type(pattern), 3) end
  if options ~= nil and type(options) ~= "string" then error("options: expected a string, got " .. type(options), 3) end
  if #subject > MOST_BYTES then return nil, "the subject is longer than 1 GiB" end
  options = options or ""
  local bits = option_sets:get(options) or read_options(options)
  local patterns = pattern_sets[bits]
  if not patterns then
    patterns = recent.new(PATTERNS)
    pattern_sets[bits] = patterns
  end
  local compiled = patterns:get(pattern)
  if compiled then return compiled end
  return compile(pattern, bits, patterns)
end

-- --- Searching ---------------------------------------------------------------------------------------------------

local function problem_of(code)
  C.vf_re_message(code, message, 256)
  return "cannot search: " .. ffi.string(message)
end

-- Returns 1 with `offsets` set, 0, or a negative code.
local function search(compiled, subject, from, flags)
  return C.vf_re_search(compiled.re, matcher, subject, #subject, from, flags, offsets)
end

-- Returns the offset that `init` means, as in string.find; nil when it is behind the end.
local function start_of(init, len)
  if init == nil then return 0 end
  if init < 0 then return init < -len and 0 or len + init end
  if init > len + 1 then return nil end
  return init > 0 and init - 1 or 0
end

local function group_text(subject, group)
  local from = offsets[2 * group]
  return from >= 0 and subject:sub(from + 1, offsets[2 * group + 1])
end

local function captures_of(compiled, subject)
  local captures = { [0] = group_text(subject, 0) }
  for group = 1, compiled.groups do captures[group] = group_text(subject, group) end
  local names = compiled.names
  for i = 1, #names do
    local name = names[i].name
    captures[name] = captures[name] or captures[names[i].group] -- of several with one name, the one that took part
  end
  return captures
end

--- Returns the captures of the first match.
---@param subject string
---@param pattern string
---@param options? string
---@param init? integer where the search begins; negative: counted from the end
---@return pdk.re.Captures? captures nil when there is none
---@return string? err
function M.match(subject, pattern, options, init)
  local compiled, err = compiled_of(subject, pattern, options)
  if not compiled then return nil, err end
  local from = start_of(init, #subject)
  if not from then return nil end
  local found = search(compiled, subject, from, 0)
  if found == 1 then return captures_of(compiled, subject) end
  if found < 0 then return nil, problem_of(found) end
  return nil
end

--- Returns where the first match begins and ends; an empty one ends in front of its beginning.
---@param subject string
---@param pattern string
---@param options? string
---@param init? integer
---@param group? integer of which group instead of the whole match
---@return integer? from nil when there is no match, or the group took no part
---@return integer|string|nil to or, without a match, what went wrong
function M.find(subject, pattern, options, init, group)
  local compiled, err = compiled_of(subject, pattern, options)
  if not compiled then return nil, err end
  group = group or 0
  if group < 0 or group > compiled.groups then error("group: the pattern has no group " .. group, 2) end
  local from = start_of(init, #subject)
  if not from then return nil end
  local found = search(compiled, subject, from, 0)
  if found < 0 then return nil, problem_of(found) end
  if found == 0 or offsets[2 * group] < 0 then return nil end
  return offsets[2 * group] + 1, offsets[2 * group + 1]
end

local function next_match(state)
  if state.at < 0 then return nil end
  local found = search(state.compiled, state.subject, state.at, state.flags)
  if found ~= 1 then
    state.at = -1
    if found == 0 then return nil end
    return false, problem_of(found)
  end
  local from, to = offsets[0], offsets[1]
  state.at, state.flags = to, (from == to and NOT_EMPTY or 0) + CHECKED
  return captures_of(state.compiled, state.subject)
end

local function fail_once(state)
  local err = state.err
  if not err then return nil end
  state.err = nil
  return false, err
end

--- Iterates over the captures of all matches:
--- `for captures, err in re.gmatch(subject, pattern) do`. What goes wrong comes as false and a message, after which
--- the loop ends.
---@param subject string
---@param pattern string
---@param options? string
---@return fun(state: table): (pdk.re.Captures|false|nil), string?
---@return table state
function M.gmatch(subject, pattern, options)
  local compiled, err = compiled_of(subject, pattern, options)
  if not compiled then return fail_once, { err = err } end
  return next_match, { compiled = compiled, subject = subject, at = 0, flags = 0 }
end

-- --- Replacing ---------------------------------------------------------------------------------------------------

local function group_called(compiled, name)
  local group = tonumber(name)
  if not group then
    for _, entry in ipairs(compiled.names) do
      if entry.name == name then group = entry.group end
    end
  end
  if not group or group > compiled.groups then
    error(("replacement: the pattern has no group %s ($$ stands for a dollar)"):format(name), 4)
  end
  return group
end

-- Returns a list of texts and numbers of groups.
local function read_replacement(compiled, replacement)
  local pieces, at = {}, 1
  while true do
    local dollar = replacement:find("$", at, true)
    pieces[#pieces + 1] = replacement:sub(at, (dollar or 0) - 1)
    if not dollar then break end
    local name = replacement:match("^%d+", dollar + 1) or replacement:match("^{([%w_]+)}", dollar + 1)
    if name then
      pieces[#pieces + 1] = group_called(compiled, name)
      at = dollar + 1 + #name + (replacement:sub(dollar + 1, dollar + 1) == "{" and 2 or 0)
    elseif replacement:sub(dollar + 1, dollar + 1) == "$" then
      pieces[#pieces + 1] = "$"
      at = dollar + 2
    else
      error("replacement: $ is followed by a group, a name in {} or another $", 3)
    end
  end
  compiled.replacements:put(replacement, pieces)
  return pieces
end

local shared = buffer.new()
local pointer = ffi.typeof "const char *"

local function put_pieces(out, pieces, base)
  for i = 1, #pieces do
    local piece = pieces[i]
    if type(piece) == "string" then
      out:put(piece)
    else
      local from = offsets[2 * piece]
      if from >= 0 then out:putcdata(base + from, offsets[2 * piece + 1] - from) end
    end
  end
end

local function put_result(out, compiled, subject, replace)
  local captures = captures_of(compiled, subject)
  local text = replace(captures)
  if not text then text = captures[0] end
  if type(text) ~= "string" and type(text) ~= "number" then
    error("replacement: expected a string from the function, got " .. type(text), 3)
  end
  out:put(text)
end

-- The public functions end in a call of this one, which takes their place on the stack: its caller is theirs.
local function substitute(subject, compiled, replacement, most)
  local pieces = type(replacement) == "string"
    and (compiled.replacements:get(replacement) or read_replacement(compiled, replacement))
  local out = pieces and shared:reset() or buffer.new() -- a function may replace, too
  local base = ffi.cast(pointer, subject)
  local at, flags, n = 0, 0, 0
  while n < most do
    local found = search(compiled, subject, at, flags)
    if found < 0 then return nil, problem_of(found) end
    if found == 0 then break end
    local from, to = offsets[0], offsets[1]
    out:putcdata(base + at, from - at)
    if pieces then put_pieces(out, pieces, base) else put_result(out, compiled, subject, replacement) end
    n = n + 1
    at, flags = to, (from == to and NOT_EMPTY or 0) + CHECKED
  end
  if n == 0 then return subject, 0 end
  out:putcdata(base + at, #subject - at)
  return out:tostring(), n
end

local function expect_replacement(value)
  if type(value) ~= "string" and type(value) ~= "function" then
    error("replacement: expected a string or a function, got " .. type(value), 3)
  end
end

--- Replaces the first match.
---@param subject string
---@param pattern string
---@param replacement string|fun(captures: pdk.re.Captures): string? in a string, $0 is the whole match, $1
--- and ${1} a group, ${name} a named one, $$ a dollar; a function that returns nil keeps the match
---@param options? string
---@return string? text
---@return integer|string n how many were replaced, or what went wrong
function M.sub(subject, pattern, replacement, options)
  local compiled, err = compiled_of(subject, pattern, options)
  expect_replacement(replacement)
  if not compiled then return nil, err end
  return substitute(subject, compiled, replacement, 1)
end

--- Replaces all matches: see `sub`.
---@param subject string
---@param pattern string
---@param replacement string|fun(captures: pdk.re.Captures): string?
---@param options? string
---@return string? text
---@return integer|string n how many were replaced, or what went wrong
function M.gsub(subject, pattern, replacement, options)
  local compiled, err = compiled_of(subject, pattern, options)
  expect_replacement(replacement)
  if not compiled then return nil, err end
  return substitute(subject, compiled, replacement, math.huge)
end

return M
