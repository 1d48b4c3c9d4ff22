--- /api/keys: the master keys of secrets at rest (control/rotation.lua). Keys themselves are never shown.
local await = require "veloflux.admin.await"
local bodies = require "veloflux.admin.body"
local json = require "veloflux.pdk.json"
local outcomes = require "veloflux.admin.outcomes"
local parameters = require "veloflux.admin.parameters"
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
    list[i] = { id = key.id, active = key.is_active, origin = key.origin,
      until_version = key.until_version or json.null, rotated_at = key.at_ms and status.time(key.at_ms) or json.null,
      needed_by = json.array(key.needed_by) }
  end
  return list
end

local function list()
  local keys, bad = shown()
  if not keys then return bad end
  return { json = keys, headers = { "X-Total-Count", tostring(#keys) } }
end

local function rotate(_, request)
  local body, bad = bodies.read(request, bodies.JSON, true)
  if not body then return bad end
  for name, value in pairs(body) do
    if name ~= "generate" then return resources.invalid("/" .. name, "unknown key, expected generate") end
    if type(value) ~= "boolean" then return resources.invalid("/generate", "expected true or false") end
  end
  local own = rest.context_of(request, false)
  own.reason = own.reason or "keys rotated"
  local result = await.call(function(callback)
    rotation.rotate({ generate = body.generate, now_ms = now_ms() }, own, callback)
  end)
  if not result.ok then return outcomes.refused(result) end
  local keys
  keys, bad = shown()
  if not keys then return bad end
  local told = outcomes.changed(result, false)
  told.status, told.resealed, told.keys = "rotated", result.resealed, keys
  return { status = outcomes.laggards(result) > 0 and 202 or 200, json = told, headers = outcomes.headers(result) }
end

local function retire(_, request)
  local result = await.call(function(callback) rotation.retire(request.params.id, now_ms(), callback) end)
  if not result.ok then return outcomes.refused(result) end
  return { status = 204, body = "" }
end

local JSON = "application/json"
local KEY = { type = "object", properties = { id = { type = "string" }, active = { type = "boolean" },
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
      ["409"] = { "The keys come from elsewhere, or one is missing." } } } },
  { "DELETE", "/api/keys/{id}", "keys:write", retire, { summary = "Forgets a key that nothing needs any more.",
    answers = { ["204"] = { "It is gone." }, ["404"] = { "There is none." }, ["409"] = { "It is needed." } } } },
}

--- Registers them.
function M.register(router, context)
  for _, row in ipairs(ROWS) do
    row[5].tag = "keys"
    router:register { method = row[1], path = row[2], permission = row[3], doc = row[5],
      handler = parameters.taking(nil, rest.post(context, row[4])) }
  end
end

return M
