--- What every driver of the store promises: the same specs run against each.
--
--     contract.describe(getfenv(), set_up, tear_down)
local fixture = require "unit.store.fixture"

local M = {}

local change, put = fixture.change, fixture.put
local A, B = '{"name":"a"}', '{"name":"b","n":[1,2]}'

--- Defines the specs.
-- @param env the environment of the spec file: where busted has put its words
-- @param set_up function called before each: returns a bench (unit.store.fixture) and open(now_ms), which opens the
-- same, at first empty, store each time
-- @param tear_down function called after each
function M.describe(env, set_up, tear_down)
  setfenv(1, env)
  local bench, open, store, now_ms

  before_each(function()
    bench, open = set_up()
    now_ms = 5000000
    store = open(function() return now_ms end)
  end)

  after_each(function() tear_down() end)

  local function commit(...) bench:ask(store, "commit", change(...)) end

  local function reopen()
    bench:close(store)
    store = open(function() return now_ms end)
  end

  it("is empty at first", function()
    assert.same({ version = 0, entities = {} }, bench:ask(store, "load"))
    assert.same({}, bench:ask(store, "versions", {}))
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

  it("keeps bytes as they are", function()
    local text = ("\0\1\255é\n'\""):rep(20000)
    commit(1, { put("routes", "a/'; DROP TABLE names", text) })
    assert.equal(text, bench:ask(store, "load").entities.routes["a/'; DROP TABLE names"].json)
    bench:ask(store, "put", "b", "", "", nil)
    assert.equal("", bench:ask(store, "get", "b", ""))
  end)

  it("keeps small things for their time", function()
    bench:ask(store, "put", "keys", "k", "one", 1000)
    bench:ask(store, "put", "keys", "for ever", "two", nil)
    bench:ask(store, "put", "other", "k", "three", 5000)
    now_ms = now_ms + 999
    assert.equal("one", bench:ask(store, "get", "keys", "k"))
    now_ms = now_ms + 1
    assert.is_nil(bench:ask(store, "get", "keys", "k"))
    assert.equal("three", bench:ask(store, "get", "other", "k"))
    bench:ask(store, "put", "other", "k", "four", 1)
    assert.equal("four", bench:ask(store, "get", "other", "k"))
    bench:ask(store, "put", "other", "k", "five", nil)
    now_ms = now_ms + 10 ^ 12
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
    bench:close(store)
    assert.same({ 1, 2, 3 }, order)
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
    assert.equal("routes a/a is changed twice", fault_of { deletes = { { kind = "routes", key = "a/a" } } })
    assert.equal(0, bench:ask(store, "load").version)
  end)
end

return M
