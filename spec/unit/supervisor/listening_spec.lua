--- Listening sockets and the packet programs that steer connections between them, on the real kernel.
local ffi = require "ffi"
local uv = require "luv"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")
local loop = require "support.loop"
local children = require "support.children"
local stream = require "support.stream"

ffi.cdef [[
struct vf_snap_address { uint32_t family; uint16_t port, reserved; uint8_t ip[16]; };
void vf_listening_format(const struct vf_snap_address *address, char out[56]);
bool vf_listening_same(const struct vf_snap_address *a, const struct vf_snap_address *b);
int vf_listening_probe(const struct vf_snap_address *address);
int vf_listening_open(const struct vf_snap_address *address, struct vf_snap_address *bound);
int vf_listening_steer(int fd, const uint8_t *members, size_t n_members);
int vf_listening_refuse(int fd, bool refuse);
int vf_listening_defer(int fd, bool defer);
int vf_listening_is_awaited(const struct vf_snap_address *address);
const char *vf_listening_fault(int rc);
int accept4(int fd, void *address, void *length, int flags);
int close(int);
]]

local IPV4, IPV6 = 1, 2
local EADDRINUSE, EADDRNOTAVAIL = 98, 99
local SOCK_NONBLOCK, SOCK_CLOEXEC = 2048, 524288

local function address(ip, port)
  local result = ffi.new "struct vf_snap_address"
  result.family, result.port = IPV4, port or 0
  for i, byte in ipairs(ip or { 127, 0, 0, 1 }) do result.ip[i - 1] = byte end
  return result
end

local function open(at)
  local bound = ffi.new "struct vf_snap_address"
  local fd = lib.vf_listening_open(at, bound)
  assert.is_true(fd >= 0, "error " .. fd)
  return fd, bound
end

local function text(at)
  local out = ffi.new "char[56]"
  lib.vf_listening_format(at, out)
  return ffi.string(out)
end

-- Takes what waits in the queue of a socket. Returns how many connections that were.
local function drain(fd)
  local count = 0
  while true do
    local conn = ffi.C.accept4(fd, nil, nil, SOCK_NONBLOCK + SOCK_CLOEXEC)
    if conn < 0 then return count end
    ffi.C.close(conn)
    count = count + 1
  end
end

-- Opens connections and returns how many each socket of a group got.
local function spread(port, fds, count)
  for _ = 1, count do assert(stream.connect(port)) end
  local got = {}
  for i, fd in ipairs(fds) do got[i] = drain(fd) end
  return got
end

local function close(fds)
  for _, fd in ipairs(fds) do ffi.C.close(fd) end
end

describe("addresses", function()
  it("are written as people write them", function()
    assert.equal("127.0.0.1:8000", text(address({ 127, 0, 0, 1 }, 8000)))
    local v6 = ffi.new "struct vf_snap_address"
    v6.family, v6.port, v6.ip[15] = IPV6, 80, 1
    assert.equal("[::1]:80", text(v6))
  end)

  it("are compared by family, address and port", function()
    local a, b = address({ 10, 0, 0, 1 }, 80), address({ 10, 0, 0, 1 }, 80)
    b.ip[9] = 7 -- beyond the four bytes that count
    assert.is_true(lib.vf_listening_same(a, b))
    assert.is_false(lib.vf_listening_same(a, address({ 10, 0, 0, 1 }, 81)))
    assert.is_false(lib.vf_listening_same(a, address({ 10, 0, 0, 2 }, 80)))
  end)
end)

describe("a probe", function()
  it("finds a foreign listener, even one that shares its port", function()
    local fd, bound = open(address())
    assert.equal(-EADDRINUSE, lib.vf_listening_probe(bound))
    ffi.C.close(fd)
    assert.equal(0, lib.vf_listening_probe(bound))
  end)

  it("says what is wrong with an address", function()
    assert.equal(-EADDRNOTAVAIL, lib.vf_listening_probe(address({ 192, 0, 2, 1 }, 8000)))
    assert.equal("is not an address of this machine", ffi.string(lib.vf_listening_fault(-EADDRNOTAVAIL)))
    assert.equal("is in use", ffi.string(lib.vf_listening_fault(-EADDRINUSE)))
    assert.equal("Cannot allocate memory", ffi.string(lib.vf_listening_fault(-12)))
  end)
end)

