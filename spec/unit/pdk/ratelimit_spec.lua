--- Rate limits as plugins see them. The arithmetic is in spec/unit/base/gcra_spec.lua, the cells in
-- spec/unit/snapshot/cells_spec.lua.
local ffi = require "ffi"
local fixture = require "unit.pdk.area_fixture"
local area = require "veloflux.runtime.area"
local ratelimit = require "veloflux.pdk.ratelimit"
local traces = require "support.traces"

local function near(expected, got) assert.is_true(math.abs(expected - got) < 0.5, got) end

local n_keys = 0
local function new_key()
  n_keys = n_keys + 1
  return "key" .. n_keys
end

local function raised(call, ...)
  local ok, message = pcall(call, ...)
  assert.is_false(ok)
  return message
end

describe("pdk.ratelimit", function()
  before_each(function() fixture.plugin "spec" end)

  it("spaces requests, with bursts", function()
    local key = new_key()
    for i = 1, 10 do
      local allowed, remaining, retry, reset, why = ratelimit.gcra(key, 10, 3600)
      assert.same({ true, 10 - i, 0 }, { allowed, remaining, retry })
      near(i * 360, reset)
      assert.is_nil(why)
    end
    local allowed, remaining, retry, reset, why = ratelimit.gcra(key, 10, 3600)
    assert.same({ false, 0, "limit" }, { allowed, remaining, why })
    near(360, retry)
    near(3600, reset)
    allowed, remaining, retry = ratelimit.peek_gcra(key, 10, 3600)
    assert.same({ false, 0 }, { allowed, remaining })
    near(360, retry)
  end)

  it("takes costs all or none, and says never", function()
    local key = new_key()
    assert.is_true((ratelimit.gcra(key, 1, 3600, 5, 3)))
    local allowed, remaining, retry = ratelimit.gcra(key, 1, 3600, 5, 3)
    assert.same({ false, 2 }, { allowed, remaining })
    near(3600, retry)
    assert.equal(math.huge, (select(3, ratelimit.gcra(key, 1, 3600, 5, 6))))
    assert.is_true((ratelimit.gcra(key, 1, 3600, 5, 2)))
  end)

  it("peeks without counting", function()
    local key = new_key()
    for _ = 1, 3 do assert.same({ true, 4, 0, 0 }, { ratelimit.peek_gcra(key, 4, 60) }) end
    for _ = 1, 3 do
      local allowed, remaining, retry, reset = ratelimit.peek_window(key, 4, 60)
      assert.same({ true, 4, 0 }, { allowed, remaining, retry })
      assert.is_true(reset > 0 and reset <= 60)
    end
  end)

  it("keeps limits and plugins apart", function()
    local key = new_key()
    assert.is_true((ratelimit.gcra(key, 1, 3600)))
    assert.is_false((ratelimit.gcra(key, 1, 3600)))
    assert.is_true((ratelimit.gcra(key, 2, 3600)))
    assert.is_true((ratelimit.gcra(key, 1, 7200)))
    assert.is_true((ratelimit.gcra(key, 1, 3600, 2)))
    assert.is_true((ratelimit.window(key, 1, 3600)))
    fixture.plugin "other"
    assert.is_true((ratelimit.gcra(key, 1, 3600)))
    assert.is_true((ratelimit.window(key, 1, 3600)))
    assert.is_false((ratelimit.window(key, 1, 3600)))
  end)

  it("counts in sliding windows", function()
    local key = new_key()
    for i = 1, 5 do
      local allowed, remaining = ratelimit.window(key, 5, 86400 * 300)
      assert.same({ true, 5 - i }, { allowed, remaining })
    end
    local allowed, remaining, retry, reset, why = ratelimit.window(key, 5, 86400 * 300)
    assert.same({ false, 0, "limit" }, { allowed, remaining, why })
    assert.is_true(retry > reset and retry < 2 * 86400 * 300)
    allowed, remaining = ratelimit.peek_window(key, 5, 86400 * 300)
    assert.same({ false, 0 }, { allowed, remaining })
    assert.equal(math.huge, (select(3, ratelimit.window(key, 5, 86400 * 300, 6))))
    assert.is_false((ratelimit.window(key, 0, 60)))
    assert.equal(math.huge, (select(3, ratelimit.window(key, 0, 60))))
  end)

  it("refuses when there is no room to remember another key", function()
    local dict = assert(area.dict("veloflux.windows"))
    local value, now = ffi.new("struct vf_dict_value", { type = ffi.C.VF_DICT_NUMBER }), ffi.C.vf_clock_ns()
    local n = 0
    repeat -- as if others had used it up
      n = n + 1
      local key = "x" .. n
    until ffi.C.vf_dict_set(dict, key, #key, value, 0, now, ffi.C.VF_DICT_SAFE, nil) == ffi.C.VF_DICT_NO_MEMORY
    local why
    for _ = 1, 1000 do
      local allowed, remaining, retry, reset
      allowed, remaining, retry, reset, why = ratelimit.window(new_key(), 5, 60)
      if not allowed then
        assert.same({ 0, 60, 60 }, { remaining, retry, reset })
        break
      end
    end
    assert.equal("full", why)
    assert.is_true((ratelimit.peek_window(new_key(), 5, 60)))
    ffi.C.vf_dict_flush_keys(dict, "x", 1)
    assert.is_true((ratelimit.window(new_key(), 5, 60)))
  end)

  it("raises at the plugin's line for what makes no sense", function()
    local function at_line(message) return "^spec/unit/pdk/ratelimit_spec.lua:%d+: " .. message end
    assert.matches(at_line "ratelimit.gcra: rate: expected a number from 1e%-09 to 1e%+09, got 0",
      raised(function() ratelimit.gcra("k", 0) end))
    assert.matches(at_line "ratelimit.gcra: rate: expected .* got nil", raised(function() ratelimit.gcra "k" end))
    assert.matches(at_line "ratelimit.gcra: per: ", raised(function() ratelimit.gcra("k", 1, "1") end))
    assert.matches(at_line "ratelimit.gcra: burst: expected a whole number",
      raised(function() ratelimit.gcra("k", 1, 1, 1.5) end))
    assert.matches(at_line "ratelimit.gcra: a burst that takes more than 52 days",
      raised(function() ratelimit.gcra("k", 1, 86400, 53) end))
    assert.is_true((ratelimit.gcra(new_key(), 1, 86400, 52)))
    assert.matches(at_line "ratelimit.gcra: cost: ", raised(function() ratelimit.gcra("k", 1, 1, 1, 0) end))
    assert.matches(at_line "ratelimit.gcra: expected a key", raised(function() ratelimit.gcra(nil, 1) end))
    assert.matches(at_line "ratelimit.window: limit: ", raised(function() ratelimit.window("k", -1, 60) end))
    assert.matches(at_line "ratelimit.window: window: ", raised(function() ratelimit.window("k", 1, 0) end))
    assert.matches(at_line "ratelimit.window: expected a key", raised(function() ratelimit.window(1, 1, 1) end))
    fixture.plugin(nil)
    assert.matches(at_line "ratelimit.gcra cannot be called", raised(function() ratelimit.gcra("k", 1) end))
    assert.matches(at_line "ratelimit.peek_window cannot", raised(function() ratelimit.peek_window("k", 1, 1) end))
  end)

  it("compiles", function()
    local keys, i = {}, 0
    for k = 1, 16 do keys[k] = new_key() end
    traces.assert_compiles(function()
      i = i + 1
      ratelimit.gcra(keys[i % 16 + 1], 10, 60)
    end)
    traces.assert_compiles(function()
      i = i + 1
      ratelimit.window(keys[i % 16 + 1], 10, 60)
    end)
  end)
end)
