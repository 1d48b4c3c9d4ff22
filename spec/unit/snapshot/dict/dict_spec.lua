--- Shared dictionaries: what every call does, and what happens when they are full.
local ffi = require "ffi"
local dictionary = require "unit.snapshot.dictionary"

local lib, with_dict, REGION = dictionary.lib, dictionary.with, dictionary.REGION
local SECOND = 1000000000ULL
local OK, ABSENT, PRESENT, CONFLICT, TYPE = lib.VF_DICT_OK, lib.VF_DICT_ABSENT, lib.VF_DICT_PRESENT,
  lib.VF_DICT_CONFLICT, lib.VF_DICT_TYPE
local NO_MEMORY, TOO_LARGE, SMALL = lib.VF_DICT_NO_MEMORY, lib.VF_DICT_TOO_LARGE, lib.VF_DICT_SMALL
local HEAD, TAIL = 0, 1
local ROOM = 65536
local buffer, out = ffi.new("char[?]", ROOM), ffi.new "struct vf_dict_value"

describe("a set of dictionaries", function()
  it("makes each once, finds it by name, and knows its room", with_dict(65536, function(dict, dicts)
    local c = ffi.new "struct vf_dict *[1]"
    assert.equal(OK, lib.vf_dicts_open(dicts, "test", 1000000, c))
    assert.is_true(c[0] == dict.c)
    assert.equal(65536, dict:info().bytes)
    assert.equal(ABSENT, lib.vf_dicts_open(dicts, "other", 0, c))
    assert.equal(OK, lib.vf_dicts_open(dicts, "other", 1, c)) -- as small as they get
    assert.is_true(lib.vf_dicts_at(dicts, 1) == c[0])
    assert.is_true(lib.vf_dicts_at(dicts, 2) == nil)
    assert.equal(lib.VF_DICT_CONFIGURED, lib.vf_dicts_open(dicts, "huge", REGION, c))
    assert.equal(lib.VF_DICT_CONFIGURED, lib.vf_dicts_open(dicts, "", 1, c))
    assert.equal(lib.VF_DICT_CONFIGURED, lib.vf_dicts_open(dicts, ("n"):rep(64), 1, c))
    for i = 3, lib.VF_DICTS do assert.equal(OK, lib.vf_dicts_open(dicts, "d" .. i, 1, c)) end
    assert.equal(lib.VF_DICT_CONFIGURED, lib.vf_dicts_open(dicts, "one more", 1, c))
    local other = setmetatable({ c = lib.vf_dicts_at(dicts, 1), now = dict.now }, getmetatable(dict))
    other:set("k", "theirs")
    assert.is_nil(dict:get "k")
    assert.equal("theirs", other:get "k")
  end))
end)

