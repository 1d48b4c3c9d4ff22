--- A connection to a Redis server: commands out, replies in (RESP2). The C side is src/lua/redis_reader.h.
--
-- Connecting backs off: after a failure the server is left alone for a while, 100 ms at first and twice as long each
-- time up to 5 s, and calls fail at once with the reason of the last failure.
local ffi = require "ffi"
local network = require "veloflux.runtime.network"
local pool = require "veloflux.runtime.stream_pool"
local reply = require "veloflux.redis.reply"
local streams = require "veloflux.runtime.stream"

ffi.cdef [[
struct vf_redis_reader;
struct vf_redis_reader *vf_redis_reader_new(uint64_t max_bytes);
void vf_redis_reader_free(struct vf_redis_reader *reader);
int vf_redis_reader_read(struct vf_redis_reader *reader, struct vf_socket *socket, uint64_t timeout_ms);
const struct vf_redis_node *vf_redis_reader_nodes(struct vf_redis_reader *reader, uint32_t *n);
bool vf_redis_reader_is_empty(const struct vf_redis_reader *reader);
const char *vf_redis_reader_rule(const struct vf_redis_reader *reader);
]]
local C = ffi.C
local PENDING = network.PENDING

local FIRST_BACKOFF_MS, LONGEST_BACKOFF_MS = 100, 5000
local count = ffi.new "uint32_t[1]"

local Connection = {}
Connection.__index = Connection

local M = {}

local backoffs = {} -- key of a target -> { delay_ms, until_ms, err, code }; only of servers that fail

--- Notes that a server could not be reached.
-- @return how long it is left alone, in milliseconds
function M.back_off(key, err, code)
  local entry = backoffs[key] or { delay_ms = FIRST_BACKOFF_MS / 2 }
  entry.delay_ms = math.min(entry.delay_ms * 2, LONGEST_BACKOFF_MS)
  local wait_ms = entry.delay_ms * (0.75 + math.random() / 2)
  entry.until_ms, entry.err, entry.code = network.now_ms() + wait_ms, err, code
  backoffs[key] = entry
  return wait_ms
end

