--- What pdk.backups asks for: archives of everything, out and in again, and those that the node keeps.
local ffi = require "ffi"
local archives = require "veloflux.control.archive"
local backups = require "veloflux.control.backups"
local bodies = require "veloflux.admin.body"
local changes = require "veloflux.control.plugins.changes"
local contents = require "veloflux.content"
local crypto = require "veloflux.pdk.crypto"
local documents = require "veloflux.control.plugins.documents"
local json = require "veloflux.pdk.json"
local log = require "veloflux.admin.log"
local long_text = require "veloflux.admin.long_text"
local outcomes = require "veloflux.admin.outcomes"
local problem = require "veloflux.admin.problem"
local resources = require "veloflux.admin.resources"
local seam = require "veloflux.runtime.control"
local services = require "veloflux.control.plugins.services"
local status = require "veloflux.admin.status"
local transactions = require "veloflux.control.transactions"

ffi.cdef [[ uint64_t vf_clock_wall_ms(void); ]]

local M = {}

local MAX_FILE_BYTES = 256 * 1024 * 1024 -- of an archive that is restored

local node_of -- function() -> the settings of the node

local function now_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

local function or_null(value)
  if value == nil then return json.null end
  return value
end

--- Judges a passphrase. Returns nil, or a problem.
local function bad_passphrase(passphrase)
  local fault = passphrase ~= nil and archives.passphrase_problem(passphrase)
  return fault and resources.invalid("/passphrase", fault) or nil
end

-- Archives ------------------------------------------------------------------------------------------

--- Opens an archive that the node keeps. Returns a document, or nil and a problem.
local function open(of, id)
  local content, _, code = backups.open_archive(node_of(), id)
  if content then return documents.new(content, of) end
  if code == "busy" then return nil, documents.refused { code = "unavailable" } end
  return nil, problem.new("not_found", ("There is no backup %s%s in the folder."):format(id, backups.ENDING))
end

--- Makes a backup that is sent, and keeps it for a while. Returns nil when it cannot be kept, and perhaps a problem.
local function create_kept(of, passphrase)
  local stored = backups.store(node_of(), { passphrase = passphrase, now_ms = now_ms(), origin = "sent" })
  if not stored.ok then return nil end
  local made = stored.backup
  local archive, refused = open(of, made.id)
  backups.drop_sent(node_of())
  if not archive then return nil, refused end
  return { backup_id = made.id, created_at = status.time(made.created_ms), version = made.version, size = made.size,
    checksum = made.checksum, key_count = made.entities, tenant_count = made.tenants, archive = archive }
end

--- Says what a backup would be: it is made, measured and forgotten.
local function preview(passphrase)
  local made = transactions.backup { passphrase = passphrase, now_ms = now_ms() }
  if not made.ok then return nil, outcomes.refused(made) end
  contents.close(made.content)
  return { dry_run = true, backup_id = backups.name_at(made.created_ms), created_at = status.time(made.created_ms),
    version = made.version, size = made.size, key_count = made.entities, tenant_count = made.tenants,
    encrypted_with = passphrase and "passphrase" or "master" }
end

local function create(of, passphrase)
  local bad = bad_passphrase(passphrase)
  if bad then return nil, bad end
  if of.dry_run then return preview(passphrase) end
  local kept, refused = create_kept(of, passphrase)
  if kept or refused then return kept, refused end
  local made = transactions.backup { passphrase = passphrase, now_ms = now_ms() }
  if not made.ok then return nil, outcomes.refused(made) end
  return { backup_id = backups.name_at(made.created_ms), created_at = status.time(made.created_ms),
    version = made.version, size = made.size, checksum = made.checksum, key_count = made.entities,
    tenant_count = made.tenants, archive = documents.new(made.content, of) }
end

-- The document that create makes is taken as it is; of its fields these are read.
local FIELDS = { "status", "backup_id", "created_at", "version", "size", "checksum", "key_count", "tenant_count",
  "compressed", "encrypted", "data", "passphrase" }

local function stored_archive(of, id)
  if not backups.is_id(id) then
    return nil, resources.invalid("/backup_id", "expected the name of a file without its ending")
  end
  local document, bad = open(of, id)
  if not document then return nil, bad end
  if document:size() > MAX_FILE_BYTES then return nil, resources.invalid("/backup_id", "the file is too large") end
  return document
end

--- What writes an archive and its checksum.
local function archive_writer()
  local bytes, hasher = contents.writer(node_of().data_dir, true), crypto.hasher "sha256"
  return {
    write = function(_, text)
      hasher:update(text)
      return bytes:write(text)
    end,
    finish = function() return bytes:finish() end,
    checksum = function() return "sha256:" .. crypto.hex_encode(hasher:final()) end,
    drop = function() bytes:drop() end,
  }
end

--- Writes what a body has as Base64. Returns true, or nil and a problem.
local function write_sent(writer, body, content, place)
  local ok, message, failure
  if place and long_text.is_long(body.data) then
    ok, message, failure = long_text.write_decoded(content, place, writer)
  else
    local bytes
    bytes, message = crypto.base64_decode(body.data)
    if bytes then ok, failure = writer:write(bytes) end
  end
  if ok then return true end
  if failure then return nil, documents.refused(failure) end
  return nil, resources.invalid("/data", message)
end

