--- Backups out and in: an archive as it is, or a document of JSON that has it in Base64. And those that the node keeps.
local endpoint = require "veloflux.plugins.config.endpoint"
local pdk = require "veloflux.pdk"

local backups = pdk.backups

local JSON, BYTES = "application/json", "application/octet-stream"
local PASSPHRASE = "veloflux-passphrase"
local FIELDS = { "backup_id", "status", "origin", "created_at", "version", "size", "encrypted_with" }

local function invalid(name, detail)
  return pdk.problem.new("invalid", ("%s: %s"):format(name, detail),
    { errors = { { pointer = "/" .. name, detail = detail } } })
end

--- Reads {passphrase}. Returns it, or nil and perhaps a problem.
local function read_passphrase(request)
  local body = request.body
  for name in pairs(body or {}) do
    if name ~= "passphrase" and not request.prefers "handling=lenient" then
      return nil, invalid(name, "unknown field, expected passphrase")
    end
  end
  local passphrase = body and body.passphrase
  if passphrase == nil or passphrase == pdk.json.null then return nil end
  local fault = backups.passphrase_problem(passphrase)
  if fault then return nil, invalid("passphrase", fault) end
  return passphrase
end

--- Answers an archive as it is.
local function send(archive, id)
  return 200, archive, { ["Content-Type"] = BYTES, ["Cache-Control"] = "no-store",
    ["Content-Disposition"] = ('attachment; filename="%s%s"'):format(id, backups.ENDING),
    ["X-Content-Type-Options"] = "nosniff" }
end

-- Out -----------------------------------------------------------------------------------------------

--- Answers a backup as JSON, which has the archive in Base64. It is written piece by piece.
local function send_document(backup)
  local head = { status = "created", compressed = false, encrypted = true }
  for name, value in pairs(backup) do
    if name ~= "archive" then head[name] = value end
  end
  local writer = pdk.document.writer()
  writer:write(pdk.json.encode(head):sub(1, -2) .. ',"data":"')
  writer:append(backup.archive, "base64") -- what fails is told by `finish`
  writer:write '"}\n'
  local document, problem = writer:finish()
  if not document then return problem end
  return 200, document, { ["Content-Type"] = JSON, ["X-Content-Type-Options"] = "nosniff" }
end

--- Answers a dry run: which backup would be made.
local function would_make(backup)
  backup.dry_run = nil
  return 200, endpoint.would("backups", "added", backup.backup_id, backup, { status = "dry_run" })
end

local function create(request)
  local passphrase, bad = read_passphrase(request)
  if bad then return bad end
  local backup
  backup, bad = backups.create { passphrase = passphrase }
  if not backup then return bad end
  if backup.dry_run then return would_make(backup) end
  if request.wants(JSON) then return send_document(backup) end
  return send(backup.archive, backup.backup_id)
end

-- In ------------------------------------------------------------------------------------------------

--- Returns {archive, passphrase}, or nil and a problem.
local function read(request)
  local kind = (request.headers["content-type"] or ""):lower():match "^%s*([^;%s]+)"
  if kind ~= BYTES then return backups.parse(request.body) end
  local passphrase = request.headers[PASSPHRASE]
  local fault = passphrase and backups.passphrase_problem(passphrase)
  if fault then return nil, pdk.problem.new("invalid", "VeloFlux-Passphrase: " .. fault .. ".") end
  return { archive = request.body, passphrase = passphrase }
end

local function restore(request)
  local given, problem = read(request)
  if not given then return problem end
  local result
  result, problem = backups.restore(given.archive, { passphrase = given.passphrase })
  if not result then return problem end
  result.status = result.dry_run and "dry_run" or "restored"
  return 200, result
end

-- Those that are kept -------------------------------------------------------------------------------

local function list(request)
  local all, problem = backups.list()
  if not all then return problem end
  return request.list(all, FIELDS, "-status,-created_at,backup_id")
end

local function keep(request)
  local passphrase, bad = read_passphrase(request)
  if bad then return bad end
  local backup
  backup, bad = backups.keep { passphrase = passphrase }
  if not backup then return bad end
  if backup.dry_run then return would_make(backup) end
  return 201, backup, { Location = "/api/backups/" .. backup.backup_id }
end

local function get(request)
  local id = request.params.id
  local backup, problem = backups.find(id)
  if not backup then return problem end
  if request.wants(JSON) then return 200, backup end
  local archive
  archive, problem = backups.open(id)
  if not archive then return problem end
  return send(archive, id)
end

local function delete(request)
  local id = request.params.id
  local backup, problem = backups.find(id)
  if not backup then return problem end
  local ok
  ok, problem = backups.delete(id)
  if not ok then return problem end
  if request.dry_run then return 200, endpoint.would("backups", "removed", id, backup) end
  return 204
end

-- Endpoints -----------------------------------------------------------------------------------------

