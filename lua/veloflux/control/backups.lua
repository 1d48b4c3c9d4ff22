--- Backups in a folder: made when somebody asks or by a schedule, listed, and the old ones deleted.
--
-- A backup is ID.vfbackup, the archive, and ID.json beside it: what it is. The archive is written first and the other
-- as one step, so what was cut off has no description. Archives that somebody has put there without one are listed
-- with what can be seen of them.
local ffi = require "ffi"
local backup = require "veloflux.control.backup"
local contents = require "veloflux.content"
local counts = require "veloflux.control.backup_counts"
local files = require "veloflux.conf.files"
local json = require "veloflux.pdk.json"
local link = require "veloflux.control.link"
local offload = require "veloflux.control.offload"
local slices = require "veloflux.slices"
local spools = require "veloflux.spool"

ffi.cdef [[
int vf_file_make_folder(const char *path, uint32_t mode);
int vf_file_kind(const char *path);
]]
local C = ffi.C

local M = {}

M.ENDING = ".vfbackup"
local DESCRIPTION = ".json"
local PRIVATE, FOLDER = tonumber("600", 8), tonumber("700", 8)
local REGULAR = 1 -- enum vf_file_kind
local DAY_MS, MINUTE_MS = 24 * 3600 * 1000, 60 * 1000
local AGAIN_MS = MINUTE_MS -- after a failure
local SENT = 5 -- of those that were sent stay for a restore by their name

local retry_ms -- when a schedule that failed is tried again

--- Says whether a text is the name of a backup.
function M.is_id(text) return type(text) == "string" and #text <= 128 and text:find "^%w[%w_-]*$" ~= nil end

--- Returns the folder of a node's backups.
function M.folder(node)
  local path = node.backups.path
  return path ~= "" and path or node.data_dir .. "/backups"
end

local function path_of(node, id) return M.folder(node) .. "/" .. id .. M.ENDING end

local function unlink(node, id)
  os.remove(M.folder(node) .. "/" .. id .. DESCRIPTION)
  return os.remove(path_of(node, id)) ~= nil
end

-- What there is ---------------------------------------------------------------------------------------

local function read(path, most)
  local file = io.open(path, "rb")
  local text = file and file:read(most)
  if file then file:close() end
  return text
end

local function size_of(path)
  local file = io.open(path, "rb")
  local size = file and file:seek "end"
  if file then file:close() end
  return size or 0
end

local function description_of(node, id)
  local text = read(M.folder(node) .. "/" .. id .. DESCRIPTION, 65536)
  local found = text and json.decode(text)
  return type(found) == "table" and type(found.created_ms) == "number" and found or {}
end

--- Returns one backup: {id, size, created_ms, version, checksum, entities, tenants, origin, key}, of which only the
-- first two are known of one without a description; or nil.
function M.find(node, id)
  local path = path_of(node, id)
  if C.vf_file_kind(path) ~= REGULAR then return nil end
  local found = description_of(node, id)
  found.id, found.size = id, size_of(path)
  return found
end

