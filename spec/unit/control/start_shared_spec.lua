--- Control starts with a store that others share.
local starts = require "support.starts" -- first: it loads the library
local control = require "veloflux.control"
local queue = require "veloflux.control.queue"
local timelines = require "support.timeline"
local transactions = require "veloflux.control.transactions"

local FILE = "routes:\n  - { name: site, path: /site, respond: { body: x } }\n"
local AWAY = { code = "unavailable", message = "connection refused" }

local function route(name) return ('{"name":"%s","path":"/%s","respond":{"body":"x"}}'):format(name, name) end

describe("control starts with a shared store", function()
  local house, store, seen

  before_each(function()
    house = starts.open()
    store, seen = house.store, house.seen
    store.driver = "shared"
  end)

  after_each(function() house.close() end)

  local function start(mode, published, text) house.start(mode, published, text or FILE) end

  it("under the version that it has there, without one of its own", function()
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    store:commit_elsewhere { ["routes default/b"] = route "b" }
    start "fresh"
    house.step()
    assert.same({ 2 }, seen.commits)
    assert.equal(2, store.version_now)
    assert.same({ "site", "a", "b" }, house.routes())
    local told = house.create "c"
    house.step()
    assert.equal(3, told.outcome.version)
  end)

  it("that is empty, and one of two is first", function()
    start("fresh", nil, "entities: seed\n" .. FILE)
    store:commit_elsewhere { ["meta seeded"] = "{}", ["routes default/theirs"] = route "theirs" }
    control.on_event("prepared", 1, "")
    assert.same({}, seen.commits)
    assert.same({ 1, 1 }, seen.offers)
    house.step()
    assert.equal(1, store.version_now)
    assert.same({ "theirs" }, house.routes())
  end)

  it("with what it served last when its file is not good with what is there", function()
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    start "fresh"
    house.step()
    store:commit_elsewhere { ["routes default/site"] = route "site" }
    start "fresh"
    assert.same({ 1 }, seen.offers)
    house.step()
    assert.same({ "site", "a" }, house.routes())
    assert.equal(2, queue.behind().version)
    assert.is_nil(seen.has_given_up)
    store:commit_elsewhere { ["routes default/site"] = false }
    store.on_change(3)
    house.step()
    assert.same({ 3 }, { seen.commits[#seen.commits] })
    assert.is_nil(queue.behind())
  end)

  it("again, and follows what others have stored meanwhile", function()
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    start "fresh"
    house.step()
    store:commit_elsewhere { ["routes default/b"] = route "b" }
    start("resume", 1)
    assert.same({ 2 }, seen.offers)
    house.step()
    assert.same({ "site", "a", "b" }, house.routes())
    start("recompile", 2)
    assert.same({ 3 }, seen.offers)
    house.step()
    assert.equal("upgrade", store.records[3].reason)
    store:commit_elsewhere { ["routes default/site"] = route "site" }
    start("resume", 3)
    assert.same({}, seen.offers)
    assert.equal(4, queue.behind().version)
    assert.same({ "site", "a", "b" }, house.routes())
  end)

  it("that is away, and follows it when it is back", function()
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    start "fresh"
    house.step()
    store.failure = AWAY
    start "fresh"
    house.step()
    assert.same({ "site", "a" }, house.routes())
    assert.equal("connection refused", transactions.unavailable())
    local told = house.create "mine"
    assert.equal("unavailable", told.outcome.code)
    store.failure = nil
    store:commit_elsewhere { ["routes default/b"] = route "b" }
    store.on_change(2)
    house.step()
    assert.same({ "site", "a", "b" }, house.routes())
    assert.is_nil(transactions.unavailable())
    assert.equal(2, queue.world().version)
  end)

  it("that is away at the first start: its numbers have to grow", function()
    store.failure = AWAY
    start "fresh"
    house.step()
    assert.same({ 1 }, seen.commits)
    store.failure = nil
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    store.on_change(1)
    house.step()
    assert.same({ "site", "a" }, house.routes())
    assert.equal(2, store.version_now)
    assert.equal(2, queue.world().version)
  end)

  it("and gives it back what it has lost", function()
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    start "fresh"
    house.step()
    for _, name in ipairs { "b", "c" } do
      house.create(name)
      house.step()
    end
    assert.equal(3, store.version_now)
    store.version_now = 1
    store.kinds = { routes = { ["default/a"] = store.kinds.routes["default/a"] } }
    store.on_change(1)
    assert.equal(3, store.version_now)
    assert.equal("what the store had lost", store.records[2].summary)
    assert.is_not_nil(store.kinds.routes["default/c"])
    store.version_now, store.kinds, store.records = 0, {}, {}
    store.on_change(0)
    assert.equal(3, store.version_now)
    assert.is_not_nil(store.kinds.routes["default/c"])
    local told = house.create "d"
    house.step()
    assert.equal(4, told.outcome.version)
  end)

  it("and takes nothing from it that it has forgotten itself", function()
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    start "fresh"
    house.step()
    os.remove(house.folder .. "/last-model.json")
    start("resume", 5) -- published without the store, and the last model is gone
    assert.equal(5, store.version_now)
    assert.is_not_nil(store.kinds.routes["default/a"])
    house.step()
    assert.same({ "site", "a" }, house.routes())
    assert.equal(6, store.version_now)
  end)

  it("and reloads when it is its turn", function()
    local time = timelines.open()
    start "fresh"
    house.step()
    local result
    control.reload(function(answer) result = answer end)
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    control.on_event("prepared", 2, "") -- the store has another version 2
    store:commit_elsewhere { ["routes default/b"] = route "b" }
    store.turn_of = "another"
    control.on_event("prepared", 3, "") -- and 3
    time.pass(100)
    assert.same({ 1, 2, 3 }, seen.offers)
    store.turn_of = nil
    time.pass(100)
    assert.same({ 1, 2, 3, 4 }, seen.offers)
    assert.is_true(store.is_turn_held)
    house.step()
    assert.is_true(result.ok)
    assert.is_false(store.is_turn_held)
    assert.same({ "site", "a", "b" }, house.routes())
    time.close()
  end)

  it("and reloads upon what others store meanwhile", function()
    start "fresh"
    house.step()
    local result
    control.reload(function(answer) result = answer end)
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    control.on_event("prepared", 2, "") -- the store has another version 2
    assert.is_nil(result)
    house.step()
    assert.is_true(result.ok)
    assert.equal(3, store.version_now)
    assert.same({ "site", "a" }, house.routes())
  end)
end)
