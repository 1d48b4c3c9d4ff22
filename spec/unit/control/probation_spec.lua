--- Probation: the states of a watch, on a clock and figures of the spec's own.
require "support.library"
local alarms = require "veloflux.control.alarms"
local counts = require "veloflux.control.probation_counts"
local doors = require "support.door"
local history = require "veloflux.control.history"
local probation = require "veloflux.control.probation"
local transactions = require "veloflux.control.transactions"

local CONF = "pools: []\n"
local GUARD = { error_rate = 5, latency = 2, latency_floor_ms = 50, statistic = "mean", min_requests = 10 }

local door, clock, traffic, small

local function new_traffic()
  return { node = { requests = 1000, errors = 0, us = 1e6, finished = 1000 }, routes = {} }
end

local function copy(of)
  local result = {}
  for name, value in pairs(of) do result[name] = value end
  return result
end

local seen = { node = function() return copy(traffic.node) end, routes = function(keys)
  local found = {}
  for _, key in ipairs(keys) do found[key] = traffic.routes[key] and copy(traffic.routes[key]) end
  return found
end }

local function open()
  probation.open { link = door.link, now_ms = function() return clock end, store = function() return door.store end,
    history = history, figures = seen }
end

--- Lets time pass: each step at its time, and the way of what that changes.
local function pass(ms)
  local stop = clock + ms
  while clock < stop do
    clock = math.min(stop, clock + 100)
    local offered = #door.offers
    alarms.ring()
    if #door.offers > offered then door.step() end
  end
end

local function watched(ops, ms)
  return door.apply(ops, { author = "ann", probation = { ms = ms or 10000, guard = GUARD } })
end

local function pool(name, more)
  local value = { name = name }
  for key, own in pairs(more or {}) do value[key] = own end
  return { op = "create", kind = "pools", name = name, value = value }
end

local function route(name)
  return { op = "create", kind = "routes", name = name, value = { name = name, path = "/" .. name,
    respond = { status = 200 } } }
end

local function state_of(version)
  local told
  probation.status(version, function(found) told = found end)
  return told and told.state, told
end

local function has(kind, name) return transactions.find(kind, nil, name) ~= nil end