local TEXT, NUMBER, BOOLEAN = { type = "string" }, { type = "integer" }, { type = "boolean" }
local TEXT_OR_NULL, NUMBER_OR_NULL = { type = { "string", "null" } }, { type = { "integer", "null" } }
local SECRET = { type = "string", minLength = 8, maxLength = 1024, writeOnly = true }
local RAW = { type = "string", format = "binary" }
local MADE = { type = "object", properties = { status = TEXT, backup_id = TEXT, created_at = TEXT, version = NUMBER,
  size = NUMBER, checksum = TEXT, key_count = NUMBER, tenant_count = NUMBER, compressed = BOOLEAN,
  encrypted = BOOLEAN, data = TEXT } }
local ARCHIVE = { ["200"] = { "The archive, in Base64 or as it is.", { [JSON] = MADE, [BYTES] = RAW } } }
local ORDER = { [JSON] = { type = "object", additionalProperties = false, properties = { passphrase = SECRET } } }
local KEPT = { type = "object", properties = { backup_id = TEXT_OR_NULL, scheduled_at = TEXT,
  status = { type = "string", enum = { "stored", "scheduled" } }, created_at = TEXT_OR_NULL,
  version = NUMBER_OR_NULL, size = NUMBER_OR_NULL, checksum = TEXT_OR_NULL, key_count = NUMBER_OR_NULL,
  tenant_count = NUMBER_OR_NULL, origin = { type = "string", enum = { "api", "sent", "schedule", "unknown" } },
  encrypted_with = { type = "string", enum = { "master", "passphrase", "unknown" } } } }
local NONE = { "There is none." }
local LISTED = { { "limit", NUMBER, "Items of a page." },
  { "cursor", TEXT, "Where the page begins: from the Link header of the one before." },
  { "page", NUMBER, "The number of a page, instead of a cursor." },
  { "sort", TEXT, "Fields, separated by commas; a minus before one turns its order." } }
for _, name in ipairs(FIELDS) do
  LISTED[#LISTED + 1] = { name, TEXT, ("Only those whose `%s` is this."):format(name) }
end

local function new(method, path, permission, summary, handler, more)
  local definition = { method = method, path = path, permission = "config:" .. permission, summary = summary,
    tag = "backup", timeout = "1h", handler = handler }
  for name, value in pairs(more) do definition[name] = value end
  return definition
end

return {
  new("GET", "/api/backup/create", "backup", "All entities in one archive, encrypted under a key that comes from "
    .. "the node's master key.", create, { response_type = { JSON, BYTES }, dry_run = true, probation = false,
      openapi = { answers = ARCHIVE, parameters = {}, may_be_tried = true } }),
  new("POST", "/api/backup/create", "backup", "The same, or encrypted under a passphrase, so that other nodes can "
    .. "restore it.", create, { response_type = { JSON, BYTES }, request = "object", request_optional = true,
      dry_run = true, probation = false, openapi = { answers = ARCHIVE, body = ORDER, parameters = {},
        may_be_tried = true } }),
  new("POST", "/api/backup/restore", "restore", "Brings back what the API owned when a backup was made, as one "
    .. "change. Nothing changes unless the whole archive is verified; the conf file keeps what it has.", restore, {
      request_type = { JSON, BYTES }, max_body = "64m", dry_run = true, openapi = {
        body = { [JSON] = { type = "object", properties = { data = TEXT, backup_id = TEXT, checksum = TEXT,
          passphrase = SECRET } }, [BYTES] = RAW },
        parameters = { { "dry_run", BOOLEAN, "Only say what would change." } },
        answers = { ["200"] = { "What was restored, skipped and missing.", { [JSON] = { type = "object" } } } } } }),
  new("GET", "/api/backups", "backup", "The backups that are kept, the newest first, and the next one of the "
    .. "schedule.", list, { any_query = true, openapi = {
      answers = { ["200"] = { "The list.", { [JSON] = { type = "array", items = KEPT } } } },
      parameters = LISTED } }),
  new("POST", "/api/backups", "backup", "Makes a backup and keeps it in the node's folder.", keep, {
    request = "object", request_optional = true, dry_run = true, probation = false, openapi = { body = ORDER,
      parameters = {}, may_be_tried = true, answers = { ["201"] = { "What was made.", { [JSON] = KEPT } } } } }),
  new("GET", "/api/backups/{id}", "backup", "One of them: what it is, or the archive itself.", get, {
    response_type = { JSON, BYTES }, openapi = { answers = { ["200"] = { "It.", { [JSON] = KEPT, [BYTES] = RAW } },
      ["404"] = NONE } } }),
  new("DELETE", "/api/backups/{id}", "backup", "Deletes one of them.", delete, {
    dry_run = true, probation = false, openapi = { parameters = {}, may_be_tried = true,
      answers = { ["204"] = { "It is gone." }, ["404"] = NONE } } }),
}
