--- Rate limits that hold over all workers: who may do how much, decided in shared memory, without waiting.
--
--     local allowed, remaining, retry_after, reset = pdk.ratelimit.gcra(key, 100, 60)          -- 100 a minute
--     local allowed, remaining = pdk.ratelimit.window(key, 1000, 3600)                         -- sliding hour
--
-- Two algorithms. `gcra` (generic cell rate algorithm) spaces requests: `rate` per `per` seconds, of which `burst` may
-- come at once; it needs 8 bytes a key, and only while the key is ahead of its schedule. `window` counts in sliding
-- windows: this window's count, and that of the one before, weighted by how much of it the last `window` seconds still
-- cover, or nothing once they do not cover its last request.
--
-- A limit is a key with its numbers: the same key under another rate is another limit, so one key may have one for the
-- second and one for the hour. Keys are the plugin's own, as in pdk.shared. Limits are never lenient: when there is no
-- room to remember another key it is refused, and the fifth result says "full". They outlive reloads and the crash of a
-- worker, and end with the node.
--
-- May be called in every phase and in timers, but not while the plugin's code is loaded. Calls compile.
local ffi = require "ffi"
local area = require "veloflux.runtime.area"

local C, copy = ffi.C, ffi.copy
local clock, KEY = C.vf_clock_ns, area.KEY

local WINDOWS, WINDOWS_BYTES = "veloflux.windows", 64 * 1024 * 1024
local LARGEST, LONGEST_S = 2 ^ 32 - 1, 86400 * 366
local NEVER = 0xffffffffffffffffULL
local LONGEST_NS = 2 ^ 52 -- VF_CELLS_MAX_NS: how far a key may be ahead of its schedule

---@class pdk.ratelimit
local M = {}

local limit_out, answer = ffi.new "struct vf_gcra", ffi.new "struct vf_cells_answer"
local numbers, numbers_bytes = ffi.new "double[3]", ffi.sizeof "double[3]"
local window_out = ffi.new "struct vf_dict_window"
local cells, windows

local function expect(value, least, most, what, name, level)
  if type(value) == "number" and value >= least and value <= most then return end
  error(("%s: %s: expected a number from %g to %g, got %s"):format(name, what, least, most, tostring(value)), level + 1)
end

local function expect_whole(value, least, what, name, level)
  if type(value) == "number" and value >= least and value <= LARGEST and value % 1 == 0 then return end
  error(("%s: %s: expected a whole number from %d on, got %s"):format(name, what, least, tostring(value)), level + 1)
end

-- Leaves key and numbers of a limit in KEY. Returns their length.
local function place(key, a, b, c, name)
  numbers[0], numbers[1], numbers[2] = a, b, c
  copy(KEY, numbers, numbers_bytes)
  local n = area.put(numbers_bytes, area.prefix(name, 4), key, name, 4)
  return n
end

local function seconds(ns)
  if ns == NEVER then return math.huge end
  return tonumber(ns) / 1e9
end

local function refuse_burst(name)
  error(name .. ": a burst that takes more than 52 days at its rate cannot be kept: see pdk.ratelimit.window", 4)
end

local function take(key, rate, per, burst, cost, name)
  if per == nil then per = 1 end
  if burst == nil then burst = math.max(1, math.floor(rate)) end
  local n = place(key, rate, per, burst, name)
  local interval_ns = math.max(per * 1e9 / rate, 1)
  if burst * interval_ns > LONGEST_NS then refuse_burst(name) end
  limit_out.interval_ns, limit_out.slack_ns = interval_ns, (burst - 1) * interval_ns
  cells = cells or area.cells()
  return C.vf_cells_take(cells, KEY, n, limit_out, cost, clock(), answer), interval_ns, burst
end

local function check_rate(rate, per, burst, name)
  expect(rate, 1e-9, 1e9, "rate", name, 3)
  if per ~= nil then expect(per, 1e-3, LONGEST_S, "per", name, 3) end
  if burst ~= nil then expect_whole(burst, 1, "burst", name, 3) end
end

