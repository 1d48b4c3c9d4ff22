--- A Redis client for plugins.
--
--     local red = redis.new "redis://user:password@cache.internal:6379/2"
--     local value, err, code = red:get "greeting"            -- any command is a method
--     local results = red:pipeline { { "INCR", "n" }, { "EXPIRE", "n", 60 } }
--     local n = red:eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", { "n" }, { 5 })
--
-- A client holds no connection: each call takes one of those that are kept for this server, user and database in the
-- worker, or makes one, and gives it back. So a client may be made once, at the top of a plugin, and used by all
-- requests at once. What needs a connection of its own (WATCH, blocking commands) is done in `with`; channels are
-- listened to with `subscribe`.
--
-- Values: strings and numbers (integers beyond 2^53 as text), lists, and redis.null for nil. What fails returns nil, a
-- message and a code: for an error of the server its first word ("WRONGTYPE", "NOSCRIPT", "NOAUTH"), else "refused",
-- "timeout", "closed", "reset", "resolve", "unreachable", "malformed", "too_large", "too_many", "memory", "failed".
-- A command whose connection breaks is not sent again: it may have been carried out. A server that cannot be reached is
-- left alone for a while (0.1 s to 5 s), in which calls fail at once. The protocol is RESP2; replies nest at most seven
-- lists deep.
local connections = require "veloflux.pdk.redis.connection"
local network = require "veloflux.runtime.network"
local reply = require "veloflux.redis.reply"
local subscriptions = require "veloflux.pdk.redis.subscription"
local urls = require "veloflux.redis.url"

local CONNECT_S, TIMEOUT_S, IDLE_S, POOL_SIZE = 3, 5, 60, 32
local MAX_REPLY_BYTES = 16 * 1024 * 1024
local CONNECTION_COMMANDS = { subscribe = true, psubscribe = true, ssubscribe = true, unsubscribe = true,
  punsubscribe = true, sunsubscribe = true, monitor = true, multi = true, exec = true, discard = true, watch = true,
  unwatch = true, select = true, auth = true, hello = true, reset = true, quit = true, client = true, readonly = true,
  asking = true }

---@class pdk.redis
---@field null table stands for nil, which lists cannot hold
local M = { null = reply.null, is_error = reply.is_error }

---@class pdk.redis.options
---@field url? string "redis://user:password@host:port/db", "rediss://..." with TLS, or "unix:///path?db=0"
---@field host? string 127.0.0.1 unless given
---@field port? integer 6379 unless given
---@field path? string of a unix socket, instead of host and port
---@field username? string of an ACL user
---@field password? string
---@field db? integer 0 unless given
---@field ssl? boolean true: TLS, as with rediss
---@field ssl_verify? boolean true: the server has to have a good certificate with its name
---@field ssl_server_name? string the name that is verified, instead of the host
---@field connect_timeout? number seconds, 3
---@field timeout? number seconds for sending a command, and for its reply: 5
---@field keepalive? number seconds that a connection may wait for reuse: 60
---@field pool_size? integer how many may wait: 32
---@field max_reply_bytes? integer 16 MiB

---@class pdk.redis.client
local Client = {}

--- A connection leased by `with`: commands on it run one after the other.
---@class pdk.redis.lease
local Lease = {}

local methods = {} -- name of a command -> function(client, ...)

-- Makes the method that a name stands for: config_get sends CONFIG GET.
local function method_of(name)
  local first, second = name:upper():match "^(%a[%w]*)_(%w+)$"
  if first then return function(self, ...) return self:command(first, second, ...) end end
  if not name:match "^%a%w*$" then return nil end
  local word = name:upper()
  return function(self, ...) return self:command(word, ...) end
end

-- Every name that is no method of its own is a command.
local function with_commands(own)
  return {
    __metatable = false, -- the methods serve all plugins
    __index = function(_, name)
      local method = own[name] or methods[name]
      if method == nil and type(name) == "string" then
        method = method_of(name)
        methods[name] = method
      end
      return method
    end,
  }
end

local client_meta, lease_meta = with_commands(Client), with_commands(Lease)

local function tls_of(options) return { name = options.ssl_server_name, insecure = options.ssl_verify == false } end

local function target_of(options)
  if options.url then
    local target, err = urls.parse(options.url)
    if not target then error("redis.new: url: " .. err, 3) end
    if target.tls or options.ssl then target.tls = tls_of(options) end
    return urls.complete(target)
  end
  return urls.complete {
    host = not options.path and (options.host or "127.0.0.1") or nil, port = options.port or 6379, path = options.path,
    username = options.username, password = options.password, db = options.db or 0,
    tls = options.ssl and not options.path and tls_of(options) or nil,
  }
end

