--- Shared dictionaries: every call, a model that random calls are held against, full shards, and kills.
local ffi = require "ffi"
local uv = require "luv"
local loop = require "support.loop"
local peers = require "support.peer"
local fixture = require "unit.snapshot.shared_fixture"

local lib = fixture.lib
local SECOND = 1000000000ULL
local OK, ABSENT, PRESENT, CONFLICT, TYPE = lib.VF_DICT_OK, lib.VF_DICT_ABSENT, lib.VF_DICT_PRESENT,
  lib.VF_DICT_CONFLICT, lib.VF_DICT_TYPE
local NO_MEMORY, TOO_LARGE, SMALL, OVERFLOW = lib.VF_DICT_NO_MEMORY, lib.VF_DICT_TOO_LARGE, lib.VF_DICT_SMALL,
  lib.VF_DICT_OVERFLOW
local HEAD, TAIL = 0, 1
local TYPES = { boolean = lib.VF_DICT_BOOLEAN, number = lib.VF_DICT_NUMBER, string = lib.VF_DICT_STRING,
  ["nil"] = lib.VF_DICT_NIL, cdata = lib.VF_DICT_INTEGER }

local ROOM = 1024 * 1024
local buffer, out = ffi.new("char[?]", ROOM), ffi.new "struct vf_dict_value"
local number, integer, length = ffi.new "double[1]", ffi.new "int64_t[1]", ffi.new "uint32_t[1]"

-- Integers are int64_t cdata, numbers are NUMBER.
local function value_of(x)
  local value = ffi.new "struct vf_dict_value"
  value.type = TYPES[type(x)]
  if type(x) == "string" then value.data, value.len = x, #x end
  if type(x) == "number" then value.number = x end
  if type(x) == "boolean" then value.integer = x and 1 or 0 end
  if type(x) == "cdata" then value.integer = x end
  return value
end

local function lua_of(value)
  if value.type == lib.VF_DICT_STRING then return ffi.string(value.data, value.len) end
  if value.type == lib.VF_DICT_NUMBER then return value.number end
  if value.type == lib.VF_DICT_BOOLEAN then return value.integer == 1 end
  if value.type == lib.VF_DICT_INTEGER then return value.integer end
  return { n = tonumber(value.integer) }
end

local Dict = {}
Dict.__index = Dict