describe("a version on probation", function()
  before_each(function()
    clock, traffic, small = 1000, new_traffic(), {}
    alarms.open { now_ms = function() return clock end, set = function() end }
    door = doors.open(CONF)
    function door.store:put_fenced(_, key, text, _, _, callback)
      if self.failure then return callback(self.failure) end
      small[key] = text
      callback()
    end
    function door.store:get(_, key, callback) callback(self.failure, small[key]) end
    door.use_store()
    open()
  end)

  after_each(function()
    door.close()
    alarms.open()
  end)

  it("passes when its time is over and the guard has held", function()
    local result = watched { pool "a" }
    assert.equal(10000, result.probation.ms)
    assert.equal("watching", (state_of(result.version)))
    traffic.node.requests, traffic.node.errors = 1100, 4
    pass(9900)
    assert.equal("watching", (state_of(result.version)))
    pass(200)
    assert.equal("passed", (state_of(result.version)))
    assert.is_true(has("pools", "a"))
    assert.is_nil(state_of(result.version - 1))
  end)

  it("is taken back when all traffic fails", function()
    local result = watched { pool "a" }
    traffic.node.requests, traffic.node.errors = 1100, 50
    pass(1000)
    local state, told = state_of(result.version)
    assert.equal("rolled_back", state)
    assert.equal(result.version + 1, told.rollback)
    assert.equal("50.0 % of 100 requests of all traffic failed, 0.0 % before: more than 5 points above", told.reason)
    assert.is_false(has("pools", "a"))
    local record = door.store.records[told.rollback]
    assert.same({ "rollback", "probation", told.reason }, { record.source, record.author, record.reason })
  end)

  it("is taken back when a route that it touches fails, however much else there is", function()
    local result = watched { route "r" }
    traffic.node.requests = 100000
    traffic.routes["default/r"] = { requests = 20, errors = 20, us = 0, finished = 20 }
    pass(1000)
    local state, told = state_of(result.version)
    assert.equal("rolled_back", state)
    assert.is_truthy(told.reason:find("of the route r failed", 1, true))
  end)

  it("is compared with the last minute", function()
    traffic.node.errors = 0
    probation.sample()
    traffic.node.requests, traffic.node.errors = 2000, 500 -- half of it fails already
    probation.sample()
    local result = watched { pool "a" }
    traffic.node.requests, traffic.node.errors = 2100, 551
    pass(1000)
    assert.equal("watching", (state_of(result.version)))
  end)

  it("gives back what it changed, and leaves others' changes alone", function()
    local result = watched { pool "a", pool "b" }
    assert.is_true(door.apply({ pool "c" }).ok)
    assert.is_true(door.apply({ { op = "put", kind = "pools", name = "b", value = { algorithm = "random" } } }).ok)
    traffic.node.requests, traffic.node.errors = 1100, 50
    pass(1000)
    assert.equal("rolled_back", (state_of(result.version)))
    assert.same({ false, true, true }, { has("pools", "a"), has("pools", "b"), has("pools", "c") })
  end)

  it("is superseded when nothing of it is left", function()
    local result = watched { pool "a" }
    assert.is_true(door.apply({ { op = "delete", kind = "pools", name = "a" } }).ok)
    traffic.node.requests, traffic.node.errors = 1100, 50
    pass(1000)
    assert.equal("superseded", (state_of(result.version)))
  end)

  it("waits while another on the same thing is watched, and is watched on when that is taken back", function()
    local function change(algorithm)
      return { op = "put", kind = "pools", name = "a", value = { algorithm = algorithm } }
    end
    assert.is_true(door.apply({ pool "a" }).ok)
    local first, second = watched { change "random" }, watched { change "ip_hash" }
    pass(1000)
    assert.same({ "watching", "watching" }, { (state_of(first.version)), (state_of(second.version)) })
    traffic.node.requests, traffic.node.errors = 1100, 50
    pass(1000)
    assert.same({ "watching", "rolled_back" }, { (state_of(first.version)), (state_of(second.version)) })
    assert.equal("random", transactions.find("pools", nil, "a").value.algorithm)
    pass(1000) -- those that failed were the other's
    assert.equal("watching", (state_of(first.version)))
    traffic.node.requests, traffic.node.errors = 1200, 100
    pass(1000)
    assert.equal("rolled_back", (state_of(first.version)))
    assert.equal("round_robin", transactions.find("pools", nil, "a").value.algorithm)
  end)

  it("is superseded when the one that has come in its place is there to stay", function()
    assert.is_true(door.apply({ pool "a" }).ok)
    local first = watched { { op = "put", kind = "pools", name = "a", value = { algorithm = "random" } } }
    local second = watched { { op = "put", kind = "pools", name = "a", value = { algorithm = "ip_hash" } } }
    pass(1000)
    assert.is_true(probation.confirm(second.version, { author = "ann" }).ok)
    pass(1000)
    assert.equal("superseded", (state_of(first.version)))
  end)

  it("is confirmed or rejected by hand, once", function()
    local first, second = watched { pool "a" }, watched { pool "b" }
    assert.is_true(probation.confirm(first.version, { author = "ann" }).ok)
    assert.equal("confirmed", (state_of(first.version)))
    assert.equal("conflict", probation.confirm(first.version, { author = "ann" }).code)
    local answer
    probation.reject(second.version, { author = "ann" }, function(outcome) answer = outcome end)
    door.step()
    assert.is_true(answer.ok)
    assert.same({ true, false }, { has("pools", "a"), has("pools", "b") })
    local state, told = state_of(second.version)
    assert.same({ "rolled_back", "rejected by ann" }, { state, told.reason })
    assert.equal("conflict", (function()
      probation.reject(second.version, { author = "ann" }, function(outcome) answer = outcome end)
      return answer.code
    end)())
    assert.same({ 1, 1 }, { counts.get().confirmed, counts.get().rolled_back })
  end)

  it("that cannot be taken back says why", function()
    local result = watched { pool "a" }
    assert.is_true(door.apply({ { op = "create", kind = "routes", name = "r", value = { name = "r", path = "/",
      pool = "a" } } }).ok)
    traffic.node.requests, traffic.node.errors = 1100, 50
    pass(1000)
    local state, told = state_of(result.version)
    assert.equal("failed", state)
    assert.is_truthy(told.reason:find "it could not be taken back")
    assert.is_true(has("pools", "a"))
  end)

  it("goes on after control was killed, with the figures of its beginning", function()
    local result = watched { pool "a" }
    traffic.node.requests, traffic.node.errors = 1100, 50
    open() -- another process
    assert.is_nil(state_of(result.version))
    probation.follow(require("veloflux.control.queue").world().set)
    door.step()
    assert.equal("rolled_back", (state_of(result.version)))
  end)

  it("that has ended is not watched again, and its mark goes with the next change", function()
    local result = watched { pool "a" }
    pass(10100)
    assert.is_table(door.store.kinds.meta["probation:" .. result.version])
    open()
    probation.follow(require("veloflux.control.queue").world().set)
    assert.equal("passed", (state_of(result.version)))
    assert.is_true(door.apply({ pool "b" }).ok)
    assert.is_nil(door.store.kinds.meta["probation:" .. result.version])
    assert.equal("passed", (state_of(result.version)))
  end)

  it("that has ended is not begun again while the store is not open yet", function()
    local result = watched { pool "a" }
    assert.is_true(probation.confirm(result.version, { author = "ann" }).ok)
    traffic.node.requests, traffic.node.errors = 1100, 50
    local is_open = false
    probation.open { link = door.link, now_ms = function() return clock end, history = history, figures = seen,
      store = function() return is_open and door.store or nil end }
    probation.follow(require("veloflux.control.queue").world().set)
    pass(2000)
    assert.same({}, probation.watching())
    is_open = true
    pass(1100)
    assert.equal("confirmed", (state_of(result.version)))
    assert.is_true(has("pools", "a"))
  end)

  it("waits for a store that is away", function()
    local result = watched { pool "a" }
    traffic.node.requests, traffic.node.errors = 1100, 50
    door.store.failure = { code = "unavailable", message = "away" }
    pass(1000)
    assert.equal("watching", (state_of(result.version)))
    door.store.failure = nil
    pass(1100)
    assert.equal("rolled_back", (state_of(result.version)))
  end)

  it("changes nothing of a change that changes nothing, or of a dry run", function()
    assert.is_true(door.apply({ pool "a" }).ok)
    local again = watched { { op = "put", kind = "pools", name = "a", value = { name = "a" } } }
    assert.is_nil(again.version ~= 2 and again.probation or nil)
    assert.same({}, probation.watching())
    assert.is_nil(door.store.kinds.meta)
  end)
end)
