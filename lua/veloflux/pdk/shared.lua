--- Shared dictionaries: values that all workers see and change together. `pdk.shared` is one, called with a colon;
-- `pdk.shared.dict` gives others.
--
--     pdk.shared:incr("hits", 1, 0)                           -- 1, 2, 3, ... whichever worker counts
--     pdk.shared:set("token", text, 60)                       -- gone after a minute
--     local sessions = pdk.shared.dict("sessions", { size = 64 * 1024 * 1024 })
--
-- Values are strings, numbers and booleans, and lists of these; tables are kept as text (pdk.json.encode). A call is
-- atomic, takes well below a microsecond, compiles, and never waits: all may be made in every phase and in timers, but
-- not while the plugin's code is loaded. A worker that is killed inside of a call loses at most the entry that it was
-- writing.
--
-- Keys are the plugin's own: two plugins that use the same key do not meet, two instances of one plugin do (put
-- pdk.plugin.get_id() into the key to keep them apart). A dictionary made with `share = true` has the same keys for all
-- plugins.
--
-- Dictionaries live until the node stops, over reloads and crashes of workers. When one is full, the entries used
-- longest ago make room; large ones are divided in shards that are full for themselves. `pdk.shared` has 16 MiB, which
-- all plugins share. Functions return nil, message, code when something is wrong at run time; codes are "type" (the
-- value is of another type), "absent", "exists", "changed", "no_memory" (full), "too_large", "no_room" (for another
-- dictionary).
local ffi = require "ffi"
local area = require "veloflux.runtime.area"
local call = require "veloflux.runtime.shared_call"
local memory = require "veloflux.shared_memory"
local values = require "veloflux.runtime.values"

local C = ffi.C
local clock, KEY = C.vf_clock_ns, area.KEY
local fill, value_of, failed = values.fill, values.read, values.failed
local begin, begin_all, nanoseconds, whole = call.begin, call.begin_all, call.nanoseconds, call.whole

local OK, ABSENT, SMALL = C.VF_DICT_OK, C.VF_DICT_ABSENT, C.VF_DICT_SMALL
local SET, ADD, REPLACE, HEAD, TAIL = C.VF_DICT_SET, C.VF_DICT_ADD, C.VF_DICT_REPLACE, C.VF_DICT_HEAD, C.VF_DICT_TAIL

local DEFAULT_BYTES = 16 * 1024 * 1024
local DEFAULT_KEYS = 1024

local out, given, expected = ffi.new "struct vf_dict_value", ffi.new "struct vf_dict_value",
  ffi.new "struct vf_dict_value"
local number, init_number, ttl_out = ffi.new "double[1]", ffi.new "double[1]", ffi.new "uint64_t[1]"
local length_out, budget = ffi.new "uint32_t[1]", ffi.new "struct vf_dict_budget"
local room = 4096
local buffer = ffi.new("char[?]", room)

---@class pdk.shared.dict
local Dict = {}
Dict.__index = Dict
Dict.__metatable = call.DICT

-- Makes room for a text that was too long for the buffer.
local function grow()
  while room < out.len do room = room * 2 end
  buffer = ffi.new("char[?]", room)
end

--- Returns the value of a key; nil when there is none.
---@param key string
---@return string|number|boolean|nil value
---@return string? err the value is a list
---@return string? code
function Dict:get(key)
  local c, n, code = begin(self, key, "shared.get", 2)
  if not c then return nil, n, code end
  local rc = C.vf_dict_get(c, KEY, n, clock(), buffer, room, out)
  while rc == SMALL do
    grow()
    rc = C.vf_dict_get(c, KEY, n, clock(), buffer, room, out)
  end
  if rc == OK then return value_of(out) end
  if rc == ABSENT then return nil end
  return failed(rc)
end

