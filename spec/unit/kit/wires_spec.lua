--- What plugins under test have instead of a network.
local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
struct vf_wires;
struct vf_wire_arrival { int fd; int port; int is_datagram; char host[254]; };
struct vf_wires_address { uint16_t family, port_net; uint8_t ip[4]; uint8_t rest[120]; };
void vf_wires_init(struct vf_wires *);
void vf_wires_deinit(struct vf_wires *);
int vf_wires_host(struct vf_wires *, const char *name, int port, int mode);
bool vf_wires_arrival(struct vf_wires *, struct vf_wire_arrival *);
ssize_t vf_wire_read(int fd, char *buffer, size_t room);
ssize_t vf_wire_write(int fd, const char *data, size_t len);
void vf_wire_finish(int fd);
void vf_wires_close(struct vf_wires *, int fd, bool reset);
int close(int fd);
int vf_outside_connect(int type, const struct vf_wires_address *address, unsigned len);
]]

local STREAM, DATAGRAM = 1, 2
local ACCEPTS, REFUSES, HANGS = 0, 1, 2
local EAGAIN, ECONNREFUSED, ECONNRESET, ENAMETOOLONG = -11, -111, -104, -36
local WIRES_BYTES = 1024 * 1024 -- room for a struct vf_wires

describe("wires", function()
  local memory, wires
  local arrival = ffi.new "struct vf_wire_arrival"

  before_each(function()
    memory = ffi.new("uint64_t[?]", WIRES_BYTES / 8)
    wires = ffi.cast("struct vf_wires *", memory)
    lib.vf_wires_init(wires)
  end)
  after_each(function() lib.vf_wires_deinit(wires) end)

  local function connect(ip, port, kind)
    local address = ffi.new "struct vf_wires_address"
    address.family, address.port_net = 2, port % 256 * 256 + math.floor(port / 256)
    for i = 0, 3 do address.ip[i] = ip[i + 1] end
    return lib.vf_outside_connect(kind or STREAM, address, 16)
  end

  --- Returns both ends of a connection to a host: the gateway's, the spec's.
  local function connected()
    assert.equal(0, lib.vf_wires_host(wires, "10.0.0.1", 80, ACCEPTS))
    local fd = connect({ 10, 0, 0, 1 }, 80)
    assert.is_true(fd >= 0)
    assert.is_true(lib.vf_wires_arrival(wires, arrival))
    return fd, arrival.fd
  end

  local buffer = ffi.new "char[64]"
  local function read(fd)
    local n = tonumber(lib.vf_wire_read(fd, buffer, 64))
    return n > 0 and ffi.string(buffer, n) or n
  end

  it("lead to hosts that are known, and nowhere else", function()
    lib.vf_wires_host(wires, "10.0.0.1", 80, ACCEPTS)
    lib.vf_wires_host(wires, "10.0.0.2", 0, ACCEPTS)
    lib.vf_wires_host(wires, "10.0.0.3", 80, REFUSES)
    assert.equal(ECONNREFUSED, connect({ 10, 0, 0, 1 }, 81))
    assert.equal(ECONNREFUSED, connect({ 10, 0, 0, 3 }, 80))
    assert.equal(ECONNREFUSED, connect({ 127, 0, 0, 1 }, 80))
    assert.is_false(lib.vf_wires_arrival(wires, arrival))
    local fd = connect({ 10, 0, 0, 2 }, 8125, DATAGRAM)
    assert.is_true(lib.vf_wires_arrival(wires, arrival))
    assert.same({ "10.0.0.2", 8125, 1 }, { ffi.string(arrival.host), arrival.port, arrival.is_datagram })
    ffi.C.close(fd)
    lib.vf_wires_close(wires, arrival.fd, false)
    assert.equal(ENAMETOOLONG, lib.vf_wires_host(wires, ("x"):rep(300), 80, ACCEPTS))
  end)

  it("carry bytes both ways, and ends", function()
    local near, far = connected()
    assert.equal(EAGAIN, read(far))
    lib.vf_wire_write(near, "abc", 3)
    assert.equal("abc", read(far))
    assert.equal(EAGAIN, read(far))
    lib.vf_wire_write(near, "d", 1)
    assert.equal("d", read(far))
    lib.vf_wire_write(near, "e", 1)
    lib.vf_wire_finish(near)
    assert.equal("e", read(far))
    assert.equal(0, read(far))
    lib.vf_wire_write(far, "late", 4)
    assert.equal("late", read(near))
    lib.vf_wires_close(wires, far, false)
    assert.equal(0, read(near))
    ffi.C.close(near)
  end)

  it("can be broken off, whatever has been read", function()
    for _, text in ipairs { "", "abc" } do
      local near, far = connected()
      lib.vf_wire_write(near, text, #text)
      read(far)
      lib.vf_wires_close(wires, far, true)
      assert.equal(ECONNRESET, read(near))
      ffi.C.close(near)
    end
  end)

  it("do not write to a file that has got the number of a closed descriptor", function()
    local near, far = connected()
    ffi.C.close(near)
    local other, stranger = connected()
    assert.equal(near, other)
    lib.vf_wires_close(wires, far, true)
    assert.equal(EAGAIN, read(stranger))
    ffi.C.close(other)
  end)

  it("can be such that connecting never ends", function()
    lib.vf_wires_host(wires, "10.0.0.1", 80, HANGS)
    local fd = connect({ 10, 0, 0, 1 }, 80)
    assert.is_true(fd >= 0)
    assert.is_false(lib.vf_wires_arrival(wires, arrival))
    assert.equal(EAGAIN, tonumber(lib.vf_wire_write(fd, "x", 1)))
    ffi.C.close(fd)
  end)
end)
