--- A dictionary of snapshot/dict/dict.h as an object, for specs: Lua values in and out, and a clock of its own, `now`.
local ffi = require "ffi"
local fixture = require "unit.snapshot.shared_fixture"

local lib = fixture.lib

local M = { lib = lib }

local SECOND = 1000000000ULL
local OK = lib.VF_DICT_OK
local TYPES = { boolean = lib.VF_DICT_BOOLEAN, number = lib.VF_DICT_NUMBER, string = lib.VF_DICT_STRING,
  ["nil"] = lib.VF_DICT_NIL, cdata = lib.VF_DICT_INTEGER }

local ROOM = 1024 * 1024
local buffer, out = ffi.new("char[?]", ROOM), ffi.new "struct vf_dict_value"
local number, length = ffi.new "double[1]", ffi.new "uint32_t[1]"

-- Integers are int64_t cdata, numbers are NUMBER.
local function value_of(x)
  local value = ffi.new "struct vf_dict_value"
  value.type = TYPES[type(x)]
  if type(x) == "string" then value.data, value.len = x, #x end
  if type(x) == "number" then value.number = x end
  if type(x) == "boolean" then value.integer = x and 1 or 0 end
  if type(x) == "cdata" then value.integer = x end
  return value
end

local function lua_of(value)
  if value.type == lib.VF_DICT_STRING then return ffi.string(value.data, value.len) end
  if value.type == lib.VF_DICT_NUMBER then return value.number end
  if value.type == lib.VF_DICT_BOOLEAN then return value.integer == 1 end
  if value.type == lib.VF_DICT_INTEGER then return value.integer end
  return { n = tonumber(value.integer) }
end

local Dict = {}
Dict.__index = Dict

function Dict:get(key)
  local rc = lib.vf_dict_get(self.c, key, #key, self.now, buffer, ROOM, out)
  if rc ~= OK then return nil, rc end
  return lua_of(out), tonumber(out.flags)
end

function Dict:set(key, x, ttl, how, flags)
  local value = value_of(x)
  value.flags = flags or 0
  local rc = lib.vf_dict_set(self.c, key, #key, value, ttl or 0, self.now, how or 0, length)
  return rc, tonumber(length[0])
end

function Dict:swap(key, from, to)
  return lib.vf_dict_swap(self.c, key, #key, value_of(from), value_of(to), 0, self.now)
end

function Dict:delete(key) return lib.vf_dict_delete(self.c, key, #key, self.now) end

function Dict:incr(key, by, init, ttl)
  local first = init and ffi.new("double[1]", init)
  local rc = lib.vf_dict_incr(self.c, key, #key, by, first, ttl or 0, self.now, number)
  if rc ~= OK then return nil, rc end
  return number[0]
end

function Dict:push(key, x, at)
  local rc = lib.vf_dict_push(self.c, key, #key, at, value_of(x), self.now, length)
  if rc ~= OK then return nil, rc end
  return length[0]
end

function Dict:pop(key, at)
  local rc = lib.vf_dict_pop(self.c, key, #key, at, self.now, buffer, ROOM, out)
  if rc ~= OK then return nil, rc end
  return lua_of(out)
end

function Dict:length(key)
  local rc = lib.vf_dict_length(self.c, key, #key, self.now, length)
  if rc ~= OK then return nil, rc end
  return length[0]
end

function Dict:ttl(key)
  local ttl = ffi.new "uint64_t[1]"
  local rc = lib.vf_dict_ttl_get(self.c, key, #key, self.now, ttl)
  if rc ~= OK then return nil, rc end
  return ttl[0]
end

function Dict:expire(key, ttl) return lib.vf_dict_ttl_set(self.c, key, #key, ttl, self.now) end

function Dict:keys(max, prefix)
  local used, keys, at = ffi.new "size_t[1]", {}, 0
  prefix = prefix or ""
  local n = lib.vf_dict_keys(self.c, prefix, #prefix, max or 0, self.now, buffer, ROOM, used)
  while at < tonumber(used[0]) do
    local len = ffi.new "uint32_t[1]"
    ffi.copy(len, buffer + at, 4)
    keys[#keys + 1] = ffi.string(buffer + at + 4, len[0])
    at = at + 4 + len[0]
  end
  assert(n == #keys)
  return keys
end

function Dict:info()
  local info = ffi.new "struct vf_dict_info"
  lib.vf_dict_info(self.c, info)
  return setmetatable({}, { __index = function(_, name) return tonumber(info[name]) end })
end

function Dict:is_whole() return lib.vf_dict_check(self.c) end

M.REGION = 40 * 1024 * 1024

--- Makes a set of dictionaries in fresh memory, with one of `bytes`.
-- @return dictionary, the set, its path, and a function that closes it
function M.create(bytes)
  local memory, path, close = fixture.create(M.REGION)
  local dicts, c = ffi.cast("struct vf_dicts *", memory), ffi.new "struct vf_dict *[1]"
  lib.vf_dicts_init(dicts, M.REGION)
  assert(lib.vf_dicts_open(dicts, "test", bytes, c) == OK)
  return setmetatable({ c = c[0], now = 100 * SECOND }, Dict), dicts, path, close
end

--- A spec on a dictionary of its own, which must add up in the end: body(dictionary, set, path).
function M.with(bytes, body)
  return function()
    local dict, dicts, path, close = M.create(bytes)
    local ok, err = xpcall(function()
      body(dict, dicts, path)
      assert(dict:is_whole(), "it does not add up")
    end, debug.traceback)
    close()
    if not ok then error(err, 0) end
  end
end

return M