local function set(self, key, value, ttl, how, name)
  local c, n, code = begin(self, key, name, 3)
  if not c then return nil, n, code end
  fill(given, value, name, 3)
  local rc = C.vf_dict_set(c, KEY, n, given, nanoseconds(ttl, name, 3), clock(), how, nil)
  if rc == OK then return true end
  return failed(rc)
end

--- Keeps a value, whatever was there.
---@param key string
---@param value string|number|boolean|nil nil deletes
---@param ttl? number seconds to live; 0 or nil: until it has to make room
---@return true? ok
---@return string? err
---@return string? code "no_memory", "too_large"
function Dict:set(key, value, ttl)
  local ok, err, code = set(self, key, value, ttl, SET, "shared.set")
  return ok, err, code
end

--- As set, but only when there is no such key yet.
---@param key string
---@param value string|number|boolean|nil
---@param ttl? number seconds to live, as for set
---@return true? ok
---@return string? err
---@return string? code "exists", and those of set
function Dict:add(key, value, ttl)
  local ok, err, code = set(self, key, value, ttl, ADD, "shared.add")
  return ok, err, code
end

--- As set, but only when there is such a key.
---@param key string
---@param value string|number|boolean|nil
---@param ttl? number seconds to live, as for set
---@return true? ok
---@return string? err
---@return string? code "absent", and those of set
function Dict:replace(key, value, ttl)
  local ok, err, code = set(self, key, value, ttl, REPLACE, "shared.replace")
  return ok, err, code
end

--- Adds to a number, and returns the sum.
---@param key string
---@param by? number 1 when left out; may be negative or a fraction
---@param init? number what an absent value counts as; without it an absent one is an error
---@param init_ttl? number seconds that a value made so lives; that of one that is there stays
---@return number? sum
---@return string? err
---@return string? code "absent", "type", "no_memory"
function Dict:incr(key, by, init, init_ttl)
  local c, n, code = begin(self, key, "shared.incr", 2)
  if not c then return nil, n, code end
  if by == nil then by = 1 end
  if type(by) ~= "number" then error("shared.incr: expected a number to add, got " .. type(by), 2) end
  local rc
  if init == nil then
    rc = C.vf_dict_incr(c, KEY, n, by, nil, 0, clock(), number)
  else
    if type(init) ~= "number" then error("shared.incr: expected a number to begin with, got " .. type(init), 2) end
    init_number[0] = init
    rc = C.vf_dict_incr(c, KEY, n, by, init_number, nanoseconds(init_ttl, "shared.incr", 2), clock(), number)
  end
  if rc == OK then return number[0] end
  return failed(rc)
end

--- Compare and set: keeps `value` if `was` is there now. nil stands for absent on either side.
---@param key string
---@param was string|number|boolean|nil what has to be there
---@param value string|number|boolean|nil what is there then
---@param ttl? number as for set
---@return true? ok
---@return string? err
---@return string? code "changed": something else was there; and those of set
function Dict:cas(key, was, value, ttl)
  local c, n, code = begin(self, key, "shared.cas", 2)
  if not c then return nil, n, code end
  fill(expected, was, "shared.cas", 2)
  fill(given, value, "shared.cas", 2)
  local rc = C.vf_dict_swap(c, KEY, n, expected, given, nanoseconds(ttl, "shared.cas", 2), clock())
  if rc == OK then return true end
  return failed(rc)
end

--- Deletes what a key has, a list too.
---@param key string
---@return boolean was_there
function Dict:delete(key)
  local c, n = begin(self, key, "shared.delete", 2)
  return c ~= nil and C.vf_dict_delete(c, KEY, n, clock()) == OK
end