-- The commands that ready a connection.
local function greeting(target)
  local commands = {}
  if target.password then
    commands[1] = target.username and { "AUTH", target.username, target.password } or { "AUTH", target.password }
  end
  if target.db ~= 0 then commands[#commands + 1] = { "SELECT", tostring(target.db) } end
  return commands
end

local function greet(self, target)
  local commands = greeting(target)
  if #commands == 0 then return true end
  local replies, err, code = self:exchange(commands)
  if not replies then return nil, err, code end
  for i, value in ipairs(replies) do
    if reply.is_error(value) then return nil, commands[i][1] .. ": " .. value.err, value.code end
  end
  return true
end

local function connect(target, options)
  local stream, err, code = streams.new()
  if not stream then return nil, err, code end
  stream.connect_ms, stream.send_ms, stream.receive_ms = options.connect_ms, options.timeout_ms, options.timeout_ms
  local reader = C.vf_redis_reader_new(options.max_reply_bytes)
  if reader == nil then return nil, "out of memory", "memory" end
  stream.reader = ffi.gc(reader, C.vf_redis_reader_free)
  local self = setmetatable({ stream = stream, target = target }, Connection)
  local ok
  if target.path then ok, err, code = stream:connect(target.path) else
    ok, err, code = stream:connect(target.host, target.port)
  end
  if ok and target.tls then
    ok, err, code = stream:secure(target.tls.name or target.host:match "^%[(.*)%]$" or target.host,
      not target.tls.insecure)
  end
  if ok then ok, err, code = greet(self, target) end
  if ok then return self end
  stream:close()
  return nil, err, code
end

--- Opens a connection, or takes a kept one.
-- @param target of url.lua
-- @param options { connect_ms, timeout_ms, max_reply_bytes }
-- @param fresh true: no kept one, and now, whatever the back-off says: the caller keeps to that itself
-- @return connection, or nil, message, code
function M.open(target, options, fresh)
  local stream = not fresh and pool.take(target.key)
  if stream then
    stream.send_ms, stream.receive_ms = options.timeout_ms, options.timeout_ms
    return setmetatable({ stream = stream, target = target }, Connection)
  end
  local entry = backoffs[target.key]
  if entry and not fresh and network.now_ms() < entry.until_ms then return nil, entry.err, entry.code end
  local self, err, code = connect(target, options)
  if self then
    backoffs[target.key] = nil
    return self
  end
  err = ("redis %s: %s"):format(target.label, err:gsub("^" .. target.label:gsub("%p", "%%%0") .. ": ", ""))
  M.back_off(target.key, err, code)
  return nil, err, code
end

-- Appends one command to the parts to be sent.
local function encode(parts, n, command)
  local length = #command
  if length == 0 then error("redis: expected a command and its arguments, got an empty list", 0) end
  parts[n + 1] = "*" .. length .. "\r\n"
  n = n + 1
  for i = 1, length do
    local value = command[i]
    if type(value) == "number" then value = ("%.17g"):format(value) end
    if type(value) ~= "string" then
      error(("redis: argument %d: expected a string or a number, got %s"):format(i, type(value)), 0)
    end
    parts[n + 1], parts[n + 2], parts[n + 3] = "$" .. #value .. "\r\n", value, "\r\n"
    n = n + 3
  end
  return n
end

local MERGE_BYTES = 4096 -- one string for the kernel is cheaper than many

-- Joins neighbours that are short.
local function merged(parts, n)
  local out, from, bytes = {}, 1, 0
  for i = 1, n do
    bytes = bytes + #parts[i]
    if bytes >= MERGE_BYTES or i == n then
      out[#out + 1] = table.concat(parts, "", from, i)
      from, bytes = i + 1, 0
    end
  end
  return out, #out
end

--- Encodes commands (lists of strings and numbers) for `send`. Raises for what is no command.
function M.encode(commands)
  local parts, n = {}, 0
  for _, command in ipairs(commands) do n = encode(parts, n, command) end
  return merged(parts, n)
end

local function failed(self, rc)
  local reader = self.stream.reader
  local rule = rc == network.MALFORMED and ffi.string(C.vf_redis_reader_rule(reader)) or ""
  local _, err, code = streams.failed(self.stream, rc)
  if rule ~= "" then err = rule end
  return nil, ("redis %s: %s"):format(self.target.label, err), code
end

--- Sends what `encode` made. Returns true, or nil, message, code.
function Connection:send(parts, n)
  local sent, err, code = self.stream:send_all(parts, n)
  if sent then return true end
  self.is_broken = true
  return nil, ("redis %s: %s"):format(self.target.label, err), code
end

--- Reads one reply. Returns its value, or nil, message, code; the connection is of no use then.
function Connection:read(timeout_ms)
  local stream = self.stream
  while true do
    if self.stream ~= stream or not stream or not stream.socket then
      return nil, "redis: the connection was closed meanwhile", "cancelled"
    end
    local rc = C.vf_redis_reader_read(stream.reader, stream.socket, timeout_ms or stream.receive_ms)
    if rc == PENDING then
      rc = streams.await(stream, C.vf_socket_reading(stream.socket))
      if rc == network.TIMED_OUT then
        self.is_broken = true
        return failed(self, rc)
      end
    elseif rc < 0 then
      self.is_broken = true
      return failed(self, rc)
    else
      return (reply.decode(C.vf_redis_reader_nodes(stream.reader, count), 0))
    end
  end
end

--- Sends commands and reads a reply for each.
-- @return list of values, or nil, message, code
function Connection:exchange(commands)
  local ok, err, code = self:send(M.encode(commands))
  if not ok then return nil, err, code end
  local replies = {}
  for i = 1, #commands do
    replies[i], err, code = self:read()
    if replies[i] == nil then return nil, err, code end
  end
  return replies
end

--- Keeps the connection for others, or closes it when it is of no use to them.
function Connection:release(idle_ms, most)
  local stream = self.stream
  self.stream = nil
  if not stream then return end
  if self.is_broken or self.is_private or not C.vf_redis_reader_is_empty(stream.reader) then
    stream:close()
  else
    pool.give(self.target.key, stream, idle_ms, most)
  end
end

function Connection:close()
  if self.stream then self.stream:close() end
  self.stream = nil
end

return M
