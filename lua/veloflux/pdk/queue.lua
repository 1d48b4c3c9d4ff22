--- Queues for plugins that ship what they gather: logs, samples, events. Items wait in the worker's memory, bounded,
-- and go in batches, from a background task, to the plugin's function, which may wait and is tried again when it fails.
--
--     local q = queue.get("ship", { max_delay = 1, batch_items = 200 }, function(batch)
--       local res, err = http.post(url, json.encode(batch))
--       if not res then return nil, err end
--       return res.status < 500, "status " .. res.status
--     end)
--     q:push(line)
--
-- A queue is known by plugin instance (the plugin, its `as`, its scope and its configuration) and name: `get` again, as
-- in each request, returns it with the options and the function given then. So it survives reloads of the plugin, and
-- what waits is shipped by the new code; after a change of the configuration, by the function that was given last under
-- the old one. There is one batch under way at a time in each worker. When the worker drains, batches go at once; what
-- is left after the bound is lost and counted. /metrics has veloflux_plugin_queue_items_total and _failures_total for
-- every instance.
local background = require "veloflux.runtime.background"
local network = require "veloflux.runtime.network"
local metrics = require "veloflux.runtime.queue_metrics"
local report = require "veloflux.runtime.report"
local task = require "veloflux.runtime.task"

local REPORT_MS = 10000 -- between two lines about the same queue
local UNKNOWN_BYTES = 256 -- of an item that is no string

local DEFAULTS = {
  max_items = 10000, max_bytes = 16 * 1024 * 1024, batch_items = 200, batch_bytes = 1024 * 1024, max_delay = 1,
  retry_delay = 0.1, max_retry_delay = 30, max_retry_time = 60, on_full = "drop_oldest",
}
local LEAST = { max_items = 1, max_bytes = 1, batch_items = 1, batch_bytes = 1, max_delay = 0.01, retry_delay = 0.01,
  max_retry_delay = 0.01, max_retry_time = 0 }

---@class pdk.queue
local M = {}

---@class pdk.queue.queue
local Queue = {}
Queue.__index = Queue
Queue.__metatable = false -- its methods serve all plugins

---@class pdk.queue.stats
---@field waiting integer
---@field bytes integer
---@field in_flight integer
---@field pushed integer
---@field shipped integer
---@field dropped integer
---@field failures integer
---@field given_up integer

---@class pdk.queue.options
---@field max_items? integer 10,000: what may wait
---@field max_bytes? integer 16 MiB: likewise
---@field batch_items? integer 200: a batch goes as soon as so many wait
---@field batch_bytes? integer 1 MiB: or so many bytes; an item larger than this goes alone
---@field max_delay? number 1: or when the eldest has waited for so many seconds
---@field retry_delay? number 0.1: seconds before a failed batch is tried again; doubles each time, with jitter
---@field max_retry_delay? number 30
---@field max_retry_time? number 60: seconds after which a batch is given up
---@field on_full? "drop_oldest"|"drop_new"

-- By key, so that the next instance of the same configuration finds them. Who keeps them is their instance; and while
-- they have something to ship, `busy`.
local queues = setmetatable({}, { __mode = "v" })
local busy = {} -- queue -> true
local is_draining = false

local function read_options(options)
  local out = {}
  for name, default in pairs(DEFAULTS) do
    local value = options[name]
    if value == nil then value = default end
    out[name] = value
    local least = LEAST[name]
    if least and (type(value) ~= "number" or value ~= value or value < least) then
      error(("queue.get: %s: expected a number from %g on, got %s"):format(name, least, tostring(value)), 3)
    end
  end
  for name in pairs(options) do
    if DEFAULTS[name] == nil then error("queue.get: there is no option " .. tostring(name), 3) end
  end
  if out.on_full ~= "drop_oldest" and out.on_full ~= "drop_new" then
    error("queue.get: on_full: expected drop_oldest or drop_new, got " .. tostring(out.on_full), 3)
  end
  return out
end

local function new_queue(name)
  return setmetatable({
    name = name, items = {}, sizes = {}, times = {}, first = 1, n = 0, bytes = 0, in_flight = 0,
    counts = { pushed = 0, shipped = 0, dropped = 0, failures = 0, given_up = 0 }, unreported = 0,
  }, Queue)
end

-- Finds or makes the queue of an instance when that asks for the first time.
local function adopt(instance, name)
  local key = ("%s\0%s\0%s\0%s"):format(instance.name, instance.as, instance.settings or "", name)
  local queue = queues[key] or new_queue(name)
  queues[key] = queue
  instance.queues = instance.queues or {}
  instance.queues[name] = queue
  return queue
end

--- Returns the queue `name` of the plugin instance that runs; makes it when there is none.
---@param name string
---@param options? pdk.queue.options
---@param handler fun(batch: any[]): boolean?, string? true when the batch is done with; else it is tried again
---@return pdk.queue.queue
function M.get(name, options, handler)
  if type(name) ~= "string" then error("queue.get: expected a name, got " .. type(name), 2) end
  if type(handler) ~= "function" then error("queue.get: expected a function, got " .. type(handler), 2) end
  local owner = background.owner "queue.get"
  local instance = owner.instance
  local queue = instance.queues and instance.queues[name] or adopt(instance, name)
  if queue.given ~= options or not queue.options then
    queue.options, queue.given = read_options(options or {}), options
  end
  queue.owner, queue.handler = owner, handler
  return queue
end

local function count(queue, event, n)
  queue.counts[event] = queue.counts[event] + n
  metrics.count(queue.owner.instance, event, n)
end

