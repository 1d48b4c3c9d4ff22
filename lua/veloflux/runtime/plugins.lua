--- What src/lua/plugins.c calls: code is prepared, a snapshot is published, a chain is built.
local layout = require "veloflux.compiler.layout"
local task = require "veloflux.runtime.task"
local background = require "veloflux.runtime.background"
local code = require "veloflux.runtime.code"
local chain = require "veloflux.runtime.chain"
local entities = require "veloflux.runtime.entities"
local identity = require "veloflux.runtime.identity"
local snapshot = require "veloflux.runtime.snapshot"
local view = require "veloflux.runtime.view"

local C = layout.C

local M = {}

--- Loads the code that a snapshot needs.
-- @return nil, or a message that refuses the snapshot
function M.prepare(pointer)
  local header, version = snapshot.open(pointer)
  local problem = code.prepare(header)
  if problem then return problem end
  identity.prepare(header, version)
end

--- Sorts the instances of a snapshot by plugin: plugin -> {plugin, configs, instance = the first}.
local function instances_by_plugin(header)
  local _, count = snapshot.section(header, C.VF_SNAP_INSTANCES)
  local sorted = {}
  for i = 0, count - 1 do
    local instance = chain.instance(header, i)
    local entry = sorted[instance.plugin]
    if not entry then
      entry = { plugin = instance.plugin, configs = {}, instance = instance }
      sorted[instance.plugin] = entry
    end
    entry.configs[#entry.configs + 1] = instance.config
  end
  return sorted
end

--- Runs init_worker of plugins that are new here, then configure of all.
local function start(list)
  for _, entry in ipairs(list) do
    local handler = entry.plugin.handler
    if entry.plugin.is_new and handler.init_worker and entry.instance then
      task.run.phase = C.VF_PHASE_INIT_WORKER
      chain.call(entry.instance, handler.init_worker, handler)
    end
    entry.plugin.is_new = false
    if handler.configure and entry.instance then
      task.run.phase = C.VF_PHASE_CONFIGURE
      chain.call(entry.instance, handler.configure, handler, entry.configs)
    end
  end
end

--- Uses a prepared snapshot from here on.
function M.publish(pointer)
  local header, version = snapshot.open(pointer)
  local list = {}
  local plugins = code.publish(header)
  chain.publish(header)
  identity.publish(header, version)
  entities.publish(pointer)
  local live = {}
  for _, plugin in ipairs(plugins) do live[plugin] = true end
  background.retire(function(plugin) return live[plugin] end)
  local entries = instances_by_plugin(header)
  for _, plugin in ipairs(plugins) do list[#list + 1] = entries[plugin] or { plugin = plugin, configs = {} } end
  if #list > 0 then task.spawn(start, list) end
end

--- Builds the chain at `index` of the published snapshot: a table of functions by enum vf_phase.
function M.build(pointer, index)
  return chain.build(snapshot.open(pointer), index)
end

--- The queues of plugins, once one of them has made some.
local function queues() return package.loaded["veloflux.pdk.queue"] end

--- The process drains.
function M.drain()
  if queues() then queues().drain() end
end

--- How many items queues still hold. `is_last` is 1 when the process does not wait for them any longer.
function M.pending(_, is_last)
  if not queues() then return 0 end
  if is_last == 1 then queues().report_left() end
  return queues().pending()
end

M.dispatch = identity.dispatch
M.check_layout = view.check_layout

return M
