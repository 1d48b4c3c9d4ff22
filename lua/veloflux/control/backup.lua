--- Backups: everything that the store has, as one encrypted archive, and the way back. What stands in the conf file
-- goes along for information: it is the file's to bring back.
local archive = require "veloflux.control.archive"
local contents = require "veloflux.content"
local entities = require "veloflux.control.entities"
local history = require "veloflux.control.history"
local json = require "veloflux.pdk.json"
local keys = require "veloflux.keys"
local model = require "veloflux.model"
local outcome = require "veloflux.control.outcome"
local queue = require "veloflux.control.queue"
local slices = require "veloflux.slices"
local worlds = require "veloflux.control.world"

local M = {}

local FORMAT = 1

local function refused(code, message)
  return { ok = false, code = code, message = message, errors = { { pointer = "", detail = message } } }
end

local function unavailable(message) return { ok = false, code = "unavailable", message = message, errors = {} } end

local function secrets_of(world, passphrase)
  local ring, problem = keys.ring(world.draft.node)
  if not ring then return nil, problem end
  return { passphrase = passphrase, master = ring.keys[1].bytes }, ring
end

--- Opens an archive with whichever key of the node it was made with. Returns the same as archive.open.
local function open(content, secrets, ring)
  local lines, unseal
  for _, key in ipairs(ring.keys) do
    lines, unseal = archive.open(content, { passphrase = secrets.passphrase, master = key.bytes })
    if lines or unseal.code ~= "wrong_key" or secrets.passphrase then break end
  end
  return lines, unseal
end

local function add_entities(writer, world)
  local function seal(text) return writer:seal(text) end
  local counts = { tenants = 0, all = 0 }
  for _, kind in ipairs(model.kinds_of(world.tools.plugins)) do
    for _, found in ipairs(worlds.list(world, kind)) do
      slices.pause()
      writer:add(json.encode { kind = kind, key = found.key, origin = found.origin, source = found.source,
        created_ms = found.created_ms, text = entities.stored_text(kind, found.value, seal, world.tools.plugins) })
      counts.all = counts.all + 1
      if kind == "tenants" then counts.tenants = counts.tenants + 1 end
    end
  end
  return counts
end

local function failed(failure)
  return { ok = false, code = failure.code, message = "the backup cannot be written: " .. failure.message,
    errors = {} }
end

--- Makes an archive of what is published, piece by piece.
-- @param options {passphrase, or nil: the master key of the node; now_ms; is_own, or nil: it is not for sending}
-- @return {ok = true, content, size, checksum, created_ms, version, entities, tenants: how many}, where content
-- (content.lua) is the caller's to close; or an outcome that says why not
function M.create(options)
  local world = queue.world()
  if not world then return unavailable "nothing is published yet" end
  local secrets, problem = secrets_of(world, options.passphrase)
  if not secrets then return unavailable(problem) end
  local bytes = contents.writer(world.draft.node.data_dir, options.is_own)
  local writer, fault = archive.writer(secrets, function(piece) return bytes:write(piece) end)
  if not writer then return unavailable(fault) end
  writer:add(json.encode { format = FORMAT, created_ms = options.now_ms, version = world.version })
  local counts = add_entities(writer, world)
  writer:add(json.encode { count = counts.all })
  local made, failure = writer:finish()
  local content = made and bytes:finish()
  if not content then return failed(failure or bytes.failure) end
  return { ok = true, content = content, size = made.size, checksum = made.checksum, created_ms = options.now_ms,
    version = world.version, entities = counts.all, tenants = counts.tenants }
end

--- True for a line that describes an entity. Who has the key may write anything there.
local function is_entity(entry)
  return type(entry.key) == "string" and type(entry.text) == "string" and type(entry.kind) == "string"
    and (entry.origin == "api" or entry.origin == "file") and (entry.source == nil or type(entry.source) == "string")
    and (entry.created_ms == nil or type(entry.created_ms) == "number" and entry.created_ms >= 0
      and entry.created_ms % 1 == 0 and entry.created_ms < 2 ^ 53)
end