--- Decides on one request, or on `cost` of them at once, all or none.
---@param key string whose limit it is: an address, a consumer, ...
---@param rate number so many ...
---@param per? number ... in so many seconds (1)
---@param burst? integer how many may come at once; `rate` when left out. At the rate it may take 52 days at most
---@param cost? integer 1 when left out
---@return boolean allowed
---@return integer remaining how many more would be allowed now
---@return number retry_after seconds until this cost is allowed if nothing else comes; 0 when allowed, math.huge:
-- never, it is above the burst
---@return number reset seconds until the whole burst is there again
---@return "limit"|"full"|nil why it was refused
function M.gcra(key, rate, per, burst, cost)
  check_rate(rate, per, burst, "ratelimit.gcra")
  if cost == nil then cost = 1 else expect_whole(cost, 1, "cost", "ratelimit.gcra", 2) end
  local status = take(key, rate, per, burst, cost, "ratelimit.gcra")
  if status == C.VF_CELLS_ADMITTED then return true, tonumber(answer.left), 0, seconds(answer.reset_ns) end
  return false, tonumber(answer.left), seconds(answer.retry_ns), seconds(answer.reset_ns),
    status == C.VF_CELLS_FULL and "full" or "limit"
end

--- How things stand, as gcra would say for one request, without counting anything.
---@param key string
---@param rate number
---@param per? number
---@param burst? integer
---@return boolean allowed
---@return integer remaining
---@return number retry_after
---@return number reset
function M.peek_gcra(key, rate, per, burst)
  check_rate(rate, per, burst, "ratelimit.peek_gcra")
  local _, interval_ns, most = take(key, rate, per, burst, 0, "ratelimit.peek_gcra")
  local left, reset_ns = tonumber(answer.left), tonumber(answer.reset_ns)
  if left >= 1 then return true, left, 0, reset_ns / 1e9 end
  return false, 0, math.max(reset_ns - (most - 1) * interval_ns, 0) / 1e9, reset_ns / 1e9
end

local function slide(key, limit, window, cost, name)
  expect_whole(limit, 0, "limit", name, 3)
  expect(window, 1e-3, LONGEST_S, "window", name, 3)
  local n = place(key, limit, window, 0, name)
  if not windows then
    local err
    windows, err = area.dict(WINDOWS, WINDOWS_BYTES)
    if not windows then error(name .. ": " .. err, 0) end
  end
  local rc = C.vf_dict_slide(windows, KEY, n, limit, window * 1e9, cost, clock(), window_out)
  return rc == C.VF_DICT_OK
end

local function left_of(limit) return math.max(math.floor(limit - window_out.used + 1e-9), 0) end

--- Decides on one request, or on `cost` of them at once, by a sliding window.
---@param key string
---@param limit integer so many ...
---@param window number ... in the last so many seconds
---@param cost? integer 1 when left out
---@return boolean allowed
---@return integer remaining
---@return number retry_after seconds until this cost is allowed if nothing else comes; math.huge: never, it is above
-- the limit
---@return number reset seconds until the window that is counted in ends
---@return "limit"|"full"|nil why it was refused
function M.window(key, limit, window, cost)
  if cost == nil then cost = 1 else expect_whole(cost, 1, "cost", "ratelimit.window", 2) end
  if not slide(key, limit, window, cost, "ratelimit.window") then return false, 0, window, window, "full" end
  if window_out.admitted ~= 0 then return true, left_of(limit), 0, seconds(window_out.reset_ns) end
  return false, left_of(limit), seconds(window_out.retry_ns), seconds(window_out.reset_ns), "limit"
end

--- How things stand, as window would say for one request, without counting anything.
---@param key string
---@param limit integer
---@param window number
---@return boolean allowed
---@return integer remaining
---@return number retry_after
---@return number reset
function M.peek_window(key, limit, window)
  if not slide(key, limit, window, 0, "ratelimit.peek_window") then return true, limit, 0, window end
  return window_out.retry_ns == 0, left_of(limit), seconds(window_out.retry_ns), seconds(window_out.reset_ns)
end

return M