--- Makes a client; nothing is connected yet. May be called while the plugin is loaded. Raises for a URL that is none.
---@param options? string|pdk.redis.options a URL, or fields
---@return pdk.redis.client
function M.new(options)
  if type(options) == "string" then options = { url = options } end
  if options ~= nil and type(options) ~= "table" then
    error("redis.new: expected a URL or a table of options, got " .. type(options), 2)
  end
  options = options or {}
  return setmetatable({
    target = target_of(options), shas = {},
    idle_ms = network.milliseconds(options.keepalive, IDLE_S, "keepalive"),
    pool_size = options.pool_size or POOL_SIZE,
    options = {
      connect_ms = network.milliseconds(options.connect_timeout, CONNECT_S, "connect_timeout"),
      timeout_ms = network.milliseconds(options.timeout, TIMEOUT_S, "timeout"),
      max_reply_bytes = options.max_reply_bytes or MAX_REPLY_BYTES,
    },
  }, client_meta)
end

local function open(self, name)
  network.check(name)
  return connections.open(self.target, self.options)
end

local function result(value, err, code)
  if value == nil then return nil, err, code end
  if reply.is_error(value) then return nil, value.err, value.code end
  return value
end

-- Commands after which a connection is not what it was, and how it becomes that again.
local CHANGES = { watch = "unwatch", multi = "exec", select = "-", auth = "-", hello = "-", client = "-",
  subscribe = "-", psubscribe = "-", ssubscribe = "-", monitor = "-", readonly = "-", reset = "-", quit = "-" }
local RESTORES = { unwatch = true, exec = true, discard = true }

-- Notes in `lease.has_state` what becomes of the connection by a command.
local function note_state(lease, name)
  name = name:lower()
  if RESTORES[name] then
    if lease.has_state ~= "-" then lease.has_state = false end
  elseif CHANGES[name] and lease.has_state ~= "-" then
    lease.has_state = CHANGES[name]
  end
end

--- Says whether commands leave their connection otherwise than it was.
local function leaves_state(commands)
  local connection = { has_state = false }
  for _, command in ipairs(commands) do note_state(connection, command[1]) end
  return connection.has_state ~= false
end

-- Runs commands on a connection of their own. Returns the list of replies, or nil, message, code.
-- @param is_private true: it is for nobody else afterwards
local function exchange(self, commands, name, is_private)
  local connection, err, code = open(self, name)
  if not connection then return nil, err, code end
  local ok, replies, why, why_code = pcall(connection.exchange, connection, commands)
  if not ok then
    connection:close()
    error(replies, 0)
  end
  connection.is_private = is_private
  connection:release(self.idle_ms, self.pool_size)
  return replies, why, why_code
end

--- Runs one command: red:command("SET", "key", "value"). Shorter: red:set("key", "value"); words of a command are
-- joined by _: red:config_get("maxmemory").
---@async
---@param name string
---@param ... string|number
---@return any? value
---@return string? err
---@return string? code
function Client:command(name, ...)
  if type(name) ~= "string" then error("redis: expected the name of a command, got " .. type(name), 2) end
  if CONNECTION_COMMANDS[name:lower()] then
    error(("redis: %s concerns one connection: use client:with, client:transaction or client:subscribe"):format(
      name:upper()), 2)
  end
  local replies, err, code = exchange(self, { { name, ... } }, "redis: command")
  if not replies then return nil, err, code end
  return result(replies[1])
end

local function check_commands(commands, name)
  if type(commands) ~= "table" then error(name .. ": expected a list of commands, got " .. type(commands), 3) end
  for i, command in ipairs(commands) do
    if type(command) ~= "table" or type(command[1]) ~= "string" then
      error(("%s: command %d: expected a list that begins with a name"):format(name, i), 3)
    end
  end
end

--- Sends commands together and returns their results in order; one that failed is an error object (redis.is_error)
-- with `err` and `code`, and does not stop the others.
---@async
---@param commands (string|number)[][]
---@return any[]? results
---@return string? err
---@return string? code
function Client:pipeline(commands)
  check_commands(commands, "pipeline")
  if #commands == 0 then return {} end
  return exchange(self, commands, "redis: pipeline", leaves_state(commands))
end

