--- What surrounds the handlers of plugins: chains as generated code against a loop over the instances, limits on
-- and off. Prints nanoseconds a request, the least of some rounds, and when spinning handlers are cut off; nothing is
-- sent. See docs/decisions/0011-plugin-time.md and 0012-chains.md.
--
--     build/deps/bin/luajit spec/bench/guard.lua        run by `make bench`, scenario `guard`
package.path = "./lua/?.lua;./lua/?/init.lua;./spec/?.lua;" .. package.path
local compiler = io.popen("${CC:-cc} -print-multiarch")
package.cpath = package.cpath .. ";/usr/lib/" .. compiler:read "*l" .. "/lua/5.1/?.so"
compiler:close()
local exchanges = require "support.exchanges"
exchanges.open {}
local chain = require "veloflux.runtime.chain"
local task = require "veloflux.runtime.task"
local ffi = require "ffi"
ffi.cdef "uint64_t vf_clock_ns(void);"
local C = ffi.C

local REQUESTS, ROUNDS, ACCESS = 1000000, 7, 4

local function members_of(number)
  local members = {}
  for i = 1, number do
    local handler = assert(load [[ -- a function of its own for each, as plugins have
      local count = ...
      return { access = function(_, conf) count[1] = count[1] + conf.step end } ]])({ 0 })
    members[i] = exchanges.instance("p" .. i, handler, { step = i })
  end
  return members
end

local function traceback(message) return debug.traceback(message) end

--- What the generated code does, as a loop.
local function loop_of(members)
  local run = task.run
  return function()
    for i = 1, #members do
      local member = members[i]
      if C.vf_guard_enter(run, member.guard) ~= 0 then
        local ok = xpcall(member.plugin.handler.access, traceback, member.plugin.handler, member.config)
        C.vf_guard_leave(run, member.guard)
        if not ok then return end
        if run.cancelled ~= 0 then return end
        if run.identified ~= 0 then return end
      end
    end
  end
end

--- The handlers alone, without any guard.
local function bare_of(members)
  return function()
    for i = 1, #members do members[i].plugin.handler:access(members[i].config) end
  end
end

-- A loop of its own for each, so that none runs in another's traces; a request is not a loop's turn in a worker, so
-- each is called through a table that the compiler cannot see through.
local function measure(run)
  local box = { run }
  local time = assert(load [[
    local box, times = ...
    for i = 1, times do box[i % 1 + 1]() end ]])
  local least = math.huge
  for _ = 1, ROUNDS do
    local from = os.clock()
    time(box, REQUESTS)
    least = math.min(least, (os.clock() - from) / REQUESTS * 1e9)
  end
  return least
end

local function report(what, ...) print(("%-44s" .. ("%10.1f"):rep(select("#", ...))):format(what, ...)) end

local sizes = { 1, 3, 8 }
report("ns a request, chain of", unpack(sizes))
local function row(what, make)
  local results = {}
  for i, size in ipairs(sizes) do results[i] = measure(make(members_of(size))) end
  report(what, unpack(results))
end
row("handlers alone", bare_of)
row("a loop over the instances", loop_of)
local function generated(members) return chain.compile(members, ACCESS) end
row("generated code", generated)
jit.off()
jit.flush()
row("a loop over the instances, interpreted", loop_of)
row("generated code, interpreted", generated)
jit.on()
local LIMITS_MS = { false, 100, 10, 1 }
for _, ms in ipairs(LIMITS_MS) do
  exchanges.limit(ms or nil)
  row(ms and ("generated code, cpu: %d ms"):format(ms) or "generated code, cpu: off", generated)
end

--- How long spinning handlers run, of which a limit of 100 ms was asked.
local function add(n) local sum = 0 for i = 1, n do sum = sum + i % 7 end return sum end
local SPINS = {
  { "an empty loop", function() while true do end end },
  { "compiled loops and calls", function() for _ = 1, 1e9 do add(1e6) end end },
  { "pcall around it, again and again", function() while true do pcall(function() while true do end end) end end },
  { "coroutines", function() while true do coroutine.wrap(function() return 1 end)() end end },
  { "patterns", function() while true do (("x"):rep(100)):gsub("x", "yy") end end },
}
print "\na limit of 100 ms: cut off after ms (least, most)"
exchanges.limit(100)
task.exit = function() end -- nobody resumes the handler: what fails, ends here
require("veloflux.runtime.report").handler_failed = function() end
for _, spin in ipairs(SPINS) do
  local member = exchanges.instance("spin", { access = spin[2] })
  member.continues = true
  local run, least, most = chain.compile({ member }, ACCESS), math.huge, 0
  for _ = 1, 10 do
    local from = C.vf_clock_ns()
    run()
    local ms = tonumber(C.vf_clock_ns() - from) / 1e6
    least, most = math.min(least, ms), math.max(most, ms)
  end
  report(spin[1], least, most)
end
