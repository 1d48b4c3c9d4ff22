local exposition = require "unit.admin.exposition"
local prometheus = require "veloflux.admin.prometheus"

describe("prometheus text", function()
  it("keeps the lines of a family together", function()
    local text = prometheus.new()
    local a, b = text:family("a_total", "counter", "First."), text:family("b", "gauge", "Second.")
    b:add("", 1.5)
    a:add('{x="1"}', 3)
    b:add('{x="2"}', -1)
    a:add('{x="2"}', 2 ^ 53)
    text:family("c", "gauge", "Not there.")
    assert.equal([[
# HELP a_total First.
# TYPE a_total counter
a_total{x="1"} 3
a_total{x="2"} 9007199254740992
# HELP b Second.
# TYPE b gauge
b 1.5
b{x="2"} -1
]], text:text())
    exposition.parse(text:text())
  end)

  it("tells of families together, by the fields of a struct or table", function()
    local text = prometheus.new()
    local rows = text:rows("x_", {
      { "n", "n_total", "counter", "Count." },
      { function(source) return source.age end, "age_seconds", "gauge", "Age.", 1e-3 },
    })
    rows:add("", { n = 3, age = 1500 })
    rows:add('{a="b"}', { n = 4ULL })
    assert.equal([[
# HELP x_n_total Count.
# TYPE x_n_total counter
x_n_total 3
x_n_total{a="b"} 4
# HELP x_age_seconds Age.
# TYPE x_age_seconds gauge
x_age_seconds 1.5
]], text:text())
  end)

  it("escapes labels and help", function()
    local text = prometheus.new()
    text:family("a", "gauge", "One\nline \\."):add(prometheus.labels { "x", 'q"b\\s\nn' }, 1)
    assert.is_truthy(text:text():find("# HELP a One\\nline \\\\.\n", 1, true))
    assert.equal('q"b\\s\nn', exposition.parse(text:text()).a.samples[1].labels.x)
    assert.equal('{x="1",y="2"}', prometheus.with(prometheus.labels { "x", 1 }, "y", 2))
  end)

  it("writes histograms cumulatively", function()
    local text, counts = prometheus.new(), { 1, 2, 3 }
    local family = text:family("d_seconds", "histogram", "Time.")
    assert.equal(6, family:add_histogram('{p="w"}', { 0.5, 1 }, function(i) return counts[i] end, 4.5))
    family:add_histogram("", { 0.5, 1 }, function() return 0 end, 0)
    local parsed = exposition.parse(text:text())
    assert.equal(3, exposition.value(parsed, "d_seconds_bucket", { p = "w", le = "1" }))
    assert.equal(6, exposition.value(parsed, "d_seconds_bucket", { p = "w", le = "+Inf" }))
    assert.equal(4.5, exposition.value(parsed, "d_seconds_sum", { p = "w" }))
    assert.equal(6, exposition.value(parsed, "d_seconds_count", { p = "w" }))
    assert.equal(0, exposition.value(parsed, "d_seconds_count", {}))
  end)
end)

describe("the reader of the specs", function()
  for name, text in pairs {
    ["no TYPE"] = "# HELP a x\na 1\n",
    ["a sample of another family"] = "# HELP a x\n# TYPE a gauge\nb 1\n",
    ["a family in two places"] = "# HELP a x\n# TYPE a gauge\na 1\n# HELP b x\n# TYPE b gauge\nb 1\na{c=\"1\"} 1\n",
    ["the same series twice"] = "# HELP a x\n# TYPE a gauge\na{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 1\n",
    ["a bad value"] = "# HELP a x\n# TYPE a gauge\na one\n",
    ["a bare quote"] = "# HELP a x\n# TYPE a gauge\na{x=\"q\"b\"} 1\n",
    ["no last line end"] = "# HELP a x\n# TYPE a gauge\na 1",
    ["buckets that fall"] = "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\n"
      .. "a_sum 1\na_count 1\n",
    ["no +Inf"] = "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_sum 1\na_count 2\n",
  } do
    it("refuses " .. name, function() assert.has_error(function() exposition.parse(text) end) end)
  end
end)
