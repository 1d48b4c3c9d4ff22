--- The parts of reading conf files: problems as they are shown, places in documents, where state lives.
require "support.library"
local document = require "veloflux.model.document"
local places = require "veloflux.conf.places"
local problems = require "veloflux.conf.problems"
local sources = require "veloflux.conf.sources"

describe("problems", function()
  it("are sorted by file, as the files were read, and line; those of one line stay as they came", function()
    local list = { { file = "b", line = 1, message = 1 }, { file = "a", line = 9, message = 2 },
      { file = "a", line = 2, message = 3 }, { file = "a", line = 9, message = 4 },
      { file = "environment", message = 5 } }
    problems.sort(list, { "a", "b" })
    local order = {}
    for i, problem in ipairs(list) do
      order[i] = problem.message
      assert.is_nil(problem.nth)
    end
    assert.same({ 5, 3, 2, 4, 1 }, order)
  end)

  it("are written with what is known of their place", function()
    local problem = { file = "a", line = 3, path = "pools[0].name", message = "bad" }
    assert.equal("a:3: pools[0].name: bad", problems.format(problem))
    assert.equal("a: bad", problems.format { file = "a", path = "", message = "bad" })
  end)

  it("have a JSON Pointer", function()
    assert.equal("/pools/0/name", problems.pointer { path = "pools[0].name" })
    assert.equal("/a~1b/c~0d", problems.pointer { path = "a/b.c~d" })
    assert.equal("/x", problems.pointer { path = "y", pointer = "/x" })
    assert.equal("", problems.pointer {})
  end)
end)

describe("places", function()
  local doc = document.parse("pools:\n  - { name: a }\n  - name: b\n    backends: []\n", "conf")

  it("are the nodes at a list of keys and positions, or the deepest that is there", function()
    local function line(path) return doc.nodes[places.locate(doc, path)].line end
    assert.equal(2, line { "pools", 1, "name" })
    assert.equal(4, line { "pools", 2, "backends" })
    assert.equal(3, line { "pools", 2, "nothing", "below" })
    assert.equal(places.locate(doc, {}), places.locate(doc, { "routes" }))
  end)

  it("are written as people count: from 0", function()
    assert.equal("pools[0].name", places.text { "pools", 1, "name" })
    assert.equal("", places.text {})
  end)

  it("know which element of a list a node is", function()
    assert.equal(0, places.position(doc, "pools", places.locate(doc, { "pools", 1 })))
    assert.equal(1, places.position(doc, "pools", places.locate(doc, { "pools", 2 })))
  end)
end)

describe("a source that cannot be parsed", function()
  it("still says where its state lives", function()
    assert.equal("/var/lib/v", sources.guess("a: [\ndata_dir: /var/lib/v # here\n", "/etc/v").data_dir)
    assert.equal("/etc/v/state", sources.guess('data_dir: "state"\n', "/etc/v").data_dir)
    assert.is_nil(rawget(sources.guess("nothing", "/etc/v"), "data_dir"))
  end)
end)
