--- Listeners, trusted networks and the settings of the node.
local ffi = require "ffi"
local destinations = require "veloflux.compiler.destinations"
local layout = require "veloflux.compiler.layout"
local sink = require "veloflux.compiler.sink"
local secure = require "veloflux.compiler.tls"
local traffic = require "veloflux.compiler.traffic"
local account = require("veloflux.conf.node_check").account

ffi.cdef [[ uint32_t vf_host_cpus(void); ]]
local C, OFF = layout.C, layout.OFF

local MAX_WORKERS = 64
local LEVELS = { debug = 0, info = 1, warn = 2, error = 3 } -- enum vf_log_level
local FORMATS = { auto = 0, text = 1, json = 2 } -- enum vf_log_format
local ACCESS_FORMATS = { auto = C.VF_ACCESS_AUTO, text = C.VF_ACCESS_TEXT, json = C.VF_ACCESS_JSON,
  combined = C.VF_ACCESS_COMBINED }

local M = {}

local function write_listener(to, node, listener, kind, tls, find_pool)
  local record = to:add(C.VF_SNAP_LISTENERS)
  record.kind = kind
  record.slot = to:slot("listeners", sink.id("listener", listener.name))
  to:text(listener.name, record.name)
  to:text(listener.address.text, record.address_text)
  sink.address(listener.address, record.address)
  record.proxy_protocol = listener.proxy_protocol and 1 or 0
  record.policy = traffic.complete(to, node, listener)
  record.tls = tls
  if kind == C.VF_LISTENER_ADMIN then return traffic.edits(to, {}, record.edits) end
  record.https_port = listener.redirect_https ~= math.huge and listener.redirect_https or 0
  record.mode = destinations.MODES[listener.mode]
  destinations.write(to, node, listener, find_pool, record.destinations)
  traffic.edits(to, { node, listener, secure.headers_of(listener) }, record.edits)
end

--- Writes the listeners, and the admin address as one more, called admin.
-- @param tls compiler/tls.lua
-- @param find_pool of compiler/destinations.lua
function M.write_listeners(to, node, tls, find_pool)
  for _, listener in ipairs(node.listeners) do
    write_listener(to, node, listener, C.VF_LISTENER_PROXY, tls:listener(listener), find_pool)
  end
  if type(node.admin.address) == "table" then
    write_listener(to, node, { name = "admin", address = node.admin.address }, C.VF_LISTENER_ADMIN, layout.NONE)
  end
end

--- Writes the networks whose forwarding fields are believed.
function M.write_networks(to, node)
  for _, network in ipairs(node.trusted_proxies) do
    local record = to:add(C.VF_SNAP_NETWORKS)
    sink.address(network, record.address)
    record.prefix_bits = network.bits
  end
end

local function write_log(to, log, settings)
  settings.log_level, settings.log_format = LEVELS[log.level], FORMATS[log.format]
  local access = log.access
  if access == "off" then access = { path = "off", format = "auto" } end
  settings.access_format = ACCESS_FORMATS[access.format]
  settings.access_query = access.query and 1 or 0
  to:text(access.path, settings.access_path)
end

local function write_account(node, settings)
  local who = account(node)
  if not who then return end
  settings.change_user, settings.uid, settings.gid = 1, who.uid, who.gid
end

--- Writes the settings.
-- @param sticky_key 32 bytes, or nil: zeros, in a snapshot that nobody will serve from
function M.write_settings(to, node, sticky_key)
  local settings = C.vf_snapb_settings(to.builder)
  settings.workers = node.workers == "auto" and math.min(C.vf_host_cpus(), MAX_WORKERS) or node.workers
  write_account(node, settings)
  write_log(to, node.log, settings)
  to:text(node.data_dir, settings.data_dir)
  to:text(node.pid_file, settings.pid_file)
  local limits = node.limits
  settings.connections = limits.connections == "auto" and OFF or limits.connections
  settings.buffer_memory = limits.buffer_memory
  settings.upstream_keepalive = limits.upstream_keepalive
  if sticky_key then ffi.copy(settings.sticky_key, sticky_key, 32) end
end

return M
