--- GnuTLS's client, gnutls-cli: versions, verification, protocols, resumption, certificates of clients.
local loop = require "support.loop"
local pki = require "support.pki"
local process = require "support.process"
local rig = require "support.rig"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local HANDSHAKE_FAILED = "tls.handshake_failed.* reason=(%S+)"
local ROUTES = { { name = "hi", path_prefix = "/", respond = { status = 200, body = "hello" } } }
local REQUEST = 'printf "GET / HTTP/1.1\\r\\nHost: a.test\\r\\nConnection: close\\r\\n\\r\\n"'
local VERSIONS = { ["TLS1.3"] = "NORMAL:-VERS-ALL:+VERS-TLS1.3", ["TLS1.2"] = "NORMAL:-VERS-ALL:+VERS-TLS1.2" }

describe("GnuTLS's client", function()
  local shared, server, dir = loop.scope()
  local authority, good, revoked, stranger
  setup(shared:spec(function()
    dir = tempdir.new()
    authority = pki.authority(dir, "authority")
    local site = pki.issue(dir, "site", authority, { names = { "a.test" } })
    local rsa = pki.issue(dir, "rsa", authority, { names = { "a.test" }, key = "rsa" })
    good, revoked = pki.issue(dir, "good", authority), pki.issue(dir, "revoked", authority)
    stranger = pki.issue(dir, "stranger", pki.authority(dir, "other"))
    local crl = pki.revoke(authority, revoked)
    local function listener(name, auth)
      return { name = name, address = "127.0.0.1:0", tls = { certificates = { site, rsa }, client_auth = auth } }
    end
    server = servers.start { conf = { workers = 2, routes = ROUTES, listeners = { listener "https",
      listener("mutual", { mode = "require", ca = authority.cert, crl = crl }) } } }
  end))
  teardown(rig.closer(shared, function() return server end))

  --- Shakes hands, asks, and reads to the end.
  -- @param options table: version or priority, args (list), ca (path; nil: our authority), name, input (shell)
  -- @return exit code, what it printed
  local function shake(listener, options)
    local words = { "gnutls-cli", "--port", tostring(server.ports[listener]), "--x509cafile",
      options.ca or authority.cert, "--sni-hostname", "a.test", "--verify-hostname", options.name or "a.test",
      "--priority", options.priority or VERSIONS[options.version or "TLS1.3"] }
    for _, arg in ipairs(options.args or {}) do words[#words + 1] = arg end
    words[#words + 1] = "127.0.0.1"
    local script = ("%s | %s 2>&1"):format(options.input or REQUEST, table.concat(words, " "))
    local code, out = process.run("/bin/sh", { "-c", script })
    return code, out
  end

  local function is_answered(out) return out:find("HTTP/1.1 200 OK", 1, true) ~= nil end

  --- What it says of the session, such as "(TLS1.3-X.509)-(ECDHE-SECP256R1)-(ECDSA-SECP256R1-SHA256)-(AES-128-GCM)".
  local function description(out) return out:match "Description: ([^\n]+)" or out end

  for version in pairs(VERSIONS) do
    it("verifies us, by " .. version, loop.spec(function()
      local code, out = shake("https", { version = version })
      assert.same({ 0, true }, { code, is_answered(out) }, out)
      assert.equal(version, description(out):match "^%((TLS[%d.]+)")
      assert.is_truthy(out:find("The certificate is trusted", 1, true))
    end))

    it("is told what it does not trust, by " .. version, loop.spec(function()
      for _, case in ipairs { { ca = stranger.cert }, { name = "b.test" } } do
        case.version = version
        local from = #server:log_lines() + 1
        local code, out = shake("https", case)
        assert.same({ 1, false }, { code, is_answered(out) }, out)
        if version == "TLS1.2" then server:wait_log(HANDSHAKE_FAILED, from) end
      end
    end))

    it("agrees on a protocol, by " .. version, loop.spec(function()
      for offered, agreed in pairs { ["http/1.1"] = "http/1.1", ["spdy/3,http/1.1"] = "http/1.1",
        ["h2,http/1.1"] = "h2" } do
        local args = {}
        for name in offered:gmatch "[^,]+" do args[#args + 1] = "--alpn=" .. name end
        local _, out = shake("https", { version = version, args = args })
        assert.equal(agreed, out:match "Application protocol: (%S+)", out)
      end
      local code, out = shake("https", { version = version, args = { "--alpn=spdy/3" } })
      assert.equal(1, code)
      assert.is_truthy(out:find("Received alert [120]", 1, true), out)
    end))

    it("resumes its session, by " .. version, loop.spec(function()
      local code, out = shake("https", { version = version, args = { "--resume", "--waitresumption" } })
      assert.same({ 0, true }, { code, is_answered(out) }, out)
      assert.is_truthy(out:find("This is a resumed session", 1, true), out)
    end))

    it("shows a certificate, by " .. version, loop.spec(function()
      local function show(certificate)
        return shake("mutual", { version = version, args = certificate and { "--x509certfile", certificate.cert,
          "--x509keyfile", certificate.key } })
      end
      local code, out = show(good)
      assert.same({ 0, true }, { code, is_answered(out) }, out)
      for reason, certificate in pairs { ["bad_certificate:revoked"] = revoked,
        ["bad_certificate:not_trusted"] = stranger, no_client_certificate = false } do
        local from = #server:log_lines() + 1
        assert.is_false(is_answered(select(2, show(certificate))))
        local _, seen = server:wait_log(HANDSHAKE_FAILED, from)
        assert.equal(reason, seen)
      end
    end))
  end

  it("chooses groups, suites and signatures", loop.spec(function()
    for priority, expected in pairs {
      ["NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-X25519"] = "ECDHE%-X25519",
      ["NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-SECP384R1"] = "ECDHE%-SECP384R1",
      ["NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305"] = "CHACHA20%-POLY1305",
      ["NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-256-GCM"] = "AES%-256%-GCM",
      ["NORMAL:-VERS-ALL:+VERS-TLS1.3:-SIGN-ALL:+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-ECDSA-SHA256"] = "TLS1.3",
      ["NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ECDHE-RSA"] = "RSA",
    } do
      local code, out = shake("https", { priority = priority })
      assert.same({ 0, true }, { code, is_answered(out) }, out)
      assert.matches(expected, description(out))
    end
  end))

  it("cannot have TLS 1.1, nor keys without forward secrecy", loop.spec(function()
    for priority, reason in pairs { ["NORMAL:-VERS-ALL:+VERS-TLS1.1"] = "protocol_version",
      ["NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA"] = "handshake_failure" } do
      local from = #server:log_lines() + 1
      local code, out = shake("https", { priority = priority })
      assert.same({ 1, false }, { code, is_answered(out) }, out)
      local _, seen = server:wait_log(HANDSHAKE_FAILED, from)
      assert.equal(reason, seen)
    end
  end))
end)
