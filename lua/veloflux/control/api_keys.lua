--- Keys of the admin API. The store keeps them beside the model, which does not know them: so a rollback, an import or
-- a restore neither takes one away nor brings back one that was revoked; nodes that share a store share them.
--
-- A key is vfk_ID_SECRET. Of the secret, 256 random bits, only its SHA-256 is kept.
local crypto = require "veloflux.pdk.crypto"
local encoding = require "veloflux.pdk.encoding"
local entities = require "veloflux.control.entities"
local json = require "veloflux.pdk.json"
local queue = require "veloflux.control.queue"

local M = {}

local KIND, PREFIX = "meta", "api_key:" -- of the store: what is no entity of the model
local ID_BYTES, SECRET_BYTES = 6, 32

local NONE = {}

local indexed, index -- what a set has of that kind, and the keys in it by id

local function digest(secret) return crypto.hex_encode(crypto.hash("sha256", secret)) end

--- Says whether a text may be a key.
function M.is_key(text) return text:find "^vfk_%x+_[%w_-]+$" ~= nil end

local function records()
  local world = queue.world()
  local rows = world and world.set[KIND] or NONE
  if rows ~= indexed then
    indexed, index = rows, {}
    for key, row in pairs(rows) do
      local record = key:sub(1, #PREFIX) == PREFIX and json.decode(row.json)
      if record then
        record.version, record.created_ms = row.version, row.created_ms
        index[record.id] = record
      end
    end
  end
  return index
end

--- Returns all of them: {id, name, role, tenant, description, digest, created_by, created_ms, expires_ms}, by name.
function M.list()
  local list = {}
  for _, record in pairs(records()) do list[#list + 1] = record end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

--- Returns the key with a name, or nil.
function M.find(name)
  for _, record in pairs(records()) do
    if record.name == name then return record end
  end
end

--- Says whether a key holds at a time (wall clock).
function M.is_valid(record, now_ms)
  return records()[record.id] ~= nil and (record.expires_ms == nil or now_ms < record.expires_ms)
end

--- Returns the record of a key that somebody shows, nil when there is none or it has expired.
function M.check(text, now_ms)
  local id, secret = text:match "^vfk_(%x+)_([%w_-]+)$"
  local record = id and records()[id]
  local is_right = crypto.equals(digest(secret or ""), record and record.digest or digest "none")
  return record and is_right and M.is_valid(record, now_ms) and record or nil
end

local function failed(code, message, pointer)
  return nil, { ok = false, code = code, message = message,
    errors = { { pointer = pointer or "", detail = message } } }
end

local function edit(base, name, record)
  local key = PREFIX .. name
  local known = entities.get(base.set, KIND, key)
  local change = { kind = KIND, key = key, before = known and known.json }
  if record then
    change.entity = { kind = KIND, key = key, json = json.encode(record), version = base.version,
      created_ms = base.now_ms, updated_ms = base.now_ms }
  end
  return { set = entities.with(base.set, { change }), edits = { change }, keys = {} }
end

local function with_summary(context, summary)
  local own = { summary = summary }
  for field, value in pairs(context) do own[field] = value end
  return own
end

--- Makes a key.
-- @param fields {name, role, tenant, description, expires_ms}
-- @param context, callback as for transactions.apply; the outcome has `key`, which nobody can see again, and `record`
function M.create(fields, context, callback)
  local id = crypto.hex_encode(crypto.random_bytes(ID_BYTES))
  local secret = encoding.base64url_encode(crypto.random_bytes(SECRET_BYTES))
  local record = { id = id, name = fields.name, role = fields.role, tenant = fields.tenant,
    description = fields.description, digest = digest(secret), created_by = context.author,
    expires_ms = fields.expires_ms }
  queue.transform(function(base)
    if entities.get(base.set, KIND, PREFIX .. fields.name) then
      return failed("exists", ("there is already an API key %s"):format(fields.name), "/name")
    end
    return edit(base, fields.name, record)
  end, with_summary(context, ("API key %s made"):format(fields.name)), function(result)
    if result.ok then result.key, result.record = ("vfk_%s_%s"):format(id, secret), M.find(fields.name) end
    callback(result)
  end)
end

--- Revokes a key: from the answer on it opens nothing.
-- @param context, callback as for transactions.apply
function M.revoke(name, context, callback)
  queue.transform(function(base)
    if not entities.get(base.set, KIND, PREFIX .. name) then
      return failed("not_found", ("there is no API key %s"):format(name))
    end
    return edit(base, name, nil)
  end, with_summary(context, ("API key %s revoked"):format(name)), callback)
end

return M
