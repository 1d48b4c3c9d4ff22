local library = require "support.library" -- luacheck: ignore 211
local document = require "veloflux.model.document"

local function problem(text)
  local doc, what = document.parse(text, "f.yaml")
  assert.is_nil(doc)
  return what.line, what.message
end

describe("a document", function()
  it("has nodes with lines, kinds and texts", function()
    local doc = assert(document.parse("a: 1\nb:\n  - x\n  - 'null'\n  - null\n", "f.yaml"))
    local root = doc.nodes[0]
    assert.equal(document.MAP, root.kind)
    assert.equal(2, root.len)
    local a, key = document.find(doc, 0, "a")
    assert.equal("1", document.text(doc, a))
    assert.equal("a", document.text(doc, key))
    local b = document.find(doc, 0, "b")
    assert.equal(document.LIST, doc.nodes[b].kind)
    assert.equal(3, doc.nodes[b].len)
    local quoted = doc.nodes[doc.nodes[b].first].next
    assert.equal(document.QUOTED, doc.nodes[quoted].flags)
    assert.equal(document.NULL, doc.nodes[doc.nodes[quoted].next].flags)
    assert.equal(5, doc.nodes[doc.nodes[quoted].next].line)
    assert.is_nil(document.find(doc, 0, "c"))
  end)

  it("reads JSON, empty texts and byte order marks", function()
    local doc = assert(document.parse('{"a":"1","b":[{"c":"x\\u00e9\\"\\n"}]}', "f"))
    local list = document.find(doc, 0, "b")
    assert.equal("x\195\169\"\n", document.text(doc, document.find(doc, doc.nodes[list].first, "c")))
    for _, text in ipairs { "", "\n\n", "# nothing\n", "---\n" } do
      local empty = assert(document.parse(text, "f"))
      assert.equal(document.NULL, empty.nodes[0].flags)
    end
    assert.is_table(document.parse("\239\187\191a: 1\n", "f"))
  end)

  it("resolves aliases", function()
    local doc = assert(document.parse("base: &b { x: 1 }\none: *b\ntwo: [ *b, &n 5, *n ]\n", "f"))
    local one = document.find(doc, 0, "one")
    assert.equal("1", document.text(doc, document.find(doc, one, "x")))
    local first = doc.nodes[document.find(doc, 0, "two")].first
    assert.equal(3, doc.nodes[document.find(doc, 0, "two")].len)
    local last = doc.nodes[doc.nodes[first].next].next
    assert.equal("5", document.text(doc, last))
    assert.equal(0, doc.nodes[last].next)
  end)

  it("refuses what it does not know, with the line", function()
    local cases = {
      { "a: 1\nb: !!str 2\n", 2, "tags (!) are not supported" },
      { "a: &x {b: 1}\nc:\n  <<: *x\n", 3, "merge keys (<<) are not supported" },
      { "a: 1\n---\nb: 2\n", 3, "more than one document" },
      { "a: *nope\n", 1, "an alias (*) without its anchor (&)" },
      { "a: &x [ *x ]\n", 1, "an alias (*) within what it stands for" },
      { "? [a]\n: 1\n", 1, "a key must be a plain text" },
      { ("["):rep(65) .. ("]"):rep(65), 1, "nested too deeply" },
    }
    for _, case in ipairs(cases) do
      local line, message = problem(case[1])
      assert.equal(case[3], message)
      assert.equal(case[2], line, message)
    end
  end)

  it("says where the syntax ends", function()
    local line, message = problem "a: 1\nb: [1, 2\nc: 3\n"
    assert.equal(3, line)
    assert.equal("did not find expected ',' or ']' while parsing a flow sequence that begins on line 2", message)
    assert.equal(2, (problem "a: 1\n\tb: 2\n"))
    line, message = problem "a: 1\nb: \1\n"
    assert.equal(2, line)
    assert.equal("control characters are not allowed", message)
    assert.equal(2, (problem "a: 1\nb: \255\n"))
  end)

  it("finds each of many anchors, and the last of a name, in a time that does not grow with their number", function()
    local lines = {}
    for i = 1, 60000 do lines[i] = ("- &a%d [%d]\n"):format(i, i) end
    lines[#lines + 1] = "- &a7 changed\n"
    for _ = 1, 60000 do lines[#lines + 1] = "- *a1\n" end
    lines[#lines + 1] = "- *a60000\n- *a7\n"
    local doc = assert(document.parse(table.concat(lines), "f"))
    local values = doc.nodes[0]
    assert.equal(120003, values.len)
    local last = values.first
    for _ = 1, 120001 do last = doc.nodes[last].next end
    assert.equal("60000", document.text(doc, doc.nodes[last].first))
    assert.equal("changed", document.text(doc, doc.nodes[last].next))
  end)

  it("bounds the number of anchors", function()
    local line, message = problem(("- &a x\n"):rep(65537))
    assert.same({ 65537, "too many anchors (&)" }, { line, message })
  end)

  it("bounds what aliases expand to", function()
    local lines = { "a0: &a0 [x, x, x, x, x, x, x, x, x, x]" }
    for i = 1, 9 do
      local alias = ("*a%d, "):format(i - 1)
      lines[#lines + 1] = ("a%d: &a%d [%s]"):format(i, i, alias:rep(10):sub(1, -3))
    end
    local _, message = problem(table.concat(lines, "\n"))
    assert.equal("too many values", message)
  end)
end)
