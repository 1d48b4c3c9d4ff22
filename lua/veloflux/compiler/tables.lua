--- The tables of consumers and credentials (snapshot/table/layout.h): what is large or changes fast, and
-- so is no part of the snapshot.
--
--   consumers     "c" NUL tenant NUL name -> {"name","tenant","custom_id","groups",["chain"]}
--   credentials   type NUL tenant NUL id  -> {"consumer", the fields of the credential but its id}
--                 NUL type                -> {"hashed", ["password"], ["decoy"]}, what the type says of itself
--
-- The id of a credential is the field that its type names, as it is or, when the type says `hashed`, its
-- SHA-256 (32 bytes): an API key stands in no memory but its owner's. A password becomes what
-- docs/decisions/0010-credentials.md describes. Texts are canonical (keys in byte order), so that equal
-- entities are equal bytes and a reload publishes what has changed.
local bit = require "bit"
local ffi = require "ffi"
local crypto = require "veloflux.pdk.crypto"
local json = require "veloflux.model.json"
local keys = require "veloflux.keys"
local slices = require "veloflux.slices"

ffi.cdef [[
struct vf_tableb;
struct vf_tableb *vf_tableb_new(void);
void vf_tableb_free(struct vf_tableb *builder);
int vf_tableb_add(struct vf_tableb *builder, const char *key, size_t key_len, const char *value, size_t value_len);
uint64_t vf_tableb_count(const struct vf_tableb *builder);

struct vf_stage {
  uint32_t kind, way;
  uint64_t stamp, sequence, puts, deletes;
  const struct vf_tableb *builder, *gone;
  int fds[2];
};
int vf_stage_init(struct vf_stage *stage, uint32_t kind, const struct vf_tableb *builder,
  const struct vf_tableb *gone);
uint64_t vf_table_stamp(uint32_t kind);
void vf_stage_deinit(struct vf_stage *stage);
int vf_control_publish_stage(struct vf_stage *stage);
]]
local C = ffi.C

local M = {}

--- The kinds of tables (enum vf_table_kind).
M.KINDS = { consumers = 0, credentials = 1 }

local E2BIG = -7
local SALT_BYTES = 16

-- Entries -------------------------------------------------------------------------------------------

local encode

local function encode_list(list)
  local pieces = {}
  for i, value in ipairs(list) do pieces[i] = encode(value) end
  return "[" .. table.concat(pieces, ",") .. "]"
end

