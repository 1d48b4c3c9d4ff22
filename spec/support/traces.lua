--- Whether code compiles in LuaJIT: what the hot paths of plugins are held to.
local util = require "jit.util"
local vmdef = require "jit.vmdef"

local M = {}

-- The recorder gives these up by design and begins anew elsewhere (a short inner loop, at the loop around it);
-- all others mean that the code runs in the interpreter.
local HARMLESS = { "leaving loop in root trace", "inner loop in root trace", "loop unroll limit reached",
  "call unroll limit reached", "retry recording", "down-recursion, restarting", "NYI: return to lower frame" }
local HARMLESS_SET = {}
for _, reason in ipairs(HARMLESS) do HARMLESS_SET[reason] = true end

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

--- Calls `run` `times` times in a loop and watches the compiler.
-- @param run function(); its globals are the real ones from then on, not those of busted, which are
-- looked up through functions
-- @param times how often; the default, 500, is enough for side traces too
-- @return the number of traces made, and a list of complaints: what ended a trace early
function M.watch(run, times)
  local made, complaints = 0, {}
  local function on_trace(what, trace, func, pc, code, detail)
    if what == "stop" then
      made = made + 1
      if util.traceinfo(trace).linktype == "stitch" then -- interrupted by a call that does not compile
        complaints[#complaints + 1] = "trace " .. trace .. " is stitched at " .. place_of(func, pc)
      end
    elseif what == "abort" then
      local reason = reason_of(code, detail)
      if not HARMLESS_SET[reason] then complaints[#complaints + 1] = reason .. " at " .. place_of(func, pc) end
    end
  end
  setfenv(run, _G)
  for _ = 1, 3 do run() end -- C functions are looked up the first time, which is not recorded
  jit.flush()
  jit.attach(on_trace, "trace")
  local ok, problem = pcall(new_loop(), run, times or 500)
  jit.attach(on_trace)
  if not ok then error(problem, 0) end
  return made, complaints
end

--- Fails unless a loop that calls `run` is compiled as a whole: no aborted and no stitched trace.
-- @param run function(): the hot path, with what it needs as upvalues
-- @param times how often it is called; 500 when left out
function M.assert_compiles(run, times)
  local made, complaints = M.watch(run, times)
  if #complaints > 0 then error("does not compile: " .. table.concat(complaints, "; "), 2) end
  if made == 0 then error("nothing was compiled: is the JIT off?", 2) end
end

return M
