--- This node and the others that share its store: who they are, which version each serves, and who leads.
--
-- A node without a shared store is a cluster of one: it leads, and has nobody to wait for.
local ffi = require "ffi"
local alarms = require "veloflux.control.alarms"
local caches = require "veloflux.cluster.caches"
local crypto = require "veloflux.pdk.crypto"
local entities = require "veloflux.control.entities"
local flow = require "veloflux.control.flow"
local hostnames = require "veloflux.pdk.node"
local identity = require "veloflux.cluster.identity"
local leader = require "veloflux.cluster.leader"
local link = require "veloflux.control.link"
local nodes = require "veloflux.cluster.nodes"
local queue = require "veloflux.control.queue"
local storage = require "veloflux.control.storage"
local totals = require "veloflux.totals"
local uuids = require "veloflux.node_uuid"

ffi.cdef [[
const char *vf_version(void);
uint64_t vf_clock_wall_ms(void);
]]

local M = {}

local WORD_BYTES = 4 -- that tell the processes of one node apart
local RUN = crypto.hex_encode(crypto.random_bytes(WORD_BYTES)) -- of this process
local LAST_WORDS_MS = 1000 -- for what is said at the end
local LONE_LEASE_MS = 10 * 60 * 1000 -- of who has nobody to share it with

local uuid -- of this node, once it is known
local running -- {id, heartbeat, lease, is_shared}: as it was begun; nil: not yet
local is_ended = false
local watching -- the alarm that looks whether this node is to end
local digested, digest -- the file part of a world, and its digest

local function wall_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

local function no_secret() return "" end

--- Returns a digest of the entities that stand in this node's file, without their secrets: nodes with the same
-- digest add the same to what the store has.
local function digest_of(world)
  if digested == world.file then return digest end
  local lines = {}
  for kind, records in pairs(world.file) do
    for key, record in pairs(records) do
      lines[#lines + 1] = ("%s %s %s\n"):format(kind, key, entities.encode(kind, record, no_secret))
    end
  end
  table.sort(lines)
  digested, digest = world.file, crypto.hex_encode(crypto.hash("sha256", table.concat(lines))):sub(1, 16)
  return digest
end

local function state_of(node, behind)
  if node.is_stopping ~= 0 or is_ended then return "draining" end
  if behind then return "behind" end
  return node.n_ready > 0 and "healthy" or "unhealthy"
end

--- Returns what this node says of itself.
local function describe()
  local world, behind, node, now = queue.world(), queue.behind(), totals.node(), flow.current()
  local address = now.model.node.admin.address
  return { uuid = uuid, run = RUN, hostname = hostnames.get_hostname(),
    address = type(address) == "table" and address.text or "off",
    version = world and world.version or now.version, -- that all workers run
    release = ffi.string(ffi.C.vf_version()), digest = world and digest_of(world),
    started_ms = totals.number(node.started_wall_ms), state = state_of(node, behind),
    behind = behind and behind.version or nil, why = behind and behind.why or nil }
end

--- True while this node finishes what is under way and ends.
function M.is_draining() return is_ended or totals.node().is_stopping ~= 0 end

--- A node that ends gives its office back at once, however long it drains.
local function watch_drain()
  watching = nil
  if not running or is_ended then return end
  if M.is_draining() then return leader.stop() end
  watching = alarms.after(running.heartbeat, watch_drain)
end

--- Some node serves this version.
local function on_version(version)
  if M.is_draining() then return end
  local base = queue.base()
  if base and (version > base.version or queue.unavailable()) then queue.follow() end
end

local function start(id, settings)
  running = { id = id, heartbeat = settings.heartbeat, lease = settings.lease, is_shared = storage.is_shared() }
  nodes.start { store = storage.current, is_shared = storage.is_shared, id = id, heartbeat_ms = settings.heartbeat,
    lease_ms = settings.lease, wall_ms = wall_ms, describe = describe, on_version = on_version }
  leader.start { store = storage.current, lease_ms = storage.is_shared() and settings.lease or LONE_LEASE_MS,
    holder = ("%s/%s"):format(id, crypto.hex_encode(crypto.random_bytes(WORD_BYTES))) }
  caches.start()
  alarms.cancel(watching)
  watch_drain()
end

--- Reads, or makes, the UUID of this node, and tells all its processes. May be repeated.
-- @param node its settings
function M.introduce(node)
  if uuid then return end
  local found, message = identity.uuid(node)
  if not found then return link.log("error", "cluster.no_uuid", message) end
  uuid = found
  uuids.publish(totals.state(), uuid)
end

--- Begins anew: nothing is known of this node yet.
function M.open()
  leader.stop()
  nodes.stop()
  caches.stop()
  storage.hear(caches.heard, caches.on_news)
  running, is_ended, uuid = nil, false, nil
end

--- Something of this node has changed: what it serves, or its settings.
function M.update()
  local world = queue.world()
  if not world or not flow.current() or is_ended then return end
  local settings = world.draft.node.cluster
  local id, message = identity.of(world.draft.node)
  if not id then return link.log("error", "cluster.no_id", message) end
  local is_same = running and running.id == id and running.heartbeat == settings.heartbeat
    and running.lease == settings.lease and running.is_shared == storage.is_shared()
  if not is_same then return start(id, settings) end
  nodes.touch()
end

--- The process ends: what it holds is given back, so that others need not wait.
-- @param callback function(), or nil: it is given back, or there was no time for that
function M.stop(callback)
  is_ended = true
  local left, has_ended = 2, false
  local function finish()
    if has_ended then return end
    has_ended = true
    if callback then callback() end
  end
  local function said()
    left = left - 1
    if left == 0 then finish() end
  end
  alarms.after(LAST_WORDS_MS, finish)
  caches.stop()
  leader.stop(said)
  nodes.stop("draining", said)
end

--- Returns the id of the node that leads, as far as is known, or nil.
function M.leader()
  local known = leader.known()
  return known and known.holder and known.holder:match "^(.*)/%x+$"
end

--- Returns the id of this node, or nil before it serves anything.
function M.id()
  local now = flow.current()
  return running and running.id or now and identity.of(now.model.node)
end

--- Returns what is known of all nodes: cluster/nodes.lua. Before this one has begun to speak that is itself alone.
function M.nodes()
  if running or not flow.current() then return nodes.list() end
  local own = describe()
  own.id, own.seen_ms, own.is_alive, own.is_self = M.id(), wall_ms(), true, true
  return { own }
end

--- Returns what tells this process from others, also from those before it on the same node.
function M.run() return RUN end

--- Returns the id of the other node on which a process lives, as far as is known, or nil.
-- @param run what `run` returned there, or nil
function M.node_of(run)
  for _, node in ipairs(run and M.nodes() or {}) do
    if node.run == run and node.is_alive and not node.is_self then return node.id end
  end
end

--- True when this node leads now. One that is by itself always does.
function M.is_leader() return not storage.is_shared() or leader.current() ~= nil end

--- True when the store is shared with other nodes.
function M.is_enabled() return storage.is_shared() end

--- Returns what is wrong with this node as one of several, or nil.
function M.trouble()
  local behind = queue.behind()
  if behind then return ("cannot serve version %d of the store: %s"):format(behind.version, behind.why) end
  if storage.is_shared() and nodes.is_silent() then return "the store does not take this node's heartbeat" end
end

M.wait = nodes.wait

return M
