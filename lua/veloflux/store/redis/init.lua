--- The store in Redis, for the nodes of a cluster: the same versions for all of them, and leases among them.
--
-- What is kept, and how, is in scripts.lua and format.lua. The live entities are one hash, so that what `load` reads
-- (live.lua) does not grow with the history. A version keeps what each entity was before it: what the entities were in
-- version n is found from now, backwards.
--
-- A commit is one script: it looks whether the version is the next one and whether the lease still holds, and then
-- writes. Each has an id, so that one whose answer was lost is not done twice. How durable it is, is the server's
-- setting: `appendonly yes` with `appendfsync always` is what a file would be.
local address = require "veloflux.store.redis.address"
local ffi = require "ffi"
local format = require "veloflux.store.redis.format"
local news = require "veloflux.store.redis.news"
local scripts = require "veloflux.store.redis.scripts"
local sessions = require "veloflux.store.redis.session"
local watchers = require "veloflux.store.redis.watcher"
local wires = require "veloflux.store.redis.wire"
local x509 = require "veloflux.x509"

ffi.cdef "uint64_t vf_clock_wall_ms(void);"

local TIMEOUT_MS = 3000
local MOST_ENTITIES = 300000 -- of one change: older servers take a command of a million words
local MOST_BYTES = 32 * 1024 * 1024 -- of what versions changed, that is read at once, unless it is one version's
local DAY_MS = 24 * 3600 * 1000 -- how long a silent node is kept

local text_of = format.number

local M = {}
local Driver = {}
Driver.__index = Driver
for _, part in ipairs { "live", "history", "things" } do
  for name, method in pairs(require("veloflux.store.redis." .. part)) do Driver[name] = method end
end

local function wall_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

local n_writers = 0

--- Who writes: other processes, and other stores of this one, are others.
local function make_writer()
  n_writers = n_writers + 1
  return ("%x.%x.%d"):format(wall_ms(), math.random(0, 2 ^ 31 - 1), n_writers)
end

function M.place(settings)
  local where = address.of(settings)
  return ("redis %s/%d %s"):format(where.label, where.db, settings.prefix or "veloflux")
end

--- Sets up the TLS of connections. Returns true, or nil and a message.
local function secure(wire, tls)
  local authorities, message = { der = "" }, nil
  if tls.ca then authorities, message = x509.authorities(tls.ca)
  elseif tls.verify then authorities, message = x509.system() end
  if not authorities then return nil, "redis: TLS: " .. message end
  return wire:secure(authorities.der, tls.name)
end

--- Opens the driver.
-- @param settings what redis/address.lua takes; prefix, timeout_ms, host (struct vf_redis_host), now_ms, log,
-- most_bytes
-- @return the driver, or nil and a message
function M.open(settings)
  local where, message = address.of(settings)
  if not where then return nil, message end
  local self = setmetatable({ writer = make_writer(), tag = ("{%s}:"):format(settings.prefix or "veloflux"),
    n_commits = 0, label = where.label, most_bytes = settings.most_bytes or MOST_BYTES,
    known = { version = 0, id = "" } }, Driver)
  self.wire, message = wires.open(settings.redis_host)
  if not self.wire then return nil, message end
  if where.tls then
    local ok
    ok, message = secure(self.wire, where.tls)
    if not ok then
      self.wire:close()
      return nil, message
    end
  end
  local timeout_ms = settings.timeout_ms or TIMEOUT_MS
  self.session = sessions.open { wire = self.wire, where = where, timeout_ms = timeout_ms, meta_key = self:key "meta",
    wall_ms = settings.now_ms or wall_ms, log = settings.log or function() end,
    on_ready = function() self.watcher:start() end }
  self.news = news.new { name = self:key "news", writer = self.writer }
  self.watcher = watchers.new { news = self.news, wire = self.wire, session = self.session, timeout_ms = timeout_ms,
    channel = self:key "changed", writer = self.writer, meta_key = self:key "meta" }
  return self
end

function Driver:key(name) return self.tag .. name end

function Driver:keys(...)
  local keys = { ... }
  for i, name in ipairs(keys) do keys[i] = self.tag .. name end
  return keys
end

function Driver:damaged(what)
  return { code = "unavailable", message = ("redis %s: %s under %s is not of VeloFlux, or damaged"):format(self.label,
    what, self.tag) }
end

--- Returns a callback that hands an error on, or what `convert` makes of the reply; nil: it is damaged.
function Driver:answering(callback, what, convert)
  return function(err, value)
    if err then return callback(err) end
    local result = convert(value)
    if result == nil then return callback(self:damaged(what)) end
    callback(nil, result)
  end
end

--- The same for what answers with a number that says nothing.
function Driver:acknowledged(callback)
  return self:answering(function(err) callback(err) end, "the answer", format.whole)
end

local function is_text(value) return type(value) == "string" end

-- Entities ------------------------------------------------------------------------------------------

--- This store has read or committed a version: the next commit rests on it.
function Driver:knows(version, id)
  self.known = { version = version, id = id }
  self.watcher:knows(version)
