--- A cache in two levels: what this worker has seen, and shared memory behind it. Called with a colon.
--
--     local user, err, hit = pdk.cache:get("user:" .. id, { ttl = 60 }, load_user, id)
--
-- The callback makes the value when nobody has it: it runs once for all who ask meanwhile, in all workers; the others
-- wait. It returns the value, or nil and a message, and may return as third how many seconds the value is good. nil is
-- a value, too, and is kept for `neg_ttl`: "there is no such user". An error (a message, or one that is raised) is not
-- kept; it reaches all who waited.
--
-- Values may be anything that has no functions, userdata or cycles: string.buffer encodes them for shared memory. A
-- table that `get` returns is shared by all requests of the worker: do not write to it.
--
-- Keys are the plugin's own, as in pdk.shared. An invalidation holds from the moment on that it returns, in all
-- workers, also for a callback that was under way then: what that returns is given to those who wait, but not kept.
-- A worker keeps some 2,000 values of a plugin, of 8 MiB together; shared memory has 64 MiB for all, of which the
-- values used longest ago make room.
--
-- May be called wherever waiting is possible: in all phases and in timers, not while the plugin's code is loaded.
local ffi = require "ffi"
local area = require "veloflux.runtime.area"
local cached = require "veloflux.runtime.cached"
local flight = require "veloflux.runtime.flight"
local lru = require "veloflux.runtime.lru"
local report = require "veloflux.runtime.report"
local task = require "veloflux.runtime.task"

local clock = ffi.C.vf_clock_ns

local DEFAULT_TTL_S, DEFAULT_NEG_TTL_S, DEFAULT_WAIT_S = 3600, 30, 5
local STALE_S = 3600 -- how long values are kept for resurrect_ttl
local HALF_ENTRIES, HALF_BYTES = 1000, 4 * 1024 * 1024
local WORKER, SHARED, CALLBACK, STALE = 1, 2, 3, 4

---@class pdk.cache.options
---@field ttl? number seconds that a value is good; 0: until it is invalidated or has to make room (3600)
---@field neg_ttl? number the same for nil (30)
---@field resurrect_ttl? number when the callback fails, a value that is not good any more is used again for so many
-- seconds (not used again)
---@field l1_serializer? fun(value: any): any makes what this worker keeps and gives out of what shared memory has, such
-- as a compiled pattern of its text
---@field lock_timeout? number seconds to wait for another's callback before the own one is called (5)

---@class pdk.cache
local M = {}

local levels = {} -- prefix -> { lru, flights }: what this worker has of each plugin

local function level_of(prefix)
  local level = levels[prefix]
  if not level then
    level = { lru = lru.new(HALF_ENTRIES, HALF_BYTES), flights = {} }
    levels[prefix] = level
  end
  return level
end

-- What is asked for -----------------------------------------------------------------------------------

local function check_key(self, key, name)
  if type(self) ~= "table" then
    error(("%s is called with a colon: pdk.%s(...)"):format(name, (name:gsub("%.", ":"))), 3)
  end
  if type(key) ~= "string" or key == "" then
    error(("%s: expected a key, a string, got %s"):format(name, key == "" and "an empty one" or type(key)), 3)
  end
end

local function check_callback(cb, name)
  if type(cb) ~= "function" then error(("%s: expected a function, got %s"):format(name, type(cb)), 3) end
end

local NOTHING = {}
local SECONDS = { "ttl", "neg_ttl", "resurrect_ttl", "lock_timeout" }

local function check_options(options, name)
  if options == nil then return NOTHING end
  if type(options) ~= "table" then
    error(("%s: expected a table of options, got %s"):format(name, type(options)), 3)
  end
  for _, field in ipairs(SECONDS) do
    local value = options[field]
    if value ~= nil and (type(value) ~= "number" or not (value >= 0 and value < math.huge)) then
      error(("%s: %s: expected seconds from 0 on, got %s"):format(name, field, tostring(value)), 3)
    end
  end
  if options.l1_serializer ~= nil and type(options.l1_serializer) ~= "function" then
    error(name .. ": l1_serializer: expected a function, got " .. type(options.l1_serializer), 3)
  end
  return options
