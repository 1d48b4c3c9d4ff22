--- /api/backups: backups that are kept in the node's folder, and the next one of its schedule (control/backups.lua).
local ffi = require "ffi"
local archive = require "veloflux.control.archive"
local backups = require "veloflux.control.backups"
local bodies = require "veloflux.admin.body"
local json = require "veloflux.pdk.json"
local log = require "veloflux.admin.log"
local outcomes = require "veloflux.admin.outcomes"
local parameters = require "veloflux.admin.parameters"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local resources = require "veloflux.admin.resources"
local rest = require "veloflux.admin.rest"
local status = require "veloflux.admin.status"

ffi.cdef [[ uint64_t vf_clock_wall_ms(void); ]]

local M = {}

local BYTES = "application/octet-stream"
local MAX_FILE_BYTES = 256 * 1024 * 1024
local PATHS = { backup_id = true, status = true, origin = true, created_at = true, version = true, size = true,
  encrypted_with = true }

local function now_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

local function node_of(context) return context.current().model.node end

local function or_null(value)
  if value == nil then return json.null end
  return value
end

local function shown(found)
  return { backup_id = found.id, status = "stored", created_at = found.created_ms and status.time(found.created_ms)
    or json.null, version = or_null(found.version), size = found.size, checksum = or_null(found.checksum),
    key_count = or_null(found.entities), tenant_count = or_null(found.tenants), origin = found.origin or "unknown",
    encrypted_with = found.key or "unknown" }
end

--- What the schedule will make next, if there is one.
local function scheduled(node)
  local due = backups.next(node, now_ms())
  return due and { backup_id = json.null, status = "scheduled", scheduled_at = status.time(due), origin = "schedule",
    encrypted_with = node.backups.passphrase ~= "" and "passphrase" or "master" }
end

local function list(context, request)
  local params, names = query.parse(request.query)
  if not params then return names end
  local known = { limit = true, cursor = true, page = true, sort = true }
  for name in pairs(PATHS) do known[name] = true end
  local bad = query.unknown(names, known)
  if bad then return bad end
  local node, all = node_of(context), {}
  for i, found in ipairs(backups.list(node)) do all[i] = shown(found) end
  all[#all + 1] = scheduled(node)
  return query.answer(request, params, all, PATHS, "-status,-created_at,backup_id")
end

local function note(request, event, id)
  log.write("info", event, { "backup", id, "by", request.identity.name, "request_id", request.request_id })
end

local function store(context, request)
  local body, bad = bodies.read(request, bodies.JSON, true)
  if not body then return bad end
  for name in pairs(body) do
    if name ~= "passphrase" then return resources.invalid("/" .. name, "unknown key, expected passphrase") end
  end
  local passphrase = body.passphrase ~= json.null and body.passphrase or nil
  local fault = passphrase ~= nil and archive.passphrase_problem(passphrase)
  if fault then return resources.invalid("/passphrase", fault) end
  local result = backups.store(node_of(context), { passphrase = passphrase, now_ms = now_ms(), origin = "api" })
  if not result.ok then return outcomes.refused(result) end
  note(request, "backup.stored", result.backup.id)
  return { status = 201, json = shown(result.backup), headers = { "Location", "/api/backups/" .. result.backup.id } }
end

--- Finds the backup of a path. Returns it, or nil and a problem.
local function find(context, request)
  local id = request.params.id
  local found = backups.is_id(id) and backups.find(node_of(context), id)
  if found then return found end
  return nil, resources.not_found("backup", id)
end

--- Answers what it is, or its bytes when Accept asks for them.
local function get(context, request)
  local found, bad = find(context, request)
  if not found then return bad end
  if bodies.accepts(request, bodies.JSON) then return { json = shown(found) } end
  if not bodies.accepts(request, BYTES) then
    return problem.new("not_acceptable", ("This is answered as %s or %s."):format(bodies.JSON, BYTES))
  end
  if found.size > MAX_FILE_BYTES then return problem.new("conflict", "It is too large to be sent from here.") end
  return { status = 200, body = backups.read(node_of(context), found.id, MAX_FILE_BYTES) or "", headers = {
    "Content-Type", BYTES, "Cache-Control", "no-store", "X-Content-Type-Options", "nosniff",
    "Content-Disposition", ('attachment; filename="%s%s"'):format(found.id, backups.ENDING) } }
end

local function delete(context, request)
  local found, bad = find(context, request)
  if not found then return bad end
  if not backups.delete(node_of(context), found.id) then
    return problem.new("conflict", "It cannot be deleted: the folder does not allow it.")
  end
  note(request, "backup.deleted", found.id)
  return { status = 204, body = "" }
end

local TEXT, NUMBER, JSON = { type = "string" }, { type = { "integer", "null" } }, bodies.JSON
local STORED = { type = "object", properties = { backup_id = { type = { "string", "null" } },
  status = { type = "string", enum = { "stored", "scheduled" } }, scheduled_at = TEXT,
  created_at = { type = { "string", "null" } }, version = NUMBER, size = NUMBER,
  checksum = { type = { "string", "null" } }, key_count = NUMBER, tenant_count = NUMBER,
  origin = { type = "string", enum = { "api", "schedule", "unknown" } },
  encrypted_with = { type = "string", enum = { "master", "passphrase", "unknown" } } } }

local ROWS = {
  { "GET", "/api/backups", "config:backup", list, { summary = "The backups that are kept, the newest first, and the "
    .. "next one of the schedule.", answers = { ["200"] = { "The list.", { [JSON] = { type = "array",
      items = STORED } } } },
    parameters = { { "limit", { type = "integer" }, "Items of a page." }, { "cursor", TEXT, "Where the page begins." },
      { "sort", TEXT, "Fields, separated by commas; a minus before one turns its order." },
      { "status", TEXT, "Only those: stored or scheduled." }, { "origin", TEXT, "Only those: api or schedule." } } } },
  { "POST", "/api/backups", "config:backup", store, { summary = "Makes a backup and keeps it in the node's folder.",
    is_body_optional = true, body = { [JSON] = { type = "object", additionalProperties = false, properties = {
      passphrase = { type = "string", minLength = 8, maxLength = 1024, writeOnly = true } } } },
    answers = { ["201"] = { "What was made.", { [JSON] = STORED } } } } },
  { "GET", "/api/backups/{id}", "config:backup", get, { summary = "One of them: what it is, or the archive itself.",
    answers = { ["200"] = { "It.", { [JSON] = STORED, [BYTES] = { type = "string", format = "binary" } } },
      ["404"] = { "There is none." } } } },
  { "DELETE", "/api/backups/{id}", "config:backup", delete, { summary = "Deletes one of them.",
    answers = { ["204"] = { "It is gone." }, ["404"] = { "There is none." } } } },
}

--- Says whether an endpoint answers other things than JSON.
local function is_any(handler) return handler == get end

local function handler_of(context, handler)
  local function serve(request)
    if not rest.is_ready() then return problem.new("unavailable", "There is no configuration yet.") end
    return handler(context, request)
  end
  if handler == list then return serve end
  return parameters.taking(nil, is_any(handler) and serve or rest.post(context, handler))
end

--- Registers them.
function M.register(router, context)
  for _, row in ipairs(ROWS) do
    row[5].tag = "backup"
    router:register { method = row[1], path = row[2], permission = row[3], doc = row[5],
      handler = handler_of(context, row[4]) }
  end
end

return M
