--- What a compiled snapshot says, as lines: records with all that they refer to, whatever the order in which it was
-- written. Two snapshots of the same lines serve alike.
local ffi = require "ffi"
local layout = require "veloflux.compiler.layout"

local C, NONE = layout.C, layout.NONE

local Reader = {}
Reader.__index = Reader

local function hex(text) return (text:gsub("[^ -~]", function(c) return ("\\%02x"):format(c:byte()) end)) end

--- Returns the records of a section and their number.
function Reader:records(section, name)
  local extent = self.header.sections[C["VF_SNAP_" .. section]]
  return ffi.cast(name == "uint32_t" and "const uint32_t *" or "const struct vf_snap_" .. name .. " *",
    self.bytes + extent.offset), extent.count
end

function Reader:text(place) return hex(ffi.string(self.bytes + place.offset, place.len)) end

function Reader:list(section, name, list, describe)
  local records, parts = self:records(section, name), {}
  for i = 0, list.count - 1 do parts[i + 1] = describe(self, records[list.first + i]) end
  return "[" .. table.concat(parts, "; ") .. "]"
end

local function number(value) return (tostring(value):gsub("U?LL$", "")) end

--- Puts fields of a record into words: names of numbers, with a colon of texts.
function Reader:fields(record, names)
  local parts = {}
  for name in names:gmatch "%S+" do
    local text = name:match "^:(.*)$"
    parts[#parts + 1] = text and text .. "=" .. self:text(record[text]) or name .. "=" .. number(record[name])
  end
  return table.concat(parts, " ")
end

local function bytes_of(value, size) return hex(ffi.string(ffi.cast("const char *", value), size)) end

function Reader:policy(index)
  if index == NONE then return "none" end
  local policy = self:records("POLICIES", "policy")[index]
  local parts = { number(policy.set) }
  for i = 0, C.VF_POLICY_FIELDS - 1 do parts[#parts + 1] = number(policy.value[i]) end
  return table.concat(parts, ",")
end

function Reader:edits(edits)
  local function describe(_, op) return self:fields(op, "kind :name :value") end
  return self:list("FIELD_OPS", "field_op", edits.request, describe) ..
    self:list("FIELD_OPS", "field_op", edits.response, describe)
end

function Reader:address(address) return bytes_of(address, ffi.sizeof(address)) end

function Reader:trust(index)
  if index == NONE then return "none" end
  return self:fields(self:records("TRUSTS", "trust")[index], "id :authorities :revocations")
end

function Reader:identity(index)
  if index == NONE then return "none" end
  return self:fields(self:records("IDENTITIES", "identity")[index], "id not_after_s :name :chain :key")
end

function Reader:identities(list)
  local indexes, parts = self:records("NAME_IDENTITIES", "uint32_t"), {}
  for i = 0, list.count - 1 do parts[i + 1] = self:identity(indexes[list.first + i]) end
  return "[" .. table.concat(parts, "; ") .. "]"
end

function Reader:upstream_tls(index)
  if index == NONE then return "none" end
  local tls = self:records("UPSTREAM_TLS", "upstream_tls")[index]
  return self:fields(tls, "id :name :pins verify depth min_version") .. " trust=" .. self:trust(tls.trust)
    .. " identity=" .. self:identity(tls.identity)
end

function Reader:tls(index)
  if index == NONE then return "none" end
  local tls = self:records("TLS", "tls")[index]
  local names = self:list("SERVER_NAMES", "server_name", tls.names, function(_, name)
    return self:text(name.name) .. self:identities(name.identities)
  end)
  return self:fields(tls, "id min_version flags handshake_ms handshake_rate :alpn client_auth depth")
    .. self:trust(tls.trust) .. names .. self:identities(tls.defaults)
end

function Reader:instance(index)
  local instance = self:records("INSTANCES", "instance")[index]
  local plugin = self:records("PLUGINS", "plugin")[instance.plugin]
  local files = self:list("PLUGIN_FILES", "plugin_file", plugin.files, function(_, file)
    return self:text(file.name) .. #self:text(file.source)
  end)
  return self:fields(instance, "hash :as scope tenant priority on_error phases :config :meta :source") ..
    self:fields(plugin, " hash :name slot phases") .. files
end

function Reader:chain(index)
  if index == NONE then return "none" end
  local chain = self:records("CHAINS", "chain")[index]
  local members, parts = self:records("MEMBERS", "uint32_t"), {}
  for i = 0, chain.members.count - 1 do parts[i + 1] = self:instance(members[chain.members.first + i]) end
  return self:fields(chain, "hash phases kind") .. "{" .. table.concat(parts, "; ") .. "}"
end

function Reader:health(index)
  if index == NONE then return "none" end
  local health = self:records("HEALTH", "health")[index]
  return self:fields(health, "type rise fall n_ranges interval_ms timeout_ms :path :host")
    .. bytes_of(health.ranges, ffi.sizeof(health.ranges))
end

function Reader:client_cert(index)
  if index == NONE then return "none" end
  local wanted = self:records("CLIENT_CERTS", "client_cert")[index]
  return self:fields(wanted, "mode depth flags") .. self:trust(wanted.trust)
end

local DESCRIBE = {
  { "TENANTS", "tenant", function(self, tenant) return self:fields(tenant, "id :name slot active") end },
  { "LISTENERS", "listener", function(self, listener)
    local destinations = self:list("DESTINATIONS", "destination", listener.destinations, function(_, to)
      return self:text(to.name) .. to.pool .. self:policy(to.policy)
    end)
    return self:fields(listener, ":name :address_text kind slot proxy_protocol https_port mode")
      .. self:address(listener.address) .. self:policy(listener.policy) .. self:tls(listener.tls) .. destinations
      .. self:edits(listener.edits)
  end },
  { "POOLS", "pool", function(self, pool)
    return self:fields(pool, "id :name tenant slot algorithm hash_on :hash_name flags proxy_protocol :sticky_cookie "
      .. "sticky_ttl_ms max_connections protocol") .. pool.backends.count .. self:policy(pool.policy)
      .. self:upstream_tls(pool.tls)
      .. self:list("BACKENDS", "backend", pool.backends, function(_, backend)
        return self:fields(backend, "id :address_text :host pool slot weight") .. self:address(backend.address)
          .. self:health(backend.health)
      end)
  end },
  { "ROUTES", "route", function(self, route)
    return self:fields(route, "id :name :source tenant slot path_kind priority :path methods rank action pool status "
      .. ":target :body :content_type strip_prefix has_rewrite :rewrite inactive")
      .. self:list("CONDITIONS", "condition", route.conditions, function(_, condition)
        return self:fields(condition, "kind test :name :value")
      end)
      .. self:list("BINDINGS", "binding", route.bindings, function(_, binding)
        return self:fields(binding, "route :host")
      end)
      .. self:policy(route.policy) .. self:edits(route.edits) .. self:chain(route.chain)
      .. self:client_cert(route.client_cert)
  end },
  { "NETWORKS", "network", function(self, network) return self:address(network.address) .. network.prefix_bits end },
}

function Reader:candidates(list)
  local indexes, parts = self:records("CANDIDATES", "uint32_t"), {}
  for i = 0, list.count - 1 do parts[i + 1] = tostring(indexes[list.first + i]) end
  return "[" .. table.concat(parts, " ") .. "]"
end

--- The lookup tables: by host and path. Which numbers their nodes have, and which entries, is nobody's business.
local function table_lines(self, lines)
  local hosts, n_hosts = self:records("HOSTS", "host")
  local nodes, n_nodes = self:records("NODES", "node")
  local children, own = {}, {}
  for i = 0, n_nodes - 1 do
    local node = nodes[i]
    if node.parent ~= NONE then
      children[node.parent] = children[node.parent] or {}
      table.insert(children[node.parent], node)
    end
  end
  local function add(path, parent)
    for _, node in ipairs(children[parent] or {}) do
      local inner = path .. "/" .. self:text(node.segment)
      own[#own + 1] = ("node %s %s %s"):format(inner, self:candidates(node.prefix), self:candidates(node.exact))
      add(inner, node.id)
    end
  end
  for i = 0, n_hosts - 1 do
    local host = hosts[i]
    if host.used ~= 0 then
      own[#own + 1] = ("host %s %s %s %d"):format(self:text(host.name), self:candidates(host.prefix_root),
        self:candidates(host.regexes), host.asks_clients)
      add(self:text(host.name), host.root)
    end
  end
  table.sort(own)
  for _, line in ipairs(own) do lines[#lines + 1] = line end
end

local function settings_lines(self, lines)
  local settings = self.header.settings
  lines[#lines + 1] = self:fields(settings, "workers uid gid change_user log_level log_format access_format "
    .. "access_query :access_path :data_dir :pid_file connections buffer_memory upstream_keepalive client_certs "
    .. "asks_clients")
  lines[#lines + 1] = bytes_of(settings.sticky_key, 32)
    .. bytes_of(settings.plugin_limits, ffi.sizeof(settings.plugin_limits))
  lines[#lines + 1] = self:chain(settings.chain)
  for i = 0, 1 do lines[#lines + 1] = self:upstream_tls(settings.plugin_tls[i]) end
end

local M = {}

--- Returns the lines of a compiled model (compiler.compile).
function M.lines(compiled)
  local bytes = ffi.cast("const char *", compiled.data)
  local self = setmetatable({ bytes = bytes, header = ffi.cast("const struct vf_snap_header *", compiled.data) },
    Reader)
  local lines = {}
  settings_lines(self, lines)
  for _, kind in ipairs(DESCRIBE) do
    local section, name, describe = unpack(kind)
    local records, count = self:records(section, name)
    for i = 0, count - 1 do lines[#lines + 1] = ("%s %d: %s"):format(name, i, describe(self, records[i])) end
  end
  table_lines(self, lines)
  return lines
end

--- Returns the bytes of a compiled model.
function M.bytes(compiled) return ffi.string(ffi.cast("const char *", compiled.data), compiled.size) end

return M