local function encode_map(map)
  local names, pieces = {}, {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do pieces[i] = json.quote(name) .. ":" .. encode(map[name]) end
  return "{" .. table.concat(pieces, ",") .. "}"
end

--- Returns the canonical text of a plain value; an empty table is a map.
function encode(value)
  if type(value) == "string" then return json.quote(value) end
  if type(value) ~= "table" then return json.scalar(value) end
  return #value > 0 and encode_list(value) or encode_map(value)
end

-- Hashes that people have from elsewhere: taken for a password they would be one that nobody knows.
local FOREIGN = { ["1"] = true, ["2a"] = true, ["2b"] = true, ["2y"] = true, ["5"] = true, ["6"] = true, y = true,
  apr1 = true, argon2i = true, argon2d = true, scrypt = true, pbkdf2 = true, ["pbkdf2-sha256"] = true }

-- What an Argon2id hash may cost (src/lua/password.h): each wrong password costs that, whosever it is (dearer_decoy).
local MOST_KIB, MOST_WORK, MOST_LANES = 256 * 1024, 1024 * 1024, 16

local function is_affordable(hash)
  local memory, passes, lanes = hash:match "%$m=(%d+),t=(%d+),p=(%d+)%$"
  memory, passes, lanes = tonumber(memory), tonumber(passes), tonumber(lanes)
  return not memory or memory <= MOST_KIB and memory * passes <= MOST_WORK and lanes <= MOST_LANES
end

--- What the table holds of a password: itself when it is a hash already ("$argon2id$..."), else an HMAC
-- under a salt that comes from the master key and the credential, so that it is the same at each load.
local function protect(password, salt_key, id)
  local form = password:match "^%$([%w-]+)%$"
  if form == "argon2id" and is_affordable(password) then return password end
  local name = id:gsub("%z", "/")
  if form == "argon2id" then
    error(("the password of %s is a hash that takes more than 256 MiB (m), 1 GiB in all its passes (m times t), "
      .. "or 16 lanes (p)"):format(name), 0)
  elseif FOREIGN[form] then
    error(("the password of %s is a hash of the kind %s: only argon2id is known"):format(name, form), 0)
  end
  local salt = crypto.hmac("sha256", salt_key, id):sub(1, SALT_BYTES)
  local hash = crypto.hmac("sha256", salt, password)
  return ("$hmac-sha256$%s$%s"):format(crypto.hex_encode(salt), crypto.hex_encode(hash))
end

--- Returns the hash of a chain (uint64_t) as 16 hexadecimal digits.
function M.chain_key(hash) return bit.tohex(hash) end

--- Returns the key of a consumer.
function M.consumer_key(tenant, name) return "c\0" .. tenant .. "\0" .. name end

--- Returns the key of a credential.
-- @param hashed whether the type says so
function M.credential_key(type, tenant, id, hashed)
  return type .. "\0" .. tenant .. "\0" .. (hashed and crypto.hash("sha256", id) or id)
end

--- Returns key and value of a consumer.
-- @param chain hexadecimal hash of the chain of its own plugins, or nil
function M.consumer_entry(consumer, chain)
  local fields = { '"groups":' .. encode_list(consumer.groups or {}), '"name":' .. json.quote(consumer.name),
    '"tenant":' .. json.quote(consumer.tenant) }
  if consumer.custom_id then table.insert(fields, 1, '"custom_id":' .. json.quote(consumer.custom_id)) end
  if chain then table.insert(fields, 1, '"chain":' .. json.quote(chain)) end
  return M.consumer_key(consumer.tenant, consumer.name), "{" .. table.concat(fields, ",") .. "}"
end

--- Returns key and value of a credential.
-- @param credential plain table: type and its fields
-- @param kind what entities.lua of its plugin says: {id, hashed, password = name of a field or nil}
-- @param salt_key of M.salt_key
function M.credential_entry(consumer, credential, kind, salt_key)
  local id = credential[kind.id]
  local key = M.credential_key(credential.type, consumer.tenant, id, kind.hashed)
  local record = {}
  for name, value in pairs(credential) do
    if name ~= "type" and name ~= kind.id then record[name] = value end
  end
  record.consumer = consumer.name
  local password = kind.password and record[kind.password]
  if password then record[kind.password] = protect(password, salt_key, key) end
  return key, encode(record)
end

--- Returns a hash that costs what the dearest of two Argon2id hashes does and that no password has, for names that
-- nobody has; and its cost. `decoy` and `cost` are what was found so far, or nil.
local function dearer_decoy(hash, decoy, cost)
  local head, memory, passes = hash:match "^(%$argon2id%$v=%d+%$m=(%d+),t=(%d+),p=%d+%$)"
  local own = head and tonumber(memory) * tonumber(passes)
  if not own or cost and own <= cost then return decoy, cost end
  return head .. ("A"):rep(22) .. "$" .. ("A"):rep(43), own -- 16 bytes of salt and 32 of hash, all zero
end

--- Returns key and value of what workers have to know of a type of credentials.
-- @param decoy an Argon2id hash that nobody has, when some passwords of the type are such hashes
function M.type_entry(type, kind, decoy)
  return "\0" .. type, encode { hashed = kind.hashed or false, password = kind.password, decoy = decoy }
end

--- Returns the key that salts come from, or nil and a message.
function M.salt_key(node)
  local master, problem = keys.master(node)
  if not master then return nil, problem end
  return keys.derive(master, "veloflux password salt")
end

-- Stages --------------------------------------------------------------------------------------------

local function new_builder()
  local builder = C.vf_tableb_new()
  if builder == nil then error("out of memory", 0) end
  return ffi.gc(builder, C.vf_tableb_free)
end

local function add(builder, key, value)
  local rc = C.vf_tableb_add(builder, key, #key, value, #value)
  if rc == E2BIG then error(("the entry of %s is too large"):format((key:gsub("%z", "/"))), 0) end
  if rc ~= 0 then error("out of memory", 0) end
end

--- Adds the entries of consumers, and of the types of their credentials to `types`.
local function add_consumers(builders, consumers, options, types)
  local chain_of, plain = options.chain_of, options.plain
  for _, consumer in ipairs(consumers) do
    slices.pause()
    add(builders.consumers, M.consumer_entry(consumer, chain_of and chain_of(consumer)))
    for _, credential in ipairs(consumer.credentials or {}) do
      local value, kind = plain and plain(credential) or credential, options.kind_of(credential)
      add(builders.credentials, M.credential_entry(consumer, value, kind, options.salt_key))
      local of = types[credential.type] or { kind = kind }
      types[credential.type] = of
      if kind.password then of.decoy, of.cost = dearer_decoy(value[kind.password] or "", of.decoy, of.cost) end
    end
  end
end

--- Adds the keys of what consumers had. Only the keys count.
local function add_gone(builders, consumers, options)
  for _, consumer in ipairs(consumers) do
    add(builders.consumers, M.consumer_key(consumer.tenant, consumer.name), "")
    for _, credential in ipairs(consumer.credentials or {}) do
      local value, kind = options.plain and options.plain(credential) or credential, options.kind_of(credential)
      add(builders.credentials, M.credential_key(credential.type, consumer.tenant, value[kind.id], kind.hashed), "")
    end
  end
end

local function new_builders() return { consumers = new_builder(), credentials = new_builder() } end

local function stage(kind, builder, gone)
  local staged = ffi.gc(ffi.new "struct vf_stage", C.vf_stage_deinit)
  staged.fds[0], staged.fds[1] = -1, -1
  local rc = C.vf_stage_init(staged, kind, builder, gone)
  if rc ~= 0 then error(("tables: error %d"):format(-rc), 0) end
  return { stage = staged, builder = builder, gone = gone }
end

local function stage_all(builders, gone, types)
  local staged = { types = types }
  for name, kind in pairs(M.KINDS) do staged[name] = stage(kind, builders[name], gone and gone[name]) end
  return staged
end

--- Completes options by the key that salts come from.
local function salted(model, options)
  if options.salt_key then return options end
  local salt_key, problem = M.salt_key(model.node)
  if not salt_key then error(problem, 0) end
  return setmetatable({ salt_key = salt_key }, { __index = options })
end

local function has_credentials(consumers)
  for _, consumer in ipairs(consumers) do
    if consumer.credentials and #consumer.credentials > 0 then return true end
  end
  return false
end

--- Prepares what makes the tables say what a model does.
-- @param model with consumers (nil: none)
-- @param options table: kind_of(credential) -> {id, hashed, password}; chain_of(consumer) -> hash in
-- hexadecimal or nil; plain(credential) -> plain table. The last two may be nil. salt_key of M.salt_key, if known
-- @return the stages for M.publish, with `types` for M.stage_some; or nil and a message
function M.stage(model, options)
  local ok, result = pcall(function()
    local builders, types, consumers = new_builders(), {}, model.consumers or {}
    if has_credentials(consumers) then options = salted(model, options) end
    add_consumers(builders, consumers, options, types)
    for name, of in pairs(types) do add(builders.credentials, M.type_entry(name, of.kind, of.decoy)) end
    return stage_all(builders, nil, types)
  end)
  if ok then return result end
  return nil, result
end

local function is_argon2id(credential, kind, options)
  local value = kind.password and (options.plain and options.plain(credential) or credential)[kind.password]
  return value and value:find("$argon2id$", 1, true) == 1
end

--- Says whether the entries of types stay as they are when credentials go and come.
local function keeps_types(consumers, options, types)
  for _, consumer in ipairs(consumers) do
    for _, credential in ipairs(consumer.credentials or {}) do
      local of, kind = types[credential.type], options.kind_of(credential)
      if not of or of.kind.id ~= kind.id or of.kind.hashed ~= kind.hashed or of.kind.password ~= kind.password
        or is_argon2id(credential, kind, options) then
        return false
      end
    end
  end
  return true
end

--- Prepares what makes of tables that say what one model does those of another; it costs what differs. The entry of a
-- type stays when the last credential of the type goes: nobody finds anything by it.
-- @param differences of table_source.differences
-- @param before, after options as for M.stage, of what was and of what shall be
-- @param types as the stages had them by which the tables came to say what they do
-- @return as M.stage; or nil: all has to be staged; or nil and a message
function M.stage_some(differences, before, after, types)
  local gone, come = differences.gone, differences.come
  if not keeps_types(gone, before, types) or not keeps_types(come, after, types) then return nil end
  if has_credentials(come) and not after.salt_key then return nil end
  local ok, result = pcall(function()
    local puts, keys_gone = new_builders(), new_builders()
    add_consumers(puts, come, after, types)
    add_gone(keys_gone, gone, before)
    return stage_all(puts, keys_gone, types)
  end)
  if ok then return result end
  return nil, result
end

--- Returns a text that is another whenever a table may say something else.
function M.stamp()
  return tostring(C.vf_table_stamp(M.KINDS.consumers)) .. tostring(C.vf_table_stamp(M.KINDS.credentials))
end

--- Makes it so. Consumers go first: a credential never names one that is not there.
-- @param publish function(struct vf_stage *) -> 0 or a negative code; nil: as control does
-- @return true, or nil and a message; then some may have changed
function M.publish(staged, publish)
  for _, name in ipairs { "consumers", "credentials" } do
    local rc = (publish or C.vf_control_publish_stage)(staged[name].stage)
    if rc ~= 0 then return nil, ("the table of %s: error %d"):format(name, -rc) end
  end
  return true
end

return M
