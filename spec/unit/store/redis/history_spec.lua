--- The history of a store in Redis, read in parts that are not too large.
local loop = require "support.loop"
local servers = require "unit.pdk.redis_server"
local worlds = require "unit.store.redis.fixture"

local SIZE, LAST = 1000, 7

local function text_of(version) return ('"%s"'):format(tostring(version):rep(SIZE)) end

describe("the history in Redis", function()
  it("is read in parts when its versions are large", loop.spec(function()
    local world, server = worlds.new(), servers.start()
    local store = world:open(server, { most_bytes = 5 * SIZE }) -- two versions, of what it was and what it became
    world:ask(store, "load")
    for version = 1, LAST do
      world:ask(store, "commit", { version = version, time_ms = 1, source = "api",
        puts = { { kind = "k", key = "a", json = text_of(version) } } })
    end
    local after, parts = 0, 0
    repeat
      local records = world:ask(store, "changes", after, 500)
      parts = parts + 1
      for _, record in ipairs(records) do
        after = after + 1
        assert.same({ after, text_of(after) }, { record.version, record.changes[1].after })
      end
    until not records.is_cut
    assert.same({ LAST, 4 }, { after, parts })
    assert.equal(text_of(2), world:ask(store, "at", 2).k.a.json)
    assert.same({ first = 1, last = LAST, entities = {} }, world:ask(store, "base"))
    local small = world:open(server, { most_bytes = 1 }) -- less than one version has
    local records = world:ask(small, "changes", 3, 500)
    assert.same({ 1, 4, true }, { #records, records[1].version, records.is_cut })
    assert.equal(0, #world:ask(small, "changes", LAST, 500))
    world:finish()
  end))
end)