function Dict:get(key)
  local rc = lib.vf_dict_get(self.c, key, #key, self.now, buffer, ROOM, out)
  if rc ~= OK then return nil, rc end
  return lua_of(out), tonumber(out.flags)
end

function Dict:set(key, x, ttl, how, flags)
  local value = value_of(x)
  value.flags = flags or 0
  local rc = lib.vf_dict_set(self.c, key, #key, value, ttl or 0, self.now, how or 0, length)
  return rc, tonumber(length[0])
end

function Dict:swap(key, from, to)
  return lib.vf_dict_swap(self.c, key, #key, value_of(from), value_of(to), 0, self.now)
end

function Dict:delete(key) return lib.vf_dict_delete(self.c, key, #key, self.now) end

function Dict:incr(key, by, init, ttl)
  local first = init and ffi.new("double[1]", init)
  local rc = lib.vf_dict_incr(self.c, key, #key, by, first, ttl or 0, self.now, number)
  if rc ~= OK then return nil, rc end
  return number[0]
end

function Dict:count(key, by, init, ttl)
  local first = init and ffi.new("int64_t[1]", init)
  local rc = lib.vf_dict_count(self.c, key, #key, by, first, ttl or 0, self.now, integer)
  if rc ~= OK then return nil, rc end
  return integer[0]
end

function Dict:push(key, x, at)
  local rc = lib.vf_dict_push(self.c, key, #key, at, value_of(x), self.now, length)
  if rc ~= OK then return nil, rc end
  return length[0]
end

function Dict:pop(key, at)
  local rc = lib.vf_dict_pop(self.c, key, #key, at, self.now, buffer, ROOM, out)
  if rc ~= OK then return nil, rc end
  return lua_of(out)
end

function Dict:length(key)
  local rc = lib.vf_dict_length(self.c, key, #key, self.now, length)
  if rc ~= OK then return nil, rc end
  return length[0]
end

function Dict:ttl(key)
  local ttl = ffi.new "uint64_t[1]"
  local rc = lib.vf_dict_ttl_get(self.c, key, #key, self.now, ttl)
  if rc ~= OK then return nil, rc end
  return ttl[0]
end

function Dict:expire(key, ttl) return lib.vf_dict_ttl_set(self.c, key, #key, ttl, self.now) end

function Dict:keys(max)
  local used, keys, at = ffi.new "size_t[1]", {}, 0
  local n = lib.vf_dict_keys(self.c, max or 0, self.now, buffer, ROOM, used)
  while at < tonumber(used[0]) do
    local len = ffi.new "uint32_t[1]"
    ffi.copy(len, buffer + at, 4)
    keys[#keys + 1] = ffi.string(buffer + at + 4, len[0])
    at = at + 4 + len[0]
  end
  assert.equal(n, #keys)
  return keys
end

function Dict:info()
  local info = ffi.new "struct vf_dict_info"
  lib.vf_dict_info(self.c, info)
  return setmetatable({}, { __index = function(_, name) return tonumber(info[name]) end })
end

function Dict:is_whole() return lib.vf_dict_check(self.c) end

local REGION = 40 * 1024 * 1024

--- Makes a set of dictionaries in fresh memory, with one of `bytes`.
-- @return dictionary, the set, its path, and a function that closes it
local function create(bytes)
  local memory, path, close = fixture.create(REGION)
  local dicts, c = ffi.cast("struct vf_dicts *", memory), ffi.new "struct vf_dict *[1]"
  lib.vf_dicts_init(dicts, REGION)
  assert.equal(OK, lib.vf_dicts_open(dicts, "test", bytes, c))
  return setmetatable({ c = c[0], now = 100 * SECOND }, Dict), dicts, path, close
end

local function with_dict(bytes, body)
  return function()
    local dict, dicts, path, close = create(bytes)
    local ok, err = xpcall(function()
      body(dict, dicts, path)
      assert.is_true(dict:is_whole())
    end, debug.traceback)
    close()
    if not ok then error(err, 0) end
  end
end

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
    local other = setmetatable({ c = lib.vf_dicts_at(dicts, 1), now = dict.now }, Dict)
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
    assert.same({ nil, TYPE }, { dict:count("n", 1, 0) })
    assert.is_true(dict:count("i", 1, 9007199254740992LL) == 9007199254740993LL)
    assert.is_true(dict:count("i", 1) == 9007199254740994LL)
    assert.same({ nil, TYPE }, { dict:incr("i", 1, 0) })
    dict:set("max", ffi.new("int64_t", 0x7fffffffffffffffLL))
    assert.same({ nil, OVERFLOW }, { dict:count("max", 1) })
    assert.is_true(dict:get "max" == 0x7fffffffffffffffLL)
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

  it("keeps to the buffer when it lists keys", with_dict(65536, function(dict)
    for i = 1, 9 do dict:set("key" .. i, i) end
    local used = ffi.new "size_t[1]"
    assert.equal(2, lib.vf_dict_keys(dict.c, 0, dict.now, buffer, 3 * 8 - 1, used))
    assert.equal(16, tonumber(used[0]))
    assert.equal(0, lib.vf_dict_keys(dict.c, 0, dict.now, buffer, 0, used))
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
    for _ = 1, 8 do assert.is_true(slide(dict, "k", 8, 1)) end
    assert.is_false(slide(dict, "k", 8, 1))
    assert.equal(8, window.used)
    assert.equal(10 * SECOND, window.reset_ns)
    dict.now = dict.now + 15 * SECOND -- half of the next: 8 * 0.5 are used
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

-- The model: Lua tables that do the same.

local function random_value(random)
  local kind = random(6)
  if kind == 1 then return random(1000) / 4 end
  if kind == 2 then return random(2) == 1 end
  if kind == 3 then return ffi.new("int64_t", random(1000)) end
  local len = random(4) == 1 and random(0, 3000) or random(0, 150)
  return string.char(random(97, 122)):rep(len)
end

local function same(a, b) return a == b and type(a) == type(b) end

-- One random call on the dictionary and the model. With a model that may lose entries, `loses`, what is absent is
-- forgiven, and forgotten.
local function step(dict, model, random, loses)
  local key = "key" .. random(random(2) == 1 and 20 or 200)
  local entry = model[key]
  if entry and entry.expires and entry.expires <= dict.now then entry, model[key] = nil, nil end
  if loses and entry and select(2, dict:ttl(key)) == ABSENT then entry, model[key] = nil, nil end
  local call, ttl = random(12), random(4) == 1 and ffi.cast("uint64_t", random(1, 50)) * SECOND or nil
  local function expiry() return ttl and dict.now + ttl or nil end
  if call <= 3 then
    local x, how = random_value(random), random(0, 2)
    local rc = dict:set(key, x, ttl, how)
    if how == 1 and entry then assert(rc == PRESENT, rc)
    elseif how == 2 and not entry then assert(rc == ABSENT, rc)
    else
      assert(rc == OK, rc)
      model[key] = { value = x, expires = expiry() }
    end
  elseif call == 4 then
    assert(dict:delete(key) == (entry and OK or ABSENT))
    model[key] = nil
  elseif call == 5 then
    local found, rc = dict:incr(key, 2, 1, ttl)
    if entry and type(entry.value) ~= "number" then assert(rc == TYPE, rc)
    elseif entry then
      entry.value = entry.value + 2
      assert(found == entry.value)
    else
      assert(found == 3)
      model[key] = { value = 3, expires = expiry() }
    end
  elseif call == 6 then
    local found, rc = dict:count(key, 2, 1, ttl)
    if entry and type(entry.value) ~= "cdata" then assert(rc == TYPE, rc)
    elseif entry then
      entry.value = entry.value + 2
      assert(found == entry.value)
    else
      assert(found == 3LL)
      model[key] = { value = ffi.new("int64_t", 3), expires = expiry() }
    end
  elseif call == 7 or call == 8 then
    local x, at = random_value(random), random(0, 1)
    local n, rc = dict:push(key, x, at)
    if entry and type(entry.value) ~= "table" then assert(rc == TYPE, rc)
    else
      if not entry then
        entry = { value = {} }
        model[key] = entry
      end
      table.insert(entry.value, at == HEAD and 1 or #entry.value + 1, x)
      assert(n == #entry.value)
    end
  elseif call == 9 then
    local at = random(0, 1)
    local found, rc = dict:pop(key, at)
    if not entry then assert(rc == ABSENT)
    elseif type(entry.value) ~= "table" then assert(rc == TYPE)
    else
      assert(same(found, table.remove(entry.value, at == HEAD and 1 or #entry.value)))
      if #entry.value == 0 then model[key] = nil end
    end
  elseif call == 10 then
    assert(dict:expire(key, ttl or 0) == (entry and OK or ABSENT))
    if entry then entry.expires = expiry() end
  elseif call == 11 and entry and type(entry.value) ~= "table" then
    local x, is_right = random_value(random), random(2) == 1
    local expected = "what nobody sets"
    if is_right then expected = entry.value end
    local rc = dict:swap(key, expected, x)
    assert(rc == (is_right and OK or CONFLICT))
    if is_right then model[key] = { value = x } end
  else
    local found = dict:get(key)
    if not entry then assert(found == nil)
    elseif type(entry.value) == "table" then assert(found.n == #entry.value)
    else assert(same(found, entry.value)) end
    if entry then assert(dict:ttl(key) == (entry.expires and entry.expires - dict.now or 0)) end
  end
  if random(50) == 1 then dict.now = dict.now + random(5) * SECOND end
end

local function run_model(dict, seed, steps, loses)
  math.randomseed(seed)
  local model = {}
  for i = 1, steps do
    local ok, err = pcall(step, dict, model, math.random, loses)
    if not ok then error(("seed %d, step %d: %s"):format(seed, i, err), 0) end
    if i % 2000 == 0 then
      assert(dict:is_whole(), ("seed %d, step %d: does not add up"):format(seed, i))
      if i % 6000 == 0 then
        lib.vf_dict_flush_all(dict.c)
        model = {}
      end
    end
  end
  return model
end

describe("random calls", function()
  for seed = 1, 4 do
    it("do what a model does, seed " .. seed, with_dict(8 * 1024 * 1024, function(dict)
      local model = run_model(dict, seed, 10000, false)
      for key, entry in pairs(model) do
        if not (entry.expires and entry.expires <= dict.now) then assert.is_not_nil(dict:get(key)) end
        dict:delete(key)
      end
      lib.vf_dict_flush_expired(dict.c, 0, dict.now)
      assert.equal(0, dict:info().entries)
    end))
  end

  it("lose only whole entries when memory is short", with_dict(65536, function(dict)
    run_model(dict, 5, 20000, true)
    assert.is_true(dict:info().evictions > 100)
  end))
end)

describe("a killed process", function()
  local CODE = [[
    local ffi = require "ffi"
    local fixture, path, seed = require "unit.snapshot.shared_fixture", ...
    local lib = fixture.lib
    local c = lib.vf_dicts_at(ffi.cast("struct vf_dicts *", fixture.map(path)), 0)
    math.randomseed(tonumber(seed))
    local value, n, init = ffi.new "struct vf_dict_value", ffi.new "double[1]", ffi.new "double[1]"
    local text, buffer = ("v"):rep(30000), ffi.new "char[30000]"
    print "working"
    while true do
      local key, call = "key" .. math.random(40), math.random(8)
      if call <= 4 then
        value.type, value.data, value.len = lib.VF_DICT_STRING, text, math.random(0, call <= 2 and 30000 or 300)
        lib.vf_dict_set(c, key, #key, value, 0, 1, 0, nil)
      elseif call == 5 then
        lib.vf_dict_delete(c, key, #key, 1)
      elseif call == 6 then
        value.type, value.data, value.len = lib.VF_DICT_STRING, text, math.random(0, 300)
        lib.vf_dict_push(c, "list", 4, math.random(0, 1), value, 1, nil)
      elseif call == 7 then
        lib.vf_dict_pop(c, "list", 4, math.random(0, 1), 1, buffer, 30000, value)
      else
        lib.vf_dict_incr(c, "number" .. math.random(5), 7, 7, init, 0, 1, n)
      end
    end]]

  it("leaves a whole dictionary and others that go on", loop.spec(function()
    local dict, _, path, close = create(256 * 1024)
    loop.defer(close)
    local kills = 0
    while dict:info().repairs < 40 and kills < 1000 do
      kills = kills + 1
      local victim = peers.start(CODE, path, tostring(kills))
      victim:wait_line(victim.stdout, "working")
      local moment = lib.vf_clock_ns() + math.random(0, 2000000)
      while lib.vf_clock_ns() < moment do end -- without a touch of the lock: then it would wait for us
      uv.kill(victim.pid, "sigkill")
      victim:wait_exit()
      assert.is_true(dict:is_whole())
    end
    local info = dict:info()
    assert.is_true(info.repairs >= 40, ("%d repairs after %d kills"):format(info.repairs, kills))
    assert.equal(0, info.emptied) -- what a kill leaves can always be undone
    assert.is_true(info.lost <= info.repairs)
    for i = 1, 40 do
      local found = dict:get("key" .. i)
      assert.equal(found, found and ("v"):rep(#found))
    end
    for i = 1, 5 do
      local found = dict:get("number" .. i)
      assert.equal(0, found and found % 7 or 0)
    end
    assert.equal(OK, (dict:set("k", "works")))
    assert.equal("works", (dict:get "k"))
  end))

  it("costs a shard that does not add up everything in it, and nothing else", loop.spec(function()
    local dict, _, path, close = create(65536)
    loop.defer(close)
    for i = 1, 10 do dict:set("k" .. i, i) end
    -- no code of ours does this: the first chunk refers to itself while the lock is held
    local holder = peers.start([[
      local ffi = require "ffi"
      local fixture, path = require "unit.snapshot.shared_fixture", ...
      local c = fixture.lib.vf_dicts_at(ffi.cast("struct vf_dicts *", fixture.map(path)), 0)
      ffi.cdef "int pthread_mutex_lock(void *);"
      local shard = ffi.cast("char *", c) + 4096
      assert(ffi.C.pthread_mutex_lock(shard) == 0)
      local words = ffi.cast("uint32_t *", shard)
      for at = 64, 16000 do if words[at] ~= 0 and words[at] < 20 then words[at] = 3 end end
      print "broken"
      stay()]], path)
    holder:wait_line(holder.stdout, "broken")
    holder:kill()
    assert.is_nil(dict:get "k1")
    assert.is_true(dict:is_whole())
    assert.same({ 1, 1, 0 }, { dict:info().repairs, dict:info().emptied, dict:info().entries })
    dict:set("k1", "again")
    assert.equal("again", (dict:get "k1"))
  end))
end)
