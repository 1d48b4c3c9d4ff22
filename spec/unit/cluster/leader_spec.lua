local library = require "support.library"
local leader = require "veloflux.cluster.leader"
local link = require "veloflux.control.link"
local timelines = require "support.timeline"

--- A store that leases by the spec's clock, and answers at once unless it is slow.
local function leases(time)
  local store = { token = 0, n_asked = 0 }
  function store:lease(_, holder, ttl_ms, callback)
    self.n_asked = self.n_asked + 1
    local function answer()
      if self.failure then return callback(self.failure) end
      if not self.holder or self.until_ms <= time.now_ms then
        self.token, self.holder = self.token + 1, holder
      end
      if self.holder == holder then self.until_ms = time.now_ms + ttl_ms end
      callback(nil, { holder = self.holder, token = self.token, is_mine = self.holder == holder })
    end
    if self.is_slow then self.answer = answer else answer() end
  end
  function store:release(_, holder, token, callback)
    if self.holder == holder and self.token == token then self.holder = nil end
    callback()
  end
  return store
end

describe("the leader", function()
  local time, store, log, real_log
  assert(library)

  before_each(function()
    time = timelines.open()
    store, log, real_log = leases(time), {}, link.log
    link.log = function(_, event, message) table.insert(log, event .. " " .. message) end
  end)

  after_each(function()
    leader.stop()
    link.log = real_log
    time.close()
  end)

  local function start(holder)
    leader.start { store = function() return store end, holder = holder or "a", lease_ms = 3000, now_ms = time.clock }
  end

  it("is who has the lease, and renews it three times in its life", function()
    assert.is_nil(leader.current())
    start()
    assert.equal(1, leader.current())
    assert.same({ name = "leader", token = 1 }, leader.fence())
    assert.same({ holder = "a", token = 1 }, leader.known())
    local before = store.n_asked
    time.pass(30000)
    assert.equal(before + 30, store.n_asked)
    assert.equal(1, leader.current())
    leader.stop()
    assert.is_nil(leader.current())
    assert.is_nil(store.holder)
    assert.same({ "leader.gained token=1", "leader.lost token=1 given back" }, log)
  end)

  it("is not who does not have it, until it is free", function()
    store.holder, store.token, store.until_ms = "b", 4, 2000
    start()
    assert.is_nil(leader.current())
    assert.equal("b", leader.known().holder)
    time.pass(1999)
    assert.is_nil(leader.current())
    time.pass(301)
    assert.equal(5, leader.current())
  end)

  it("steps down before its lease can have ended elsewhere", function()
    start()
    store.failure = { code = "unavailable", message = "gone" }
    time.pass(2699)
    assert.equal(1, leader.current())
    time.pass(2)
    assert.is_nil(leader.current())
    assert.is_true(time.now_ms < store.until_ms)
    assert.equal("a", leader.known().holder)
    time.pass(300)
    assert.is_nil(leader.known())
    assert.matches("leader.lost token=1 it could not be renewed in time", table.concat(log, "\n"))
    store.failure = nil
    time.pass(1000)
    assert.equal(2, leader.current()) -- its lease had ended
  end)

  it("does not act after it stood still, before any timer rings", function()
    start()
    time.stand(5000)
    assert.is_nil(leader.current())
    assert.is_nil(leader.fence())
  end)

  it("does not trust an answer that came too late", function()
    store.is_slow = true
    start()
    time.stand(2800)
    store.answer()
    assert.is_nil(leader.current())
    store.is_slow = false
    time.pass(500)
    assert.equal(1, leader.current())
  end)

  it("asks again when an answer never comes", function()
    store.is_slow = true
    start()
    time.pass(2900)
    assert.equal(1, store.n_asked)
    time.pass(400)
    assert.equal(2, store.n_asked)
  end)

  it("steps down when another has it", function()
    start()
    store.holder, store.token, store.until_ms = "b", 2, 1e9
    time.pass(1001)
    assert.is_nil(leader.current())
    assert.equal("b", leader.known().holder)
    assert.equal(2, leader.known().token)
  end)

  it("is there again under the token that the store has now", function()
    start()
    store.holder, store.token, store.until_ms = nil, 7, 0
    time.pass(1001)
    assert.equal(8, leader.current())
    assert.matches("leader.lost token=1", table.concat(log, "\n"))
  end)
end)
