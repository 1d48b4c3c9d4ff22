--- TLS of connections that plugins make: pdk.http to https URLs and to pools with TLS.
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local pki = require "support.pki"
local ports = require "support.ports"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local redis_servers = require "unit.pdk.redis_server"

local ASK = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 10, VERSION = "1" }
function Plugin:access(conf)
  local options = conf.pool and { pool = conf.pool, path = conf.path } or { ssl_verify = conf.verify,
    ssl_server_name = conf.name, max_redirects = 1 }
  local res, err, code
  if conf.pool then res, err, code = pdk.http.request(options) end
  if conf.url then res, err, code = pdk.http.get(conf.url, options) end
  if conf.redis then
    res, err, code = pdk.redis.new { url = conf.redis, ssl_server_name = conf.name, ssl_verify = conf.verify }:ping()
    return pdk.response.exit(200, { body = res, err = err, code = code })
  end
  if conf.port then
    local sock = assert(pdk.socket.connect("127.0.0.1", conf.port))
    res, err, code = sock:start_tls(conf.name, { verify = conf.verify })
    if not res then return pdk.response.exit(200, { err = err, code = code }) end
    sock:send "GET /hi HTTP/1.1\r\nHost: a\r\n\r\n"
    local length = sock:receive_until("\r\n\r\n"):lower():match "content%-length: (%d+)"
    res = { status = sock:get_reused_times(), body = sock:receive(tonumber(length)) }
    assert(sock:set_keepalive())
  end
  pdk.response.exit(200, { status = res and res.status, body = res and res.body, err = err, code = code })
end
return Plugin
]]
local SCHEMA = [[return { url = { type = "string" }, verify = { type = "boolean", default = true },
  name = { type = "string" }, redis = { type = "string" }, pool = { type = "string" }, path = { type = "string" },
  port = { type = "integer" } }]]

