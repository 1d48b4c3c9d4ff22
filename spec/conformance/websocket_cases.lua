--- RFC 6455 clause by clause, as data: what a client sends after the handshake, and what it gets.
--
--     { section, name, send = bytes, or a list of bytes (a write each), byte_by_byte = true,
--       get = list of { opcode, payload }; of texts the `type` of the message,
--       close = code of the server's close frame }
--
-- Without `close` the client ends the connection itself and expects its own code back.
local websockets = require "support.websocket"

local frame, reason = websockets.frame, websockets.reason
local CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
local MAX = 16 * 1024
local HELLO = '{"type":"ping"}'
local SAID = { TEXT, "pong" } -- the answer to it
local WRONG = { TEXT, "error" }

local cases = {}
local function add(section, name, send, expect)
  expect = expect or {}
  cases[#cases + 1] = { section = section, name = name, send = send, get = expect.get or {}, close = expect.close,
    byte_by_byte = expect.byte_by_byte }
end

-- 5.1, 5.2: frames -----------------------------------------------------------------------------------

add("5.1", "an unmasked text ends the connection", frame(TEXT, HELLO, { unmasked = true }), { close = 1002 })
add("5.1", "an unmasked ping ends the connection", frame(PING, "x", { unmasked = true }), { close = 1002 })
add("5.1", "an unmasked close frame ends the connection", frame(CLOSE, reason(1000), { unmasked = true }),
  { close = 1002 })
add("5.1", "an unmasked continuation ends the connection",
  frame(TEXT, "{", { more = true }) .. frame(CONTINUATION, "}", { unmasked = true }), { close = 1002 })
for bits = 1, 7 do
  add("5.2", ("reserved bits %d on a text end the connection"):format(bits), frame(TEXT, HELLO, { rsv = bits }),
    { close = 1002 })
end
add("5.2", "a reserved bit on a ping ends the connection", frame(PING, "", { rsv = 1 }), { close = 1002 })
add("5.2", "a reserved bit on a close frame ends the connection", frame(CLOSE, "", { rsv = 2 }), { close = 1002 })
for _, opcode in ipairs { 3, 4, 5, 6, 7, 11, 12, 13, 14, 15 } do
  add("5.2", ("the opcode %d ends the connection"):format(opcode), frame(opcode, ""), { close = 1002 })
end
for _, length in ipairs { 0, 1, 125, 126, 127, 128, 65535 - 49152, MAX } do
  add("5.2", ("a binary message of %d bytes is taken"):format(length), frame(BINARY, ("x"):rep(length)),
    { get = { WRONG } })
end
add("5.2", "a length below 126 in 16 bits ends the connection", frame(TEXT, HELLO, { form = 16 }), { close = 1002 })
add("5.2", "a length below 126 in 64 bits ends the connection", frame(TEXT, HELLO, { form = 64 }), { close = 1002 })
add("5.2", "a length below 65536 in 64 bits ends the connection", frame(BINARY, ("x"):rep(300), { form = 64 }),
  { close = 1002 })
add("5.2", "a length of zero in 16 bits ends the connection", frame(TEXT, "", { form = 16 }), { close = 1002 })
add("5.2", "a length with its first bit set ends the connection", "\130\255\255" .. ("\0"):rep(11), { close = 1002 })
add("5.2", "a length of 2^62 ends the connection", "\130\255\64" .. ("\0"):rep(11), { close = 1009 })
add("5.3", "a mask of zeros is a mask", "\129\143\0\0\0\0" .. HELLO, { get = { SAID } })
add("5.3", "frames may come byte by byte", frame(TEXT, HELLO) .. frame(PING, "p") .. frame(TEXT, HELLO),
  { byte_by_byte = true, get = { SAID, { PONG, "p" }, SAID } })
add("5.3", "frames may come all at once", frame(TEXT, HELLO):rep(5), { get = { SAID, SAID, SAID, SAID, SAID } })

-- 5.4: fragments -------------------------------------------------------------------------------------

add("5.4", "a text in two fragments is one message",
  frame(TEXT, HELLO:sub(1, 4), { more = true }) .. frame(CONTINUATION, HELLO:sub(5)), { get = { SAID } })
do
  local pieces = { frame(TEXT, HELLO:sub(1, 1), { more = true }) }
  for i = 2, #HELLO do pieces[i] = frame(CONTINUATION, HELLO:sub(i, i), { more = i < #HELLO }) end
  add("5.4", "a text in a fragment for each byte is one message", pieces, { get = { SAID } })
end
add("5.4", "empty fragments are fragments", frame(TEXT, "", { more = true }) .. frame(CONTINUATION, "", { more = true })
  .. frame(CONTINUATION, HELLO), { get = { SAID } })
add("5.4", "a message may end with an empty fragment", frame(TEXT, HELLO, { more = true }) .. frame(CONTINUATION, ""),
  { get = { SAID } })
add("5.4", "control frames may come between fragments",
  { frame(TEXT, HELLO:sub(1, 4), { more = true }), frame(PING, "1"), frame(PONG, "x"),
    frame(CONTINUATION, HELLO:sub(5)) }, { get = { { PONG, "1" }, SAID } })
add("5.4", "a continuation of nothing ends the connection", frame(CONTINUATION, HELLO), { close = 1002 })
add("5.4", "a last continuation of nothing ends the connection", frame(CONTINUATION, "", { more = true }),
  { close = 1002 })
add("5.4", "a continuation behind a whole message ends the connection", frame(TEXT, HELLO) .. frame(CONTINUATION, "x"),
  { close = 1002 })
add("5.4", "a text within a message ends the connection",
  frame(TEXT, "{", { more = true }) .. frame(TEXT, HELLO), { close = 1002 })
add("5.4", "a binary frame within a message ends the connection",
  frame(TEXT, "{", { more = true }) .. frame(BINARY, "x"), { close = 1002 })
add("5.4", "an unknown opcode within a message ends the connection",
  frame(TEXT, "{", { more = true }) .. frame(6, "x"), { close = 1002 })

-- 5.5: control frames --------------------------------------------------------------------------------

add("5.5", "a ping in fragments ends the connection", frame(PING, "x", { more = true }) .. frame(CONTINUATION, "y"),
  { close = 1002 })
add("5.5", "a pong in fragments ends the connection", frame(PONG, "x", { more = true }), { close = 1002 })
add("5.5", "a close frame in fragments ends the connection", frame(CLOSE, reason(1000), { more = true }),
  { close = 1002 })
add("5.5", "a ping of 126 bytes ends the connection", frame(PING, ("x"):rep(126)), { close = 1002 })
add("5.5", "a pong of 126 bytes ends the connection", frame(PONG, ("x"):rep(126)), { close = 1002 })
add("5.5", "a close frame of 126 bytes ends the connection", frame(CLOSE, reason(1000, ("x"):rep(124))),
  { close = 1002 })
add("5.5.2", "a ping is answered with its payload", frame(PING, "payload"), { get = { { PONG, "payload" } } })
add("5.5.2", "an empty ping is answered", frame(PING, ""), { get = { { PONG, "" } } })
add("5.5.2", "a ping of 125 bytes of any kind is answered", frame(PING, ("\255\0\128"):rep(41) .. "\1\2"),
  { get = { { PONG, ("\255\0\128"):rep(41) .. "\1\2" } } })
add("5.5.3", "a pong that nobody asked for is ignored", frame(PONG, "x") .. frame(PONG, "") .. frame(TEXT, HELLO),
  { get = { SAID } })
add("5.5.3", "a pong that is no UTF-8 is ignored, behind a text, too",
  frame(TEXT, HELLO) .. frame(PONG, "\255\254") .. frame(TEXT, HELLO), { get = { SAID, SAID } })
add("5.5.3", "a pong that is no UTF-8 between fragments is ignored",
  frame(TEXT, HELLO:sub(1, 4), { more = true }) .. frame(PONG, "\255") .. frame(CONTINUATION, HELLO:sub(5)),
  { get = { SAID } })

-- 5.5.1, 7: closing ----------------------------------------------------------------------------------

add("5.5.1", "nothing is answered behind a close frame", frame(CLOSE, reason(1000)) .. frame(TEXT, HELLO)
  .. frame(PING, "x"), { close = 1000 })
add("5.5.1", "a second close frame is not answered", frame(CLOSE, reason(1001)) .. frame(CLOSE, reason(1000)),
  { close = 1001 })
add("5.5.1", "an empty close frame is answered with an empty one", frame(CLOSE, ""), { close = 1005 })
add("5.5.1", "a close frame of one byte ends the connection", frame(CLOSE, "\3"), { close = 1002 })
add("5.5.1", "a reason of 123 bytes may be given", frame(CLOSE, reason(1000, ("r"):rep(123))), { close = 1000 })
add("5.5.1", "a reason that is no UTF-8 ends the connection",
  frame(CLOSE, reason(1000, "\206\186\225\189\185\237\160\128")), { close = 1007 })
add("5.5.1", "a close frame within a message ends it", frame(TEXT, "{", { more = true }) .. frame(CLOSE, reason(1000)),
  { close = 1000 })
for _, code in ipairs { 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999 } do
  add("7.4", ("the close code %d is answered with the same"):format(code), frame(CLOSE, reason(code)), { close = code })
end
for _, code in ipairs { 0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535 } do
  add("7.4", ("the close code %d may not be sent"):format(code), frame(CLOSE, reason(code)), { close = 1002 })
end

-- 5.6, 8.1: texts ------------------------------------------------------------------------------------

local function text_of(fill) return '{"type":"ping","x":"' .. fill .. '"}' end
local function hex_of(bytes)
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

for _, fill in ipairs { "κόσμε", "\u{20ac}", "\u{7ff}", "\u{800}", "\u{ffff}", "\u{10000}", "\u{10ffff}",
  "\u{fffd}" } do
  add("8.1", ("a text with %s is taken"):format(hex_of(fill)), frame(TEXT, text_of(fill)), { get = { SAID } })
end
for _, fill in ipairs { "\128", "\191", "\192\128", "\193\191", "\224\128\128", "\224\159\191", "\237\160\128",
  "\237\191\191", "\240\128\128\128", "\240\143\191\191", "\244\144\128\128", "\248\136\128\128\128",
  "\252\132\128\128\128\128", "\254", "\255", "\226\130", "\240\159\152", "\237\160\189\237\184\128" } do
  add("8.1", ("a text with %s ends the connection"):format(hex_of(fill)), frame(TEXT, text_of(fill)), { close = 1007 })
end
add("8.1", "a character may be split between fragments",
  frame(TEXT, '{"type":"ping","x":"\226\130', { more = true }) .. frame(CONTINUATION, '\172"}'), { get = { SAID } })
add("8.1", "a text may not end within a character", frame(TEXT, "\226\130"), { close = 1007 })
add("8.1", "a character may not be completed by another message", frame(TEXT, "\226\130") .. frame(TEXT, "\172"),
  { close = 1007 })
add("8.1", "bytes that are no UTF-8 may be in a binary message", frame(BINARY, "\255\254") .. frame(TEXT, HELLO),
  { get = { WRONG, SAID } })

-- 10.4: bounds ---------------------------------------------------------------------------------------

add("10.4", "a text of the largest size is taken", frame(TEXT, HELLO .. (" "):rep(MAX - #HELLO)), { get = { SAID } })
add("10.4", "a frame beyond ends the connection before its payload", frame(TEXT, "", { length = MAX + 1 }),
  { close = 1009 })
add("10.4", "fragments beyond end the connection",
  frame(TEXT, HELLO .. (" "):rep(MAX - #HELLO), { more = true }) .. frame(CONTINUATION, " "), { close = 1009 })
add("10.4", "many messages of the largest size are taken", { frame(TEXT, HELLO .. (" "):rep(MAX - #HELLO)),
  frame(TEXT, HELLO .. (" "):rep(MAX - #HELLO)), frame(TEXT, HELLO .. (" "):rep(MAX - #HELLO)) },
  { get = { SAID, SAID, SAID } })

return cases
