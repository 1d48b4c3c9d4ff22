--- RFC 9113 (HTTP/2) and RFC 7541 (HPACK), clause by clause: what is sent behind the client's preface, and what has to
-- come of it.
--
--   section, name   unique together
--   send            list of bytes; a function gets the client and may await things
--   bare            true: no preface and SETTINGS in front
--   get             status of stream 1, or { [stream] = status }
--   reset           stream 1 ends with RST_STREAM of this code (a list: one of them), or is refused as a whole:
--                    `goaway`
--   refused         status, or list of statuses, or "reset": the request is answered so, or reset as malformed; its
--                   connection goes on either way, and the origin sees nothing
--   goaway          the connection ends with this code (a list: one of them)
--   ends            the connection ends, with whatever code
--   frame           { kind, flags } that must come
--   origin          fields that the origin must have seen: { method, target, body, fields = { name = value or false } }
--   n_origin        how many requests the origin has seen
--   check           function(client, origin) for the rest
-- Without goaway or ends the connection must still answer another request.
local assert = require "luassert"
local h2 = require "support.http2"

local CODES = h2.CODES
local PROTOCOL, SIZE, FLOW, COMPRESSION = CODES.PROTOCOL_ERROR, CODES.FRAME_SIZE_ERROR, CODES.FLOW_CONTROL_ERROR,
  CODES.COMPRESSION_ERROR
local CLOSED = CODES.STREAM_CLOSED
local get, headers, data, frame = h2.get, h2.headers, h2.data, h2.frame
local ENDS = { ends = true }

