--- From the model to a snapshot: every entity becomes a record of snapshot/layout.h.
local ffi = require "ffi"
local layout = require "veloflux.compiler.layout"
local carry = require "veloflux.compiler.carry"
local sink = require "veloflux.compiler.sink"
local destinations = require "veloflux.compiler.destinations"
local node = require "veloflux.compiler.node"
local pools = require "veloflux.compiler.pools"
local plugins = require "veloflux.compiler.plugins"
local routes = require "veloflux.compiler.routes"
local tls = require "veloflux.compiler.tls"
local keys = require "veloflux.keys"
local slices = require "veloflux.slices"

local C = layout.C

local M = {}

local MANY = 20000 -- routes and backends that take longer than a slice of time: 5 ms

local function write_tenants(to, model)
  local by_name = {}
  local records, first = to:add(C.VF_SNAP_TENANTS, #model.tenants)
  for i, tenant in ipairs(model.tenants) do
    local record = records[i - 1]
    record.id = sink.id("tenant", tenant.name)
    record.slot = to:slot("tenants", record.id)
    record.active = tenant.active and 1 or 0
    to:text(tenant.name, record.name)
    by_name[tenant.name] = { index = first + i - 1, name = tenant.name, hosts = tenant.hosts, active = tenant.active }
  end
  return by_name
end

--- Writes everything. Returns the chains, and what the next compilation can carry over from.
local function write(to, model, sticky_key, base)
  node.write_settings(to, model.node, sticky_key)
  local secure = tls.writer(to, model)
  secure:plugins()
  node.write_networks(to, model.node)
  local tenants = write_tenants(to, model)
  local carried = base and carry.new(to, base, model, tenants)
  local indexes, memory = pools.write(to, model, tenants, secure, carried)
  node.write_listeners(to, model.node, secure, destinations.finder(model, indexes))
  local chains = plugins.write(to, model, tenants)
  routes.write(to, model, { pools = indexes, tenants = tenants, chains = chains, secure = secure }, carried)
  chains:finish()
  memory.tenants = tenants
  return chains, memory
end

local function problem(model, path, message)
  return { file = model.source, path = path, message = message }
end

local function no_room(model, kind, message)
  local found = problem(model, kind, message)
  found.rule = "room"
  return found
end

local function check_counts(model)
  local n_backends = 0
  for _, pool in ipairs(model.pools) do n_backends = n_backends + #pool.backends end
  local _, n_plugins = plugins.used(model)
  local counts = { plugins = n_plugins, tenants = #model.tenants, pools = #model.pools, backends = n_backends,
    routes = #model.routes }
  for kind, count in pairs(counts) do
    local room = layout.SLOTS[kind].room
    if kind == "plugins" then count = plugins.count(model) end
    if count > room then
      return nil, no_room(model, kind, ("expected at most %d, got %d"):format(room, count))
    end
  end
  return counts
end

--- Finishes a builder on this thread.
-- @return nil, or why it could not be
function M.finish_here(builder, version)
  local text = ffi.new "char[256]"
  if C.vf_snapb_finish(builder, version, text, ffi.sizeof(text)) ~= 0 then return ffi.string(text) end
end

local threads -- see use_threads

--- From here on what takes long and needs no Lua is done on threads.
-- @param offered {finish = function(builder, version), as M.finish_here, which may yield, free = function(builder)}
function M.use_threads(offered) threads = offered end

local function finish(builder, version, counts)
  local is_large = counts.routes + counts.backends >= MANY
  return (threads and is_large and threads.finish or M.finish_here)(builder, version)
end

--- What was carried over may be at fault: it is left alone, and all is compiled. `mended` says what was wrong.
local function compile_anew(model, options, fault)
  local alone = {}
  for name, value in pairs(options) do alone[name] = value end
  alone.base = nil
  local compiled, found, is_passing = M.compile(model, alone)
  if compiled then compiled.mended = fault end
  return compiled, found, is_passing
end

--- Compiles a model.
-- @param model of conf.load
-- @param options table:
--   version        of the snapshot (1)
--   state          the state area, struct vf_state *: slots are taken there. Without it slots are
--                  numbered in order, no key is read or made: for check
--   oldest_pinned  oldest version that a process has mapped (asked of the state area)
--   base           what this function made of another model, which was published last: what both have in common is
--                  carried over, in a fraction of the time
-- @return {data, size, builder, summary, ...}: the snapshot in memory that lives as long as the table, or until it is
-- given back; or nil, one problem, as conf.load's, and whether it may pass by itself. `summary` counts tenants, pools,
-- backends, routes, listeners and plugins; `consumer_chains` has {index, hash} of a chain for each consumer that has
-- plugins; `mended` says what was wrong with what was carried over.
function M.compile(model, options)
  local version, state = options.version or 1, options.state
  local counts, fault = check_counts(model)
  if not counts then return nil, fault end
  local oldest = options.oldest_pinned or state ~= nil and C.vf_state_oldest_pinned(state, version) or version
  local sticky_key, message
  if state ~= nil then
    sticky_key, message = keys.sticky(model.node)
    if not sticky_key then return nil, problem(model, "data_dir", message) end
  end
  local base = carry.fits(options.base, model) and options.base or nil
  local to = sink.new(version, state, oldest, base and base.builder)
  if base then M.hold(base) end
  local ok, raised, memory = pcall(write, to, model, sticky_key, base) -- the chains, or what was raised
  slices.look()
  if ok then message = finish(to.builder, version, counts) end
  if base then M.give_back(base) end
  if not ok and type(raised) == "table" then -- a slot table is full
    return nil, no_room(model, raised.kind,
      ("no room for more: %d at a time, counting those that a process still serves"):format(raised.room)), true
  elseif not ok then
    if base then return compile_anew(model, options, raised) end
    error(raised, 0)
  end
  local is_unsound = message and C.vf_snapb_is_unsound(to.builder) == 1
  if is_unsound and base then return compile_anew(model, options, message) end
  if message then return nil, problem(model, "", message), not is_unsound end
  counts.listeners = #model.node.listeners
  return { builder = to.builder, data = C.vf_snapb_data(to.builder), size = tonumber(C.vf_snapb_size(to.builder)),
    version = version, model = model, memory = memory, summary = counts, consumer_chains = raised.of_consumer,
    n_holders = 1 }
end

--- Says that one more uses a compiled model, while it may be given back by others.
function M.hold(compiled) compiled.n_holders = compiled.n_holders + 1 end

--- The caller, or one who holds it, needs a compiled model no more. With the last its memory goes, of which the garbage
-- collector knows nothing: megabytes behind a few bytes.
function M.give_back(compiled)
  compiled.n_holders = compiled.n_holders - 1
  if compiled.n_holders > 0 then return end
  local free = threads and threads.free or C.vf_snapb_free
  free(ffi.gc(compiled.builder, nil))
  compiled.builder, compiled.data = nil, nil
end

--- Returns a sealed memfd with a compiled snapshot, owned by the caller; or nil and a message.
function M.memfd(compiled)
  local fd = C.vf_snapb_memfd(compiled.builder)
  if fd < 0 then return nil, ("memfd: error %d"):format(-fd) end
  return fd
end

--- Marks what is not in a published snapshot as dead, so that its slots can be used again later.
function M.sweep(compiled, state)
  local bytes = ffi.cast("const char *", compiled.data)
  local sections = ffi.cast("const struct vf_snap_header *", compiled.data).sections
  for _, slots in pairs(layout.SLOTS) do
    local extent = sections[slots.section]
    local first = ffi.cast("const uint32_t *", bytes + extent.offset + slots.offset)
    C.vf_state_slot_sweep(state, slots.kind, first, extent.count, slots.stride, compiled.version)
  end
end

return M
