--- What every driver of the store promises: the same specs run against each.
--
--     contract.describe(getfenv(), set_up, tear_down)
--
-- Times are hours: a store whose clock is another server's goes on a little while a spec runs.
local fixture = require "unit.store.fixture"

local M = {}

local change, put = fixture.change, fixture.put
local HOUR_MS = 3600 * 1000
local A, B = '{"name":"a"}', '{"name":"b","n":[1,2]}'

--- Defines the specs.
-- @param env the environment of the spec file: where busted has put its words
-- @param set_up function called before each: returns a bench (unit.store.fixture); open(now_ms), which opens the same,
-- at first empty, store each time; and pass(ms), which lets time pass for a store with a clock of its own, or nil
-- @param tear_down function called after each
function M.describe(env, set_up, tear_down)
  setfenv(1, env)
  local bench, open, pass_there, store, now_ms

  before_each(function()
    bench, open, pass_there = set_up()
    now_ms = 5000000
    store = open(function() return now_ms end)
  end)

  after_each(function() tear_down() end)

  local function commit(...) bench:ask(store, "commit", change(...)) end

  local function pass(ms)
    now_ms = now_ms + ms
    if pass_there then pass_there(ms) end
  end

  local function reopen()
    bench:close(store)
    store = open(function() return now_ms end)
  end

  it("is empty at first", function()
    assert.same({ version = 0, entities = {} }, bench:ask(store, "load"))
    assert.same({}, bench:ask(store, "versions", {}))
    assert.same({ first = 0, last = 0 }, bench:ask(store, "extent"))
    assert.is_nil(bench:ask(store, "version", 1))
    assert.is_nil(bench:ask(store, "at", 1))
  end)

  it("keeps what was committed, with the versions and times of its last change", function()
    commit(1, { put("routes", "acme/a", A), put("pools", "acme/a", B, 7) })
    commit(2, { put("routes", "acme/b", B) })
    commit(3, { put("routes", "acme/a", B), put("pools", "acme/a", A) })
    local expected = { version = 3, entities = {
      routes = { ["acme/a"] = { json = B, version = 3, created_ms = 1000, updated_ms = 3000 },
        ["acme/b"] = { json = B, version = 2, created_ms = 2000, updated_ms = 2000 } },
      pools = { ["acme/a"] = { json = A, version = 3, created_ms = 7, updated_ms = 3000 } },
    } }
    assert.same(expected, bench:ask(store, "load"))
    reopen()
    assert.same(expected, bench:ask(store, "load"))
  end)

  it("forgets what was deleted, and begins anew when it comes back", function()
    commit(1, { put("routes", "a/a", A), put("routes", "a/b", B) })
    commit(2, nil, { { kind = "routes", key = "a/a" }, { kind = "routes", key = "never/was" } })
    assert.same({ ["a/b"] = { json = B, version = 1, created_ms = 1000, updated_ms = 1000 } },
      bench:ask(store, "load").entities.routes)
    commit(3, { put("routes", "a/a", B) })
    assert.same({ json = B, version = 3, created_ms = 3000, updated_ms = 3000 },
      bench:ask(store, "load").entities.routes["a/a"])
    assert.same({ { kind = "routes", key = "a/a", before = A } }, bench:ask(store, "version", 2).changes)
    assert.same({ { kind = "routes", key = "a/a", after = B } }, bench:ask(store, "version", 3).changes)
  end)

  it("takes a change of many entities", function()
    local puts, deletes = {}, {}
    for i = 1, 700 do puts[i] = put("routes", "a/" .. i, ('{"i":%d}'):format(i)) end
    commit(1, puts)
    for i = 1, 700, 2 do deletes[#deletes + 1] = { kind = "routes", key = "a/" .. i } end
    commit(2, { put("pools", "a/p", A) }, deletes)
    local now = bench:ask(store, "load").entities
    for i = 1, 700 do
      local entity = now.routes["a/" .. i]
      assert.equal(i % 2 == 0 and ('{"i":%d}'):format(i) or nil, entity and entity.json)
    end
    assert.equal(700, #bench:ask(store, "version", 1).changes)
    assert.equal(351, #bench:ask(store, "version", 2).changes)
  end)

  it("tells a version with what it changed", function()
    commit(1, { put("routes", "a/x", A) })
    bench:ask(store, "commit", { version = 2, time_ms = 9, source = "file",
      puts = { put("routes", "a/x", B), put("pools", "a/p", A) } })
    assert.same({ version = 2, time_ms = 9, source = "file", changes = {
      { kind = "pools", key = "a/p", after = A },
      { kind = "routes", key = "a/x", before = A, after = B },
    } }, bench:ask(store, "version", 2))
    assert.same({ version = 1, time_ms = 1000, author = "ana", source = "api", reason = "because", request_id = "r1",
      summary = "change 1", changes = { { kind = "routes", key = "a/x", after = A } } }, bench:ask(store, "version", 1))
    assert.is_nil(bench:ask(store, "version", 3))
  end)

  it("lists versions, newest first, in pages", function()
    for version = 1, 7 do commit(version) end
    local function numbers(options)
      local list = {}
      for i, record in ipairs(bench:ask(store, "versions", options)) do
        list[i] = record.version
        assert.equal("change " .. record.version, record.summary)
        assert.is_nil(record.changes)
      end
      return list
    end
    assert.same({ 7, 6, 5, 4, 3, 2, 1 }, numbers {})
    assert.same({ 7, 6, 5 }, numbers { limit = 3 })
    assert.same({ 4, 3, 2 }, numbers { before = 5, limit = 3 })
    assert.same({ 1 }, numbers { before = 2, limit = 3 })
    assert.same({}, numbers { before = 1 })
    assert.same({ first = 1, last = 7 }, bench:ask(store, "extent"))
  end)

  it("refuses a version that is not the next one, wholly", function()
    commit(41, { put("routes", "a/a", A) }) -- an empty store goes on where the node is
    for _, version in ipairs { 41, 40, 43, 1 } do
      local err = bench:call(store, "commit", change(version, { put("routes", "a/a", B), put("routes", "a/c", B) }))
      assert.equal("conflict", err.code)
      assert.equal(("version %d is not the one after the store's"):format(version), err.message)
    end
    assert.same({ version = 41, entities = { routes = {
      ["a/a"] = { json = A, version = 41, created_ms = 41000, updated_ms = 41000 } } } }, bench:ask(store, "load"))
    commit(42)
  end)

  it("answers many at once in order, each for itself", function()
    local done, outcome = 0, {}
    local versions = { 1, 2, 2, 3, 9, 4, 5, 5, 6 }
    for i, version in ipairs(versions) do
      store:commit(change(version, { put("routes", "a/r", ('{"i":%d}'):format(i)) }), function(err)
        done = done + 1
        outcome[i] = err and err.code or done
      end)
    end
    local seen
    store:load(function(_, state) seen = state end)
    assert.equal(0, done)
    bench:drive(function() return seen end, "the answers")
    assert.same({ 1, 2, "conflict", 4, "conflict", 6, 7, "conflict", 9 }, outcome)
    assert.equal(6, seen.version)
    assert.same({ json = '{"i":9}', version = 6, created_ms = 1000, updated_ms = 6000 }, seen.entities.routes["a/r"])
  end)

  it("rebuilds the state of every version", function()
    local random = 12345
    local function pick(n)
      random = (random * 1103515245 + 12345) % 2 ^ 31
      return math.floor(random / 65536) % n
    end
    local states, state = {}, {}
    for version = 1, 60 do
      local puts, deletes, touched = {}, {}, {}
      for _ = 1, pick(4) do
        local key = "a/" .. pick(9)
        if not touched[key] then
          touched[key] = true
          if pick(3) == 0 then
            deletes[#deletes + 1] = { kind = "routes", key = key }
            state[key] = nil
          else
            local json = ('{"v":%d}'):format(version)
            puts[#puts + 1] = put("routes", key, json)
            state[key] = { json = json, version = version, updated_ms = 1000 * version,
              created_ms = state[key] and state[key].created_ms or 1000 * version }
          end
        end
      end
      commit(version, puts, deletes)
      states[version] = {}
      for key, entity in pairs(state) do states[version][key] = entity end
    end
    for version = 1, 60 do
      assert.same(states[version], bench:ask(store, "at", version).routes or {})
    end
    assert.is_nil(bench:ask(store, "at", 61))
    assert.is_nil(bench:ask(store, "at", 0))
    assert.same(states[60], bench:ask(store, "load").entities.routes)
  end)

  local function changes_after(after, limit)
    local err, list = bench:call(store, "changes", after, limit)
    if err then return err.code end
    for i, record in ipairs(list) do
      local state = bench:ask(store, "at", record.version)
      for _, each in ipairs(record.changes) do
        assert.equal(each.after and state[each.kind][each.key].created_ms, each.created_ms)
        each.created_ms = nil
      end
      assert.same(bench:ask(store, "version", record.version), record)
      list[i] = record.version
    end
    return list
  end

  it("tells what came after a version, for catching up", function()
    assert.same({}, changes_after(0))
    assert.same("gone", changes_after(1))
    commit(1, { put("routes", "a/a", A), put("pools", "a/p", A) })
    commit(2, { put("routes", "a/a", B) }, { { kind = "pools", key = "a/p" } })
    for version = 3, 7 do commit(version) end
    assert.same({ 1, 2, 3, 4, 5, 6, 7 }, changes_after(0))
    assert.same({ 3, 4, 5, 6, 7 }, changes_after(2))
    assert.same({ 2, 3 }, changes_after(1, 2))
    assert.same({}, changes_after(7))
    assert.same("gone", changes_after(8))
  end)

  it("forgets old versions, and nothing that later ones need", function()
    for version = 1, 9 do
      local texts = { put("routes", "a/each", ('{"v":%d}'):format(version)) }
      if version == 2 then texts[2] = put("routes", "a/old", A) end
      if version == 3 then texts[2] = put("routes", "a/gone", A) end
      commit(version, texts, version == 4 and { { kind = "routes", key = "a/gone" } } or nil)
    end
    local before = {}
    for version = 1, 9 do
      before[version] = { bench:ask(store, "version", version), bench:ask(store, "at", version) }
    end
    local loaded = bench:ask(store, "load")
    assert.equal(5, bench:ask(store, "prune", 6))
    assert.equal(0, bench:ask(store, "prune", 6))
    for version = 1, 9 do
      local now = { bench:ask(store, "version", version), bench:ask(store, "at", version) }
      assert.same(version >= 6 and before[version] or {}, now)
    end
    assert.same(loaded, bench:ask(store, "load"))
    assert.equal(4, #bench:ask(store, "versions", {}))
    assert.same({ first = 6, last = 9 }, bench:ask(store, "extent"))
    assert.same("gone", changes_after(4))
    assert.same({ 6, 7, 8, 9 }, changes_after(5))
    assert.equal(3, bench:ask(store, "prune", 100)) -- not the last one
    assert.same(before[9][2], bench:ask(store, "at", 9))
    assert.same(loaded, bench:ask(store, "load"))
    commit(10, { put("routes", "a/old", B) })
    assert.same({ { kind = "routes", key = "a/old", before = A, after = B } },
      bench:ask(store, "version", 10).changes)
  end)

  local function by_hand(from)
    local base = bench:ask(from, "base")
    local changes = bench:ask(from, "changes", math.max(base.first - 1, 0), 100)
    return base, changes
  end

  it("is filled with what another one was before its history begins", function()
    assert.same({ first = 0, last = 0, entities = {} }, bench:ask(store, "base"))
    for version = 41, 45 do
      commit(version, { put("routes", "a/each", ('{"v":%d}'):format(version)), put("pools", "a/p" .. version, A, 7) },
        version == 43 and { { kind = "pools", key = "a/p41" } } or nil)
    end
    assert.same({ first = 41, last = 45, entities = {} }, (by_hand(store)))
    local before = bench:ask(store, "at", 43)
    bench:ask(store, "prune", 44)
    local base, changes = by_hand(store)
    assert.same({ first = 44, last = 45, entities = before }, base)
    local loaded = bench:ask(store, "load")
    assert.equal("conflict", bench:call(store, "fill", base.entities).code)
    bench:ask(store, "put", "b", "k", "v", nil)
    bench:ask(store, "empty")
    assert.same({ version = 0, entities = {} }, bench:ask(store, "load"))
    assert.is_nil(bench:ask(store, "get", "b", "k"))
    bench:ask(store, "fill", base.entities)
    for _, record in ipairs(changes) do
      record.puts = {}
      for i, entry in ipairs(record.changes) do
        record.puts[i] = put(entry.kind, entry.key, entry.after, entry.created_ms)
      end
      record.changes = nil
      bench:ask(store, "commit", record)
    end
    assert.same(loaded, bench:ask(store, "load"))
    assert.same({ base, bench:ask(store, "changes", 43, 100) }, { by_hand(store) })
    assert.is_nil(bench:ask(store, "at", 43))
  end)

  it("lists the small things that last", function()
    assert.same({}, bench:ask(store, "things"))
    bench:ask(store, "put", "b", "over", "x", HOUR_MS)
    pass(2 * HOUR_MS)
    for i = 1, 250 do bench:ask(store, "put", "c", ("k%03d"):format(i), "v" .. i, nil) end
    bench:ask(store, "put", "b", "k", "\0\255", 10 * HOUR_MS)
    local list = bench:ask(store, "things")
    assert.equal(251, #list)
    assert.is_true(list[1].ttl_ms > 9 * HOUR_MS and list[1].ttl_ms <= 10 * HOUR_MS)
    list[1].ttl_ms = nil
    assert.same({ bucket = "b", key = "k", text = "\0\255" }, list[1])
    assert.same({ bucket = "c", key = "k250", text = "v250" }, list[251])
  end)

  it("leases to one holder, each with a greater token", function()
    local first = bench:ask(store, "lease", "jobs", "a", HOUR_MS)
    assert.same({ holder = "a", token = 1, is_mine = true }, first)
    assert.same(first, bench:ask(store, "lease", "jobs", "a", HOUR_MS))
    assert.same({ holder = "b", token = 1, is_mine = true }, bench:ask(store, "lease", "other", "b", HOUR_MS))
    bench:ask(store, "release", "jobs", "a", 7) -- not this one
    assert.same(first, bench:ask(store, "lease", "jobs", "a", HOUR_MS))
    bench:ask(store, "release", "jobs", "a", 1)
    assert.same({ holder = "b", token = 2, is_mine = true }, bench:ask(store, "lease", "jobs", "b", HOUR_MS))
    bench:ask(store, "release", "jobs", "a", 1) -- long gone
    assert.same({ holder = "b", token = 2, is_mine = true }, bench:ask(store, "lease", "jobs", "b", HOUR_MS))
  end)

  it("fences off whoever has lost the lease", function()
    local function fenced(version, name, token)
      local entry = change(version, { put("routes", "a/r", '{"t":' .. token .. "}") })
      entry.fence = { name = name, token = token }
      return bench:call(store, "commit", entry)
    end
    assert.equal("fenced", fenced(1, "jobs", 1).code)
    bench:ask(store, "lease", "jobs", "a", HOUR_MS)
    assert.is_nil(fenced(1, "jobs", 1))
    assert.equal("conflict", fenced(1, "jobs", 1).code)
    bench:ask(store, "release", "jobs", "a", 1)
    assert.is_nil(fenced(2, "jobs", 1)) -- nobody else acts yet
    bench:ask(store, "lease", "jobs", "b", HOUR_MS)
    local err = fenced(3, "jobs", 1)
    assert.same({ "fenced", "the lease jobs has another token than 1" }, { err.code, err.message })
    assert.is_nil(fenced(3, "jobs", 2))
    assert.equal('{"t":2}', bench:ask(store, "load").entities.routes["a/r"].json)
  end)

  it("fences off small things of whoever has lost the lease", function()
    local function keep(text, token)
      return bench:call(store, "put_fenced", "ends", "7", text, nil, { name = "jobs", token = token })
    end
    assert.equal("fenced", keep("a", 1).code)
    bench:ask(store, "lease", "jobs", "a", HOUR_MS)
    assert.is_nil(keep("b", 1))
    bench:ask(store, "release", "jobs", "a", 1)
    bench:ask(store, "lease", "jobs", "b", HOUR_MS)
    local err = keep("c", 1)
    assert.same({ "fenced", "the lease jobs has another token than 1" }, { err.code, err.message })
    assert.equal("b", bench:ask(store, "get", "ends", "7"))
    assert.is_nil(keep("d", 2))
    assert.equal("d", bench:ask(store, "get", "ends", "7"))
    assert.is_nil(bench:call(store, "put", "ends", "7", "e", nil)) -- who has no lease needs none
  end)

  it("claims a small thing once, until its time is over or it is gone", function()
    local function claim(text) return bench:ask(store, "claim", "keys", "k", text, HOUR_MS) end
    assert.is_true(claim "a")
    assert.is_false(claim "b")
    assert.equal("a", bench:ask(store, "get", "keys", "k"))
    pass(HOUR_MS)
    assert.is_true(claim "c")
    assert.equal("c", bench:ask(store, "get", "keys", "k"))
    bench:ask(store, "delete", "keys", "k")
    assert.is_true(claim "d")
    assert.is_false(claim "e")
  end)

  it("lists nodes that live, and for a day those that did", function()
    assert.same({}, bench:ask(store, "nodes"))
    bench:ask(store, "announce", "n1", '{"v":1}', HOUR_MS)
    bench:ask(store, "announce", "n2", '{"v":1}', 3 * HOUR_MS)
    bench:ask(store, "announce", "n1", '{"v":2}', 2 * HOUR_MS)
    local function seen()
      local told = {}
      for node, entry in pairs(bench:ask(store, "nodes")) do
        assert.equal("number", type(entry.seen_ms))
        told[node] = { entry.json, entry.is_alive }
      end
      return told
    end
    assert.same({ n1 = { '{"v":2}', true }, n2 = { '{"v":1}', true } }, seen())
    pass(2 * HOUR_MS)
    assert.same({ n1 = { '{"v":2}', false }, n2 = { '{"v":1}', true } }, seen())
    pass(24 * HOUR_MS)
    assert.same({ n2 = { '{"v":1}', false } }, seen())
    bench:ask(store, "announce", "n1", '{"v":3}', HOUR_MS)
    assert.same({ '{"v":3}', true }, seen().n1)
  end)

  it("says how it is", function()
    bench:ask(store, "load")
    local status = store:status()
    assert.is_true(status.connected)
    assert.is_nil(status.error)
    assert.equal("number", type(status.since_ms))
    assert.equal("string", type(status.driver))
  end)

  it("does not tell a watcher of its own versions", function()
    local told = {}
    store:watch(function(version) told[#told + 1] = version end)
    bench:ask(store, "load")
    for version = 1, 3 do commit(version) end
    bench:ask(store, "load")
    assert.same({}, told)
  end)

  it("keeps bytes as they are", function()
    local text = ("\0\1\255é\n'\""):rep(20000)
    commit(1, { put("routes", "a/'; DROP TABLE names", text) })
    assert.equal(text, bench:ask(store, "load").entities.routes["a/'; DROP TABLE names"].json)
    bench:ask(store, "put", "b", "", "", nil)
    assert.equal("", bench:ask(store, "get", "b", ""))
  end)

  it("keeps small things for their time", function()
    bench:ask(store, "put", "keys", "k", "one", 100 * HOUR_MS)
    bench:ask(store, "put", "keys", "for ever", "two", nil)
    bench:ask(store, "put", "other", "k", "three", 500 * HOUR_MS)
    pass(99 * HOUR_MS)
    assert.equal("one", bench:ask(store, "get", "keys", "k"))
    pass(HOUR_MS)
    assert.is_nil(bench:ask(store, "get", "keys", "k"))
    assert.equal("three", bench:ask(store, "get", "other", "k"))
    bench:ask(store, "put", "other", "k", "four", HOUR_MS)
    assert.equal("four", bench:ask(store, "get", "other", "k"))
    bench:ask(store, "put", "other", "k", "five", nil)
    pass(10 ^ 12)
    reopen()
    assert.equal("five", bench:ask(store, "get", "other", "k"))
    assert.equal("two", bench:ask(store, "get", "keys", "for ever"))
    bench:ask(store, "delete", "other", "k")
    bench:ask(store, "delete", "other", "k")
    assert.is_nil(bench:ask(store, "get", "other", "k"))
  end)

  it("does what was asked before it closes, and nothing afterwards", function()
    local order = {}
    for version = 1, 3 do
      store:commit(change(version), function(err) order[#order + 1] = err or version end)
    end
    store:at(2, function(err, state) order[#order + 1] = err or state ~= nil and "at" end) -- which takes some steps
    store:load(function(err, state) order[#order + 1] = err or "load " .. state.version end)
    bench:close(store)
    assert.same({ 1, 2, 3 }, { order[1], order[2], order[3] })
    table.sort(order, function(a, b) return tostring(a) < tostring(b) end)
    assert.same({ 1, 2, 3, "at", "load 3" }, order)
    assert.has_error(function() store:load(function() end) end)
    store = open()
    assert.equal(3, bench:ask(store, "load").version)
  end)

  it("survives a callback that raises", function()
    local seen
    store:load(function() error "broken callback" end)
    store:load(function(_, state) seen = state end)
    local ok, problem = pcall(bench.drive, bench, function() return false end, "the fault")
    assert.is_false(ok)
    assert.truthy(problem:find("broken callback", 1, true))
    bench:drive(function() return seen end, "the second answer")
  end)

  it("raises what is no change", function()
    local function fault_of(broken)
      local whole = change(1, { put("routes", "a/a", A) })
      for field, value in pairs(broken) do whole[field] = value end
      local ok, problem = pcall(store.commit, store, whole, function() end)
      assert.is_false(ok)
      return problem:match "store: (.*)"
    end
    assert.equal("version is not a whole number above 0", fault_of { version = 0 })
    assert.equal("version is not a whole number above 0", fault_of { version = 1.5 })
    assert.equal("no such source: moon", fault_of { source = "moon" })
    assert.equal("author is not a text", fault_of { author = 5 })
    assert.equal("json is not a text", fault_of { puts = { put("routes", "a/a") } })
    assert.equal("fence.name is not a text", fault_of { fence = { token = 1 } })
    assert.equal("fence.token is not a whole number", fault_of { fence = { name = "jobs" } })
    assert.equal("routes a/a is changed twice", fault_of { deletes = { { kind = "routes", key = "a/a" } } })
    assert.equal(0, bench:ask(store, "load").version)
  end)
end

return M
