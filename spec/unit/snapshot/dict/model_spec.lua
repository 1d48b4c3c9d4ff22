--- Random calls on a shared dictionary, held against a model: Lua tables that do the same.
local ffi = require "ffi"
local dictionary = require "unit.snapshot.dictionary"

local lib, with_dict = dictionary.lib, dictionary.with
local SECOND = 1000000000ULL
local OK, ABSENT, PRESENT, CONFLICT, TYPE = lib.VF_DICT_OK, lib.VF_DICT_ABSENT, lib.VF_DICT_PRESENT,
  lib.VF_DICT_CONFLICT, lib.VF_DICT_TYPE
local HEAD = 0

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
  elseif call >= 6 and call <= 8 then
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
