require "support.library"
local json = require "veloflux.pdk.json"
local text = require "veloflux.cli.text"

describe("YAML", function()
  it("reads scalars as people mean them", function()
    local value = text.parse("a: 1\nb: 1.5\nc: true\nd: \"1\"\ne:\nf: 10s\ng: \"-\"\nh: [x, 2]\ni: {}\n"
      .. "j: 1.2.3.4:80\n", "t")
    assert.same({ a = 1, b = 1.5, c = true, d = "1", e = json.null, f = "10s", g = "-", h = { "x", 2 }, i = {},
      j = "1.2.3.4:80" }, value)
    assert.is_true(json.is_array(text.parse("[]", "t")))
    assert.is_true(json.is_array(text.parse("x: [1]", "t").x))
  end)

  it("says where it is wrong", function()
    local value, message = text.parse("a: [1\nb: }", "conf.yaml")
    assert.is_nil(value)
    assert.is_truthy(message:find "^conf%.yaml:%d+: ")
  end)

  it("is read back as it was written", function()
    local values = { { a = 1, b = "x", c = { d = { "e", { f = 1, g = { h = 2 } }, {} } } }, json.array(), {},
      { name = "yes", on = "true", n = "1", ["a b"] = "c: d", s = "", t = "#x", u = "- y", v = "line\nbreak",
        w = "null", x = json.null, y = false, z = "127.0.0.1:80" },
      json.array { json.array { 1, 2 }, { a = json.array(), b = { c = json.array { json.array { "x" } } } } } }
    for i, value in ipairs(values) do
      local lines = text.yaml(value)
      assert.same(json.canonical(value), json.canonical(assert(text.parse(table.concat(lines, "\n"), "t" .. i))))
    end
  end)
end)

describe("a table", function()
  it("has columns as wide as they need to be", function()
    local rows = { { name = "a", n = 1, tags = { "x", "y" } }, { name = "bcdé", n = json.null, tags = {} },
      { n = true, tags = { { name = "p" } } } }
    assert.same({ "NAME  N    TAGS", "a     1    x,y", "bcdé  -    -", "-     yes  p" },
      text.table({ "name", "n", "tags" }, rows))
  end)

  it("cuts what is too long, and shows control characters as spaces", function()
    local lines = text.table({ "a" }, { { a = ("é"):rep(100) }, { a = "x\27[31my" } })
    assert.is_true(#lines[2] < 100)
    assert.is_truthy(lines[2]:find "%.%.%.$")
    assert.equal("x [31my", lines[3])
  end)
end)
