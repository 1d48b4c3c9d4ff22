--- TLS of listeners: identities (certificates with their keys), who is asked for by which name, and whose certificates
-- are believed. What is the same stands in the snapshot once.
local bit = require "bit"
local certificate = require "veloflux.model.kinds.certificate"
local encoding = require "veloflux.pdk.encoding"
local hosts = require "veloflux.model.hosts"
local layout = require "veloflux.compiler.layout"
local sink = require "veloflux.compiler.sink"
local x509 = require "veloflux.x509"

local C, NONE = layout.C, layout.NONE

local CLIENT_AUTH = { optional = C.VF_CLIENT_AUTH_OPTIONAL, require = C.VF_CLIENT_AUTH_REQUIRED }
local MAX_SIDE_BY_SIDE = 4 -- identities of one name, see tls/core.h

local M = {}

local PLUGINS, PLUGINS_OPEN -- what stands for a pool there

local upstream_type = require("veloflux.model").types.pools.by_name.tls.forms.map

local Writer = {}
Writer.__index = Writer

--- Returns the index of the identity of a record with cert and key.
function Writer:identity(record, name)
  local facts = certificate.facts(record)
  local known = self.identities[facts]
  if known then return known end
  local out, index = self.to:add(C.VF_SNAP_IDENTITIES)
  out.id = sink.id("identity", facts.der, facts.key)
  out.not_after_s = facts.chain_not_after
  self.to:text(name, out.name)
  self.to:text(facts.der, out.chain)
  self.to:secret(facts.key, out.key)
  self.identities[facts] = index
  return index
end

--- Returns the index of the authorities of a record with ca and perhaps crl; without ca those of the system.
function Writer:trust(record)
  local authorities, message
  if record.ca then authorities, message = x509.authorities(record.ca) else authorities, message = x509.system() end
  if not authorities then error(message, 0) end
  local revocations = record.crl and assert(x509.revocations(record.crl)).der or ""
  local id = sink.id("trust", authorities.der, revocations)
  local key = tostring(id)
  if self.trusts[key] then return self.trusts[key] end
  local out, index = self.to:add(C.VF_SNAP_TRUSTS)
  out.id = id
  self.to:text(authorities.der, out.authorities)
  self.to:text(revocations, out.revocations)
  self.trusts[key], self.trust_ids[index] = index, key
  return index
end

