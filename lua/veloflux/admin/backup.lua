--- Backups through the admin API: one archive out, and in again; as a document of JSON that has it in Base64, or as
-- bytes.
local ffi = require "ffi"
local archive = require "veloflux.control.archive"
local await = require "veloflux.admin.await"
local backups = require "veloflux.control.backups"
local bodies = require "veloflux.admin.body"
local crypto = require "veloflux.pdk.crypto"
local json = require "veloflux.pdk.json"
local outcomes = require "veloflux.admin.outcomes"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local resources = require "veloflux.admin.resources"
local rest = require "veloflux.admin.rest"
local status = require "veloflux.admin.status"

ffi.cdef [[ uint64_t vf_clock_wall_ms(void); ]]

local M = {}

local BYTES = "application/octet-stream"
local ENDING = backups.ENDING
local MAX_FILE_BYTES = 256 * 1024 * 1024
local PASSPHRASE = "veloflux-passphrase"

-- Out -----------------------------------------------------------------------------------------------

--- Reads what a POST may say. Returns the passphrase or nil, and a problem.
local function read_order(request)
  if request.method ~= "POST" then return nil end
  local body, bad = bodies.read(request, bodies.JSON, true)
  if not body then return nil, bad end
  for name in pairs(body) do
    if name ~= "passphrase" then return nil, resources.invalid("/" .. name, "unknown key, expected passphrase") end
  end
  if body.passphrase == nil or body.passphrase == json.null then return nil end
  local fault = archive.passphrase_problem(body.passphrase)
  if fault then return nil, resources.invalid("/passphrase", fault) end
  return body.passphrase
end

local function shown(made, id)
  return { status = "created", backup_id = id, created_at = status.time(made.created_ms), version = made.version,
    size = #made.data, checksum = "sha256:" .. crypto.hex_encode(crypto.hash("sha256", made.data)),
    key_count = made.entities, tenant_count = made.tenants, compressed = false, encrypted = true,
    data = crypto.base64_encode(made.data) }
end

local function create(context, request)
  local params, names = query.parse(request.query)
  local bad = not params and names or query.unknown(names, {})
  if bad then return bad end
  if not bodies.accepts(request, bodies.JSON, BYTES) then
    return problem.new("not_acceptable", ("This is answered as %s or %s."):format(bodies.JSON, BYTES))
  end
  local passphrase
  passphrase, bad = read_order(request)
  if bad then return bad end
  local made = context.transactions().backup { passphrase = passphrase, now_ms = tonumber(ffi.C.vf_clock_wall_ms()) }
  if not made.ok then return outcomes.refused(made) end
  local id = "veloflux-backup-" .. os.date("!%Y%m%d-%H%M%S", math.floor(made.created_ms / 1000))
  if bodies.accepts(request, bodies.JSON) then return { json = shown(made, id) } end
  return { status = 200, body = made.data, headers = { "Content-Type", BYTES, "Cache-Control", "no-store",
    "Content-Disposition", ('attachment; filename="%s%s"'):format(id, ENDING), "X-Content-Type-Options", "nosniff" } }
end

-- In ------------------------------------------------------------------------------------------------

--- Reads an archive that lies in the data directory. Returns it, or nil and a problem.
local function read_file(context, id)
  if not backups.is_id(id) then
    return nil, resources.invalid("/backup_id", "expected the name of a file without its ending")
  end
  local bytes = backups.read(context.current().model.node, id, MAX_FILE_BYTES + 1)
  if not bytes then
    return nil, problem.new("not_found", ("There is no backup %s%s in the folder."):format(id, ENDING))
  end
  if #bytes > MAX_FILE_BYTES then return nil, resources.invalid("/backup_id", "the file is too large") end
  return bytes
end

-- The document that GET and POST answer is taken as it is; of its fields these are read.
local FIELDS = { status = true, backup_id = true, created_at = true, version = true, size = true, checksum = true,
  key_count = true, tenant_count = true, compressed = true, encrypted = true, data = true, passphrase = true }

local function archive_of(context, body)
  if body.data == nil and body.backup_id ~= nil then return read_file(context, body.backup_id) end
  if type(body.data) ~= "string" then return nil, resources.invalid("/data", "required: the archive in Base64") end
  local bytes, message = crypto.base64_decode(body.data)
  if not bytes then return nil, resources.invalid("/data", message) end
  return bytes
end

local function read_document(context, request)
  local body, bad = bodies.read(request, bodies.JSON)
  if not body then return nil, bad end
  for name, value in pairs(body) do
    if not FIELDS[name] then return nil, resources.invalid("/" .. name, "unknown key") end
    if value == json.null then body[name] = nil end
  end
  local fault = body.passphrase ~= nil and archive.passphrase_problem(body.passphrase)
  if fault then return nil, resources.invalid("/passphrase", fault) end
  local bytes
  bytes, bad = archive_of(context, body)
  if not bytes then return nil, bad end
  if body.checksum ~= nil and body.checksum ~= "sha256:" .. crypto.hex_encode(crypto.hash("sha256", bytes)) then
    return nil, resources.invalid("/checksum", "does not fit the archive")
  end
  return bytes, nil, body.passphrase
end

