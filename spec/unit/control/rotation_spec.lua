--- Rotation of the keys of secrets at rest.
require "support.library"
local doors = require "support.door"
local keys = require "veloflux.keys"
local rotation = require "veloflux.control.rotation"
local transactions = require "veloflux.control.transactions"

local DAY_MS = 24 * 3600 * 1000

describe("a rotation", function()
  local door

  before_each(function()
    door = doors.open "pools: []\n"
    door.use_store()
  end)

  after_each(function() door.close() end)

  local function consumer(name, key)
    return door.apply { { op = "create", kind = "consumers", name = name, value = { name = name,
      credentials = require("veloflux.pdk.json").array { { type = "key-auth", key = key } } } } }
  end

  local function rotate(options)
    local result, offered = nil, #door.offers
    options = options or {}
    options.now_ms = 5000
    rotation.rotate(options, { author = "ann" }, function(outcome) result = outcome end)
    if #door.offers > offered then door.step() end
    return result
  end

  local function list(now_ms)
    local result
    rotation.list(now_ms or 5000, function(outcome) result = outcome end)
    return result.keys
  end

  local function text_of(name) return door.store.kinds.consumers["default/" .. name].json end

  it("seals everything with a new key, and changes nothing else", function()
    assert.is_true(consumer("a", "the-key-of-a").ok)
    assert.is_true(door.apply({ { op = "create", kind = "pools", name = "p", value = { name = "p" } } }).ok)
    local before, old = text_of "a", list()[1].id
    local result = rotate()
    assert.is_true(result.ok)
    assert.equal(1, result.resealed)
    assert.equal("no changes", (result.summary:gsub("consumers: 1 changed", "no changes")))
    assert.same({}, result.diff[1].changes)
    assert.not_equal(before, text_of "a")
    assert.equal("the-key-of-a", transactions.find("consumers", nil, "a").value.credentials[1].key)
    local found = list()
    assert.same({ true, false, old, result.version }, { found[1].is_active, found[2].is_active, found[2].id,
      found[2].until_version })
    assert.same({ "in_use" }, found[1].needed_by)
    assert.same({ "history", "answers" }, found[2].needed_by)
  end)

  it("keeps a key until nothing needs it", function()
    assert.is_true(consumer("a", "the-key-of-a").ok)
    local old = list()[1].id
    rotate()
    local answer
    local function retire(id, now_ms) rotation.retire(id, now_ms, false, function(outcome) answer = outcome end) end
    retire(old, 5000)
    assert.same({ "conflict", true }, { answer.code, answer.message:find "history, answers" ~= nil })
    retire(list()[1].id, 5000)
    assert.is_truthy(answer.message:find "in_use")
    retire("beef", 5000)
    assert.equal("not_found", answer.code)
    door.store.records = {} -- pruned
    retire(old, 5000 + DAY_MS)
    assert.is_true(answer.ok)
    assert.equal(1, #list())
  end)

  it("that was cut off is taken up by the next", function()
    assert.is_true(consumer("a", "the-key-of-a").ok)
    assert(keys.generate(keys.ring { data_dir = door.folder })) -- and then it was killed
    assert.equal("the-key-of-a", transactions.find("consumers", nil, "a").value.credentials[1].key)
    assert.same({ "entities", "not_rotated" }, list()[2].needed_by)
    local result = rotate { generate = false }
    assert.equal(1, result.resealed)
    assert.equal(2, #list())
    assert.equal(0, rotate({ generate = false }).resealed)
  end)

  it("of what nobody can open changes nothing", function()
    assert.is_true(consumer("a", "the-key-of-a").ok)
    local ring = keys.ring { data_dir = door.folder }
    local only = ring.keys
    assert(keys.generate(ring))
    assert(keys.forget(ring, only[1].id))
    local before = text_of "a"
    local result = rotate { generate = false }
    assert.same({ false, "conflict" }, { result.ok, result.code })
    assert.is_truthy(result.message:find "consumers default/a is sealed with a key that is not there")
    assert.equal(before, text_of "a")
  end)

  it("needs the store", function()
    require("veloflux.control.queue").adopt(require("veloflux.control.queue").world(), "away")
    assert.equal("unavailable", rotate().code)
    assert.equal(1, #list())
  end)
end)
