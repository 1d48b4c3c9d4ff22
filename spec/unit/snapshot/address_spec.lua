local ffi = require "ffi"

ffi.cdef [[
struct address_spec_snap { uint32_t family; uint16_t port, reserved; uint8_t ip[16]; };
struct address_spec_storage { uint16_t family; uint8_t rest[126]; } __attribute__((aligned(8)));
unsigned vf_address_to_socket(const struct address_spec_snap *address, struct address_spec_storage *out);
struct address_spec_snap vf_address_from_socket(const struct address_spec_storage *from);
]]

local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")
local NONE, IPV4, IPV6 = 0, 1, 2
local AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6 = 0, 1, 2, 10
local IP4, IP6 = "\192\0\2\1", "\32\1\13\184" .. ("\0"):rep(11) .. "\1"
local ZEROS = ("\0"):rep(124)

local function snap(family, port, ip)
  local address = ffi.new("struct address_spec_snap", { family = family, port = port })
  ffi.copy(address.ip, ip, #ip)
  return address
end

--- Returns the bytes that count, the family and what follows it, all of it.
local function to_socket(address)
  local out = ffi.new "struct address_spec_storage"
  ffi.fill(out, ffi.sizeof(out), 0xaa)
  local len = lib.vf_address_to_socket(address, out)
  return tonumber(len), out.family, ffi.string(out.rest, 126)
end

local function from_socket(family, rest)
  local storage = ffi.new("struct address_spec_storage", { family = family })
  ffi.copy(storage.rest, rest, #rest)
  return lib.vf_address_from_socket(storage)
end

describe("an address of a snapshot", function()
  it("becomes struct sockaddr_in, with zeros behind", function()
    local len, family, rest = to_socket(snap(IPV4, 443, IP4))
    assert.same({ 16, AF_INET }, { len, family })
    assert.equal(("\1\187" .. IP4 .. ZEROS):sub(1, 126), rest)
  end)

  it("becomes struct sockaddr_in6, without flow label and scope", function()
    local len, family, rest = to_socket(snap(IPV6, 65535, IP6))
    assert.same({ 28, AF_INET6 }, { len, family })
    assert.equal(("\255\255\0\0\0\0" .. IP6 .. ZEROS):sub(1, 126), rest)
  end)

  it("becomes AF_UNSPEC without bytes when there is none", function()
    local len, family = to_socket(snap(NONE, 80, ""))
    assert.same({ 0, AF_UNSPEC }, { len, family })
  end)

  it("comes back as it went", function()
    for _, address in ipairs { snap(IPV4, 0, "\0\0\0\0"), snap(IPV4, 56324, IP4), snap(IPV6, 1, IP6) } do
      local out = ffi.new "struct address_spec_storage"
      lib.vf_address_to_socket(address, out)
      local back = lib.vf_address_from_socket(out)
      assert.equal(ffi.string(address, ffi.sizeof(address)), ffi.string(back, ffi.sizeof(back)))
    end
  end)

  it("is IPv4 for an IPv4-mapped socket address", function()
    local address = from_socket(AF_INET6, "\0\80\0\0\0\0" .. ("\0"):rep(10) .. "\255\255" .. IP4)
    assert.same({ IPV4, 80 }, { address.family, address.port })
    assert.equal(IP4 .. ("\0"):rep(12), ffi.string(address.ip, 16))
  end)

  it("is none for other families", function()
    for _, family in ipairs { AF_UNSPEC, AF_UNIX, 17 } do
      assert.equal(NONE, from_socket(family, "\1\1\1\1\1\1").family)
    end
  end)
end)
