--- Metrics and status over a state area that the spec itself has written.
local ffi = require "ffi"
local exposition = require "unit.admin.exposition"
local fixture = require "unit.snapshot.fixture"
local loop = require "support.loop"
local tempdir = require "support.tempdir"
local table_fixture = require "unit.snapshot.table_fixture"
local usage_fixture = require "unit.snapshot.usage_fixture"
local lib = require "support.library"

ffi.cdef(require("unit.snapshot.state_header").state())
ffi.cdef "int vf_table_adopt(uint32_t kind, int generation_fd, int delta_fd);"
ffi.cdef "int munmap(void *, size_t);\nint close(int);\nint getpid(void);"

local totals = require "veloflux.totals"
local counts = require "veloflux.admin.counts"
local metrics = require "veloflux.admin.metrics"
local series = require "veloflux.admin.metrics.series"
local rates = require "veloflux.admin.rates"
local status = require "veloflux.admin.status"

usage_fixture.declare_usage()

local WORKER, CONTROL = 0, 1

local function with_state(body)
  return function()
    local out = ffi.new "struct vf_state *[1]"
    local fd = lib.vf_state_create(out)
    local function block(index) return ffi.cast("struct vf_state_block *", out[0] + 1) + index end
    local ok, err = xpcall(body, debug.traceback, out[0], block)
    totals.open(nil, nil)
    ffi.C.munmap(out[0], out[0].size)
    ffi.C.close(fd)
    if not ok then error(err, 0) end
  end
end

local function add_pool(builder, name, tenant, addresses, first_slot, health)
  local pool, index = fixture.add(builder, fixture.lib.VF_SNAP_POOLS, "pool")
  pool.id, pool.slot, pool.tenant, pool.max_connections = index + 1, index, tenant, 1000
  fixture.text(builder, name, pool.name)
  for i, address in ipairs(addresses) do
    local backend, at = fixture.add(builder, fixture.lib.VF_SNAP_BACKENDS, "backend")
    backend.id, backend.slot, backend.pool = first_slot + i, first_slot + i - 1, index
    backend.weight, backend.health = 100, health or fixture.NONE
    backend.address.family, backend.address.port, backend.address.ip[0] = 1, 80, 127
    fixture.text(builder, address, backend.address_text)
    fixture.text(builder, "127.0.0.1", backend.host)
    local record = fixture.lib.vf_snapb_record(builder, fixture.lib.VF_SNAP_POOLS, index)
    record = ffi.cast("struct vf_snap_pool *", record) -- it may have moved
    if i == 1 then record.backends.first = at end
    record.backends.count = i
  end
end

--- @param health index of a health check that all backends have, or nil
local function snapshot_of(n_pools, n_routes, names, health)
  local builder = fixture.builder()
  local check = fixture.add(builder, fixture.lib.VF_SNAP_HEALTH, "health")
  check.rise, check.fall, check.interval_ms, check.timeout_ms, check.type = 1, 1, 1000, 1000, 1
  local listener = fixture.add(builder, fixture.lib.VF_SNAP_LISTENERS, "listener")
  fixture.add(builder, fixture.lib.VF_SNAP_POLICIES, "policy").set = 2 ^ fixture.lib.VF_POLICY_FIELDS - 1
  listener.address.family = 1
  fixture.text(builder, "http", listener.name)
  fixture.tenant(builder, "default")
  fixture.tenant(builder, "acme")
  for i = 1, n_pools do
    local name = names and names[i] or "pool" .. i
    add_pool(builder, name, i == 2 and 1 or 0, { "10.0.0.1:" .. i, "10.0.0.2:80" }, (i - 1) * 2, health)
  end
  for i = 1, n_routes do
    fixture.route(builder, { name = "route" .. i, path_prefix = "/r" .. i, hosts = { "h" .. i % 100 .. ".example" } })
  end
  return assert(fixture.finish(builder))
end

--- A snapshot with one plugin, called cors, that has the phases access (4) and log (8).
local function snapshot_with_plugin()
  local builder = fixture.builder()
  fixture.tenant(builder, "default")
  local plugin = fixture.add(builder, fixture.lib.VF_SNAP_PLUGINS, "plugin")
  fixture.text(builder, "cors", plugin.name)
  plugin.slot, plugin.phases, plugin.files.count = 7, 2 ^ 4 + 2 ^ 8, 1
  fixture.add(builder, fixture.lib.VF_SNAP_PLUGIN_FILES, "plugin_file")
  return assert(fixture.finish(builder))
