--- What other nodes commit to a shared store, seen from one node.
local doors = require "support.door"
local queue = require "veloflux.control.queue"
local timelines = require "support.timeline"
local transactions = require "veloflux.control.transactions"

local function route(name, body)
  return ('{"name":"%s","path":"/%s","respond":{"body":"%s"}}'):format(name, name, body or name)
end

local function create(name)
  return { op = "create", kind = "routes", value = { name = name, path = "/" .. name, respond = { body = name } } }
end

describe("versions of other nodes", function()
  local door, store

  before_each(function()
    door = doors.open "routes:\n  - { name: site, path: /site, respond: { body: x } }\n"
    store = door.store
    store.driver = "shared"
  end)

  after_each(function() door.close() end)

  local function has(name)
    return transactions.find("routes", nil, name) ~= nil
  end

  local function last(list) return list[#list] end

  it("are published under their own number, and not committed again", function()
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    store:commit_elsewhere { ["routes default/b"] = route "b" }
    queue.follow()
    assert.same({ 3 }, door.offers)
    assert.is_false(has "a")
    door.step()
    assert.is_true(has "a" and has "b" and has "site")
    assert.equal(3, queue.world().version)
    assert.equal(3, store.version_now)
    assert.equal(2, transactions.find("routes", nil, "a").version)
    queue.follow()
    assert.same({ 3 }, door.offers)
    assert.same({ followed = 1, rebased = 0 }, queue.counts())
  end)

  it("are asked for again when the store has cut them short", function()
    local changes, asked = store.changes, 0
    function store.changes(self, after, _, callback)
      asked = asked + 1
      changes(self, after, 1, function(err, records)
        if records then records.is_cut = #records > 0 and after + 1 < self.version_now end
        callback(err, records)
      end)
    end
    for _, name in ipairs { "a", "b", "c" } do store:commit_elsewhere { ["routes default/" .. name] = route(name) } end
    queue.follow()
    assert.same({ { 4 }, 3 }, { door.offers, asked })
    door.step()
    assert.is_true(has "a" and has "b" and has "c")
  end)

  it("that change nothing are published, too: the number is one", function()
    store:commit_elsewhere {}
    queue.follow()
    door.step()
    assert.equal(2, queue.world().version)
    queue.follow()
    assert.same({ 2 }, door.offers)
  end)

  it("that change and delete arrive as such", function()
    store:commit_elsewhere { ["routes default/a"] = route "a", ["routes default/b"] = route "b" }
    queue.follow()
    door.step()
    store:commit_elsewhere { ["routes default/a"] = route("a", "new"), ["routes default/b"] = false }
    queue.follow()
    door.step()
    local found = transactions.find("routes", nil, "a")
    assert.equal("new", found.value.respond.body)
    assert.equal(3, found.version)
    assert.equal(2000, found.created_ms)
    assert.is_false(has "b")
  end)

  it("are read as a whole when the history does not reach back", function()
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    store:commit_elsewhere { ["routes default/b"] = route "b" }
    store.pruned = 2
    queue.follow()
    door.step()
    assert.is_true(has "a" and has "b")
    assert.equal(3, queue.world().version)
  end)

  it("are read as a whole when they do not follow on what this node has", function()
    store.kinds.routes = { ["default/lost"] = { json = route "lost", version = 1, created_ms = 1, updated_ms = 1 } }
    store:commit_elsewhere { ["routes default/lost"] = route("lost", "new") }
    queue.follow()
    door.step()
    assert.equal("new", transactions.find("routes", nil, "lost").value.respond.body)
  end)

  it("that are fetched while a change waits are published with it", function()
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    local outcome
    transactions.apply({ create "mine" }, {}, function(answer) outcome = answer end)
    door.prepare()
    assert.is_nil(outcome) -- the store had version 2 already
    assert.same({ 2, 3 }, door.offers)
    door.step()
    assert.is_true(outcome.ok)
    assert.equal(3, outcome.version)
    assert.is_true(has "a" and has "mine")
    assert.equal(3, store.version_now)
    assert.equal(1, queue.counts().rebased)
  end)

  it("make a change that rests on an older one stale", function()
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    queue.follow()
    door.step()
    store:commit_elsewhere { ["routes default/a"] = route("a", "theirs") }
    local outcome
    local put = { op = "put", kind = "routes", name = "a", if_match = 2, value = { respond = { body = "mine" } } }
    transactions.apply({ put }, {}, function(answer) outcome = answer end)
    door.prepare()
    assert.equal("stale", outcome.code)
    door.step()
    assert.equal("theirs", transactions.find("routes", nil, "a").value.respond.body)
  end)

  it("end a change that others are always faster than", function()
    local outcome
    transactions.apply({ create "mine" }, {}, function(answer) outcome = answer end)
    for i = 1, 100 do
      if outcome then break end
      store:commit_elsewhere { [("routes default/o%d"):format(i)] = route("o" .. i) }
      door.prepare()
    end
    assert.equal("conflict", outcome.code)
    door.step() -- theirs
    assert.is_true(has "o1")
  end)

  it("are not met by changes while the store is away: these are refused before anybody prepares them", function()
    store.failure = { code = "unavailable", message = "connection refused" }
    local refused = door.apply { create "mine" }
    assert.equal("unavailable", refused.code)
    assert.same({}, door.offers)
    store.failure = nil
    assert.is_true(door.apply({ create "mine" }).ok)
  end)

  it("let a change that met two of them have its turn", function()
    local time = timelines.open()
    local outcome
    transactions.apply({ create "mine" }, {}, function(answer) outcome = answer end)
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    door.prepare()
    store:commit_elsewhere { ["routes default/b"] = route "b" }
    store.turn_of = "another"
    door.prepare() -- and the turn is another's: what others commit is published meanwhile
    assert.equal(3, last(door.offers))
    door.step()
    assert.is_true(has "b")
    time.pass(100)
    assert.is_nil(outcome)
    store.turn_of = nil
    time.pass(100)
    assert.is_truthy(store.is_turn_held)
    door.step()
    assert.is_true(outcome.ok)
    assert.is_false(store.is_turn_held)
    time.close()
  end)

  it("that this node cannot serve keep it behind until the next", function()
    store:commit_elsewhere { ["routes default/site"] = route "site" }
    queue.follow()
    assert.same({}, door.offers)
    local behind = queue.behind()
    assert.equal(2, behind.version)
    assert.matches("already taken", behind.why)
    assert.matches("cluster.behind", last(door.log))
    assert.equal(1, queue.world().version)
    queue.follow() -- again the same: nothing new
    assert.same({}, door.offers)
    local refused = door.apply { create "mine" }
    assert.equal("conflict", refused.code)
    assert.matches("cannot serve version 2", refused.message)
    store:commit_elsewhere { ["routes default/site"] = false, ["routes default/a"] = route "a" }
    queue.follow()
    door.step()
    assert.is_nil(queue.behind())
    assert.equal(3, queue.world().version)
    assert.is_true(has "a")
  end)

  it("that a process refuses keep it behind, too, and a change may repair that", function()
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    queue.follow()
    require("veloflux.control.flow").refused(2, "cannot bind")
    assert.matches("cannot bind", queue.behind().why)
    local outcome = door.apply { { op = "delete", kind = "routes", name = "a" } }
    assert.is_true(outcome.ok)
    assert.equal(3, outcome.version)
    assert.is_nil(queue.behind())
  end)

  it("that cannot be read here keep it behind", function()
    store:commit_elsewhere { ["routes default/a"] = '{"name":"a","plugins":[{"name":"no-such-plugin"}]}' }
    queue.follow()
    assert.matches("no%-such%-plugin", queue.behind().why)
    assert.equal("conflict", door.apply({ create "mine" }).code)
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    queue.follow()
    door.step()
    assert.is_nil(queue.behind())
    assert.is_true(has "a")
  end)

  it("that a change is not good with are published alone, and the change is refused", function()
    store:commit_elsewhere { ["routes default/a"] = route "a" }
    local outcome
    transactions.apply({ { op = "create", kind = "routes", value = { name = "mine", pool = "none" } } }, {},
      function(answer) outcome = answer end)
    assert.equal("invalid", outcome.code)
    transactions.apply({ create "a" }, {}, function(answer) outcome = answer end)
    door.prepare()
    assert.equal("exists", outcome.code)
    door.step()
    assert.is_true(has "a")
  end)

  it("that a store has lost are given back", function()
    local restored
    function door.restore(found, callback)
      restored = found.version
      callback()
    end
    door.apply { create "a" }
    store.version_now, store.kinds = 1, {}
    queue.follow()
    assert.equal(1, restored)
    assert.is_true(has "a")
  end)
end)

describe("a change under a lease", function()
  it("is refused when the lease has passed on", function()
    local door = doors.open ""
    door.store.token = 7
    local outcome = door.apply({ create "a" }, { fence = { name = "leader", token = 7 } })
    assert.is_true(outcome.ok)
    local old = { name = "leader", token = 6 }
    transactions.apply({ create "b" }, { fence = old }, function(answer) outcome = answer end)
    door.prepare()
    assert.equal("fenced", outcome.code)
    assert.equal(2, door.store.version_now)
    door.close()
  end)
end)
