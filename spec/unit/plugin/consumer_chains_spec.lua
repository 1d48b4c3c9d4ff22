--- What consumers' own configurations become together with those of wider scopes, judged when it is saved.
local fixture = require "unit.conf.fixture"
local plugins = require "unit.plugin.fixture"
local chain = require "veloflux.plugin.chain"
local conf = require "veloflux.conf"
local consumer_chains = require "veloflux.plugin.consumer_chains"
local judge = require "veloflux.plugin.judge"

local FILES = {
  limit = { handler = plugins.handler(900), schema = [[return {
    names = { type = "set", elements = { type = "string" }, merge = "append", len_max = 3 },
    plans = { type = "map", values = { type = "integer" }, merge = "deep",
      custom_validator = function(plans)
        local sum = 0
        for _, n in pairs(plans) do sum = sum + n end
        return sum <= 100 or nil, "makes more than 100: " .. sum
      end },
    token = { type = "string", secret = true },
  }]] },
  count = { handler = plugins.handler(800), schema = [[return {
    names = { type = "array", elements = { type = "string" }, merge = "append", len_max = 3 } }]] },
  free = { handler = plugins.handler(700), schema = [[return {
    names = { type = "array", elements = { type = "string" }, merge = "append" } }]] },
}

describe("consumers' own configurations", function()
  local path, judged, real_judge

  before_each(function()
    path, judged, real_judge = plugins.write(FILES), 0, judge.judge
    function judge.judge(...)
      judged = judged + 1
      return real_judge(...)
    end
  end)
  after_each(function()
    judge.judge = real_judge
    plugins.clean()
  end)

  local function with_path(text) return "plugin_path: [" .. path .. "]\n" .. text end
  local held -- what one model has judged is the next one's, while that is there
  local function model(text, env)
    held = fixture.model(with_path(text), env)
    return held
  end
  local function problems(text) return fixture.problems(with_path(text)) end

  --- Returns a conf with routes and consumers, each of which says something else.
  local function many(plugin, n_routes, n_consumers, config)
    local lines = { "routes:" }
    for i = 1, n_routes do
      lines[#lines + 1] = ("- { name: r%d, path: /%d, respond: {}, plugins: [ { name: %s, config: %s } ] }"):format(i,
        i, plugin, config("r" .. i))
    end
    lines[#lines + 1] = "consumers:"
    for i = 1, n_consumers do
      lines[#lines + 1] = ("- { name: c%d, plugins: [ { name: %s, config: %s } ] }"):format(i, plugin,
        config("c" .. i))
    end
    return table.concat(lines, "\n")
  end

  local function names(name) return ("{ names: [ %s ] }"):format(name) end
  local function plans(name) return ("{ plans: { %s: 1 } }"):format(name) end

  it("are refused when they are not good together, with both places", function()
    local _, found = conf.load { source = { name = "conf.yaml", dir = "/", text = with_path [[
plugins: [ { name: limit, config: { names: [ a, b ] } } ]
routes: [ { name: r, respond: {} }, { name: s, path: /s, respond: {}, plugins: [
  { name: limit, config: { plans: { gold: 90 } } } ] } ]
consumers:
- { name: ana, plugins: [ { name: limit, config: { names: [ c, d ] } } ] }
- { name: bob, plugins: [ { name: limit, config: { names: [ b, c ], plans: { iron: 20 } } } ] }
]] }, env = {} }
    assert.same({
      { file = "conf.yaml", line = 6, plugin = "limit", path = "consumers[0].plugins[0].config.names", rule = "len_max",
        message = "together with global conf.yaml:2: expected at most 3 elements, got 4 (plugin limit)" },
      { file = "conf.yaml", line = 7, plugin = "limit", path = "consumers[1].plugins[0].config.plans",
        rule = "custom_validator",
        message = "together with route conf.yaml:4: makes more than 100: 110 (plugin limit)" },
    }, found)
    assert.equal("/consumers/1/plugins/0/config/plans", conf.pointer(found[2]))
  end)

  it("meet the chains of their own tenant alone, and what no route takes where that is theirs", function()
    local text = [[
tenants: [ { name: acme, hosts: [ acme.example ] } ]
routes: [ { name: r, tenant: acme, respond: {}, plugins: [ { name: count, config: { names: [ a, b ] } } ] } ]
consumers: [ { name: ana, plugins: [ { name: count, config: { names: [ c, d ] } } ] } ]
]]
    assert.same({}, problems(text))
    assert.equal(1, #problems((text:gsub("name: ana", "name: ana, tenant: acme"))))
    assert.equal(1, #problems((text:gsub("routes: .*consumers", "plugins: [ { name: count, config: "
      .. "{ names: [ a, b ] } } ]\nconsumers"))))
  end)

  it("may hold secrets by reference", function()
    assert.truthy(model([[
plugins: [ { name: limit, config: { plans: { a: 1 }, token: "${T}" } } ]
routes: [ { name: r, respond: {} } ]
consumers: [ { name: ana, plugins: [ { name: limit, config: { plans: { b: 2 }, token: "{vault://env/T}" } } ] } ]
]], { T = "hidden" }))
  end)

  it("are not judged where nothing can be wrong: 10,000 consumers and 1,000 routes", function()
    assert.equal(1000, #model(many("free", 1000, 10000, names)).routes)
    assert.equal(0, judged)
  end)

  it("are not judged where their length says enough", function()
    model(many("count", 1000, 10000, names))
    assert.equal(0, judged)
    assert.equal(1, #problems(many("count", 10, 10, names) .. "\n- { name: x, plugins: [ { name: count, config: "
      .. "{ names: [ x, y, z ] } } ] }"))
  end)

  it("are judged once for each two that differ, and not again with the next version", function()
    local text = many("limit", 3, 5000, plans)
    model(text)
    assert.equal(15000, judged)
    model(text)
    assert.equal(15000, judged)
    model(text .. "\n- { name: x, plugins: [ { name: limit, config: { plans: { x: 2 } } } ] }")
    assert.equal(15003, judged)
    model((text:gsub("r3: 1", "r4: 1")))
    assert.equal(20003, judged)
  end)

  it("are judged once when they say the same", function()
    model(many("limit", 500, 5000, function() return "{ plans: { all: 1 } }" end))
    assert.equal(1, judged)
  end)

  it("are refused when they make too many to be judged", function()
    local most = consumer_chains.MOST_JUDGED
    consumer_chains.MOST_JUDGED = 50
    local found = problems(many("limit", 6, 10, plans))
    consumer_chains.MOST_JUDGED = most
    assert.is_truthy(found[1]:find("consumers[8].plugins[0].config: consumers' configurations and those of wider "
      .. "scopes make more than 50 different ones when names, plans is merged", 1, true), found[1])
    assert.is_true(judged <= 51)
  end)

  it("whose order nobody minds are resolved once for each way that they are called", function()
    local resolved, real = 0, chain.resolve
    function chain.resolve(...)
      resolved = resolved + 1
      return real(...)
    end
    local ok, problem = pcall(model, many("count", 200, 2000, names))
    chain.resolve = real
    assert.is_true(ok, problem)
    assert.equal(201, resolved)
  end)
end)
