--- Where a response ends, and what becomes of responses that are not well-formed or not complete: RFC 9112 sections 4
--- and 6 to 8, RFC 9110 sections 6.4 and 15.
local c = require "conformance.case"
local head, get, answer = c.head, c.get, c.answer

local MIB = ("0123456789abcdef"):rep(65536)
local CHUNKED = "Transfer-Encoding: chunked"

-- An answer that reaches the client with this body.
local function relayed(section, name, origin, wanted, send)
  local sees = type(wanted) == "table" and wanted or { body = wanted }
  return { section = section, name = name, send = send or get(), origin = origin,
    expect = { status = 200, client_sees = sees, connection = "keep" } }
end

local cases = {
  relayed("RFC 9112 6.3 rule 6", "an answer of known length", answer "Content-Length: 5" .. "hello",
    { body = "hello", framing = "length" }),
  relayed("RFC 9112 6.3 rule 6", "an empty answer", answer "Content-Length: 0", { body = "", framing = "length" }),
  relayed("RFC 9112 6.3 rule 6", "an answer of 1 MiB", answer("Content-Length: " .. #MIB) .. MIB, MIB),
  relayed("RFC 9112 6.3 rule 6", "an answer byte by byte",
    { function(conn) for _, byte in ipairs(c.byte_by_byte(c.OK)) do conn:write(byte) end end }, "ok"),
  relayed("RFC 9112 6.3 rule 6", "an answer whose body comes in pieces",
    { answer "Content-Length: 6", "ab", "c", "def" }, "abcdef"),
  relayed("RFC 9112 6.3 rule 4", "a chunked answer", answer(CHUNKED) .. "5\r\nhello\r\n0\r\n\r\n",
    { body = "hello", framing = "chunked" }),
  relayed("RFC 9112 6.3 rule 4", "a chunked answer without content", answer(CHUNKED) .. "0\r\n\r\n", ""),
  relayed("RFC 9112 6.3 rule 4", "a chunked answer of 1 MiB",
    answer(CHUNKED) .. ("10000\r\n" .. MIB:sub(1, 65536) .. "\r\n"):rep(16) .. "0\r\n\r\n", MIB),
  relayed("RFC 9112 6.3 rule 4", "a chunked answer byte by byte",
    { function(conn)
      for _, byte in ipairs(c.byte_by_byte(answer(CHUNKED) .. "5\r\nhello\r\n0\r\n\r\n")) do conn:write(byte) end
    end }, "hello"),
  relayed("RFC 9112 7.1.1", "chunk extensions of an answer are ignored",
    answer(CHUNKED) .. "5;a=\"b\"\r\nhello\r\n0;c\r\n\r\n", "hello"),
  relayed("RFC 9112 7.1.2", "trailers of an answer are relayed",
    answer(CHUNKED, "Trailer: X-Sum") .. "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    { body = "hello", trailers = { ["x-sum"] = "1" }, fields = { ["x-sum"] = false } },
    get("TE: trailers", "Connection: TE")),
  relayed("RFC 9112 7", "Transfer-Encoding: Chunked in another case",
    answer "transfer-encoding: CHUNKED" .. "5\r\nhello\r\n0\r\n\r\n", "hello"),
  relayed("RFC 9112 6.3 rule 8", "an answer that ends with the connection is relayed whole",
    { answer() .. "hello", c.close }, "hello"),
  relayed("RFC 9112 6.3 rule 8", "an answer of 1 MiB that ends with the connection", { answer() .. MIB, c.close }, MIB),
  relayed("RFC 9112 6.3 rule 8", "an HTTP/1.0 answer that ends with the connection",
    { head("HTTP/1.0 200 OK", "X: y") .. "hello", c.close }, "hello"),
  relayed("RFC 9112 6.3 rule 6", "an HTTP/1.0 answer of known length",
    { head("HTTP/1.0 200 OK", "Content-Length: 5") .. "hello", c.close }, "hello"),
  relayed("RFC 9112 2.3", "a higher minor version", head("HTTP/1.2 200 OK", "Content-Length: 2") .. "ok", "ok"),
  relayed("RFC 9112 4", "an empty reason phrase", head("HTTP/1.1 200 ", "Content-Length: 2") .. "ok", "ok"),
  relayed("RFC 9112 4", "a reason phrase of several words",
    head("HTTP/1.1 200 All is well", "Content-Length: 2") .. "ok", "ok"),
  relayed("RFC 9112 4", "a reason phrase with bytes over 127",
    head("HTTP/1.1 200 \195\132h", "Content-Length: 2") .. "ok", "ok"),
  {
    section = "RFC 9112 4", name = "a status line without the space before the reason is relayed or refused",
    send = get(), origin = head("HTTP/1.1 200", "Content-Length: 2") .. "ok",
    expect = { status = { 200, 502 }, connection = "keep" },
  },

  -- To clients of HTTP/1.0 (RFC 9112 6.1, 7.1).
  {
    section = "RFC 9112 6.1", name = "a chunked answer is never sent chunked to HTTP/1.0",
    send = head("GET / HTTP/1.0", "Host: a"), origin = answer(CHUNKED) .. "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    expect = { status = 200,
      client_sees = { body = "hello", framing = "close", fields = { ["transfer-encoding"] = false } },
      connection = "close" },
  },
  {
    section = "RFC 9112 6.1", name = "a chunked answer to HTTP/1.0 with keep-alive ends with the connection",
    send = head("GET / HTTP/1.0", "Host: a", "Connection: keep-alive"),
    origin = answer(CHUNKED) .. "5\r\nhello\r\n0\r\n\r\n",
    expect = { status = 200, client_sees = { body = "hello", framing = "close" }, connection = "close" },
  },
  {
    section = "RFC 9112 6.3", name = "an answer of known length keeps its length to HTTP/1.0",
    send = head("GET / HTTP/1.0", "Host: a"), origin = answer "Content-Length: 5" .. "hello",
    expect = { status = 200, client_sees = { body = "hello", framing = "length" }, connection = "close" },
  },
  {
    section = "RFC 9112 6.3 rule 8", name = "an answer that ends with the connection, to HTTP/1.0",
    send = head("GET / HTTP/1.0", "Host: a"), origin = { answer() .. "hello", c.close },
    expect = { status = 200, client_sees = { body = "hello", framing = "close" }, connection = "close" },
  },
  {
    section = "RFC 9112 8", name = "a chunked answer cut short shows as reset to HTTP/1.0",
    send = { head("GET / HTTP/1.0", "Host: a"), c.client_sees "hello" },
    origin = { answer(CHUNKED) .. "5\r\nhello\r\n", c.until_seen, c.close },
    expect = { status = 200, client_sees = { truncated = true }, connection = "close" },
  },

  -- Answers without a body, whatever their fields say (RFC 9112 6.3 rule 1).
  {
    section = "RFC 9112 6.3 rule 1", name = "HEAD keeps the Content-Length of the answer and has no body",
    send = head("HEAD / HTTP/1.1", "Host: a"), origin = answer "Content-Length: 1234",
    expect = { status = 200, client_sees = { body = "", fields = { ["content-length"] = "1234" } },
      connection = "keep" },
  },
  {
    section = "RFC 9112 6.3 rule 1", name = "HEAD with a chunked answer has no body",
    send = head("HEAD / HTTP/1.1", "Host: a"), origin = answer(CHUNKED),
    expect = { status = 200, client_sees = { body = "" }, connection = "keep" },
  },
  {
    section = "RFC 9112 6.3 rule 1",
    name = "HEAD with an answer without framing has no body and the origin connection goes on",
    send = { head("HEAD / HTTP/1.1", "Host: a"), c.response, head("HEAD / HTTP/1.1", "Host: a") }, origin = answer(),
    expect = { responses = { { status = 200, body = "" }, { status = 200, body = "" } },
      origin_sees = { { connection = 1 }, { connection = 1 } }, connection = "keep" },
  },
  {
    section = "RFC 9112 6.3 rule 1", name = "a body that an origin sends to HEAD is dropped with its connection",
    send = { head("HEAD / HTTP/1.1", "Host: a"), c.response, get() },
    origins = { answer "Content-Length: 5" .. "hello", c.OK },
    expect = { responses = { { status = 200, method = "HEAD" }, { status = 200, method = "GET", body = "ok" } },
      origin_sees = { { connection = 1 }, { connection = 2 } }, connection = "keep" },
  },
  {
    section = "RFC 9110 15.3.5", name = "204 has no body and no framing fields",
    send = get(), origin = head "HTTP/1.1 204 No Content",
    expect = { status = 204, connection = "keep",
      client_sees = { body = "", fields = { ["content-length"] = false, ["transfer-encoding"] = false } } },
  },
  {
    section = "RFC 9110 8.6", name = "a Content-Length in 204 is not passed on",
    send = get(), origin = head("HTTP/1.1 204 No Content", "Content-Length: 0"),
    expect = { status = { 204, 502 }, connection = "keep" },
  },
  {
    section = "RFC 9112 6.3 rule 1", name = "a body after 204 never reaches anybody",
    send = { get(), c.response, get() },
    origins = { head("HTTP/1.1 204 No Content", "Content-Length: 38") .. answer "Content-Length: 0", c.OK },
    expect = { responses = { { status = { 204, 502 } }, { status = 200, body = "ok" } },
      origin_sees = { { connection = 1 }, { connection = 2 } }, connection = "keep" },
  },
  {
    section = "RFC 9112 6.1", name = "Transfer-Encoding in 204 is not passed on",
    send = { get(), c.response, get() },
    origins = { head("HTTP/1.1 204 No Content", CHUNKED) .. "0\r\n\r\n", c.OK },
    expect = { responses = { { status = { 204, 502 } }, { status = 200, body = "ok" } }, connection = "keep" },
  },
  {
    section = "RFC 9110 15.4.5", name = "304 has no body and may carry the length of the representation",
    send = get 'If-None-Match: "v1"', origin = head("HTTP/1.1 304 Not Modified", 'ETag: "v1"', "Content-Length: 1234"),
    expect = { status = 304, client_sees = { body = "", fields = { etag = '"v1"' } }, connection = "keep" },
  },
  {
    section = "RFC 9112 6.3 rule 1", name = "a body after 304 never reaches anybody",
    send = { get(), c.response, get() },
    origins = { head("HTTP/1.1 304 Not Modified", "Content-Length: 5") .. "hello", c.OK },
    expect = { responses = { { status = 304 }, { status = 200, body = "ok" } },
      origin_sees = { { connection = 1 }, { connection = 2 } }, connection = "keep" },
  },
  {
    section = "RFC 9110 15.3.6", name = "205 is framed like any other answer",
    send = get(), origin = head("HTTP/1.1 205 Reset Content", "Content-Length: 0"),
    expect = { status = 205, client_sees = { body = "" }, connection = "keep" },
  },
}

-- Answers that are not well-formed become 502 (RFC 9112 4, 5, 6.1, 6.3 rules 3 to 5).
for name, origin in c.each {
  ["both framings"] = answer(CHUNKED, "Content-Length: 5") .. "5\r\nhello\r\n0\r\n\r\n",
  ["two different Content-Length"] = answer("Content-Length: 5", "Content-Length: 2") .. "hello",
  ["two equal Content-Length"] = answer("Content-Length: 5", "Content-Length: 5") .. "hello",
  ["a list of Content-Length"] = answer "Content-Length: 5, 5" .. "hello",
  ["a negative Content-Length"] = answer "Content-Length: -5" .. "hello",
  ["a signed Content-Length"] = answer "Content-Length: +5" .. "hello",
  ["a Content-Length in hexadecimal"] = answer "Content-Length: 0x5" .. "hello",
  ["an empty Content-Length"] = answer "Content-Length:" .. "hello",
  ["a Content-Length over 64 bits"] = answer "Content-Length: 18446744073709551621" .. "hello",
  ["chunked twice"] = answer "Transfer-Encoding: chunked, chunked" .. "5\r\nhello\r\n0\r\n\r\n",
  ["chunked in two lines"] = answer(CHUNKED, CHUNKED) .. "5\r\nhello\r\n0\r\n\r\n",
  ["chunked before gzip"] = answer "Transfer-Encoding: chunked, gzip" .. "5\r\nhello\r\n0\r\n\r\n",
  ["an unknown coding before chunked"] = answer "Transfer-Encoding: cow, chunked" .. "5\r\nhello\r\n0\r\n\r\n",
  ["Transfer-Encoding: identity"] = answer "Transfer-Encoding: identity" .. "hello",
  ["Transfer-Encoding: xchunked"] = answer "Transfer-Encoding: xchunked" .. "5\r\nhello\r\n0\r\n\r\n",
  ["chunked in HTTP/1.0"] = head("HTTP/1.0 200 OK", CHUNKED) .. "5\r\nhello\r\n0\r\n\r\n",
  ["a space before a colon"] = answer "X : y" .. "hello",
  ["a space before the colon of Content-Length"] = answer "Content-Length : 5" .. "hello",
  ["a folded field"] = answer("X: y", " z", "Content-Length: 2") .. "ok",
  ["a bare LF"] = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
  ["a bare LF after a field"] = "HTTP/1.1 200 OK\r\nX: y\nContent-Length: 2\r\n\r\nok",
  ["a bare CR in a field"] = answer("X: y\rSet-Cookie: z", "Content-Length: 2") .. "ok",
  ["a NUL in a field"] = answer("X: \0", "Content-Length: 2") .. "ok",
  ["a NUL in a field name"] = answer("X\0: y", "Content-Length: 2") .. "ok",
  ["a field without colon"] = answer("X", "Content-Length: 2") .. "ok",
  ["a field without name"] = answer(": y", "Content-Length: 2") .. "ok",
  ["a space in a field name"] = answer("X Y: z", "Content-Length: 2") .. "ok",
  ["another protocol"] = "ICY 200 OK\r\nContent-Length: 2\r\n\r\nok",
  ["another major version"] = "HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok",
  ["a lower-case protocol"] = "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
  ["a status of two digits"] = "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
  ["a status of four digits"] = "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
  ["a status that is no number"] = "HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
  ["a negative status"] = "HTTP/1.1 -20 OK\r\nContent-Length: 2\r\n\r\nok",
  ["a status under 100"] = "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
  ["status 000"] = "HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok",
  ["two spaces before the status"] = "HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
  ["a tab before the status"] = "HTTP/1.1\t200 OK\r\nContent-Length: 2\r\n\r\nok",
  ["a bare CR in the reason"] = "HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok",
  ["a NUL in the reason"] = "HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok",
  ["a request in place of an answer"] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
  ["only a body"] = "hello\r\n\r\n",
  ["a TLS alert"] = "\21\3\3\0\2\2\40\r\n\r\n",
  ["a field section over the limit"] = answer("X: " .. ("v"):rep(70000), "Content-Length: 2") .. "ok",
} do
  cases[#cases + 1] = { section = "RFC 9112 6.3", name = "an answer with " .. name .. " becomes 502",
    send = get(), origin = origin, expect = c.BAD_GATEWAY }
end
for name, origin in c.each {
  ["closes without an answer"] = { c.close },
  ["resets without an answer"] = { c.reset },
  ["closes in the status line"] = { "HTTP/1.", c.close },
  ["closes in the fields"] = { "HTTP/1.1 200 OK\r\nX: y\r\n", c.close },
  ["resets in the fields"] = { "HTTP/1.1 200 OK\r\nX: y\r\n", c.reset },
  ["closes after an interim answer"] = { "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", c.close },
} do
  cases[#cases + 1] = { section = "RFC 9110 15.6.3", name = "an origin that " .. name .. " becomes 502",
    send = get(), origin = origin,
    expect = { status = 502, problem = true, origin_sees = { requests = 1 }, connection = "keep" } }
end

-- An answer cut short after its head is never passed off as complete (RFC 9112 8).
for name, origin in c.each {
  ["of known length, closed early"] = { answer "Content-Length: 10" .. "hello", c.close },
  ["of known length, reset early"] = { answer "Content-Length: 10" .. "hello", c.reset },
  ["of known length, closed after the head"] = { answer "Content-Length: 10", c.close },
  ["in chunks, closed inside a chunk"] = { answer(CHUNKED) .. "a\r\nhello", c.close },
  ["in chunks, closed between chunks"] = { answer(CHUNKED) .. "5\r\nhello\r\n", c.close },
  ["in chunks, closed after the head"] = { answer(CHUNKED), c.close },
  ["in chunks, closed in a size"] = { answer(CHUNKED) .. "5\r\nhello\r\n1", c.close },
  ["in chunks, closed before the last CRLF"] = { answer(CHUNKED) .. "5\r\nhello\r\n0\r\n", c.close },
  ["in chunks, closed in a trailer"] = { answer(CHUNKED) .. "5\r\nhello\r\n0\r\nX: y", c.close },
  ["in chunks, reset"] = { answer(CHUNKED) .. "5\r\nhello\r\n", c.reset },
  ["delimited by close, but reset"] = { answer() .. "hello", c.reset },
  ["of HTTP/1.0, of known length, closed early"] = { head("HTTP/1.0 200 OK", "Content-Length: 10") .. "hello",
    c.close },
} do
  cases[#cases + 1] = {
    section = "RFC 9112 8", name = "an answer " .. name .. " is seen to be incomplete", send = get(), origin = origin,
    expect = { status = { 200, 502 }, client_sees = { truncated = "or 502" }, origin_sees = { requests = 1 } },
  }
end
for name, body in c.each {
  ["a chunk size that is no number"] = "x\r\nhello\r\n0\r\n\r\n",
  ["a chunk size over 64 bits"] = "10000000000000005\r\nhello\r\n0\r\n\r\n",
  ["a chunk size line that ends in LF"] = "5\nhello\r\n0\r\n\r\n",
  ["chunk data without an end"] = "5\r\nhelloXX0\r\n\r\n",
  ["a bare LF in a chunk extension"] = "5;a\nb\r\nhello\r\n0\r\n\r\n",
  ["a bare CR in a chunk extension"] = "5;a\rb\r\nhello\r\n0\r\n\r\n",
  ["a malformed trailer"] = "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
  ["a trailer that ends in LF"] = "5\r\nhello\r\n0\r\nX: y\n\r\n",
} do
  cases[#cases + 1] = {
    section = "RFC 9112 7.1", name = "a chunked answer with " .. name .. " is seen to be incomplete", send = get(),
    origin = { answer(CHUNKED) .. body, c.hold },
    expect = { status = { 200, 502 }, client_sees = { truncated = "or 502" } },
  }
end

return cases