local cases = {}
local function case(section, name, of)
  of.section, of.name = section, name
  cases[#cases + 1] = of
end

local function request(more, change) return headers(1, get("/echo", more, change), ENDS) end
local function post(path, more) return h2.request("POST", path or "/echo", more) end

-- 3.4 Preface ---------------------------------------------------------------------------------------
case("RFC 9113 3.4", "the server's preface is SETTINGS", { send = {}, frame = { h2.SETTINGS, 0 } })
case("RFC 9113 3.4", "an empty SETTINGS frame is a preface", { send = { request() }, get = 200 })
case("RFC 9113 3.4", "a request may come with the preface", { bare = true,
  send = { h2.PREFACE .. h2.settings() .. request() }, get = 200 })
case("RFC 9113 3.4", "the preface may come byte by byte", { bare = true, send = { function(client)
  for i = 1, #h2.PREFACE do client:send(h2.PREFACE:sub(i, i)) end
end, h2.settings(), request() }, get = 200 })
case("RFC 9113 3.4", "a preface that is not followed by SETTINGS", { bare = true,
  send = { h2.PREFACE, h2.ping() }, goaway = PROTOCOL })
case("RFC 9113 3.4", "a preface that is followed by HEADERS", { bare = true,
  send = { h2.PREFACE, request() }, goaway = PROTOCOL })

-- 4 Frames ------------------------------------------------------------------------------------------
case("RFC 9113 4.1", "an unknown frame type is ignored", { send = { frame(0x16, 0, 0, "whatever"), request() },
  get = 200 })
case("RFC 9113 4.1", "an unknown frame type with unknown flags on a stream is ignored", {
  send = { frame(0x20, 0xff, 1, "x"), request() }, get = 200 })
case("RFC 9113 4.1", "undefined flags are ignored", { send = { frame(h2.PING, 0xfe, 0, "12345678"), request() },
  get = 200, frame = { h2.PING, 1 } })
case("RFC 9113 4.1", "the reserved bit of a stream identifier is ignored", {
  send = { headers(2 ^ 31 + 1, get "/echo", ENDS) }, get = 200 })
case("RFC 9113 4.2", "DATA larger than SETTINGS_MAX_FRAME_SIZE", {
  send = { headers(1, post()), data(1, ("x"):rep(16385), true) }, goaway = SIZE })
case("RFC 9113 4.2", "HEADERS larger than SETTINGS_MAX_FRAME_SIZE", {
  send = { headers(1, get("/echo", { { "x-long", ("x"):rep(16385) } }), ENDS) }, goaway = SIZE })
case("RFC 9113 4.2", "a frame of 16,384 bytes is fine", {
  send = { headers(1, post()), data(1, ("x"):rep(16384), true) }, get = 200, origin = { body = ("x"):rep(16384) } })
case("RFC 9113 4.3", "a header block that cannot be decoded", { send = { headers(1, "\64", ENDS) },
  goaway = COMPRESSION })
case("RFC 9113 4.3", "a header block in HEADERS and CONTINUATION", {
  send = { headers(1, { { ":method", "GET" }, { ":scheme", "http" } }, { ends = true, open = true }),
    h2.continuation(1, { { ":authority", "localhost" } }),
    h2.continuation(1, { { ":path", "/echo" }, { "x-a", "b" } }, true) },
  get = 200, origin = { fields = { ["x-a"] = "b" } } })
case("RFC 9113 4.3", "a field cut in two by CONTINUATION", { send = { function(client)
  local block = h2.block(get("/echo", { { "x-field", "value" } }))
  client:send(headers(1, block:sub(1, -4), { ends = true, open = true }), h2.continuation(1, block:sub(-3), true))
end }, get = 200, origin = { fields = { ["x-field"] = "value" } } })

-- 5.1 Stream states ---------------------------------------------------------------------------------
case("RFC 9113 5.1", "DATA on an idle stream", { send = { data(1, "x", true) }, goaway = { PROTOCOL, CLOSED } })
case("RFC 9113 5.1", "RST_STREAM on an idle stream", { send = { h2.rst(1, 8) }, goaway = PROTOCOL })
case("RFC 9113 5.1", "WINDOW_UPDATE on an idle stream", { send = { h2.window(1, 100) }, goaway = PROTOCOL })
case("RFC 9113 5.1", "CONTINUATION on an idle stream", { send = { h2.continuation(1, get "/echo", true) },
  goaway = PROTOCOL })
case("RFC 9113 5.1", "DATA behind END_STREAM", { send = { request(), data(1, "x", true) },
  reset = { CLOSED }, or_goaway = { CLOSED, PROTOCOL }, or_answered = true })
case("RFC 9113 5.1", "HEADERS behind END_STREAM", { send = { request(), request() },
  reset = { CLOSED }, or_goaway = { CLOSED, PROTOCOL } })
case("RFC 9113 5.1", "CONTINUATION behind END_HEADERS", { send = { request(), h2.continuation(1, { { "x", "y" } },
  true) },
  goaway = { PROTOCOL, CLOSED } })
case("RFC 9113 5.1", "WINDOW_UPDATE on a half-closed stream is fine", { send = { request(), h2.window(1, 10) },
  get = 200 })
local function answered(client)
  client:send(request())
  client:answer(1)
end
case("RFC 9113 5.1", "DATA on a stream that has ended", { send = { answered, data(1, "x", true) }, goaway = CLOSED })
case("RFC 9113 5.1", "HEADERS on a stream that has ended", { send = { answered, request() }, goaway = CLOSED })
case("RFC 9113 5.1", "CONTINUATION on a stream that has ended", {
  send = { answered, h2.continuation(1, get "/echo", true) }, goaway = { PROTOCOL, CLOSED } })
case("RFC 9113 5.1", "what may be on its way to a stream that has ended", {
  send = { answered, h2.window(1, 10), h2.rst(1, CODES.CANCEL), frame(h2.PRIORITY, 0, 1, "\0\0\0\0\1"),
    headers(3, get "/echo", ENDS) }, get = { [3] = 200 } })
case("RFC 9113 5.1", "DATA on a stream that the client has reset", {
  send = { headers(1, post()), h2.rst(1, CODES.CANCEL), data(1, "x", true) }, goaway = CLOSED })
case("RFC 9113 5.1", "HEADERS on a stream that the client has reset", {
  send = { headers(1, post()), h2.rst(1, CODES.CANCEL), headers(1, { { "x", "y" } }, ENDS) }, goaway = CLOSED })
case("RFC 9113 5.1", "DATA and trailers on a stream that the server has reset are ignored", {
  send = { headers(1, post("/echo", { { "X-Upper", "1" } })), data(1, "x"), headers(1, { { "x", "y" } }, ENDS),
    headers(3, get "/echo", ENDS) }, reset = PROTOCOL, get = { [3] = 200 } })
case("RFC 9113 5.1", "RST_STREAM of a request under way ends it alone", {
  send = { headers(1, post()), h2.rst(1, CODES.CANCEL) } })
case("RFC 9113 5.1.1", "an even stream identifier", { send = { headers(2, get "/echo", ENDS) }, goaway = PROTOCOL })
case("RFC 9113 5.1.1", "a stream identifier that goes back", {
  send = { headers(5, get "/echo", ENDS), headers(3, get "/never", ENDS) }, goaway = PROTOCOL, never = "/never" })
case("RFC 9113 5.1.1", "DATA on a stream that was left out", {
  send = { headers(5, get "/echo", ENDS), data(3, "x", true) }, goaway = { PROTOCOL, CLOSED } })
case("RFC 9113 5.1.1", "stream identifiers may be left out", { send = { headers(9, get "/echo", ENDS) },
  get = { [9] = 200 } })
case("RFC 9113 5.1.1", "HEADERS on stream 0", { send = { headers(0, get "/echo", ENDS) }, goaway = PROTOCOL })
case("RFC 9113 5.1.2", "more streams than SETTINGS_MAX_CONCURRENT_STREAMS are refused", { send = { function(client)
  client:read_until(function() return client.has_settings end)
  local out = {}
  for i = 0, 128 do out[#out + 1] = headers(1 + 2 * i, post()) end
  client:send(table.concat(out))
  local answer = client:answer(257) -- the stream, or the connection as a whole, is refused
  local code = answer and answer.reset or client.goaway.code
  assert.is_true(code == CODES.REFUSED_STREAM or code == PROTOCOL)
end }, any = true })
case("RFC 9113 5.3.2", "priority is ignored", { send = {
  headers(1, get "/echo", { ends = true, flags = h2.HAS_PRIORITY, before = h2.be(0, 4) .. "\16" }) }, get = 200 })
case("RFC 9113 5.3.1", "a stream that depends on itself does not harm", { send = {
  headers(1, get "/echo", { ends = true, flags = h2.HAS_PRIORITY, before = h2.be(1, 4) .. "\16" }) },
  any = true })
case("RFC 9113 5.4.1", "GOAWAY of the client lets requests end", {
  send = { request(), h2.goaway(0, 0) }, get = 200, done = true })
case("RFC 9113 5.5", "extension frames within a header block", {
  send = { headers(1, { { ":method", "GET" } }, { open = true, ends = true }), frame(0x16, 0, 1, "x") },
  goaway = PROTOCOL })

-- 6.1 DATA ------------------------------------------------------------------------------------------
case("RFC 9113 6.1", "DATA on stream 0", { send = { data(0, "x") }, goaway = PROTOCOL })
case("RFC 9113 6.1", "padded DATA", { send = { headers(1, post()),
  frame(h2.DATA, h2.PADDED + h2.END_STREAM, 1, "\4body\0\0\0\0") }, get = 200, origin = { body = "body" } })
case("RFC 9113 6.1", "DATA with padding as long as its payload", { send = { headers(1, post()),
  frame(h2.DATA, h2.PADDED + h2.END_STREAM, 1, "\5body") }, goaway = PROTOCOL })
case("RFC 9113 6.1", "DATA that is only padding", { send = { headers(1, post()),
  frame(h2.DATA, h2.PADDED, 1, "\3\0\0\0"), data(1, "x", true) }, get = 200, origin = { body = "x" } })
case("RFC 9113 6.1", "empty DATA with END_STREAM", { send = { headers(1, post()), data(1, "a"), data(1, "", true) },
  get = 200, origin = { body = "a" } })

-- 6.2 HEADERS ---------------------------------------------------------------------------------------
case("RFC 9113 6.2", "padded HEADERS", { send = { headers(1, get "/echo", { ends = true, pad = 10 }) }, get = 200 })
case("RFC 9113 6.2", "HEADERS with padding longer than its payload", {
  send = { frame(h2.HEADERS, h2.PADDED + h2.END_HEADERS + 1, 1, "\200" .. h2.block(get "/echo")) },
  goaway = PROTOCOL })
case("RFC 9113 6.2", "another frame within a header block", {
  send = { headers(1, get "/echo", { open = true, ends = true }), h2.ping() }, goaway = PROTOCOL })
case("RFC 9113 6.2", "HEADERS of another stream within a header block", {
  send = { headers(1, get "/echo", { open = true, ends = true }), headers(3, get "/echo", ENDS) }, goaway = PROTOCOL })

-- 6.3 PRIORITY ----------------------------------------------------------------------------------------
case("RFC 9113 6.3", "PRIORITY of 5 bytes is ignored", { send = {
  frame(h2.PRIORITY, 0, 3, h2.be(0, 4) .. "\1"), request() }, get = 200 })
case("RFC 9113 6.3", "PRIORITY on stream 0", { send = { frame(h2.PRIORITY, 0, 0, h2.be(0, 4) .. "\1") },
  goaway = PROTOCOL })
case("RFC 9113 6.3", "PRIORITY of 4 bytes", { send = { frame(h2.PRIORITY, 0, 1, h2.be(0, 4)) }, goaway = SIZE })

-- 6.4 RST_STREAM --------------------------------------------------------------------------------------
case("RFC 9113 6.4", "RST_STREAM on stream 0", { send = { h2.rst(0, 8) }, goaway = PROTOCOL })
case("RFC 9113 6.4", "RST_STREAM of 3 bytes", { send = { headers(1, post()), frame(h2.RST_STREAM, 0, 1, "abc") },
  goaway = SIZE })
case("RFC 9113 6.4", "RST_STREAM with an unknown code", { send = { headers(1, post()), h2.rst(1, 0xfefe) } })

-- 6.5 SETTINGS ----------------------------------------------------------------------------------------
case("RFC 9113 6.5", "SETTINGS is acknowledged", { send = { h2.settings { { 3, 10 } } },
  frame = { h2.SETTINGS, h2.ACK } })
case("RFC 9113 6.5", "SETTINGS with ACK and a payload", { send = { frame(h2.SETTINGS, 1, 0, h2.be(0, 6)) },
  goaway = SIZE })
case("RFC 9113 6.5", "SETTINGS on a stream", { send = { frame(h2.SETTINGS, 0, 1, "") }, goaway = PROTOCOL })
case("RFC 9113 6.5", "SETTINGS of 5 bytes", { send = { frame(h2.SETTINGS, 0, 0, h2.be(0, 5)) }, goaway = SIZE })
case("RFC 9113 6.5.2", "SETTINGS_ENABLE_PUSH of 2", { send = { h2.settings { { 2, 2 } } }, goaway = PROTOCOL })
case("RFC 9113 6.5.2", "SETTINGS_ENABLE_PUSH of 1 pushes nothing", { send = { h2.settings { { 2, 1 } }, request() },
  get = 200, check = function(client)
    for _, got in ipairs(client.frames) do assert.not_equal(h2.PUSH_PROMISE, got.kind) end
  end })
case("RFC 9113 6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE above 2^31 - 1", { send = { h2.settings { { 4, 2 ^ 31 } } },
  goaway = FLOW })
case("RFC 9113 6.5.2", "SETTINGS_MAX_FRAME_SIZE below 16,384", { send = { h2.settings { { 5, 16383 } } },
  goaway = PROTOCOL })
case("RFC 9113 6.5.2", "SETTINGS_MAX_FRAME_SIZE above 2^24 - 1", { send = { h2.settings { { 5, 2 ^ 24 } } },
  goaway = PROTOCOL })
case("RFC 9113 6.5.2", "unknown settings are ignored", { send = { h2.settings { { 0xff, 1 }, { 0xaaaa, 7 } },
  request() },
  get = 200 })
case("RFC 9113 6.5.2", "a setting twice: the last counts", { send = { h2.settings { { 4, 1 }, { 4, 65535 } },
  request() },
  get = 200 })
case("RFC 9113 6.5.3", "settings are used in the order in which they stand", {
  send = { h2.settings { { 4, 0 } }, request(), h2.settings { { 4, 100000 } } }, get = 200 })

-- 6.6 PUSH_PROMISE ------------------------------------------------------------------------------------
case("RFC 9113 6.6", "PUSH_PROMISE of a client", {
  send = { frame(h2.PUSH_PROMISE, h2.END_HEADERS, 1, h2.be(2, 4) .. h2.block(get "/echo")) }, goaway = PROTOCOL })

-- 6.7 PING ----------------------------------------------------------------------------------------------
case("RFC 9113 6.7", "PING is answered with its bytes", { send = { h2.ping "velofl7x" }, check = function(client)
  local found = client:expect_frame(h2.PING)
  assert.same({ 1, "velofl7x" }, { found.flags, found.payload })
end })
case("RFC 9113 6.7", "PING with ACK is not answered", { send = { frame(h2.PING, 1, 0, "12345678"), request() },
  get = 200, check = function(client)
    for _, got in ipairs(client.frames) do assert.not_equal(h2.PING, got.kind) end
  end })
case("RFC 9113 6.7", "PING on a stream", { send = { frame(h2.PING, 0, 1, "12345678") }, goaway = PROTOCOL })
case("RFC 9113 6.7", "PING of 7 bytes", { send = { frame(h2.PING, 0, 0, "1234567") }, goaway = SIZE })
case("RFC 9113 6.7", "PING of 9 bytes", { send = { frame(h2.PING, 0, 0, "123456789") }, goaway = SIZE })

-- 6.8 GOAWAY ----------------------------------------------------------------------------------------------
case("RFC 9113 6.8", "GOAWAY on a stream", { send = { frame(h2.GOAWAY, 0, 1, h2.be(0, 8)) }, goaway = PROTOCOL })
case("RFC 9113 6.8", "GOAWAY of 7 bytes", { send = { frame(h2.GOAWAY, 0, 0, h2.be(0, 7)) }, goaway = SIZE })

-- 6.9 WINDOW_UPDATE and flow control ------------------------------------------------------------------------
case("RFC 9113 6.9", "WINDOW_UPDATE of 0 on the connection", { send = { h2.window(0, 0) }, goaway = PROTOCOL })
case("RFC 9113 6.9", "WINDOW_UPDATE of 0 on a stream", { send = { headers(1, post()), h2.window(1, 0) },
  reset = PROTOCOL, or_goaway = PROTOCOL })
case("RFC 9113 6.9", "WINDOW_UPDATE of 3 bytes", { send = { frame(h2.WINDOW_UPDATE, 0, 0, "abc") }, goaway = SIZE })
case("RFC 9113 6.9.1", "a connection window above 2^31 - 1", { send = { h2.window(0, 2 ^ 31 - 1), h2.window(0,
  2 ^ 31 - 1) },
  goaway = FLOW })
case("RFC 9113 6.9.1", "a stream window above 2^31 - 1", {
  send = { headers(1, post()), h2.window(1, 2 ^ 31 - 1), h2.window(1, 2 ^ 31 - 1) }, reset = FLOW })
case("RFC 9113 6.9.1", "answers stay within the stream's window", { settings = { { 4, 3 } }, send = {
  headers(1, get "/ten", ENDS), function(client)
    client:read_until(function(c) return c.streams[1] and #table.concat(c.streams[1].body) == 3 end)
    client:send(h2.window(1, 7))
  end }, get = 200, body = "0123456789" })
case("RFC 9113 6.9.2", "a window that becomes negative and positive again", { settings = { { 4, 5 } }, send = {
  headers(1, get "/ten", ENDS), function(client)
    client:read_until(function(c) return c.streams[1] and #table.concat(c.streams[1].body) == 5 end)
    client:send(h2.settings { { 4, 2 } }, h2.window(1, 8))
  end }, get = 200, body = "0123456789" })
case("RFC 9113 6.9.2", "a change of SETTINGS_INITIAL_WINDOW_SIZE makes the window too large", {
  send = { headers(1, post()), h2.window(1, 2 ^ 31 - 1 - 65535), h2.settings { { 4, 65536 } } }, goaway = FLOW,
  or_reset = FLOW })

-- 6.10 CONTINUATION -------------------------------------------------------------------------------------------
case("RFC 9113 6.10", "CONTINUATION on stream 0", {
  send = { headers(1, get "/echo", { open = true }), h2.continuation(0, {}, true) }, goaway = PROTOCOL })
case("RFC 9113 6.10", "CONTINUATION of another stream", {
  send = { headers(1, get "/echo", { open = true }), h2.continuation(3, {}, true) }, goaway = PROTOCOL })
case("RFC 9113 6.10", "DATA within a header block", {
  send = { headers(1, post(), { open = true }), data(1, "x") }, goaway = PROTOCOL })

-- 8.1 Messages --------------------------------------------------------------------------------------------------
case("RFC 9113 8.1", "content becomes content", { send = { headers(1, post()), data(1, "ab"), data(1, "cd", true) },
  get = 200, origin = { method = "POST", body = "abcd" } })
case("RFC 9113 8.1", "trailers", { send = { headers(1, post "/trailers"), data(1, "x"),
  headers(1, { { "x-sum", "7" } }, ENDS) }, get = 200, origin = { trailers = { ["x-sum"] = "7" } } })
case("RFC 9113 8.1", "trailers without END_STREAM", { send = { headers(1, post()), data(1, "x"),
  headers(1, { { "x-sum", "7" } }) }, reset = PROTOCOL, or_goaway = PROTOCOL })
case("RFC 9113 8.1", "trailers with a pseudo-header field", { send = { headers(1, post()), data(1, "x"),
  headers(1, { { ":path", "/" } }, ENDS) }, reset = PROTOCOL, or_goaway = PROTOCOL })
case("RFC 9113 8.1", "an answer to HEAD has no content", { send = { headers(1, h2.request("HEAD", "/ten"), ENDS) },
  get = 200, body = "" })
case("RFC 9113 8.1", "the trailers of an answer come with END_STREAM", { send = { headers(1, get "/with-trailers",
  ENDS) },
  get = 200, check = function(client)
    assert.equal("1", h2.field(client.streams[1].trailers, "x-after"))
  end })
case("RFC 9113 8.1", "an interim answer comes first", { send = { headers(1, get "/hints", ENDS) }, get = 200,
  check = function(client) assert.equal(103, client.streams[1].interim[1].status) end })
case("RFC 9113 8.1.1", "Content-Length that is right", { send = { headers(1, post("/echo", { { "content-length",
  "4" } })),
  data(1, "abcd", true) }, get = 200, origin = { body = "abcd", fields = { ["content-length"] = "4" } } })
case("RFC 9113 8.1.1", "more content than Content-Length says", { send = {
  headers(1, post("/echo", { { "content-length", "3" } })), data(1, "abcd", true) }, reset = PROTOCOL })
case("RFC 9113 8.1.1", "less content than Content-Length says", { send = {
  headers(1, post("/echo", { { "content-length", "5" } })), data(1, "abcd", true) }, reset = PROTOCOL })
case("RFC 9113 8.1.1", "Content-Length without content", { send = {
  headers(1, post("/echo", { { "content-length", "5" } }), ENDS) }, reset = PROTOCOL, n_origin = 0 })
case("RFC 9113 8.1.1", "two Content-Length fields", { send = {
  headers(1, post("/echo", { { "content-length", "4" }, { "content-length", "4" } })), data(1, "abcd", true) },
  refused = "reset" })
case("RFC 9113 8.1.1", "Content-Length that is no number", { send = {
  headers(1, post("/echo", { { "content-length", "4x" } })), data(1, "abcd", true) }, refused = "reset" })

-- 8.2 Fields ------------------------------------------------------------------------------------------------------
for _, bad in ipairs {
  { "an upper-case field name", "X-Upper", "v" }, { "an empty field name", "", "v" },
  { "a field name with a space", "x a", "v" }, { "a field name with a colon", "x:a", "v" },
  { "a field name with a control character", "x\1a", "v" }, { "a field name with a NUL", "x\0a", "v" },
  { "a field name above ASCII", "x\200a", "v" }, { "a field value with a line feed", "x-a", "a\nb" },
  { "a field value with a carriage return", "x-a", "a\rb" }, { "a field value with a NUL", "x-a", "a\0b" },
  { "a field value with a header of its own", "x-a", "a\r\nhost: evil" },
  { "a field value that begins with a space", "x-a", " a" }, { "a field value that ends with a space", "x-a", "a " },
  { "a field value that begins with a tab", "x-a", "\ta" },
} do
  case("RFC 9113 8.2.1", bad[1], { send = { request { { bad[2], bad[3] } } }, refused = "reset" })
end
for name, value in pairs { connection = "keep-alive", ["keep-alive"] = "timeout=5", ["proxy-connection"] = "keep-alive",
  ["transfer-encoding"] = "chunked", upgrade = "websocket" } do
  case("RFC 9113 8.2.2", "a connection-specific field: " .. name, { send = { request { { name, value } } },
    refused = "reset" })
end
case("RFC 9113 8.2.2", "TE: trailers", { send = { request { { "te", "trailers" } } }, get = 200 })
case("RFC 9113 8.2.2", "TE with another value", { send = { request { { "te", "trailers, deflate" } } },
  refused = "reset" })
case("RFC 9113 8.2.2", "Transfer-Encoding and content: no smuggling", { send = {
  headers(1, post("/echo", { { "transfer-encoding", "chunked" } })), data(1, "0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n",
    true) },
  refused = "reset" })
case("RFC 9113 8.2.3", "cookies in pieces are one field", { send = {
  request { { "cookie", "a=1" }, { "x", "y" }, { "cookie", "b=2" }, { "cookie", "c=3" } } }, get = 200,
  origin = { fields = { cookie = "a=1; b=2; c=3", x = "y" } } })
case("RFC 9113 8.2", "names and values pass unchanged", { send = {
  request { { "x-odd", "a\tb ~!\"#" }, { "x-empty", "" }, { "x-high", "\195\164" } } }, get = 200,
  origin = { fields = { ["x-odd"] = "a\tb ~!\"#", ["x-empty"] = "", ["x-high"] = "\195\164" } } })

-- 8.3 Pseudo-header fields -----------------------------------------------------------------------------------------
for _, name in ipairs { ":method", ":scheme", ":path" } do
  case("RFC 9113 8.3.1", "a request without " .. name, { send = { request(nil, { [name] = false }) },
    refused = "reset" })
  local twice = get "/echo"
  table.insert(twice, 2, { name, name == ":path" and "/other" or name == ":scheme" and "http" or "GET" })
  case("RFC 9113 8.3.1", name .. " twice", { send = { headers(1, twice, ENDS) }, refused = "reset" })
end
case("RFC 9113 8.3", "a pseudo-header field that does not exist", {
  send = { headers(1, { { ":method", "GET" }, { ":scheme", "http" }, { ":authority", "localhost" }, { ":path",
    "/echo" },
    { ":unknown", "x" } }, ENDS) }, refused = "reset" })
case("RFC 9113 8.3", ":status in a request", {
  send = { headers(1, { { ":method", "GET" }, { ":scheme", "http" }, { ":authority", "localhost" }, { ":path",
    "/echo" },
    { ":status", "200" } }, ENDS) }, refused = "reset" })
case("RFC 9113 8.3", "a pseudo-header field behind a field", {
  send = { headers(1, { { ":method", "GET" }, { ":scheme", "http" }, { "x", "y" }, { ":authority", "localhost" },
    { ":path", "/echo" } }, ENDS) }, refused = "reset" })
case("RFC 9113 8.3.1", "an empty :path", { send = { request(nil, { [":path"] = "" }) }, refused = { 400, "reset" } })
case("RFC 9113 8.3.1", ":path without a slash", { send = { request(nil, { [":path"] = "echo" }) },
  refused = { 400, "reset" } })
case("RFC 9113 8.3.1", ":path with a space", { send = { request(nil, { [":path"] = "/a b" }) },
  refused = { 400, "reset" } })
case("RFC 9113 8.3.1", ":path with a request of its own", {
  send = { request(nil, { [":path"] = "/echo HTTP/1.1\r\nHost: evil\r\n\r\nGET /evil" }) }, refused = { 400,
    "reset" } })
case("RFC 9113 8.3.1", ":path with a fragment", { send = { request(nil, { [":path"] = "/a#b" }) },
  refused = { 400, "reset" } })
case("RFC 9113 8.3.1", ":method with a space", { send = { request(nil, { [":method"] = "GET /evil" }) },
  refused = { 400, 501, "reset" } })
case("RFC 9113 8.3.1", "an extension method", { send = { request(nil, { [":method"] = "BREW" }) }, get = 200,
  origin = { method = "BREW" } })
case("RFC 9110 9.1", "a method in lower case", { send = { request(nil, { [":method"] = "get" }) }, refused = 501 })
case("RFC 9110 9.1", "a method that is too long", { send = { request(nil, { [":method"] = ("M"):rep(33) }) },
  refused = 501 })
case("RFC 9113 8.3.1", "an unknown scheme", { send = { request(nil, { [":scheme"] = "ftp" }) },
  refused = { 400, "reset" } })
case("RFC 9113 8.3.1", "https over a plain connection is routed alike", {
  send = { request(nil, { [":scheme"] = "https" }) }, get = 200 })
case("RFC 9113 8.3.1", "Host in the place of :authority", {
  send = { request({ { "host", "other.example" } }, { [":authority"] = false }) }, get = 200,
  origin = { fields = { host = "other.example" } } })
case("RFC 9113 8.3.1", ":authority becomes Host", { send = { request(nil, { [":authority"] = "a.example:81" }) },
  get = 200, origin = { fields = { host = "a.example:81" } } })
case("RFC 9113 8.3.1", "neither :authority nor Host", { send = { request(nil, { [":authority"] = false }) },
  refused = { 400, "reset" } })
case("RFC 9113 8.3.1", ":authority and Host that differ", { send = { request { { "host", "evil" } } },
  refused = { 400, "reset" } })
case("RFC 9113 8.3.1", ":authority and Host that are equal", { send = { request { { "host", "localhost" } } },
  get = 200 })
case("RFC 9113 8.3.1", "two Host fields", {
  send = { request({ { "host", "localhost" }, { "host", "localhost" } }, { [":authority"] = false }) },
  refused = { 400, "reset" } })
case("RFC 9113 8.3.1", ":authority with userinfo", { send = { request(nil, { [":authority"] = "me@localhost" }) },
  refused = { 400, "reset" } })
case("RFC 9113 8.3.1", ":authority with a slash", { send = { request(nil, { [":authority"] = "localhost/x" }) },
  refused = { 400, "reset" } })
case("RFC 9113 8.3.1", "OPTIONS *", { send = { headers(1, h2.request("OPTIONS", "*"), ENDS) }, get = 200,
  origin = { method = "OPTIONS", target = "*" } })
case("RFC 9113 8.3.2", "an answer has :status and no reason", { send = { request() }, get = 200,
  check = function(client)
    assert.equal(":status", client.streams[1].fields[1][1])
    for _, field in ipairs(client.streams[1].fields) do assert.equal(field[1], field[1]:lower()) end
  end })
case("RFC 9113 8.2.2", "an answer has no connection-specific fields", { send = { headers(1, get "/hop", ENDS) },
  get = 200, check = function(client)
    for _, name in ipairs { "connection", "keep-alive", "transfer-encoding", "x-hop" } do
      assert.is_nil(h2.field(client.streams[1].fields, name))
    end
  end })

-- 8.5 CONNECT ---------------------------------------------------------------------------------------------------------
case("RFC 9113 8.5", "CONNECT is not supported", {
  send = { headers(1, { { ":method", "CONNECT" }, { ":authority", "localhost:80" } }) }, refused = 501 })
case("RFC 9113 8.5", "CONNECT with :path", {
  send = { headers(1, { { ":method", "CONNECT" }, { ":authority", "localhost:80" }, { ":path", "/" } }) },
  refused = { 400, "reset" } })
case("RFC 8441 4", ":protocol without CONNECT", {
  send = { headers(1, { { ":method", "GET" }, { ":scheme", "http" }, { ":authority", "localhost" }, { ":path",
    "/echo" },
    { ":protocol", "websocket" } }, ENDS) }, refused = { 400, "reset" } })
case("RFC 8441 4", "extended CONNECT for an unknown protocol", {
  send = { headers(1, { { ":method", "CONNECT" }, { ":scheme", "http" }, { ":authority", "localhost" },
    { ":path", "/echo" }, { ":protocol", "gopher" } }) }, refused = 501 })

-- 10.5 Floods ------------------------------------------------------------------------------------------------------
local CALM = CODES.ENHANCE_YOUR_CALM
case("RFC 9113 10.5", "a flood of PING", { send = { h2.ping():rep(3000) }, goaway = CALM })
case("RFC 9113 10.5", "a flood of SETTINGS", { send = { h2.settings():rep(3000) }, goaway = CALM })
case("RFC 9113 10.5", "a flood of PRIORITY", { send = { frame(h2.PRIORITY, 0, 3, h2.be(0, 4) .. "\1"):rep(3000) },
  goaway = CALM })
case("RFC 9113 10.5", "a flood of empty DATA", { send = { headers(1, post()), data(1, ""):rep(3000) }, goaway = CALM })
case("RFC 9113 10.5", "a flood of unknown frames", { send = { frame(0x30, 0, 0, ""):rep(3000) }, goaway = CALM })
case("RFC 9113 10.5", "rapid reset", { send = { function(client)
  local out = {}
  for i = 0, 2000 do out[#out + 1] = headers(1 + 2 * i, get "/echo", ENDS) .. h2.rst(1 + 2 * i, CODES.CANCEL) end
  client:send(table.concat(out))
end }, goaway = CALM })

--- Requests that are at fault behind their heads, so that their streams have to be reset: as many as may be open.
local function provoke(fault)
  return { function(client)
    for batch = 0, 9 do
      local out, last = {}, 1 + 2 * (batch * 100 + 99)
      for id = last - 198, last, 2 do out[#out + 1] = fault(id) end
      client:send(table.concat(out))
      if not client:read_until(function(c) return c.streams[last] and c.streams[last].reset end) then return end
    end
  end }
end
case("RFC 9113 10.5", "resets that the client provokes with windows (CVE-2025-8671)", { send = provoke(function(id)
  return headers(id, get "/echo", ENDS) .. h2.window(id, 0x7fffffff)
end), goaway = CALM })
case("RFC 9113 10.5", "resets that the client provokes with content (CVE-2025-8671)", { send = provoke(function(id)
  return headers(id, post("/echo", { { "content-length", "1" } })) .. data(id, "ab")
end), goaway = CALM })
case("RFC 9113 10.5.1", "a flood of CONTINUATION", { send = { headers(1, get "/echo", { open = true }) ..
  h2.continuation(1, {}):rep(100) }, goaway = CALM })
case("RFC 9113 10.5.1", "a header list above the limit", { send = { headers(1, get "/echo", { open = true }) ..
  h2.continuation(1, { { "x-long", ("x"):rep(16000) } }) .. h2.continuation(1, { { "x-long", ("x"):rep(16000) } }) ..
  h2.continuation(1, { { "x-long", ("x"):rep(16000) } }, true) }, refused = 431 })
case("RFC 9113 10.5.1", "a bomb of indexed fields", { send = { function(client)
  -- one entry of the dynamic table, named 4,000 times
  client:send(headers(1, h2.block(get "/echo") .. "\64" .. h2.integer(6, 7, 0) .. "x-bomb" .. h2.integer(4000, 7, 0)
    .. ("x"):rep(4000) .. ("\190"):rep(4000), ENDS))
end }, refused = 431, or_goaway = { CALM, COMPRESSION, PROTOCOL, CODES.INTERNAL_ERROR } })
case("RFC 9113 10.5", "too many fields", { send = { function(client)
  local more = {}
  for i = 1, 120 do more[i] = { "x-" .. i, "v" } end
  client:send(headers(1, get("/echo", more), ENDS))
end }, refused = 431 })
case("RFC 9110 15.5.15", "a :path that is too long", { send = { request(nil, { [":path"] = "/" .. ("x"):rep(9000) }) },
  refused = 414 })

-- HPACK ------------------------------------------------------------------------------------------------------------
local function hpack(section, name, bytes, of)
  of.send = { headers(1, bytes, ENDS) }
  case(section, name, of)
end
local STATIC = "\130\134\65\9localhost" -- :method GET, :scheme http, :authority
hpack("RFC 7541 6.1", "indexed fields of the static table", STATIC .. "\132", { get = 200, origin = { target = "/" } })
hpack("RFC 7541 6.1", "index 0", h2.block(get "/echo") .. "\128", { goaway = COMPRESSION })
hpack("RFC 7541 2.3.3", "an index beyond both tables", h2.block(get "/echo") .. "\190", { goaway = COMPRESSION })
hpack("RFC 7541 6.2.1", "a literal with indexing", STATIC .. "\68\5/echo" .. "\64\3x-a\1b", { get = 200,
  origin = { fields = { ["x-a"] = "b" } } })
hpack("RFC 7541 6.2.3", "a literal that is never indexed", STATIC .. "\68\5/echo" .. "\16\3x-a\1b", { get = 200,
  origin = { fields = { ["x-a"] = "b" } } })
hpack("RFC 7541 4.2", "a table size update in front", "\32" .. h2.block(get "/echo"), { get = 200 })
hpack("RFC 7541 4.2", "a table size update behind a field", h2.block(get "/echo") .. "\32", { goaway = COMPRESSION })
hpack("RFC 7541 6.3", "a table size above the limit", "\63\225\127" .. h2.block(get "/echo"), { goaway = COMPRESSION })
hpack("RFC 7541 5.1", "an integer that does not end", h2.block(get "/echo") .. "\0\127" .. ("\255"):rep(20),
  { goaway = COMPRESSION })
hpack("RFC 7541 5.2", "a string longer than the block", h2.block(get "/echo") .. "\0\10x", { goaway = COMPRESSION })
hpack("RFC 7541 5.2", "Huffman code with a padding of more than 7 bits", h2.block(get "/echo") .. "\0\3x-a\130\31\255",
  { goaway = COMPRESSION })
hpack("RFC 7541 5.2", "Huffman code with a padding of zeroes", h2.block(get "/echo") .. "\0\3x-a\129\24",
  { goaway = COMPRESSION })
hpack("RFC 7541 5.2", "Huffman code with EOS", h2.block(get "/echo") .. "\0\3x-a\132\255\255\255\255",
  { goaway = COMPRESSION })
hpack("RFC 7541 5.2", "Huffman code",
  STATIC .. "\68\5/echo" .. "\0\3x-a\140\241\227\194\229\242\58\107\160\171\144\244\255",
  { get = 200, origin = { fields = { ["x-a"] = "www.example.com" } } })
case("RFC 7541 2.2", "the dynamic table lives from block to block", { send = {
  headers(1, STATIC .. "\68\5/echo" .. "\64\3x-a\1b", ENDS), headers(3, "\130\134\192\191\190", ENDS) },
  get = { [1] = 200, [3] = 200 } })

return cases
