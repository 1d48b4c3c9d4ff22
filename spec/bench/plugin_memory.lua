--- What calls of the plugin API on shared memory cost: pdk.shared, ratelimit, cache and metrics as a plugin calls
-- them, clock and keys included. Prints nanoseconds a call and calls a second, on one core. The goals: a million
-- increments a second, 100,000 rate-limit decisions.
--
--     build/deps/bin/luajit spec/bench/plugin_memory.lua        run by `make bench`, scenario `shared`
package.path = "./lua/?.lua;./lua/?/init.lua;./spec/?.lua;" .. package.path
local ffi = require "ffi"
local fixture = require "unit.pdk.area_fixture"
fixture.task.can_wait = function() return false end
package.loaded["veloflux.runtime.report"], package.loaded["veloflux.runtime.network"] = {}, {}
local cache = require "veloflux.pdk.cache"
local metrics = require "veloflux.pdk.metrics"
local shared = require "veloflux.pdk.shared"
local ratelimit = require "veloflux.pdk.ratelimit"

local CALLS, KEYS = 1000000, 1000

local keys = {}
for i = 1, KEYS do keys[i] = ("client:10.0.%d.%d"):format(i / 256, i % 256) end
local text = ("x"):rep(100)
local function make() return text end
local requests = metrics.counter("requests", "Requests.", { "route", "status" })
local sizes = metrics.histogram("sizes", "Sizes.")

local ROWS = { -- name, goal in calls a second or nil, function(key)
  { "shared: increment one key", 1e6, function() shared:incr("hits", 1, 0) end },
  { "shared: increment 1,000 keys", 1e6, function(key) shared:incr(key, 1, 0) end },
  { "shared: set 100 bytes", nil, function(key) shared:set(key, text, 60) end },
  { "shared: get 100 bytes", nil, function(key) shared:get(key) end },
  { "shared: quota", nil, function() shared:quota("budget", 1000000000, 60) end },
  { "ratelimit: gcra", 1e5, function(key) ratelimit.gcra(key, 1000, 1) end },
  { "ratelimit: window", 1e5, function(key) ratelimit.window(key, 1000, 10) end },
  { "cache: the worker has it", nil, function(key) cache:get(key, nil, make) end },
  { "metrics: count with two labels", nil, function() requests:inc(1, "site", 200) end },
  { "metrics: observe", nil, function() sizes:observe(0.02) end },
}

local function measure(call)
  local from = ffi.C.vf_clock_ns()
  for i = 1, CALLS do call(keys[i % KEYS + 1]) end
  return tonumber(ffi.C.vf_clock_ns() - from) / CALLS
end

fixture.plugin "bench"
print(("%-36s %10s %14s"):format("plugin API on shared memory", "ns", "a second"))
for _, row in ipairs(ROWS) do
  local name, goal, call = unpack(row, 1, 3)
  measure(call)
  local ns = measure(call)
  local verdict = goal and (ns <= 1e9 / goal and "  goal reached" or "  goal MISSED") or ""
  print(("%-36s %10.0f %14.0f%s"):format(name, ns, 1e9 / ns, verdict))
end
