--- What calls on shared memory cost from Lua through FFI: rate-limit cells and dictionaries. Prints nanoseconds a call,
-- for one process and for two at the same memory. The goal for increments is 1,000 ns.
--
--     build/deps/bin/luajit spec/bench/shared.lua        run by `make bench`, scenario `shared`
package.path = "./spec/?.lua;" .. package.path
local ffi = require "ffi"
local fixture = require "unit.snapshot.shared_fixture"

local lib, C = fixture.lib, ffi.C
local CALLS, KEYS, CELLS, REGION = 1000000, 1000, 2 ^ 20, 64 * 1024 * 1024
local GOAL_NS = 1000

ffi.cdef "int fork(void); int waitpid(int, int *, int); void _exit(int);"

local keys, window_keys = {}, {}
for i = 1, KEYS do
  keys[i] = ("client:10.0.%d.%d"):format(i / 256, i % 256)
  window_keys[keys[i]] = "window:" .. i
end

local function prepare()
  local memory = fixture.create(lib.vf_cells_bytes(CELLS) + REGION)
  local cells = ffi.cast("struct vf_cells *", memory)
  lib.vf_cells_init(cells, CELLS, lib.vf_clock_ns())
  local dicts = ffi.cast("struct vf_dicts *", ffi.cast("char *", memory) + lib.vf_cells_bytes(CELLS))
  local dict = ffi.new "struct vf_dict *[1]"
  lib.vf_dicts_init(dicts, REGION)
  lib.vf_dicts_open(dicts, "bench", 16 * 1024 * 1024, dict)
  return cells, dict[0]
end

local function calls_on(cells, dict)
  local init, sum = ffi.new "double[1]", ffi.new "double[1]"
  local value, buffer = ffi.new "struct vf_dict_value", ffi.new "char[4096]"
  local limit, answer = ffi.new("struct vf_gcra", 1000, 1000000), ffi.new "struct vf_cells_answer"
  local window, text = ffi.new "struct vf_dict_window", ("x"):rep(100)
  return {
    { "dictionary: increment one key", function()
      lib.vf_dict_incr(dict, "the same key", 12, 1, init, 0, 1, sum)
    end },
    { "dictionary: increment 1,000 keys", function(key) lib.vf_dict_incr(dict, key, #key, 1, init, 0, 1, sum) end },
    { "dictionary: get a number", function(key) lib.vf_dict_get(dict, key, #key, 1, buffer, 4096, value) end },
    { "dictionary: set 100 bytes", function(key)
      value.type, value.data, value.len = lib.VF_DICT_STRING, text, #text
      lib.vf_dict_set(dict, key, #key, value, 0, 1, 0, nil)
    end },
    { "dictionary: sliding window", function(key)
      key = window_keys[key]
      lib.vf_dict_slide(dict, key, #key, 1000000000, 10000000000ULL, 1, 1, window)
    end },
    { "cells: admit or refuse, clock read", function(key)
      lib.vf_cells_take(cells, key, #key, limit, 1, lib.vf_clock_ns(), answer)
    end },
  }
end

local function measure(call)
  local from = lib.vf_clock_ns()
  for i = 1, CALLS do call(keys[i % KEYS + 1]) end
  return tonumber(lib.vf_clock_ns() - from) / CALLS
end

--- The same in a second process meanwhile.
local function measure_two(call)
  local pid = C.fork()
  if pid == 0 then
    measure(call)
    C._exit(0)
  end
  local ns = measure(call)
  C.waitpid(pid, nil, 0)
  return ns
end

print(("%-36s %14s %14s"):format("shared memory from Lua", "ns, alone", "ns, two"))
local cells, dict = prepare()
for i, row in ipairs(calls_on(cells, dict)) do
  local name, call = row[1], row[2]
  measure(call)
  local alone, two = measure(call), measure_two(call)
  print(("%-36s %14.0f %14.0f"):format(name, alone, two))
  if i == 2 then print(("%-36s at most %d: %s"):format("", GOAL_NS, alone <= GOAL_NS and "reached" or "MISSED")) end
end
