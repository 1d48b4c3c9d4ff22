local suggest = require "veloflux.model.suggest"
local expand = require "veloflux.model.expand"

describe("suggestions", function()
  it("counts edits, a swap as one", function()
    assert.equal(0, suggest.distance("abc", "abc"))
    assert.equal(1, suggest.distance("algoritm", "algorithm"))
    assert.equal(1, suggest.distance("naem", "name"))
    assert.equal(3, suggest.distance("", "abc"))
  end)

  it("names what is near and nothing that is not", function()
    local known = { "name", "algorithm", "backends" }
    assert.equal("algorithm", suggest.nearest("algoritm", known))
    assert.equal("backends", suggest.nearest("Backend", known))
    assert.is_nil(suggest.nearest("colour", known))
    assert.is_nil(suggest.nearest(("x"):rep(5000), known))
  end)

  it("writes lists", function()
    assert.equal("a", suggest.either { "a" })
    assert.equal("a or b", suggest.either { "a", "b" })
    assert.equal("a, b or c", suggest.either { "a", "b", "c" })
  end)
end)

describe("references to the environment", function()
  local env = { A = "1", EMPTY = "", OPEN = "${A}" }
  local function get(name) return env[name] end

  it("expands", function()
    local cases = { ["${A}"] = "1", ["x${A}y${A}"] = "x1y1", ["${B:-2}"] = "2", ["${EMPTY:-3}"] = "3",
      ["${EMPTY}"] = "", ["${B:-}"] = "", ["${B:-${A}}"] = "1", ["plain $5 {x}"] = "plain $5 {x}", ["$${A}"] = "${A}",
      ["$$${A}"] = "$${A}", ["$${open"] = "${open", ["{${A}}"] = "{1}", ["${OPEN}"] = "${A}" }
    for text, expected in pairs(cases) do assert.equal(expected, expand.expand(text, get), text) end
  end)

  it("says what is wrong", function()
    local function message(text) return select(2, expand.expand(text, get)) end
    assert.equal("the environment variable B is not set", message "${B}")
    assert.equal("expected ${NAME} or ${NAME:-default}, got ${1X}", message "${1X}")
    assert.equal("expected ${NAME} or ${NAME:-default}, got ${A:+x}", message "${A:+x}")
    assert.equal("a ${ without its }: write $${ for a literal ${", message "${A")
  end)

  it("escapes so that it expands to the same again", function()
    for _, text in ipairs { "${A}", "$${A}", "a ${", "$", "{}", "$5" } do
      assert.equal(text, expand.expand(expand.escape(text), get))
    end
  end)
end)
