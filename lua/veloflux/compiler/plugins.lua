--- Plugins, their instances, and the chains of instances that routes and consumers name. What is the same
-- is written once: 10,000 routes with the same plugins have one chain.
local bit = require "bit"
local cjson = require "cjson"
local author = require "veloflux.plugin.author"
local layout = require "veloflux.compiler.layout"
local sink = require "veloflux.compiler.sink"
local phases = require "veloflux.plugin.phases"

local C, NONE, u64 = layout.C, layout.NONE, sink.u64
assert(C.VF_PHASE_TIMER == #phases.NAMES, "plugin/phases.lua and snapshot/layout_plugins.h list different phases")

local ON_ERROR = { fail = C.VF_ON_ERROR_FAIL, continue = C.VF_ON_ERROR_CONTINUE }

local M = {}

local Writer = {}
Writer.__index = Writer

local function hash_text(text, seed) return C.vf_snapb_hash(text, #text, seed) end

local function hash_number(number, seed) return hash_text(tostring(number), seed) end

--- The hash of a plugin: of its name, and of the names and texts of its files.
function M.hash(plugin)
  local hash = hash_text(plugin.name, 0)
  for _, file in ipairs(plugin.files) do hash = hash_text(file.text, hash_text(file.name, hash)) end
  return hash
end

-- Plugins -------------------------------------------------------------------------------------------

function Writer:write_files(plugin, out)
  local records, first = self.to:add(C.VF_SNAP_PLUGIN_FILES, #plugin.files)
  out.first, out.count = first, #plugin.files
  for i, file in ipairs(plugin.files) do
    local record = records[i - 1]
    self.to:text(file.name, record.name)
    self.to:text(file.chunk, record.chunk)
    self.to:secret(file.text, record.source)
  end
end

--- Returns what is known of a plugin that is written: {index, hash}.
function Writer:plugin(plugin, is_controls)
  local known = self.plugins[plugin.name]
  if known then return known end
  local record, index = self.to:add(C.VF_SNAP_PLUGINS)
  known = { index = index, hash = M.hash(plugin) }
  record.hash, record.phases = known.hash, is_controls and 0 or plugin.mask
  record.slot = self.to:slot("plugins", sink.id("plugin", plugin.name))
  self.to:text(plugin.name, record.name)
  if not is_controls then self:write_files(plugin, record.files) end
  self.plugins[plugin.name] = known
  return known
end

-- Instances -----------------------------------------------------------------------------------------

--- Workers keep instances by this hash, from one snapshot to the next. Where one stands is a part of it: by its scope a
-- plugin knows whom it counts together.
local function hash_of(plugin, item)
  local hash = hash_number(item.scope, hash_text(item.as, plugin.hash))
  return hash_text(item.meta, hash_text(item.json, hash_text(item.on_error, hash)))
end

--- Returns the phases that an instance needs: its plugin's, unless that knows better (Plugin.phases_of).
local function mask_of(item)
  local plugin = item.plugin
  local names = plugin.phases_of and author.ask(plugin.phases_of, cjson.decode(item.json))
  if type(names) ~= "table" then return plugin.mask end
  local mask = 0
  for _, name in ipairs(names) do
    local number = phases.NUMBERS[name]
    if number then mask = bit.bor(mask, bit.lshift(1, number)) end
  end
  return bit.band(mask, plugin.mask)
end

function Writer:write_instance(item, plugin)
  local record, index = self.to:add(C.VF_SNAP_INSTANCES)
  record.hash = hash_of(plugin, item)
  record.plugin, record.scope, record.priority = plugin.index, item.scope, item.priority
  record.tenant = item.tenant and self.tenants[item.tenant].index or NONE
  record.on_error, record.phases = ON_ERROR[item.on_error], mask_of(item)
  self.to:text(item.as, record.as)
  self.to:secret(item.json, record.config)
  self.to:secret(item.meta, record.meta)
  self.to:text(item.source, record.source)
  return { index = index, hash = record.hash, mask = record.phases }
end

--- Returns what is known of the instance that an item becomes: {index, hash, mask}.
function Writer:instance(item)
  local known = self.by_item[item]
  if known then return known end
  local key = table.concat({ item.name, item.as, item.scope, item.tenant or "", item.on_error, item.json, item.meta },
    "\0")
  known = self.instances[key]
  if not known then
    known = self:write_instance(item, self:plugin(item.plugin))
    self.instances[key] = known
  end
  self.by_item[item] = known
  return known
end

-- Chains --------------------------------------------------------------------------------------------

function Writer:write_chain(members, kind)
  local hash, mask = hash_number(kind, 0), 0
  local record, index = self.to:add(C.VF_SNAP_CHAINS)
  local list, first = self.to:add(C.VF_SNAP_MEMBERS, #members)
  for i, member in ipairs(members) do
    list[i - 1] = member.index
    hash = hash_text(tostring(member.hash), hash)
    mask = bit.bor(mask, member.mask)
  end
  record.hash, record.phases, record.kind = hash, mask, kind
  record.members.first, record.members.count = first, #members
  return { index = index, hash = hash }
end

--- Writes a list of items as a chain, unless an equal one is there. Returns {index, hash}.
function Writer:chain(items, kind)
  local known = self.by_items[items]
  if known then return known end
  local members, key = {}, { kind }
  for i, item in ipairs(items) do
    members[i] = self:instance(item)
    key[i + 1] = members[i].index
  end
  local text = table.concat(key, " ")
  known = self.chains[text] or self:write_chain(members, kind)
  self.chains[text], self.by_items[items] = known, known
  return known
end

--- Returns the index of a route's chain, or NONE.
function Writer:of_route(items)
  return items and self:chain(items, C.VF_CHAIN_ROUTE).index or NONE
end

--- Writes those that only run in control: when all others have been.
function Writer:finish()
  for _, plugin in ipairs(self.control) do self:plugin(plugin, true) end
end

-- Settings ------------------------------------------------------------------------------------------

local function write_limits(node, out)
  local limits = node.plugin_limits
  out.cpu_us = limits.cpu == math.huge and layout.OFF or limits.cpu * 1000
  out.memory_bytes, out.body_bytes = u64(limits.memory), u64(limits.body)
  out.trip_errors = u64(limits.trip.errors)
  out.trip_window_ms, out.trip_pause_ms = limits.trip.window, limits.trip.pause
end

--- Returns the plugins that a model uses, as a set by name, and their number.
function M.used(model)
  local names, count = {}, 0
  local function add(items)
    for _, item in ipairs(items or {}) do
      if not names[item.name] then names[item.name], count = item.plugin, count + 1 end
    end
  end
  local seen = {}
  for _, route in ipairs(model.has_chains ~= false and model.routes or {}) do
    local items = rawget(route, "_chain")
    if items and not seen[items] then
      seen[items] = true
      add(items)
    end
  end
  add(model.rest_chain)
  for _, consumer in ipairs(model.consumers) do add(consumer._items) end
  return names, count
end

--- Returns how many plugins have a place in the snapshot: those that requests use, and those that run in control,
-- whose place is for what they are counted by.
function M.count(model)
  local names, count = M.used(model)
  for _, plugin in ipairs(model.control or {}) do
    if not names[plugin.name] then count = count + 1 end
  end
  return count
end

--- Writes the plugins of a model and the chains of consumers; those of routes are written as they ask.
-- @param tenants name -> {index, ...}
-- @return a writer: writer:of_route(route._chain) is what goes into a route's record;
-- writer.of_consumer[consumer] is {index, hash} of its chain
function M.write(to, model, tenants)
  local self = setmetatable({ to = to, tenants = tenants, plugins = {}, instances = {}, by_item = {}, chains = {},
    by_items = {}, of_consumer = {} }, Writer)
  local settings = C.vf_snapb_settings(to.builder)
  settings.chain = self:of_route(model.rest_chain)
  write_limits(model.node, settings.plugin_limits)
  for _, consumer in ipairs(model.consumers) do
    if consumer._items then self.of_consumer[consumer] = self:chain(consumer._items, C.VF_CHAIN_CONSUMER) end
  end
  self.control = model.control or {}
  return self
end

return M
