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

  --- Compiles a version with one route and one consumer.
  local function version(route_tag, consumer_tag)
    local model = fixture.model(([[
plugin_path: [ %s ]
routes: [ { name: r, respond: {}, plugins: [ { name: who }, { name: mark, config: { tags: [ %s ] } } ] } ]
consumers: [ { name: ana, plugins: [ { name: mark, config: { tags: [ %s ] } } ] } ]
]]):format(path, route_tag, consumer_tag))
    local compiled = assert(compiler.compile(model, {}))
    local self = { header = ffi.cast("const struct vf_snap_header *", compiled.data), data = compiled }
    local _, hash = next(compiled.consumer_chains)
    self.chain = tables.chain_key(hash.hash)
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
    assert.equal("its configuration for the consumer (conf.yaml:3), merged with that of a wider scope (conf.yaml:2), "
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
