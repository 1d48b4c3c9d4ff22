--- The phase `certificate`: plugins that run between a ClientHello and the rest of the handshake.
local cjson = require "cjson"
local clients = require "support.client"
local hello = require "support.hello"
local loop = require "support.loop"
local pki = require "support.pki"
local plugins = require "support.plugins"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local tls = require "support.tls"

local FAILED = "tls.handshake_failed.*listener=%s.* name=(%%S*) reason=(%%S+)"

local EARLY = [[
function Plugin:certificate()
  local tls = pdk.client.tls
  local name = tls.get_info().server_name or "none"
  pdk.ctx.shared.name = name
  assert(type(pdk.request.get_port()) == "number")
  pdk.log.notice("hello of ", name, " from ", pdk.client.get_ip(), " ", pdk.client.get_port() > 0,
    " verify ", tls.get_client_verify(), " chain ", tls.get_full_client_certificate_chain())
  if name == "wait.test" then pdk.timer.sleep(86400) end
  pdk.timer.sleep(0.01)
  if pdk.ctx.shared.name ~= name then error "another's context" end
  if name == "ask.test" then assert(tls.request_client_certificate()) end
  if name == "fresh.test" then assert(tls.disable_session_reuse()) end
  if name == "path.test" then pdk.request.get_path() end
  if name == "raise.test" then error "not this one" end
end
function Plugin:access()
  local tls = pdk.client.tls
  local _, late = pcall(tls.request_client_certificate)
  pdk.response.exit(200, { verify = tls.get_client_verify(), chain = tls.get_full_client_certificate_chain(),
    name = tls.get_info().server_name, late = late, shared = pdk.ctx.shared.name })
end
function Plugin:log() pdk.log.notice("logged ", pdk.request.get_path()) end
]]
local LAX = [[
function Plugin:certificate()
  if pdk.client.tls.get_info().server_name == "lax.test" then error "never mind" end
end
]]
local AT_ONCE = [[
function Plugin:certificate() pdk.log.notice("at once") end
]]