end

function Driver:load(callback)
  self:read_live(function(err, live)
    if err then return callback(err) end
    self:knows(live.version, live.id)
    callback(nil, { version = live.version, entities = live.entities })
  end)
end

-- Commits -------------------------------------------------------------------------------------------

local function entries_of(change)
  local entries = {}
  for _, put in ipairs(change.puts or {}) do
    entries[#entries + 1] = { kind = put.kind, key = put.key, json = put.json,
      created = put.created_ms and text_of(put.created_ms) or "" }
  end
  for _, delete in ipairs(change.deletes or {}) do
    entries[#entries + 1] = { kind = delete.kind, key = delete.key, json = "", created = "-" }
  end
  table.sort(entries, function(a, b)
    if a.kind ~= b.kind then return a.kind < b.kind end
    return a.key < b.key
  end)
  return entries
end

--- Returns the id of a commit of this store.
function Driver:id_of(n) return format.pack(1, ("%s.%d"):format(self.writer, n)) end

local function arguments_of(self, change, id)
  local fence, version, known = change.fence or { name = "" }, text_of(change.version), self.known
  if change.follows then known = { version = change.version - 1, id = self:id_of(self.n_commits - 1) } end
  local args = { version, id, id .. format.write_record(change), text_of(change.time_ms), self:key "changed",
    fence.name, fence.token and text_of(fence.token) or "", version .. " " .. self.writer,
    text_of(known.version), known.id, change.turn and change.turn.holder or "" }
  for _, entry in ipairs(entries_of(change)) do
    local at = #args
    args[at + 1], args[at + 2], args[at + 3] = format.field(entry.kind, entry.key), entry.created, entry.json
  end
  return args
end

local REFUSALS = {
  conflict = function(change) return ("version %d is not the one after the store's"):format(change.version) end,
  fenced = function(change) return format.fenced(change.fence).message end,
}

function Driver:commit(change, callback)
  local n = #(change.puts or {}) + #(change.deletes or {})
  if n > MOST_ENTITIES then
    local message = ("a change of %d entities is too large for Redis: at most %d at once"):format(n, MOST_ENTITIES)
    self.wire:after(0, function() callback { code = "io", message = message } end)
    return
  end
  self.n_commits = self.n_commits + 1
  local id = self:id_of(self.n_commits)
  self.watcher:begin(change.version)
  local function on_answer(err, value)
    self.watcher:finish(change.version)
    if value == "ok" then self:knows(change.version, id) end
    if err then return callback(err) end
    if value == "ok" then return callback() end
    local refusal = REFUSALS[value]
    callback(refusal and { code = value, message = refusal(change) } or self:damaged "the answer")
  end
  self.session:run(scripts.commit, self:keys("meta", "live", "versions", "changes", "tokens",
    "lease:" .. (change.turn and change.turn.name or "")), arguments_of(self, change, id), on_answer)
end

-- Leases and nodes ----------------------------------------------------------------------------------

function Driver:lease(name, holder, ttl_ms, callback)
  self.session:run(scripts.lease, self:keys("lease:" .. name, "tokens"), { name, holder, text_of(ttl_ms) },
    self:answering(callback, "a lease", function(value)
      if type(value) ~= "table" or not is_text(value[1]) or not format.whole(value[2]) then return nil end
      return { holder = value[1], token = value[2], is_mine = value[1] == holder }
    end))
end

function Driver:release(name, holder, token, callback)
  self.session:run(scripts.release, self:keys("lease:" .. name, "tokens"), { name, holder, text_of(token) },
    self:acknowledged(callback))
end

function Driver:announce(node, json, ttl_ms, callback)
  self.session:run(scripts.announce, self:keys("node:" .. node, "nodes"), { node, json, text_of(ttl_ms + DAY_MS) },
    self:acknowledged(callback))
end

function Driver:nodes(callback)
  self.session:run(scripts.nodes, self:keys "nodes", { self:key "node:" }, self:answering(callback, "a node",
    function(list)
      local nodes = {}
      if type(list) ~= "table" then return nil end
      for i = 1, #list, 3 do
        local seen_ms, json = tostring(list[i + 1]):match "^(%d+)\n(.*)$"
        local left_ms = format.whole(list[i + 2])
        if not seen_ms or not left_ms or not is_text(list[i]) then return nil end
        nodes[list[i]] = { json = json, seen_ms = tonumber(seen_ms), is_alive = left_ms > DAY_MS }
      end
      return nodes
    end))
end

-- Life ----------------------------------------------------------------------------------------------

function Driver:watch(on_change) self.watcher:add(on_change) end

function Driver:hear(since, on_news) self.news:listen(since, on_news) end

function Driver:tell(text, callback)
  self.session:run(scripts.tell, self:keys "news", { self:key "news", self.writer .. " " .. text },
    self:acknowledged(callback))
end

function Driver:status()
  local status = self.session:status()
  status.driver = "redis"
  return status
end

function Driver:close(callback)
  self.watcher:close()
  self.session:close(function()
    self.wire:close()
    callback()
  end)
end

return M
