--- Plugins in control: what their files for it define is put to work together with the configuration that it comes
-- with, all of it or nothing.
--
--   prepare    loads the code of a candidate; what is wrong refuses it
--   adopt      the candidate is published: its endpoints, jobs and channels take the place of those before. What runs
--              finishes on the code it began with
--
-- A plugin here is {name, slot, instance, found, endpoints, jobs, channels, kinds}: `found` is the loader's.
local background = require "veloflux.runtime.background"
local chain = require "veloflux.runtime.chain"
local clashes = require "veloflux.control.plugins.clashes"
local definitions = require "veloflux.plugin.control"
local endpoints = require "veloflux.control.plugins.endpoints"
local grammar = require "veloflux.conf.grammar"
local jobs = require "veloflux.control.plugins.jobs"
local layout = require "veloflux.compiler.layout"
local log = require "veloflux.control.plugins.log"
local loaders = require "veloflux.plugin.loader"
local plugin_schema = require "veloflux.plugin.schema"
local provide = require "veloflux.plugin.provide"
local sandbox = require "veloflux.plugin.sandbox"
local bounded = require "veloflux.plugin.bounded"
local services = require "veloflux.control.plugins.services"
local snapshot = require "veloflux.runtime.snapshot"

local C = layout.C

local M = {}

local SPARE_SLOT = layout.SLOTS.plugins.room - 1 -- until the snapshot says which

local host -- what `open` was given
local current = { plugins = {}, by_name = {} }
local slots = {} -- by name, of the snapshot that is published
local has_snapshot, has_plugins = false, false

--- Begins.
-- @param options {router = admin/router.lua; entity_endpoints = function(kind, path) -> list of endpoints of its REST
-- resource at `path`, where a kind is that of a plugin or the name of one of the model; set_kinds = function(list of
-- kinds); channels = {register, unregister}, or nil}
function M.open(options) host = options end

-- Code ----------------------------------------------------------------------------------------------

--- A plugin may not wait by itself: only the plugin API knows for what.
local function own_coroutines()
  local task = require "veloflux.runtime.task"
  local own = {}
  for name, value in pairs(coroutine) do own[name] = value end
  own.yield = function(...)
    local run = task.run
    if run.task ~= nil and coroutine.running() == task.coroutines[run.context] then
      error("coroutine.yield: there is nobody to yield to", 2)
    end
    return coroutine.yield(...)
  end
  return own
end

