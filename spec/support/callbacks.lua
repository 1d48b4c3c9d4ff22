--- C functions that call Lua. LuaJIT ends the process with "bad callback" when one of them is reached from compiled
-- code: from a C function that a trace has called. Whether a line is compiled is chance, so every C function that may
-- call back, at once or from the loop that it turns, has to be called through `outside`. scripts/lint.sh sees to it
-- that callbacks are made here and nowhere else, and that the program has none.
--
--     local lib = callbacks.outside(ffi.load "build/libveloflux.so") -- whatever is called of it: not from a trace
--     local on_fire = callbacks.new("void (*)(struct vf_timer *)", function(timer) ... end)
--
-- `make test JIT=hotloop=2,hotexit=2` (and 7, 20) compiles nearly all, and so finds what was forgotten.
local ffi = require "ffi"
require "support.library"

ffi.cdef "unsigned uv_version(void);"

local M = {}

--- Makes a C function of a Lua function; it lasts until free() is called on it. It must not raise, nor yield.
-- @param ctype of a pointer to a function
-- @param fn function
function M.new(ctype, fn) return ffi.cast(ctype, fn) end

--- Returns a C function as a pointer of another type: no Lua is entered.
-- @param ctype of a pointer to a function
-- @param c_function cdata
function M.of_c(ctype, c_function)
  assert(type(c_function) == "cdata", "not a function of C")
  return ffi.cast(ctype, c_function)
end

--- Returns a C function that does nothing, whatever its arguments, where C wants one.
-- @param ctype of a pointer to a function that returns nothing
function M.nothing(ctype) return M.of_c(ctype, ffi.C.uv_version) end

--- Returns a function that calls a C function, never from compiled code: what is jit.off is not part of a trace.
local function uncompiled(c_function)
  local function call(...) return c_function(...) end
  jit.off(call)
  return call
end

--- Returns a C library whose functions are not called from compiled code.
-- @param library from ffi.load, or ffi.C
function M.outside(library)
  return setmetatable({}, { __index = function(self, name)
    local found = library[name]
    if type(found) == "cdata" then found = uncompiled(found) end
    rawset(self, name, found)
    return found
  end })
end

return M