describe("a plugin", function()
  local shared, backend, front, dir = loop.scope()

  setup(shared:spec(function()
    dir = tempdir.new()
    local authority = pki.authority(dir, "authority")
    local site = pki.issue(dir, "site", authority, { names = { "backend.test", "127.0.0.1" } })
    local stranger = pki.self_signed(dir, "stranger", { names = { "127.0.0.1" } })
    backend = servers.start { conf = {
      listeners = { { name = "good", address = "127.0.0.1:0", tls = { certificates = { site } } },
        { name = "stranger", address = "127.0.0.1:0", tls = { certificates = { stranger } } },
        { name = "framed", address = "127.0.0.1:0", proxy_protocol = true, tls = { certificates = { site } } } },
      routes = { { name = "hi", path = "/hi", respond = { status = 200, body = "hello" } },
        { name = "move", path = "/move", redirect = { to = "https://127.0.0.1:$host/hi", status = 302 } } },
    } }
    tempdir.write(dir .. "/plugins/ask/handler.lua", ASK)
    tempdir.write(dir .. "/plugins/ask/schema.lua", SCHEMA)
    local routes = {}
    local function route(name, config)
      routes[#routes + 1] = { name = name, path = "/" .. name, plugins = { { name = "ask", config = config } },
        respond = { status = 200 } }
    end
    local function url(listener) return ("https://127.0.0.1:%d/hi"):format(backend.ports[listener]) end
    route("good", { url = url "good" })
    route("named", { url = url "good", name = "backend.test" })
    route("misnamed", { url = url "good", name = "other.test" })
    route("stranger", { url = url "stranger" })
    route("any", { url = url "stranger", verify = false })
    route("plain", { url = "https://" .. "127.0.0.1:" .. backend.ports.admin .. "/" })
    route("socket", { port = backend.ports.good, name = "backend.test" })
    route("socket_renamed", { port = backend.ports.good, name = "127.0.0.1" })
    route("socket_any", { port = backend.ports.stranger, name = "127.0.0.1", verify = false })
    route("socket_strict", { port = backend.ports.stranger, name = "127.0.0.1" })
    route("pool", { pool = "secure", path = "/hi" })
    local redis = redis_servers.start { args = { "--tls-port", tostring(ports.reserve()), "--tls-cert-file",
      site.cert, "--tls-key-file", site.key, "--tls-ca-cert-file", authority.cert, "--tls-auth-clients", "no" } }
    route("redis", { redis = "rediss://127.0.0.1:" .. redis.args[2] })
    route("misnamed_redis", { redis = "rediss://127.0.0.1:" .. redis.args[2], name = "other.test" })
    route("framed", { pool = "framed", path = "/hi" })
    local function pool(name, port, more)
      local made = { name = name, tls = { ca = authority.cert }, backends = { { address = "127.0.0.1:" .. port } } }
      for key, value in pairs(more or {}) do made[key] = value end
      return made
    end
    front = servers.start { env = { SSL_CERT_FILE = authority.cert }, conf = { plugin_path = { dir .. "/plugins" },
      pools = { pool("secure", backend.ports.good), pool("framed", backend.ports.framed, { proxy_protocol = "v1" }) },
      routes = routes } }
  end))
  teardown(function()
    shared:run(function()
      front:stop()
      backend:stop()
    end)
    shared:close()
  end)

  local function ask(name) return cjson.decode(clients.get(front.ports.http, "/" .. name).body) end

  local function handshakes(listener)
    local text = clients.get(backend.ports.admin, "/metrics").body
    return tonumber(text:match(('veloflux_listener_tls_handshakes_total{listener="%s"} (%%d+)'):format(listener)))
  end

  it("asks https servers, which are verified", loop.spec(function()
    for _, name in ipairs { "good", "named", "any" } do
      assert.same({ status = 200, body = "hello" }, ask(name))
    end
    local before = handshakes "good"
    assert.equal(200, ask("good").status)
    assert.equal(before, handshakes "good") -- on the connection that was kept
  end))

  for name, reason in pairs { misnamed = "bad_certificate:other_name", stranger = "bad_certificate:not_trusted" } do
    it("says why: " .. reason, loop.spec(function()
      local said = ask(name)
      assert.equal("tls", said.code)
      assert.truthy(said.err:find("TLS: " .. reason, 1, true), said.err)
    end))
  end

  it("fails on a server without TLS", loop.spec(function()
    local said = ask "plain"
    assert.is_nil(said.status)
    assert.truthy(said.code == "tls" or said.code == "closed", said.err)
  end))

  it("speaks TLS to Redis", loop.spec(function()
    assert.same({ body = "PONG" }, ask "redis")
    local said = ask "misnamed_redis"
    assert.same({ "tls", true }, { said.code, said.err:find("bad_certificate:other_name", 1, true) ~= nil })
  end))

  it("speaks TLS on sockets, which are kept for those who ask the same of it", loop.spec(function()
    assert.same({ status = 0, body = "hello" }, ask "socket")
    assert.same({ status = 1, body = "hello" }, ask "socket")
    assert.same({ code = "tls", err = "the connection has TLS with backend.test already" }, ask "socket_renamed")
    local said = ask "socket_strict"
    assert.same({ "tls", true }, { said.code, said.err:find("bad_certificate:not_trusted", 1, true) ~= nil })
    assert.same({ status = 0, body = "hello" }, ask "socket_any")
    assert.same({ status = 1, body = "hello" }, ask "socket_any")
    assert.same({ code = "tls", err = "the connection has TLS with 127.0.0.1 already, not verified" },
      ask "socket_strict")
  end))

  it("asks pools with TLS as requests do, and shares their connections", loop.spec(function()
    assert.same({ status = 200, body = "hello" }, ask "pool")
    assert.same({ status = 200, body = "hello" }, ask "pool")
    assert.same({ status = 200, body = "hello" }, ask "framed")
  end))
end)
