--- Whether code compiles in LuaJIT: what the hot paths of plugins are held to.
local util = require "jit.util"
local vmdef = require "jit.vmdef"

local M = {}

-- The recorder gives these up by design and begins anew elsewhere (a short inner loop, at the loop around it);
-- all others mean that the code runs in the interpreter.
local HARMLESS = { "leaving loop in root trace", "inner loop in root trace", "loop unroll limit reached",
  "call unroll limit reached", "retry recording", "down-recursion, restarting", "NYI: return to lower frame" }
-- Of what is called from C, one call after the other: nothing has to return to code that is compiled already.
local HARMLESS_IN_CALLS = { "leaving loop in root trace", "inner loop in root trace", "retry recording" }

local function set_of(list)
  local set = {}
  for _, reason in ipairs(list) do set[reason] = true end
  return set
end
local HARMLESS_SET, HARMLESS_IN_CALLS_SET = set_of(HARMLESS), set_of(HARMLESS_IN_CALLS)

local function reason_of(code, detail)
  if type(code) ~= "number" then return tostring(code) end
  local text = vmdef.traceerr[code] or "error " .. code
  if text:find "bytecode" then detail = vmdef.bcnames:sub(detail * 6 + 1, detail * 6 + 6) end
  return (text:gsub("%%[sd]", tostring(detail)))
end

local function place_of(func, pc)
  local info = util.funcinfo(func, pc)
  return info.loc or info.currentline or "a C function"
end

-- A loop of its own each time: one that was given up once is not tried again.
local function new_loop()
  return loadstring "local run, times = ... for _ = 1, times do run() end"
end

local function complaint_about(trace, func, pc, is_called)
  local kind = util.traceinfo(trace).linktype
  if kind == "stitch" then -- interrupted by a call that does not compile
    return "trace " .. trace .. " is stitched at " .. place_of(func, pc)
  elseif kind == "interpreter" and is_called then -- given up after some attempts
    return "trace " .. trace .. " goes on in the interpreter at " .. place_of(func, pc)
  end
end

--- Calls `run` `times` times in a loop and watches the compiler.
-- @param run function(); its globals are the real ones from then on, not those of busted, which are
-- looked up through functions
-- @param times how often; the default, 500, is enough for side traces too
-- @param is_called true: each call is on its own, as C calls a chain, not a turn of a loop that is compiled
-- @return the number of traces made, and a list of complaints: what ended a trace early
function M.watch(run, times, is_called)
  local made, complaints, loop = 0, {}, new_loop()
  local harmless = is_called and HARMLESS_IN_CALLS_SET or HARMLESS_SET
  local function on_trace(what, trace, func, pc, code, detail)
    if what == "stop" then
      made = made + 1
      complaints[#complaints + 1] = complaint_about(trace, func, pc, is_called)
    elseif what == "abort" then
      local reason = reason_of(code, detail)
      if not harmless[reason] then complaints[#complaints + 1] = reason .. " at " .. place_of(func, pc) end
    end
  end
  setfenv(run, _G)
  for _ = 1, 3 do run() end -- C functions are looked up the first time, which is not recorded
  jit.flush()
  if is_called then
    jit.off(loop)
    jit.off(run)
  end
  collectgarbage()
  collectgarbage "stop" -- a finalizer that it calls breaks off what is being recorded
  jit.attach(on_trace, "trace")
  local ok, problem = pcall(loop, run, times or 500)
  jit.attach(on_trace)
  collectgarbage "restart"
  if not ok then error(problem, 0) end
  return made, complaints
end

-- Harmless ends make the recorder wait before it begins anew, for a random while that grows: where they used up all the
-- calls, nothing has been said about `run` yet.
local function judge(run, times, is_called)
  local made, complaints
  for _ = 1, 5 do
    made, complaints = M.watch(run, times, is_called)
    if made > 0 or #complaints > 0 then break end
  end
  if #complaints > 0 then error("does not compile: " .. table.concat(complaints, "; "), 3) end
  if made == 0 then error("nothing was compiled: is the JIT off?", 3) end
end

--- Fails unless a loop that calls `run` is compiled as a whole: no aborted and no stitched trace.
-- @param run function(): the hot path, with what it needs as upvalues
-- @param times how often it is called; 500 when left out
function M.assert_compiles(run, times) judge(run, times, false) end

--- Fails unless what `run` calls is compiled, whichever way it takes, when each call is on its own.
-- @param run function(): interpreted itself; calls what C calls in a worker
-- @param times how often; 1000 when left out
function M.assert_calls_compile(run, times) judge(run, times or 1000, true) end

return M
