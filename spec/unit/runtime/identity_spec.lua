--- Consumers' own configurations in a worker: which are used, and which are not.
local ffi = require "ffi"
local exchanges = require "support.exchanges"
local fixture = require "unit.conf.fixture"
local plugins = require "unit.plugin.fixture"
local compiler = require "veloflux.compiler"
local tables = require "veloflux.compiler.tables"
local chain = require "veloflux.runtime.chain"
local code = require "veloflux.runtime.code"
local identity = require "veloflux.runtime.identity"
local layout = require "veloflux.compiler.layout"
local pdk = require "veloflux.pdk"
local response = require "veloflux.pdk.response"
local traces = require "support.traces"

local C = layout.C

local FILES = {
  who = { handler = [[
    local pdk = require "veloflux.pdk"
    return { PRIORITY = 1000, VERSION = "1.0.0", access = function() pdk.ctx.shared.authenticate() end }
  ]] },
  mark = { handler = [[
    local pdk = require "veloflux.pdk"
    return { PRIORITY = 10, VERSION = "1.0.0", access = function(_, conf) pdk.ctx.shared.tags = conf.tags end }
  ]], schema = [[ return {
    tags = { type = "array", elements = { type = "string" }, default = {}, merge = "append" } } ]] },
}

describe("a consumer's own configuration", function()
  local path, real_error, answered, logged

  setup(function() path = plugins.write(FILES) end)
  teardown(plugins.clean)

  before_each(function()
    exchanges.open {}
    answered, logged = nil, {}
    real_error = response.error
    response.error = function(status)
      answered = status
      error("answered", 0)
    end
    package.loaded["veloflux.runtime.report"].write = function(_, event, ...) logged[#logged + 1] = { event, ... } end
    package.loaded["veloflux.runtime.report"].handler_failed = function(instance, phase, message)
      logged[#logged + 1] = { instance.name, phase, message }
    end
  end)
  after_each(function() response.error = real_error end)

  --- Compiles a version with one route and a consumer for each of the other tags. `chain` is that of one of them.
  local function version(route_tag, ...)
    local lines = { ([[
plugin_path: [ %s ]
routes: [ { name: r, respond: {}, plugins: [ { name: who }, { name: mark, config: { tags: [ %s ] } } ] } ]
consumers:]]):format(path, route_tag) }
    for i, tag in ipairs { ... } do
      lines[#lines + 1] = ("- { name: c%d, plugins: [ { name: mark, config: { tags: [ %s ] } } ] }"):format(i, tag)
    end
    local compiled = assert(compiler.compile(fixture.model(table.concat(lines, "\n") .. "\n"), {}))
    local self = { header = ffi.cast("const struct vf_snap_header *", compiled.data), data = compiled, chains = {} }
    for _, known in pairs(compiled.consumer_chains) do self.chains[#self.chains + 1] = tables.chain_key(known.hash) end
    self.chain = self.chains[1]
    return self
  end

  local function prepare(snapshot, number)
    assert.is_nil(code.prepare(snapshot.header))
    identity.prepare(snapshot.header, number)
  end

  local function route_of(snapshot)
    local routes = ffi.cast("const struct vf_snap_route *", ffi.cast("const char *", snapshot.header)
      + snapshot.header.sections[C.VF_SNAP_ROUTES].offset)
    return chain.build(snapshot.header, routes[0].chain)[C.VF_PHASE_ACCESS]
  end

  --- Sends a request through a route's chain, as a consumer whose chain is that.
  local function request(access, hash, tenant)
    exchanges.open {}
    pdk.ctx.shared.authenticate = function()
      pdk.client.authenticate({ name = "ana", tenant = tenant or "default", chain = hash }, {})
    end
    local ok, problem = pcall(access)
    return ok or problem, pdk.ctx.shared.tags
  end

  it("is not used where nobody has judged what it makes together with the route's", function()
    local first, second = version("r1", "c1"), version("r2", "c2")
    prepare(first, 1)
    identity.publish(first.header, 1)
    local old = route_of(first)
    prepare(second, 2)
    assert.equal("answered", (request(old, second.chain))) -- the table is ahead, the route is the old one
    assert.equal(503, answered)
    assert.equal("mark", logged[1][1])
    assert.equal("its configuration for the consumer (conf.yaml:4), merged with that of a wider scope (conf.yaml:2), "
      .. "was judged in no version that is known here", logged[1][3])
    identity.publish(second.header, 2)
    assert.equal("answered", (request(route_of(second), first.chain)))
  end)

  it("is merged with the route's, a moment before the version that has it, too", function()
    local first, second = version("r1", "c1"), version("r1", "c2")
    prepare(first, 1)
    identity.publish(first.header, 1)
    local access = route_of(first)
    assert.same({ true, { "r1", "c1" } }, { request(access, first.chain) })
    prepare(second, 2)
    assert.same({ true, { "r1", "c2" } }, { request(access, second.chain) })
    identity.publish(second.header, 2)
    assert.same({ true, { "r1", "c1" } }, { request(access, first.chain) }) -- nobody has told its table yet
    assert.same({}, logged)
  end)

  it("needs no code of its own where others have the same plugins", function()
    local tags = {}
    for i = 1, 500 do tags[i] = "c" .. i end
    local all = version("r1", unpack(tags))
    prepare(all, 1)
    identity.publish(all.header, 1)
    local access = route_of(all)
    local compiled, real = 0, chain.compile
    function chain.compile(...)
      compiled = compiled + 1
      return real(...)
    end
    local seen = {}
    for _, hash in ipairs(all.chains) do
      local ok, found = request(access, hash)
      assert.is_true(ok)
      assert.equal("r1", found[1])
      seen[found[2]] = true
    end
    chain.compile = real
    for _, tag in ipairs(tags) do assert.is_true(seen[tag]) end
    assert.is_true(compiled < 20, compiled .. " times")
  end)

  it("is found where code that is compiled as a whole looks for it", function()
    local all = version("r1", "c1", "c2")
    prepare(all, 1)
    identity.publish(all.header, 1)
    local access = route_of(all)
    exchanges.open {}
    local n = 0
    local consumers = { { name = "ana", tenant = "default", chain = all.chains[1] },
      { name = "bob", tenant = "default", chain = all.chains[2] } }
    local function authenticate()
      n = n + 1
      pdk.client.authenticate(consumers[n % 2 + 1], nil)
    end
    traces.assert_calls_compile(function()
      exchanges.renew()
      pdk.ctx.shared.authenticate = authenticate
      access()
    end)
    assert.is_true(n > 1000)
  end)

  it("that no version has lets nobody pass", function()
    local first = version("r1", "c1")
    prepare(first, 1)
    identity.publish(first.header, 1)
    local ok, tags = request(route_of(first), ("0"):rep(16))
    assert.equal("answered", ok)
    assert.equal(503, answered)
    assert.is_nil(tags)
    assert.same({ "consumer.plugins_unknown", "tenant", "default", "consumer", "ana" }, logged[1])
  end)

  it("is for routes of its tenant", function()
    local first = version("r1", "c1")
    prepare(first, 1)
    identity.publish(first.header, 1)
    local problem = request(route_of(first), first.chain, "acme")
    assert.is_truthy(tostring(problem):find("the consumer ana is of the tenant acme", 1, true), problem)
  end)
end)
