--- The master keys of a node, or of several with the same. Secrets at rest are sealed with keys that are made of the
-- one in use; those before it still open what they have sealed. Sticky cookies and backups come from the one in use.
--
-- They come from the setting master_key (a file, a variable of the environment, the output of a command, or a text
-- that is the key), and from data_dir/master.key (0600), which is made once with 32 random bytes when there is no such
-- setting. Those of the setting go first.
--
-- Sealed is: the first four bytes of the key's id, then what crypto.aes_gcm seals. What was sealed before keys had ids
-- begins with the latter; each key is tried then.
local ffi = require "ffi"
local crypto = require "veloflux.pdk.crypto"
local json = require "veloflux.pdk.json"
local sources = require "veloflux.key_sources"

ffi.cdef [[
int vf_file_create(const char *path, const char *data, size_t len, uint32_t mode);
int vf_file_make_folder(const char *path, uint32_t mode);
int vf_file_replace(const char *path, const char *data, size_t len, uint32_t mode);
int vf_file_kind(const char *path);
]]
local C = ffi.C

local M = {}

local KEY_BYTES, ID_BYTES = 32, 4
local PRIVATE, FOLDER = tonumber("600", 8), tonumber("750", 8)
local EEXIST = -17

local rings = {}    -- by what they are made of
local obtained = {} -- {keys} or {problem} of commands, by what the setting says: they run once

--- Derives a key for one purpose from the master key (HMAC-SHA-256).
-- @return 32 bytes
function M.derive(master, purpose) return crypto.hmac("sha256", master, purpose) end

local function path_of(data_dir) return data_dir .. "/master.key" end

-- Keys of a data directory ------------------------------------------------------------------------------------

local function make(data_dir)
  local rc = C.vf_file_make_folder(data_dir, FOLDER)
  if rc ~= 0 then return nil, ("%s: cannot be created (error %d)"):format(data_dir, -rc) end
  local path = path_of(data_dir)
  rc = C.vf_file_create(path, crypto.random_bytes(KEY_BYTES), KEY_BYTES, PRIVATE)
  if rc ~= 0 and rc ~= EEXIST then return nil, ("%s: cannot be created (error %d)"):format(path, -rc) end
  return sources.of_file(path)
end

local function has_file(data_dir) return C.vf_file_kind(path_of(data_dir)) ~= 0 end

local function local_keys(data_dir)
  if has_file(data_dir) then return sources.of_file(path_of(data_dir)) end
  return make(data_dir)
end

-- Rings -------------------------------------------------------------------------------------------------------

local function describe(setting)
  if setting == nil then return "data_dir" end
  if type(setting) == "string" then return "text\0" .. setting end
  local command = setting.command
  return json.encode { file = setting.file, env = setting.env,
    command = type(command) == "table" and table.concat(command, "\0") or command }
end

local function keys_of_setting(setting)
  if type(setting) == "string" then return { { bytes = setting } } end
  if setting.file then return sources.of_file(setting.file) end
  if setting.env then return sources.of_env(setting.env) end
  local name = describe(setting)
  if not obtained[name] then
    local keys, problem = sources.of_command(setting)
    obtained[name] = { keys = keys, problem = problem }
  end
  return obtained[name].keys, obtained[name].problem
end

