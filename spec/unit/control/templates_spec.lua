--- Templates: what they may say, and what becomes of them.
require "support.library"
local conf = require "veloflux.conf"
local json = require "veloflux.pdk.json"
local fixture = require "unit.conf.fixture"
local model = require "veloflux.model"
local templates = require "veloflux.control.templates"

local HEAD = "data_dir: /nowhere\n"

local function load(text)
  return conf.load { source = { text = HEAD .. text, name = "conf.yaml", dir = "/" }, env = {} }
end

local function template(text)
  local loaded, problems = load("templates:\n  - name: t\n" .. text)
  assert.same({}, problems)
  return loaded.templates[1]
end

local function problem(text)
  local _, problems = load("templates:\n  - name: t\n" .. text)
  return problems[1] and conf.format(problems[1])
end

local SITE = [[
    parameters:
      - { name: name, required: true, description: what it is called }
      - { name: weight, type: integer, default: 100 }
      - { name: hosts, type: list }
      - { name: size, one_of: [s, m] }
    entities:
      pools:
        - name: $${name}
          backends: [ { address: "127.0.0.1:1", weight: "$${weight}" } ]
      routes:
        - { name: "$${name}-r", pool: "$${name}", hosts: "$${hosts}", path_prefix: "/$${size:-x}/$$${name}" }
]]

describe("a template", function()
  it("stands in a conf file", function()
    local one = template(SITE)
    assert.equal("${name}", one.entities.pools[1].name)
    assert.equal("default/t", model.key("templates", one))
    assert.is_true(model.same(one, template(SITE)))
    assert.is_false(model.same(one, template((SITE:gsub("127.0.0.1:1", "127.0.0.1:2")))))
  end)

  it("is filled by its parameters", function()
    local one = template(SITE)
    local values = assert(templates.parameters(one, { name = "a${b", weight = 7 }))
    local entities, origins = templates.render(one, values)
    assert.equal("a${b", entities.pools[1].name)
    assert.equal(7, entities.pools[1].backends[1].weight)
    assert.equal("a${b-r", entities.routes[1].name)
    assert.is_nil(entities.routes[1].hosts)
    assert.equal("/x/${name}", entities.routes[1].path_prefix)
    assert.equal("weight", templates.origin(origins, "/entities/pools/0/backends/0/weight"))
    assert.equal("name", templates.origin(origins, "/entities/routes/0/pool/deeper"))
    assert.is_nil(templates.origin(origins, "/entities/pools/0/backends/0/address"))
  end)

  it("takes lists and maps as whole values only", function()
    local one = template(SITE)
    local values = assert(templates.parameters(one, { name = "a", hosts = json.array { "x.example.com" } }))
    assert.same({ "x.example.com" }, { unpack(templates.render(one, values).routes[1].hosts) })
    one = template [[
    parameters: [ { name: hosts, type: list } ]
    entities: { pools: [ { name: "a-$${hosts}" } ] }
]]
    local nothing, errors = templates.render(one, { hosts = json.array { "x" } })
    assert.is_nil(nothing)
    assert.equal("/entities/pools/0/name", errors[1].pointer)
  end)

  it("judges parameters", function()
    local values, errors = templates.parameters(template(SITE), { weight = 1.5, size = "xl", nam = "a" })
    assert.is_nil(values)
    local found = {}
    for i, one in ipairs(errors) do found[i] = one.pointer .. ": " .. one.detail end
    assert.same({ "/parameters/name: required: what it is called", "/parameters/weight: expected a whole number",
      "/parameters/size: expected one of s, m", "/parameters/nam: unknown parameter, did you mean name?" }, found)
  end)

  it("makes operations for the tenant that it is applied for", function()
    local ops, places = templates.operations({ plugins = json.array { { name = "cors", as = "x" } },
      routes = json.array { { name = "r" }, { name = "s", tenant = "other" } },
      tenants = json.array { { name = "acme" } } }, "acme", true)
    assert.same({ "tenants  acme", "routes acme r", "routes other s", "plugins acme cors:x" }, { (function()
      local list = {}
      for i, op in ipairs(ops) do list[i] = ("%s %s %s"):format(op.kind, op.tenant or "", op.name) end
      return unpack(list)
    end)() })
    assert.equal("/entities/routes/1", places[3].pointer)
    assert.equal("upsert", ops[1].op)
    local nothing, errors = templates.operations({ pools = json.array { { name = 5 } } }, "default")
    assert.is_nil(nothing)
    assert.same({ pointer = "/entities/pools/0/name", detail = "expected a name" }, errors[1])
  end)
end)

describe("a template that is wrong", function()
  local ENTITIES = "    entities: { pools: [ { name: p } ] }\n"

  it("is refused where it is wrong", function()
    local cases = {
      ["entities: { pools: [ { name: '$${nam}' } ] }\n    parameters: [ { name: name } ]"] =
        "templates[0].entities.pools[0].name: there is no parameter nam, did you mean name?",
      ["entities: { pols: [] }"] =
        "templates[0].entities.pols: expected one of certificates, consumers, plugins, pools, routes or",
      ["entities: { templates: [] }"] = "templates[0].entities.templates: expected one of",
      ["entities: { pools: {} }"] = "templates[0].entities.pools: expected a list",
      ["entities: { pools: [ 1 ] }"] = "templates[0].entities.pools[0]: expected a map",
      ["entities: { pools: [ { } ] }"] = "templates[0].entities.pools[0].name: required: a name",
      ["entities: {}"] = "templates[0].entities: expected at least one entity",
      ["entities: []"] = "expected a map of lists of entities by kind, got a list",
      ["entities: { pools: [ { name: '$${a b}' } ] }"] = "expected ${PARAMETER}",
    }
    for text, expected in pairs(cases) do
      local found = problem("    " .. text .. "\n")
      assert.is_truthy(found and found:find(expected, 1, true), tostring(found))
    end
  end)

  it("says what is wrong with its parameters", function()
    local cases = {
      ["{ name: a, type: integer, default: x }"] = "parameters[0].default: expected a whole number",
      ["{ name: a, required: true, default: x }"] = "a required parameter has no default",
      ["{ name: a, secret: true, default: x }"] = "a secret has no default",
      ["{ name: a, one_of: [1] }"] = "parameters[0].one_of: expected values of the parameter's type",
      ["{ name: a b }"] = "parameters[0].name: expected a name of letters, digits and underscores",
      ["{ name: a }, { name: a }"] = "a is already given",
      ["{ name: a, type: date }"] = "parameters[0].type",
    }
    for text, expected in pairs(cases) do
      local found = problem("    parameters: [ " .. text .. " ]\n" .. ENTITIES)
      assert.is_truthy(found and found:find(expected, 1, true), tostring(found))
    end
  end)

  it("has a secret in clear", function()
    local consumers = "    entities: { consumers: [ { name: c, credentials: [ { type: key-auth, key: %s } ] } ] }\n"
    local found = problem(consumers:format "in-clear")
    assert.is_truthy(found:find("consumers.0.credentials.0.key is a secret", 1, true), found)
    assert.is_nil(found:find("in-clear", 1, true))
    assert.is_nil(problem("    parameters: [ { name: k, secret: true } ]\n" .. consumers:format '"$${k}"'))
    assert.is_nil(problem(consumers:format '"{file:/etc/key}"'))
  end)
end)

describe("a template of a tenant", function()
  it("needs that tenant", function()
    assert.is_truthy(problem("    tenant: acme\n    entities: { pools: [ { name: p } ] }\n"):find "unknown tenant")
    assert.is_table(fixture.model(HEAD .. "tenants: [ { name: acme } ]\n"))
  end)
end)
