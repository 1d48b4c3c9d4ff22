--- Who uses the routes: consumers and their credentials, looked up in the tables of this process. No
-- other process is asked. What was decoded is kept, within bounds, until the table changes: a credential
-- that was revoked is not found with the next look.
--
-- The tables that are returned are shared by all requests: nobody may write to them.
-- How entries look is said in compiler/tables.lua.
local ffi = require "ffi"
local cjson = require "cjson"

ffi.cdef [[
struct vf_table_text { const char *data; size_t len; };
int vf_table_find(uint32_t kind, const char *key, size_t key_len, struct vf_table_text *value);
uint64_t vf_table_stamp(uint32_t kind);
]]
local C = ffi.C
local hash = require("veloflux.pdk.crypto").hash

local M = {}

local CONSUMERS, CREDENTIALS = 0, 1 -- enum vf_table_kind

--- How many decoded entries of each table are kept: twice as many at most, the newer half and the older.
M.KEPT = 4096

local text = ffi.new "struct vf_table_text"

local Cache = {}
Cache.__index = Cache

local function new_cache(kind)
  return setmetatable({ kind = kind, stamp = 0ULL, newer = {}, older = {}, n = 0 }, Cache)
end

local function complete(entry)
  if entry.name then entry.id, entry.username = entry.name, entry.name end
  return entry
end

--- Looks an entry up in the table itself.
-- @return the decoded table, or nil
local function read(kind, key)
  local rc = C.vf_table_find(kind, key, #key, text)
  if rc == 1 then
    local entry = cjson.decode(ffi.string(text.data, text.len))
    return kind == CONSUMERS and complete(entry) or entry
  end
  if rc ~= 0 then error(("a table cannot be read: error %d"):format(-rc), 0) end
  return nil
end

--- Keeps an entry. When the newer half is full the older one is given up, with what nobody asked for since.
function Cache:keep(key, entry)
  if self.n >= M.KEPT then
    self.older, self.newer, self.n = self.newer, {}, 0
  end
  self.newer[key] = entry
  self.n = self.n + 1
end

function Cache:find(key)
  local stamp = C.vf_table_stamp(self.kind)
  if stamp ~= self.stamp then
    self.stamp, self.newer, self.older, self.n = stamp, {}, {}, 0
  end
  local entry = self.newer[key]
  if entry then return entry end
  entry = self.older[key] or read(self.kind, key)
  if entry then self:keep(key, entry) end
  return entry
end

local consumers, credentials = new_cache(CONSUMERS), new_cache(CREDENTIALS)

--- Finds a consumer by name.
---@param tenant string
---@param name string
---@return table? consumer {id, username, name, tenant, custom_id, groups, chain}, not to be written to;
-- `id` and `username` are the name, for handlers that know them from elsewhere
function M.find_consumer(tenant, name)
  return consumers:find("c\0" .. tenant .. "\0" .. name)
end

--- Finds a credential by what identifies it.
---@param type string as in the conf: "key-auth"
---@param tenant string
---@param id string the field that the type names, as the client says it
---@return table? credential {consumer, ...its other fields}, not to be written to
---@return table? kind {hashed, password}: what the type says of itself; nil: there is no such credential at all
function M.find_credential(type, tenant, id)
  local kind = credentials:find("\0" .. type)
  if not kind then return nil end
  if kind.hashed then id = hash("sha256", id) end
  return credentials:find(type .. "\0" .. tenant .. "\0" .. id), kind
end

-- Whom `identify` has found since the tables changed: type -> tenant -> id -> {consumer, credential, kind}. Who asks
-- again is known without a hash and without texts that are made for a look. What clients say is in the memory of this
-- process here, for as long as they come; it leaves it neither for a table nor for a file.
local recent = { consumers = 0ULL, credentials = 0ULL, known = {}, n = 0 }
local LONGEST_RECENT = 256

local function recent_of(type, tenant)
  local stamp, other = C.vf_table_stamp(CONSUMERS), C.vf_table_stamp(CREDENTIALS)
  if stamp ~= recent.consumers or other ~= recent.credentials or recent.n >= M.KEPT then
    recent.consumers, recent.credentials, recent.known, recent.n = stamp, other, {}, 0
  end
  local known = recent.known
  local of_type = known[type] or {}
  known[type] = of_type
  local of_tenant = of_type[tenant] or {}
  of_type[tenant] = of_tenant
  return of_tenant
end

--- Finds the consumer that a credential belongs to.
---@return table? consumer
---@return table? credential
---@return table? kind as above
function M.identify(type, tenant, id)
  local found_before = recent_of(type, tenant)
  local found = found_before[id]
  if found then return found.consumer, found.credential, found.kind end
  local credential, kind = M.find_credential(type, tenant, id)
  local consumer = credential and M.find_consumer(tenant, credential.consumer)
  if not consumer then return nil, nil, kind end
  if #id <= LONGEST_RECENT then
    found_before[id], recent.n = { consumer = consumer, credential = credential, kind = kind }, recent.n + 1
  end
  return consumer, credential, kind
end

return M