end

local function parsed() return exposition.parse(metrics.text "1.2.3") end

describe("metrics", function()
  it("without a snapshot are those of the node", with_state(function(state)
    state.published_version = 7
    totals.open(state, nil)
    local found = parsed()
    assert.equal(1, exposition.value(found, "veloflux_build_info", { version = "1.2.3" }))
    assert.equal(7, exposition.value(found, "veloflux_config_version"))
    assert.is_nil(found.veloflux_requests_total)
  end))

  it("in a few numbers are of one version, while a later one is on its way here", with_state(function(state)
    totals.open(state, nil)
    assert.equal(0, tonumber(counts.get().version))
    state.published_version = 7
    totals.open(state, snapshot_of(2, 1))
    local found, published = counts.get(), tonumber(totals.node().version)
    assert.same({ 1, 4, 7 }, { tonumber(found.version), found.backends, published })
  end))

  it("are sums over all blocks, and gauges over the leased ones", with_state(function(state, block)
    local first, second = lib.vf_state_lease(state, WORKER, 0, 1), lib.vf_state_lease(state, WORKER, 1, 2)
    local control = lib.vf_state_lease(state, CONTROL, 0, 3)
    for i, index in ipairs { first, second } do
      local one = block(index)
      one.pid, one.process.running_version = 100 + i, 1
      one.totals.requests, one.totals.responses_2xx = 10 * i, 10 * i
      one.process.connections = 3
      one.backends[0].requests, one.backends[0].class_2xx, one.backends[0].in_flight = 5, 5, 2
      one.backends[2].in_flight = 1
      one.routes[0].requests, one.routes[0].sum_us = 4, 1500000
      for _ = 1, 3 do lib.vf_state_count_status(one.pools[0], 1, 200) end
      lib.vf_state_count_status(one.pools[0], 3, 502)
      one.pools[0].requests = 4
      lib.vf_state_observe(one.pools[0].latency[lib.vf_state_method(1)], 3000)
      lib.vf_state_observe(one.pools[0].latency[lib.vf_state_method(3)], 20000000)
    end
    block(control).totals.requests = 99
    block(control).process.connections = 50
    lib.vf_state_end_lease(state, second) -- nothing set n_slots, so its gauges are zeroed here
    block(second).backends[0].in_flight, block(second).backends[2].in_flight = 7, 7
    local snapshot = snapshot_of(2, 1)
    totals.open(state, snapshot)
    local found = parsed()
    local function value(name, labels) return exposition.value(found, name, labels) end
    assert.equal(30, value("veloflux_http_requests_total", { status = "2xx" }))
    assert.equal(6, value("veloflux_requests_total", { method = "GET", status_code = "200", pool = "pool1" }))
    assert.equal(2, value("veloflux_requests_total", { method = "POST", status_code = "502", pool = "pool1" }))
    local function duration(what, method, le)
      return value("veloflux_request_duration_seconds_" .. what, { method = method, pool = "pool1", le = le })
    end
    assert.same({ 2, 2, 0.006 }, { duration("bucket", "GET", "0.005"), duration("count", "GET"),
      duration("sum", "GET") })
    assert.same({ 0, 2, 40 }, { duration("bucket", "POST", "10"), duration("count", "POST"), duration("sum", "POST") })
    assert.is_nil(duration("count", "PUT"))
    assert.equal(0, value("veloflux_request_duration_seconds_count", { method = "GET", pool = "acme/pool2" }))
    assert.equal(4, value "veloflux_http_request_duration_seconds_count")
    local backend = { pool = "pool1", backend = "10.0.0.1:1" }
    assert.equal(10, value("veloflux_backend_requests_total", backend))
    local answers = { pool = "pool1", backend = "10.0.0.1:1", class = "2xx" }
    assert.equal(10, value("veloflux_backend_responses_total", answers))
    assert.equal(2, value("veloflux_backend_in_flight", backend))
    assert.equal(1, value("veloflux_backend_health", backend))
    assert.equal(8, value("veloflux_route_requests_total", { route = "route1" }))
    assert.equal(3, value("veloflux_route_duration_seconds_total", { route = "route1" }))
    assert.equal(0, value("veloflux_tenant_requests_total", { tenant = "acme" }))
    assert.equal(1, value "veloflux_workers")
    assert.equal(3, value("veloflux_process_connections", { process = "worker-1", pid = "101", generation = "0" }))
  end))

  it("say what tenants have used", loop.spec(function()
    local file = assert(usage_fixture.open(tempdir.new()))
    local snapshot = usage_fixture.snapshot { "default", "acme" }
    assert.equal(0, (usage_fixture.enter(file, snapshot)))
    local usage = usage_fixture.view(file)
    assert.equal(0, lib.vf_usage_take_row(usage))
    for kind, count in ipairs { 3, 40, 500 } do lib.vf_usage_cell(usage, 2).counts[kind - 1] = count end
    with_state(function(state)
      totals.open(state, snapshot, usage)
      local found = parsed()
      local bytes = "veloflux_tenant_bandwidth_bytes"
      assert.equal(3, exposition.value(found, "veloflux_tenant_requests_total", { tenant = "acme" }))
      assert.equal(0, exposition.value(found, "veloflux_tenant_requests_total", { tenant = "default" }))
      assert.equal(40, exposition.value(found, bytes, { tenant = "acme", direction = "in" }))
      assert.equal(500, exposition.value(found, bytes, { tenant = "acme", direction = "out" }))
    end)()
    lib.vf_usage_close(usage)
    lib.vf_usage_file_close(file)
  end))

  it("add up an address that serves several pools", with_state(function(state, block)
    local index = lib.vf_state_lease(state, WORKER, 0, 1)
    block(index).backends[1].in_flight, block(index).backends[3].in_flight = 2, 3
    local snapshot = snapshot_of(2, 0)
    totals.open(state, snapshot)
    assert.equal(5, exposition.value(parsed(), "veloflux_active_connections", { backend = "10.0.0.2:80" }))
  end))

  it("say when a backend is down, ejected or drained", with_state(function(state)
    state.backends[0].drain = 1
    state.backends[1].ejected_until_ns = 2ULL ^ 62
    state.backends[2].health, state.backends[2].checked_ns, state.backends[2].interval_ms = 2, 2ULL ^ 62, 1000
    local snapshot = snapshot_of(2, 0)
    totals.open(state, snapshot)
    local found = parsed()
    local function health(pool, backend)
      return exposition.value(found, "veloflux_backend_health", { pool = pool, backend = backend })
    end
    assert.equal(0, health("pool1", "10.0.0.1:1"))
    assert.equal(0, health("pool1", "10.0.0.2:80"))
    assert.equal(0, health("acme/pool2", "10.0.0.1:2"))
    assert.equal(1, health("acme/pool2", "10.0.0.2:80"))
    assert.equal(0, exposition.value(found, "veloflux_pool_backends_usable", { pool = "pool1" }))
    assert.equal(1, exposition.value(found, "veloflux_pool_backends_usable", { pool = "acme/pool2" }))
    local pools = status.full("1", rates.new(), 0).pools
    assert.equal("draining", pools[1].backends[1].status)
    assert.equal("ejected", pools[1].backends[2].status)
    assert.equal("unhealthy", pools[1].status)
    assert.equal("degraded", pools[2].status)
  end))

  it("are those of docs/metrics.md, with the same type and words", with_state(function(state, block)
    block(lib.vf_state_lease(state, WORKER, 0, 1)).process.heartbeat_ns = 1
    block(0).pid, block(0).pools[0].requests = ffi.C.getpid(), 1
    lib.vf_state_count_status(block(0).pools[0], 1, 200)
    state.backends[0].checked_ns = 1
    local snapshot = snapshot_of(1, 1, nil, 0)
    totals.open(state, snapshot)
    local channels, more = require "veloflux.channels", metrics.more
    channels.register { path = "/api/ws/documented", permission = "user", type = "x" }
    local certificates, turns = require "veloflux.admin.certificates", require "veloflux.admin.metrics.turns"
    local of, read_turns = certificates.of, turns.read
    turns.read = function() return 1 end
    certificates.of = function() return { { name = "site", facts = { chain_not_after = 1 } } } end
    certificates.attach { current = function() return { model = {} } end }
    metrics.more = { require("veloflux.admin.metrics.channels").add, function(to)
      require("veloflux.admin.metrics.jobs").add(to, { { plugin = "x", name = "y", runs = 1, errors = 0,
        skipped = 0, last_ms = 1, next_ms = 2, took_ms = 3 } })
    end }
    local documented, found = {}, parsed()
    for line in io.lines "docs/metrics.md" do
      local name, kind, help = line:match "^| `(veloflux_[%w_]+)` | (%a+) | [^|]* | (.*) |$"
      if name then documented[name] = kind .. ": " .. help end
    end
    local other = snapshot_with_plugin()
    local generation, delta = table_fixture.finish(table_fixture.builder { key = "value" }, 0, 1)
    assert.equal(0, lib.vf_table_adopt(0, generation, delta))
    table_fixture.close(generation, delta)
    totals.open(state, other)
    for name, family in pairs(parsed()) do found[name] = found[name] or family end
    channels.unregister "/api/ws/documented"
    metrics.more, certificates.of, turns.read = more, of, read_turns
    certificates.attach {}
    for name, family in pairs(found) do assert.equal(family.kind .. ": " .. family.help, documented[name], name) end
    local elsewhere = tempdir.read "lua/veloflux/admin/cluster.lua" -- needs a control process
    for name, words in pairs(documented) do
      local help = words:match ": (.*)$"
      local is_there = elsewhere:find('"' .. name .. '"', 1, true) and elsewhere:find('"' .. help .. '"', 1, true)
      assert.is_true(found[name] ~= nil or is_there ~= nil, name)
    end
  end))

  it("tell what the handlers of plugins did, in all processes", with_state(function(state, block)
    local first, second = lib.vf_state_lease(state, WORKER, 0, 1), lib.vf_state_lease(state, CONTROL, 0, 2)
    local access = block(first).plugins[7].phases[4]
    access.calls, access.errors, access.yields, access.skipped = 3, 1, 2, 4
    lib.vf_state_observe_handler(access, 700)
    lib.vf_state_observe_handler(access, 30 * 1000)
    lib.vf_state_observe_handler(access, 5 * 10 ^ 9)
    block(second).plugins[7].phases[4].calls, block(second).plugins[7].trips = 10, 1
    local snapshot = snapshot_with_plugin()
    totals.open(state, snapshot)
    local found = parsed()
    local labels = { plugin = "cors", phase = "access" }
    assert.equal(13, exposition.value(found, "veloflux_plugin_calls_total", labels))
    assert.equal(1, exposition.value(found, "veloflux_plugin_errors_total", labels))
    assert.equal(2, exposition.value(found, "veloflux_plugin_yields_total", labels))
    assert.equal(4, exposition.value(found, "veloflux_plugin_skipped_total", labels))
    assert.equal(1, exposition.value(found, "veloflux_plugin_trips_total", { plugin = "cors" }))
    assert.equal(2, #found.veloflux_plugin_calls_total.samples) -- access and log; nothing of other phases
    local text = metrics.text "1"
    local function has(line) assert.is_truthy(text:find("\n" .. line .. "\n", 1, true), line) end
    has 'veloflux_plugin_duration_seconds_bucket{plugin="cors",phase="access",le="1e-06"} 1'
    has 'veloflux_plugin_duration_seconds_bucket{plugin="cors",phase="access",le="5e-05"} 2'
    has 'veloflux_plugin_duration_seconds_bucket{plugin="cors",phase="access",le="+Inf"} 3'
    has 'veloflux_plugin_duration_seconds_sum{plugin="cors",phase="access"} 5.0000307'
  end))

  it("escape names", with_state(function(state)
    local snapshot = snapshot_of(1, 0, { 'a"b\\c' })
    totals.open(state, snapshot)
    assert.equal(0, exposition.value(parsed(), "veloflux_pool_retries_total", { pool = 'a"b\\c' }))
    assert.equal(0, exposition.value(parsed(), "veloflux_failover_events_total", { pool = 'a"b\\c' }))
  end))

  it("keep their labels bounded and lose no count", with_state(function(state, block)
    local index = lib.vf_state_lease(state, WORKER, 0, 1)
    for i = 0, 4 do
      block(index).routes[i].requests, block(index).pools[i].requests = 10 ^ i, 10 ^ i
      block(index).backends[i].requests = 10 ^ i
    end
    local snapshot = snapshot_of(5, 5)
    totals.open(state, snapshot)
    local max = series.MAX
    series.MAX = 2
    local ok, found = pcall(parsed)
    series.MAX = max
    assert(ok, found)
    assert.equal(10, exposition.value(found, "veloflux_route_requests_total", { route = "route2" }))
    assert.equal(11100, exposition.value(found, "veloflux_route_requests_total", { route = "_other" }))
    assert.equal(11100, exposition.value(found, "veloflux_requests_total",
      { method = "_other", status_code = "_other", pool = "_other" }))
    assert.equal(11111, exposition.sum(found, "veloflux_backend_requests_total"))
    assert.equal(3, #found.veloflux_route_requests_total.samples)
  end))

  it("of 10,000 routes and 1,000 pools take less than 100 ms", with_state(function(state, block)
    for i = 0, 7 do
      local index = lib.vf_state_lease(state, WORKER, i, i + 1)
      for k = 0, 9999 do block(index).routes[k].requests = 1 end
      for k = 0, 999 do block(index).pools[k].requests = 1 end
    end
    local snapshot = snapshot_of(1000, 10000)
    totals.open(state, snapshot)
    local best, text = math.huge, nil
    for _ = 1, 5 do
      local from = os.clock()
      text = metrics.text "1"
      best = math.min(best, os.clock() - from)
    end
    assert.equal(80000, exposition.sum(exposition.parse(text), "veloflux_route_requests_total"))
    assert.is_true(best < (os.getenv "VF_SAN" and 2 or 0.1), ("%.3f s"):format(best))
  end))
end)

describe("status", function()
  it("lists errors, the newest first, whoever noted them", with_state(function(state, block)
    local first, second = lib.vf_state_lease(state, WORKER, 0, 1), lib.vf_state_lease(state, WORKER, 1, 2)
    for i = 1, 40 do
      lib.vf_state_add_error(block(i % 2 == 0 and first or second), 502, "reason" .. i, "/p", 2, 0, 1)
    end
    for i = 0, 19 do
      block(second).errors[i].wall_ms = 1000 + 2 * i
      block(first).errors[i].wall_ms = 1001 + 2 * i
    end
    local snapshot = snapshot_of(1, 0)
    totals.open(state, snapshot)
    local errors = status.full("1", rates.new(), 0).errors
    assert.equal(40, #errors)
    for i, entry in ipairs(errors) do assert.equal("reason" .. 41 - i, entry.reason) end
    assert.equal("pool1", errors[1].pool)
    assert.equal("10.0.0.2:80", errors[1].backend)
  end))

  it("keeps the newest errors when there are more than it shows", with_state(function(state, block)
    for i = 0, 3 do
      local index = lib.vf_state_lease(state, WORKER, i, i + 1)
      for k = 0, 31 do
        lib.vf_state_add_error(block(index), 500 + i, "r", "/", 1, 0xffffffff, 0xffffffff)
        block(index).errors[k].wall_ms = k * 4 + i
      end
    end
    local snapshot = snapshot_of(1, 0)
    totals.open(state, snapshot)
    local found, count = totals.errors()
    assert.equal(50, count)
    for i = 0, 49 do assert.equal(127 - i, tonumber(found[i].wall_ms)) end
    assert.equal("", totals.text(found[0].pool))
  end))

  it("says durations and times as text", function()
    local durations = { [0] = "0s", [59999] = "59s", [61000] = "1m 1s", [3660000] = "1h 1m", [90000000] = "1d 1h" }
    for ms, text in pairs(durations) do assert.equal(text, status.duration(ms)) end
    assert.equal("2026-11-23T18:40:00.123Z", status.time(1795459200123))
  end)

  it("has rates", with_state(function(state, block)
    local one = block(lib.vf_state_lease(state, WORKER, 0, 1))
    local snapshot, r = snapshot_of(1, 0), rates.new()
    totals.open(state, snapshot)
    r:sample(0, status.sample())
    one.totals.requests, one.backends[0].requests = 100, 50
    local full = status.full("1", r, 10)
    assert.equal(10, full.traffic.requests_per_second)
    assert.equal(5, full.pools[1].backends[1].requests_per_second)
    assert.equal(5, full.pools[1].requests_per_second)
  end))
end)
