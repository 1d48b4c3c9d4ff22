--- Keeps the memory of control small around work that needs much of it for a moment: a start, an import.
--
-- By itself the collector of LuaJIT begins when the heap has doubled, takes its time, and what was freed is rarely
-- given back to the system, for some of each part of it is in use. So where much is in use the collector begins earlier
-- and hurries, which needs half as much room; still earlier while a model grows. When the work is done what is left of
-- it is collected, in slices, and given back.
local alarms = require "veloflux.control.alarms"
local ffi = require "ffi"
local slices = require "veloflux.slices"

ffi.cdef "void vf_control_trim(void);"

local M = {}

local USUAL, SOONER, EARLY = 200, 150, 130 -- percent of what was in use after the last collection
local SPEED, HURRY = 200, 400 -- percent: what is collected while so much is made
local LARGE_KIB = 64 * 1024 -- a heap that is worth it: a sixth more processor time per change
local STEP_KIB = 128
local QUIET_MS = 1000 -- before memory is given back: there may be more to come

local n_large = 0 -- works under way
local is_open, is_asked = false, false

--- From here on memory is given back to the system, and collected: C has loaded us without.
function M.open()
  is_open = true
  collectgarbage("restart", -1) -- when as much again is in use
end

--- How the collector works from here on, by what is in use.
local function settle()
  local is_large = collectgarbage "count" > LARGE_KIB
  collectgarbage("setpause", is_large and SOONER or USUAL)
  collectgarbage("setstepmul", is_large and HURRY or SPEED)
end

local function collect()
  repeat slices.look() until collectgarbage("step", STEP_KIB)
end

local function tidy()
  is_asked = false
  if n_large > 0 then return end -- that will ask again
  slices.run(function()
    collect() -- the cycle that is under way,
    collect() -- and one that begins now
    settle()
    ffi.C.vf_control_trim()
  end)
end

--- Work begins that makes much.
-- @return a function to be called when it has ended, however that was; more than once does no harm
function M.large()
  local is_over = false
  n_large = n_large + 1
  collectgarbage("setpause", EARLY)
  return function()
    if is_over then return end
    is_over, n_large = true, n_large - 1
    if n_large > 0 then return end
    settle()
    if not is_open or is_asked then return end
    is_asked = true
    alarms.after(QUIET_MS, tidy)
  end
end

return M