--- Takes `n` of a budget, all or none, over all workers: at most `limit` in a window, which begins when the first is
-- taken and is whole again when it ends. Makes no room by itself: "no_memory" when the dictionary is full. Entries of
-- others may still push a budget out that is not in use: give budgets that matter a dictionary of their own.
---@param key string
---@param limit integer
---@param window number seconds
---@param n? integer 1 when left out; 0 only tells
---@return boolean? granted
---@return integer|string left or err
---@return number|string reset seconds until the budget is whole again, or code
function Dict:quota(key, limit, window, n)
  local c, len, code = begin(self, key, "shared.quota", 2)
  if not c then return nil, len, code end
  local window_ns = nanoseconds(window, "shared.quota", 2)
  if window_ns == 0 then error("shared.quota: expected a window of some seconds", 2) end
  if n == nil then n = 1 end
  whole(limit, "limit", "shared.quota")
  whole(n, "n", "shared.quota")
  local rc = C.vf_dict_spend(c, KEY, len, limit, window_ns, n, clock(), budget)
  if rc ~= OK then return failed(rc) end
  return budget.granted ~= 0, tonumber(budget.left), tonumber(budget.reset_ns) / 1e9
end

local function push(self, key, value, at, name)
  local c, n, code = begin(self, key, name, 3)
  if not c then return nil, n, code end
  if value == nil then error(name .. ": expected a string, a number or a boolean, got nil", 3) end
  fill(given, value, name, 3)
  local rc = C.vf_dict_push(c, KEY, n, at, given, clock(), length_out)
  if rc == OK then return tonumber(length_out[0]) end
  return failed(rc)
end

--- Puts a value before the first of a list, which is made when there is none.
---@param key string
---@param value string|number|boolean
---@return integer? length of the list then
---@return string? err
---@return string? code "type", "no_memory", "too_large"
function Dict:lpush(key, value)
  local length, err, code = push(self, key, value, HEAD, "shared.lpush")
  return length, err, code
end

--- Puts a value behind the last of a list, as lpush.
---@param key string
---@param value string|number|boolean
---@return integer? length
---@return string? err
---@return string? code
function Dict:rpush(key, value)
  local length, err, code = push(self, key, value, TAIL, "shared.rpush")
  return length, err, code
end

local function pop(self, key, at, name)
  local c, n, code = begin(self, key, name, 3)
  if not c then return nil, n, code end
  local rc = C.vf_dict_pop(c, KEY, n, at, clock(), buffer, room, out)
  while rc == SMALL do
    grow()
    rc = C.vf_dict_pop(c, KEY, n, at, clock(), buffer, room, out)
  end
  if rc == OK then return value_of(out) end
  if rc == ABSENT then return nil end
  return failed(rc)
end

--- Takes the first value of a list; nil when there is none. A list goes with its last value.
---@param key string
---@return string|number|boolean|nil value
---@return string? err
---@return string? code "type"
function Dict:lpop(key)
  local value, err, code = pop(self, key, HEAD, "shared.lpop")
  return value, err, code
end

--- Takes the last value of a list, as lpop.
---@param key string
---@return string|number|boolean|nil value
---@return string? err
---@return string? code
function Dict:rpop(key)
  local value, err, code = pop(self, key, TAIL, "shared.rpop")
  return value, err, code
end

--- Returns how many values a list has; 0 when there is none.
---@param key string
---@return integer? length
---@return string? err
---@return string? code "type"
function Dict:llen(key)
  local c, n, code = begin(self, key, "shared.llen", 2)
  if not c then return nil, n, code end
  local rc = C.vf_dict_length(c, KEY, n, clock(), length_out)
  if rc == OK then return tonumber(length_out[0]) end
  return failed(rc)
end

--- Returns how many seconds a value will live; 0: until it has to make room.
---@param key string
---@return number? seconds
---@return string? err
---@return string? code "absent"
function Dict:ttl(key)
  local c, n, code = begin(self, key, "shared.ttl", 2)
  if not c then return nil, n, code end
  local rc = C.vf_dict_ttl_get(c, KEY, n, clock(), ttl_out)
  if rc == OK then return tonumber(ttl_out[0]) / 1e9 end
  return failed(rc)
end

