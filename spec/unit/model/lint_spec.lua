--- What is allowed but hardly meant, by code.
require "support.library"
local conf = require "veloflux.conf"
local loop = require "support.loop"
local pki = require "support.pki"
local tempdir = require "support.tempdir"

local HEAD = "data_dir: /nowhere\n"

local function findings(text, env)
  local model, problems = conf.load { source = { text = HEAD .. text, name = "conf.yaml", dir = "/" }, env = env or {} }
  assert.same({}, problems)
  local list = {}
  for i, found in ipairs(model.lint) do
    list[i] = ("%s %s:%s %s"):format(found.code, found.file, tostring(found.line), found.path)
  end
  return list, model
end

describe("linting", function()
  it("is silent when all is well", function()
    assert.same({}, findings [[
pools: [ { name: web, backends: [ { address: "127.0.0.1:1" } ] }, { name: unused } ]
routes: [ { name: r, pool: web } ]
]])
  end)

  it("finds pools that routes lead to in vain", function()
    local list, model = findings [[
pools:
- { name: none }
- name: light
  backends: [ { address: "127.0.0.1:1", weight: 0 } ]
routes:
- { name: a, path: /a, pool: none }
- { name: b, path: /b, pool: light }
]]
    assert.same({ "pool_without_backends conf.yaml:3 pools[0].backends",
      "pool_without_backends conf.yaml:5 pools[1].backends" }, list)
    assert.equal("has no backends, and the route a leads here: requests get 503", model.lint[1].message)
    assert.equal("has no backend with a weight above 0, and the route b leads here: requests get 503",
      model.lint[2].message)
  end)

  it("finds pools that listeners lead to in vain", function()
    local list, model = findings [[
listeners:
- { name: a, address: ":1", mode: tls_passthrough, names: [ { hosts: [ a.test ], pool: none } ] }
- { name: b, address: ":2", mode: tcp, pool: none }
pools:
- { name: none }
]]
    assert.same({ "pool_without_backends conf.yaml:6 pools[0].backends" }, list)
    assert.equal("has no backends, and the listener a leads here: connections are reset", model.lint[1].message)
  end)

  it("finds routes that require certificates which nobody is asked for", loop.spec(function()
    local dir = tempdir.new()
    local site, authority = pki.self_signed(dir, "site"), pki.authority(dir, "authority")
    local text = [[
listeners: [ { name: a, address: ":1"%s } ]
routes:
- { name: a, path: /a, client_certificate: require, respond: { status: 204 } }
- { name: b, path: /b, client_certificate: { ca: CA }, respond: { status: 204 } }
- { name: c, path: /c, client_certificate: { mode: optional, ca: CA }, respond: { status: 204 } }
]]
    text = text:gsub("CA", authority.cert)
    local tls = (", tls: { certificates: [ { cert: %s, key: %s } ]"):format(site.cert, site.key)
    local A, B = "client_certificate_unmet conf.yaml:4 routes[0].client_certificate",
      "client_certificate_unmet conf.yaml:5 routes[1].client_certificate"
    local list, model = findings(text:format "")
    assert.same({ A, B }, list)
    assert.equal("no listener has tls: all requests get 403", model.lint[1].message)
    list, model = findings(text:format(tls .. " }"))
    assert.same({ A }, list)
    assert.equal("no listener has client_auth: all requests get 403", model.lint[1].message)
    assert.same({}, findings(text:format(tls .. ", client_auth: { ca: " .. authority.cert .. " } }")))
  end))

  it("finds methods that look like known ones", function()
    local list, model = findings [[
routes:
- { name: a, path: /a, methods: [ GET, PSOT ], respond: { status: 204 } }
- { name: b, path: /b, methods: [ BREW, PROPFIND ], respond: { status: 204 } }
]]
    assert.same({ "method_misspelt conf.yaml:3 routes[0].methods" }, list)
    assert.equal("PSOT is an extension method here, did you mean POST?", model.lint[1].message)
  end)

  it("finds checks by HTTP/1.1 of backends that speak HTTP/2", function()
    local list = findings [[
pools:
- { name: a, protocol: h2, backends: [ { address: "127.0.0.1:1" } ], health_check: { type: http } }
- { name: b, protocol: h2, backends: [ { address: "127.0.0.1:1" } ], health_check: { type: tcp } }
- { name: c, protocol: h2, backends: [ { address: "127.0.0.1:1" } ] }
- { name: d, protocol: auto, backends: [ { address: "127.0.0.1:1" } ], health_check: { type: http } }
]]
    assert.same({ "http1_check_of_http2 conf.yaml:3 pools[0].health_check" }, list)
  end)

  it("finds secrets that stand in clear, and no references or hashes", function()
    local text = [[
admin: { auth: { password: hunter2-hunter2 } }
master_key: sixteen bytes of it
consumers:
- name: ann
  credentials:
  - { type: key-auth, key: "${ANN}" }
  - { type: key-auth, key: in-clear-here }
  - { type: basic-auth, username: ann, password: "{vault://env/ann}" }
]]
    local list = findings(text, { ANN = "key-of-ann" })
    assert.same({ "plain_secret conf.yaml:2 admin.auth.password", "plain_secret conf.yaml:3 master_key",
      "plain_secret conf.yaml:8 consumers[0].credentials[1].key" }, list)
    assert.same({}, findings("admin: { auth: { password: x } }\n", { API_PASSWORD = "hunter2-hunter2" }))
    assert.same({}, findings('admin: { auth: { password: "${PW:-}" } }\n'))
    local store = "store: { driver: redis, url: '%s' }\nmaster_key: { env: X }\n"
    for _, url in ipairs { "redis://127.0.0.1:6379/0", "redis+cluster://a:1,b:2", "unix:///run/redis.sock?db=1" } do
      assert.same({}, findings(store:format(url)), url)
    end
    assert.same({ "plain_secret conf.yaml:2 store.url" }, findings(store:format "redis://:hunter2@127.0.0.1/0"))
    assert.same({}, findings "plugins: [ { name: http-log, config: { http_endpoint: 'http://logs:9000/' } } ]\n")
    assert.same({ "plain_secret conf.yaml:2 plugins[0].config.http_endpoint" },
      findings "plugins: [ { name: http-log, config: { http_endpoint: 'https://logs/s/T0K3N' } } ]\n")
  end)

  it("finds an admin address that is open to everybody", function()
    assert.same({ "admin_open conf.yaml:2 admin.auth.enabled" },
      findings "admin: { address: 0.0.0.0:8080, insecure: true, auth: { enabled: false } }\n")
    assert.same({}, findings "admin: { address: 127.0.0.1:8080, auth: { enabled: false } }\n")
    assert.same({}, findings "admin: { address: 0.0.0.0:8080 }\n")
    assert.same({}, findings "admin: { address: off, auth: { enabled: false } }\n")
  end)

  it("finds folders of plugins that are not there", function()
    assert.same({ "no_plugin_folder conf.yaml:2 plugin_path[1]", "no_plugin_folder conf.yaml:2 plugin_path[2]" },
      findings "plugin_path: [ /, /nowhere/at/all, /proc/self/status ]\n")
  end)

  it("finds a shared store without a key that is shared", function()
    local store = "store: { driver: redis, url: redis://127.0.0.1:6379/0 }\n"
    assert.truthy(table.concat(findings(store), "\n"):find("shared_store_without_master_key conf.yaml:2 master_key", 1,
      true))
    assert.is_nil(table.concat(findings(store .. "master_key: { env: X }\n"), "\n"):find "shared_store")
  end)
end)
