--- What an intermediary removes, adds and relays: RFC 9110 sections 7.6 (Connection, Max-Forwards, Via), 7.8 (Upgrade),
--- 10.1 (Expect, TE), 15.2 (interim responses), 6.5 (trailers).
local c = require "conformance.case"
local head, get, post, answer = c.head, c.get, c.post, c.answer

local CHUNKED = "Transfer-Encoding: chunked"
local INTERIM = head "HTTP/1.1 100 Continue"
local EARLY = head("HTTP/1.1 103 Early Hints", "Link: </a>; rel=preload")
local HANDSHAKE = head("GET /ws HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
local SWITCH = head("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

local with, without = c.with, c.without

-- A GET with these field lines, and the fields that the origin must (not) see.
local function forwarded(section, name, lines, fields)
  return { section = section, name = name, send = get(unpack(lines)),
    expect = { status = 200, origin_sees = { fields = fields }, connection = "keep" } }
end

local cases = {
  -- Hop-by-hop fields of requests (RFC 9110 7.6.1)
  forwarded("RFC 9110 7.6.1", "a field named in Connection is removed", { "Connection: X-Hop", "X-Hop: 1", "X-End: 2" },
    { ["x-hop"] = false, ["x-end"] = "2", connection = without "x-hop" }),
  forwarded("RFC 9110 7.6.1", "fields named in several Connection lines, in any case and spacing, are removed",
    { "Connection: x-a ,\tX-B", "X-B: 1", "connection: keep-alive,X-C", "x-A: 1", "X-C: 1", "X-D: 1" },
    { ["x-a"] = false, ["x-b"] = false, ["x-c"] = false, ["x-d"] = "1" }),
  forwarded("RFC 9110 7.6.1", "every line of a field named in Connection is removed",
    { "X-Hop: 1", "Connection: x-hop", "X-Hop: 2", "x-hop: 3" }, { ["x-hop"] = false }),
  forwarded("RFC 9110 7.6.1", "a name that only resembles one in Connection stays",
    { "Connection: X-Hop", "X-Hop-Count: 1", "X-Ho: 2" }, { ["x-hop-count"] = "1", ["x-ho"] = "2" }),
  forwarded("RFC 9110 7.6.1", "empty elements in Connection are nothing", { "Connection: ,, ,", "X-A: 1" },
    { ["x-a"] = "1" }),
  forwarded("RFC 9110 7.6.1", "Keep-Alive is removed", { "Keep-Alive: timeout=5, max=100", "Connection: keep-alive" },
    { ["keep-alive"] = false }),
  forwarded("RFC 9110 7.6.1", "Keep-Alive is removed although Connection does not name it", { "Keep-Alive: timeout=5" },
    { ["keep-alive"] = false }),
  forwarded("RFC 9110 7.6.1", "Proxy-Connection is removed", { "Proxy-Connection: keep-alive" },
    { ["proxy-connection"] = false }),
  forwarded("RFC 9110 7.6.1", "Proxy-Connection: close means nothing", { "Proxy-Connection: close" },
    { ["proxy-connection"] = false }),
  forwarded("RFC 9110 10.1.4", "TE is removed", { "TE: gzip;q=0.5", "Connection: TE" }, { te = false }),
  forwarded("RFC 9110 10.1.4", "TE is removed although Connection does not name it", { "TE: deflate" }, { te = false }),
  forwarded("RFC 9110 10.1.4", "TE: trailers is kept, as a field of the next hop", { "TE: trailers", "Connection: TE" },
    { te = "trailers", connection = with "te" }),
  forwarded("RFC 9110 10.1.4", "of several transfer codings in TE only trailers is kept",
    { "TE: gzip, trailers;q=1", "Connection: te" }, { te = function(values)
      return #values == 0 or (#values == 1 and values[1]:match "^trailers" ~= nil)
    end }),
  forwarded("RFC 9110 10.1.4", "a coding whose name contains trailers is no trailers",
    { "TE: xtrailers", "Connection: TE" },
    { te = false }),
  forwarded("RFC 9110 7.8", "Upgrade that Connection does not name is removed", { "Upgrade: websocket" },
    { upgrade = false, connection = without "upgrade" }),
  forwarded("RFC 9110 7.8", "the upgrade option without Upgrade is nothing", { "Connection: upgrade" },
    { upgrade = false, connection = without "upgrade" }),
  forwarded("RFC 9113 3.1", "an upgrade to h2c is not forwarded: it would tunnel requests past every rule",
    { "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__" },
    { upgrade = false, ["http2-settings"] = false, connection = without "upgrade" }),
  forwarded("RFC 9110 7.6.1", "Connection cannot remove Host", { "Connection: Host" }, { host = "a" }),
  forwarded("RFC 9110 7.6.1", "Connection cannot remove what the proxy adds",
    { "Connection: X-Forwarded-For, X-Forwarded-Proto, X-Request-Id, Via" },
    { ["x-forwarded-for"] = "127.0.0.1", ["x-forwarded-proto"] = "http", via = "1.1 veloflux" }),
  {
    section = "RFC 9110 7.6.1", name = "Connection cannot remove Content-Length from a body",
    send = post("Connection: Content-Length", "Content-Length: " .. #get()) .. get(),
    expect = { status = { 200, 400 }, origin_sees = { requests = { 0, 1 }, body = get() } },
  },
  {
    section = "RFC 9110 7.6.1", name = "Connection cannot remove Transfer-Encoding from a body",
    send = post("Connection: Transfer-Encoding", CHUNKED) .. "5\r\nhello\r\n0\r\n\r\n",
    expect = { status = { 200, 400 }, origin_sees = { requests = { 0, 1 }, body = "hello" } },
  },
  {
    section = "RFC 9112 9.6", name = "Connection options that are no tokens are refused or removed",
    send = get 'Connection: "close", {x}, a b',
    expect = { status = { 200, 400 }, origin_sees = { requests = { 0, 1 }, fields = { connection = without "{x}" } } },
  },

  -- Hop-by-hop fields of responses
  {
    section = "RFC 9110 7.6.1", name = "hop-by-hop fields of an answer are removed, end-to-end ones stay", send = get(),
    origin = answer("Connection: X-Hop, keep-alive", "X-Hop: 1", "Keep-Alive: timeout=5",
      "Proxy-Connection: keep-alive",
      "X-End: 2", "Content-Length: 2") .. "ok",
    expect = { status = 200, client_sees = { fields = { ["x-hop"] = false, ["keep-alive"] = false, ["x-end"] = "2",
      ["proxy-connection"] = false, connection = without "x-hop" } }, connection = "keep" },
  },
  {
    section = "RFC 9110 7.8", name = "Upgrade offered by an answer that Connection does not name is removed",
    send = get(),
    origin = answer("Upgrade: h2c", "Content-Length: 2") .. "ok",
    expect = { status = 200, client_sees = { fields = { upgrade = false } }, connection = "keep" },
  },
  {
    section = "RFC 9110 7.6.1", name = "an answer whose Connection names Content-Length is framed all the same",
    send = get(),
    origin = answer("Connection: Content-Length", "Content-Length: 2") .. "ok",
    expect = { status = { 200, 502 }, client_sees = { check = function(response)
      return response.status == 502 or response.body == "ok"
    end }, connection = "keep" },
  },
  {
    section = "RFC 9112 6.1", name = "Transfer-Encoding reaches the client once, not twice", send = get(),
    origin = answer(CHUNKED) .. "2\r\nok\r\n0\r\n\r\n",
    expect = { status = 200, client_sees = { body = "ok", fields = { ["transfer-encoding"] = "chunked",
      ["content-length"] = false } }, connection = "keep" },
  },

  -- Via (RFC 9110 7.6.3)
  forwarded("RFC 9110 7.6.3", "Via is added", {}, { via = "1.1 veloflux" }),
  forwarded("RFC 9110 7.6.3", "Via is appended to what is there", { "Via: 1.0 fred, 1.1 p.example (a comment)" },
    { via = c.joined "1.0 fred, 1.1 p.example (a comment), 1.1 veloflux" }),
  forwarded("RFC 9110 7.6.3", "Via is appended to several lines", { "Via: 1.0 fred", "X: y", "Via: 2 gate" },
    { via = c.joined "1.0 fred, 2 gate, 1.1 veloflux" }),
  forwarded("RFC 9110 7.6.3", "what came through 15 proxies like this one goes on",
    { "Via: " .. ("1.1 veloflux, "):rep(15) .. "2 other" },
    { via = c.joined(("1.1 veloflux, "):rep(15) .. "2 other, 1.1 veloflux") }),
  {
    section = "RFC 9110 7.6.3", name = "what came through 16 of them is a loop",
    send = head("GET / HTTP/1.1", "Host: a", "Via: " .. ("1.1 veloflux, "):rep(8), "Via: " .. ("2 veloflux, "):rep(8)),
    expect = { status = 508, problem = true, origin_sees = c.NOTHING, connection = "keep" },
  },
  {
    section = "RFC 9110 7.6.3", name = "Via tells the version that was received",
    send = head("GET / HTTP/1.0", "Host: a"),
    expect = { status = 200, origin_sees = { fields = { via = "1.0 veloflux" } }, connection = "close" },
  },
  {
    section = "RFC 9110 7.6.3", name = "Via of an answer passes", send = get(),
    origin = answer("Via: 1.1 behind", "Content-Length: 2") .. "ok",
    expect = { status = 200, client_sees = { fields = { via = function(values)
      return (table.concat(values, ", ")):find "^1%.1 behind"
    end } } },
  },

  -- Expect and interim responses (RFC 9110 10.1.1, 15.2)
  {
    section = "RFC 9110 10.1.1", name = "100 of the origin reaches the client, which then sends its body",
    send = { post("Content-Length: 5", "Expect: 100-continue"), c.interim(100), "hello" },
    origin = { INTERIM, c.read_body, c.OK },
    expect = { status = 200, connection = "keep", client_sees = { interim = { 100 } },
      origin_sees = { body = "hello", fields = { expect = "100-continue" } } },
  },
  {
    section = "RFC 9110 10.1.1", name = "100 for a chunked body",
    send = { post(CHUNKED, "Expect: 100-Continue"), c.interim(100), "5\r\nhello\r\n0\r\n\r\n" },
    origin = { INTERIM, c.read_body, c.OK },
    expect = { status = 200, connection = "keep", origin_sees = { body = "hello" } },
  },
  {
    section = "RFC 9110 10.1.1", name = "a client that does not wait for 100 is served",
    send = post("Content-Length: 5", "Expect: 100-continue") .. "hello", origin = { INTERIM, c.read_body, c.OK },
    expect = { status = 200, connection = "keep", origin_sees = { body = "hello" } },
  },
  {
    section = "RFC 9110 10.1.1", name = "an origin that never says 100 gets the body all the same",
    send = post("Content-Length: 5", "Expect: 100-continue") .. "hello",
    expect = { status = 200, client_sees = { interim = {} }, origin_sees = { body = "hello" }, connection = "keep" },
  },
  {
    section = "RFC 9110 10.1.1", name = "a final answer in place of 100 reaches a client that still holds its body",
    send = { post("Content-Length: 5", "Expect: 100-continue"), c.response },
    origin = { head("HTTP/1.1 417 Expectation Failed", "Content-Length: 2", "Connection: close") .. "no", c.half_close,
      c.read_body },
    expect = { status = 417, client_sees = { body = "no" }, origin_sees = { whole = "any" } },
  },
  {
    section = "RFC 9110 10.1.1", name = "after a final answer in place of 100 the body is never taken for a request",
    send = { post("Content-Length: " .. #get(), "Expect: 100-continue"), c.response, get() },
    origin = { head("HTTP/1.1 403 Forbidden", "Content-Length: 2", "Connection: close") .. "no", c.half_close,
      c.read_body },
    expect = { status = 403, client_sees = { body = "no" }, origin_sees = { requests = 1, whole = "any" } },
  },
  {
    section = "RFC 9110 10.1.1", name = "Expect in an HTTP/1.0 request is ignored: no interim answer",
    send = head("POST / HTTP/1.0", "Host: a", "Content-Length: 5", "Expect: 100-continue") .. "hello",
    origin = { INTERIM, c.read_body, c.OK },
    expect = { status = 200, client_sees = { interim = {} }, origin_sees = { body = "hello" }, connection = "close" },
  },
  {
    section = "RFC 9110 10.1.1", name = "an unknown expectation is forwarded or refused with 417",
    send = get "Expect: tea", expect = { status = { 200, 417 }, origin_sees = { requests = { 0, 1 } } },
  },
  {
    section = "RFC 9110 10.1.1", name = "Expect without content does not stall", send = get "Expect: 100-continue",
    expect = { status = { 200, 417 }, origin_sees = { requests = { 0, 1 } }, connection = "keep" },
  },
  {
    section = "RFC 9110 15.2", name = "103 is relayed with its fields before the final answer", send = get(),
    origin = { EARLY, c.OK },
    expect = { status = 200, connection = "keep",
      client_sees = { interim = { 103 }, interim_fields = { link = "</a>; rel=preload" }, fields = { link = false } } },
  },
  {
    section = "RFC 9110 15.2", name = "several interim answers are relayed in order", send = get(),
    origin = { head "HTTP/1.1 102 Processing" .. EARLY, EARLY .. c.OK },
    expect = { status = 200, client_sees = { interim = { 102, 103, 103 } }, connection = "keep" },
  },
  {
    section = "RFC 9110 15.2", name = "an interim answer that nobody registered is relayed", send = get(),
    origin = { head "HTTP/1.1 199 Strange", c.OK },
    expect = { status = 200, client_sees = { interim = { 199 } }, connection = "keep" },
  },
  {
    section = "RFC 9110 15.2", name = "an interim answer before HEAD's answer",
    send = head("HEAD / HTTP/1.1", "Host: a"),
    origin = { EARLY, answer "Content-Length: 7" },
    expect = { status = 200, client_sees = { interim = { 103 }, body = "" }, connection = "keep" },
  },
  {
    section = "RFC 9110 15.2", name = "interim answers are never sent to HTTP/1.0",
    send = head("GET / HTTP/1.0", "Host: a"),
    origin = { INTERIM .. EARLY, c.OK },
    expect = { status = 200, client_sees = { interim = {}, body = "ok" }, connection = "close" },
  },
  {
    section = "RFC 9110 15.2", name = "hop-by-hop fields of an interim answer are removed", send = get(),
    origin = { head("HTTP/1.1 103 Early Hints", "Link: x", "Connection: X-Hop", "X-Hop: 1"), c.OK },
    expect = { status = 200, client_sees = { interim = { 103 }, interim_fields = { link = "x", ["x-hop"] = false } } },
  },
  {
    section = "RFC 9110 8.6", name = "an interim answer with Content-Length has no body all the same", send = get(),
    origin = { head("HTTP/1.1 103 Early Hints", "Content-Length: 5"), c.OK },
    expect = { status = { 200, 502 }, connection = "keep" },
  },
  {
    section = "RFC 9110 15.2", name = "interim answers without end are not endured for ever", send = get(),
    origin = { head "HTTP/1.1 100 Continue":rep(5000), c.OK },
    expect = { status = { 200, 502 } },
  },

  -- Upgrade (RFC 9110 7.8, RFC 6455)
  {
    section = "RFC 9110 7.8", name = "a WebSocket handshake opens a tunnel for both directions",
    send = { HANDSHAKE, c.response, "ping", c.client_reads "pong", "more", c.client_reads "end" },
    origin = { SWITCH, c.origin_reads "ping", "pong", c.origin_reads "more", "end", c.close },
    expect = { status = 101, origin_sees = { line = "GET /ws HTTP/1.1",
      fields = { upgrade = "websocket", connection = with "upgrade",
        ["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ==" } },
      client_sees = { fields = { upgrade = "websocket", connection = with "upgrade",
        ["sec-websocket-accept"] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" } } },
  },
  {
    section = "RFC 9110 7.8", name = "bytes sent together with the handshake go through the tunnel",
    send = { HANDSHAKE .. "early", c.response, c.client_reads "first" },
    origin = { SWITCH .. "first", c.origin_reads "early", c.close },
    expect = { status = 101, origin_sees = {} },
  },
  {
    section = "RFC 9110 7.8", name = "the end of a tunnel reaches the origin",
    send = { HANDSHAKE, c.response, "bye", c.client_half_close, c.client_reads "seen" },
    origin = { SWITCH, c.origin_reads "bye", function(conn)
      conn.changed:wait("the client's end of the tunnel", function() return conn.ended end)
    end, "seen", c.close },
    expect = { status = 101, origin_sees = {} },
  },
  {
    section = "RFC 9110 7.8", name = "the end of a tunnel reaches the client",
    send = { HANDSHAKE, c.response, c.client_reads "bye" }, origin = { SWITCH, "bye", c.close },
    expect = { status = 101, origin_sees = {}, connection = "end" },
  },
  {
    section = "RFC 9110 7.8", name = "HTTP inside a tunnel is not looked at",
    send = { HANDSHAKE, c.response, get(), c.client_reads "HTTP/9 bytes" },
    origin = { SWITCH, c.origin_reads(get()), "HTTP/9 bytes", c.close },
    expect = { status = 101, origin_sees = {} },
  },
  {
    section = "RFC 9110 7.8", name = "an upgrade that the origin does not take is an ordinary exchange",
    send = HANDSHAKE, expect = { status = 200, client_sees = { body = "ok" }, origin_sees = {}, connection = "keep" },
  },
  {
    section = "RFC 9110 7.8", name = "what follows an upgrade that was not taken is read as HTTP, strictly",
    send = HANDSHAKE .. "GET /evil\r\n\r\n", origin = head("HTTP/1.1 426 Upgrade Required", "Content-Length: 0"),
    expect = { responses = { { status = 426 }, { status = 400 } }, origin_sees = { {} }, connection = "close" },
  },
  {
    section = "RFC 9110 7.8", name = "101 that nobody asked for becomes 502", send = get(), origin = { SWITCH, c.hold },
    expect = c.BAD_GATEWAY,
  },
  {
    section = "RFC 9110 7.8", name = "101 to a protocol that the client did not offer becomes 502", send = HANDSHAKE,
    origin = { head("HTTP/1.1 101 Switching Protocols", "Upgrade: tea", "Connection: Upgrade"), c.hold },
    expect = { status = 502, problem = true },
  },
  {
    section = "RFC 9110 7.8", name = "Upgrade in an HTTP/1.0 request is ignored",
    send = head("GET /ws HTTP/1.0", "Host: a", "Upgrade: websocket", "Connection: Upgrade"),
    expect = { status = 200, origin_sees = { fields = { upgrade = false, connection = without "upgrade" } },
      connection = "close" },
  },
  {
    section = "RFC 9110 7.8", name = "an upgrade with close that is not taken ends the connection",
    send = head("GET /ws HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade, close"),
    expect = { status = 200, origin_sees = {}, connection = "close" },
  },
  {
    section = "RFC 9110 7.8", name = "an upgrade with content that is not taken is an ordinary exchange",
    send = head("POST /ws HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade", "Content-Length: 5")
      .. "hello",
    expect = { status = 200, origin_sees = { body = "hello" }, connection = "keep" },
  },

  -- Trailers (RFC 9110 6.5)
  {
    section = "RFC 9110 6.5.1",
    name = "a trailer of an answer that would change framing is dropped, or the answer is cut",
    send = get(), origin = answer(CHUNKED) .. "2\r\nok\r\n0\r\nContent-Length: 7\r\nX-Sum: 1\r\n\r\n",
    expect = { status = 200, client_sees = { truncated = "maybe", trailers = { ["content-length"] = false },
      fields = { ["content-length"] = false } } },
  },
  {
    section = "RFC 9110 6.6.2", name = "the Trailer field passes with its trailers",
    send = get("TE: trailers", "Connection: TE"),
    origin = answer(CHUNKED, "Trailer: X-Sum") .. "2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
    expect = { status = 200, client_sees = { fields = { trailer = "X-Sum" }, trailers = { ["x-sum"] = "1" } },
      connection = "keep" },
  },
}

return cases