--- Lets a value live for so many seconds from now on; 0: until it has to make room.
---@param key string
---@param ttl number
---@return true? ok
---@return string? err
---@return string? code "absent"
function Dict:expire(key, ttl)
  local c, n, code = begin(self, key, "shared.expire", 2)
  if not c then return nil, n, code end
  if ttl == nil then error("shared.expire: expected a time to live in seconds", 2) end
  local ttl_ns = nanoseconds(ttl, "shared.expire", 2)
  local rc = C.vf_dict_ttl_set(c, KEY, n, ttl_ns, clock())
  if rc == OK then return true end
  return failed(rc)
end

--- Returns keys, the ones used last first within each shard. Slow, and others wait meanwhile: looks at every entry of
-- the dictionary, other plugins' too.
---@param max? integer 1,024 when left out; 0: all
---@return string[]? keys
---@return string? err
---@return string? code
function Dict:keys(max)
  local c, prefix, code = begin_all(self, "shared.keys", 2)
  if not c then return nil, prefix, code end
  max = whole(max or DEFAULT_KEYS, "max", "shared.keys")
  return values.keys(c, prefix, max)
end

--- Removes everything that the plugin has in the dictionary; of one with `share`, everything.
---@return integer? n how many entries
---@return string? err
---@return string? code
function Dict:flush_all()
  local c, prefix, code = begin_all(self, "shared.flush_all", 2)
  if not c then return nil, prefix, code end
  return tonumber(C.vf_dict_flush_keys(c, prefix, #prefix))
end

--- Removes entries, any plugin's, that have expired; they go by themselves when room is needed.
---@param max? integer at most so many; 0 or nil: all
---@return integer? n how many
---@return string? err
---@return string? code
function Dict:flush_expired(max)
  local c, err, code = begin_all(self, "shared.flush_expired", 2)
  if not c then return nil, err, code end
  return tonumber(C.vf_dict_flush_expired(c, whole(max or 0, "max", "shared.flush_expired"), clock()))
end

local info = ffi.new "struct vf_dict_info"

local function figure(self, field, name)
  local c, err, code = begin_all(self, name, 3)
  if not c then return nil, err, code end
  C.vf_dict_info(c, info)
  return tonumber(info[field])
end

--- Returns the bytes that the dictionary has for entries, of all plugins together.
---@return integer? bytes
---@return string? err
---@return string? code
function Dict:capacity()
  local bytes, err, code = figure(self, "capacity_bytes", "shared.capacity")
  return bytes, err, code
end

--- Returns how many of these are free. Entries that have expired count as used until they are removed.
---@return integer? bytes
---@return string? err
---@return string? code
function Dict:free_space()
  local bytes, err, code = figure(self, "free_bytes", "shared.free_space")
  return bytes, err, code
end

--- Returns a dictionary. It is made when it is first used; all plugins that name it use the same one, with keys of
-- their own unless `share` is set. There is room for some thirty of 1 GiB together; they are never removed, and one
-- that is there keeps its size.
---@param name? string letters, digits, - and _; nil: the one that pdk.shared is
---@param options? { size?: integer, share?: boolean } size: bytes, 64 KiB to 512 MiB, 16 MiB when left out; share: keys
-- are the same for all plugins that set it
---@return pdk.shared.dict
function Dict.dict(name, options)
  options = options or {}
  if name ~= nil and (type(name) ~= "string" or not name:find "^%w[%w_-]*$" or #name > 40) then
    error("shared.dict: expected a name of at most 40 letters, digits, - and _", 2)
  end
  local bytes = options.size or DEFAULT_BYTES
  if type(bytes) ~= "number" or not (bytes >= C.VF_DICT_MIN_BYTES and bytes <= 512 * 1024 * 1024) then
    error("shared.dict: size: expected 65536 to 536870912 bytes, got " .. tostring(options.size), 2)
  end
  return setmetatable({ name = name or memory.DEFAULT, bytes = bytes, is_common = options.share and true or false },
    Dict)
end

---@class pdk.shared: pdk.shared.dict
return Dict.dict()