-- Says, not too often, that items were lost.
local function report_loss(queue, n, why)
  queue.unreported = queue.unreported + n
  local now = network.now_ms()
  if queue.reported_ms and now - queue.reported_ms < REPORT_MS then return end
  report.write(report.WARN, "queue.dropped", "plugin", queue.owner.instance.name, "queue", queue.name, "items",
    queue.unreported, "why", why)
  queue.reported_ms, queue.unreported = now, 0
end

local function remove_first(queue)
  local at = queue.first
  local item, size = queue.items[at], queue.sizes[at]
  queue.items[at], queue.sizes[at], queue.times[at] = nil, nil, nil
  queue.n, queue.bytes = queue.n - 1, queue.bytes - size
  queue.first = queue.n > 0 and at + 1 or 1
  return item, size
end

local function is_full(queue, size)
  return queue.n + 1 > queue.options.max_items or queue.bytes + size > queue.options.max_bytes
end

-- Makes room. Returns false when the item is to be dropped instead.
local function make_room(queue, size)
  if not is_full(queue, size) then return true end
  if queue.options.on_full == "drop_new" or size > queue.options.max_bytes then return false end
  local dropped = 0
  while queue.n > 0 and is_full(queue, size) do
    remove_first(queue)
    dropped = dropped + 1
  end
  count(queue, "dropped", dropped)
  report_loss(queue, dropped, "full")
  return true
end

local function is_due(queue)
  return queue.n >= queue.options.batch_items or queue.bytes >= queue.options.batch_bytes or is_draining
end

local function take_batch(queue)
  local batch, bytes = {}, 0
  while queue.n > 0 and #batch < queue.options.batch_items do
    local size = queue.sizes[queue.first]
    if #batch > 0 and bytes + size > queue.options.batch_bytes then break end
    batch[#batch + 1] = remove_first(queue)
    bytes = bytes + size
  end
  return batch
end

-- Waits until a batch is due.
local function wait_for_batch(queue)
  while queue.n > 0 and not is_due(queue) do
    local left = queue.times[queue.first] + queue.options.max_delay * 1000 - network.now_ms()
    if left <= 0 then return end
    network.wait_signal(queue.signal, math.max(1, math.ceil(left)))
  end
end

-- Hands a batch to the plugin, once. Returns true, or false and why not.
local function ship(queue, batch)
  local done, why
  local handler = queue.handler
  local returned = queue.owner:call(function() done, why = handler(batch) end)
  if returned and done then return true end
  count(queue, "failures", 1)
  return false, returned and tostring(why or "the function returned no true value") or "an error was raised"
end

local function give_up(queue, batch, why)
  count(queue, "given_up", #batch)
  report_loss(queue, #batch, why)
end

-- Hands a batch to the plugin until that has taken it, or time is up.
local function ship_or_give_up(queue, batch)
  local begun, delay = network.now_ms(), queue.options.retry_delay
  queue.in_flight = #batch
  while true do
    local ok, why = ship(queue, batch)
    if ok then
      count(queue, "shipped", #batch)
      break
    end
    local wait_ms = math.ceil(delay * 1000 * (0.75 + math.random() / 2))
    if network.now_ms() + wait_ms - begun > queue.options.max_retry_time * 1000 then
      give_up(queue, batch, why)
      break
    end
    queue.is_retrying = true
    network.wait_signal(queue.signal, wait_ms)
    queue.is_retrying = false
    delay = math.min(delay * 2, queue.options.max_retry_delay)
  end
  queue.in_flight = 0
end

local function traceback(message) return debug.traceback(tostring(message), 2) end

local function flush(queue)
  while queue.n > 0 do
    wait_for_batch(queue)
    ship_or_give_up(queue, take_batch(queue))
  end
end

local function run(queue)
  local ok, message = xpcall(flush, traceback, queue)
  queue.is_running = false
  if queue.n == 0 then busy[queue] = nil end
  if not ok then error(message, 0) end
end

local function start(queue)
  busy[queue] = true
  queue.signal = queue.signal or network.signal()
  queue.is_running = task.spawn(run, queue) ~= nil
end

--- Appends an item. Never waits.
---@param item any
---@param bytes? integer what it counts; strings count their length, others 256 unless given
---@return boolean kept false when it was dropped (on_full: drop_new, or larger than max_bytes)
function Queue:push(item, bytes)
  if item == nil then error("push: expected an item, got nil", 2) end
  local size = bytes or (type(item) == "string" and #item or UNKNOWN_BYTES)
  count(self, "pushed", 1)
  if not make_room(self, size) then
    count(self, "dropped", 1)
    report_loss(self, 1, "full")
    return false
  end
  local at = self.first + self.n
  self.items[at], self.sizes[at], self.times[at] = item, size, network.now_ms()
  self.n, self.bytes = self.n + 1, self.bytes + size
  if not self.is_running then
    start(self)
  elseif is_due(self) and not self.is_retrying then
    network.raise(self.signal)
  end
  return true
end

--- Figures of the queue in this worker since it was made.
---@return pdk.queue.stats
function Queue:stats()
  local out = { waiting = self.n, bytes = self.bytes, in_flight = self.in_flight }
  for name, value in pairs(self.counts) do out[name] = value end
  return out
end

--- How many items wait or are under way in all queues of this process.
---@private
function M.pending()
  local total = 0
  for queue in pairs(busy) do total = total + queue.n + queue.in_flight end
  return total
end

--- The process drains: batches go at once, and failed ones are tried again now.
---@private
function M.drain()
  is_draining = true
  for queue in pairs(busy) do
    if queue.signal then network.raise(queue.signal) end
  end
end

--- The process ends: says what is lost.
---@private
function M.report_left()
  for queue in pairs(busy) do
    local left = queue.n + queue.in_flight
    if left > 0 then
      queue.reported_ms = nil
      report_loss(queue, left, "the process ends")
    end
  end
end

return M
