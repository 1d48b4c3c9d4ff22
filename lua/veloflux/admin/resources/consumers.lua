--- The resources of consumers and of their credentials.
local crypto = require "veloflux.pdk.crypto"
local elements = require "veloflux.control.elements"
local encoding = require "veloflux.pdk.encoding"
local entities = require "veloflux.admin.entities"
local json = require "veloflux.pdk.json"
local parts = require "veloflux.admin.resources.parts"
local plugin_kind = require "veloflux.model.kinds.plugin"
local queue = require "veloflux.control.queue"
local view = require "veloflux.model.view"

local STRING = parts.STRING
local with_common, not_found, tenant_of, entity = parts.with_common, parts.not_found, parts.tenant_of, parts.entity

local function credential_of(record) return plugin_kind.plugin_of(record).credential end

local function credential_id(entry)
  local record = entry.record
  return elements.credential_id(record.type, record[credential_of(record).id])
end

local CREDENTIAL_ID = { "credential_id", STRING, "What it is called in paths." }

local function show_credential(entry, shown)
  shown.credential_id, shown.consumer = credential_id(entry), entry.name
  if shown.id == entry.name and not rawget(entry.record, "id") then shown.id = shown.credential_id end
end

local function credentials_by_id(entry)
  local by_id = {}
  for _, credential in ipairs(entry and entities.elements(entry, "credentials") or {}) do
    by_id[credential_id(credential)] = credential
  end
  return by_id
end

local M = {}

M.consumers = entity {
  name = "consumers", noun = "consumer", kind = "consumers", permission = "consumers",
  is_per_tenant = true, methods = parts.METHODS,
  order = "tenant_id,name",
  forms = { { collection = "/api/consumers", single = "/api/consumers/{id}" } },
  fields = with_common {},
  show = function(entry, shown)
    for i, credential in ipairs(entities.elements(entry, "credentials")) do
      shown.credentials[i].credential_id = credential_id(credential)
    end
  end,
  prepare = function(value, entry)
    if not json.is_array(value.credentials) then return nil end
    local by_id = credentials_by_id(entry)
    for _, credential in ipairs(value.credentials) do
      if type(credential) == "table" then
        local before = by_id[credential.credential_id]
        credential.credential_id, credential.consumer = nil, nil
        if before then view.unmask(credential, entities.open(before)) end
      end
    end
  end,
}

local SECRET_BYTES = 32 -- of one that is made here

--- Makes the secret that a credential needs and did not bring.
local function complete(value)
  local world = queue.world()
  local plugin = world and type(value.type) == "string" and world.tools.plugins:find(value.type)
  local of = plugin and plugin.credential
  if not of then return end
  for _, single in ipairs(of.config.fields) do
    local name, attr = next(single)
    if attr.secret and attr.required and value[name] == nil then
      value[name] = encoding.base64url_encode(crypto.random_bytes(SECRET_BYTES))
    end
  end
end

local function consumer_of(t, params)
  local consumer = entities.find(t, "consumers", tenant_of(params), params.consumer)
  if not consumer then return nil, not_found("consumer", params.consumer) end
  return consumer
end

M.credentials = {
  name = "credentials", noun = "credential", kind = "consumers", field = "credentials", is_per_tenant = true,
  permission = "credentials",
  methods = { DELETE = true }, order = "type,credential_id", is_element = true, reveals = true,
  forms = { { collection = "/api/consumers/{consumer}/credentials",
    single = "/api/consumers/{consumer}/credentials/{id}" } },
  -- `id` may be a field of its own
  fields = { CREDENTIAL_ID, { "consumer", STRING, "Whose it is." }, unpack(parts.COMMON, 2) },
  list = function(t, params)
    local consumer, bad = consumer_of(t, params)
    if not consumer then return nil, bad end
    return entities.elements(consumer, "credentials")
  end,
  find = function(t, params)
    local consumer, bad = consumer_of(t, params)
    if not consumer then return nil, bad end
    return credentials_by_id(consumer)[params.id]
  end,
  show = show_credential,
  create = function(t, value, params)
    local consumer, bad = consumer_of(t, params)
    if not consumer then return nil, bad end
    value.tenant = nil
    complete(value)
    return parts.create_element(consumer, "credentials", value)
  end,
  change = function(op, entry, value)
    return entities.change_element(op, entry.owner, "credentials", entry.index, value)
  end,
}

return M
