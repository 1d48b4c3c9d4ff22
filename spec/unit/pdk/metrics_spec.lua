--- Metrics of plugins: what is counted, by whom, and what /metrics shows of it.
local fixture = require "unit.pdk.area_fixture"
local exposition = require "unit.admin.exposition"
local plugin_metrics = require "veloflux.admin.metrics.own"
local prometheus = require "veloflux.admin.prometheus"
local traces = require "support.traces"

--- Loads the modules as a process does that gets a block of its own, or the one given.
local function new_process()
  for _, name in ipairs { "veloflux.pdk.metrics", "veloflux.runtime.metrics_log" } do package.loaded[name] = nil end
  local block = fixture.lease()
  return require "veloflux.pdk.metrics", block
end

local function end_process(block) fixture.lib.vf_state_end_lease(fixture.state, block) end

--- What /metrics has of plugins, as text and read strictly.
local function shown(node)
  local out = prometheus.new()
  if node then node(out) end
  plugin_metrics.add(out, fixture.state)
  local text = out:text()
  exposition.parse(text)
  return text
end

local function has(line) return ("\n" .. shown()):find("\n" .. line .. "\n", 1, true) ~= nil end

describe("pdk.metrics", function()
  local metrics, block

  before_each(function()
    fixture.plugin "my-plugin"
    metrics, block = new_process()
  end)

  after_each(function() end_process(block) end)

  it("counts", function()
    local requests = metrics.counter("requests", 'Requests, "all" \\ of them.')
    local labelled = metrics.counter("verdicts_total", "Verdicts.", { "route", "verdict" })
    requests:inc()
    requests:inc(2.5)
    labelled:inc(1, "site", true)
    labelled:inc(2, "site", true)
    labelled:inc(1, "site", 200)
    labelled:inc(1, "site", nil)
    labelled:inc(1, 'quote " backslash \\ line\n tab\t', "\255\195\164\195")
    assert.is_true(has "# TYPE veloflux_plugin_my_plugin_requests_total counter")
    assert.is_true(has "veloflux_plugin_my_plugin_requests_total 3.5")
    assert.is_true(has 'veloflux_plugin_my_plugin_verdicts_total{route="site",verdict="true"} 3')
    assert.is_true(has 'veloflux_plugin_my_plugin_verdicts_total{route="site",verdict="200"} 1')
    assert.is_true(has 'veloflux_plugin_my_plugin_verdicts_total{route="site",verdict=""} 1')
    assert.is_true(has('veloflux_plugin_my_plugin_verdicts_total' ..
      '{route="quote \\" backslash \\\\ line\\n tab?",verdict="?\195\164?"} 1'))
  end)

  it("has gauges, combined as they say", function()
    local sum, max = metrics.gauge("g_sum", "A sum."), metrics.gauge("g_max", "A maximum.", {}, { combine = "max" })
    local min, last = metrics.gauge("g_min", "A minimum.", {}, { combine = "min" }),
      metrics.gauge("g_last", "The last.", {}, { combine = "last" })
    for _, gauge in ipairs { sum, max, min, last } do gauge:set(5) end
    sum:inc(2)
    sum:dec()
    local first = block
    metrics, block = new_process()
    metrics.gauge("g_sum", "A sum."):set(10)
    metrics.gauge("g_max", "A maximum.", {}, { combine = "max" }):set(3)
    metrics.gauge("g_min", "A minimum.", {}, { combine = "min" }):set(3)
    metrics.gauge("g_last", "The last.", {}, { combine = "last" }):set(-4)
    assert.is_true(has "veloflux_plugin_my_plugin_g_sum 16")
    assert.is_true(has "veloflux_plugin_my_plugin_g_max 5")
    assert.is_true(has "veloflux_plugin_my_plugin_g_min 3")
    assert.is_true(has "veloflux_plugin_my_plugin_g_last -4")
    end_process(first)
    assert.is_true(has "veloflux_plugin_my_plugin_g_sum 10")
    assert.is_true(has "veloflux_plugin_my_plugin_g_max 3")
    end_process(block)
    assert.is_nil(shown():find "my_plugin_g_sum %d")
    metrics, block = new_process()
    metrics.gauge("g_sum", "A sum."):inc()
    assert.is_true(has "veloflux_plugin_my_plugin_g_sum 1")
  end)

  it("has histograms", function()
    local sizes = metrics.histogram("sizes", "Sizes.", { "kind" }, { 10, 100 })
    for _, size in ipairs { 1, 10, 11, 1000 } do sizes:observe(size, "a") end
    local seconds = metrics.histogram("seconds", "Times.")
    seconds:observe(0.3)
    assert.is_true(has 'veloflux_plugin_my_plugin_sizes_bucket{kind="a",le="10"} 2')
    assert.is_true(has 'veloflux_plugin_my_plugin_sizes_bucket{kind="a",le="100"} 3')
    assert.is_true(has 'veloflux_plugin_my_plugin_sizes_bucket{kind="a",le="+Inf"} 4')
    assert.is_true(has 'veloflux_plugin_my_plugin_sizes_sum{kind="a"} 1022')
    assert.is_true(has 'veloflux_plugin_my_plugin_sizes_count{kind="a"} 4')
    assert.is_true(has 'veloflux_plugin_my_plugin_seconds_bucket{le="0.5"} 1')
  end)

  it("counts under labels that no table has as keys", function()
    local odd = metrics.counter("odd", "Odd.", { "a" })
    for _ = 1, 2 do
      odd:inc(1, 0 / 0)
      odd:inc(1, nil)
    end
    assert.is_true(has 'veloflux_plugin_my_plugin_odd_total{a=""} 2')
    assert.matches('veloflux_plugin_my_plugin_odd_total{a="%-?nan"} 2', shown())
  end)

  it("sums over processes, those that have ended included", function()
    metrics.counter("sums", "Sums.", { "a" }):inc(1, "x")
    end_process(block)
    metrics, block = new_process()
    metrics.counter("sums", "Sums.", { "a" }):inc(2, "x")
    metrics.counter("sums", "Sums.", { "a" }):inc(5, "y")
    local second = block
    metrics, block = new_process()
    local sums = metrics.counter("sums", "Sums.", { "a" })
    sums:inc(10, "x")
    assert.is_true(has 'veloflux_plugin_my_plugin_sums_total{a="x"} 13')
    assert.is_true(has 'veloflux_plugin_my_plugin_sums_total{a="y"} 5')
    end_process(second)
    sums:inc(10, "x")
    assert.is_true(has 'veloflux_plugin_my_plugin_sums_total{a="x"} 23')
  end)

  it("collapses label values beyond the ceiling, over all processes", function()
    local users = metrics.counter("users", "Users.", { "user", "ok" }, { max_series = 3 })
    for i = 1, 10 do users:inc(1, "u" .. i, true) end
    users:inc(1, "u2", true)
    local first = block
    metrics, block = new_process()
    users = metrics.counter("users", "Users.", { "user", "ok" }, { max_series = 3 })
    users:inc(1, "u3", true)
    users:inc(1, "u4", true)
    assert.is_true(has 'veloflux_plugin_my_plugin_users_total{user="u2",ok="true"} 2')
    assert.is_true(has 'veloflux_plugin_my_plugin_users_total{user="u3",ok="true"} 2')
    assert.is_true(has 'veloflux_plugin_my_plugin_users_total{user="other",ok="other"} 8')
    assert.is_nil(shown():find 'user="u4"')
    assert.is_true(has 'veloflux_plugin_metrics_collapsed_total{metric="veloflux_plugin_my_plugin_users_total"} 8')
    end_process(first)
  end)

  it("keeps plugins apart, and off the names of the node", function()
    metrics.counter("same", "Same."):inc(1)
    fixture.plugin "other"
    metrics.counter("same", "Same."):inc(2)
    fixture.plugin "calls"
    metrics.gauge("total", "A name of the node's."):set(2)
    assert.is_true(has "veloflux_plugin_my_plugin_same_total 1")
    assert.is_true(has "veloflux_plugin_other_same_total 2")
    local text = shown(function(out) out:family("veloflux_plugin_calls_total", "counter", "Calls."):add("", 1) end)
    assert.is_truthy(text:find "\nveloflux_plugin_calls_total 1\n")
    assert.is_nil(text:find "A name of the node's")
  end)

  it("shows the shape that was used last, after a reload and back again", function()
    local old = metrics.counter("shape", "Old.", { "a" })
    old:inc(1, "x")
    metrics.counter("shape", "New.", { "b" }):inc(5, "y")
    assert.is_true(has 'veloflux_plugin_my_plugin_shape_total{b="y"} 5')
    assert.is_nil(shown():find 'shape_total{a="x"')
    metrics.counter("shape", "Old.", { "a" }):inc(1, "x")
    assert.is_true(has 'veloflux_plugin_my_plugin_shape_total{a="x"} 2')
    assert.is_nil(shown():find 'shape_total{b="y"')
  end)

  it("may be made while code is loaded, but not counted", function()
    fixture.plugin(nil)
    local early = metrics.counter("early", "Made early.")
    local ok, err = pcall(function() early:inc() end)
    assert.is_false(ok)
    assert.matches("^spec/unit/pdk/metrics_spec.lua:%d+: metrics.counter cannot be called while the plugin's code", err)
    fixture.plugin "my-plugin"
    early:inc()
    assert.is_true(has "veloflux_plugin_my_plugin_early_total 1")
  end)

  it("raises at the plugin's line for what makes no sense", function()
    local function expect(message, call)
      local ok, err = pcall(call)
      assert.is_false(ok)
      assert.matches("^spec/unit/pdk/metrics_spec.lua:%d+: " .. message, err)
    end
    expect("metrics.counter: expected a name of lower%-case letters", function() metrics.counter("No-Name", "x") end)
    expect("metrics.counter: expected a help text", function() metrics.counter "x" end)
    expect("metrics.gauge: le is no name of a label", function() metrics.gauge("x", "x", { "le" }) end)
    expect("metrics.gauge: more than 6 labels",
      function() metrics.gauge("x", "x", { "a", "b", "c", "d", "e", "f", "g" }) end)
    expect("metrics.gauge: combine: ", function() metrics.gauge("x", "x", nil, { combine = "avg" }) end)
    expect("metrics.counter: combine: ", function() metrics.counter("x", "x", nil, { combine = "sum" }) end)
    expect("metrics.counter: max_series: ", function() metrics.counter("x", "x", nil, { max_series = 0 }) end)
    expect("metrics.histogram: bounds: expected ascending", function() metrics.histogram("x", "x", {}, { 2, 1 }) end)
    expect("metrics.histogram: expected a list of 1 to 40", function() metrics.histogram("x", "x", {}, {}) end)
    expect("metrics.counter: expected a number, got x", function() metrics.counter("x", "x"):inc "x" end)
    expect("metrics.counter: expected a number from 0 on", function() metrics.counter("x", "x"):inc(-1) end)
    expect("metrics.gauge: expected a number, got nil", function() metrics.gauge("x", "x"):set() end)
    expect("metrics.histogram: expected a number, got nan", function() metrics.histogram("x", "x"):observe(0 / 0) end)
  end)

  it("compiles", function()
    local plain, labelled = metrics.counter("plain", "x"), metrics.counter("labelled", "x", { "a", "b" })
    local gauge, sizes = metrics.gauge("gauge", "x"), metrics.histogram("hist", "x", { "a" })
    local texts, i = { "one", "two", "three" }, 0
    traces.assert_compiles(function()
      i = i + 1
      plain:inc(1)
      labelled:inc(1, texts[i % 3 + 1], 200)
      gauge:set(i)
    end)
    traces.assert_compiles(function() sizes:observe(0.2, "x") end)
  end)

  -- The last: the block stays full.
  it("says how much it could not count", function()
    local n = 0
    repeat
      n = n + 1
      metrics.histogram("large" .. n, ("help "):rep(70), { "l" }, nil, { max_series = 1000 }):observe(1, "x")
    until n % 100 == 0 and (shown():match "metrics_dropped_total (%d+)" or "0") ~= "0" or n > 2000
    assert.is_true(n <= 2000)
    local before = tonumber(shown():match "metrics_dropped_total (%d+)")
    metrics.histogram("one_more", ("help "):rep(75), { "l" }):observe(1, "x")
    assert.equal(before + 1, tonumber(shown():match "metrics_dropped_total (%d+)"))
  end)
end)
