--- Plugins and consumers in conf files: from text to resolved chains.
local fixture = require "unit.conf.fixture"
local plugins = require "unit.plugin.fixture"
local conf = require "veloflux.conf"
local last_model = require "veloflux.last_model"
local model_kinds = require "veloflux.model"
local origins = require "veloflux.plugin.origins"

local FILES = {
  auth = { handler = plugins.handler(1000), entities = [[return { credential = { id = "key", hashed = true,
    fields = { key = { type = "string", required = true, secret = true }, ttl = { type = "duration" } } } }]],
    schema = [[return { name = "auth", fields = { { consumer = require("kong.db.schema.typedefs").no_consumer },
      { config = { type = "record", fields = {} } } } }]] },
  limit = { handler = plugins.handler(900), schema = [[return {
    per_second = { type = "integer", required = true, between = { 1, 100 } },
    by = { type = "string", one_of = { "ip", "header" }, default = "ip" },
    token = { type = "string", secret = true },
    groups = { type = "map", values = { type = "integer" }, merge = "deep" },
    names = { type = "set", elements = { type = "string" }, default = { "d" }, merge = "append", len_max = 3 },
  }]] },
  paint = { handler = plugins.handler(900) },
  late = { handler = plugins.handler(-5, "log") },
  cert = { handler = plugins.handler(0, "certificate") },
}

