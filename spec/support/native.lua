--- C of the specs' own, compiled against the library under test.
local ffi = require "ffi"
require "support.library"

local M = {}

local loaded = {}

--- Compiles spec/support/NAME.c, once, and loads it.
-- @return the library, for functions that the caller has declared; and its path
function M.load(name)
  local path = ("build/spec/%s.so"):format(name)
  if not loaded[name] then
    local deps, made = "build/deps/include", path .. ".$$"
    local command = table.concat({ os.getenv "CC" or "cc", "-std=gnu11 -O1 -fPIC -shared -pthread -D_GNU_SOURCE=",
      "-I src -I build/gen -isystem", deps, "-isystem", deps .. "/luajit-2.1", ("spec/support/%s.c"):format(name), "-o",
      made, "&& mv", made, path }, " ")
    assert(os.execute("mkdir -p build/spec && " .. command) == 0, ("spec/support/%s.c does not compile"):format(name))
    loaded[name] = ffi.load("./" .. path)
  end
  return loaded[name], "./" .. path
end

return M
