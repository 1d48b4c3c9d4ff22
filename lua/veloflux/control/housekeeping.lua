--- What control does by itself from time to time, on one node of those that share a store: backups by their schedule,
-- and forgetting old versions.
local alarms = require "veloflux.control.alarms"
local backups = require "veloflux.control.backups"
local cluster = require "veloflux.cluster"
local link = require "veloflux.control.link"
local pruning = require "veloflux.control.pruning"
local queue = require "veloflux.control.queue"
local storage = require "veloflux.control.storage"

local M = {}

local EVERY_MS = 1000

local now_ms

local function work()
  local world = queue.world()
  if not world or queue.unavailable() or not cluster.is_leader() then return end
  local node = world.draft.node
  backups.tick(node, now_ms())
  pruning.tick(storage.current(), node.store.history, world.version, now_ms())
end

local function tick()
  local ok, message = xpcall(work, debug.traceback)
  if not ok then link.log("error", "control.fault", tostring(message)) end
  alarms.after(EVERY_MS, tick)
end

--- Begins.
-- @param options {now_ms = wall clock}
function M.open(options)
  now_ms = options.now_ms
  backups.open()
  pruning.open()
  alarms.after(EVERY_MS, tick)
end

return M
