require "support.library"
local entities = require "veloflux.control.entities"

local function entity(name, version) return { kind = "routes", key = "default/" .. name, version = version } end

local function put(name, version)
  return { kind = "routes", key = "default/" .. name, entity = entity(name, version) }
end

local function order(set)
  local words = {}
  for i, one in ipairs(entities.sorted(set, "routes")) do words[i] = one.key:match "/(.*)$" .. one.version end
  return table.concat(words, " ")
end

describe("a set of entities", function()
  local set
  before_each(function()
    set = entities.with(entities.new(), { put("c", 1), put("a", 1), put("b", 1), put("B", 1), put("a-b", 1) })
  end)

  it("is in the order of the keys, whatever is changed, added and gone", function()
    assert.equal("B1 a1 a-b1 b1 c1", order(set))
    local changed = entities.with(set, { put("a", 2), put("c", 2) })
    assert.equal("B1 a2 a-b1 b1 c2", order(changed))
    local more = entities.with(changed, { put("a", 3), put("aa", 3), { kind = "routes", key = "default/b" } })
    assert.equal("B1 a3 a-b1 aa3 c2", order(more))
    assert.equal("B1 a2 a-b1 b1 c2", order(changed))
    assert.equal("B1 a1 a-b1 b1 c1", order(set))
  end)

  it("is in the order of the keys after few changes and after many, as one that is sorted anew", function()
    math.randomseed(27)
    for round = 1, 200 do
      local edits = {}
      for i = 1, math.random(round % 10 == 0 and 90 or 8) do
        local name = ("x"):rep(math.random(3)) .. math.random(60)
        edits[i] = math.random(3) > 1 and put(name, round) or { kind = "routes", key = "default/" .. name }
      end
      local before = order(set)
      local changed = entities.with(set, edits)
      assert.equal(before, order(set))
      local anew = entities.new()
      for key, one in pairs(changed.routes) do anew.routes[key] = one end
      assert.equal(order(anew), order(changed))
      set = changed
    end
  end)

  it("is one as long as the caller keeps it to itself", function()
    assert.equal("B1 a1 a-b1 b1 c1", order(set))
    local own = {}
    local first = entities.with(set, { put("b", 2) }, own)
    local second = entities.with(first, { put("b", 3), put("d", 3) }, own)
    local third = entities.with(second, { put("d", 4), { kind = "routes", key = "default/none" } }, own)
    assert.equal(first, third)
    assert.equal("B1 a1 a-b1 b3 c1 d4", order(third))
    assert.equal("B1 a1 a-b1 b1 c1", order(set))
  end)
end)

describe("what a store has loaded", function()
  local function rows(path)
    local row = { json = ('{"name":"a","path_prefix":"%s","respond":{"status":200}}'):format(path), version = 3,
      created_ms = 1, updated_ms = 2 }
    return { routes = { ["default/a"] = row } }
  end

  it("is not read again where it is known", function()
    local known = assert(entities.load(rows "/x", {}))
    local same = assert(entities.load(rows "/x", {}, known))
    assert.equal(known.routes["default/a"], same.routes["default/a"])
    local other = assert(entities.load(rows "/y", {}, known))
    assert.equal("/y", other.routes["default/a"].record.path_prefix)
    local later = rows "/x"
    later.routes["default/a"].version = 4
    assert.equal(4, entities.load(later, {}, known).routes["default/a"].version)
    assert.same({}, entities.load({ routes = {} }, {}, known).routes)
  end)
end)
