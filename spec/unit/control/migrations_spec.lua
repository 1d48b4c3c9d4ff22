--- Records of plugins that are brought to the version that the plugin has now.
local library = require "support.library" -- luacheck: ignore 211
local json = require "veloflux.pdk.json"
local migrations = require "veloflux.control.migrations"

local function kind(version, steps) return { kind = "widgets", plugin = "w", version = version, migrations = steps } end

describe("a migration", function()
  it("is marked in the text of the record", function()
    assert.equal('{"name":"a"}', migrations.mark(kind(1, {}), '{"name":"a"}'))
    assert.equal('{"$version":3,"name":"a"}', migrations.mark(kind(3, {}), '{"name":"a"}'))
    assert.equal('{"$version":2}', migrations.mark(kind(2, {}), "{}"))
  end)

  it("does nothing to what is of the version", function()
    assert.equal('{"name":"a"}', migrations.apply(kind(3, {}), '{"$version":3,"name":"a"}'))
    assert.equal("{}", migrations.apply(kind(2, {}), '{"$version":2}'))
    assert.equal('{"name":"a"}', migrations.apply(kind(1, {}), '{"name":"a"}'))
  end)

  it("runs the steps that are missing, in order", function()
    local of = kind(4, { [2] = function(record) record.size = 1 end,
      [4] = function(record) return { name = record.name, width = record.size + 1, list = record.list } end })
    assert.same({ name = "a", width = 2, list = {} }, json.decode(migrations.apply(of, '{"list":[],"name":"a"}')))
    assert.matches('"list":%[%]', migrations.apply(of, '{"list":[],"name":"a"}'))
    assert.same({ name = "a", width = 8 }, json.decode(migrations.apply(of, '{"$version":3,"name":"a","size":7}')))
  end)

  it("says which step failed", function()
    local function problem(of, text) return select(2, migrations.apply(of, text or "{}")) end
    assert.matches("^widgets of the plugin w: migration 2 failed: .*lost it$",
      problem(kind(2, { [2] = function() error "lost it" end })))
    assert.equal("widgets of the plugin w: migration 2: expected it to return the record, got a number",
      problem(kind(2, { [2] = function() return 5 end })))
    assert.equal("widgets of the plugin w: migration 2 failed: does not come to an end",
      problem(kind(2, { [2] = function() while true do end end })))
    assert.equal("is of version 5 of widgets, the plugin w knows up to 2", problem(kind(2, {}), '{"$version":5}'))
  end)
end)
