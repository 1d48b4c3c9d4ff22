--- Request and response smuggling: bytes that two parsers could read differently never get a second request past the
--- proxy, nor another client's answer back. RFC 9112 section 11, and the published desynchronisation techniques.
---
--- The bytes that would be smuggled ask for /evil; in none of these cases does the origin see such a request.
local c = require "conformance.case"
local head, get, post, answer = c.head, c.get, c.post, c.answer

local EVIL = head("GET /evil HTTP/1.1", "Host: a")
local CHUNKED = "Transfer-Encoding: chunked"
local cases = {}

-- Both framings, each obscured in a way that some parser overlooks. All are refused before anything is forwarded.
for name, lines in c.each {
  ["CL.TE"] = { "Content-Length: 6", CHUNKED },
  ["TE.CL"] = { CHUNKED, "Content-Length: 4" },
  ["TE.TE, two codings"] = { CHUNKED, "Transfer-Encoding: cow" },
  ["TE.TE, the other order"] = { "Transfer-Encoding: cow", "Transfer-encoding: chunked", "Content-Length: 4" },
  ["a prefix to the coding"] = { "Transfer-Encoding: xchunked", "Content-Length: 4" },
  ["a space before the colon"] = { "Transfer-Encoding : chunked", "Content-Length: 4" },
  ["a tab before the colon"] = { "Transfer-Encoding\t: chunked", "Content-Length: 4" },
  ["a tab after the colon"] = { "Transfer-Encoding:\tchunked", "Content-Length: 4" },
  ["no space after the colon"] = { "Transfer-Encoding:chunked", "Content-Length: 4" },
  ["two spaces after the colon"] = { "Transfer-Encoding:  chunked", "Content-Length: 4" },
  ["a space after the coding"] = { "Transfer-Encoding: chunked ", "Content-Length: 4" },
  ["a vertical tab before the coding"] = { "Transfer-Encoding:\vchunked", "Content-Length: 4" },
  ["a form feed before the coding"] = { "Transfer-Encoding:\fchunked", "Content-Length: 4" },
  ["a NUL before the coding"] = { "Transfer-Encoding: \0chunked", "Content-Length: 4" },
  ["a NUL after the name"] = { "Transfer-Encoding\0: chunked", "Content-Length: 4" },
  ["a NUL before the name"] = { "\0Transfer-Encoding: chunked", "Content-Length: 4" },
  ["a no-break space before the coding"] = { "Transfer-Encoding:\160chunked", "Content-Length: 4" },
  ["a byte order mark before the name"] = { "\239\187\191Transfer-Encoding: chunked", "Content-Length: 4" },
  ["a fold before the coding"] = { "Transfer-Encoding:", " chunked", "Content-Length: 4" },
  ["a fold with a tab before the coding"] = { "Transfer-Encoding:", "\tchunked", "Content-Length: 4" },
  ["a fold after another field"] = { "X: y", " Transfer-Encoding: chunked", "Content-Length: 4" },
  ["a bare LF in another field"] = { "X: y\nTransfer-Encoding: chunked", "Content-Length: 4" },
  ["a bare CR in another field"] = { "X: y\rTransfer-Encoding: chunked", "Content-Length: 4" },
  ["a bare LF in the name"] = { "Transfer-Encoding\n: chunked", "Content-Length: 4" },
  ["a bare CR after the coding"] = { "Transfer-Encoding: chunked\r", "Content-Length: 4" },
  ["a bare CR in the name"] = { "Transfer\r-Encoding: chunked", "Content-Length: 4" },
  ["quotation marks"] = { 'Transfer-Encoding: "chunked"', "Content-Length: 4" },
  ["apostrophes"] = { "Transfer-Encoding: 'chunked'", "Content-Length: 4" },
  ["mixed case"] = { "tRANSFER-eNCODING: cHUNKED", "Content-Length: 4" },
  ["an empty second coding"] = { CHUNKED, "Transfer-Encoding:", "Content-Length: 4" },
  ["a list with identity"] = { "Transfer-Encoding: identity, chunked", "Content-Length: 4" },
  ["identity after chunked"] = { "Transfer-Encoding: chunked, identity", "Content-Length: 4" },
  ["a parameter"] = { "Transfer-Encoding: chunked;x=y", "Content-Length: 4" },
  ["a comment"] = { "Transfer-Encoding: chunked (x)", "Content-Length: 4" },
  ["a semicolon list"] = { "Transfer-Encoding: gzip; chunked", "Content-Length: 4" },
  ["a space before Content-Length's colon"] = { CHUNKED, "Content-Length : 4" },
  ["a bare CR before Content-Length"] = { CHUNKED, "X: y\rContent-Length: 4" },
  ["a backspace in the name"] = { "Transfer-Encoding\8: chunked", "Content-Length: 4" },
  ["a colon before the name"] = { ":Transfer-Encoding: chunked", "Content-Length: 4" },
  ["Connection that names Transfer-Encoding"] = { "Connection: Transfer-Encoding", CHUNKED, "Content-Length: 4" },
  ["Connection that names Content-Length"] = { "Connection: Content-Length", CHUNKED, "Content-Length: 4" },
} do
  cases[#cases + 1] = { section = "RFC 9112 11.2", name = "two framings with " .. name,
    send = post(unpack(lines)) .. "0\r\n\r\n" .. EVIL, expect = c.refused(400) }
