local ffi = require "ffi"

ffi.cdef [[
struct proxy_spec_address { uint16_t family; uint8_t port[2]; uint8_t rest[124]; }
  __attribute__((aligned(8))); // struct sockaddr_storage
struct proxy_spec_header { struct proxy_spec_address source, destination; };
int vf_proxy_header_read(const char *data, size_t len, struct proxy_spec_header *out);
size_t vf_proxy_header_write(unsigned version, const struct proxy_spec_header *header, char *out);
]]

local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")
local NONE, IPV4, IPV6 = 0, 2, 10 -- AF_UNSPEC, AF_INET, AF_INET6
local HEADER_MAX, HEADER_OUT = 4096, 108
local SIGNATURE = "\r\n\r\n\0\r\nQUIT\n"
local LOCAL, PROXY = 0x20, 0x21
local TCP4, TCP6 = 0x11, 0x21

local ADDRESSES4 = "\192\0\2\1" .. "\198\51\100\2" .. "\220\4" .. "\1\187" -- ports 56324 and 443
local IP6 = "\32\1\13\184" .. ("\0"):rep(11) .. "\1"
local ADDRESSES6 = IP6 .. IP6 .. "\0\1" .. "\255\255"

--- Reads `text` from memory of exactly its length. Returns the code and the header.
local function read(text)
  local data, header = ffi.new("char[?]", math.max(#text, 1)), ffi.new "struct proxy_spec_header"
  ffi.copy(data, text, #text)
  return lib.vf_proxy_header_read(data, #text, header), header
end

local function write(version, header)
  local out = ffi.new("char[?]", HEADER_OUT)
  return ffi.string(out, lib.vf_proxy_header_write(version, header, out))
end

-- The address begins behind the port in struct sockaddr_in, behind the flow label in struct sockaddr_in6.
local function ip_of(address)
  if address.family == IPV4 then return address.rest, 4 end
  return address.rest + 4, 16
end

local function ip(address) return ffi.string(ip_of(address)) end

local function port(address) return address.port[0] * 256 + address.port[1] end

local function v2(command, family, body)
  return SIGNATURE .. string.char(command, family, math.floor(#body / 256), #body % 256) .. body
end

local function tlv(kind, value)
  return string.char(kind, math.floor(#value / 256), #value % 256) .. value
end

--- Makes a header with `from` and `to` as { family, bytes, port }.
local function header_of(from, to)
  local header = ffi.new "struct proxy_spec_header"
  for field, value in pairs { source = from, destination = to } do
    local address = header[field]
    address.family, address.port[0], address.port[1] = value[1], math.floor(value[3] / 256), value[3] % 256
    ffi.copy((ip_of(address)), value[2], #value[2])
  end
  return header
end

--- Every shorter input must be undecided, and bytes behind the header must not count.
local function assert_reads(text)
  for len = 0, #text - 1 do assert.equal(0, (read(text:sub(1, len)))) end
  assert.equal(#text, (read(text .. "GET / HTTP/1.1\r\n")))
  local length, header = read(text)
  assert.equal(#text, length)
  return header
end

describe("PROXY protocol version 1", function()
  it("reads TCP over IPv4", function()
    local header = assert_reads "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
    assert.equal(IPV4, header.source.family)
    assert.equal("\192\0\2\1", ip(header.source))
    assert.equal("\198\51\100\2", ip(header.destination))
    assert.equal(56324, port(header.source))
    assert.equal(443, port(header.destination))
  end)

  it("reads TCP over IPv6, at its greatest length too", function()
    local long = ("ffff:"):rep(7) .. "ffff"
    local header = assert_reads("PROXY TCP6 " .. long .. " " .. long .. " 65535 65535\r\n")
    assert.equal(IPV6, header.source.family)
    assert.equal(("\255"):rep(16), ip(header.destination))
    header = assert_reads "PROXY TCP6 2001:db8::1 ::1 0 1\r\n"
    assert.equal(IP6, ip(header.source))
    assert.equal(0, port(header.source))
  end)

  it("reads UNKNOWN and ignores what follows it on the line", function()
    for _, text in ipairs { "PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
      "PROXY UNKNOWN " .. ("x"):rep(91) .. "\r\n" } do
      local header = assert_reads(text)
      assert.equal(NONE, header.source.family)
      assert.equal(NONE, header.destination.family)
    end
  end)

  for _, line in ipairs {
    "PROXY", "PROXY ", "PROXY TCP4", "PROXY UDP4 1.2.3.4 5.6.7.8 1 2", "PROXY UNKNOWNS", "proxy UNKNOWN",
    "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2", "PROXY TCP4  1.2.3.4 5.6.7.8 1 2", "PROXY TCP4 1.2.3.4 5.6.7.8 1",
    "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3", "PROXY TCP4\t1.2.3.4 5.6.7.8 1 2",
    "PROXY TCP4 1.2.3.4 5.6.7.8 01 2", "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536", "PROXY TCP4 1.2.3.4 5.6.7.8 00 2",
    "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2", "PROXY TCP4 1.2.3.4 5.6.7.8  2", "PROXY TCP4 1.2.3.4 5.6.7.8 1 4294967297",
    "PROXY TCP4 1.2.3 5.6.7.8 1 2", "PROXY TCP4 1.2.3.256 5.6.7.8 1 2", "PROXY TCP4 01.2.3.4 5.6.7.8 1 2",
    "PROXY TCP4 ::1 ::2 1 2", "PROXY TCP6 1.2.3.4 5.6.7.8 1 2", "PROXY TCP6 fe80::1%lo ::1 1 2",
    "PROXY TCP4 1.2.3.4\0 5.6.7.8 1 2", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", "PROXY UNKNOWN\r", "PROXY UNKNOWN\n",
  } do
    it(("refuses %q"):format(line), function() assert.equal(-1, (read(line .. "\r\n"))) end)
  end

  it("refuses a line of more than 107 bytes as soon as that is certain", function()
    local line = "PROXY UNKNOWN " .. ("x"):rep(91)
    assert.equal(105, #line)
    assert.equal(107, (read(line .. "\r\n")))
    assert.equal(0, (read(line)))
    assert.equal(-1, (read(line .. "x")))
    assert.equal(-1, (read(line .. "x\r\n")))
  end)

  it("refuses other protocols at the first byte that differs", function()
    assert.equal(0, (read ""))
    assert.equal(-1, (read "G"))
    assert.equal(0, (read "P"))
    assert.equal(-1, (read "POST / HTTP/1.1\r\n"))
    assert.equal(-1, (read "\22\3\1"))
  end)
end)

describe("PROXY protocol version 2", function()
  it("reads TCP over IPv4 and IPv6", function()
    local header = assert_reads(v2(PROXY, TCP4, ADDRESSES4))
    assert.equal(IPV4, header.source.family)
    assert.equal("\198\51\100\2", ip(header.destination))
    assert.equal(56324, port(header.source))
    header = assert_reads(v2(PROXY, TCP6, ADDRESSES6))
    assert.equal(IPV6, header.destination.family)
    assert.equal(IP6, ip(header.source))
    assert.equal(65535, port(header.destination))
  end)

  it("keeps the real addresses for LOCAL, whatever its block holds", function()
    for _, text in ipairs { v2(LOCAL, 0, ""), v2(LOCAL, TCP4, ADDRESSES4), v2(LOCAL, 0xff, "junk") } do
      assert.equal(NONE, assert_reads(text).source.family)
    end
  end)

  it("keeps the real addresses for families other than TCP", function()
    for family, size in pairs { [0x00] = 0, [0x12] = 12, [0x22] = 36, [0x31] = 216, [0x32] = 216 } do
      assert.equal(NONE, assert_reads(v2(PROXY, family, ("\1"):rep(size))).source.family)
    end
  end)

  it("skips type-length-values up to the longest header", function()
    assert_reads(v2(PROXY, TCP4, ADDRESSES4 .. tlv(0x01, "h2") .. tlv(0x04, "") .. tlv(0xe0, "x")))
    local fill = HEADER_MAX - 16 - #ADDRESSES4 - 3
    assert_reads(v2(PROXY, TCP4, ADDRESSES4 .. tlv(0x04, ("x"):rep(fill))))
    assert.equal(-1, (read(v2(PROXY, TCP4, ADDRESSES4 .. tlv(0x04, ("x"):rep(fill + 1))))))
  end)

  it("refuses values that do not end with the header", function()
    for _, tail in ipairs { "\4", "\4\0", "\4\0\1", "\4\255\255abc", tlv(4, "ab") .. "\0" } do
      assert.equal(-1, (read(v2(PROXY, TCP4, ADDRESSES4 .. tail))))
    end
  end)

  it("checks a CRC-32C when there is one", function()
    local right = v2(PROXY, TCP4, ADDRESSES4 .. tlv(0x03, "CRC!")):sub(1, -5)
    local sum = "\32\236\149\73" -- made with an implementation that gives 0xe3069283 for "123456789"
    assert_reads(right .. sum)
    assert.equal(-1, (read(right .. "\0\0\0\0")))
    assert.equal(-1, (read(v2(PROXY, TCP4, ADDRESSES4 .. tlv(0x03, "abc")))))
  end)

  it("refuses other versions, commands, families and short addresses", function()
    for _, text in ipairs { v2(0x11, TCP4, ADDRESSES4), v2(0x31, TCP4, ADDRESSES4), v2(0x22, TCP4, ADDRESSES4),
      v2(PROXY, 0x01, ADDRESSES4), v2(PROXY, 0x13, ADDRESSES4), v2(PROXY, 0x41, ADDRESSES4),
      v2(PROXY, TCP4, ADDRESSES4:sub(1, 11)), v2(PROXY, TCP6, ADDRESSES6:sub(1, 35)), v2(PROXY, 0x31, "/tmp/s") } do
      assert.equal(-1, (read(text)))
    end
    assert.equal(-1, (read(SIGNATURE:sub(1, 11) .. "\r")))
    assert.equal(-1, (read(SIGNATURE .. "\17")), "the version is known from byte 13 on")
  end)
end)

describe("writing a PROXY header", function()
  local from4, to4 = { IPV4, "\192\0\2\1", 56324 }, { IPV4, "\198\51\100\2", 443 }
  local from6, to6 = { IPV6, IP6, 1 }, { IPV6, IP6, 65535 }

  it("writes version 1", function()
    assert.equal("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", write(1, header_of(from4, to4)))
    assert.equal("PROXY TCP6 2001:db8::1 2001:db8::1 1 65535\r\n", write(1, header_of(from6, to6)))
    assert.equal("PROXY UNKNOWN\r\n", write(1, header_of({ NONE, "", 0 }, to4)))
  end)

  it("writes version 2", function()
    assert.equal(v2(PROXY, TCP4, ADDRESSES4), write(2, header_of(from4, to4)))
    assert.equal(v2(PROXY, TCP6, ADDRESSES6), write(2, header_of(from6, to6)))
    assert.equal(v2(LOCAL, 0, ""), write(2, header_of(from4, { NONE, "", 0 })))
  end)

  it("maps IPv4 when the other address is IPv6", function()
    assert.equal("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 56324 65535\r\n", write(1, header_of(from4, to6)))
    local header = assert_reads(write(2, header_of(from6, to4)))
    assert.equal(("\0"):rep(10) .. "\255\255\198\51\100\2", ip(header.destination))
  end)

  it("fits the longest header in what callers provide", function()
    local long = { IPV6, ("\255"):rep(16), 65535 }
    local text = write(1, header_of(long, long))
    assert.equal(104, #text)
    assert_reads(text)
  end)
end)
