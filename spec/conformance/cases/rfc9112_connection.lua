--- Persistence, pipelining, reuse, retries and closing: RFC 9112 section 9, RFC 9110 sections 7.6.1 and 9.2.2.
local c = require "conformance.case"
local head, get, post, answer = c.head, c.get, c.post, c.answer

local function http10(...) return head("GET / HTTP/1.0", "Host: a", ...) end

-- One request with these Connection lines, and whether the client's connection goes on.
local function persistence(name, send, connection, fields)
  return {
    section = "RFC 9112 9.3", name = name, send = send,
    expect = { status = 200, connection = connection, client_sees = { body = "ok", fields = fields } },
  }
end

-- Two GETs one after the other; the first is answered by `first` at the origin.
local function reuse(name, first, second_connection)
  return {
    section = "RFC 9112 9.3", name = name, send = { get(), c.response, get() }, origins = { first, c.OK },
    expect = { responses = { { status = 200 }, { status = 200, body = "ok" } },
      origin_sees = { { connection = 1 }, { connection = second_connection } }, connection = "keep" },
  }
end

local cases = {
  persistence("HTTP/1.1 goes on", get(), "keep"),
  persistence("HTTP/1.1 with Connection: keep-alive goes on", get "Connection: keep-alive", "keep"),
  persistence("HTTP/1.1 with Connection: close ends", get "Connection: close", "close",
    { connection = c.with "close" }),
  persistence("the close option in another case", get "connection: CLOSE", "close"),
  persistence("close in a list", get "Connection: x-a, close", "close"),
  persistence("close in a second line", get("Connection: x-a", "Connection: close"), "close"),
  persistence("close beside keep-alive", get "Connection: keep-alive, close", "close"),
  persistence("close after empty list elements", get "Connection: , ,close", "close"),
  persistence("an option that only contains close", get "Connection: closed, disclose", "keep"),
  persistence("HTTP/1.0 ends", http10(), "close"),
  persistence("HTTP/1.0 with Connection: close ends", http10 "Connection: close", "close"),
  persistence("HTTP/1.0 with Connection: keep-alive goes on", http10 "Connection: keep-alive", "keep",
    { connection = c.with "keep-alive" }),
  persistence("HTTP/1.0 with Keep-Alive in another case goes on", http10 "Connection: Keep-Alive", "keep",
    { connection = c.with "keep-alive" }),
  persistence("HTTP/1.0 with keep-alive and close ends", http10 "Connection: keep-alive, close", "close"),
  {
    section = "RFC 9112 9.3", name = "HTTP/1.0 without Host but with keep-alive goes on",
    send = { head("GET / HTTP/1.0", "Connection: keep-alive"), c.response, head("GET / HTTP/1.0") },
    expect = { responses = { { status = 200 }, { status = 200 } }, connection = "close" },
  },
  {
    section = "RFC 9112 9.3", name = "a connection goes on after 404 of the origin",
    send = get(), origin = head("HTTP/1.1 404 Not Found", "Content-Length: 2") .. "no",
    expect = { status = 404, connection = "keep" },
  },
  {
    section = "RFC 9112 9.3", name = "a connection goes on after an answer of the proxy itself",
    send = head("POST /only-get HTTP/1.1", "Host: a", "Content-Length: 5") .. "hello",
    expect = { status = 405, problem = true, origin_sees = c.NOTHING, connection = "keep" },
  },
  {
    section = "RFC 9112 9.3", name = "a connection goes on after a chunked body that the proxy answered itself",
    send = head("POST /only-get HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") .. "5\r\nhello\r\n0\r\n\r\n",
    expect = { status = 405, problem = true, origin_sees = c.NOTHING, connection = "keep" },
  },

  -- Pipelining (RFC 9112 9.3.2)
  {
    section = "RFC 9112 9.3.2", name = "pipelined requests are answered in order",
    send = head("GET /1 HTTP/1.1", "Host: a") .. head("GET /2 HTTP/1.1", "Host: a")
      .. head("GET /3 HTTP/1.1", "Host: a"),
    origins = { answer "Content-Length: 3" .. "one", answer "Content-Length: 3" .. "two",
      answer "Content-Length: 5" .. "three" },
    expect = { responses = { { body = "one" }, { body = "two" }, { body = "three" } }, connection = "keep",
      origin_sees = { { line = "GET /1 HTTP/1.1" }, { line = "GET /2 HTTP/1.1" }, { line = "GET /3 HTTP/1.1" } } },
  },
  {
    section = "RFC 9112 9.3.2", name = "100 pipelined requests are all answered",
    send = get():rep(100), expect = { responses = (function()
      local list = {}
      for i = 1, 100 do list[i] = { status = 200, body = "ok" } end
      return list
    end)(), connection = "keep" },
  },
  {
    section = "RFC 9112 9.3.2", name = "pipelined requests with bodies of both kinds",
    send = post "Content-Length: 3" .. "one" .. post "Transfer-Encoding: chunked" .. "3\r\ntwo\r\n0\r\n\r\n" .. get(),
    expect = { responses = { { status = 200 }, { status = 200 }, { status = 200 } }, connection = "keep",
      origin_sees = { { body = "one" }, { body = "two" }, { body = "" } } },
  },
  {
    section = "RFC 9112 9.3.2", name = "pipelined HEAD and GET keep their own bodies",
    send = head("HEAD / HTTP/1.1", "Host: a") .. get(),
    expect = { responses = { { method = "HEAD", body = "" }, { method = "GET", body = "ok" } }, connection = "keep" },
  },
  {
    section = "RFC 9112 9.3.2", name = "a pipelined request split anywhere between two writes",
    send = { get() .. "GET /two HT", "TP/1.1\r\nHost: a\r", "\n\r\n" },
    expect = { responses = { { status = 200 }, { status = 200 } }, connection = "keep",
      origin_sees = { {}, { line = "GET /two HTTP/1.1" } } },
  },
  {
    section = "RFC 9112 9.3.2", name = "a malformed request behind a good one is refused in its turn",
    send = get() .. "GET / HTTP/1.1\r\nHost : a\r\n\r\n" .. get(),
    expect = { responses = { { status = 200, body = "ok" }, { status = 400 } }, problem = true, connection = "close",
      origin_sees = { {} } },
  },
  {
    section = "RFC 9112 9.6", name = "nothing after a request with Connection: close is processed",
    send = get "Connection: close" .. head("GET /evil HTTP/1.1", "Host: a"),
    expect = { status = 200, origin_sees = { line = "GET / HTTP/1.1" }, connection = "close" },
  },
  {
    section = "RFC 9112 9.6", name = "nothing after an HTTP/1.0 request without keep-alive is processed",
    send = http10() .. head("GET /evil HTTP/1.1", "Host: a"),
    expect = { status = 200, origin_sees = { line = "GET / HTTP/1.1" }, connection = "close" },
  },
  {
    section = "RFC 9112 9.6", name = "nothing after a refused request is processed",
    send = "GET / HTTP/1.1\r\n\r\n" .. get(), expect = c.refused(400),
  },
  {
    section = "RFC 9112 9.6", name = "a client that half-closes after its request gets the answer",
    send = { get(), c.client_half_close },
    expect = { status = 200, client_sees = { body = "ok" }, connection = "close" },
  },
  {
    section = "RFC 9112 9.6", name = "a client that half-closes after pipelined requests gets all answers",
    send = { get() .. get(), c.client_half_close },
    expect = { responses = { { status = 200 }, { status = 200 } }, connection = "close" },
  },
  {
    section = "RFC 9112 9.6", name = "a client that half-closes while the origin still works gets the answer",
    send = { get(), c.origin_has(1), c.client_half_close },
    origin = { answer "Content-Length: 5", "hello" },
    expect = { status = 200, client_sees = { body = "hello" }, connection = "close" },
  },
  {
    section = "RFC 9112 9.6", name = "a refusal reaches a client that goes on sending",
    send = { "POST / HTTP/1.1\r\nHost : a\r\nContent-Length: 400000\r\n\r\n", ("x"):rep(400000) },
    expect = c.refused(400),
  },
  {
    section = "RFC 9112 9.6", name = "a client that closes without a request is left in peace",
    send = { c.client_half_close }, expect = { no_response = true, connection = "close" },
  },
  {
    section = "RFC 9110 15.5.9", name = "a head that does not complete in time is answered with 408",
    listener = "hasty", send = "GET / HTTP/1.1\r\nHost: a\r\n", expect = c.refused(408),
  },
  {
    section = "RFC 9110 15.5.9", name = "a body that does not complete in time is answered with 408",
    listener = "hasty", send = post "Content-Length: 10" .. "hello", expect = c.refused_in_body(408),
  },

  -- Reuse of origin connections (RFC 9112 9.3, 9.4)
  reuse("an origin connection is reused after an answer of known length", answer "Content-Length: 0", 1),
  reuse("an origin connection is reused after a chunked answer",
    answer "Transfer-Encoding: chunked" .. "2\r\nok\r\n0\r\n\r\n", 1),
  reuse("an origin connection is not reused after Connection: close", answer("Content-Length: 0", "Connection: close"),
    2),
  reuse("close in a list of options ends an origin connection", answer("Content-Length: 0", "Connection: x-a, Close"),
    2),
  reuse("an origin connection of HTTP/1.0 is not reused", head("HTTP/1.0 200 OK", "Content-Length: 0"), 2),
  reuse("an origin connection is not reused after an answer that ends with it", { answer() .. "ok", c.close }, 2),
  reuse("bytes after an answer end the origin connection", answer "Content-Length: 2" .. "okX", 2),
  reuse("a whole answer after an answer ends the origin connection and is never delivered",
    answer "Content-Length: 2" .. "ok" .. answer "Content-Length: 4" .. "evil", 2),
  reuse("bytes after the last chunk end the origin connection",
    answer "Transfer-Encoding: chunked" .. "2\r\nok\r\n0\r\n\r\nX", 2),
  {
    section = "RFC 9112 9.3", name = "the origin's Connection: close does not end the client's connection",
    send = get(), origin = { answer("Content-Length: 2", "Connection: close") .. "ok", c.close },
    expect = { status = 200, client_sees = { fields = { connection = c.without "close" } }, connection = "keep" },
  },
  {
    section = "RFC 9112 9.3", name = "requests of different clients may share an origin connection",
    send = { get "Connection: close" },
    expect = { status = 200, origin_sees = { fields = { connection = c.without "close" } }, connection = "close" },
  },

  -- Retries (RFC 9112 9.3.1, RFC 9110 9.2.2)
  {
    section = "RFC 9112 9.3.1", name = "GET is retried when a reused origin connection closes without an answer",
    send = { get(), c.response, get() }, origins = { c.OK, { c.close }, c.OK },
    expect = { responses = { { status = 200 }, { status = 200, body = "ok" } }, connection = "keep",
      origin_sees = { { connection = 1 }, { connection = 1 }, { connection = 2 } } },
  },
  {
    section = "RFC 9112 9.3.1", name = "GET is retried when a reused origin connection is reset",
    send = { get(), c.response, get() }, origins = { c.OK, { c.reset }, c.OK },
    expect = { responses = { { status = 200 }, { status = 200, body = "ok" } }, connection = "keep",
      origin_sees = { { connection = 1 }, { connection = 1 }, { connection = 2 } } },
  },
  {
    section = "RFC 9112 9.3.1", name = "DELETE is retried like every idempotent method",
    send = { get(), c.response, head("DELETE /x HTTP/1.1", "Host: a") }, origins = { c.OK, { c.close }, c.OK },
    expect = { responses = { { status = 200 }, { status = 200, method = "DELETE" } }, connection = "keep",
      origin_sees = { {}, { line = "DELETE /x HTTP/1.1" }, { line = "DELETE /x HTTP/1.1", connection = 2 } } },
  },
  {
    section = "RFC 9112 9.3.1", name = "POST is not retried once it was sent",
    send = { get(), c.response, post "Content-Length: 2" .. "hi" }, origins = { c.OK, { c.close }, c.OK },
    expect = { responses = { { status = 200 }, { status = 502 } }, problem = true, origin_sees = { requests = 2 },
      connection = "keep" },
  },
  {
    section = "RFC 9112 9.3.1", name = "PATCH is not retried once it was sent",
    send = { get(), c.response, head("PATCH / HTTP/1.1", "Host: a", "Content-Length: 2") .. "hi" },
    origins = { c.OK, { c.close }, c.OK },
    expect = { responses = { { status = 200 }, { status = 502 } }, problem = true, origin_sees = { requests = 2 },
      connection = "keep" },
  },
  {
    section = "RFC 9112 9.3.1", name = "a retry is made once, not for ever",
    send = { get(), c.response, get() }, origins = { c.OK, { c.close }, { c.close }, c.OK },
    expect = { responses = { { status = 200 }, { status = 502 } }, problem = true, origin_sees = { requests = 3 },
      connection = "keep" },
  },
  {
    section = "RFC 9112 9.3.1", name = "nothing is retried after the first byte of an answer",
    send = { get(), c.response, get() }, origins = { c.OK, { "HTTP/1.1 ", c.close }, c.OK },
    expect = { responses = { { status = 200 }, { status = 502 } }, problem = true, origin_sees = { requests = 2 },
      connection = "keep" },
  },

  -- Either side ends early (RFC 9112 9.6, RFC 9110 7.5)
  {
    section = "RFC 9112 9.6", name = "an early answer reaches the client, whose body is still on its way",
    send = { post "Content-Length: 10" .. "hello", c.response, "world", get() },
    origins = { { head("HTTP/1.1 403 Forbidden", "Content-Length: 2") .. "no", c.read_body }, c.OK },
    expect = { responses = { { status = 403, body = "no" }, { status = 200, body = "ok" } }, connection = "keep",
      origin_sees = { { body = "helloworld" }, { line = "GET / HTTP/1.1" } } },
  },
  {
    section = "RFC 9112 9.6",
    name = "an early answer with close reaches the client, and its body is never taken for a request",
    send = { post("Content-Length: " .. #get()), c.response, get() },
    origin = { head("HTTP/1.1 413 Content Too Large", "Content-Length: 2", "Connection: close") .. "no", c.half_close,
      c.read_body },
    expect = { status = 413, client_sees = { body = "no" }, origin_sees = { whole = "any" } },
  },
  {
    section = "RFC 9112 9.6", name = "the origin connection is given up when the client goes away",
    send = { get(), c.origin_has(1), c.client_close }, origin = { c.hold }, expect = { origin_sees = {} },
  },
  {
    section = "RFC 9112 9.6", name = "the origin connection is given up when the client goes away in mid-answer",
    send = { get(), c.origin_has(1), c.client_close }, origin = { answer "Content-Length: 10" .. "hello", c.hold },
    expect = { origin_sees = {} },
  },
  {
    section = "RFC 9110 15.6.5", name = "an origin that does not answer in time becomes 504",
    send = head("GET /hasty HTTP/1.1", "Host: a"), origin = { c.hold },
    expect = { status = 504, problem = true, connection = "keep" },
  },
  {
    section = "RFC 9110 15.6.3", name = "an origin that refuses connections becomes 502 or 503",
    send = head("GET /refused HTTP/1.1", "Host: a"),
    expect = { status = { 502, 503 }, problem = true, origin_sees = c.NOTHING, connection = "keep" },
  },
}

return cases
