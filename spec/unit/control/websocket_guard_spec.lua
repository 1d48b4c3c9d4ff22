--- What passes to libwebsockets, and what is refused before it gets there.
local ffi = require "ffi"
local websockets = require "support.websocket"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
struct vf_websocket_guard {
  uint64_t max_message, payload_left, message_bytes;
  const char *why;
  uint64_t n_frames;
  uint32_t n_held, need;
  uint16_t code;
  bool in_message;
  unsigned char held[139];
};
void vf_websocket_guard_init(struct vf_websocket_guard *guard, uint64_t max_message);
size_t vf_websocket_guard_feed(struct vf_websocket_guard *guard, const char *data, size_t len, char *out);
]]

local TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = websockets.TEXT, websockets.BINARY, websockets.CLOSE,
  websockets.PING, websockets.PONG, websockets.CONTINUATION
local frame, reason = websockets.frame, websockets.reason
local MAX = 1000
local MORE = 2 * 139

--- Feeds bytes in pieces of `size`. Returns what came out and the guard.
local function feed(bytes, size)
  local guard, out = ffi.new "struct vf_websocket_guard", {}
  lib.vf_websocket_guard_init(guard, MAX)
  local at = 1
  while at <= #bytes do
    local piece = bytes:sub(at, at + size - 1)
    local room = ffi.new("char[?]", #piece + MORE)
    local n = tonumber(lib.vf_websocket_guard_feed(guard, piece, #piece, room))
    out[#out + 1] = ffi.string(room, n)
    at = at + size
  end
  return table.concat(out), guard
end

--- Feeds whole and byte by byte; both have to come to the same. Returns what came out, code and why.
local function judge(bytes)
  local whole, guard = feed(bytes, #bytes)
  local single, again = feed(bytes, 1)
  assert.equal(whole, single)
  assert.equal(guard.code, again.code)
  return whole, guard.code, guard.why ~= nil and ffi.string(guard.why) or nil
end

--- A close frame of the guard's: masked with zeros.
local function closing(code, why)
  local payload = reason(code, why)
  return string.char(0x88, 128 + #payload) .. "\0\0\0\0" .. payload
end

describe("the guard before libwebsockets", function()
  it("passes good frames as they are", function()
    for _, bytes in ipairs {
      frame(TEXT, "hello"), frame(TEXT, ""), frame(BINARY, ("x"):rep(125)), frame(BINARY, ("x"):rep(126)),
      frame(BINARY, ("x"):rep(MAX)), frame(PING, ("p"):rep(125)), frame(PONG, ""),
      frame(TEXT, "a", { more = true }) .. frame(PING, "between") .. frame(CONTINUATION, "b", { more = true })
        .. frame(CONTINUATION, "c") .. frame(TEXT, "next"),
    } do
      local out, code = judge(bytes)
      assert.equal(bytes, out)
      assert.equal(0, code)
    end
  end)

  it("puts a close frame in the place of a bad one, and drops what follows", function()
    local good = frame(TEXT, "good")
    for _, case in ipairs {
      { frame(TEXT, "x", { unmasked = true }), 1002, "a frame is not masked" },
      { frame(TEXT, "", { unmasked = true, form = 16, length = 0 }), 1002, "a frame is not masked" },
      { frame(TEXT, "x", { rsv = 4 }), 1002, "reserved bits are set" },
      { frame(TEXT, "x", { rsv = 1 }), 1002, "reserved bits are set" },
      { frame(3, "x"), 1002, "the opcode is not known" },
      { frame(7, "x"), 1002, "the opcode is not known" },
      { frame(11, "x"), 1002, "the opcode is not known" },
      { frame(15, "x"), 1002, "the opcode is not known" },
      { frame(PING, "x", { more = true }), 1002, "a control frame is fragmented" },
      { frame(PING, ("x"):rep(126)), 1002, "a control frame is too long" },
      { frame(CLOSE, ("x"):rep(126)), 1002, "a control frame is too long" },
      { frame(CONTINUATION, "x"), 1002, "there is nothing to continue" },
      { frame(TEXT, "a", { more = true }) .. frame(TEXT, "b"), 1002, "the message before is not complete", 7 },
      { frame(TEXT, "x", { form = 16 }), 1002, "a length is not in its shortest form" },
      { frame(TEXT, "x", { form = 64 }), 1002, "a length is not in its shortest form" },
      { frame(BINARY, ("x"):rep(200), { form = 64 }), 1002, "a length is not in its shortest form" },
      { "\130\255\128\0\0\0\0\0\0\1\1\2\3\4", 1002, "a length is not in its shortest form" },
      { frame(BINARY, ("x"):rep(MAX + 1)), 1009, "the message is too large" },
      { frame(BINARY, "", { length = 2 ^ 40 }), 1009, "the message is too large" },
      { frame(BINARY, ("x"):rep(MAX), { more = true }) .. frame(CONTINUATION, "y"), 1009, "the message is too large",
        MAX + 8 },
    } do
      local out, code, why = judge(good .. case[1] .. good)
      assert.equal(case[2], code, case[3])
      assert.equal(case[3], why)
      local passed = good .. case[1]:sub(1, case[4] or 0)
      assert.equal(passed .. closing(case[2], case[3]), out, case[3])
    end
  end)

  it("counts each message anew, and control frames not at all", function()
    local large = frame(BINARY, ("x"):rep(MAX))
    local bytes = large .. frame(PING, ("p"):rep(100)) .. large .. large
    local out, code = judge(bytes)
    assert.equal(bytes, out)
    assert.equal(0, code)
  end)

  it("lets good close frames pass, and nothing behind them", function()
    for _, case in ipairs { { "", 1005 }, { reason(1000), 1000 }, { reason(1001, "bye"), 1001 },
      { reason(4999, "\u{20ac}"), 4999 }, { reason(3000, ("r"):rep(123)), 3000 } } do
      local bytes = frame(CLOSE, case[1])
      local out, code, why = judge(bytes .. frame(TEXT, "late"))
      assert.equal(bytes, out)
      assert.equal(case[2], code)
      assert.is_nil(why)
    end
  end)

  it("refuses close frames that say what may not be said", function()
    for _, code in ipairs { 0, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2999, 5000, 65535 } do
      assert.equal(closing(1002, "a close code that may not be sent"), (judge(frame(CLOSE, reason(code)))))
    end
    assert.equal(closing(1002, "half a close code"), (judge(frame(CLOSE, "\3"))))
    for _, text in ipairs { "\255", "\192\128", "\237\160\128", "\226\130" } do
      assert.equal(closing(1007, "the reason is not UTF-8"), (judge(frame(CLOSE, reason(1000, text)))))
    end
  end)

  it("answers codes that came after libwebsockets as an ordinary end", function()
    for _, code in ipairs { 1012, 1013, 1014 } do
      assert.equal(closing(1000, ""), (judge(frame(CLOSE, reason(code, "busy")))))
    end
  end)
end)
