--- Floods of records: what honest peers send passes, what nobody needs so often does not.
local ffi = require "ffi"
local library = require "support.library"

ffi.cdef [[
struct vf_tls_flood { uint32_t barren, records; uint64_t bytes, since_ns; uint32_t kind; bool ran_dry; };
bool vf_tls_flood_window(struct vf_tls_flood *, uint64_t now_ns);
const char *vf_tls_flood_word(uint32_t kind);
]]

local SECOND, WINDOW, TINY = 1000000000, 131072, 3

--- Judges one window of records of `bytes` each, which took `seconds`.
local function window(bytes, seconds, ran_dry)
  local flood = ffi.new "struct vf_tls_flood"
  flood.records, flood.bytes, flood.since_ns, flood.ran_dry = WINDOW, WINDOW * bytes, SECOND, ran_dry or false
  local is_fair = library.vf_tls_flood_window(flood, SECOND + math.floor(seconds * SECOND))
  assert.equal(is_fair and 0 or TINY, flood.kind)
  if is_fair then assert.same({ 0, 0, false }, { flood.records, tonumber(flood.bytes), flood.ran_dry }) end
  return is_fair
end

describe("a window of records", function()
  it("may have small ones at the pace of who sends messages", function()
    assert.is_true(window(1, 8.1))
    assert.is_true(window(1, 1.1, true))
    assert.is_true(window(31, 3600, true))
  end)

  it("may have any number that bring something", function()
    assert.is_true(window(32, 0))
    assert.is_true(window(16384, 0.01))
  end)

  it("is a flood of tiny ones above a rate, lower for who never lets us wait", function()
    assert.is_false(window(1, 7.9))
    assert.is_false(window(31, 0))
    assert.is_false(window(1, 0.9, true))
  end)

  it("has words", function()
    local words = {}
    for kind = 0, 4 do words[kind + 1] = ffi.string(library.vf_tls_flood_word(kind)) end
    assert.same({ "", "handshake", "no_content", "tiny", "" }, words)
  end)
end)
