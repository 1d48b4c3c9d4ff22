--- Sticky cookies: they bind, survive, expire, and cannot be forged.
local ffi = require "ffi"
local fixture = require "unit.proxy.fixture"
local lib = fixture.lib

ffi.cdef [[
void vf_sticky_make(const struct vf_snapshot *, uint64_t backend_id, uint64_t wall_ms, char out[43]);
size_t vf_sticky_field(const struct vf_snapshot *, uint32_t pool_index, uint32_t backend_index, uint64_t wall_ms,
                       bool is_secure, char out[512]);
int vf_sticky_find(const struct vf_snapshot *, const struct vf_state *, uint32_t pool_index, struct vf_str cookie,
                   uint64_t wall_ms, uint64_t now_ns, uint32_t *backend_index, bool *is_old);
]]

local HOUR = 3600 * 1000
local ENOCOOKIE = -20002

describe("sticky cookies", function()
  local state, snapshot, names
  local wall_ms, now_ns = 1700000000000, 1e12

  local function publish(wanted)
    wanted.sticky_cookie = wanted.sticky_cookie or "veloflux"
    wanted.sticky_ttl_ms = wanted.sticky_ttl_ms or HOUR
    wanted.backends = wanted.backends or { { name = "a" }, { name = "b" }, { name = "c" } }
    snapshot, names = fixture.snapshot(wanted)
  end

  local function make(name, at)
    local out = ffi.new "char[43]"
    lib.vf_sticky_make(snapshot, fixture.id(name), at or wall_ms, out)
    return ffi.string(out, 43)
  end

  local function find(field, at)
    local index, is_old = ffi.new "uint32_t[1]", ffi.new "bool[1]"
    local rc = lib.vf_sticky_find(snapshot, state, 0, ffi.new("struct vf_str", field, #field), at or wall_ms, now_ns,
      index, is_old)
    if rc ~= 0 then return nil, rc end
    return names[index[0]], is_old[0]
  end

  before_each(function()
    state = fixture.state()
    publish {}
  end)

  it("finds the backend that it names", function()
    for _, name in ipairs { "a", "b", "c" } do
      assert.equal(name, (find("veloflux=" .. make(name))))
      assert.equal(name, (find("x=1; veloflux=\"" .. make(name) .. "\"; y=2")))
    end
  end)

  it("is plain base64url text", function()
    assert.matches("^[%w_-]+$", make "a")
    assert.not_equal(make "a", make "b")
  end)

  it("finds none where there is none", function()
    for _, field in ipairs { "", "other=1", "veloflux=", "veloflux=abc", "Veloflux=" .. make "a" } do
      assert.same({ nil, ENOCOOKIE }, { find(field) })
    end
  end)

  it("refuses every change of a character", function()
    local value = make "a"
    for i = 1, #value do
      local other = value:sub(i, i) == "A" and "B" or "A"
      local forged = value:sub(1, i - 1) .. other .. value:sub(i + 1)
      assert.is_nil((find("veloflux=" .. forged)), "position " .. i)
    end
    assert.is_nil((find("veloflux=" .. value .. "A")))
    assert.is_nil((find("veloflux=" .. value:sub(1, 42) .. "!")))
  end)

  it("looks past a forged one to the right one", function()
    assert.equal("b", (find("veloflux=" .. ("A"):rep(43) .. "; veloflux=" .. make "b")))
  end)

  it("counts on another node with the same key, not with another", function()
    local value = make "c"
    publish { backends = { { name = "c" }, { name = "a" } } }
    assert.equal("c", (find("veloflux=" .. value)))
    publish { key = 8 }
    assert.is_nil((find("veloflux=" .. value)))
  end)

  it("ages: first renewed, then refused; a session cookie never", function()
    local value = make "a"
    assert.same({ "a", false }, { find("veloflux=" .. value, wall_ms + HOUR / 2) })
    assert.same({ "a", true }, { find("veloflux=" .. value, wall_ms + HOUR / 2 + 1) })
    assert.same({ "a", true }, { find("veloflux=" .. value, wall_ms + HOUR) })
    assert.is_nil((find("veloflux=" .. value, wall_ms + HOUR + 1)))
    assert.same({ "a", false }, { find("veloflux=" .. value, wall_ms - HOUR) }) -- the issuer's clock is ahead
    local sessions = { sticky_cookie = "veloflux", backends = { { name = "a" } } }
    snapshot, names = fixture.snapshot(sessions)
    assert.same({ "a", false }, { find("veloflux=" .. value, wall_ms + 1000 * HOUR) })
  end)

  it("keeps to a drained backend and to one of weight 0, and leaves a disabled one", function()
    local a = state.backends[fixture.slot "a"]
    a.drain = 1
    assert.equal("a", (find("veloflux=" .. make "a")))
    a.drain = 2
    assert.is_nil((find("veloflux=" .. make "a")))
    a.drain, a.weight = 0, 1
    assert.equal("a", (find("veloflux=" .. make "a")))
  end)

  it("leaves a backend that is down, ejected or gone", function()
    local a, b = state.backends[fixture.slot "a"], state.backends[fixture.slot "b"]
    a.health, a.checked_ns, a.interval_ms = 2, now_ns, 1000
    b.ejected_until_ns = now_ns + 1e9
    assert.is_nil((find("veloflux=" .. make "a")))
    assert.is_nil((find("veloflux=" .. make "b")))
    local value = make "c"
    publish { backends = { { name = "a" }, { name = "b" } } }
    assert.is_nil((find("veloflux=" .. value)))
  end)

  it("writes the Set-Cookie field", function()
    local out = ffi.new "char[512]"
    local function field(secure)
      return ffi.string(out, lib.vf_sticky_field(snapshot, 0, 1, wall_ms, secure, out))
    end
    assert.equal("veloflux=" .. make "b" .. "; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax", field(false))
    assert.matches("; Secure$", field(true))
    assert.equal("b", (find(field(false))))
    publish { sticky_cookie = ("n"):rep(480) }
    assert.equal(0, tonumber(lib.vf_sticky_field(snapshot, 0, 1, wall_ms, false, out)))
  end)
end)