end

-- Values ------------------------------------------------------------------------------------------------

--- Keeps an entry in this worker, as the plugin wants to see it.
-- @return value, nil, hit level; or nil and a message
local function keep(request, entry, hit)
  local value = entry.value
  local serialize = request.options.l1_serializer
  if serialize and value ~= nil then
    local ok, made, err = pcall(serialize, value)
    if not ok then return nil, "l1_serializer has failed: " .. tostring(made) end
    if made == nil then return nil, err and tostring(err) or "l1_serializer has returned nil" end
    value = made
  end
  request.level.lru:put(request.key, { value = value, fresh_until_ns = entry.fresh_until_ns, stamp = entry.stamp,
    stamp_at = request.stamp_at, bytes = entry.bytes })
  return value, nil, hit
end

local function seconds_left(entry, now_ns)
  if entry.fresh_until_ns == math.huge then return 0 end
  return math.max(entry.fresh_until_ns - now_ns, 1) / 1e9
end

--- Reads shared memory.
-- @return entry when it is fresh; else nil, and the stale entry if there is one
local function find(request)
  local entry = cached.read(request.prefix, request.key)
  if entry and cached.is_fresh(entry, tonumber(clock())) then return entry end
  return nil, entry
end

--- Calls the callback.
-- @return entry, or nil and a message
local function work(request)
  local options, stamp = request.options, request.stamp_at[0]
  local ok, value, err, ttl = pcall(request.cb, unpack(request.arguments, 1, request.arguments.n))
  if not ok then
    if task.run.cancelled ~= 0 then error(value, 0) end
    return nil, "the callback has raised an error: " .. tostring(value)
  end
  if err then return nil, tostring(err) end
  if type(ttl) ~= "number" then
    ttl = options.ttl or DEFAULT_TTL_S
    if value == nil then ttl = options.neg_ttl or DEFAULT_NEG_TTL_S end
  end
  if ttl < 0 then return { value = value, is_passing = true } end
  local entry, text = cached.make(value, stamp, ttl)
  if not entry then return nil, text end
  cached.write(request.prefix, request.key, entry, text, STALE_S)
  entry.is_own = true
  return entry
end

--- The callback has failed: uses what was good once, if that is wanted.
local function resurrect(request, err)
  local ttl = request.options.resurrect_ttl
  local _, stale = find(request)
  if not ttl or not stale then return nil, err end
  local entry, text = cached.make(stale.value, stale.stamp, ttl)
  cached.write(request.prefix, request.key, entry, text, STALE_S)
  report.write(report.WARN, "cache.stale", "plugin", request.prefix:sub(1, -2), "key", request.key, "error", err)
  return keep(request, entry, STALE)
end

--- Makes the value, or waits until somebody has. `ask` looks for it in shared memory.
local function make(request, ask)
  local entry, err, is_own
  if task.can_wait() then
    local lock = flight.lock(cached.dict(), cached.lock_place(request.prefix, request.key))
    local wait_ms = (request.options.lock_timeout or DEFAULT_WAIT_S) * 1000
    local function call() return work(request) end
    entry, err, is_own = flight.once(request.level.flights, request.key, lock, ask, call, wait_ms)
  else
    entry, err = work(request)
    is_own = true
  end
  if not entry then return nil, err end
  return entry, nil, is_own and entry.is_own and CALLBACK or SHARED
end

local function new_request(prefix, key, options, cb, ...)
  return { prefix = prefix, key = key, options = options, cb = cb, arguments = { n = select("#", ...), ... },
    level = level_of(prefix), stamp_at = cached.stamp(prefix, key) }
end

