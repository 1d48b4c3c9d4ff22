--- Floods of frames: what honest clients send passes, at any cut; what nobody needs so often does not.
local ffi = require "ffi"
local h2 = require "support.http2"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
struct vf_h2_guard {
  uint8_t header[9], header_len, preface_len;
  uint32_t skip, continuations;
  uint64_t idle_due_ns, reset_due_ns, window_due_ns;
};
const char *vf_h2_guard_scan(struct vf_h2_guard *, const char *, size_t, uint64_t now_ns);
]]

local SECOND = 1000000000

local function new_guard()
  local guard = ffi.new "struct vf_h2_guard"
  assert(lib.vf_h2_guard_scan(guard, h2.PREFACE, #h2.PREFACE, 1) == nil)
  return guard
end

local function scan(guard, bytes, now_ns)
  local word = lib.vf_h2_guard_scan(guard, bytes, #bytes, now_ns or SECOND)
  return word ~= nil and ffi.string(word) or nil
end

describe("the guard against floods", function()
  local FLOODS = {
    settings_flood = { h2.settings { { 3, 1 } }, 1000 }, ping_flood = { h2.ping(), 1000 },
    priority_flood = { h2.frame(h2.PRIORITY, 0, 3, "\0\0\0\0\1"), 1000 }, empty_frame_flood = { h2.data(1, ""), 1000 },
    unknown_frame_flood = { h2.frame(0x77, 0, 0, "x"), 1000 }, reset_flood = { h2.rst(1, 8), 500 },
    window_update_flood = { h2.window(1, 1), 20000 },
  }
  for word, of in pairs(FLOODS) do
    it("ends a " .. word .. " behind its burst, and forgives it with time", function()
      local guard = new_guard()
      assert.is_nil(scan(guard, of[1]:rep(of[2])))
      assert.equal(word, scan(guard, of[1]))
      guard = new_guard()
      assert.is_nil(scan(guard, of[1]:rep(of[2])))
      assert.is_nil(scan(guard, of[1]:rep(math.floor(of[2] / 10)), 100 * SECOND))
    end)
  end

  it("counts CONTINUATION within one header block", function()
    local guard, block = new_guard(), h2.headers(1, {}, { open = true }) .. h2.continuation(1, {}):rep(8)
    assert.is_nil(scan(guard, block))
    assert.is_nil(scan(guard, block))
    assert.equal("continuation_flood", scan(guard, h2.continuation(1, {})))
  end)

  it("never minds requests and their content, however they are cut", function()
    local bytes = (h2.headers(1, h2.get "/", { ends = true }) .. h2.data(3, ("x"):rep(100))
      .. h2.data(3, "", true)):rep(5000)
    assert.is_nil(scan(new_guard(), bytes))
    for _, size in ipairs { 1, 7, 4096 } do
      local guard = new_guard()
      for i = 1, #bytes, size do assert.is_nil(scan(guard, bytes:sub(i, i + size - 1))) end
      assert.same({ 0, 0 }, { guard.header_len, guard.skip })
    end
  end)

  it("begins behind the preface, wherever that is cut", function()
    local guard = ffi.new "struct vf_h2_guard"
    for i = 1, #h2.PREFACE do assert.is_nil(scan(guard, h2.PREFACE:sub(i, i))) end
    assert.is_nil(scan(guard, h2.ping():rep(1000)))
    assert.equal("ping_flood", scan(guard, h2.ping()))
  end)
end)
