--- Floods of TLS records: during the handshake and behind it, and what is none.
local ffi = require "ffi"
local clients = require "support.client"
local hello = require "support.hello"
local loop = require "support.loop"
local native = require "support.native"
local pki = require "support.pki"
local servers = require "support.server"
local stream = require "support.stream"
local tempdir = require "support.tempdir"
local tls = require "support.tls"

ffi.cdef [[
struct tlsr_client;
struct tlsr_backend;
struct tlsr_client *tlsr_open(int port, int version);
int tlsr_send(struct tlsr_client *, int type, const char *data, size_t len, int count);
int tlsr_send_raw(struct tlsr_client *, const char *data, size_t len, int count);
int tlsr_read(struct tlsr_client *, char *out, size_t room);
void tlsr_close(struct tlsr_client *);
struct tlsr_backend *tlsr_backend_start(int *port, const char *chain, const char *key, int warnings);
void tlsr_backend_stop(struct tlsr_backend *);
]]

local CHANGE, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
local USER_CANCELED, CLIENT_HELLO, KEY_UPDATE = "\1\90", "\1\0\0\0", "\24\0\0\1\0"
local UNEXPECTED_MESSAGE = 10
local LIMIT = 32 -- in a row without content
local GET = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
local POST = "POST /sink HTTP/1.1\r\nHost: a.test\r\nContent-Length: 900000000\r\n\r\n"