--- Returns the archive that a body has in Base64.
-- @param place of a long one within `content` (long_text.lua), or nil
local function sent_archive(of, body, content, place)
  if type(body.data) ~= "string" then return nil, resources.invalid("/data", "required: the archive in Base64") end
  local writer = archive_writer()
  local ok, bad = write_sent(writer, body, content, place)
  if ok and body.checksum ~= nil and body.checksum ~= writer.checksum() then
    ok, bad = nil, resources.invalid("/checksum", "does not fit the archive")
  end
  if not ok then
    writer.drop()
    return nil, bad
  end
  local archive, failure = writer.finish()
  if not archive then return nil, documents.refused(failure) end
  return documents.new(archive, of)
end

--- Reads the form that is JSON. Returns {archive, passphrase}, or nil and a problem.
local function parse(of, document)
  local content = documents.content(document)
  local body, place = long_text.decode(content)
  if not body then return nil, place end
  local bad = bodies.unknown(of.request or { headers = {} }, body, FIELDS)
  if bad then return nil, bad end
  for name, value in pairs(body) do
    if value == json.null then body[name] = nil end
  end
  bad = bad_passphrase(body.passphrase)
  if bad then return nil, bad end
  local archive
  if body.data == nil and body.backup_id ~= nil then
    archive, bad = stored_archive(of, body.backup_id)
  else
    archive, bad = sent_archive(of, body, content, place)
  end
  if not archive then return nil, bad end
  return { archive = archive, passphrase = body.passphrase }
end

local function file_warnings(outcome)
  local warnings = json.array {}
  for _, place in ipairs(outcome.missing) do
    warnings[#warnings + 1] = ("%s %s stood in a conf file (%s) and is not restored: it stands in none here"):format(
      place.kind, place.key, place.source or "?")
  end
  return warnings
end

--- Says why an archive is refused. What is wrong with an entity of it is said with its name.
local function refusal(outcome)
  for _, found in ipairs(outcome.errors) do
    local place = (found.file or ""):match "^api:(.+)$"
    if place then found.detail = ("%s: %s"):format(place, found.detail) end
  end
  local first = outcome.errors[1]
  if first and first.file then outcome.message = first.detail end
  local refused = outcomes.refused(outcome)
  refused.members.fault = outcome.fault
  return refused
end

local function restore(of, plugin, archive, options)
  local own = services.context_of(of, plugin, options)
  local outcome = changes.outcome_of("restore", documents.content(archive), options.passphrase, own)
  if not outcome.ok then return nil, refusal(outcome) end
  local result = changes.changed(of, outcome, own.dry_run)
  result.restored_keys, result.missing = outcome.restored, json.array(outcome.missing)
  result.warnings = file_warnings(outcome)
  return result
end

-- Those that are kept -------------------------------------------------------------------------------

local function shown(found)
  return { backup_id = found.id, status = "stored", created_at = found.created_ms and status.time(found.created_ms)
    or json.null, version = or_null(found.version), size = found.size, checksum = or_null(found.checksum),
    key_count = or_null(found.entities), tenant_count = or_null(found.tenants), origin = found.origin or "unknown",
    encrypted_with = found.key or "unknown" }
end

--- Returns them, the newest first, and what the schedule makes next, if there is one.
local function list()
  local node, all = node_of(), json.array {}
  for i, found in ipairs(backups.list(node)) do all[i] = shown(found) end
  local due = backups.next(node, now_ms())
  if due then
    all[#all + 1] = { backup_id = json.null, status = "scheduled", scheduled_at = status.time(due),
      origin = "schedule", encrypted_with = node.backups.passphrase ~= "" and "passphrase" or "master" }
  end
  return all
end

local function note(of, plugin, event, id)
  log.write("info", event, { "backup", id, "by", services.author_of(of, plugin), "request_id",
    of.request and of.request.request_id or "-" })
end

local function keep(of, plugin, passphrase)
  local bad = bad_passphrase(passphrase)
  if bad then return nil, bad end
  if of.dry_run then return preview(passphrase) end
  local made = backups.store(node_of(), { passphrase = passphrase, now_ms = now_ms(), origin = "api" })
  if not made.ok then return nil, outcomes.refused(made) end
  note(of, plugin, "backup.stored", made.backup.id)
  return shown(made.backup)
end

local function find(id)
  local found = backups.is_id(id) and backups.find(node_of(), id)
  if found then return shown(found) end
  return nil, resources.not_found("backup", id)
end

local function delete(of, plugin, id)
  local found, bad = find(id)
  if not found then return nil, bad end
  if of.dry_run then return true end
  if not backups.delete(node_of(), id) then
    return nil, problem.new("conflict", "It cannot be deleted: the folder does not allow it.")
  end
  note(of, plugin, "backup.deleted", id)
  return true
end

--- Adds the services.
-- @param context of admin/init.lua
function M.register(context)
  node_of = function() return context.current().model.node end
  local of_plugin, ready, changing = seam.services, changes.ready, changes.changing
  of_plugin.create_backup = ready(create)
  of_plugin.parse_backup = ready(parse)
  of_plugin.restore_backup = changing(restore)
  of_plugin.list_backups = ready(list)
  of_plugin.keep_backup = changing(keep)
  of_plugin.find_backup = ready(find)
  of_plugin.delete_backup = changing(delete)
  of_plugin.open_backup = ready(function(of, id)
    local found, bad = find(id)
    if not found then return nil, bad end
    return open(of, id)
  end)
  of_plugin.passphrase_problem = archives.passphrase_problem
end

return M
