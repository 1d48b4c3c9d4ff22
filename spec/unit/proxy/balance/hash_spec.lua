--- Hashing: one key, one backend; as little as possible moves; no backend above its bound.
local fixture = require "unit.proxy.fixture"

local KEYS = 6000

local function named(list)
  local backends = {}
  for name, weight in list:gmatch "(%a+):?(%d*)" do
    backends[#backends + 1] = { name = name, weight = tonumber(weight) or 1 }
  end
  return backends
end

local function snapshot(list, algorithm)
  return fixture.snapshot { algorithm = algorithm or "consistent_hash", backends = named(list) }
end

local function balancer(list, algorithm)
  local one, names = snapshot(list, algorithm)
  return fixture.balancer(fixture.state(), one, names)
end

-- Where every key goes, and how many to each.
local function assign(b)
  local map, counts = {}, {}
  for _, name in pairs(b.names) do counts[name] = 0 end
  for i = 1, KEYS do
    local name = b:pick("key-" .. i)
    map[i], counts[name] = name, counts[name] + 1
  end
  return map, counts
end

-- Counts keys that went elsewhere, by "from>to".
local function moves(before, after)
  local found, total = {}, 0
  for i = 1, KEYS do
    if before[i] ~= after[i] then
      local move = before[i] .. ">" .. after[i]
      found[move], total = (found[move] or 0) + 1, total + 1
    end
  end
  return found, total
end

describe("consistent_hash", function()
  it("sends a key to the same backend, in every process", function()
    local before = assign(balancer "a b c d")
    assert.same(before, (assign(balancer "d c b a")))
  end)

  it("shares keys by weight", function()
    local _, counts = assign(balancer "a:1 b:2 c:3 d:10")
    assert.is_true(fixture.chi_square(counts, { a = 1, b = 2, c = 3, d = 10 }) < 16.27) -- p = 0.001
  end)

  it("moves only the keys of a backend that goes", function()
    local b = balancer "a b c d e"
    local before, counts = assign(b)
    b:publish(snapshot "a b d e")
    local found, total = moves(before, (assign(b)))
    assert.equal(counts.c, total)
    for move in pairs(found) do assert.matches("^c>", move) end
  end)

  it("moves only what a backend that comes gets", function()
    local b = balancer "a b c d"
    local before = assign(b)
    b:publish(snapshot "a b c d e")
    local after, counts = assign(b)
    local found, total = moves(before, after)
    assert.equal(counts.e, total)
    assert.is_true(math.abs(total - KEYS / 5) < 150)
    for move in pairs(found) do assert.matches(">e$", move) end
  end)

  it("moves only the difference when a weight changes", function()
    local b = balancer "a:2 b:2 c:2"
    local before = assign(b)
    b:backend("a").weight = 4 -- 3
    local found, total = moves(before, (assign(b)))
    for move in pairs(found) do assert.matches(">a$", move) end
    assert.is_true(math.abs(total - KEYS * (3 / 7 - 2 / 6)) < 120)
  end)

  it("brings keys back to a backend that recovers", function()
    local b = balancer "a b c"
    local before = assign(b)
    b:backend("b").drain = 2
    local found = moves(before, (assign(b)))
    for move in pairs(found) do assert.matches("^b>", move) end
    b:backend("b").drain = 0
    assert.same(before, (assign(b)))
  end)

  it("keeps every load within 1.25 of its share, whatever the key", function()
    local b, weights, total = balancer "a:1 b:1 c:2 d:4", { a = 1, b = 1, c = 2, d = 4 }, 0
    for i = 1, 2000 do
      local name = b:pick(i % 3 == 0 and "key-" .. i or "hot") -- two in three are one key
      local counters = b:counters(name)
      counters.in_flight, total = counters.in_flight + 1, total + 1
      assert.is_true(tonumber(counters.in_flight) <= math.ceil(1.25 * total * weights[name] / 8))
    end
  end)

  it("goes back to the first choice when there is room again", function()
    local b = balancer "a b c"
    local home = b:pick "hot"
    b:counters(home).in_flight = 10
    local second = b:pick "hot"
    assert.not_equal(home, second)
    assert.equal(second, b:pick "hot")
    b:counters(home).in_flight = 0
    assert.equal(home, b:pick "hot")
  end)

  it("tries the next best when the first was tried", function()
    local b = balancer "a b c"
    local first = b:pick "k"
    local second = b:pick("k", { first })
    local third = b:pick("k", { first, second })
    assert.equal(3, #table.concat { first, second, third })
    assert.is_true(first ~= second and second ~= third and first ~= third)
    b:backend(first).drain = 2
    assert.equal(second, b:pick "k")
  end)

  it("takes an empty key for a key and hashes the address when there is none", function()
    local b = balancer "a b c d e f g h"
    assert.equal(b:pick "", b:pick "")
    local seen = {}
    for i = 1, 64 do seen[b:pick_for(10, 0, 0, i)] = true end
    assert.is_true(seen.a and seen.b and seen.c and seen.d and true)
  end)
end)

describe("ip_hash", function()
  it("keeps a client with its backend and spreads clients by weight", function()
    local b, counts = balancer("a:1 b:3", "ip_hash"), { a = 0, b = 0 }
    for i = 0, 7999 do
      local name = b:pick_for(10, 0, math.floor(i / 256), i % 256)
      assert.equal(name, b:pick_for(10, 0, math.floor(i / 256), i % 256))
      counts[name] = counts[name] + 1
    end
    assert.is_true(fixture.chi_square(counts, { a = 1, b = 3 }) < 10.83)
  end)

  it("counts an IPv6 client by its /64", function()
    local b = balancer("a b c d e f g h", "ip_hash")
    local first = b:pick_for(0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9)
    assert.equal(first, b:pick_for(0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8))
    local seen, n = {}, 0
    for i = 1, 64 do
      local name = b:pick_for(0x20, 1, 0xd, 0xb8, 0, 0, 1, i, 0, 0, 0, 0, 0, 0, 0, 1)
      if not seen[name] then seen[name], n = true, n + 1 end
    end
    assert.is_true(n >= 6)
  end)

  it("does not look at loads", function()
    local b = balancer("a b", "ip_hash")
    local home = b:pick_for(10, 0, 0, 1)
    b:counters(home).in_flight = 1000
    assert.equal(home, b:pick_for(10, 0, 0, 1))
  end)

  it("moves only the clients of a backend that goes", function()
    local b, before = balancer("a b c", "ip_hash"), {}
    for i = 1, 250 do before[i] = b:pick_for(10, 0, 0, i) end
    b:backend("b").drain = 1
    for i = 1, 250 do
      local name = b:pick_for(10, 0, 0, i)
      if before[i] == "b" then assert.not_equal("b", name) else assert.equal(before[i], name) end
    end
  end)
end)
