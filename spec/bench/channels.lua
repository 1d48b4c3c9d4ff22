--- What channels cost control: a thousand clients that get a frame every two seconds, and frames of many backends.
-- Environment: CLIENTS (1000), SECONDS (10).
--
--     build/deps/bin/luajit spec/bench/channels.lua      run by `make bench`, scenario `channels`
local ffi = require "ffi"
local house = dofile "spec/bench/house.lua"
local machine = dofile "spec/bench/machine.lua"

ffi.cdef [[
struct sockaddr_in { uint16_t family, port; uint32_t address; uint8_t zero[8]; };
struct rlimit { unsigned long current, most; };
int socket(int domain, int type, int protocol);
int connect(int fd, const struct sockaddr_in *address, uint32_t len);
ssize_t send(int fd, const char *data, size_t len, int flags);
ssize_t recv(int fd, char *data, size_t len, int flags);
int close(int fd);
int usleep(uint32_t us);
int getrlimit(int resource, struct rlimit *limit);
int setrlimit(int resource, const struct rlimit *limit);
]]
local C = ffi.C

local CLIENTS, SECONDS = tonumber(os.getenv "CLIENTS" or 1000), tonumber(os.getenv "SECONDS" or 10)
local PORT, ADMIN, POOLS, FRAMES = 19131, 19132, 1000, 50 -- two backends each
local AF_INET, SOCK_STREAM, MSG_DONTWAIT, RLIMIT_NOFILE = 2, 1, 0x40, 7
local ROOM = 1024 * 1024
local AUTHORIZATION = "Authorization: Basic YWRtaW46YmVuY2g=\r\n" -- admin:bench
local REQUEST = "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" .. AUTHORIZATION
  .. "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

local room = ffi.new("char[?]", ROOM)

local function raise_descriptor_limit()
  local limit = ffi.new "struct rlimit"
  C.getrlimit(RLIMIT_NOFILE, limit)
  limit.current = limit.most
  C.setrlimit(RLIMIT_NOFILE, limit)
end

--- Connects a client to a channel; its first frame is left to be read.
local function open(path)
  local fd = C.socket(AF_INET, SOCK_STREAM, 0)
  local address = ffi.new "struct sockaddr_in"
  address.family, address.port = AF_INET, math.floor(ADMIN / 256) + ADMIN % 256 * 256
  address.address = 0x0100007f
  assert(fd >= 0 and C.connect(fd, address, ffi.sizeof(address)) == 0, "cannot connect")
  local text = REQUEST:format(path)
  assert(C.send(fd, text, #text, 0) == #text)
  local n = tonumber(C.recv(fd, room, ROOM, 0))
  assert(n > 0 and ffi.string(room, 12) == "HTTP/1.1 101", n > 0 and ffi.string(room, n) or "no answer")
  return fd
end

--- Reads what there is for all. Returns the number of frames and bytes.
local function drain(fds)
  local frames, bytes = 0, 0
  for _, fd in ipairs(fds) do
    repeat
      local n = tonumber(C.recv(fd, room, ROOM, MSG_DONTWAIT))
      if n > 0 then
        bytes = bytes + n
        frames = frames + select(2, ffi.string(room, n):gsub('{"type":"', ""))
      end
    until n < ROOM
  end
  return frames, bytes
end

local function bench_many(instance)
  local before = machine.pss_kib(instance.control)
  local fds = {}
  for i = 1, CLIENTS do fds[i] = open "/api/ws/metrics" end
  C.usleep(500000)
  drain(fds)
  local memory, spent, frames = machine.pss_kib(instance.control) - before, machine.cpu_ns(instance.control), 0
  for _ = 1, SECONDS * 10 do
    C.usleep(100000)
    frames = frames + drain(fds)
  end
  spent = machine.cpu_ns(instance.control) - spent
  print(("%d clients, each a frame every 2 s: %.0f frames/s, control %.1f %% of a core, %.0f us a frame, %.1f KiB "
    .. "a client"):format(CLIENTS, frames / SECONDS, spent / 1e7 / SECONDS, spent / 1e3 / frames, memory / CLIENTS))
  for _, fd in ipairs(fds) do C.close(fd) end
end

local function bench_large(instance, name)
  local fds, lines = { open("/api/ws/" .. name) }, {}
  for i = 1, FRAMES do lines[i] = ('POST /api/ws/force-update {"type":"%s"}'):format(name) end
  local spent = machine.cpu_ns(instance.control)
  local taken, statuses = house.send(lines, nil, ADMIN)
  house.expect(statuses, 200)
  spent = machine.cpu_ns(instance.control) - spent
  print(("  a frame of %-9s %s until it is queued; control %.1f ms each"):format(name, house.describe(taken),
    spent / 1e6 / FRAMES))
  for _, fd in ipairs(fds) do C.close(fd) end
end

raise_descriptor_limit()
local function with_house(pools, bench)
  local instance = house.start { routes = 10, pools = pools, workers = 1, port = PORT, admin = ADMIN }
  local ok, message = xpcall(bench, debug.traceback, instance)
  house.stop(instance)
  if not ok then error(message, 0) end
end

with_house(1, bench_many)
print(("of %d backends:"):format(2 * POOLS))
with_house(POOLS, function(instance)
  for _, name in ipairs { "backends", "metrics", "health", "status" } do bench_large(instance, name) end
end)
