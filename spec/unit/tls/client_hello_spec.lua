local ffi = require "ffi"
local hello = require "support.hello"
local loop = require "support.loop"

ffi.cdef [[
struct hello_spec { char name[254]; uint32_t name_len; int alert; const char *fault; };
int vf_client_hello_read(const char *data, size_t len, struct hello_spec *out);
int vf_client_hello_check(const char *message, size_t len, bool is_older);
void vf_client_hello_alert(int alert, char *out);
]]

local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")
local MALFORMED = -20003
local BODY_MAX, RECORDS_MAX = 16 * 1024, 64

--- Reads `text` from memory of exactly its length.
-- @return 1 and the name, 0, or MALFORMED, the reason and the alert
local function read(text)
  local data, out = ffi.new("char[?]", math.max(#text, 1)), ffi.new "struct hello_spec"
  ffi.copy(data, text, #text)
  local rc = lib.vf_client_hello_read(data, #text, out)
  if rc == 1 then return rc, ffi.string(out.name, out.name_len) end
  if rc == 0 then return rc end
  return rc, ffi.string(out.fault), out.alert
end

--- Every beginning of a good hello is undecided; whatever follows it changes nothing.
local function check_every_length(text, name)
  for len = 0, #text - 1 do assert.equal(0, (read(text:sub(1, len)))) end
  assert.same({ 1, name }, { read(text) })
  assert.same({ 1, name }, { read(text .. "anything") })
end

describe("a ClientHello", function()
  for _, case in ipairs {
    { "TLS 1.3", "-tls1_3 -servername www.Example.test", "www.example.test" },
    { "TLS 1.2", "-tls1_2 -servername a.test", "a.test" },
    { "one with ALPN", "-alpn h2,http/1.1 -servername a.b.c.test", "a.b.c.test" },
    { "one without a name", "-noservername", "" },
    { "one with an early session and many groups", "-groups P-521:P-384:X25519 -servername x.test", "x.test" },
  } do
    it("of OpenSSL is read, cut at every byte: " .. case[1], loop.spec(function()
      check_every_length(hello.of_openssl(case[2]), case[3])
    end))
  end

  it("may come in records of any size", function()
    local message = hello.message()
    for bytes = 2, #message do check_every_length(hello.fragments(message, bytes), "a.test") end
    local first = hello.record(message:sub(1, 1)) .. hello.record(message:sub(2, 3))
    check_every_length(first .. hello.record(message:sub(4)), "a.test")
  end)

  it("may be large, within a bound", function()
    local function of_size(bytes)
      local name = hello.server_name "a.test"
      local bare = #hello.message { extensions = name .. hello.extension(21, "") }
      return hello.message { extensions = hello.extension(21, ("\0"):rep(bytes - bare)) .. name }
    end
    local largest = of_size(BODY_MAX)
    assert.equal(BODY_MAX, #largest)
    assert.same({ 1, "a.test" }, { read(hello.fragments(largest, BODY_MAX / RECORDS_MAX)) })
    assert.same({ 1, "a.test" }, { read(hello.fragments(largest, 16384)) })
    assert.same({ MALFORMED, "hello_too_large", 47 }, { read(hello.record(of_size(BODY_MAX + 1):sub(1, 4))) })
    assert.same({ MALFORMED, "too_many_records", 50 },
      { read(hello.fragments(largest, BODY_MAX / RECORDS_MAX - 1)) })
  end)

  it("may be of a client that extends it without sense (GREASE)", function()
    local grease = hello.extension(0x0a0a, "") .. hello.server_name "a.test" .. hello.extension(0xfafa, "\0")
    check_every_length(hello.make { suites = "\10\10\19\1", extensions = grease }, "a.test")
  end)

  it("may have no extensions", function()
    check_every_length(hello.make { extensions = false }, "")
    check_every_length(hello.make { extensions = "" }, "")
  end)

  it("asks for names in any case, with a dot at the end, of other types beside", function()
    local function name(...) return select(2, read(hello.make { extensions = hello.server_name(...) })) end
    assert.equal("www.a-b_c.test", name "WWW.a-B_c.TEST")
    assert.equal("a.test", name "a.test.")
    assert.equal("a.test", name({ 7, "\0\1" }, "a.test"))
    assert.equal("", name { 7, "whatever" })
    local longest = (("x"):rep(63) .. "."):rep(3) .. ("y"):rep(61)
    assert.equal(longest, name(longest))
  end)

  it("asks for no name with an IP address", function()
    for _, literal in ipairs { "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "12345" } do
      assert.same({ 1, "" }, { read(hello.make { extensions = hello.server_name(literal) }) })
    end
  end)

  local name, record, make = hello.server_name, hello.record, hello.make
  for what, case in pairs {
    ["a request of HTTP"] = { "GET / HTTP/1.1\r\n\r\n", "not_a_handshake", 10 },
    ["a record of an alert"] = { record("\2\40", 21), "not_a_handshake", 10 },
    ["a hello of SSL 2"] = { "\128\46\1\3\1", "not_a_handshake", 10 },
    ["another version of records"] = { "\22\2", "record_version", 50 },
    ["an empty record"] = { record "", "record_length", 50 },
    ["a record that is too long"] = { "\22\3\1\64\1", "record_length", 50 },
    ["another message"] = { make { type = 2 }, "not_a_client_hello", 10 },
    ["another version"] = { make { version = "\2\0" }, "hello_version", 50 },
    ["a long session id"] = { make { session_id = ("x"):rep(33) }, "hello", 50 },
    ["no suites"] = { make { suites = "" }, "hello", 50 },
    ["half a suite"] = { make { suites = "\19\1\19" }, "hello", 50 },
    ["no compression methods"] = { make { methods = "" }, "hello", 50 },
    ["bytes behind the extensions"] = { make { tail = "x" }, "extensions", 50 },
    ["an extension that is cut"] = { make { extensions = "\0\0\0\9\0" }, "extensions", 50 },
    ["an empty list of names"] = { make { extensions = name() }, "server_name", 50 },
    ["a list of names that is cut"] = { make { extensions = hello.extension(0, "\0\9\0\0\1a") }, "server_name", 50 },
    ["a name that is cut"] = { make { extensions = hello.extension(0, "\0\4\0\0\9a") }, "server_name", 50 },
    ["bytes behind the names"] = { make { extensions = hello.extension(0, "\0\4\0\0\1ax") }, "server_name", 50 },
    ["two lists of names"] = { make { extensions = name "a.test" .. name "a.test" }, "server_name_twice", 47 },
    ["two names"] = { make { extensions = name("a.test", "b.test") }, "several_names", 47 },
    ["an empty name"] = { make { extensions = name "" }, "name_length", 50 },
    ["a name that is too long"] = { make { extensions = name(("a."):rep(128)) }, "name_length", 50 },
    ["a name with a NUL"] = { make { extensions = name "a.test\0.b" }, "name_bytes", 47 },
    ["a name with a space"] = { make { extensions = name "a b" }, "name_bytes", 47 },
    ["a name with a line end"] = { make { extensions = name "a\nb" }, "name_bytes", 47 },
    ["a name in UTF-8"] = { make { extensions = name "b\195\188cher.test" }, "name_bytes", 47 },
    ["a wildcard"] = { make { extensions = name "*.a.test" }, "name_bytes", 47 },
    ["a name with an empty label"] = { make { extensions = name "a..test" }, "name_bytes", 47 },
    ["a name that begins with a dot"] = { make { extensions = name ".test" }, "name_bytes", 47 },
    ["a label that is too long"] = { make { extensions = name(("x"):rep(64) .. ".test") }, "name_bytes", 47 },
    ["a dot"] = { make { extensions = name "." }, "name_bytes", 47 },
  } do
    it("is refused for good: " .. what, function()
      assert.same({ MALFORMED, case[2], case[3] }, { read(case[1]) })
      assert.same({ MALFORMED, case[2], case[3] }, { read(case[1] .. ("x"):rep(100)) })
    end)
  end

  local function check(fields, is_older)
    local message = hello.message(fields)
    local data = ffi.new("char[?]", #message)
    ffi.copy(data, message, #message) -- as an initializer it would come with a zero behind it
    return lib.vf_client_hello_check(data, #message, is_older or false)
  end

  local groups, psk = hello.extension(10, "\0\2\0\29"), hello.extension(41, "x")
  for what, case in pairs {
    ["one that is good"] = { { extensions = name "a.test" .. groups .. psk }, 0 },
    ["none of the extensions"] = { { extensions = false }, 0 },
    ["an extension that comes twice"] = { { extensions = groups .. psk .. groups }, 47 },
    ["bytes behind the extensions"] = { { tail = "x" }, 50 },
    ["extensions that are cut"] = { { extensions = groups:sub(1, -2) }, 50 },
    ["compression alone"] = { { methods = "\1" }, 47 },
    ["compression, or none"] = { { methods = "\1\0" }, 0 },
    ["a mark of fallback to an older version"] = { { suites = "\19\1\86\0" }, 86, true },
    ["a mark of fallback to the newest version"] = { { suites = "\19\1\86\0" }, 0, false },
    ["no suites"] = { { suites = "" }, 50 },
  } do
    it("is checked for what mbedTLS lets pass: " .. what, function()
      assert.equal(case[2], check(case[1], case[3]))
    end)
  end

  it("may have more extensions than are compared", function()
    local many = {}
    for i = 1, 200 do many[i] = hello.extension(1000 + i, "") end
    assert.equal(0, check { extensions = table.concat(many) })
  end)

  it("is answered with alerts", function()
    local out = ffi.new "char[7]"
    lib.vf_client_hello_alert(112, out)
    assert.equal("\21\3\1\0\2\2\112", ffi.string(out, 7))
  end)
end)
