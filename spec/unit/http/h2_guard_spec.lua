--- Floods of frames: what honest clients send passes, at any cut; what nobody needs so often does not.
local ffi = require "ffi"
local h2 = require "support.http2"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
struct vf_h2_guard {
  uint8_t header[9], header_len, preface_len;
  bool is_backend, in_block;
  uint32_t skip, continuations, pings_earned, windows_earned, code;
  uint64_t idle_due_ns, reset_due_ns, window_due_ns;
  struct { uint32_t last; uint8_t fates[64]; } ids;
};
void vf_h2_guard_init_backend(struct vf_h2_guard *);
void vf_h2_guard_sent(struct vf_h2_guard *, size_t);
bool vf_h2_guard_in_head(const struct vf_h2_guard *);
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

  it("lets answers earn what their readers say about them", function()
    local guard = new_guard()
    for _ = 1, 100 do -- 160 MB, in 16 KiB frames, each with two windows and a PING
      for _ = 1, 100 do lib.vf_h2_guard_sent(guard, 16384) end
      assert.is_nil(scan(guard, (h2.window(0, 16384) .. h2.window(1, 16384) .. h2.ping()):rep(100)))
    end
    assert.is_true(guard.windows_earned <= 20000 + 17)
    assert.is_true(guard.pings_earned <= 1000)
  end)

  it("lets answers in tiny pieces earn no windows", function()
    local guard = new_guard()
    local function dribble()
      lib.vf_h2_guard_sent(guard, 1)
      return scan(guard, h2.window(1, 1))
    end
    for _ = 1, 20000 do assert.is_nil(dribble()) end
    assert.equal("window_update_flood", dribble())
  end)

  it("minds no resets of a backend, which are answers", function()
    local guard = ffi.new "struct vf_h2_guard"
    lib.vf_h2_guard_init_backend(guard)
    assert.is_nil(scan(guard, h2.settings() .. h2.rst(1, 7):rep(5000) .. h2.headers(1, {}, { ends = true }):rep(3)))
    assert.equal("ping_flood", scan(guard, h2.ping():rep(1001)))
  end)

  it("knows whether a head has begun", function()
    local guard, head = new_guard(), h2.headers(1, h2.get "/", { ends = true })
    scan(guard, head:sub(1, 12))
    assert.is_true(lib.vf_h2_guard_in_head(guard))
    scan(guard, head:sub(13))
    assert.is_false(lib.vf_h2_guard_in_head(guard))
    scan(guard, h2.headers(3, h2.get "/", { open = true }))
    assert.is_true(lib.vf_h2_guard_in_head(guard))
    scan(guard, h2.continuation(3, {}, true))
    assert.is_false(lib.vf_h2_guard_in_head(guard))
  end)

  local ENDED = h2.headers(1, h2.get "/", { ends = true })
  for name, of in pairs {
    ["DATA behind END_STREAM"] = { ENDED .. h2.data(1, "x"), "stream_closed", 5 },
    ["HEADERS behind RST_STREAM"] = { h2.headers(1, {}) .. h2.rst(1, 8) .. h2.headers(1, {}), "stream_closed", 5 },
    ["DATA behind DATA with END_STREAM"] = { h2.headers(1, {}) .. h2.data(1, "", true):rep(2), "stream_closed", 5 },
    ["a stream that was left out"] = { h2.headers(7, {}) .. h2.headers(5, {}), "stream_id", 1 },
    ["one left out before the first"] = { h2.headers(501, {}) .. h2.headers(3, {}), "stream_id", 1 },
  } do
    it("refuses " .. name, function()
      local guard = new_guard()
      assert.equal(of[2], scan(guard, of[1]))
      assert.equal(of[3], guard.code)
    end)
  end

  for name, bytes in pairs {
    ["content and trailers"] = h2.headers(1, {}) .. h2.data(1, "x") .. h2.headers(1, {}, { ends = true }),
    ["windows, resets and priorities of what has ended"] = ENDED .. h2.window(1, 1) .. h2.rst(1, 8):rep(2)
      .. h2.frame(h2.PRIORITY, 0, 1, "\0\0\0\0\1"),
    ["streams too old to know"] = h2.headers(1, {}) .. h2.headers(4001, {}, { ends = true }) .. h2.data(1, "x"),
    ["what nghttp2 refuses"] = h2.data(1, "x") .. h2.headers(2, {}) .. h2.headers(0, {}) .. h2.rst(9, 8),
    ["a frame within a header block"] = h2.headers(1, {}, { open = true, ends = true }) .. h2.data(1, "x"),
  } do
    it("leaves alone " .. name, function() assert.is_nil(scan(new_guard(), bytes)) end)
  end

  it("counts CONTINUATION within one header block", function()
    local guard, block = new_guard(), h2.headers(1, {}, { open = true }) .. h2.continuation(1, {}):rep(8)
    assert.is_nil(scan(guard, block))
    assert.is_nil(scan(guard, block))
    assert.equal("continuation_flood", scan(guard, h2.continuation(1, {})))
  end)

  it("never minds requests and their content, however they are cut", function()
    local pieces = {}
    for id = 1, 6000, 4 do
      pieces[#pieces + 1] = h2.headers(id, h2.get "/", { ends = true }) .. h2.headers(id + 2, h2.request("POST", "/"))
        .. h2.data(id + 2, ("x"):rep(100)) .. h2.data(id + 2, "", true)
    end
    local bytes = table.concat(pieces)
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
