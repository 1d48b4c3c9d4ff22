--- From single results to up and down.
local ffi = require "ffi"
local fixture = require "unit.proxy.fixture"
local lib = fixture.lib

ffi.cdef [[
struct vf_check_result { bool is_ok; uint32_t status; uint64_t took_us; char reason[80]; };
struct vf_verdict { uint32_t successes, failures; };
bool vf_verdict_note(struct vf_verdict *, struct vf_backend_state *, const struct vf_check_result *, uint32_t rise,
                     uint32_t fall, uint64_t interval_ms, uint64_t now_ns);
void vf_verdict_forget(struct vf_backend_state *);
int vf_probe_read_status(const char *data, size_t len);
]]

local UNKNOWN, UP, DOWN = 0, 1, 2
local EMALFORMED = -20003

describe("verdict", function()
  local verdict, backend, now_ns
  before_each(function()
    verdict, backend, now_ns = ffi.new "struct vf_verdict", ffi.new "struct vf_backend_state", 1000
  end)

  -- Notes a result ("+" or "-") with rise 2 and fall 3; returns the health and whether it changed.
  local function note(sign)
    local result = ffi.new "struct vf_check_result"
    result.is_ok, result.status, result.took_us = sign == "+", sign == "+" and 200 or 500, 1234
    result.reason = sign == "+" and "status 200" or "status 500, expected 200"
    now_ns = now_ns + 1
    local changed = lib.vf_verdict_note(verdict, backend, result, 2, 3, 5000, now_ns)
    return backend.health, changed
  end

  local function healths(signs)
    local seen = {}
    for sign in signs:gmatch "." do seen[#seen + 1] = ({ [UP] = "U", [DOWN] = "D", [UNKNOWN] = "?" })[(note(sign))] end
    return table.concat(seen)
  end

  it("lets the first result decide", function()
    assert.same({ UP, true }, { note "+" })
    backend = ffi.new "struct vf_backend_state"
    assert.same({ DOWN, true }, { note "-" })
  end)

  it("falls after three in a row and rises after two", function()
    assert.equal("UUUUUUD", healths "+--+---")
    assert.equal("DDUU", healths "-++-")
  end)

  it("counts rows anew after each turn", function()
    assert.equal("DDDDDDU", healths "-+-+-++")
    assert.equal("UUUUUDD", healths "--+----")
  end)

  it("writes what people want to know", function()
    note "+"
    note "-"
    assert.same({ 1, 500, 1234, 5000 },
      { backend.streak, backend.last_status, tonumber(backend.check_us), tonumber(backend.interval_ms) })
    assert.same({ 1002, 1001 }, { tonumber(backend.checked_ns), tonumber(backend.changed_ns) })
    assert.equal("status 500, expected 200", ffi.string(backend.reason))
    assert.equal(0, backend.reason_seq % 2)
    note "+"
    assert.equal("status 200", ffi.string(backend.reason))
  end)

  it("forgets", function()
    note "-"
    lib.vf_verdict_forget(backend)
    assert.same({ UNKNOWN, 0, "" }, { backend.health, tonumber(backend.checked_ns), ffi.string(backend.reason) })
  end)
end)

describe("a status line", function()
  for line, expected in pairs {
    ["HTTP/1.1 200 OK\r\n"] = 200,
    ["HTTP/1.0 503\r\n"] = 503,
    ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"] = 100,
    ["HTTP/1.1 200 OK\n"] = 200,
    ["HTTP/1.1 200 O"] = 0,
    ["HTTP/1.1 20"] = 0,
    ["HT"] = 0,
    [""] = 0,
    ["HTTP/2.0 200 OK\r\n"] = EMALFORMED,
    ["HTTP/1.1 2000 OK\r\n"] = EMALFORMED,
    ["HTTP/1.1 2x0 OK\r\n"] = EMALFORMED,
    ["HTTP/1.1  200\r\n"] = EMALFORMED,
    ["HTTP/1.1 099 X\r\n"] = EMALFORMED,
    ["HTTP/1.1 700 X\r\n"] = EMALFORMED,
    ["SSH-2.0-OpenSSH"] = EMALFORMED,
  } do
    it(("%q is read as %d"):format(line, expected), function()
      assert.equal(expected, lib.vf_probe_read_status(line, #line))
    end)
  end
end)