describe("the sockets of an address", function()
  local fds, port

  before_each(function()
    local first, bound = open(address())
    fds, port = { first }, bound.port
    lib.vf_listening_steer(first, ffi.new("uint8_t[1]", 0), 1)
    for i = 2, 3 do fds[i] = open(bound) end
  end)

  after_each(function() close(fds) end)

  it("get connections only when they are named", loop.spec(function()
    assert.same({ 20, 0, 0 }, spread(port, fds, 20))
  end))

  it("share them when several are named", loop.spec(function()
    assert.equal(0, lib.vf_listening_steer(fds[2], ffi.new("uint8_t[2]", 0, 2), 2))
    local got = spread(port, fds, 100)
    assert.equal(0, got[2])
    assert.equal(100, got[1] + got[3])
    assert.is_true(got[1] > 20 and got[3] > 20, got[1] .. " and " .. got[3]) -- 50 each; 6 sigma
  end))

  it("keep their numbers when the last is closed", loop.spec(function()
    assert.equal(0, lib.vf_listening_steer(fds[1], ffi.new("uint8_t[1]", 1), 1))
    ffi.C.close(table.remove(fds))
    assert.same({ 0, 20 }, spread(port, fds, 20))
  end))

  it("lose no waiting connection while they are steered away from", loop.spec(function()
    for _ = 1, 10 do assert(stream.connect(port)) end
    assert.equal(0, lib.vf_listening_steer(fds[1], ffi.new("uint8_t[1]", 2), 1))
    assert.same({ 10, 0, 5 }, spread(port, fds, 5))
  end))
end)

describe("refusing", function()
  it("keeps new connections out, those that wait in, and can be taken back", loop.spec(function()
    local fd, bound = open(address())
    local waiting = assert(stream.connect(bound.port))
    assert.equal(0, lib.vf_listening_refuse(fd, true))
    local late = uv.new_tcp()
    local connected = false
    late:connect("127.0.0.1", bound.port, function(err) connected = not err end)
    local other = open(address()) -- the loop turns once more than enough while this answers
    ffi.C.close(other)
    uv.run "nowait"
    assert.is_false(connected)
    assert.equal(1, drain(fd))
    assert.equal("eof", select(2, waiting:read_rest "the end"))
    late:close()
    assert.equal(0, lib.vf_listening_refuse(fd, false))
    assert(stream.connect(bound.port))
    assert.equal(1, drain(fd))
    ffi.C.close(fd)
  end))
end)

describe("deferring", function()
  it("keeps silent clients out of the queue until they speak", loop.spec(function()
    local fd, bound = open(address())
    assert.equal(0, lib.vf_listening_defer(fd, true))
    assert.equal(0, lib.vf_listening_is_awaited(bound))
    local silent = assert(stream.connect(bound.port))
    assert.equal(1, lib.vf_listening_is_awaited(bound))
    silent:write "hello"
    children.eventually("the connection", function() return drain(fd) == 1 end)
    assert.equal(0, lib.vf_listening_is_awaited(bound))
    ffi.C.close(fd)
  end))

  it("lets silent clients in after a second, at the latest", loop.spec(function()
    local fd, bound = open(address())
    assert.equal(0, lib.vf_listening_defer(fd, true))
    assert(stream.connect(bound.port))
    assert.equal(0, drain(fd))
    children.eventually("the silent client", function() return drain(fd) == 1 end)
    assert.equal(0, lib.vf_listening_is_awaited(bound))
    ffi.C.close(fd)
  end))

  it("ends when it is switched off, for those who come and for those who wait", loop.spec(function()
    local fd, bound = open(address())
    assert.equal(0, lib.vf_listening_defer(fd, true))
    assert(stream.connect(bound.port))
    assert.equal(0, lib.vf_listening_defer(fd, false))
    assert(stream.connect(bound.port))
    local count = 0
    children.eventually("both", function()
      count = count + drain(fd)
      return count == 2
    end)
    assert.equal(0, lib.vf_listening_is_awaited(bound))
    ffi.C.close(fd)
  end))
end)
