--- What the conf loader says of certificates, keys and authorities: which file, and what is wrong with it.
require "support.library" -- C symbols first
local conf = require "veloflux.conf"
local loop = require "support.loop"
local pki = require "support.pki"
local tempdir = require "support.tempdir"
local uv = require "luv"

local PRIVATE, PUBLIC = tonumber("600", 8), tonumber("644", 8)

describe("a certificate in a conf file", function()
  local shared = loop.scope()
  local dir, site, authority, issued
  setup(shared:spec(function()
    dir = tempdir.new()
    site = pki.self_signed(dir, "site")
    pki.self_signed(dir, "other", { key = "rsa" })
    authority = pki.authority(dir, "authority")
    issued = pki.issue(dir, "issued", authority)
  end))
  teardown(function()
    shared:run(function() end)
    shared:close()
  end)

  local function load(text)
    local model, problems = conf.load { source = { text = text, name = "conf.yaml", dir = dir }, env = {} }
    local lines = {}
    for i, problem in ipairs(problems) do lines[i] = conf.format(problem):gsub((dir:gsub("%-", "%%-")), "DIR") end
    return model, lines
  end

  local function pair(cert, key) return ("certificates: [ { name: c, cert: %s, key: %s } ]\n"):format(cert, key) end

  local function refuses(field, message, cert, key)
    local model, lines = load(pair(cert, key))
    assert.is_nil(model)
    assert.same({ ("conf.yaml:1: certificates[0].%s: %s"):format(field, message) }, lines)
  end

  local function written(name, text, mode)
    tempdir.write(dir .. "/" .. name, text)
    assert(uv.fs_chmod(dir .. "/" .. name, mode or PRIVATE))
    return name
  end

  it("is a file, relative to the conf file, or PEM text", function()
    local model = load(pair("site.crt", "site.key"))
    assert.equal(pki.read(site.cert), model.certificates[1].cert)
    local inline = ("certificates:\n- name: c\n  cert: %q\n  key: %q\n"):format(pki.read(site.cert), pki.read(site.key))
    assert.same({}, select(2, load((inline:gsub("\\\n", "\\n")))))
  end)

  it("is refused when its files are none", function()
    refuses("cert", "DIR/none.crt: No such file or directory", "none.crt", "site.key")
    refuses("cert", "DIR: is a folder", ".", "site.key")
    assert.equal(0, os.execute("mkfifo " .. dir .. "/pipe")) -- nobody writes to it: who reads it waits for ever
    refuses("cert", "DIR/pipe: not a file", "pipe", "site.key")
    refuses("key", "DIR/pipe: not a file", "site.crt", '"{file:pipe}"')
    refuses("cert", "/dev/zero: not a file", "/dev/zero", "site.key")
    local bare = pki.read(site.key):gsub("%-%-%-%-%-.-%-%-%-%-%-", ""):gsub("%s", "") -- whoever reads it has the key
    refuses("key", "expected a file, or PEM text (-----BEGIN ...)", "site.crt", bare)
    refuses("key", "DIR/empty.key: is empty", "site.crt", written("empty.key", ""))
    refuses("cert", "expected a file, or PEM text (-----BEGIN ...)", '"a\\nb"', "site.key")
  end)

  it("is refused when others may read the key", function()
    refuses("key", "DIR/open.key: others may read this key (permissions 0644): chmod 600 it", "site.crt",
      written("open.key", pki.read(site.key), PUBLIC))
  end)

  it("is refused when it is something else", function()
    refuses("cert", "DIR/site.key: holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", "site.key", "site.key")
    refuses("key", "DIR/other.text: holds no private key in PEM (-----BEGIN PRIVATE KEY-----)", "site.crt",
      written("other.text", "hello"))
    refuses("cert", "DIR/bad.crt: holds a certificate that is damaged or of an unknown kind",
      written("bad.crt", (pki.read(site.cert):gsub("MII", "AAA", 1))), "site.key")
    refuses("key", "DIR/bad.key: is damaged, or no RSA or EC key", "site.crt",
      written("bad.key", (pki.read(site.key):gsub("M[%w+/][%w+/]", "AAA", 1))))
  end)

  it("is refused when the key is encrypted or weak", loop.spec(function()
    local process = require "support.process"
    process.run("/usr/bin/openssl", { "pkcs8", "-topk8", "-in", site.key, "-out", dir .. "/locked.key", "-passout",
      "pass:secret" })
    process.run("/usr/bin/openssl", { "ec", "-in", site.key, "-out", dir .. "/old.key", "-aes128", "-passout",
      "pass:secret" })
    for _, name in ipairs { "locked.key", "old.key" } do
      assert(uv.fs_chmod(dir .. "/" .. name, PRIVATE))
      refuses("key", ("DIR/%s: is encrypted: a key without a passphrase is needed"):format(name), "site.crt", name)
    end
    pki.self_signed(dir, "weak", { key = "rsa-1024" })
    refuses("key", "DIR/weak.key: is an RSA key of fewer than 2048 bits: too weak", "weak.crt", "weak.key")
  end))

  it("is refused when key and certificate do not fit", function()
    refuses("key", "DIR/other.key: does not belong to the certificate", "site.crt", "other.key")
  end)

  it("is refused when the chain is in the wrong order", function()
    pki.bundle(dir .. "/chain.crt", issued.cert, authority.cert)
    pki.bundle(dir .. "/turned.crt", authority.cert, issued.cert)
    pki.bundle(dir .. "/broken.crt", issued.cert, site.cert)
    assert.same({}, select(2, load(pair("chain.crt", "issued.key"))))
    refuses("cert", "DIR/turned.crt: holds the certificate of the key as number 2: it must come first, then that of "
      .. "its issuer", "turned.crt", "issued.key")
    refuses("cert", "DIR/broken.crt: is in the wrong order: certificate 1 was not issued by certificate 2; each one's "
      .. "issuer comes next", "broken.crt", "issued.key")
  end)

  it("may have expired, or end soon: a warning", loop.spec(function()
    pki.issue(dir, "old", authority, { days = -1 })
    pki.issue(dir, "soon", authority, { days = 3 })
    local model, lines = load [[
certificates:
  - { name: old, cert: old.crt, key: old.key }
listeners:
  - { name: a, address: ":1", tls: { certificates: [ { cert: soon.crt, key: soon.key } ] } }
]]
    assert.same({}, lines)
    local codes = {}
    for i, warning in ipairs(model.warnings) do codes[i] = warning.code .. " " .. warning.path end
    table.sort(codes)
    assert.same({ "certificate_expired certificates[0].cert",
      "certificate_expires listeners[0].tls.certificates[0]" }, codes)
  end))

  it("of a tenant that it names no host of is a warning", loop.spec(function()
    pki.self_signed(dir, "wild", { names = { "*.w.test" } })
    local model, lines = load [[
tenants: [ { name: t, hosts: [ a.w.test ] }, { name: u, hosts: [ b.test ] } ]
certificates:
  - { name: c, tenant: t, cert: wild.crt, key: wild.key }
  - { name: c, tenant: u, cert: wild.crt, key: wild.key }
]]
    assert.same({}, lines)
    assert.same({ "certificate_unused", "certificates[1].tenant", "none of its names is a host of the tenant u: it is "
      .. "never shown" }, { model.warnings[1].code, model.warnings[1].path, model.warnings[1].message })
    assert.is_nil(model.warnings[2])
  end))

  it("has authorities for clients", function()
    local function auth(rest)
      return ("listeners: [ { name: a, address: ':1', tls: { client_auth: { %s } } } ]\n"):format(rest)
    end
    assert.same({}, select(2, load(auth "ca: authority.crt")))
    assert.same({ "conf.yaml:1: listeners[0].tls.client_auth.ca: holds no certificate in PEM "
      .. "(-----BEGIN CERTIFICATE-----)" }, select(2, load(auth "ca: site.key")))
    assert.same({ "conf.yaml:1: listeners[0].tls.client_auth.crl: holds no revocation list in PEM "
      .. "(-----BEGIN X509 CRL-----)" }, select(2, load(auth "ca: authority.crt, crl: site.crt")))
    assert.same({ "conf.yaml:1: listeners[0].tls.client_auth.ca: required: a file, or PEM text" },
      select(2, load(auth "")))
  end)

  it("has authorities for clients of one route", function()
    local function route(wanted)
      return ("routes: [ { name: a, respond: { status: 204 }, client_certificate: %s } ]\n"):format(wanted)
    end
    local function says(message, wanted)
      assert.same({ "conf.yaml:1: routes[0].client_certificate" .. message }, select(2, load(route(wanted))))
    end
    local model = load(route "{ ca: authority.crt }")
    local made = model.routes[1].client_certificate
    assert.same({ "require", 3, false }, { made.mode, made.depth, made.forward })
    assert.equal(pki.read(authority.cert), made.ca)
    model = load(route(('{ mode: optional, ca: "%s" }'):format(pki.read(authority.cert):gsub("\n", "\\n"))))
    assert.equal("optional", model.routes[1].client_certificate.mode)
    for _, word in ipairs { "require", "optional" } do
      assert.equal(word, load(route(word)).routes[1].client_certificate)
    end
    says(".ca: required: a file, or PEM text", "{ mode: require }")
    says(".ca: holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", "{ ca: site.key }")
    says(".ca: DIR/nowhere.crt: No such file or directory", "{ ca: nowhere.crt }")
    says(".crl: holds no revocation list in PEM (-----BEGIN X509 CRL-----)", "{ ca: authority.crt, crl: site.crt }")
    says(".depth: expected an integer between 0 and 8, got 9", "{ ca: authority.crt, depth: 9 }")
    says(".cas: unknown key, did you mean ca?", "{ ca: authority.crt, cas: x }")
    says(': expected one of optional or require, got "sometimes"', "sometimes")
    says(": expected optional, require, or a map with ca, got a list", "[ require ]")
  end)

  it("is named in messages by its file, and never shown by its key", function()
    local model = load(pair("site.crt", "site.key"))
    local text = require("veloflux.last_model").encode(model, function() return "sealed" end)
    assert.truthy(text:find('"cert":"' .. dir .. '/site.crt"', 1, true))
    assert.truthy(text:find('"key":"' .. dir .. '/site.key"', 1, true))
    assert.is_nil(text:find "PRIVATE")
  end)

  it("finds what is known of it", function()
    local facts = require("veloflux.model.kinds.certificate").facts(load(pair("site.crt", "site.key")).certificates[1])
    assert.same({ "site.test" }, facts.names)
    assert.same({ "CN=site", "CN=site", "EC", 256, 64, true }, { facts.subject, facts.issuer, facts.key_kind,
      facts.key_bits, #facts.fingerprint, facts.is_self_signed })
    assert.truthy(facts.not_before <= os.time() and facts.not_after > os.time() + 29 * 24 * 3600)
  end)
end)