local function reader_of(found, box, problems)
  local function note(file, message)
    problems[#problems + 1] = { file = found.sources[file].chunk, path = "", message = message, plugin = found.name }
  end
  return { name = found.name, note = note,
    run = function(file)
      local ok, value = bounded.run(function() return box:run(file) end)
      if ok and type(value) == "table" then return value end
      note(file, ok and "expected it to return a table" or tostring(value))
    end,
    schema = function(file, raw, place)
      local made, found_problems = plugin_schema.make(raw)
      for _, problem in ipairs(found_problems or {}) do note(file, ("%s: %s"):format(place, problem.message)) end
      return made
    end }
end

--- Loads a plugin that the loader has found good, now with the plugin API that works. Returns it, or nil and problems.
local function load(found)
  local problems = {}
  local box = sandbox.new { name = found.name, sources = found.sources, provide = provide.module,
    globals = { coroutine = own_coroutines() } }
  local read = definitions.read(reader_of(found, box, problems), found.sources)
  if #problems > 0 or not read then return nil, problems end
  local plugin = { name = found.name, found = found, slot = SPARE_SLOT, jobs = read.jobs, channels = read.channels,
    kinds = found.control.kinds, collections = read.collections }
  plugin.instance = chain.own_instance(plugin)
  plugin.endpoints = endpoints.of(plugin, read.endpoints)
  return plugin
end

local function add_all(list, more)
  for _, value in ipairs(more) do list[#list + 1] = value end
end

--- Adds the endpoints of a plugin to a candidate, and those of kinds.
local function add_endpoints(candidate, plugin)
  add_all(candidate.endpoints, plugin.endpoints)
  local own = {}
  for _, kind in ipairs(plugin.kinds) do
    own[kind.kind] = kind
    table.insert(candidate.kinds, kind)
    add_all(candidate.endpoints, host and host.entity_endpoints(kind, "/api/" .. kind.kind) or {})
  end
  for _, collection in ipairs(host and plugin.collections or {}) do
    add_all(candidate.endpoints, host.entity_endpoints(own[collection.kind] or collection.kind, collection.path))
  end
end

--- Makes a candidate of a list of plugins as the loader has them. Returns it, or nil and problems.
local function candidate_of(list)
  local candidate = { plugins = {}, by_name = {}, endpoints = {}, kinds = {} }
  local problems = {}
  for _, found in ipairs(list) do
    local plugin, bad = current.by_name[found.name], nil
    if not plugin or plugin.found ~= found then plugin, bad = load(found) end
    add_all(problems, bad or {})
    if plugin then
      candidate.by_name[plugin.name] = plugin
      table.insert(candidate.plugins, plugin)
      add_endpoints(candidate, plugin)
    end
  end
  if host then add_all(problems, clashes.of(list, host.router)) end
  if #problems > 0 then return nil, problems end
  return candidate
end

--- Returns those of a list of plugins that have no part in problems.
local function without_faulty(list, problems)
  local is_faulty, kept = {}, {}
  for _, problem in ipairs(problems) do
    is_faulty[problem.plugin or ""] = true
    log.left_out(problem)
  end
  for _, found in ipairs(list) do
    if not is_faulty[found.name] then kept[#kept + 1] = found end
  end
  return kept
end

--- Makes a candidate of what a loader has found. Nothing changes. What is wrong refuses it; a loader that forgives does
-- without the plugin.
-- @param loader of plugin/loader.lua after load_control
-- @return a candidate, or nil and problems
function M.prepare(loader)
  local list = loader.control or {}
  while true do
    local candidate, problems = candidate_of(list)
    if candidate or not loader.is_forgiving then return candidate, problems end
    local kept = without_faulty(list, problems)
    if #kept == #list then return nil, problems end
    list = kept
  end
end

-- Putting to work -----------------------------------------------------------------------------------

local function is_same(before, after)
  if #before.plugins ~= #after.plugins then return false end
  for i, plugin in ipairs(after.plugins) do
    if before.plugins[i] ~= plugin then return false end
  end
  return true
end

local function swap_channels(before, after)
  if not host.channels then return end
  for _, plugin in ipairs(before.plugins) do
    for _, channel in ipairs(after.by_name[plugin.name] ~= plugin and plugin.channels or {}) do
      host.channels.unregister(channel.path)
    end
  end
  for _, plugin in ipairs(after.plugins) do
    for _, channel in ipairs(before.by_name[plugin.name] ~= plugin and plugin.channels or {}) do
      host.channels.register(services.channel_of(plugin, channel))
    end
  end
end

local function set_slots()
  for _, plugin in ipairs(current.plugins) do
    plugin.slot = slots[plugin.name] or SPARE_SLOT
    plugin.instance.guard.slot = plugin.slot
  end
end

local function start_jobs()
  if has_snapshot and has_plugins then jobs.follow(current.plugins) end
end

--- A candidate is published.
function M.adopt(candidate)
  local before = current
  if not host then return end
  has_plugins = true
  if is_same(before, candidate) then return start_jobs() end
  current = candidate
  set_slots()
  host.set_kinds(candidate.kinds)
  host.router:set_plugins(candidate.endpoints)
  swap_channels(before, candidate)
  background.retire(function(plugin) return not plugin.found or candidate.by_name[plugin.name] == plugin end)
  start_jobs()
  local names = {}
  for i, plugin in ipairs(candidate.plugins) do names[i] = plugin.name end
  if has_snapshot then log.loaded(names) end
end

--- A snapshot is published: it has the places where plugins are counted.
-- @param pointer struct vf_snapshot *
function M.published(pointer)
  local header = snapshot.open(pointer)
  local records, count = snapshot.section(header, C.VF_SNAP_PLUGINS)
  slots = {}
  for i = 0, count - 1 do slots[snapshot.text(header, records[i].name)] = records[i].slot end
  has_snapshot = true
  set_slots()
  start_jobs()
end

--- Puts the plugins that the binary carries to work without a configuration: until there is one, and for what
-- describes them.
function M.adopt_shipped()
  local loader = loaders.new {}
  loader:load_control(grammar.owner)
  local candidate, problems = M.prepare(loader)
  if not candidate then error(problems[1].file .. ": " .. problems[1].message, 0) end
  M.adopt(candidate)
end

--- Says whether two models have the same code in control.
function M.is_same_code(before, after)
  local old, new = before and before.control or {}, after and after.control or {}
  if #old ~= #new then return false end
  for i, plugin in ipairs(new) do
    if old[i] ~= plugin then return false end
  end
  return true
end

return M