end
for name, lines in c.each {
  ["different values"] = { "Content-Length: 0", "Content-Length: " .. #EVIL },
  ["different values, the other order"] = { "Content-Length: " .. #EVIL, "Content-Length: 0" },
  ["a space before the second colon"] = { "Content-Length: 0", "Content-Length : " .. #EVIL },
  ["a fold"] = { "Content-Length: 0", " " .. #EVIL },
  ["a fold that hides the second"] = { "X: y", "\tContent-Length: " .. #EVIL, "Content-Length: 0" },
  ["a bare CR that hides the second"] = { "Content-Length: 0\rContent-Length: " .. #EVIL },
  ["a bare LF that hides the second"] = { "Content-Length: 0\nContent-Length: " .. #EVIL },
  ["a sign"] = { "Content-Length: +" .. #EVIL },
  ["a NUL after the number"] = { "Content-Length: 0\0" .. #EVIL },
  ["a number that wraps at 32 bits and a sign"] = { "Content-Length: -4294967296" },
  ["a comma and a space"] = { "Content-Length: 0, " .. #EVIL },
  ["a space between digits"] = { "Content-Length: 0 " .. #EVIL },
} do
  cases[#cases + 1] = { section = "RFC 9112 11.2", name = "two lengths with " .. name,
    send = post(unpack(lines)) .. EVIL, expect = c.refused(400) }
end
for name, method in c.each { GET = "GET", HEAD = "HEAD", DELETE = "DELETE", OPTIONS = "OPTIONS" } do
  cases[#cases + 1] = {
    section = "RFC 9112 11.2", name = "CL.0: the content of " .. name .. " stays its content",
    send = head(method .. " / HTTP/1.1", "Host: a", "Content-Length: " .. #EVIL) .. EVIL,
    expect = { status = 200, origin_sees = { line = method .. " / HTTP/1.1", body = EVIL }, connection = "keep" },
  }
  cases[#cases + 1] = {
    section = "RFC 9112 11.2", name = "TE.0: the chunked content of " .. name .. " stays its content",
    send = head(method .. " / HTTP/1.1", "Host: a", CHUNKED) .. ("%x\r\n%s\r\n0\r\n\r\n"):format(#EVIL, EVIL),
    expect = { status = 200, origin_sees = { line = method .. " / HTTP/1.1", body = EVIL }, connection = "keep" },
  }
end

-- Chunked bodies whose end two parsers could see in different places.
for name, body in c.each {
  ["TERM.EXT: a LF inside an extension"] = "2;\nxx\r\n" .. ("%x"):format(#EVIL) .. "\r\n0\r\n\r\n" .. EVIL,
  ["EXT.TERM: a LF that ends an extension"] = "2;a\nxx\r\n0\r\n\r\n" .. EVIL,
  ["a CR that ends an extension"] = "2;a\rxx\r\n0\r\n\r\n" .. EVIL,
  ["TERM.SPILL: a LF after the data"] = "5\r\nAAAAA\n0\r\n\r\n" .. EVIL,
  ["SPILL.TERM: two other bytes after the data"] = "5\r\nAAAAAXX0\r\n\r\n" .. EVIL,
  ["ONE.TWO: one byte for two after the data"] = "5\r\nAAAAAX0\r\n\r\n" .. EVIL,
  ["a size that wraps at 64 bits"] = "10000000000000000\r\n\r\n0\r\n\r\n" .. EVIL,
  ["a size that wraps to five"] = "10000000000000005\r\nAAAAA\r\n0\r\n\r\n" .. EVIL,
  ["a size with a NUL"] = "5\0\r\nAAAAA\r\n0\r\n\r\n" .. EVIL,
  ["a size with a no-break space"] = "5\160\r\nAAAAA\r\n0\r\n\r\n" .. EVIL,
  ["a size with a second number"] = "0 5\r\nAAAAA\r\n0\r\n\r\n" .. EVIL,
  ["a last chunk with a sign"] = "5\r\nAAAAA\r\n-0\r\n\r\n" .. EVIL,
  ["a last chunk with 0x"] = "5\r\nAAAAA\r\n0x0\r\n\r\n" .. EVIL,
  ["a last chunk in LF lines"] = "5\r\nAAAAA\r\n0\n\n" .. EVIL,
  ["a request for a trailer"] = "5\r\nAAAAA\r\n0\r\n" .. EVIL,
  ["a folded trailer"] = "5\r\nAAAAA\r\n0\r\nX: y\r\n Content-Length: 5\r\n\r\n" .. EVIL,
} do
  cases[#cases + 1] = { section = "RFC 9112 7.1", name = "a chunked body with " .. name, send = post(CHUNKED) .. body,
    expect = c.refused_in_body(400) }
end
cases[#cases + 1] = {
  section = "RFC 9112 7.1", name = "a chunk that contains what looks like the end and a request",
  send = post(CHUNKED) .. ("%x\r\n0\r\n\r\n%s\r\n0\r\n\r\n"):format(#EVIL + 5, EVIL),
  expect = { status = 200, origin_sees = { body = "0\r\n\r\n" .. EVIL }, connection = "keep" },
}

-- The first line and Host.
for name, bytes in c.each {
  ["a request line that holds two"] = head("GET / HTTP/1.1 GET /evil HTTP/1.1", "Host: a"),
  ["a bare CR after the version"] = "GET / HTTP/1.1\rX: y\r\nHost: a\r\n\r\n" .. EVIL,
  ["a LF in the target"] = head("GET /a\nX: y HTTP/1.1", "Host: a"),
  ["a CRLF in the target"] = head("GET /a HTTP/1.1\r\nX: /b HTTP/1.1\r\n", "Host: a"):gsub("\r\nX", "\r\n\rX"),
  ["a version that some take for 0.9"] = "GET /\r\n\r\n" .. EVIL,
  ["an old version with chunked"] = head("POST / HTTP/1.0", "Host: a", "Connection: keep-alive", CHUNKED)
    .. "0\r\n\r\n" .. EVIL,
  ["two Hosts"] = head("GET / HTTP/1.1", "Host: a", "Host: evil.example"),
  ["a second Host with a space before its colon"] = head("GET / HTTP/1.1", "Host: a", "Host : evil.example"),
  ["a Host folded into another field"] = head("GET / HTTP/1.1", "X: y", " Host: evil.example", "Host: a"),
  ["a folded Host"] = head("GET / HTTP/1.1", "Host: a", " evil.example"),
  ["a Host before which a space stands"] = head("GET / HTTP/1.1", " Host: evil.example", "Host: a"),
  ["a Host with a CR and more"] = head("GET / HTTP/1.1", "Host: a\rHost: evil.example"),
  ["an absolute target with user information"] = head("GET http://a@evil.example/ HTTP/1.1", "Host: a"),
  ["an absolute target with a tab"] = head("GET http://a\tevil.example/ HTTP/1.1", "Host: a"),
} do
  cases[#cases + 1] = { section = "RFC 9112 11.1", name = name .. " is refused", send = bytes, expect = c.refused(400) }
end

-- Trailers, expectations and upgrades as a way in.
local ways = {
  {
    section = "RFC 9112 7.1.2", name = "Content-Length in trailers does not frame anything",
    send = post(CHUNKED) .. "2\r\nhi\r\n0\r\nContent-Length: " .. #EVIL .. "\r\n\r\n" .. get(),
    expect = { responses = { { status = { 200, 400 } } }, origin_sees = { requests = { 0, 1, 2 }, whole = "any",
      fields = { ["content-length"] = false } } },
  },
  {
    section = "RFC 9110 10.1.1", name = "an obscured expectation does not make the content a request",
    send = post("Expect: y 100-continue", "Content-Length: " .. #EVIL) .. EVIL,
    expect = { status = { 200, 400, 417 }, origin_sees = { requests = { 0, 1 }, body = EVIL } },
  },
  {
    section = "RFC 9110 10.1.1", name = "an expectation of GET does not make its content a request",
    send = get("Expect: 100-continue", "Content-Length: " .. #EVIL) .. EVIL,
    expect = { status = 200, origin_sees = { body = EVIL }, connection = "keep" },
  },
  {
    section = "RFC 9112 9.6", name = "the content of a request that the proxy refused is never a request",
    send = head("POST /only-get HTTP/1.1", "Host: a", "Content-Length: " .. #EVIL) .. EVIL,
    expect = { status = 405, problem = true, origin_sees = c.NOTHING, connection = "keep" },
  },
  {
    section = "RFC 9112 9.6", name = "the content over the limit is never a request",
    send = head("POST /small HTTP/1.1", "Host: a", "Content-Length: " .. #EVIL) .. EVIL, expect = c.refused(413),
  },
  {
    section = "RFC 9112 9.6", name = "the content of a request whose origin is down is never a request",
    send = head("POST /refused HTTP/1.1", "Host: a", "Content-Length: " .. #EVIL) .. EVIL,
    expect = { status = { 502, 503 }, problem = true, origin_sees = c.NOTHING },
  },
  {
    section = "RFC 9112 9.6", name = "the content that an origin did not wait for is never a request",
    send = { post("Content-Length: " .. #EVIL), c.response, EVIL, get() },
    origins = { { c.OK, c.read_body }, c.OK },
    expect = { responses = { { status = 200 }, { status = 200 } }, connection = "keep",
      origin_sees = { { body = EVIL }, { line = "GET / HTTP/1.1" } } },
  },
  {
    section = "RFC 6455 4.2.2", name = "a handshake that the origin refuses opens no tunnel",
    send = { head("GET /ws HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade",
      "Sec-WebSocket-Version: 777"),
      c.response, "GET /x HTTP/1.1\r\nHost : evil\r\n\r\n" },
    origin = head("HTTP/1.1 426 Upgrade Required", "Sec-WebSocket-Version: 13", "Content-Length: 0"),
    expect = { responses = { { status = 426 }, { status = 400 } }, origin_sees = { {} }, connection = "close" },
  },
  {
    section = "RFC 9113 3.1", name = "no tunnel through h2c, even beside WebSocket",
    send = head("GET / HTTP/1.1", "Host: a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: websocket, h2c",
      "HTTP2-Settings: AAMAAABkAAQAAP__"),
    expect = { status = { 200, 400 }, origin_sees = { requests = { 0, 1 }, fields = { upgrade = function(values)
      return not (table.concat(values, ",")):find "h2c"
    end } } },
  },
}
for _, case in ipairs(ways) do cases[#cases + 1] = case end

-- Answers: what an origin sends beyond its answer is never given to the next request. Two clients' worth of exchange
-- happens on one client connection; the second always gets its own answer from a new origin connection.
local function never_delivered(name, first, method, status)
  cases[#cases + 1] = {
    section = "RFC 9112 11.2", name = name .. " is never delivered",
    send = { head((method or "GET") .. " / HTTP/1.1", "Host: a"), c.response, get() }, origins = { first, c.OK },
    expect = { responses = { { status = status or { 200, 502 }, method = method },
      { status = 200, method = "GET", body = "ok" } },
      origin_sees = { { connection = 1 }, { connection = 2 } }, connection = "keep" },
  }
end
local POISON = answer "Content-Length: 4" .. "evil"
never_delivered("an answer behind an answer", answer "Content-Length: 2" .. "ok" .. POISON)
never_delivered("an answer behind a chunked answer", answer(CHUNKED) .. "2\r\nok\r\n0\r\n\r\n" .. POISON)
never_delivered("an answer behind the answer to HEAD", answer "Content-Length: 4" .. POISON, "HEAD", 200)
never_delivered("an answer behind 204", head "HTTP/1.1 204 No Content" .. POISON, nil, { 204, 502 })
never_delivered("an answer behind 304", head("HTTP/1.1 304 Not Modified", "Content-Length: 4") .. POISON, nil,
  { 304, 502 })
never_delivered("an answer behind Content-Length: 0", answer "Content-Length: 0" .. POISON)
never_delivered("an empty line behind an answer", answer "Content-Length: 2" .. "ok\r\n")
never_delivered("half an answer behind an answer", answer "Content-Length: 2" .. "okHTTP/1.1 200 OK\r\nX: ")
never_delivered("an interim answer behind an answer",
  answer "Content-Length: 2" .. "ok" .. head "HTTP/1.1 100 Continue")
cases[#cases + 1] = {
  section = "RFC 9112 11.2", name = "an answer that an origin sends unasked on an idle connection is never delivered",
  send = { get(), c.response, get() },
  origins = { { c.OK, function(conn)
    conn:write(POISON)
    conn.changed:wait("the proxy's close of a connection with an unasked answer", function() return conn.ended end)
  end }, c.OK },
  expect = { responses = { { body = "ok" }, { body = "ok" } }, origin_sees = { { connection = 1 }, { connection = 2 } },
    connection = "keep" },
}
-- Response splitting: what a careless origin lets into a field does not become a field or an answer of its own.
for name, lines in c.each {
  ["a bare CR"] = { "Location: /\rSet-Cookie: evil=1" }, ["a bare LF"] = { "Location: /\nSet-Cookie: evil=1" },
  ["a fold"] = { "Location: /", " Set-Cookie: evil=1" }, ["a NUL"] = { "Location: /\0Set-Cookie: evil=1" },
} do
  cases[#cases + 1] = {
    section = "RFC 9112 11.1", name = "a split answer by " .. name, send = get(),
    origin = head("HTTP/1.1 302 Found", "Content-Length: 0", unpack(lines)),
    expect = { status = 502, problem = true, client_sees = { fields = { ["set-cookie"] = false } },
      connection = "keep" },
  }
end

return cases
