--- Paths and regular expressions of routes, judged by the very code that matches requests.
local ffi = require "ffi"

ffi.cdef [[
int vf_regex_check(const char *pattern, size_t len, char *error, size_t error_size);
int vf_path_normal_form(const char *path, size_t len, char *out);
]]
local C = ffi.C
local problem = ffi.new "char[256]"

local FAULTS = { -- enum vf_target_fault
  [2] = "expected a path that begins with /",
  [3] = "has a character that no path has",
  [4] = "has a % without two hexadecimal digits",
  [5] = "has an encoded slash or backslash, which is refused in requests",
  [6] = "has an encoded NUL, which is refused in requests",
  [7] = "climbs above the root",
}

local M = {}

--- Checks a regular expression.
-- @return true, or nil and PCRE2's message
function M.check(text)
  if C.vf_regex_check(text, #text, problem, ffi.sizeof(problem)) == 0 then return true end
  return nil, ffi.string(problem)
end

--- Returns the normal form of a path, as requests are matched; or nil and a message.
function M.normalise(path)
  if not path:find "[^%w/_~.-]" and not path:find("/.", 1, true) then return path end -- nothing to change
  local out = ffi.new("char[?]", #path + 1)
  local len = C.vf_path_normal_form(path, #path, out)
  if len < 0 then return nil, FAULTS[-len] or "is not a path" end
  return ffi.string(out, len)
end

return M