--- Lists them, the newest first; those of unknown age last.
function M.list(node)
  local list = {}
  for _, path in ipairs(files.glob(M.folder(node):gsub("[%*%?%[\\]", "\\%0") .. "/*" .. M.ENDING) or {}) do
    local id = path:match("([^/]+)" .. M.ENDING:gsub("%.", "%%.") .. "$")
    local found = M.is_id(id) and M.find(node, id)
    if found then list[#list + 1] = found end
  end
  table.sort(list, function(a, b)
    if a.created_ms ~= b.created_ms then return (a.created_ms or -1) > (b.created_ms or -1) end
    return a.id > b.id
  end)
  return list
end

--- Opens the archive of a backup. Returns its content (content.lua), the caller's to close; or nil, a message and a
-- code: not_found, busy or failed.
function M.open_archive(node, id) return contents.open(path_of(node, id)) end

--- Deletes one. Returns false when there is none.
function M.delete(node, id) return unlink(node, id) end

-- Making them -----------------------------------------------------------------------------------------

--- Returns what a backup of a time is called.
function M.name_at(time_ms) return "veloflux-backup-" .. os.date("!%Y%m%d-%H%M%S", math.floor(time_ms / 1000)) end

local taken = {} -- ids of backups that are being written

local function free_id(node, time_ms)
  local base = M.name_at(time_ms)
  local id, count = base, 1
  while taken[id] or C.vf_file_kind(path_of(node, id)) ~= 0 do
    count = count + 1
    id = ("%s-%d"):format(base, count)
  end
  return id
end

--- Writes a file on a thread. May yield.
local function write(path, content)
  local ok, message = true, nil
  if type(content) ~= "string" then ok, message = spools.map(content) end
  if not ok then return nil, message end
  local rc = offload.replace(path, content, PRIVATE)
  if rc ~= 0 then return nil, ("%s: cannot be written (error %d)"):format(path, -rc) end
  return true
end

local function refuse(message) return { ok = false, code = "unavailable", message = message, errors = {} } end

--- Writes both files of a backup. Returns true, or nil and a message.
local function write_both(node, id, made, options)
  local ok, message = write(path_of(node, id), made.content)
  if not ok then return nil, message end
  return write(M.folder(node) .. "/" .. id .. DESCRIPTION, json.encode { created_ms = made.created_ms,
    version = made.version, size = made.size, entities = made.entities, tenants = made.tenants,
    checksum = made.checksum, origin = options.origin, key = options.passphrase and "passphrase" or "master" } .. "\n")
end

--- Makes a backup and keeps it. May yield.
-- @param options {passphrase or nil, now_ms, origin = "api", "sent" or "schedule"}
-- @return {ok = true, backup = as of `find`}, or an outcome that says why not
function M.store(node, options)
  local made = backup.create { passphrase = options.passphrase, now_ms = options.now_ms, is_own = true }
  if not made.ok then return made end
  local folder, id = M.folder(node), free_id(node, options.now_ms)
  taken[id] = true
  local rc = C.vf_file_make_folder(folder, FOLDER)
  local ok, message = rc == 0, ("%s: cannot be created (error %d)"):format(folder, -rc)
  if ok then ok, message = write_both(node, id, made, options) end
  contents.close(made.content)
  taken[id] = nil
  if ok then return { ok = true, backup = M.find(node, id) } end
  unlink(node, id)
  return refuse(message)
end

--- Deletes those that were made to be sent (origin "sent") but the newest few.
function M.drop_sent(node)
  local kept = 0
  for _, found in ipairs(M.list(node)) do
    if found.origin == "sent" then
      kept = kept + 1
      if kept > SENT then unlink(node, found.id) end
    end
  end
end

-- The schedule ----------------------------------------------------------------------------------------

--- Returns when a time of the day (minutes) was last.
local function last_at(minutes, now_ms)
  local today = now_ms - now_ms % DAY_MS + minutes * MINUTE_MS
  return today <= now_ms and today or today - DAY_MS
end

--- Returns when the next backup is due (perhaps in the past), or nil when none is scheduled.
-- @param settings the record `backups`
-- @param last_ms when the last scheduled one was made; 0: never
function M.due(settings, last_ms, now_ms)
  if settings.at ~= "" then
    local hours, minutes = settings.at:match "^(%d%d):(%d%d)$"
    local last = last_at(tonumber(hours) * 60 + tonumber(minutes), now_ms)
    if last_ms == 0 then return last + DAY_MS end
    return last_ms < last and last or last + DAY_MS
  end
  if settings.every == math.huge then return nil end
  return last_ms == 0 and now_ms or last_ms + settings.every
end

--- Returns the newest backup of the schedule, 0 when there is none.
local function last_scheduled(list)
  for _, found in ipairs(list) do
    if found.origin == "schedule" then return found.created_ms end
  end
  return 0
end

--- Returns when the next one is due, or nil.
function M.next(node, now_ms)
  local due = M.due(node.backups, last_scheduled(M.list(node)), now_ms)
  return due and math.max(due, now_ms, retry_ms or 0)
end

--- Deletes scheduled ones beyond those that are kept.
local function drop_old(node)
  local kept = 0
  for _, found in ipairs(M.list(node)) do
    if found.origin == "schedule" then
      kept = kept + 1
      if kept > node.backups.keep and unlink(node, found.id) then
        link.log("info", "backup.deleted", found.id)
      end
    end
  end
end

local is_running = false -- a backup is being made
local known = {} -- {folder, last_ms}: what the folder was last seen to have

--- Makes the backup that is due. Takes its time: the loop turns meanwhile.
local function make(node, now_ms)
  local settings = node.backups
  local passphrase = settings.passphrase ~= "" and settings.passphrase or nil
  local result = M.store(node, { passphrase = passphrase, now_ms = now_ms, origin = "schedule" })
  if not result.ok then
    retry_ms = now_ms + AGAIN_MS
    counts.failed()
    return link.log("error", "backup.failed", result.message)
  end
  known.last_ms, retry_ms = now_ms, nil
  counts.stored()
  counts.seen(now_ms)
  link.log("info", "backup.stored", ("%s, %d bytes"):format(result.backup.id, result.backup.size),
    result.backup.version)
  drop_old(node)
end

--- Makes the backup that is due, if one is. Called every second or so.
function M.tick(node, now_ms)
  local settings = node.backups
  if is_running or settings.at == "" and settings.every == math.huge then return end
  if known.folder ~= M.folder(node) then
    known = { folder = M.folder(node), last_ms = last_scheduled(M.list(node)) }
    counts.seen(known.last_ms)
  end
  local due = M.due(settings, known.last_ms, now_ms)
  if now_ms < math.max(due, retry_ms or 0) then return end
  is_running = true
  slices.run(function()
    local ok, message = xpcall(make, debug.traceback, node, now_ms)
    is_running = false
    if not ok then
      retry_ms = now_ms + AGAIN_MS
      error(message, 0)
    end
  end)
end

--- Begins anew.
function M.open()
  known, retry_ms, is_running = {}, nil, false
  counts.reset()
end

return M
