--- What plugins see of the configuration and of the state of backends, in two tenants, over reloads.
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local scripted = require "support.scripted"

local function conf(origin, closed)
  local script = { { name = "script" } }
  return {
    tenants = { { name = "acme", hosts = { "acme.example.com" } }, { name = "other", hosts = { "other.test" } } },
    consumers = { { name = "ana", custom_id = "7", groups = { "gold" } }, { name = "bob", tenant = "acme" } },
    pools = {
      { name = "web", shared = true, algorithm = "least_conn", sticky_sessions = true,
        backends = { { address = origin.address, weight = 3 }, { address = closed, weight = 0 } } },
      { name = "web", tenant = "other", backends = { { address = closed } } },
      { name = "own", tenant = "acme", backends = { { address = origin.address } } },
    },
    plugins = { { name = "global", enabled = true } },
    routes = {
      { name = "script", path_prefix = "/script", priority = 9, respond = { body = "x" }, plugins = script },
      { name = "site", path_prefix = "/", pool = "web", methods = { "GET", "POST", "X-COPY" }, priority = 5 },
      { name = "moved", path = "/old", redirect = { to = "/new", status = 301 } },
      { name = "pattern", path_regex = "^/v(\\d+)", host = "a.example.com", pool = "web" },
      { name = "script", tenant = "acme", host = "acme.example.com", path_prefix = "/script",
        respond = { body = "x" }, plugins = script },
      { name = "site", tenant = "acme", host = "acme.example.com", path_prefix = "/", pool = "web" },
    },
  }
end

-- Runs a script in a request to the tenant's host.
local function run(server, host, script)
  local response = clients.request(server.ports.http, "POST", "/script", { Host = host }, script)
  local list = require("cjson").decode(response.body)
  if list[1] ~= true then error(tostring(list[2]), 2) end
  return unpack(list, 2)
end

describe("pdk.model", function()
  local scope = loop.scope()
  local server, origin, closed

  setup(scope:spec(function()
    origin = origins.start()
    closed = "127.0.0.1:1"
    server = scripted.start { conf = conf(origin, closed),
      files = { ["plugins/global/handler.lua"] = "return { PRIORITY = 7, access = function() end }",
        ["plugins/global/schema.lua"] = "return {}" } }
  end))

  teardown(require("support.rig").closer(scope, function() return server end))

  it("shows routes", scope:spec(function()
    assert.same({ name = "site", tenant = "default", hosts = { "*" }, methods = { "GET", "POST", "X-COPY" }, path = "/",
      path_kind = "prefix", priority = 5, action = "pool", pool = "web", strip_prefix = false,
      plugins = { { name = "global", as = "global" } } }, run(server, "x", [[ return pdk.model.route "site" ]]))
    local moved = run(server, "x", [[ return pdk.model.route "moved" ]])
    assert.same({ "redirect", 301, "/new", "exact" }, { moved.action, moved.status, moved.location,
      moved.path_kind })
    local pattern = run(server, "x", [[ return pdk.model.route "pattern" ]])
    assert.same({ "regex", "^/v(\\d+)", { "a.example.com" } }, { pattern.path_kind, pattern.path, pattern.hosts })
    assert.same({ true }, { run(server, "x", [[ return pdk.model.route "none" == nil ]]) })
    assert.equal(2, #run(server, "x", [[ return pdk.model.route("script").plugins ]]))
  end))

  it("shows pools as they are now", scope:spec(function()
    local pool = run(server, "x", [[ return pdk.model.pool "web" ]])
    assert.same({ "default", "least_conn", true, 2 }, { pool.tenant, pool.algorithm, pool.is_sticky, #pool.backends })
    local first, second = unpack(pool.backends)
    assert.same({ origin.address, 3, 3, "unknown", "active", true }, { first.address, first.weight,
      first.configured_weight, first.health, first.state, first.is_usable })
    assert.same({ closed, 0 }, { second.address, second.weight })
    local before = #origin.requests
    assert.equal(200, clients.get(server.ports.http, "/").status)
    assert.equal(before + 1, #origin.requests)
    local after = run(server, "x", [[ return pdk.model.pool("web").backends[1] ]])
    assert.equal(0, after.in_flight)
    assert.is_true(after.latency > 0)
  end))

  it("keeps tenants apart", scope:spec(function()
    local acme = "acme.example.com"
    assert.equal("own", run(server, acme, [[ return pdk.model.pool("own").name ]]))
    assert.equal("default", run(server, acme, [[ return pdk.model.pool("web").tenant ]])) -- its route forwards there
    assert.equal("acme", run(server, acme, [[ return pdk.model.route("site").tenant ]]))
    assert.is_true(run(server, acme, [[ return pdk.model.route "moved" == nil ]]))
    assert.is_true(run(server, acme, [[ return pdk.model.consumer "ana" == nil ]]))
    assert.equal("bob", run(server, acme, [[ return pdk.model.consumer("bob").username ]]))
    assert.is_true(run(server, "x", [[ return pdk.model.pool "own" == nil ]]))
    local ok, message = pcall(run, server, acme, [[ return pdk.model.pool("web", "default") ]])
    assert.is_false(ok)
    assert.is_truthy(message:find("model.pool: in a request the tenant is that of its route", 1, true), message)
  end))

  it("shows consumers and plugins, as copies", scope:spec(function()
    assert.same({ id = "ana", username = "ana", name = "ana", custom_id = "7", groups = { "gold" },
      tenant = "default" }, run(server, "x", [[ return pdk.model.consumer "ana" ]]))
    assert.equal("gold", run(server, "x", [[
      pdk.model.consumer("ana").groups[1] = "changed"
      return pdk.model.consumer("ana").groups[1]
    ]]))
    local names = {}
    for _, plugin in ipairs(run(server, "x", [[ return pdk.model.plugins() ]])) do
      names[#names + 1] = plugin.name .. " " .. plugin.scope .. " " .. plugin.priority
    end
    table.sort(names)
    assert.same({ "global global 7", "script route 1000" }, names)
  end))

  it("serves timers, which name the tenant", scope:spec(function()
    run(server, "x", [[
      pdk.timer.after(0, function()
        local own, shared = pdk.model.pool("own", "acme"), pdk.model.pool "web"
        pdk.shared:set("seen", own.name .. " " .. shared.tenant .. " " .. tostring(pdk.model.route("x", "none")))
      end)
    ]])
    require("support.children").eventually("the timer", function()
      return run(server, "x", [[ return pdk.shared:get "seen" or false ]]) == "own default nil"
    end)
  end))

  it("follows reloads", scope:spec(function()
    local new = conf(origin, closed)
    new.pools[1].backends[1].weight = 9
    table.remove(new.routes, 3)
    new.plugin_path = { "plugins" }
    assert.equal(3, run(server, "x", [[ return pdk.model.pool("web").backends[1].configured_weight ]]))
    server:write_conf(new)
    local ok, said = server:reload()
    assert.is_true(ok, said)
    assert.equal(9, run(server, "x", [[ return pdk.model.pool("web").backends[1].configured_weight ]]))
    assert.is_true(run(server, "x", [[ return pdk.model.route "moved" == nil ]]))
  end))
end)
