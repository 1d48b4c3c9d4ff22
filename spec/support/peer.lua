--- Other processes that run Lua with the library under test: what several processes do to the same memory.
--
--     local peer = peers.start([[ print "here" stay() ]])
--     peer:wait_line(peer.stdout, "here")
--     peer:kill()
--
-- The code gets its arguments as `...`, prints line by line, and ends with its last line unless it calls stay().
local process = require "support.process"
local tempdir = require "support.tempdir"

local M = {}

local LUAJIT = "build/deps/bin/luajit"
local PRELUDE = [[
io.stdout:setvbuf "line"
require("ffi").cdef "int pause(void);"
local function stay() while true do require("ffi").C.pause() end end
]]

--- Starts one.
-- @param code Lua text
-- @param ... strings, its arguments
-- @return process (support.process)
function M.start(code, ...)
  local preload = os.getenv "VF_PRELOAD"
  local env = { ASAN_OPTIONS = os.getenv "ASAN_OPTIONS", LD_PRELOAD = preload ~= "" and preload or nil }
  local file = tempdir.new() .. "/peer.lua"
  tempdir.write(file, PRELUDE .. code)
  return process.spawn(LUAJIT, { file, ... }, { env = env })
end

return M
