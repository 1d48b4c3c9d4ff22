--- /api/keys: the master keys of secrets at rest (control/rotation.lua). Keys themselves are never shown.
local await = require "veloflux.admin.await"
local bodies = require "veloflux.admin.body"
local json = require "veloflux.pdk.json"
local outcomes = require "veloflux.admin.outcomes"
local parameters = require "veloflux.admin.parameters"
local query = require "veloflux.admin.query"
local resources = require "veloflux.admin.resources"
local rest = require "veloflux.admin.rest"
local rotation = require "veloflux.control.rotation"
local status = require "veloflux.admin.status"
local totals = require "veloflux.totals"

local M = {}

local function now_ms() return tonumber(totals.node().wall_ms) end

--- Returns the keys as they are shown; or nil and a problem. Yields.
local function shown()
  local result = await.call(function(callback) rotation.list(now_ms(), callback) end)
  if not result.ok then return nil, outcomes.refused(result) end
  local list = json.array()
  for i, key in ipairs(result.keys) do
    list[i] = { position = i - 1, id = key.id, active = key.is_active, origin = key.origin,
      until_version = key.until_version or json.null, rotated_at = key.at_ms and status.time(key.at_ms) or json.null,
      needed_by = json.array(key.needed_by) }
  end
  return list
end

local PATHS = { position = true, id = true, active = true, origin = true, until_version = true, rotated_at = true }

local function list(_, request)
  local keys, bad = shown()
  return keys and query.list(request, keys, PATHS, "position") or bad
end

--- Answers a dry run of a rotation.
local function would_rotate(options)
  local preview = await.call(function(callback) rotation.preview(options, callback) end)
  if not preview.ok then return outcomes.refused(preview) end
  local count, refused = rotation.count_resealed(preview.active)
  if not count then return outcomes.refused(refused) end
  local keys, bad = shown()
  if not keys then return bad end
  local change = preview.generates and { after = { origin = "data_dir", active = true } } or nil
  return outcomes.would("keys", "added", "new", change, { status = "dry_run", resealed = count, keys = keys })
end

local function rotate(_, request)
  local body, bad = bodies.object(request, { "generate" }, true)
  if not body then return bad end
  if body.generate ~= nil and type(body.generate) ~= "boolean" then
    return resources.invalid("/generate", "expected true or false")
  end
  local is_dry
  is_dry, bad = parameters.flag(request, "dry_run")
  if bad then return bad end
  local options = { generate = body.generate, now_ms = now_ms() }
  if is_dry then return would_rotate(options) end
  local own = rest.context_of(request, false)
  own.reason = own.reason or "keys rotated"
  local result = await.call(function(callback) rotation.rotate(options, own, callback) end)
  if not result.ok then return outcomes.refused(result) end
  local keys
  keys, bad = shown()
  if not keys then return bad end
  local told = outcomes.changed(result, false)
  told.status, told.resealed, told.keys = "rotated", result.resealed, keys
  return { status = outcomes.laggards(result) > 0 and 202 or 200, json = told, headers = outcomes.headers(result) }
end

local function retire(_, request)
  local is_dry, bad = parameters.flag(request, "dry_run")
  if bad then return bad end
  local id = request.params.id
  local result = await.call(function(callback) rotation.retire(id, now_ms(), is_dry, callback) end)
  if not result.ok then return outcomes.refused(result) end
  if is_dry then return outcomes.would("keys", "removed", id, { before = { id = id } }) end
  return { status = 204, body = "" }
end

local JSON = "application/json"
local KEY = { type = "object", properties = { position = { type = "integer", minimum = 0 }, id = { type = "string" },
  active = { type = "boolean" },
  origin = { type = "string", enum = { "data_dir", "file", "env", "command", "setting" } },
  until_version = { type = { "integer", "null" } }, rotated_at = { type = { "string", "null" } },
  needed_by = { type = "array", items = { type = "string",
    enum = { "in_use", "entities", "not_rotated", "history", "answers" } } } } }
local BODY = { [JSON] = { type = "object", additionalProperties = false,
  properties = { generate = { type = "boolean" } } } }

local ROWS = {
  { "GET", "/api/keys", "keys:read", list, {
    summary = "The master keys of secrets at rest, the one in use first, and what still needs each.",
    answers = { ["200"] = { "The keys.", { [JSON] = { type = "array", items = KEY } } } } } },
  { "POST", "/api/keys/rotate", "keys:write", rotate, { body = BODY, is_body_optional = true,
    summary = "Makes another key, unless `generate` is false or the keys come from the setting master_key, and seals "
      .. "everything with the one in use.",
    answers = { ["200"] = { "What was done.", { [JSON] = { type = "object" } } },
      ["409"] = { "The keys come from elsewhere, or one is missing." } }, may_be_tried = true } },
  { "DELETE", "/api/keys/{id}", "keys:write", retire, { summary = "Forgets a key that nothing needs any more.",
    may_be_tried = true,
    answers = { ["204"] = { "It is gone." }, ["404"] = { "There is none." }, ["409"] = { "It is needed." } } } },
}

--- Registers them.
function M.register(router, context)
  for _, row in ipairs(ROWS) do
    row[5].tag = "keys"
    local handler = rest.post(context, row[4])
    if row[4] == list then
      row[5].parameters = query.parameters(PATHS)
    else
      handler = parameters.taking({ "dry_run" }, handler)
    end
    router:register { method = row[1], path = row[2], permission = row[3], doc = row[5], handler = handler }
  end
end

return M