local function get(request)
  local entry = find(request)
  if entry then return keep(request, entry, SHARED) end
  local err, hit
  entry, err, hit = make(request, function() return (find(request)) end)
  if not entry then return resurrect(request, err) end
  if entry.is_passing then return entry.value, nil, CALLBACK end
  return keep(request, entry, hit)
end

--- Returns the value of a key, from this worker, from shared memory, or from the callback.
---@async
---@param key string
---@param options? pdk.cache.options
---@param cb fun(...): any, string?, number? value, err, ttl: it overrides both ttl and neg_ttl; below 0: do not keep
---@param ... any arguments of the callback
---@return any value
---@return string? err
---@return 1|2|3|4|nil hit_level 1: this worker had it, 2: shared memory, or another's callback made it, 3: the
-- callback, 4: it is not good any more (resurrect_ttl)
function M:get(key, options, cb, ...)
  check_key(self, key, "cache.get")
  check_callback(cb, "cache.get")
  local prefix = area.prefix("cache.get", 2)
  local entry = level_of(prefix).lru:find(key)
  if entry and entry.stamp_at[0] == entry.stamp and tonumber(clock()) < entry.fresh_until_ns then
    return entry.value, nil, WORKER
  end
  options = check_options(options, "cache.get")
  local value, err, hit = get(new_request(prefix, key, options, cb, ...))
  return value, err, hit
end

--- Looks whether a value is kept, without making it.
---@param key string
---@return number? ttl seconds that it is still good, 0: no end; nil: it is not kept
---@return string? err
---@return any value as the callback returned it
function M:probe(key)
  check_key(self, key, "cache.probe")
  local prefix = area.prefix("cache.probe", 2)
  local entry = cached.read(prefix, key)
  local now_ns = tonumber(clock())
  if not entry or not cached.is_fresh(entry, now_ns) then return nil end
  return seconds_left(entry, now_ns), nil, entry.value
end

--- Makes what was cached before void, and the new value valid: it belongs to the next stamp. If somebody else has
-- invalidated the key meanwhile it is void, too.
local function replace(request, entry, ttl_s)
  local renewed, text = cached.make(entry.value, (entry.stamp + 1) % 2 ^ 32, ttl_s)
  cached.invalidate(request.prefix, request.key)
  cached.write(request.prefix, request.key, renewed, text, STALE_S)
  return renewed
end

--- Calls the callback even if there is a value, which is replaced in all workers. If it fails, the value stays.
---@async
---@param key string
---@param options? pdk.cache.options
---@param cb fun(...): any, string?, number?
---@param ... any
---@return any value
---@return string? err
---@return number? ttl seconds that the new one is good, 0: no end
function M:renew(key, options, cb, ...)
  check_key(self, key, "cache.renew")
  check_callback(cb, "cache.renew")
  options = check_options(options, "cache.renew")
  local prefix = area.prefix("cache.renew", 2)
  local request = new_request(prefix, key, options, cb, ...)
  local entry, err = make(request, function() return nil end)
  if not entry then return nil, err end
  if entry.is_passing then return entry.value end
  local ttl_s = seconds_left(entry, tonumber(clock()))
  entry = replace(request, entry, ttl_s)
  local value
  value, err = keep(request, entry, CALLBACK)
  if err then return nil, err end
  return value, nil, ttl_s
end

--- Forgets a key in all workers of this node, at once.
---@param key string
function M:invalidate_local(key)
  check_key(self, key, "cache.invalidate_local")
  local prefix = area.prefix("cache.invalidate_local", 2)
  level_of(prefix).lru:drop(key)
  cached.invalidate(prefix, key)
end

--- Forgets a key in all workers of all nodes of the cluster: of this one at once, of the others in a moment (about
-- a tenth of a second), without waiting for that. When the store of the cluster is away, the others hear of it later;
-- until then they may use what they have until its time is up.
---@param key string
function M:invalidate(key)
  check_key(self, key, "cache.invalidate")
  local prefix = area.prefix("cache.invalidate", 2)
  level_of(prefix).lru:drop(key)
  cached.invalidate(prefix, key, true)
end

return M
