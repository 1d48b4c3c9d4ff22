require "support.library"
local document = require "veloflux.model.document"
local json = require "veloflux.pdk.json"
local schema = require "veloflux.model.schema"
local view = require "veloflux.model.view"

local TYPE = schema.compile(schema.record { fields = {
  { name = schema.string { required = true } },
  { wait = schema.duration { default = "5s", off = true } },
  { size = schema.size { default = "32k" } },
  { count = schema.integer { default = 2 } },
  { on = schema.boolean { default = true } },
  { key = schema.string { secret = true } },
  { hosts = schema.list { default = {}, elements = schema.string {} } },
  { labels = schema.map { values = schema.string {} } },
  { check = schema.shape { scalar = schema.boolean { off = true },
    map = schema.record { fields = { { path = schema.string { default = "/" } } } } } },
  { gone = schema.unavailable {} },
} })

local function read(text)
  local value, problems = schema.read(TYPE, assert(document.parse(text, "t")), function(name)
    return name == "KEY" and "from outside" or nil
  end)
  assert.same({}, problems)
  return value
end

describe("the view of a value", function()
  it("is complete, as the conf file would write it, with secrets masked", function()
    local shown = view.show(TYPE, read '{name: "a$${b}", key: sesame, check: {}, labels: {x: "1"}}')
    assert.same({ name = "a${b}", wait = "5s", size = "32k", count = 2, on = true, key = "*****", hosts = {},
      labels = { x = "1" }, check = { path = "/" } }, shown)
    assert.is_true(json.is_array(shown.hosts))
    shown = view.show(TYPE, read '{name: a, wait: off, check: false, key: "${KEY}"}')
    assert.same({ "off", false, "*****" }, { shown.wait, shown.check, shown.key })
  end)

  it("has references as they are written, whatever they lead to", function()
    local text = schema.string { referenceable = true }
    local compiled = schema.compile(schema.record { fields = { { name = text },
      { list = schema.list { elements = text } }, { map = schema.map { values = text } },
      { shape = schema.shape { scalar = text } } } })
    local value = schema.read(compiled, assert(document.parse("{name: '{vault://env/k}', list: ['{vault://env/k}', a], "
      .. "map: {x: '{vault://env/k}'}, shape: '{vault://env/k}'}", "t")), function() return "hidden" end)
    assert.same({ "hidden", "hidden" }, { value.name, value.list[1] })
    assert.same({ name = "{vault://env/k}", list = { "{vault://env/k}", "a" }, map = { x = "{vault://env/k}" },
      shape = "{vault://env/k}" }, view.show(compiled, value))
    value = schema.read(compiled, assert(document.parse("name: '${K}'", "t")), function() return "open" end)
    assert.equal("open", view.show(compiled, value).name) -- what comes back is not expanded
  end)

  it("opens to what reads back as the same", function()
    local value = read '{name: "a$${b}", key: "${KEY}", hosts: [x], wait: 1m}'
    local open = view.open(TYPE, value)
    assert.same({ name = "a$${b}", key = "${KEY}", hosts = { "x" }, wait = "1m" }, open)
  end)
end)

describe("masks that come back", function()
  local MASK = view.MASK

  it("stand for what was there", function()
    assert.same({ key = "k", list = { { name = "b", key = "2" }, { name = "a", key = "1" } } },
      view.unmask({ key = MASK, list = json.array { { name = "b", key = MASK }, { name = "a", key = MASK } } },
        { key = "k", list = json.array { { name = "a", key = "1" }, { name = "b", key = "2" } } }))
  end)

  it("stay where nothing was", function()
    assert.same({ key = MASK, other = { MASK } }, view.unmask({ key = MASK, other = json.array { MASK } }, {}))
  end)

  it("are not guessed between two that are alike", function()
    assert.same({ { type = "x", key = MASK } }, view.unmask(json.array { { type = "x", key = MASK } },
      json.array { { type = "x", key = "1" }, { type = "x", key = "2" } }))
  end)
end)

describe("changes", function()
  local OLD = { a = 1, inner = { x = 1, y = 2 }, list = json.array { 1, 2 } }

  it("put fields, null resets", function()
    assert.same({ inner = { z = 3 }, list = { 1, 2 }, b = 2 },
      view.change("put", OLD, { a = json.null, inner = { z = 3 }, b = 2 }))
  end)

  it("merge (RFC 7396)", function()
    assert.same({ a = 1, inner = { y = 2, z = {} }, list = { 3 } },
      view.change("merge", OLD, { inner = { x = json.null, z = { q = json.null } }, list = json.array { 3 } }))
  end)

  it("replace, and leave the old alone", function()
    assert.same({ b = 1 }, view.change("replace", OLD, { b = 1 }))
    assert.same({ a = 1, inner = { x = 1, y = 2 }, list = { 1, 2 } }, OLD)
  end)
end)

describe("unknown fields", function()
  it("are taken out at every level", function()
    local value = { name = "a", colour = 1, check = { path = "/", colour = 2 }, labels = { any = "thing" } }
    view.strip(TYPE, value)
    assert.same({ name = "a", check = { path = "/" }, labels = { any = "thing" } }, value)
  end)
end)