describe("plugins in a conf file", function()
  local path

  before_each(function() path = plugins.write(FILES) end)
  after_each(plugins.clean)

  local function with_path(text) return "plugin_path: [" .. path .. "]\n" .. text end

  local function load(text, env) return assert(fixture.model(with_path(text), env)) end

  local function problems(text) return fixture.problems(with_path(text)) end

  local function names_of(items)
    local names = {}
    for i, item in ipairs(items or {}) do names[i] = item.as end
    return table.concat(names, " ")
  end

  it("run in the order of their priorities, the narrowest scope first in what they say", function()
    local model = load [[
plugins:
- { name: late }
- { name: limit, tenant: acme, config: { per_second: 5 } }
- { name: limit, config: { per_second: 1 } }
tenants: [ { name: acme, hosts: [ acme.example ], plugins: [ { name: paint } ] } ]
pools: [ { name: web, plugins: [ { name: auth } ] }, { name: own, tenant: acme } ]
routes:
- { name: a, pool: web }
- { name: b, pool: web, path: /b,
    plugins: [ { name: auth, enabled: false }, { name: limit, as: x, config: { per_second: 7 } } ] }
- { name: c, tenant: acme, pool: own }
- { name: d, path: /d, respond: {}, plugins: [ { name: late, order: { before: [ limit ] } } ] }
]]
    local routes = model.routes
    assert.equal("auth limit late", names_of(routes[1]._chain))
    assert.equal("limit x late", names_of(routes[2]._chain))
    assert.equal("limit paint late", names_of(routes[3]._chain))
    assert.equal("late limit", names_of(routes[4]._chain))
    assert.equal("limit late", names_of(model.rest_chain))
    assert.equal('{"by":"ip","names":["d"],"per_second":5}', routes[3]._chain[1].json)
    assert.equal(1, routes[3]._chain[1].scope)
    assert.equal("acme", routes[3]._chain[1].tenant)
    assert.same({ { file = "conf.yaml", line = 6, path = "tenants[0].plugins[0]", message =
      "limit and paint have the same priority, 900: they run in the order of their names" } }, model.warnings)
  end)

  it("share a chain when they say the same", function()
    local lines = { "pools: [ { name: web, plugins: [ { name: paint } ] } ]", "routes:" }
    for i = 1, 10 do
      lines[#lines + 1] = ("- { name: r%d, path: /%d, pool: web, "):format(i, i)
        .. ("plugins: [ { name: limit, config: { per_second: %d } } ] }"):format(i % 2 + 1)
    end
    local model = load(table.concat(lines, "\n"))
    assert.equal(model.routes[1]._chain, model.routes[3]._chain)
    assert.not_equal(model.routes[1]._chain, model.routes[2]._chain)
    assert.is_nil(model.rest_chain)
  end)

  it("combine fields of several scopes, and judge the result", function()
    local text = [[
plugins: [ { name: limit, config: { per_second: 1, groups: { gold: 5, iron: 1 }, names: [ a, b ] } } ]
routes:
- { name: a, respond: {}, plugins: [ {
    name: limit, config: { per_second: 2, groups: { gold: 9 }, names: [ b, c ] } } ] }
]]
    local item = load(text).routes[1]._chain[1]
    assert.equal('{"by":"ip","groups":{"gold":9,"iron":1},"names":["a","b","c"],"per_second":2}', item.json)
    assert.same({
      { field = "by", value = '"ip"', origin = "default" },
      { field = "groups", value = '{"gold":9,"iron":1}', origin = "global conf.yaml:2 and route conf.yaml:4" },
      { field = "names", value = '["a","b","c"]', origin = "global conf.yaml:2 and route conf.yaml:4" },
      { field = "per_second", value = "2", origin = "route conf.yaml:4" },
    }, origins.of(item))
    assert.same({ "conf.yaml:4: routes[0].plugins[0].config.names: together with global conf.yaml:2: "
      .. "expected at most 3 elements, got 4 (plugin limit)" }, problems((text:gsub("%[ b, c %]", "[ c, d ]"))))
  end)

  it("say all that is wrong at once", function()
    assert.same({
      'conf.yaml:3: plugins[0].name: unknown plugin "limt", did you mean limit?',
      "conf.yaml:4: plugins[1].config.per_second: expected an integer between 1 and 100, got 0 (plugin limit)",
      'conf.yaml:5: plugins[1].config.by: expected one of ip or header, got "cookie" (plugin limit)',
      "conf.yaml:6: plugins[1].config.tken: unknown key, did you mean token? (plugin limit)",
      'conf.yaml:7: plugins[2].config: required: a map with per_second (plugin limit)',
      "conf.yaml:8: plugins[3].config.per_second: required: an integer between 1 and 100 (plugin limit)",
      "conf.yaml:9: plugins[4].on_error: expected one of fail or continue, got \"go\"",
      "conf.yaml:10: plugins[5].as: expected a name of letters, digits, dots, dashes and underscores, got \"a b\"",
      "conf.yaml:12: plugins[7].name: paint is already given, in conf.yaml:11",
      'conf.yaml:13: plugins[8].tenant: unknown tenant "acme"',
      "conf.yaml:14: consumers[0].plugins[0].name: the plugin auth is not for consumers",
      'conf.yaml:15: consumers[1].credentials[0].type: the plugin paint knows no credentials',
      "conf.yaml:16: consumers[2].credentials[0].key: required: a text",
    }, (function()
      local found = problems [[
plugins:
- { name: limt }
- { name: limit, config: { per_second: 0,
    by: cookie,
    tken: x } }
- { name: limit, as: b }
- { name: limit, as: c, config: {} }
- { name: auth, on_error: go }
- { name: auth, as: a b }
- { name: paint }
- { name: paint }
- { name: late, tenant: acme }
consumers: [ { name: a, plugins: [ { name: auth } ] },
  { name: b, credentials: [ { type: paint, key: x } ] },
  { name: c, credentials: [ { type: auth } ] } ]
]]
      return found
    end)())
  end)

  it("give problems their parts", function()
    local _, found = conf.load { source = { name = "conf.yaml", dir = "/", text = with_path
      "routes: [ { name: a, respond: {}, plugins: [ { name: limit, config: { per_second: 0 } } ] } ]" }, env = {} }
    assert.same({ { file = "conf.yaml", line = 2, path = "routes[0].plugins[0].config.per_second", plugin = "limit",
      pointer = "/routes/0/plugins/0/config/per_second", rule = "between",
      message = "expected an integer between 1 and 100, got 0 (plugin limit)" } }, found)
  end)

  it("may be disabled without a configuration", function()
    local model = load "routes: [ { name: a, respond: {}, plugins: [ { name: limit, enabled: false } ] } ]"
    assert.is_nil(model.routes[1]._chain)
  end)

  it("that are broken are told of where they are and where they are wanted", function()
    plugins.write({ bad = { handler = "\nreturn {", schema = "return { a = { type = 'x' } }" } }, path)
    local found = problems "plugins: [ { name: bad }, { name: bad, as: b } ]\n"
    assert.equal(4, #found)
    assert.is_truthy(found[3]:find("/bad/handler.lua:2: unexpected symbol near '<eof>'", 1, true), found[3])
    assert.is_truthy(found[4]:find("/bad/schema.lua:1: a.type: unknown type x", 1, true), found[4])
    assert.equal("conf.yaml:2: plugins[0].name: the plugin bad cannot be loaded", found[1])
    assert.equal("conf.yaml:2: plugins[1].name: the plugin bad cannot be loaded", found[2])
  end)

  it("cannot run before one another in a circle", function()
    assert.same({ "conf.yaml:4: routes[0].plugins[0].order: limit, paint run before one another in a circle" },
      problems [[
plugins: [ { name: paint, order: { before: [ limit ] } } ]
routes:
- { name: a, respond: {}, plugins: [ { name: limit, config: { per_second: 1 }, order: { before: [ paint ] } } ] }
]])
    assert.same({ "conf.yaml:3: consumers[0].plugins[0].order: late, paint run before one another in a circle" },
      problems [[
routes: [ { name: a, respond: {}, plugins: [ { name: paint, order: { before: [ late ] } }, { name: late } ] } ]
consumers: [ { name: c, plugins: [ { name: late, order: { before: [ paint ] } } ] } ]
]])
  end)

  it("warn of names that nobody has and phases that never come", function()
    local model = load [[
routes:
- { name: a, respond: {}, plugins: [ { name: paint, order: { after: [ aut ] } }, { name: auth } ] }
- { name: b, path: /b, respond: {}, plugins: [ { name: cert } ] }
]]
    local lines = {}
    for i, warning in ipairs(model.warnings) do lines[i] = warning.path .. ": " .. warning.message end
    assert.same({ "routes[0].plugins[0]: order.after names aut, and no plugin is called so: did you mean auth?",
      "routes[1].plugins[0]: cert never runs here: its one phase, certificate, comes before the route is known" },
      lines)
  end)

  it("and consumers are unique where they have to be", function()
    local found = problems [[
consumers:
- { name: a, custom_id: x, credentials: [ { type: auth, key: secret-1 }, { type: auth, key: "${K:-secret-2}" } ] }
- { name: b, custom_id: x, credentials: [ { type: auth, key: secret-2 } ] }
- { name: a }
- { name: a, tenant: acme, custom_id: x, groups: [ gold, gold ], credentials: [ { type: auth, key: secret-1 } ] }
tenants: [ { name: acme } ]
]]
    assert.same({
      "conf.yaml:4: consumers[1].custom_id: the id is already that of a, in conf.yaml:3",
      "conf.yaml:4: consumers[1].credentials: the key of a credential for auth is already that of a, in conf.yaml:3",
      "conf.yaml:5: consumers[2].name: the name a is already taken, in conf.yaml:3",
      "conf.yaml:6: consumers[3].groups[1]: gold is already given, on line 6",
    }, found)
  end)

  it("survive the round trip of the last model, secrets sealed", function()
    local text = [[
plugins: [ { name: limit, config: { per_second: 5, token: hidden, names: [ "${N}" ] } } ]
tenants: [ { name: acme, plugins: [ { name: paint, enabled: false } ] } ]
routes: [ { name: a, respond: {}, plugins: [
  { name: late, as: x, order: { after: [ limit ] }, on_error: continue } ] } ]
consumers:
- { name: c, groups: [ gold ], credentials: [ { type: auth, key: secret, ttl: 1m } ],
    plugins: [ { name: limit, config: { per_second: 9 } } ] }
plugin_limits: { cpu: off, trip: { errors: 3 } }
]]
    local model = load(text, { N = "${x}" })
    local function seal(secret) return (secret:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
    local function unseal(hex) return (hex:gsub("%x%x", function(c) return string.char(tonumber(c, 16)) end)) end
    local encoded = last_model.encode(model, seal)
    assert.is_nil(encoded:find("hidden", 1, true))
    assert.is_nil(encoded:find('"secret"', 1, true))
    local again, found = conf.load { source = { name = "x", dir = "/", text = encoded }, env = {}, unseal = unseal }
    assert.same({}, found)
    assert.equal("no changes", model_kinds.describe_diff(model_kinds.diff(model, again)))
    assert.equal(encoded, last_model.encode(again, seal))
    assert.equal("hidden", again.plugins[1].config.token)
    assert.equal("secret", again.consumers[1].credentials[1].key)
  end)

  it("are told of in differences, their code too", function()
    local text = [[
plugins: [ { name: late } ]
routes: [ { name: a, respond: {}, plugins: [ { name: limit, config: { per_second: 5 } } ] } ]
consumers: [ { name: c } ]
]]
    local model = load(text)
    assert.equal("no changes", model_kinds.describe_diff(model_kinds.diff(model, load(text))))
    local other = load((text:gsub("per_second: 5", "per_second: 6"):gsub("name: c", "name: d"):gsub("name: late",
      "name: late, as: later")))
    assert.equal("routes: 1 changed; consumers: 1 added, 1 removed; plugins: 1 added, 1 removed",
      model_kinds.describe_diff(model_kinds.diff(model, other)))
    plugins.write({ late = { handler = plugins.handler(-6, "log") } }, path)
    assert.equal("plugins: 1 changed", model_kinds.describe_diff(model_kinds.diff(model, load(text))))
  end)

  it("name the files that were read, so that they can be watched", function()
    local model = load "plugins: [ { name: late } ]\n"
    local files = table.concat(model.files, " ")
    assert.is_truthy(files:find(path .. "/late/handler.lua", 1, true))
    assert.is_nil(files:find(path .. "/limit", 1, true))
  end)
end)