local function add(ring, keys, origin)
  for _, key in ipairs(keys) do
    local tag = M.derive(key.bytes, "veloflux key id"):sub(1, ID_BYTES)
    if not ring.by_tag[tag] then
      local entry = { id = crypto.hex_encode(tag), tag = tag, bytes = key.bytes, until_version = key.until_version,
        at_ms = key.at_ms, origin = origin,
        cipher = assert(crypto.aes_gcm(M.derive(key.bytes, "veloflux sealed text"))) }
      ring.by_tag[tag], ring.keys[#ring.keys + 1] = entry, entry
    end
  end
end

--- What the keys of a setting are told to come from.
local function origin_of(setting)
  if type(setting) == "string" then return "setting" end
  return setting.file and "file" or setting.env and "env" or "command"
end

--- Reads the keys of a ring. Returns true, or nil and a message; the ring is as it was then.
-- @param own what the command of its setting has given, or nil: as it is known
local function fill(ring, own)
  local others, problem
  if ring.setting then
    if not own then own, problem = keys_of_setting(ring.setting) end
    if not own then return nil, problem end
    if ring.data_dir and has_file(ring.data_dir) then others, problem = sources.of_file(path_of(ring.data_dir)) end
  else
    others, problem = local_keys(ring.data_dir)
  end
  if problem then return nil, problem end
  ring.keys, ring.by_tag = {}, {}
  if own then add(ring, own, origin_of(ring.setting)) end
  if others then add(ring, others, "data_dir") end
  return true
end

local function name_of(node) return (node.data_dir or "") .. "\0" .. describe(node.master_key) end

--- Returns the keys of a node: {keys = list of {id, bytes, origin, until_version, at_ms}, the one in use first}; or
-- nil and a message. Sealers that were made of it see what becomes of it.
-- @param node with data_dir, and perhaps master_key
function M.ring(node)
  local name = name_of(node)
  if rings[name] then return rings[name] end
  local ring = { data_dir = node.data_dir, setting = node.master_key }
  local ok, problem = fill(ring)
  if not ok then return nil, problem end
  rings[name] = ring
  return ring
end

--- Reads the keys of a node anew: a file may have another, a command is run again. Nothing is waited for.
-- @param alarms control/alarms.lua
-- @param callback function(message): nil when all is well; else what was known holds
function M.refresh(node, alarms, callback)
  local name = name_of(node)
  local function go_on()
    if not rings[name] then return callback(select(2, M.ring(node))) end
    callback(select(2, fill(rings[name])))
  end
  local setting = node.master_key
  if type(setting) ~= "table" or not setting.command then return go_on() end
  sources.ask_command(setting, alarms, function(keys, problem)
    local known = obtained[describe(setting)]
    if keys or not known or not known.keys then obtained[describe(setting)] = { keys = keys, problem = problem } end
    if not keys then return callback(problem) end
    go_on()
  end)
end

--- Looks what `refresh` would find. Nothing changes.
-- @param callback function(ring as `M.ring` returns it), or with nil and a message
function M.look(node, alarms, callback)
  local setting = node.master_key
  local ring = { data_dir = node.data_dir, setting = setting }
  local function read(own)
    local ok, problem = fill(ring, own)
    callback(ok and ring or nil, problem)
  end
  if type(setting) ~= "table" or not setting.command then return read() end
  sources.ask_command(setting, alarms, function(keys, problem)
    if keys then return read(keys) end
    callback(nil, problem)
  end)
end

--- Returns the master key in use; or nil and a message.
function M.master(node)
  local ring, problem = M.ring(node)
  if not ring then return nil, problem end
  return ring.keys[1].bytes
end

--- Returns the key of sticky cookies, or nil and a message.
function M.sticky(node)
  local master, problem = M.master(node)
  if not master then return nil, problem end
  return M.derive(master, "veloflux sticky cookie")
end

-- Sealing -----------------------------------------------------------------------------------------------------

local function open(ring, sealed)
  local key = ring.by_tag[sealed:sub(1, ID_BYTES)]
  local text = key and key.cipher:open(sealed:sub(ID_BYTES + 1))
  if text then return text end
  for _, other in ipairs(ring.keys) do
    text = other.cipher:open(sealed)
    if text then return text end
  end
end

--- Returns two functions for texts at rest: seal(text) -> hexadecimal text, and unseal(hexadecimal text) -> text, nil
-- when none of the keys has sealed it. Or nil and a message.
function M.sealer(node)
  local ring, problem = M.ring(node)
  if not ring then return nil, problem end
  local function seal(text)
    local key = ring.keys[1]
    return crypto.hex_encode(key.tag .. key.cipher:seal(text))
  end
  local function unseal(hex)
    local sealed = crypto.hex_decode(hex)
    return sealed and open(ring, sealed)
  end
  return seal, unseal
end

--- Says whether a sealed text is of a key.
-- @param id of the key
function M.is_sealed_by(hex, id) return hex:sub(1, 2 * ID_BYTES):lower() == id end

--- Forgets what was read, as a new process has it: for specs.
function M.reset() rings, obtained = {}, {} end

-- Other keys --------------------------------------------------------------------------------------------------

local function write(ring, keys)
  local text, path = sources.format(keys), path_of(ring.data_dir)
  local rc = C.vf_file_replace(path, text, #text, PRIVATE)
  if rc ~= 0 then return nil, ("%s: cannot be written (error %d)"):format(path, -rc) end
  return fill(ring)
end

local function of_folder(ring)
  local keys = {}
  for _, key in ipairs(ring.keys) do
    if key.origin == "data_dir" then keys[#keys + 1] = key end
  end
  return keys
end

--- Makes a new key, which is in use from now on, and keeps the others. A power cut leaves the one or the other.
-- @return true, or nil and a message
function M.generate(ring)
  assert(not ring.setting, "the key comes from elsewhere")
  local keys = of_folder(ring)
  table.insert(keys, 1, { bytes = crypto.random_bytes(KEY_BYTES) })
  return write(ring, keys)
end

--- Notes that from a version on nothing new needs the keys of data_dir that are not in use.
-- @return true, or nil and a message
function M.outdate(ring, version, time_ms)
  local keys, is_changed = of_folder(ring), false
  for _, key in ipairs(keys) do
    if key ~= ring.keys[1] and not key.until_version then
      key.until_version, key.at_ms, is_changed = version, time_ms, true
    end
  end
  if not is_changed then return true end
  return write(ring, keys)
end

--- Forgets a key of data_dir.
-- @return true, or nil and a message
function M.forget(ring, id)
  local keys, left = of_folder(ring), {}
  for _, key in ipairs(keys) do
    if key.id ~= id then left[#left + 1] = key end
  end
  assert(#left < #keys and ring.keys[1].id ~= id, "not a key that can be forgotten")
  if #left > 0 then return write(ring, left) end
  os.remove(path_of(ring.data_dir))
  return fill(ring)
end

-- What a start needs to know when the conf file cannot be read ------------------------------------------------

local function note_path(data_dir) return data_dir .. "/master.key.source" end

--- Writes down where the keys come from. A key that the conf file itself has is sealed under that of data_dir.
-- @return true, or nil and a message
function M.remember(node)
  local ring, problem = M.ring(node)
  if not ring then return nil, problem end
  if ring.is_remembered then return true end
  local setting, text = node.master_key, nil
  if type(setting) == "string" then
    local seal, wrong = M.sealer { data_dir = node.data_dir }
    if not seal then return nil, wrong end
    text = json.encode { sealed = seal(setting) }
  elseif setting then
    text = json.encode { file = setting.file, env = setting.env, command = setting.command, timeout = setting.timeout }
  end
  local path = note_path(node.data_dir)
  if text then
    local rc = C.vf_file_replace(path, text, #text, PRIVATE)
    if rc ~= 0 then return nil, ("%s: cannot be written (error %d)"):format(path, -rc) end
  elseif C.vf_file_kind(path) ~= 0 then
    os.remove(path)
  end
  for _, other in pairs(rings) do other.is_remembered = other == ring or other.data_dir ~= ring.data_dir
    and other.is_remembered end
  return true
end

--- Returns what stands for the settings of a node, as far as its keys are concerned: {data_dir, master_key}.
function M.remembered(data_dir)
  local file = io.open(note_path(data_dir), "rb")
  local text = file and file:read "*a"
  if file then file:close() end
  local setting = text and json.decode(text)
  if type(setting) ~= "table" then return { data_dir = data_dir } end
  if setting.sealed then
    local _, unseal = M.sealer { data_dir = data_dir }
    setting = unseal and unseal(setting.sealed)
  end
  return { data_dir = data_dir, master_key = setting or nil }
end

return M
