--- Connections to Redis servers for code that does not wait: commands go out, answers come to callbacks, in order. The
-- C side is src/lua/redis_client.h.
--
--     local wire = assert(wires.open(host))
--     local timer = wire:after(500, function() end)             -- once, in 500 ms; wire:cancel(timer)
--     local link = wire:link(target, options, on_open)          -- on_open(err) once
--     link:send({ { "GET", "k" }, { "GET", "l" } }, function(err, replies) end)
--     link.on_message = function(channel, text) end             -- of SUBSCRIBE
--     link.on_lost = function(err) end                          -- it broke after it was open; those who waited know
--
-- Errors are { code, message }; the code is of runtime/network.lua ("refused", "timeout", "closed", ...). Callbacks
-- are called from the loop, never from inside a call.
local ffi = require "ffi"
local reply = require "veloflux.redis.reply"

ffi.cdef [[
uint64_t vf_clock_ns(void);
typedef struct uv_loop_s uv_loop_t;
struct vf_redis_client;
struct vf_redis_link;
struct vf_redis_host { uv_loop_t *loop; void (*on_ready)(void *owner); void *owner; };
struct vf_redis_event {
  uint64_t number;
  const struct vf_redis_node *nodes;
  const char *why;
  uint32_t n_nodes;
  uint32_t kind;
  int32_t rc;
  uint32_t unused;
};
int vf_redis_client_new(const struct vf_redis_host *host, struct vf_redis_client **out);
void vf_redis_client_free(struct vf_redis_client *client);
int vf_redis_client_secure(struct vf_redis_client *client, const char *authorities, size_t len, const char *name);
const struct vf_redis_event *vf_redis_client_take(struct vf_redis_client *client);
void vf_redis_client_alarm(struct vf_redis_client *client, uint64_t delay_ms);
struct vf_redis_link *vf_redis_link_open(struct vf_redis_client *client, uint64_t number, const char *host, size_t len,
  int port, uint64_t patience_ms, uint64_t max_reply_bytes);
void vf_redis_link_send(struct vf_redis_link *link, const char *data, size_t len, uint32_t n_replies);
void vf_redis_link_limit(struct vf_redis_link *link, uint64_t max_reply_bytes);
void vf_redis_link_close(struct vf_redis_link *link);
const struct vf_redis_host *vf_control_redis_host(void);
]]
local C = ffi.C

local M = {}

local OPENED, REPLY, FAILED, ALARM = 1, 2, 3, 4 -- enum vf_redis_event_kind
local CODES = { [-110] = "timeout", [-4095] = "closed", [-111] = "refused", [-2] = "refused", [-104] = "reset",
  [-20003] = "malformed", [-20004] = "too_large" }
local WORDS = { timeout = "it does not answer in time", malformed = "this is no Redis server: %s",
  too_large = "a reply is too large: this is no Redis server, or not the data of VeloFlux" }

local Wire, Link = {}, {}
Wire.__index, Link.__index = Wire, Link

local wires = {} -- set of open ones: whoever waits for an answer is held here

--- Opens the network of one store.
-- @param host struct vf_redis_host *, or nil: of the control process
-- @return it, or nil and a message
function M.open(host)
  local out = ffi.new "struct vf_redis_client *[1]"
  local rc = C.vf_redis_client_new(host or C.vf_control_redis_host(), out)
  if rc ~= 0 then return nil, ("redis: the client cannot be made (error %d)"):format(-rc) end
  local self = setmetatable({ raw = out[0], links = {}, n_links = 0, timers = {} }, Wire)
  wires[self] = true
  return self
end

