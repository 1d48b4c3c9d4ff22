--- Forgetting old versions, upon a store that is a table.
require "support.library"
local probation = require "veloflux.control.probation"
local pruning = require "veloflux.control.pruning"

local function new_store(first, last)
  local store = { first = first, last = last, pruned = {} }
  function store:versions(options, callback)
    local version = math.min(options.before - 1, self.last)
    if self.failure then return callback(self.failure) end
    callback(nil, version >= self.first and { { version = version, time_ms = version * 1000 } } or {})
  end
  function store:prune(stop, callback)
    self.pruned[#self.pruned + 1] = stop
    local count = stop - self.first
    self.first = stop
    callback(self.failure, count)
  end
  return store
end

describe("pruning", function()
  local now

  before_each(function()
    now = 2000 * 1000
    pruning.open()
  end)

  local function run(store, settings, times)
    for _ = 1, times or 20 do
      pruning.tick(store, settings, store.last, now)
      now = now + 1
    end
    return store
  end

  it("keeps so many versions, and forgets the others a few at a time", function()
    local store = run(new_store(1, 2000), { versions = 100, age = math.huge })
    assert.same({ 501, 1001, 1501, 1901 }, store.pruned)
    assert.equal(1901, store.first)
  end)

  it("keeps what is young enough", function()
    assert.equal(1501, run(new_store(1, 2000), { versions = math.huge, age = 500 * 1000 }).first)
    pruning.open()
    now = 2000 * 1000
    assert.equal(1801, run(new_store(1, 2000), { versions = 200, age = 500 * 1000 }).first)
  end)

  it("never forgets the last one", function()
    assert.equal(2000, run(new_store(1, 2000), { versions = 1, age = math.huge }).first)
    pruning.open()
    now = 1e12
    assert.equal(2000, run(new_store(1, 2000), { versions = math.huge, age = 60000 }).first)
  end)

  it("does nothing when nothing is too old, or when that is not wanted", function()
    assert.same({}, run(new_store(700, 2000), { versions = 5000, age = math.huge }).pruned)
    assert.same({}, run(new_store(1, 2000), { versions = math.huge, age = math.huge }).pruned)
  end)

  it("finds out where the history begins", function()
    local store = run(new_store(777, 2000), { versions = 1000, age = math.huge })
    assert.same({ 1001 }, store.pruned)
  end)

  it("keeps what is on probation, and all since", function()
    local watching = probation.watching
    finally(function() probation.watching = watching end)
    function probation.watching() return { 1200, 1900 } end
    assert.equal(1200, run(new_store(1, 2000), { versions = 10, age = math.huge }).first)
  end)

  it("tries again later when the store is away", function()
    local store = new_store(1, 2000)
    store.failure = { code = "unavailable" }
    run(store, { versions = 100, age = math.huge })
    assert.same({}, store.pruned)
    store.failure, now = nil, now + 600 * 1000
    assert.equal(1901, run(store, { versions = 100, age = math.huge }).first)
  end)
end)