describe("a dictionary", function()
  it("keeps values of each type, with flags", with_dict(65536, function(dict)
    for _, x in ipairs { "text", "", "\0\255 any bytes", ("long"):rep(5000), 1.5, -0.25, true, false, 2 ^ 53,
      ffi.new("int64_t", -9007199254740993LL) } do
      assert.equal(OK, (dict:set("k", x, 0, 0, 7)))
      local found, flags = dict:get "k"
      assert.is_true(found == x)
      assert.equal(7, flags)
    end
    assert.equal(OK, (dict:set("k", nil)))
    assert.same({ nil, ABSENT }, { dict:get "k" })
    assert.equal(0, dict:info().entries)
    assert.equal(dict:info().capacity_bytes, dict:info().free_bytes)
  end))

  it("takes any key but an empty one and one too long", with_dict(4 * 1024 * 1024, function(dict)
    for _, key in ipairs { "k", "\0", "\0\0", ("x"):rep(72), ("x"):rep(73), ("y"):rep(lib.VF_DICT_KEY_BYTES) } do
      assert.equal(OK, (dict:set(key, key)))
      assert.equal(key, (dict:get(key)))
    end
    assert.equal(TOO_LARGE, (dict:set("", 1)))
    assert.equal(TOO_LARGE, (dict:set(("y"):rep(lib.VF_DICT_KEY_BYTES + 1), 1)))
    local most = dict:info().max_value_bytes
    assert.equal(OK, (dict:set("k", ("v"):rep(most - 1))))
    assert.equal(most - 1, #dict:get "k")
    assert.equal(TOO_LARGE, (dict:set("k", ("v"):rep(most))))
    assert.equal(most - 1, #dict:get "k")
  end))

  it("adds, replaces, swaps and deletes", with_dict(65536, function(dict)
    assert.equal(ABSENT, (dict:set("k", 1, 0, lib.VF_DICT_REPLACE)))
    assert.equal(OK, (dict:set("k", 1, 0, lib.VF_DICT_ADD)))
    assert.equal(PRESENT, (dict:set("k", 2, 0, lib.VF_DICT_ADD)))
    assert.equal(OK, (dict:set("k", 3, 0, lib.VF_DICT_REPLACE)))
    assert.equal(CONFLICT, dict:swap("k", 1, 4))
    assert.equal(CONFLICT, dict:swap("k", "3", 4))
    assert.equal(CONFLICT, dict:swap("k", nil, 4))
    assert.equal(OK, dict:swap("k", 3, "four"))
    assert.equal(CONFLICT, dict:swap("k", "fou", 5))
    assert.equal(OK, dict:swap("k", "four", true))
    assert.equal(OK, dict:swap("k", true, nil))
    assert.equal(OK, dict:swap("k", nil, "new"))
    assert.equal("new", (dict:get "k"))
    assert.equal(OK, dict:delete "k")
    assert.equal(ABSENT, dict:delete "k")
    assert.equal(TYPE, lib.vf_dict_set(dict.c, "k", 1, ffi.new("struct vf_dict_value", { type = 5 }), 0, 0, 0, nil))
  end))

  it("tells how long a value is when it does not fit", with_dict(65536, function(dict)
    dict:set("k", "twelve bytes")
    assert.equal(SMALL, lib.vf_dict_get(dict.c, "k", 1, dict.now, buffer, 11, out))
    assert.equal(12, tonumber(out.len))
    assert.equal(OK, lib.vf_dict_get(dict.c, "k", 1, dict.now, buffer, 12, out))
    dict:push("l", "twelve bytes", TAIL)
    assert.equal(SMALL, lib.vf_dict_pop(dict.c, "l", 1, HEAD, dict.now, buffer, 0, out))
    assert.equal(1, dict:length "l")
    assert.equal("twelve bytes", dict:pop("l", HEAD))
  end))

  it("counts", with_dict(65536, function(dict)
    assert.same({ nil, ABSENT }, { dict:incr("n", 1) })
    assert.equal(3.5, dict:incr("n", 1.5, 2))
    assert.equal(3, dict:incr("n", -0.5, 100))
    dict:set("i", ffi.new("int64_t", 0x7fffffffffffffffLL))
    assert.same({ nil, TYPE }, { dict:incr("i", 1, 0) })
    assert.is_true(dict:get "i" == 0x7fffffffffffffffLL)
    dict:set("s", "1")
    assert.same({ nil, TYPE }, { dict:incr("s", 1, 0) })
  end))

  it("forgets what has expired", with_dict(65536, function(dict)
    dict:set("a", 1, SECOND)
    dict:set("b", 2)
    dict:incr("c", 1, 0, 2 * SECOND)
    assert.equal(SECOND, dict:ttl "a")
    assert.equal(0, tonumber(dict:ttl "b"))
    dict.now = dict.now + SECOND - 1
    assert.equal(1, (dict:get "a"))
    assert.equal(1, tonumber(dict:ttl "a"))
    dict.now = dict.now + 1
    assert.is_nil(dict:get "a")
    assert.same({ nil, ABSENT }, { dict:ttl "a" })
    assert.equal(ABSENT, dict:expire("a", SECOND))
    assert.equal(2, dict:incr("c", 1, 0, 2 * SECOND)) -- keeps its time
    assert.equal(OK, dict:expire("b", SECOND))
    dict.now = dict.now + SECOND
    assert.equal(1, dict:incr("c", 1, 0))
    assert.equal(OK, dict:expire("c", 0))
    assert.equal(OK, (dict:set("b", 3, 0, lib.VF_DICT_ADD)))
    assert.same({ "b", "c" }, (function(keys) table.sort(keys) return keys end)(dict:keys()))
    dict:set("k", "v", 0xffffffffffffffffULL) -- beyond the end of the clock: for ever
    assert.equal(0, tonumber(dict:ttl "k"))
  end))

  it("has lists with two ends", with_dict(65536, function(dict)
    assert.equal(0, dict:length "l")
    for i, x in ipairs { "b", "c" } do assert.equal(i, dict:push("l", x, TAIL)) end
    assert.equal(3, dict:push("l", "a", HEAD))
    dict:push("l", 1.5, TAIL)
    dict:push("l", true, TAIL)
    dict:push("l", ffi.new("int64_t", 5), TAIL)
    dict:push("l", ("long"):rep(100), TAIL)
    assert.equal(7, dict:get("l").n)
    assert.equal("a", dict:pop("l", HEAD))
    assert.equal(("long"):rep(100), dict:pop("l", TAIL))
    assert.is_true(dict:pop("l", TAIL) == 5LL)
    assert.same({ true, "b", 1.5, "c" }, { dict:pop("l", TAIL), dict:pop("l", HEAD), dict:pop("l", TAIL),
      dict:pop("l", HEAD) })
    assert.same({ nil, ABSENT }, { dict:pop("l", HEAD) })
    assert.equal(dict:info().capacity_bytes, dict:info().free_bytes)
    dict:set("s", "x")
    assert.same({ nil, TYPE }, { dict:push("s", "x", TAIL) })
    assert.same({ nil, TYPE }, { dict:pop("s", TAIL) })
    assert.same({ nil, TYPE }, { dict:length "s" })
    dict:push("l", "x", TAIL)
    assert.same({ nil, TYPE }, { dict:incr("l", 1, 0) })
    assert.equal(OK, (dict:set("l", "no list any more")))
    assert.equal("no list any more", (dict:get "l"))
  end))

  it("gives the elements of a list back that goes", with_dict(65536, function(dict)
    for i = 1, 100 do dict:push("l", "element " .. i, TAIL) end
    dict:delete "l"
    assert.is_true(dict:is_whole())
    for i = 1, 20 do dict:set("k", i) end
    local info = dict:info()
    assert.equal(info.capacity_bytes - 128, info.free_bytes)
  end))

  it("is emptied, of all or of what has expired", with_dict(4 * 1024 * 1024, function(dict)
    for i = 1, 1000 do dict:set("k" .. i, i, i <= 300 and SECOND or 0) end
    dict.now = dict.now + SECOND
    assert.equal(100, lib.vf_dict_flush_expired(dict.c, 100, dict.now))
    assert.equal(200, lib.vf_dict_flush_expired(dict.c, 0, dict.now))
    assert.equal(700, dict:info().entries)
    assert.equal(10, #dict:keys(10))
    assert.equal(700, #dict:keys())
    lib.vf_dict_flush_all(dict.c)
    assert.same({}, dict:keys())
    assert.equal(dict:info().capacity_bytes, dict:info().free_bytes)
    dict:set("k", "again")
    assert.equal("again", (dict:get "k"))
  end))

  it("lists and removes the keys with a prefix", with_dict(4 * 1024 * 1024, function(dict)
    local long = ("long"):rep(50)
    for i = 1, 500 do
      dict:set("a:" .. i, i)
      dict:set("b:" .. i, i)
      dict:set(long .. i, i)
    end
    dict:push("a:list", "element", TAIL)
    assert.equal(501, #dict:keys(0, "a:"))
    assert.equal(7, #dict:keys(7, "b:"))
    assert.equal(111, #dict:keys(0, long .. "1"))
    assert.same({}, dict:keys(0, long .. "1111"))
    assert.equal(501, lib.vf_dict_flush_keys(dict.c, "a:", 2))
    assert.equal(111, lib.vf_dict_flush_keys(dict.c, long .. "1", #long + 1))
    assert.equal(0, lib.vf_dict_flush_keys(dict.c, "a:", 2))
    assert.equal(889, #dict:keys())
    assert.equal(500, #dict:keys(0, "b:"))
    assert.equal(889, lib.vf_dict_flush_keys(dict.c, "", 0))
    assert.equal(dict:info().capacity_bytes, dict:info().free_bytes + 128) -- garbage of the list
  end))

  it("keeps to the buffer when it lists keys", with_dict(65536, function(dict)
    for i = 1, 9 do dict:set("key" .. i, i) end
    local used = ffi.new "size_t[1]"
    assert.equal(2, lib.vf_dict_keys(dict.c, "", 0, 0, dict.now, buffer, 3 * 8 - 1, used))
    assert.equal(16, tonumber(used[0]))
    assert.equal(0, lib.vf_dict_keys(dict.c, "", 0, 0, dict.now, buffer, 0, used))
    assert.same({ "key9", "key8" }, dict:keys(2)) -- used last
  end))
end)

describe("a full dictionary", function()
  it("lets go of what was used longest ago", with_dict(65536, function(dict)
    local evicted, i = 0, 0
    while evicted == 0 do
      i = i + 1
      dict:get "k1" -- in use all the time
      local _, n = dict:set("k" .. i, i)
      evicted = n
    end
    assert.equal(1, (dict:get "k1"))
    assert.is_nil(dict:get "k2")
    assert.equal(3, (dict:get "k3"))
    assert.equal(1, dict:info().evictions)
    dict:set("large", ("x"):rep(2000))
    assert.equal(2000, #dict:get "large")
    assert.is_true(dict:info().evictions > 10)
  end))

  it("refuses what may evict nothing, but for what has expired", with_dict(65536, function(dict)
    local n = 0
    repeat n = n + 1 until dict:set("k" .. n, n, n == 5 and SECOND or 0, lib.VF_DICT_SAFE) ~= OK
    assert.equal(NO_MEMORY, (dict:set("one more", 1, 0, lib.VF_DICT_SAFE)))
    assert.is_true(dict:info().refusals >= 2)
    for i = 1, n - 1 do assert.equal(i, (dict:get("k" .. i))) end
    assert.equal(OK, (dict:set("k7", "in place", 0, lib.VF_DICT_SAFE)))
    assert.equal(OK, (dict:delete "k8"))
    assert.equal(OK, (dict:set("k7", ("x"):rep(100), 0, lib.VF_DICT_SAFE))) -- two chunks
    dict.now = dict.now + SECOND
    assert.equal(OK, (dict:set("one more", 1, 0, lib.VF_DICT_SAFE)))
    assert.is_nil(dict:get "k5")
    assert.equal(0, dict:info().evictions)
  end))

  it("replaces its largest value by another", with_dict(65536, function(dict)
    local most = dict:info().max_value_bytes - 1
    for i = 1, 50 do
      assert.equal(OK, (dict:set("k", (i % 2 == 0 and "a" or "b"):rep(most - i * 200))))
      assert.equal(most - i * 200, #dict:get "k")
    end
    for i = 1, 50 do assert.equal(OK, (dict:set("k", ("c"):rep(most - 10000 + i * 200), 0, lib.VF_DICT_SAFE))) end
  end))

  it("does not evict a list for its own elements", with_dict(65536, function(dict)
    dict:set("other", 1)
    local n, rc = 0
    repeat
      n = n + 1
      local pushed, err = dict:push("l", "element", TAIL)
      rc = pushed and OK or err
    until rc ~= OK
    assert.equal(NO_MEMORY, rc)
    assert.equal(n - 1, dict:length "l")
    assert.is_nil(dict:get "other")
    assert.equal("element", dict:pop("l", HEAD))
  end))
end)

describe("a sliding window", function()
  local window = ffi.new "struct vf_dict_window"
  local function slide(dict, key, limit, cost)
    local rc = lib.vf_dict_slide(dict.c, key, #key, limit, 10 * SECOND, cost, dict.now, window)
    assert.equal(OK, rc)
    return window.admitted == 1
  end

  it("weighs the window before by what it still covers", with_dict(65536, function(dict)
    dict.now = dict.now + 9 * SECOND
    for _ = 1, 8 do assert.is_true(slide(dict, "k", 8, 1)) end
    assert.is_false(slide(dict, "k", 8, 1))
    assert.equal(8, window.used)
    assert.equal(1 * SECOND, window.reset_ns)
    dict.now = dict.now + 6 * SECOND -- half of the next: 8 * 0.5 are used
    assert.is_true(slide(dict, "k", 8, 4))
    assert.is_false(slide(dict, "k", 8, 1))
    assert.is_true(slide(dict, "k", 8, 0))
    assert.equal(8, window.used)
    assert.is_true(slide(dict, "other", 8, 8))
    dict.now = dict.now - 6 * SECOND -- another process's clock, a window behind: strict
    assert.is_false(slide(dict, "k", 8, 1))
    dict.now = dict.now + 30 * SECOND
    assert.is_true(slide(dict, "k", 8, 8))
    assert.is_false(slide(dict, "k", 8, 1))
    assert.same({ nil, TYPE }, { dict:get "k" })
  end))

  it("forgets the window before once its last event is out", with_dict(65536, function(dict)
    local function wait_s() return tonumber(window.retry_ns) / 1e9 end
    dict.now = dict.now + 2 * SECOND
    assert.is_true(slide(dict, "k", 8, 5))
    dict.now = dict.now + 1 * SECOND
    assert.is_true(slide(dict, "k", 8, 3))
    assert.is_false(slide(dict, "k", 8, 1))
    assert.is_true(wait_s() > 7 and wait_s() <= 8.25 + 0.001)
    assert.is_false(slide(dict, "k", 8, 8))
    assert.is_true(wait_s() >= 10 and wait_s() < 10.001, wait_s())
    dict.now = dict.now + 10 * SECOND - 1000000 -- a millisecond too early
    assert.is_false(slide(dict, "k", 8, 8))
    dict.now = dict.now + 2000000
    assert.is_true(slide(dict, "k", 8, 8))
    for _ = 1, 5 do -- one in each window's length, wherever it is in a window
      assert.is_true(slide(dict, "one", 1, 1))
      assert.is_false(slide(dict, "one", 1, 1))
      dict.now = dict.now + window.retry_ns
      assert.is_true(wait_s() < 10.001, wait_s())
    end
  end))

  it("says when to come again", with_dict(65536, function(dict)
    local function wait_s() return math.floor(tonumber(window.retry_ns) / 1e7) / 100 end
    assert.is_true(slide(dict, "k", 8, 0))
    assert.equal(0, tonumber(window.retry_ns))
    dict.now = dict.now + 9 * SECOND
    assert.is_true(slide(dict, "k", 8, 8))
    assert.is_true(slide(dict, "k", 8, 0)) -- none are admitted, one more would not be
    assert.equal(2.25, wait_s())
    assert.is_false(slide(dict, "k", 8, 9))
    assert.is_true(window.retry_ns == 0xffffffffffffffffULL)
    dict.now = dict.now + SECOND / 2
    assert.is_false(slide(dict, "k", 8, 2)) -- 0.5 s until the window ends, 2.5 s until two of 8 are forgotten
    assert.equal(3, wait_s())
    dict.now = dict.now + window.retry_ns
    assert.is_true(slide(dict, "k", 8, 2))
    assert.is_false(slide(dict, "k", 8, 2)) -- in this window
    assert.equal(2.5, wait_s())
    dict.now = dict.now + window.retry_ns
    assert.is_true(slide(dict, "k", 8, 2))
    slide(dict, "k", 0, 0)
    assert.is_true(window.retry_ns == 0xffffffffffffffffULL)
  end))

  it("evicts nothing and is refused when there is no room", with_dict(65536, function(dict)
    local n, rc = 0
    repeat
      n = n + 1
      rc = lib.vf_dict_slide(dict.c, "k" .. n, #("k" .. n), 5, 10 * SECOND, 1, dict.now, window)
    until rc ~= OK
    assert.equal(NO_MEMORY, rc)
    for i = 1, n - 1 do
      assert.is_true(slide(dict, "k" .. i, 5, 0))
      assert.equal(1, window.used)
    end
    assert.equal(lib.VF_DICT_TOO_LARGE, lib.vf_dict_slide(dict.c, "k", 1, 5, 0, 1, dict.now, window))
  end))
end)

describe("a budget", function()
  local budget = ffi.new "struct vf_dict_budget"
  local function spend(dict, key, limit, n)
    assert.equal(OK, lib.vf_dict_spend(dict.c, key, #key, limit, 10 * SECOND, n, dict.now, budget))
    return budget.granted == 1, tonumber(budget.left), tonumber(budget.reset_ns / 1000000000ULL)
  end

  it("is spent, all or none, and whole again after its window", with_dict(65536, function(dict)
    assert.same({ true, 10, 0 }, { spend(dict, "k", 10, 0) })
    assert.is_nil(dict:get "k")
    assert.same({ true, 4, 10 }, { spend(dict, "k", 10, 6) })
    dict.now = dict.now + 3 * SECOND
    assert.same({ false, 4, 7 }, { spend(dict, "k", 10, 5) })
    assert.same({ true, 0, 7 }, { spend(dict, "k", 10, 4) })
    assert.same({ false, 0, 7 }, { spend(dict, "k", 8, 1) }) -- a smaller one meanwhile
    assert.is_true(dict:get "k" == 10LL)
    dict.now = dict.now + 7 * SECOND
    assert.same({ true, 9, 10 }, { spend(dict, "k", 10, 1) })
    assert.same({ true, 2 ^ 63 - 1, 0 }, { spend(dict, "huge", 0xffffffffffffffffULL, 0) })
    dict:set("text", "x")
    assert.equal(TYPE, lib.vf_dict_spend(dict.c, "text", 4, 1, SECOND, 1, dict.now, budget))
  end))

  it("evicts nothing and is refused when there is no room", with_dict(65536, function(dict)
    local n, rc = 0
    repeat
      n = n + 1
      rc = lib.vf_dict_spend(dict.c, "k" .. n, #("k" .. n), 5, SECOND, 1, dict.now, budget)
    until rc ~= OK
    assert.equal(NO_MEMORY, rc)
    assert.same({ true, 4, 1 }, { spend(dict, "k1", 5, 0) })
  end))
end)