function Writer:indexes(list, out)
  if #list == 0 then return end
  local records, first = self.to:add(C.VF_SNAP_NAME_IDENTITIES, #list)
  for i, index in ipairs(list) do records[i - 1] = index end
  out.first, out.count = first, #list
end

--- The certificates beside those of a listener, the last to end first.
function Writer:others()
  if self.sorted then return self.sorted end
  local sorted = {}
  for i, record in ipairs(self.model.certificates) do sorted[i] = { record = record, place = i } end
  table.sort(sorted, function(a, b)
    local x, y = certificate.facts(a.record).chain_not_after, certificate.facts(b.record).chain_not_after
    if x ~= y then return x > y end
    return a.place < b.place
  end)
  self.sorted = sorted
  return sorted
end

--- Returns the names that a certificate answers for: with one of a tenant, the tenant's hosts only.
function Writer:names_of(record)
  local names, tenant = certificate.facts(record).names, record.tenant
  if not tenant or tenant == "default" then return names end
  local of_tenant = self.names_of_tenants[record]
  if not of_tenant then
    self.owners = self.owners or hosts.owners(self.model.tenants)
    of_tenant = hosts.of_tenant(self.owners, names, tenant)
    self.names_of_tenants[record] = of_tenant
  end
  return of_tenant
end

--- Returns the identities of a listener in order of preference, as a list of {index, facts, names, key}.
function Writer:chosen(tls)
  local by_name, list = {}, {}
  for _, record in ipairs(self.model.certificates) do
    if record.tenant == "default" then by_name[record.name] = record end
  end
  local function add(record, name)
    local index = self:identity(record, name)
    list[#list + 1] = { index = index, facts = certificate.facts(record), names = self:names_of(record),
      tenant = record.tenant or "default", key = index .. " " .. (record.tenant or "default") }
  end
  for _, own in ipairs(tls.certificates) do
    if type(own) == "string" then
      add(by_name[own], own)
    else
      add(own, certificate.facts(own).names[1] or "")
    end
  end
  for _, other in ipairs(tls.others and self:others() or {}) do add(other.record, other.record.name) end
  return list
end

--- Returns sorted names and, for each, the indexes of its identities.
local function by_name(list)
  local names, of = {}, {}
  for _, item in ipairs(list) do
    for _, name in ipairs(item.names) do
      if not of[name] then
        names[#names + 1], of[name] = name, {}
      end
      local indexes, is_known = of[name], false
      for _, index in ipairs(indexes) do is_known = is_known or index == item.index end
      if not is_known and #indexes < MAX_SIDE_BY_SIDE then indexes[#indexes + 1] = item.index end
    end
  end
  table.sort(names)
  return names, of
end

--- The identities for clients that name no host: the first one that is no tenant's, and those of other kinds of keys
-- with the same names.
local function defaults(all)
  local list = {}
  for _, item in ipairs(all) do
    if item.tenant == "default" then list[#list + 1] = item end
  end
  local first = list[1]
  if not first then return {} end
  local indexes, kinds = { first.index }, { [first.facts.key_kind] = true }
  for _, item in ipairs(list) do
    if not kinds[item.facts.key_kind] and item.facts.names[1] == first.facts.names[1] then
      kinds[item.facts.key_kind] = true
      indexes[#indexes + 1] = item.index
    end
  end
  return indexes
end

function Writer:names(tls, out)
  local list = self:chosen(tls)
  local key = {}
  for i, item in ipairs(list) do key[i] = item.key end
  key = table.concat(key, ",")
  local known = self.lists[key]
  if not known then
    local names, of = by_name(list)
    known = { first = 0, count = #names, defaults = defaults(list) }
    if #names > 0 then
      local records
      records, known.first = self.to:add(C.VF_SNAP_SERVER_NAMES, #names)
      for i, name in ipairs(names) do
        self.to:text(name, records[i - 1].name)
      end
      for i, name in ipairs(names) do self:indexes(of[name], records[i - 1].identities) end
    end
    self.lists[key] = known
  end
  out.names.first, out.names.count = known.first, known.count
  self:indexes(known.defaults, out.defaults)
end

--- Returns what a listener adds to answers, as something that has `headers`; nil: nothing.
function M.headers_of(listener)
  local hsts = listener.tls and listener.tls.hsts
  if type(hsts) ~= "table" then return nil end
  local value = ("max-age=%d%s%s"):format(hsts.max_age / 1000, hsts.subdomains and "; includeSubDomains" or "",
    hsts.preload and "; preload" or "")
  local response = { remove = {}, set = { ["Strict-Transport-Security"] = value }, add = {} }
  return { headers = { response = response } }
end

--- Writes the TLS of a listener.
-- @return its index, or VF_SNAP_NONE
function Writer:listener(listener)
  local tls = listener.tls
  if not tls then return NONE end
  local out, index = self.to:add(C.VF_SNAP_TLS)
  out.id = sink.id("listener", listener.name)
  out.min_version = (tls.profile == "modern" or tls.min_version == "1.3") and 13 or 12
  out.handshake_ms = tls.handshake_timeout
  if tls.handshake_rate ~= math.huge then
    out.handshake_rate, out.handshake_burst = tls.handshake_rate, tls.handshake_burst
  end
  local sends = tls.client_auth and tls.client_auth.forward
  out.flags = bit.bor(tls.tickets and C.VF_TLS_TICKETS or 0, sends and C.VF_TLS_SENDS_CERTIFICATE or 0)
  if sends then C.vf_snapb_settings(self.to.builder).client_certs = 1 end
  self.to:text(table.concat(tls.alpn, "\n"), out.alpn)
  out.trust = NONE
  local auth = tls.client_auth
  if auth then
    out.client_auth, out.depth, out.trust = CLIENT_AUTH[auth.mode], auth.depth, self:trust(auth)
  end
  self:names(tls, out)
  return index
end

--- Writes what a route wants of the certificates of clients.
-- @return its index, or VF_SNAP_NONE
function Writer:route(route)
  local wanted = rawget(route, "client_certificate")
  if wanted == nil or wanted == "optional" then return NONE end
  local own = type(wanted) == "table" and wanted or nil
  local mode, depth = CLIENT_AUTH[own and own.mode or wanted], own and own.depth or 0
  local trust, sends = own and self:trust(own) or NONE, own ~= nil and own.forward
  local key = ("%d %d %s %s"):format(mode, depth, trust, sends)
  if self.client_certs[key] then return self.client_certs[key] end
  local out, index = self.to:add(C.VF_SNAP_CLIENT_CERTS)
  out.mode, out.trust, out.depth = mode, trust, depth
  out.flags = sends and C.VF_TLS_SENDS_CERTIFICATE or 0
  local settings = C.vf_snapb_settings(self.to.builder)
  if own then settings.asks_clients = 1 end
  if sends then settings.client_certs = 1 end
  self.client_certs[key] = index
  return index
end

local function decode_pin(pin) return (encoding.base64_decode(pin:match "^sha256//(.*)$")) end

--- Writes the TLS of connections to the backends of a pool.
-- @return its index, or VF_SNAP_NONE
function Writer:upstream(pool)
  local tls = pool.tls
  if tls == false then return NONE end
  if tls == true then tls = M.default_upstream end
  local trust = (tls.verify or tls.ca) and self:trust(tls) or NONE
  local identity = tls.cert and self:identity(tls, pool.name) or NONE
  local pins = {}
  for i, pin in ipairs(tls.pins) do pins[i] = decode_pin(pin) end
  local out, index = self.to:add(C.VF_SNAP_UPSTREAM_TLS)
  out.trust, out.identity, out.depth = trust, identity, tls.depth
  out.min_version = tls.min_version == "1.3" and 13 or 12
  out.verify = tls.verify and 1 or 0
  self.to:text(tls.name or "", out.name)
  self.to:text(table.concat(pins), out.pins)
  out.id = self:upstream_id(tls, trust, identity)
  return index
end

--- Writes the TLS of connections that plugins make: verified by the system's authorities, if it has some; and not.
function Writer:plugins()
  local settings = C.vf_snapb_settings(self.to.builder)
  settings.plugin_tls[0] = self:upstream(PLUGINS_OPEN)
  settings.plugin_tls[1] = x509.system() and self:upstream(PLUGINS) or NONE
end

--- Connections are alike when this is equal.
function Writer:upstream_id(tls, trust, identity)
  local facts = identity ~= NONE and certificate.facts(tls)
  local own_trust = trust ~= NONE and self.trust_ids[trust] or ""
  local text = table.concat({ tostring(tls.verify), tls.name or "", own_trust, facts and facts.fingerprint or "",
    tls.depth, tls.min_version, table.concat(tls.pins, ",") }, "\0")
  return sink.id("upstream tls", text)
end

PLUGINS, PLUGINS_OPEN = { name = "plugins", tls = true },
  { name = "plugins", tls = upstream_type.from_default { verify = false } }

M.default_upstream = upstream_type.from_default {}

--- Returns what writes TLS into a snapshot.
-- @param to compiler/sink.lua
function M.writer(to, model)
  return setmetatable({ to = to, model = model, identities = {}, trusts = {}, trust_ids = {}, lists = {},
    names_of_tenants = {}, client_certs = {} }, Writer)
end

return M