describe("plugins in the phase certificate", function()
  local shared, server, dir, conf = loop.scope()
  local client_cert
  setup(shared:spec(function()
    dir = tempdir.new()
    local site = pki.self_signed(dir, "site", { names = { "a.test" } })
    local authority = pki.authority(dir, "authority")
    client_cert = pki.issue(dir, "client", authority)
    local function listener(name, more)
      more.certificates = { site }
      return { name = name, address = "127.0.0.1:0", tls = more }
    end
    local framed = listener("framed", {})
    framed.proxy_protocol = true
    conf = {
      plugin_path = { plugins.write { early = { handler = EARLY }, lax = { handler = LAX },
        quick = { handler = AT_ONCE } } },
      listeners = { listener("https", {}), listener("slow", { handshake_timeout = "1s" }), framed,
        listener("required", { client_auth = { mode = "require", ca = authority.cert } }) },
      plugins = { { name = "early" }, { name = "lax", on_error = "continue" } },
      routes = { { name = "all", path_prefix = "/", respond = { status = 200, body = "plain" } } },
    }
    server = servers.start { conf = conf }
  end))
  teardown(function()
    shared:run(function() server:stop() end)
    shared:close()
  end)

  local function shake(name, options)
    options = options or {}
    options.name = name
    return tls.shake(server.ports[options.listener or "https"], options)
  end
  local function told(result)
    return cjson.decode(result.output:match '({"[^\n]*})' or error("no answer:\n" .. result.output, 2))
  end
  local function with_cert(version)
    return { version, "-cert", client_cert.cert, "-key", client_cert.key }
  end

  it("know the name and the client, and may wait", loop.spec(function()
    for _, version in ipairs { "-tls1_2", "-tls1_3" } do
      local from = #server:log_lines() + 1
      local said = told(shake("A.Test", { args = { version } }))
      assert.same({ verify = "NONE", name = "a.test", late = "client.tls.request_client_certificate cannot be called "
        .. "in the access phase, only in: certificate" }, said)
      server:wait_log("hello of a%.test from 127%.0%.0%.1 true verify NONE chain nil", from)
    end
    local from = #server:log_lines() + 1
    assert.is_nil(told(shake(false)).name)
    server:wait_log("hello of none from", from)
  end))

  it("ask for certificates, which nobody has to have", loop.spec(function()
    for _, version in ipairs { "-tls1_2", "-tls1_3" } do
      local said = told(shake("ask.test", { args = with_cert(version) }))
      assert.same({ "FAILED:not_trusted", pki.read(client_cert.cert) }, { said.verify, said.chain })
      assert.equal("NONE", told(shake("ask.test", { args = { version } })).verify)
      assert.equal("NONE", told(shake("other.test", { args = with_cert(version) })).verify)
    end
  end))

  it("leave it to client_auth where the listener has that", loop.spec(function()
    assert.equal("SUCCESS", told(shake("ask.test", { listener = "required", args = with_cert "-tls1_3" })).verify)
    assert.is_nil(shake("ask.test", { listener = "required" }).answer)
  end))

  it("keep sessions from being resumed", loop.spec(function()
    for _, version in ipairs { "-tls1_2", "-tls1_3" } do
      local session = dir .. "/session" .. version
      assert.is_false(shake("a.test", { args = { version }, session_out = session }).is_resumed)
      assert.is_true(shake("a.test", { args = { version }, session_in = session }).is_resumed)
      for _, name in ipairs { "fresh.test", "ask.test" } do
        local result = shake(name, { args = { version }, session_in = session })
        assert.same({ false, name }, { result.is_resumed, told(result).name })
      end
    end
  end))

  it("end the handshake when they raise", loop.spec(function()
    for _, name in ipairs { "raise.test", "path.test" } do
      local from = #server:log_lines() + 1
      local result = shake(name)
      assert.same({ 80 }, { result.alert, result.answer }) -- internal_error
      server:wait_log("plugin.failed.* plugin=early.* phase=certificate", from)
      local _, told_name, reason = server:wait_log(FAILED:format "https", from)
      assert.same({ name, "plugin_error" }, { told_name, reason })
    end
  end))

  it("are passed over then with on_error: continue", loop.spec(function()
    local from = #server:log_lines() + 1
    assert.equal("lax.test", told(shake "lax.test").name)
    server:wait_log("plugin.failed.* plugin=lax.* phase=certificate", from)
  end))

  it("see clients that go away, and handshakes that take too long", loop.spec(function()
    local bytes = hello.of_openssl "-servername wait.test"
    for expected, listener in pairs { cut = "https", reset = "https", timeout = "slow" } do
      local from = #server:log_lines() + 1
      local client = clients.connect(server.ports[listener])
      client:send(bytes)
      server:wait_log("hello of wait%.test", from)
      if expected == "reset" then client:reset() end
      if expected == "timeout" then assert.equal("", client.stream:read_rest()) end
      client:close()
      local _, name, reason = server:wait_log(FAILED:format(listener), from)
      assert.same({ "wait.test", expected }, { name, reason })
    end
  end))

  it("come behind the PROXY header, however the bytes come", loop.spec(function()
    local bytes = "PROXY TCP4 192.0.2.7 192.0.2.1 40000 443\r\n" .. hello.of_openssl "-servername a.test"
    for _, size in ipairs { 1, 100, #bytes } do
      local from = #server:log_lines() + 1
      local client = clients.connect(server.ports.framed)
      for at = 1, #bytes, size do client:send(bytes:sub(at, at + size - 1)) end
      assert.equal("\22\3\3", client.stream:read_exact(3))
      server:wait_log("hello of a%.test from 192%.0%.2%.7", from)
      client:close()
    end
  end))

  it("do not run for what is no hello", loop.spec(function()
    for text, expected in pairs { ["GET / HTTP/1.1\r\nHost: a\r\n\r\n"] = "not_tls",
      [hello.record "\2\0\0\1x"] = "unexpected_message", [hello.record "\1\0\0\1x"] = "decode_error",
      ["\22\3\1"] = "cut" } do
      local from = #server:log_lines() + 1
      local client = clients.connect(server.ports.https)
      client:send(text)
      client:shutdown()
      client.stream:read_rest()
      client:close()
      local _, name, reason = server:wait_log(FAILED:format "https", from)
      assert.same({ '""', expected }, { name, reason })
      for i = from, #server:log_lines() do assert.is_nil(server:log_lines()[i]:find("hello of", 1, true)) end
    end
  end))

  it("are no requests, and cost nothing once they are gone", loop.spec(function()
    local one = servers.start { conf = conf }
    local from, port = #one:log_lines() + 1, one.ports.https
    assert.is_nil(tls.shake(port, { name = "raise.test" }).answer)
    assert.equal("200", tls.shake(port, { path = "/counted" }).answer)
    one:wait_log("logged /counted", from)
    assert.equal(1, #one:wait_access_log(1))
    local text = clients.get(one.ports.admin, "/metrics").body
    assert.truthy(text:find('veloflux_listener_requests_total{listener="https"} 1\n', 1, true), text)
    local changed = {}
    for key, value in pairs(conf) do changed[key] = value end
    changed.plugins = { { name = "quick" } } -- which does not wait
    one:write_conf(changed)
    assert.is_true(one:reload())
    assert.equal("200", tls.shake(port).answer)
    one:wait_log "at once"
    changed.plugins = nil
    one:write_conf(changed)
    assert.is_true(one:reload())
    from = #one:log_lines() + 1
    assert.equal("200", tls.shake(port).answer)
    one:stop()
    for i = from, #one:log_lines() do
      assert.is_nil(one:log_lines()[i]:find("hello of", 1, true) or one:log_lines()[i]:find("at once", 1, true))
    end
  end))
end)
