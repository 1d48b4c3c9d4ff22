--- Values that are data themselves.
require "support.library"
local document = require "veloflux.model.document"
local json = require "veloflux.pdk.json"
local schema = require "veloflux.model.schema"

local function read(text, attr, env)
  local compiled = schema.compile(schema.tree(attr))
  local doc = assert(document.parse(text, "tree"))
  local value, problems = schema.read(compiled, doc, function(name) return (env or {})[name] end)
  return value, problems, compiled
end

local function back(text)
  local value, problems, compiled = read(text)
  assert.same({}, problems)
  return schema.encode(compiled, value)
end

describe("a tree", function()
  it("keeps what JSON says", function()
    local text = '{"a":[1,-2.5,"3",true,null,[],{}],"b":{"c":"x"}}'
    assert.equal(text, back(text))
  end)

  it("types what YAML writes without quotes", function()
    local value = read "{ n: 12, f: 1.5, e: 1e3, b: true, no: yes, t: 1.2.3, q: '12', nothing: ~ }"
    assert.same({ n = 12, f = 1.5, e = 1000, b = true, no = "yes", t = "1.2.3", q = "12", nothing = json.null }, value)
  end)

  it("expands references, and writes texts so that they come back", function()
    local value, _, compiled = read('["${HOME}", "$${HOME}"]', nil, { HOME = "there" })
    assert.same({ "there", "${HOME}" }, { value[1], value[2] })
    assert.equal('["there","$${HOME}"]', schema.encode(compiled, value))
  end)

  it("says what is wrong, and where", function()
    local _, problems = read('{ a: [ 1, "${NOTHING}" ], b: 1, b: 2 }')
    assert.equal("/a/1", problems[1].pointer)
    assert.equal("duplicate key", problems[2].message)
    _, problems = read("[]", { allows = { map = true }, expects = "a map" })
    assert.equal("expected a map, got a list", problems[1].message)
  end)
end)
