local conf_fixture = require "unit.conf.fixture"
local fixture = require "unit.store.fixture"
local others = require "unit.store.other"

local change, put = fixture.change, fixture.put

describe("the store in an SQLite file does not slow down:", function()
  local bench, folder, path, store

  before_each(function()
    folder = conf_fixture.folder {}
    path = folder .. "/veloflux.db"
    bench = fixture.new()
    store = bench:open(path)
  end)

  after_each(function()
    bench:finish()
    conf_fixture.remove(folder)
  end)

  local ENTITIES = 40

  --- Goes on committing up to version `last`, many at a time.
  local function commit_to(first, last)
    local done = 0
    for version = first, last do
      store:commit(change(version, { put("routes", "a/" .. version % ENTITIES, ('{"of":%d}'):format(version)) }),
        function(err)
          assert(not err, err and err.message)
          done = done + 1
        end)
    end
    bench:drive(function() return done == last - first + 1 end, "the commits")
  end

  --- Makes a call and returns its result and what its statements cost: steps of SQLite's machine.
  local function cost_of(method, ...)
    local database, statements = store.driver.database, nil
    local run = database.run
    database.run = function(self, writes, list, callback)
      statements = list
      return run(self, writes, list, callback)
    end
    local result = bench:ask(store, method, ...)
    database.run = nil -- the class has it
    local other, steps = others.open(path, true), 0
    for _, statement in ipairs(statements) do
      local _, taken = other:run(statement.sql, statement, statement.n)
      steps = steps + taken
    end
    other:close()
    return result, steps
  end

  it("what is read costs the same after 10,000 versions as after 200", function()
    local calls = {
      { "load" }, { "versions", { limit = 10 } }, { "version", 150 }, { "versions", { before = 100, limit = 10 } },
      { "at", 150 }, { "get", "bucket", "k" },
    }
    commit_to(1, 200)
    local before = {}
    for i, call in ipairs(calls) do before[i] = { cost_of(unpack(call)) } end
    commit_to(201, 10000)
    for i, call in ipairs(calls) do
      local result, steps = cost_of(unpack(call))
      assert.is_true(steps <= before[i][2] * 1.2, ("%s: %d steps, and %d before"):format(call[1], steps, before[i][2]))
      if call[1] == "at" then assert.same(before[i][1], result) end
    end
    local state, newest = cost_of("at", 9999)
    assert.is_true(newest <= before[5][2] * 1.2)
    assert.equal('{"of":9999}', state.routes["a/" .. 9999 % ENTITIES].json)
    assert.equal(9960, state.routes["a/0"].version)
    assert.equal(10000, bench:ask(store, "load").entities.routes["a/0"].version)
  end)

  it("what is deleted costs nothing when the state is loaded", function()
    local function churn(first, last)
      for version = first, last, 2 do
        store:commit(change(version, { put("routes", "a/x" .. version, "{}") }), function(err) assert(not err) end)
        store:commit(change(version + 1, nil, { { kind = "routes", key = "a/x" .. version } }),
          function(err) assert(not err) end)
      end
      bench:ask(store, "load")
    end
    bench:ask(store, "commit", change(1, { put("routes", "a/stays", "{}") }))
    churn(2, 41)
    local _, before = cost_of "load"
    churn(42, 2041)
    local state, after = cost_of "load"
    assert.equal(2041, state.version)
    assert.is_not_nil(state.entities.routes["a/stays"])
    assert.is_true(after <= before * 1.2, ("%d steps, and %d before"):format(after, before))
  end)

  it("what is over in a bucket is swept by what comes", function()
    bench:close(store)
    local now_ms = 1000
    store = bench:open(path, function() return now_ms end)
    for i = 1, 500 do store:put("keys", "k" .. i, "v", 10, function() end) end
    bench:ask(store, "put", "keys", "stays", "v", nil)
    local other = others.open(path, true)
    local function count() return other:run("SELECT count(*) FROM buckets")[1][1] end
    assert.equal("501", count())
    now_ms = now_ms + 10
    for i = 1, 3 do bench:ask(store, "put", "keys", "new" .. i, "v", 1000) end
    assert.equal("4", count())
    other:close()
  end)
end)
