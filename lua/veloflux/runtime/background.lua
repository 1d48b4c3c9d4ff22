--- Work of plugins besides requests: timers, subscriptions, queues. It belongs to a plugin's code: when a reload
-- supersedes that, what waits is stopped and what runs finishes.
local chain = require "veloflux.runtime.chain"
local network = require "veloflux.runtime.network"
local task = require "veloflux.runtime.task"

local MOST = 1024 -- of one plugin in one process

local Owner = {}
Owner.__index = Owner

local M = {}

local owners = setmetatable({}, { __mode = "k" }) -- a plugin (its code) -> what it has in the background

local function background_of(plugin)
  local known = owners[plugin]
  if not known then
    known = { n = 0, stops = {} }
    owners[plugin] = known
  end
  return known
end

--- Who starts background work: the plugin instance that runs. Raises when none does.
-- @param name of the function that was called
function M.owner(name)
  network.check(name)
  local instance = chain.current()
  if not instance then error(name .. ": no plugin runs", 3) end
  return setmetatable({ instance = instance, background = background_of(instance.plugin) }, Owner)
end

local function traceback(message) return debug.traceback(tostring(message), 2) end

-- The whole life of a background task.
local function run(entry)
  local ok, message = xpcall(entry.fn, traceback, entry.argument)
  entry.background.n = entry.background.n - 1
  entry.background.stops[entry] = nil
  if not ok then error(message, 0) end
end

--- Starts fn(argument) as a task. Code of the plugin is called in it with `call` only.
-- @param stop function(argument), called when the plugin's code is superseded; it must not wait
-- @return true, or nil, message, code
function Owner:spawn(fn, argument, stop)
  local background = self.background
  if background.is_retired then return nil, "the plugin's code has been replaced", "cancelled" end
  if background.n >= MOST then return nil, ("more than %d tasks of one plugin"):format(MOST), "too_many" end
  local entry = { fn = fn, argument = argument, stop = stop, background = background }
  local ok, err = task.spawn(run, entry)
  if not ok then return nil, err, "memory" end
  background.n = background.n + 1
  background.stops[entry] = true
  return true
end

--- Calls a function of the plugin, within its limits; what it raises is logged and counted.
-- @return true when it returned
function Owner:call(fn, ...) return chain.call(self.instance, fn, ...) end

--- Stops what plugins have in the background whose code is not in use any more.
-- @param is_live function(plugin)
function M.retire(is_live)
  for plugin, background in pairs(owners) do
    if not background.is_retired and not is_live(plugin) then
      background.is_retired = true
      local stops = {}
      for entry in pairs(background.stops) do stops[#stops + 1] = entry end
      for _, entry in ipairs(stops) do
        if entry.stop then entry.stop(entry.argument) end
      end
    end
  end
end

--- How many background tasks a plugin has.
function M.count(plugin) return owners[plugin] and owners[plugin].n or 0 end

return M
