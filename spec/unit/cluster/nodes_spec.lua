local library = require "support.library"
local json = require "veloflux.pdk.json"
local link = require "veloflux.control.link"
local nodes = require "veloflux.cluster.nodes"
local timelines = require "support.timeline"

describe("the nodes", function()
  local time, store, log, real_log, own, newest
  assert(library)

  before_each(function()
    time = timelines.open()
    log, real_log, newest = {}, link.log, nil
    link.log = function(_, event, message) table.insert(log, event .. " " .. message) end
    own = { version = 5, state = "healthy", started_ms = 100 }
    store = { said = {}, n_announced = 0, n_read = 0 }
    function store:announce(id, text, ttl_ms, callback)
      self.n_announced = self.n_announced + 1
      if not self.failure then self.said[id] = { json = text, seen_ms = time.now_ms, is_alive = ttl_ms > 1 } end
      callback(self.failure)
    end
    function store:nodes(callback)
      self.n_read = self.n_read + 1
      callback(self.failure, self.said)
    end
  end)

  after_each(function()
    nodes.stop()
    link.log = real_log
    time.close()
  end)

  local function start()
    nodes.start { store = function() return store end, is_shared = function() return true end, id = "a",
      heartbeat_ms = 1000, lease_ms = 3000, wall_ms = time.clock, describe = function()
        return { version = own.version, state = own.state, started_ms = own.started_ms }
      end, on_version = function(version) newest = version end }
  end

  local function other(id, fields)
    store.said[id] = { json = json.encode(fields), seen_ms = time.now_ms, is_alive = fields.state ~= nil }
  end

  it("say what they are with every heartbeat, and at once when it changes", function()
    start()
    assert.equal(1, store.n_announced)
    time.pass(3000)
    assert.equal(4, store.n_announced)
    own.version = 6
    nodes.touch()
    nodes.touch()
    time.pass(10)
    assert.equal(5, store.n_announced)
    assert.equal(6, json.decode(store.said.a.json).version)
  end)

  it("are listed as they were heard of last, and the own one as it is", function()
    start()
    other("b", { version = 9, state = "healthy", hostname = "h" })
    other("c", { version = 4 })
    time.pass(1000)
    own.version = 7
    local list = nodes.list()
    assert.same({ "a", "b", "c" }, { list[1].id, list[2].id, list[3].id })
    assert.is_true(list[1].is_self)
    assert.equal(7, list[1].version)
    assert.is_true(list[2].is_alive)
    assert.is_false(list[3].is_alive)
    assert.equal(9, newest)
  end)

  it("are waited for", function()
    other("b", { version = 5, state = "healthy" })
    other("dead", { version = 1 })
    start()
    local told
    nodes.wait(5, 1000, function(names) told = names end)
    time.pass(30)
    assert.same({}, told)
    own.version, told = 6, nil
    nodes.wait(6, 1000, function(names) told = names end)
    time.pass(500)
    assert.is_nil(told)
    other("b", { version = 6, state = "healthy" })
    time.pass(60)
    assert.same({}, told)
    local reads = store.n_read
    time.pass(300)
    assert.is_true(store.n_read - reads <= 1)
  end)

  it("are waited for no longer than that", function()
    other("b", { version = 4, state = "healthy" })
    start()
    local told
    nodes.wait(5, 1000, function(names) told = names end)
    time.pass(990)
    assert.is_nil(told)
    time.pass(40)
    assert.same({ "b" }, told)
  end)

  it("are not waited for when they have said that they cannot", function()
    other("b", { version = 4, state = "behind", behind = 5 })
    start()
    local told
    nodes.wait(5, 60000, function(names) told = names end)
    time.pass(60)
    assert.same({ "b" }, told)
  end)

  it("that the store does not hear say so once", function()
    start()
    store.failure = { code = "unavailable", message = "connection refused" }
    time.pass(5000)
    assert.is_true(nodes.is_silent())
    assert.same({ "cluster.silent the store does not take this node's heartbeat: connection refused" }, log)
    store.failure = nil
    time.pass(1000)
    assert.is_false(nodes.is_silent())
    assert.matches("cluster.heard", log[2])
  end)

  it("that call themselves the same are found out", function()
    start()
    other("a", { version = 5, state = "healthy", started_ms = 200 })
    store.announce = function(_, _, _, _, callback) callback() end
    time.pass(2000)
    assert.equal(1, #log)
    assert.matches("another node calls itself a", log[1])
  end)

  it("that end say so", function()
    start()
    local is_said
    nodes.stop("draining", function() is_said = true end)
    assert.is_true(is_said)
    assert.equal("draining", json.decode(store.said.a.json).state)
    assert.is_false(store.said.a.is_alive)
    assert.same({}, nodes.list())
  end)
end)