--- Reads the lines of an archive. Returns {version, list}, or nil and an outcome.
local function parse(lines, plugins)
  local head = json.decode(lines() or "")
  if type(head) ~= "table" or head.format ~= FORMAT or type(head.version) ~= "number" then
    return nil, refused("invalid", "the backup is of a version that this one does not know")
  end
  local list = {}
  for line in lines do
    local entry = json.decode(line)
    if type(entry) ~= "table" then return nil, refused("invalid", "a line of the backup cannot be read") end
    if entry.count then
      if entry.count ~= #list then break end
      return { version = head.version, list = list }
    end
    if not is_entity(entry) then return nil, refused("invalid", "a line of the backup cannot be read") end
    if not entities.type_of(entry.kind, plugins) then
      return nil, refused("invalid", ("the backup has %s, which this version does not know"):format(entry.kind))
    end
    list[#list + 1] = entry
  end
  return nil, refused("invalid", "the backup does not have all that it says")
end

--- Makes the state that a backup holds, sealed for this store. Returns texts by kind and key, or nil and an outcome.
local function state_of(list, unseal, base)
  local state, count = {}, 0
  local tools = { plugins = base.tools.plugins, env = base.tools.env, dir = base.tools.dir, unseal = unseal }
  for _, kind in ipairs(model.kinds_of(tools.plugins)) do state[kind] = {} end
  for _, entry in ipairs(list) do
    if entry.origin == "api" then
      local record, problems = entities.read(entry.kind, entry.key, entry.text, tools)
      if not record then return nil, outcome.refusal(problems, {}, "invalid") end
      if model.key(entry.kind, record) ~= entry.key then
        return nil, refused("invalid", ("%s %s of the backup has another name inside"):format(entry.kind, entry.key))
      end
      state[entry.kind][entry.key] = entities.stored_text(entry.kind, record, base.seal, tools.plugins)
      count = count + 1
    end
  end
  return state, count
end

--- Returns what stood in the conf file of the node of the backup, and stands in none here.
local function missing_of(list, base)
  local missing = {}
  for _, entry in ipairs(list) do
    if entry.origin == "file" and not base.file[entry.kind][entry.key] then
      missing[#missing + 1] = { kind = entry.kind, key = entry.key, source = entry.source }
    end
  end
  return missing
end

local function edits_of(backup, unseal, base)
  local state, count = state_of(backup.list, unseal, base)
  if not state then return nil, count end
  local created = {}
  for _, entry in ipairs(backup.list) do created[entry.kind .. "\0" .. entry.key] = entry.created_ms end
  local result, problem = history.edits_to(base, state, function(kind, key) return created[kind .. "\0" .. key] end)
  if not result then return nil, problem end
  result.extra.restored, result.extra.missing = count - #result.extra.skipped, missing_of(backup.list, base)
  return result
end

--- Brings back what the API owned when a backup was made, as one transaction; what it owns beside that goes. The conf
-- file keeps what it has. Nothing changes unless the whole archive is verified.
-- @param content of the archive (content.lua), which is the caller's again when `callback` is called
-- @param passphrase or nil
-- @param context, callback as for transactions.apply. The outcome has `restored`, the number of entities; `skipped`,
-- those that the conf file has; and `missing`, those that stood in the conf file then and stand in none now:
-- {{kind, key, source = FILE:LINE}}. With code invalid it may have `fault`: format, truncated, damaged or wrong_key
function M.restore(content, passphrase, context, callback)
  local world = queue.world()
  if not world then return callback(unavailable "nothing is published yet") end
  local secrets, ring = secrets_of(world, passphrase)
  if not secrets then return callback(unavailable(ring)) end
  local lines, unseal = open(content, secrets, ring)
  if not lines then
    local answer = refused("invalid", unseal.message)
    answer.fault = unseal.code
    return callback(answer)
  end
  local backup, failure = parse(lines, world.tools.plugins)
  if not backup then return callback(failure) end
  local own = {}
  for name, value in pairs(context) do own[name] = value end
  own.source = "import"
  if not own.reason or own.reason == "" then
    own.reason = ("backup of version %d"):format(backup.version)
  end
  queue.transform(function(base) return edits_of(backup, unseal, base) end, own, callback)
end

return M