describe("a flood of TLS records", function()
  local shared, server, lib = loop.scope()
  local backends = {}
  setup(shared:spec(function()
    local site = pki.self_signed(tempdir.new(), "site", { names = { "a.test" } })
    lib = native.load "tls_records"
    local port = ffi.new "int[1]"
    local function pool(name, certificate, warnings)
      backends[#backends + 1] = lib.tlsr_backend_start(port, certificate and certificate.cert,
        certificate and certificate.key, warnings)
      return { name = name, tls = certificate and { verify = false },
        backends = { { address = "127.0.0.1:" .. port[0] } } }
    end
    server = servers.start { conf = {
      pools = { pool("sink", nil, 0), pool("warns", site, LIMIT - 1), pool("floods", site, 500) },
      routes = { { name = "sink", path = "/sink", pool = "sink" },
        { name = "warns", path = "/warns", pool = "warns" }, { name = "floods", path = "/floods", pool = "floods" },
        { name = "hi", path_prefix = "/", respond = { status = 200, body = "hello" } } },
      listeners = { { name = "http", address = "127.0.0.1:0" },
        { name = "https", address = "127.0.0.1:0", tls = { certificates = { site } } } },
    } }
  end))
  teardown(function()
    shared:run(function() server:stop() end)
    for _, backend in ipairs(backends) do lib.tlsr_backend_stop(backend) end
    shared:close()
  end)

  local buffer = ffi.new "char[16384]"

  --- Reads until the connection ends. Returns what was read, and the alert or nil.
  local function rest(client)
    local parts = {}
    for _ = 1, 1000 do
      local n = lib.tlsr_read(client, buffer, 16384)
      if n <= 0 then return table.concat(parts), n <= -1000 and n >= -1255 and -1000 - n or nil end
      parts[#parts + 1] = ffi.string(buffer, n)
    end
  end

  local function answer(client)
    local text = ""
    while not text:find("hello", 1, true) do
      local n = lib.tlsr_read(client, buffer, 16384)
      if n <= 0 then return nil end
      text = text .. ffi.string(buffer, n)
    end
    return text:match "HTTP/1.1 (%d+)"
  end

  local function with(version, work)
    local client = lib.tlsr_open(server.ports.https, version)
    assert.is_true(client ~= nil)
    work(client)
    lib.tlsr_close(client)
  end

  local function floods(reason)
    local text = clients.get(server.ports.admin, "/metrics").body
    return tonumber(text:match(('tls_record_floods_total{listener="https",reason="%s"} (%%d+)'):format(reason)))
  end

  --- Expects the connection of the last flood to be told, counted and logged.
  local function expect_end(client, kind, before, from)
    local _, alert = rest(client)
    assert.equal(UNEXPECTED_MESSAGE, alert)
    local line, listener, found = server:wait_log("tls.record_flood.*listener=(%S+) .*kind=(%S+)", from)
    assert.same({ "https", kind }, { listener, found }, line)
    assert.equal(before + 1, floods(kind))
  end

  for version, kinds in pairs {
    [12] = { empty = { DATA, "" }, warnings = { ALERT, USER_CANCELED }, renegotiation = { HANDSHAKE, CLIENT_HELLO } },
    [13] = { empty = { DATA, "" }, warnings = { ALERT, USER_CANCELED } },
  } do
    for what, record in pairs(kinds) do
      it(("of %s is ended in TLS 1.%d, a few are not"):format(what, version - 10), loop.spec(function()
        local before, from = floods "no_content", #server:log_lines() + 1
        with(version, function(client)
          for _ = 1, 3 do
            lib.tlsr_send(client, record[1], record[2], #record[2], LIMIT - 1)
            lib.tlsr_send(client, DATA, GET, #GET, 1)
            assert.equal("200", answer(client))
          end
          lib.tlsr_send(client, record[1], record[2], #record[2], 2 * LIMIT)
          expect_end(client, "no_content", before, from)
        end)
      end))
    end
  end

  it("between two pieces of content is ended, too", loop.spec(function()
    with(13, function(client)
      lib.tlsr_send(client, DATA, POST, #POST, 1)
      lib.tlsr_send(client, DATA, "x", 1, 1)
      local before, from = floods "no_content", #server:log_lines() + 1
      lib.tlsr_send(client, DATA, "", 0, 2 * LIMIT)
      expect_end(client, "no_content", before, from)
    end)
  end))

  it("is not needed: other messages behind a handshake end it at once", loop.spec(function()
    for _, case in ipairs { { 13, HANDSHAKE, KEY_UPDATE }, { 13, HANDSHAKE, CLIENT_HELLO },
      { 12, HANDSHAKE, "\20\0\0\0" } } do
      with(case[1], function(client)
        lib.tlsr_send(client, case[2], case[3], #case[3], 1)
        local _, alert = rest(client)
        assert.equal(UNEXPECTED_MESSAGE, alert)
      end)
    end
    with(13, function(client) -- RFC 8446 section 5
      lib.tlsr_send_raw(client, string.char(CHANGE) .. "\3\3\0\1\1", 6, 1)
      local _, alert = rest(client)
      assert.equal(UNEXPECTED_MESSAGE, alert)
    end)
  end))

  it("of a byte each is ended when it goes on", loop.spec(function()
    local before, from = floods "tiny", #server:log_lines() + 1
    with(13, function(client)
      lib.tlsr_send(client, DATA, POST, #POST, 1)
      for _ = 1, 5 do -- who is never waited for: encrypted first, sent then
        if lib.tlsr_send(client, DATA, "x", 1, 400000) ~= 0 then break end
      end
      expect_end(client, "tiny", before, from)
    end)
  end))

  it("leaves other connections their turn", loop.spec(function()
    with(13, function(client)
      lib.tlsr_send(client, DATA, POST, #POST, 1)
      lib.tlsr_send(client, DATA, "x", 1, 30000) -- below what is looked at
      assert.equal("200", tls.shake(server.ports.https).answer)
      assert.equal(0, lib.tlsr_send(client, DATA, "x", 1, 1))
    end)
  end))

  it("of content is none", loop.spec(function()
    with(12, function(client)
      local request = ("GET / HTTP/1.1\r\nHost: a.test\r\nX: %s\r\n\r\n"):format(("x"):rep(200))
      for _ = 1, 3 do
        for at = 1, #request do assert.equal(0, lib.tlsr_send(client, DATA, request:sub(at, at), 1, 1)) end
        assert.equal("200", answer(client))
      end
    end)
  end))

  it("is no better of a backend", loop.spec(function()
    local answer_of = tls.get(server.ports.https, { path = "/warns" })
    assert.same({ 200, "ok" }, { answer_of.status, answer_of.body })
    local from = #server:log_lines() + 1
    assert.equal(502, tls.get(server.ports.https, { path = "/floods" }).status)
    local _, reason = server:wait_log("backend.tls_failed.* reason=(%S+)", from)
    assert.equal("record_flood:no_content", reason)
  end))

  describe("in a handshake", function()
    local function shake(bytes)
      local before, from = floods "handshake", #server:log_lines() + 1
      local conn = assert(stream.connect(server.ports.https))
      conn:write(bytes)
      local got = conn:read_rest()
      conn:close()
      local _, reason = server:wait_log("tls.handshake_failed.* reason=(%S+)", from)
      return got, reason, floods "handshake" - before
    end

    --- A hello whose first record has the message's head, and all others one byte.
    local function crumbs(message)
      return hello.record(message:sub(1, 4)) .. hello.fragments(message:sub(5), 1)
    end

    it("is ended with an alert: crumbs of a hello", loop.spec(function()
      local message = hello.message { extensions = hello.server_name "a.test" .. hello.extension(21, ("\0"):rep(400)) }
      local got, reason, counted = shake(crumbs(message))
      assert.same({ "\21\3\3\0\2\2\10", "record_flood:handshake", 1 }, { got, reason, counted })
    end))

    it("is ended: change_cipher_spec between hello and Finished", loop.spec(function()
      local _, reason, counted = shake(hello.of_openssl "-tls1_3 -servername a.test" .. ("\20\3\3\0\1\1"):rep(300))
      assert.same({ "record_flood:handshake", 1 }, { reason, counted })
    end))

    it("is none: a hello in a hundred pieces", loop.spec(function()
      local whole = hello.of_openssl "-tls1_3 -servername a.test"
      local message = whole:sub(6)
      local conn = assert(stream.connect(server.ports.https))
      conn:write(hello.fragments(message, math.max(4, math.ceil(#message / 100))))
      assert.equal("\22\3\3", conn:read_exact(3))
      conn:close()
    end))
  end)
end)