--- From now on all links speak TLS, but those to unix sockets.
-- @param authorities DER, one behind the other, that the servers' certificates come from; empty: any will do
-- @param name that they have in their certificates, or nil: their host
-- @return true, or nil and a message
function Wire:secure(authorities, name)
  local rc = C.vf_redis_client_secure(self.raw, authorities, #authorities, name or "")
  if rc ~= 0 then return nil, ("redis: TLS cannot be set up (error %d)"):format(-rc) end
  return true
end

--- A monotonic clock in milliseconds.
function M.now_ms() return tonumber(C.vf_clock_ns() / 1000000ULL) end

--- Sets the alarm to the timer that is next.
local function set_alarm(self)
  local next_ms = math.huge
  for timer in pairs(self.timers) do next_ms = math.min(next_ms, timer.at_ms) end
  if next_ms < math.huge then C.vf_redis_client_alarm(self.raw, math.max(next_ms - M.now_ms(), 0)) end
end

--- Calls fn() once, in `ms` milliseconds. Returns what `cancel` takes.
function Wire:after(ms, fn)
  local timer = { at_ms = M.now_ms() + ms, fn = fn }
  self.timers[timer] = true
  set_alarm(self)
  return timer
end

function Wire:cancel(timer)
  if timer then self.timers[timer] = nil end
end

--- Calls whose time has come.
local function ring(self)
  local due, now_ms = {}, M.now_ms()
  for timer in pairs(self.timers) do
    if timer.at_ms <= now_ms then due[#due + 1] = timer end
  end
  table.sort(due, function(a, b) return a.at_ms < b.at_ms end)
  local fault
  for _, timer in ipairs(due) do
    local is_set = self.timers[timer] -- one before it may have cancelled it
    self.timers[timer] = nil
    local ok, problem = true, nil
    if is_set then ok, problem = xpcall(timer.fn, debug.traceback) end
    if not ok then fault = fault or problem end
  end
  if self.raw then set_alarm(self) end
  if fault then error(fault, 0) end
end

--- Opens a link.
-- @param target of redis/url.lua: host and port, or path; label
-- @param options { patience_ms, max_reply_bytes }: how long connecting may take, and then the server's silence
-- @param on_open function(err), called once
function Wire:link(target, options, on_open)
  local number = self.n_links + 1
  local host = target.path or target.host:gsub("^%[(.*)%]$", "%1")
  local raw = C.vf_redis_link_open(self.raw, number, host, #host, target.path and -1 or target.port,
    options.patience_ms, options.max_reply_bytes)
  if raw == nil then error("out of memory", 0) end
  local link = setmetatable({ wire = self, raw = raw, number = number, label = target.label, on_open = on_open,
    waiting = {}, first = 1, last = 0 }, Link)
  self.n_links, self.links[number] = number, link
  return link
end

--- Closes it with all links; nothing is called any more.
function Wire:close()
  if not self.raw then return end
  wires[self] = nil
  C.vf_redis_client_free(self.raw)
  self.raw, self.links, self.timers = nil, {}, {}
end

-- Links ---------------------------------------------------------------------------------------------

--- Encodes a command.
local function encode(parts, command)
  parts[#parts + 1] = "*" .. #command .. "\r\n"
  for i = 1, #command do
    local value = command[i]
    if type(value) == "number" then value = ("%.17g"):format(value) end
    parts[#parts + 1] = "$" .. #value .. "\r\n"
    parts[#parts + 1] = value
    parts[#parts + 1] = "\r\n"
  end
end

--- Encodes commands (lists of texts and numbers) for `send`.
function M.encode(commands)
  local parts = {}
  for _, command in ipairs(commands) do encode(parts, command) end
  return { text = table.concat(parts), n = #commands }
end

--- Sends commands.
-- @param commands list, or what `encode` made of it
-- @param callback function(err, list of a reply for each command)
function Link:send(commands, callback)
  local encoded = commands.text and commands or M.encode(commands)
  self.last = self.last + 1
  self.waiting[self.last] = { n = encoded.n, replies = {}, callback = callback }
  if self.raw then C.vf_redis_link_send(self.raw, encoded.text, #encoded.text, encoded.n) end
end

--- Sets how large the next replies may be.
function Link:limit(max_reply_bytes)
  if self.raw then C.vf_redis_link_limit(self.raw, max_reply_bytes) end
end

--- Closes it: nothing is called any more.
function Link:close()
  if not self.raw then return end
  self.wire.links[self.number] = nil
  C.vf_redis_link_close(self.raw)
  self.raw = nil
end

local MESSAGE_KINDS = { message = true, pmessage = true }

local function take_reply(self, value)
  if type(value) == "table" and MESSAGE_KINDS[value[1]] then
    if self.on_message then self.on_message(value[2], value[3]) end
    return
  end
  local entry = self.waiting[self.first]
  if not entry then return end -- a server that talks unasked
  entry.replies[#entry.replies + 1] = value
  if #entry.replies < entry.n then return end
  self.waiting[self.first] = nil
  self.first = self.first + 1
  entry.callback(nil, entry.replies)
end

--- What failed, as an error.
local function error_of(self, event)
  local why = ffi.string(event.why)
  local code = CODES[event.rc] or "failed"
  return { code = code, message = ("redis %s: %s"):format(self.label, (WORDS[code] or "%s"):format(why)) }
end

--- Tells everybody who waits on a link that it is no more. One that raises does not keep the others from it.
local function end_link(self, err)
  local on_open, on_lost, waiting, first, last = self.on_open, self.on_lost, self.waiting, self.first, self.last
  self:close()
  local fault
  local function tell(callback)
    if not callback then return end
    local ok, problem = xpcall(callback, debug.traceback, err)
    if not ok then fault = fault or problem end
  end
  tell(on_open)
  for i = first, last do tell(waiting[i].callback) end
  if not on_open then tell(on_lost) end
  if fault then error(fault, 0) end
end

local handlers = {
  [OPENED] = function(link)
    local on_open = link.on_open
    link.on_open = nil
    on_open(nil)
  end,
  [REPLY] = function(link, event)
    take_reply(link, event.n_nodes > 0 and (reply.decode(event.nodes, 0)) or reply.null)
  end,
  [FAILED] = function(link, event) end_link(link, error_of(link, event)) end,
}

local function handle(self, event)
  if event.kind == ALARM then return ring(self) end
  local link = self.links[tonumber(event.number)]
  if link then handlers[event.kind](link, event) end
end

--- Takes what has happened. One callback that raises does not keep the others from theirs.
-- @return the first error, or nil
local function take_all(self)
  local fault
  while self.raw do
    local event = C.vf_redis_client_take(self.raw)
    if event == nil then break end
    local ok, problem = xpcall(handle, debug.traceback, self, event)
    if not ok then fault = fault or problem end
  end
  return fault
end

--- Called from the loop when something has happened (struct vf_redis_host). Raises what a callback raised.
function M.ready()
  local all, fault = {}, nil
  for wire in pairs(wires) do all[#all + 1] = wire end
  for _, wire in ipairs(all) do fault = take_all(wire) or fault end
  if fault then error(fault, 0) end
end

--- Closes all, for the end of the process.
function M.shutdown()
  for wire in pairs(wires) do wire:close() end
end

return M