-- MULTI, the commands, EXEC on a connection. Returns the results, or nil, message, code.
local function transact(run, commands)
  local all = { { "MULTI" } }
  for i, command in ipairs(commands) do all[i + 1] = command end
  all[#all + 1] = { "EXEC" }
  local replies, err, code = run(all)
  if not replies then return nil, err, code end
  local last = replies[#replies]
  for i = 2, #replies - 1 do -- why EXEC refused says more than that it did
    if reply.is_error(replies[i]) and reply.is_error(last) then return nil, replies[i].err, replies[i].code end
  end
  if last == reply.null then return nil, "a watched key has changed", "conflict" end
  return result(last)
end

--- Runs commands as one transaction (MULTI, EXEC).
---@async
---@param commands (string|number)[][]
---@return any[]? results nil when one of them was refused, and then none has run
---@return string? err
---@return string? code
function Client:transaction(commands)
  check_commands(commands, "transaction")
  return transact(function(all) return exchange(self, all, "redis: transaction", leaves_state(all)) end, commands)
end

--- Runs a Lua script in the server. It is sent once; afterwards its digest is (EVALSHA), and the script again when the
-- server has lost it.
---@async
---@param script string
---@param keys? (string|number)[]
---@param arguments? (string|number)[]
---@return any? value
---@return string? err
---@return string? code
function Client:eval(script, keys, arguments)
  if type(script) ~= "string" then error("eval: expected a script, got " .. type(script), 2) end
  keys, arguments = keys or {}, arguments or {}
  local call = { "EVALSHA", "", #keys }
  for _, key in ipairs(keys) do call[#call + 1] = key end
  for _, argument in ipairs(arguments) do call[#call + 1] = argument end
  for _ = 1, 2 do
    if not self.shas[script] then
      local sha, err, code = self:command("SCRIPT", "LOAD", script)
      if not sha then return nil, err, code end
      self.shas[script] = sha
    end
    call[2] = self.shas[script]
    local value, err, code = self:command(unpack(call))
    if code ~= "NOSCRIPT" then return value, err, code end
    self.shas[script] = nil
  end
  return nil, "the server does not keep the script", "NOSCRIPT"
end

--- Runs a function with a connection of its own, for what goes over several commands:
--
--     red:with(function(conn)
--       conn:watch "stock"
--       local n = tonumber(conn:get "stock")
--       return conn:transaction { { "SET", "stock", n - 1 } }   -- code "conflict": somebody else was faster
--     end)
--
---@async
---@param fn fun(conn: pdk.redis.lease, ...): any
---@param ... any handed on
---@return any ... what fn returned; or nil, err, code
function Client:with(fn, ...)
  local connection, err, code = open(self, "redis: with")
  if not connection then return nil, err, code end
  local lease = setmetatable({ connection = connection, has_state = false }, lease_meta)
  local results = { n = 0 }
  local function keep(ok, ...) results = { n = select("#", ...), ok = ok, ... } end
  keep(pcall(fn, lease, ...))
  lease.connection = false -- nil would be the command CONNECTION
  if lease.has_state then connection.is_private = true end
  connection:release(self.idle_ms, self.pool_size)
  if not results.ok then error(results[1], 0) end
  return unpack(results, 1, results.n)
end

local function leased(lease)
  if not lease.connection then error("redis: the connection was given back at the end of `with`", 3) end
  return lease.connection
end

--- As the client's, on this connection.
---@async
---@param name string
---@param ... string|number
---@return any? value
---@return string? err
---@return string? code
function Lease:command(name, ...)
  if type(name) ~= "string" then error("redis: expected the name of a command, got " .. type(name), 2) end
  local connection = leased(self)
  note_state(self, name)
  local replies, err, code = connection:exchange { { name, ... } }
  if not replies then return nil, err, code end
  return result(replies[1])
end

--- As the client's, on this connection.
---@async
---@param commands (string|number)[][]
---@return any[]? results
---@return string? err
---@return string? code
function Lease:pipeline(commands)
  check_commands(commands, "pipeline")
  local connection = leased(self)
  for _, command in ipairs(commands) do note_state(self, command[1]) end
  if #commands == 0 then return {} end
  return connection:exchange(commands)
end

--- As the client's, on this connection; code "conflict" when a watched key has changed.
---@async
---@param commands (string|number)[][]
---@return any[]? results
---@return string? err
---@return string? code
function Lease:transaction(commands)
  check_commands(commands, "transaction")
  return transact(function(all) return self:pipeline(all) end, commands)
end

--- Listens to channels in the background, for as long as the plugin's code is in use: `on_message(message, channel)`
-- is called for each message, one at a time. When the connection breaks it is made again, with back-off; messages sent
-- meanwhile are lost, as always with Redis.
---@param channels string|string[]
---@param on_message fun(message: string, channel: string)
---@param options? { patterns?: boolean, on_state?: fun(is_connected: boolean, err?: string) } patterns: the channels
-- are patterns (PSUBSCRIBE)
---@return pdk.redis.subscription subscription with close()
function Client:subscribe(channels, on_message, options)
  if type(channels) == "string" then channels = { channels } end
  if type(channels) ~= "table" or #channels == 0 then error("subscribe: expected a list of channels", 2) end
  if type(on_message) ~= "function" then
    error("subscribe: expected a function, got " .. type(on_message), 2)
  end
  return subscriptions.start(self, channels, on_message, options or {})
end

return M
