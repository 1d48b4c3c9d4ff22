local ffi = require "ffi"
local fixture = require "unit.conf.fixture"
local plugins = require "unit.plugin.fixture"
local compiler = require "veloflux.compiler"
local layout = require "veloflux.compiler.layout"
local C, NONE = layout.C, 0xffffffff

local FILES = {
  auth = { handler = "return { PRIORITY = 1000, access = function() end, log = function() end }\n",
    ["util/parse"] = "return 1\n" },
  limit = { handler = plugins.handler(900), schema = [[return { n = { type = "integer", required = true },
    wait = { type = "duration", default = "1s" },
    tags = { type = "map", values = { type = "string" }, merge = "deep" } }]] },
  unused = {},
  some = { schema = 'return { only = { type = "string" } }', handler = [[
    return { PRIORITY = 800, access = function() end, log = function() end, phases_of = function(conf)
      if conf.only == "raise" then error "no" end
      if conf.only then return { conf.only, "rewrite", 7 } end
    end }]] },
}

describe("the compiler of plugins", function()
  local path

  before_each(function() path = plugins.write(FILES) end)
  after_each(plugins.clean)

  local function compile(text)
    local model = fixture.model("plugin_path: [" .. path .. "]\n" .. text)
    local compiled = assert(compiler.compile(model, {}))
    local header = ffi.cast("const struct vf_snap_header *", compiled.data)
    local bytes = ffi.cast("const char *", compiled.data)
    local self = { model = model, compiled = compiled, settings = header.settings }
    function self.records(section, kind)
      local extent = header.sections[C["VF_SNAP_" .. section]]
      return ffi.cast(kind or ("const struct vf_snap_" .. section:lower():sub(1, -2) .. " *"), bytes + extent.offset),
        extent.count
    end
    function self.text(place) return ffi.string(bytes + place.offset, place.len) end
    return self
  end

  it("writes those that are used, with their files, the handler first", function()
    local snap = compile "plugins: [ { name: auth } ]\n"
    local records, count = snap.records "PLUGINS"
    for i = 1, count - 1 do assert.same({ 0, 0 }, { records[i].phases, records[i].files.count }) end -- control's
    assert.equal("auth", snap.text(records[0].name))
    assert.equal(2 ^ C.VF_PHASE_ACCESS + 2 ^ C.VF_PHASE_LOG, records[0].phases)
    local files, n_files = snap.records "PLUGIN_FILES"
    assert.equal(2, n_files)
    assert.equal("handler", snap.text(files[0].name))
    assert.equal(path .. "/auth/handler.lua", snap.text(files[0].chunk))
    assert.equal(FILES.auth.handler, snap.text(files[0].source))
    assert.equal("util.parse", snap.text(files[1].name))
    assert.equal(1, snap.compiled.summary.plugins)
  end)

  it("writes instances complete, and chains in their order", function()
    local snap = compile [[
plugins: [ { name: limit, as: slow, on_error: continue, config: { n: 5, tags: { a: b } } } ]
tenants: [ { name: acme, hosts: [ acme.example ], plugins: [ { name: auth } ] } ]
routes: [ { name: r, tenant: acme, respond: {} }, { name: s, respond: {} } ]
]]
    local routes = snap.records "ROUTES"
    local chains, n_chains = snap.records "CHAINS"
    local members = snap.records("MEMBERS", "const uint32_t *")
    local instances, n_instances = snap.records "INSTANCES"
    assert.equal(2, n_chains)
    assert.equal(2, n_instances)
    assert.equal(snap.settings.chain, routes[1].chain)
    local chain = chains[routes[0].chain]
    assert.equal(2, chain.members.count)
    assert.equal(C.VF_CHAIN_ROUTE, chain.kind)
    assert.equal(2 ^ C.VF_PHASE_ACCESS + 2 ^ C.VF_PHASE_LOG, chain.phases)
    local first, second = instances[members[chain.members.first]], instances[members[chain.members.first + 1]]
    assert.same({ "auth", "{}", 1, 0, 1000 }, { snap.text(first.as), snap.text(first.config), first.scope,
      first.on_error, first.priority })
    assert.equal("acme", snap.text(snap.records("TENANTS")[first.tenant].name))
    assert.same({ "slow", '{"n":5,"tags":{"a":"b"},"wait":1000}', 0, NONE, 1 }, { snap.text(second.as),
      snap.text(second.config), second.scope, second.tenant, second.on_error })
    assert.equal('{"enabled":true,"merge":{"tags":{"values":false}},"own":{"tags":{"a":"b"}}}', snap.text(second.meta))
    assert.equal("conf.yaml:2", snap.text(second.source))
  end)

  it("writes chains of consumers as they are, disabled instances too", function()
    local snap = compile [[
routes: [ { name: r, respond: {}, plugins: [ { name: auth } ] } ]
consumers: [ { name: a, plugins: [ { name: auth, enabled: false }, { name: limit, config: { n: 1 } } ] }, { name: b } ]
]]
    local consumers = snap.model.consumers
    assert.is_nil(snap.compiled.consumer_chains[consumers[2]])
    local of = snap.compiled.consumer_chains[consumers[1]]
    local chain = snap.records("CHAINS")[of.index]
    assert.equal(C.VF_CHAIN_CONSUMER, chain.kind)
    assert.is_true(chain.hash == of.hash)
    local first = snap.records("INSTANCES")[snap.records("MEMBERS", "const uint32_t *")[chain.members.first]]
    assert.equal('{"enabled":false}', snap.text(first.meta))
    local of_route = snap.records("CHAINS")[snap.records("ROUTES")[0].chain]
    local enabled = snap.records("INSTANCES")[snap.records("MEMBERS", "const uint32_t *")[of_route.members.first]]
    assert.equal(snap.text(first.as), snap.text(enabled.as))
    assert.is_true(first.hash ~= enabled.hash) -- workers keep them by their hash
    assert.equal(NONE, snap.settings.chain)
  end)

  it("writes equal chains and instances once, and hashes that tell what differs", function()
    local lines = { "routes:" }
    for i = 1, 50 do
      lines[#lines + 1] = ("- { name: r%d, path: /%d, respond: {}, plugins: [ { name: limit, config: { n: %d } } ] }")
        :format(i, i, i % 2)
    end
    local snap = compile(table.concat(lines, "\n"))
    local chains, n_chains = snap.records "CHAINS"
    assert.equal(2, n_chains)
    assert.equal(2, select(2, snap.records "INSTANCES"))
    assert.is_true(chains[0].hash ~= chains[1].hash)
    local again = compile(table.concat(lines, "\n"))
    assert.is_true(again.records("CHAINS")[0].hash == chains[0].hash)
    plugins.write({ limit = { handler = plugins.handler(900) .. "-- changed\n" } }, path)
    local changed = compile(table.concat(lines, "\n"))
    assert.is_true(changed.records("CHAINS")[0].hash ~= chains[0].hash)
    assert.is_true(changed.records("PLUGINS")[0].hash ~= snap.records("PLUGINS")[0].hash)
  end)

  it("writes limits", function()
    local function numbers(limits)
      return { tonumber(limits.cpu_us), tonumber(limits.memory_bytes), tonumber(limits.body_bytes),
        tonumber(limits.trip_errors), tonumber(limits.trip_window_ms), tonumber(limits.trip_pause_ms) }
    end
    assert.same({ 100000, 134217728, 1048576, 50, 10000, 30000 }, numbers(compile("workers: 1").settings.plugin_limits))
    local limits = compile("plugin_limits: { cpu: off, body: off, trip: { errors: off, pause: 1m } }")
      .settings.plugin_limits
    assert.is_true(limits.cpu_us == layout.OFF and limits.body_bytes == layout.OFF and limits.trip_errors == layout.OFF)
    assert.equal(60000, tonumber(limits.trip_pause_ms))
  end)

  it("leaves phases out that a configuration does not need", function()
    local snap = compile [[
routes:
  - { name: a, respond: {}, plugins: [ { name: some, config: { only: log } } ] }
  - { name: b, respond: {}, plugins: [ { name: some, config: { only: raise } } ] }
  - { name: c, respond: {}, plugins: [ { name: some } ] }
  - { name: d, respond: {}, plugins: [ { name: some, config: { only: body_filter } } ] }
]]
    local routes, chains = snap.records "ROUTES", snap.records "CHAINS"
    local both = 2 ^ C.VF_PHASE_ACCESS + 2 ^ C.VF_PHASE_LOG
    for i, mask in ipairs { 2 ^ C.VF_PHASE_LOG, both, both, 0 } do
      assert.equal(mask, chains[routes[i - 1].chain].phases)
    end
  end)

  it("writes 10,000 routes with plugins of their own in little more time than without", function()
    local function text_of(more)
      local lines = { "plugin_path: [" .. path .. "]", "pools: [ { name: p } ]", "routes:" }
      for i = 1, 10000 do lines[#lines + 1] = ("- { name: r%d, path: /%d, pool: p%s }"):format(i, i, more(i)) end
      return table.concat(lines, "\n")
    end
    local function seconds(text)
      local best = math.huge
      for _ = 1, 3 do
        collectgarbage()
        local from = os.clock()
        assert(compiler.compile(fixture.model(text), {}))
        best = math.min(best, os.clock() - from)
      end
      return best
    end
    local plain = seconds(text_of(function() return "" end))
    local same = seconds(text_of(function() return ", plugins: [ { name: auth } ]" end))
    local own = seconds(text_of(function(i) return (", plugins: [ { name: limit, config: { n: %d } } ]"):format(i) end))
    assert.is_true(math.max(same, own) < 20 * plain + 1, ("plain %.3f, same %.3f, own %.3f s"):format(plain, same, own))
  end)
end)
