--- Backups: everything that is configured as one encrypted archive, the way back, and the archives that the node keeps.
--
--     local backup, problem = pdk.backups.create { passphrase = "correct horse battery" }
--     if not backup then return problem end
--     return 200, backup.archive, { ["Content-Type"] = "application/octet-stream" }
--
-- Archives are documents (pdk.document): nothing is held in memory as a whole. Without a passphrase they are encrypted
-- under the master key of the node. `?dry_run=true` of an endpoint that takes it is heeded: nothing is made, kept or
-- deleted then. May be called in control only: in the functions of api.lua and jobs.lua. All functions but
-- `passphrase_problem` wait.
local control = require "veloflux.runtime.control"
local network = require "veloflux.runtime.network"

---@class pdk.backups
local M = {}

--- The ending of the names of files.
M.ENDING = ".vfbackup"

---@class pdk.backups.made
---@field backup_id string a name for it
---@field created_at string
---@field version integer that it is of
---@field size integer bytes
---@field checksum string "sha256:" and hexadecimal
---@field key_count integer entities
---@field tenant_count integer
---@field archive? pdk.document.content
---@field dry_run? boolean true: it is only what would be made, without checksum and archive

---@class pdk.backups.kept
---@field backup_id string pdk.json.null: it is yet to be made
---@field status "stored"|"scheduled"
---@field origin "api"|"sent"|"schedule"|"unknown"
---@field encrypted_with "master"|"passphrase"|"unknown"
---@field created_at? string
---@field scheduled_at? string when it will be made
---@field version? integer
---@field size? integer
---@field checksum? string
---@field key_count? integer
---@field tenant_count? integer

local function expect_text(value, name, what)
  if type(value) ~= "string" then error(("%s: expected %s, got a %s"):format(name, what, type(value)), 3) end
end

--- Says what is wrong with a passphrase, or nil.
---@param text any
---@return string?
function M.passphrase_problem(text)
  control.current "backups.passphrase_problem"
  return control.at_once("passphrase_problem", text)
end

--- Makes an archive.
---@async
---@param options? { passphrase?: string } so that other nodes can restore it
---@return pdk.backups.made? backup
---@return pdk.problem.document? problem
function M.create(options)
  local of = control.current "backups.create"
  return control.call("create_backup", of, (options or {}).passphrase)
end

--- Reads the form of a backup that is JSON: the fields of `create` with the archive in Base64 as `data`, or with the
--- `backup_id` of one that is kept; and perhaps `checksum` and `passphrase`.
---@async
---@param document string|pdk.document.content
---@return { archive: pdk.document.content, passphrase?: string }? backup
---@return pdk.problem.document? problem
function M.parse(document)
  return control.call("parse_backup", control.current "backups.parse", document)
end

--- Brings back what the API owned when a backup was made, as one transaction; what it owns beside that goes, what
--- stands in the conf file stays. Nothing changes unless the whole archive is verified.
---@async
---@param archive string|pdk.document.content
---@param options? { passphrase?: string, reason?: string, dry_run?: boolean }
---@return table? result {version, dry_run, restored_keys, changes, summary, diff, skipped, missing, warnings}
---@return pdk.problem.document? problem with a member `fault`, where the archive is at fault: format, truncated,
--- damaged or wrong_key
function M.restore(archive, options)
  local of = control.current "backups.restore"
  options = options or {}
  return control.call("restore_backup", of, network.plugin_name(), archive, { passphrase = options.passphrase,
    reason = options.reason and tostring(options.reason), dry_run = options.dry_run == true })
end

--- Lists the backups that the node keeps, and the next one of its schedule.
---@async
---@return pdk.backups.kept[]? list
---@return pdk.problem.document? problem
function M.list()
  control.current "backups.list"
  return control.call "list_backups"
end

--- Makes a backup, and keeps it in the folder of the node (`backups.path` in the conf).
---@async
---@param options? { passphrase?: string }
---@return pdk.backups.kept? backup
---@return pdk.problem.document? problem
function M.keep(options)
  local of = control.current "backups.keep"
  return control.call("keep_backup", of, network.plugin_name(), (options or {}).passphrase)
end

--- Returns one that is kept.
---@async
---@param id string
---@return pdk.backups.kept? backup
---@return pdk.problem.document? problem not_found
function M.find(id)
  control.current "backups.find"
  expect_text(id, "backups.find", "the id of a backup")
  return control.call("find_backup", id)
end

--- Returns the archive of one that is kept.
---@async
---@param id string
---@return pdk.document.content? archive
---@return pdk.problem.document? problem not_found, or unavailable: too much is under way
function M.open(id)
  local of = control.current "backups.open"
  expect_text(id, "backups.open", "the id of a backup")
  return control.call("open_backup", of, id)
end

--- Deletes one that is kept.
---@async
---@param id string
---@return true? ok
---@return pdk.problem.document? problem not_found, or conflict: the folder does not allow it
function M.delete(id)
  local of = control.current "backups.delete"
  expect_text(id, "backups.delete", "the id of a backup")
  return control.call("delete_backup", of, network.plugin_name(), id)
end

return M
