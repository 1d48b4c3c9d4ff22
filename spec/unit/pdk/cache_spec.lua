--- The cache as one worker sees it: levels, times, invalidation. Tasks and other workers are in
-- spec/integration/pdk_cache_spec.lua.
local fixture = require "unit.pdk.area_fixture"
local traces = require "support.traces"

local task, log = fixture.task, {}
task.run.cancelled, task.run.context = 0, 1
function task.can_wait() return false end
package.loaded["veloflux.runtime.report"] = { WARN = 2, write = function(...) log[#log + 1] = { ... } end }
package.loaded["veloflux.runtime.network"] = {}

local cache = require "veloflux.pdk.cache"
local cached = require "veloflux.runtime.cached"

local calls
local function counter(...)
  local results = { n = select("#", ...), ... }
  return function()
    calls = calls + 1
    return unpack(results, 1, results.n)
  end
end

local n_keys = 0
local function new_key()
  n_keys = n_keys + 1
  return "key" .. n_keys
end

-- What another worker has of a key is what is in shared memory.
local function shared(key) return cached.read("spec:", key) end

-- Makes the worker forget everything, as a new one would have it.
local function forget()
  for i = 1, 2100 do cache:get("filler" .. i, nil, function() return 1 end) end
end

describe("pdk.cache", function()
  before_each(function()
    fixture.plugin "spec"
    calls = 0
  end)

  it("asks the callback, then shared memory, then itself", function()
    local key, load = new_key(), counter { name = "ana", groups = { "a", "b" } }
    assert.same({ { name = "ana", groups = { "a", "b" } }, nil, 3 }, { cache:get(key, nil, load) })
    assert.same({ { name = "ana", groups = { "a", "b" } }, nil, 1 }, { cache:get(key, nil, load) })
    forget()
    assert.same({ { name = "ana", groups = { "a", "b" } }, nil, 2 }, { cache:get(key, nil, load) })
    assert.same({ { name = "ana", groups = { "a", "b" } }, nil, 1 }, { cache:get(key, nil, load) })
    assert.equal(1, calls)
  end)

  it("keeps every kind of value, and hands arguments on", function()
    for _, value in ipairs { "text", "", 1.5, true, false, { 1, 2, { x = "y" } }, ("long"):rep(100000) } do
      local key = new_key()
      assert.same({ value, nil, 3 }, { cache:get(key, nil, function(...)
        assert.same({ n = 3, "a", nil, "c" }, { n = select("#", ...), ... })
        return value
      end, "a", nil, "c") })
      assert.same(value, shared(key).value)
      forget()
      assert.same({ value, nil, 2 }, { cache:get(key, nil, counter "another") })
    end
  end)

  it("keeps nil, for another time", function()
    local key = new_key()
    assert.same({ nil, nil, 3 }, { cache:get(key, { neg_ttl = 100 }, counter(nil)) })
    assert.same({ nil, nil, 1 }, { cache:get(key, nil, counter "value") })
    local ttl, err, value = cache:probe(key)
    assert.is_true(ttl > 90 and ttl <= 100)
    assert.same({}, { err, value })
    assert.equal(1, calls)
  end)

  it("keeps no errors", function()
    local key = new_key()
    assert.same({ nil, "not today" }, { cache:get(key, nil, counter(nil, "not today")) })
    local value, err = cache:get(key, nil, function() error "on purpose" end)
    assert.is_nil(value)
    assert.matches("^the callback has raised an error: .*on purpose", err)
    assert.is_nil(cache:probe(key))
    assert.same({ nil, "the value cannot be kept" }, { (cache:get(key, nil, counter { print })),
      (select(2, cache:get(key, nil, counter { print })):sub(1, 24)) })
    assert.same({ "good", nil, 3 }, { cache:get(key, nil, counter "good") })
  end)

  it("keeps values for their time", function()
    local key = new_key()
    cache:get(key, { ttl = 1e-9 }, counter "short")
    assert.same({ "new", nil, 3 }, { cache:get(key, { ttl = 50 }, counter "new") })
    local ttl = cache:probe(key)
    assert.is_true(ttl > 40 and ttl <= 50)
    key = new_key()
    cache:get(key, { ttl = 0 }, counter "for ever")
    assert.same({ 0, nil, "for ever" }, { cache:probe(key) })
    key = new_key()
    cache:get(key, { ttl = 0 }, counter("by itself", nil, 20))
    assert.is_true(cache:probe(key) <= 20)
    key = new_key()
    assert.same({ "passing", nil, 3 }, { cache:get(key, nil, counter("passing", nil, -1)) })
    assert.is_nil(cache:probe(key))
    key = new_key()
    cache:get(key, nil, counter "default")
    assert.is_true(cache:probe(key) > 3590)
  end)

  it("uses what was good once when the callback fails, if that is wanted", function()
    local key = new_key()
    cache:get(key, { ttl = 1e-9 }, counter "old")
    assert.same({ nil, "down" }, { cache:get(key, nil, counter(nil, "down")) })
    assert.same({ "old", nil, 4 }, { cache:get(key, { resurrect_ttl = 100 }, counter(nil, "down")) })
    assert.same({ "old", nil, 1 }, { cache:get(key, nil, counter "new") })
    assert.equal("cache.stale", log[#log][2])
    cache:invalidate(key)
    assert.same({ nil, "down" }, { cache:get(key, { resurrect_ttl = 100 }, counter(nil, "down")) })
  end)

  it("invalidates, also what is made meanwhile", function()
    for _, how in ipairs { "invalidate", "invalidate_local" } do
      local key = new_key()
      cache:get(key, nil, counter "old")
      cache[how](cache, key)
      assert.is_nil(cache:probe(key))
      assert.same({ "new", nil, 3 }, { cache:get(key, nil, counter "new") })
      cache:invalidate(key)
      assert.same({ "too late", nil, 3 }, { cache:get(key, nil, function()
        cache[how](cache, key)
        return "too late"
      end) })
      assert.is_nil(cache:probe(key))
      assert.same({ "newest", nil, 3 }, { cache:get(key, nil, counter "newest") })
    end
  end)

  it("is invalidated by others", function()
    local key = new_key()
    cache:get(key, nil, counter "old")
    cached.invalidate("spec:", key)
    assert.same({ "new", nil, 3 }, { cache:get(key, nil, counter "new") })
  end)

  it("renews", function()
    local key = new_key()
    cache:get(key, nil, counter "old")
    local value, err, ttl = cache:renew(key, { ttl = 60 }, counter "new")
    assert.same({ "new" }, { value, err })
    assert.is_true(ttl > 50 and ttl <= 60)
    assert.same({ "new", nil, 1 }, { cache:get(key, nil, counter "none") })
    assert.equal("new", shared(key).value)
    assert.same({ nil, "down" }, { cache:renew(key, nil, counter(nil, "down")) })
    assert.same({ "new", nil, 1 }, { cache:get(key, nil, counter "none") })
    assert.same({ "void", nil }, { (cache:renew(key, nil, function()
      cache:invalidate(key)
      return "void"
    end)), nil })
    assert.same({ "newest", nil, 3 }, { cache:get(key, nil, counter "newest") })
  end)

  it("keeps what l1_serializer makes of values", function()
    local key, options = new_key(), { l1_serializer = function(text) return { text = text } end }
    local first = cache:get(key, options, counter "x")
    assert.same({ text = "x" }, first)
    assert.is_true(first == cache:get(key, options, counter "x"))
    assert.equal("x", (select(3, cache:probe(key))))
    assert.same({ nil, nil, 3 }, { cache:get(new_key(), options, counter(nil)) })
    key = new_key()
    local value, err = cache:get(key, { l1_serializer = function() error "on purpose" end }, counter "x")
    assert.is_nil(value)
    assert.matches("^l1_serializer has failed: .*on purpose", err)
    assert.same({ nil, "why" }, { cache:get(key, { l1_serializer = function() return nil, "why" end }, counter "x") })
  end)

  it("keeps plugins apart", function()
    cache:get("same", nil, counter "of spec")
    fixture.plugin "other"
    assert.same({ "of other", nil, 3 }, { cache:get("same", nil, counter "of other") })
    cache:invalidate "same"
    fixture.plugin "spec"
    assert.same({ "of spec", nil, 1 }, { cache:get("same", nil, counter "none") })
  end)

  it("lets the callback use the cache", function()
    local inner = new_key()
    assert.same({ "outer inner", nil, 3 }, { cache:get(new_key(), nil, function()
      return "outer " .. cache:get(inner, nil, counter "inner")
    end) })
    assert.same({ "inner", nil, 1 }, { cache:get(inner, nil, counter "none") })
  end)

  it("raises at the plugin's line for what makes no sense", function()
    local function expect(message, call)
      local ok, err = pcall(call)
      assert.is_false(ok)
      assert.matches("^spec/unit/pdk/cache_spec.lua:%d+: " .. message, err)
    end
    expect("cache.get: expected a key, a string, got nil", function() cache:get() end)
    expect("cache.get: expected a key, a string, got an empty one", function() cache:get("", nil, print) end)
    expect("cache.get: expected a function, got nil", function() cache:get "k" end)
    expect("cache.get: expected a table of options, got number", function() cache:get("k", 1, print) end)
    expect("cache.get: ttl: expected seconds from 0 on, got %-1", function() cache:get("k", { ttl = -1 }, print) end)
    expect("cache.get: l1_serializer: expected a function, got string",
      function() cache:get("k", { l1_serializer = "x" }, print) end)
    expect("cache.get is called with a colon: pdk.cache:get", function() cache.get("k", nil, print) end)
    expect("cache.invalidate: expected a key", function() cache:invalidate() end)
    fixture.plugin(nil)
    expect("cache.get cannot be called while", function() cache:get("k", nil, print) end)
    expect("cache.probe cannot be called while", function() cache:probe "k" end)
  end)

  it("compiles when the worker has the value", function()
    local keys, i, nothing = {}, 0, function() return "value" end
    for k = 1, 16 do
      keys[k] = new_key()
      cache:get(keys[k], nil, nothing)
    end
    traces.assert_compiles(function()
      i = i + 1
      cache:get(keys[i % 16 + 1], nil, nothing)
    end)
  end)
end)