--- Returns the archive; or nil and a problem. The passphrase or nil comes third.
local function read_archive(context, request)
  local kind = (request.headers["content-type"] or ""):lower():match "^%s*([^;%s]+)"
  if kind ~= BYTES then return read_document(context, request) end
  if (request.headers["content-encoding"] or "identity"):lower() ~= "identity" then
    return nil, problem.new("unsupported_media_type", "The body has to be without a Content-Encoding.",
      { headers = { "Accept-Encoding", "identity" } })
  end
  local passphrase = request.headers[PASSPHRASE]
  local fault = passphrase and archive.passphrase_problem(passphrase)
  if fault then return nil, problem.new("invalid", "VeloFlux-Passphrase: " .. fault .. ".") end
  return bodies.bytes(request), nil, passphrase
end

local function file_warnings(result)
  local warnings = json.array {}
  for _, place in ipairs(result.missing) do
    warnings[#warnings + 1] = ("%s %s stood in a conf file (%s) and is not restored: it stands in none here"):format(
      place.kind, place.key, place.source or "?")
  end
  return warnings
end

local function answer(result, is_dry)
  local counts = result.counts
  local late = not is_dry and outcomes.laggards(result) > 0
  return { status = late and 202 or 200, headers = not is_dry and outcomes.headers(result) or nil,
    json = { status = is_dry and "dry_run" or "restored", dry_run = is_dry, restored_keys = result.restored,
      version = not is_dry and result.version or nil, summary = result.summary, diff = outcomes.diff(result.diff),
      changes = { added = counts.added, updated = counts.changed, removed = counts.removed },
      skipped = json.array(result.skipped), missing = json.array(result.missing), warnings = file_warnings(result) } }
end

--- Answers a refusal. What is wrong with an entity of the archive is said with its name.
local function refuse(result)
  for _, found in ipairs(result.errors) do
    local place = (found.file or ""):match "^api:(.+)$"
    if place then found.detail = ("%s: %s"):format(place, found.detail) end
  end
  local first = result.errors[1]
  if first and first.file then result.message = first.detail end
  local refused = outcomes.refused(result)
  refused.members.fault = result.fault
  return refused
end

local function restore(context, request)
  local params, names = query.parse(request.query)
  local bad = not params and names or query.unknown(names, { dry_run = true })
  if bad then return bad end
  local is_dry
  is_dry, bad = query.flag(params, "dry_run")
  if bad then return bad end
  local bytes, passphrase
  bytes, bad, passphrase = read_archive(context, request)
  if not bytes then return bad end
  local result = await.call(function(callback)
    context.transactions().restore(bytes, passphrase, rest.context_of(request, is_dry), callback)
  end)
  return result.ok and answer(result, is_dry) or refuse(result)
end

-- Registration --------------------------------------------------------------------------------------

local TEXT, NUMBER, BOOLEAN = { type = "string" }, { type = "integer" }, { type = "boolean" }
local PASSPHRASE_FIELD = { type = "string", minLength = 8, maxLength = 1024, writeOnly = true }
local RAW = { type = "string", format = "binary" }
local MADE = { type = "object", properties = { status = TEXT, backup_id = TEXT, created_at = TEXT, version = NUMBER,
  size = NUMBER, checksum = TEXT, key_count = NUMBER, tenant_count = NUMBER, compressed = BOOLEAN,
  encrypted = BOOLEAN, data = TEXT } }
local ARCHIVE = { ["200"] = { "The archive, in Base64 or as it is.", { [bodies.JSON] = MADE, [BYTES] = RAW } } }

local ROWS = {
  { "GET", "/api/backup/create", "config:backup", create, { answers = ARCHIVE,
    summary = "All entities in one archive, encrypted under a key that comes from the node's master key." } },
  { "POST", "/api/backup/create", "config:backup", create, { answers = ARCHIVE, is_body_optional = true,
    summary = "The same, or encrypted under a passphrase, so that other nodes can restore it.",
    body = { [bodies.JSON] = { type = "object", properties = { passphrase = PASSPHRASE_FIELD },
      additionalProperties = false } } } },
  { "POST", "/api/backup/restore", "config:restore", restore, { is_idempotent = true,
    summary = "Brings back what the API owned when a backup was made, as one change. Nothing changes unless the whole "
      .. "archive is verified; the conf file keeps what it has.",
    body = { [bodies.JSON] = { type = "object", properties = { data = TEXT, backup_id = TEXT, checksum = TEXT,
      passphrase = PASSPHRASE_FIELD } }, [BYTES] = RAW },
    parameters = { { "dry_run", BOOLEAN, "Only say what would change." } },
    answers = { ["200"] = { "What was restored, skipped and missing.", { [bodies.JSON] = { type = "object" } } } } } },
}

local function handler_of(context, handler)
  if handler == restore then return rest.post(context, handler) end
  return function(request) -- what it answers is never kept for an Idempotency-Key: it changes nothing
    if not rest.is_ready() then return problem.new("unavailable", "There is no configuration yet.") end
    return handler(context, request)
  end
end

--- Registers them.
function M.register(router, context)
  for _, row in ipairs(ROWS) do
    local doc = row[5]
    doc.tag = "backup"
    router:register { method = row[1], path = row[2], permission = row[3], handler = handler_of(context, row[4]),
      doc = doc, takes_probation = row[3] == "config:restore" or nil, spools = row[4] == restore,
      max_bytes = row[4] == restore and bodies.MAX_DOCUMENT or nil }
  end
end

return M
