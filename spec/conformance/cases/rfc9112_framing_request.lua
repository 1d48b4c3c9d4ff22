--- Where a request's body ends: RFC 9112 sections 6 and 7, RFC 9110 sections 6.5 and 8.6.
local c = require "conformance.case"
local head, post, refused, refused_in_body = c.head, c.post, c.refused, c.refused_in_body

local CHUNKED = "Transfer-Encoding: chunked"
local MIB = ("0123456789abcdef"):rep(65536)

-- A POST whose chunked body is given raw.
local function chunked(body, ...) return post(CHUNKED, ...) .. body end

-- A body that reaches the origin as `wanted`.
local function forwarded(section, name, send, wanted, framing)
  return {
    section = section, name = name, send = send,
    expect = { status = 200, origin_sees = { body = wanted, framing = framing }, connection = "keep" },
  }
end

local function in_chunks(body, size)
  local parts = {}
  for from = 1, #body, size do
    local piece = body:sub(from, from + size - 1)
    parts[#parts + 1] = ("%x\r\n%s\r\n"):format(#piece, piece)
  end
  return table.concat(parts) .. "0\r\n\r\n"
end

local cases = {
  -- Content-Length (RFC 9112 6.2, 6.3 rule 6)
  forwarded("RFC 9112 6.2", "a body of known length is forwarded", post "Content-Length: 5" .. "hello", "hello",
    "length"),
  forwarded("RFC 9112 6.2", "Content-Length: 0 is a body of no bytes", post "Content-Length: 0", ""),
  forwarded("RFC 9112 6.2", "a body of 1 MiB is forwarded", post("Content-Length: " .. #MIB) .. MIB, MIB, "length"),
  forwarded("RFC 9112 6.2", "a body that comes after its head in pieces",
    { post "Content-Length: 6", "ab", "c", "def" }, "abcdef", "length"),
  forwarded("RFC 9112 6.2", "a body byte by byte", c.byte_by_byte(post "Content-Length: 5" .. "hello"), "hello",
    "length"),
  forwarded("RFC 9112 6.2", "a body that looks like a request stays a body",
    post("Content-Length: " .. #c.get()) .. c.get(), c.get(), "length"),
  forwarded("RFC 9112 5.1", "whitespace around Content-Length is not part of it",
    post "Content-Length: \t 5 \t" .. "hello", "hello", "length"),
  forwarded("RFC 9112 6.3 rule 7", "without Content-Length and Transfer-Encoding there is no body", c.get(), "",
    "none"),
  {
    section = "RFC 9112 6.3 rule 7", name = "what follows a request without framing is the next request, not its body",
    send = post() .. "hello\r\n\r\n",
    expect = { responses = { { status = 200 }, { status = 400 } }, problem = true, connection = "close",
      origin_sees = { { body = "" } } },
  },
  {
    section = "RFC 9112 6.3 rule 6", name = "a body with a zero-padded length is forwarded whole or refused",
    send = post "Content-Length: 005" .. "hello",
    expect = { status = { 200, 400 }, origin_sees = { requests = { 0, 1 }, body = "hello" } },
  },
  {
    section = "RFC 9112 8", name = "a body cut short by the client is not completed for the origin",
    send = { post "Content-Length: 10" .. "hello", c.origin_has(1), c.client_close },
    expect = { origin_sees = c.NO_WHOLE },
  },
  {
    section = "RFC 9112 8", name = "a body cut short by half-close is refused, never completed",
    send = { post "Content-Length: 10" .. "hello", c.client_half_close },
    expect = { status = 400, problem = true, origin_sees = c.NO_WHOLE, connection = "close" },
  },
  {
    section = "RFC 9112 8", name = "a chunked body cut short by half-close is refused, never completed",
    send = { chunked "5\r\nhello\r\n", c.client_half_close },
    expect = { status = 400, problem = true, origin_sees = c.NO_WHOLE, connection = "close" },
  },
  { section = "RFC 9112 6.3 rule 6", name = "a length with more digits than any integer is refused",
    send = post("Content-Length: " .. ("9"):rep(40)), expect = refused { 400, 413 } },
  { section = "RFC 9112 6.3 rule 6", name = "a length just over 64 bits is refused",
    send = post "Content-Length: 18446744073709551621" .. "hello", expect = refused { 400, 413 } },
  { section = "RFC 9112 6.3 rule 6", name = "a length just over 63 bits is refused",
    send = post "Content-Length: 9223372036854775808" .. "hello", expect = refused { 400, 413 } },
  { section = "RFC 9110 15.5.14", name = "a length over the route's limit is refused with 413",
    send = head("POST /small HTTP/1.1", "Host: a", "Content-Length: 9") .. "123456789", expect = refused(413) },
  forwarded("RFC 9110 15.5.14", "a length at the route's limit passes",
    head("POST /small HTTP/1.1", "Host: a", "Content-Length: 8") .. "12345678", "12345678"),
  { section = "RFC 9110 15.5.14", name = "a chunked body over the route's limit is refused with 413",
    send = head("POST /small HTTP/1.1", "Host: a", CHUNKED) .. "9\r\n123456789\r\n0\r\n\r\n",
    expect = refused_in_body(413) },

  -- Chunked (RFC 9112 7.1)
  forwarded("RFC 9112 7.1", "a chunked body is forwarded", chunked "5\r\nhello\r\n0\r\n\r\n", "hello"),
  forwarded("RFC 9112 7.1", "a chunked body of several chunks", chunked "1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n",
    "abcdef"),
  forwarded("RFC 9112 7.1", "an empty chunked body", chunked "0\r\n\r\n", ""),
  forwarded("RFC 9112 7.1", "chunk sizes in upper and lower case hexadecimal",
    chunked("A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n"), "01234567890123456789a"),
  forwarded("RFC 9112 7.1", "a chunk size with leading zeros", chunked "0005\r\nhello\r\n0\r\n\r\n", "hello"),
  forwarded("RFC 9112 7.1", "a last chunk of several zeros", chunked "5\r\nhello\r\n000\r\n\r\n", "hello"),
  forwarded("RFC 9112 7.1", "a chunked body byte by byte", c.byte_by_byte(chunked "5\r\nhello\r\n0\r\n\r\n"), "hello"),
  forwarded("RFC 9112 7.1", "a chunked body of 1 MiB in large chunks", chunked(in_chunks(MIB, 65536)), MIB),
  forwarded("RFC 9112 7.1", "a chunked body in 10,000 small chunks", chunked(in_chunks(MIB:sub(1, 30000), 3)),
    MIB:sub(1, 30000)),
  forwarded("RFC 9112 7.1", "CRLF inside chunk data is data", chunked "6\r\n\r\n0\r\n\r\r\n0\r\n\r\n", "\r\n0\r\n\r"),
  forwarded("RFC 9112 7", "the name of the coding is case-insensitive",
    post "transfer-encoding: CHUNKED" .. "5\r\nhello\r\n0\r\n\r\n", "hello"),
  forwarded("RFC 9112 5.1", "a tab before the name of the coding is whitespace",
    post "Transfer-Encoding:\tchunked\t" .. "5\r\nhello\r\n0\r\n\r\n", "hello"),
  forwarded("RFC 9112 7.1.1", "an unknown chunk extension is ignored", chunked "5;a=b\r\nhello\r\n0;c\r\n\r\n",
    "hello"),
  forwarded("RFC 9112 7.1.1", "a quoted chunk extension is ignored", chunked '5;a="x;y"\r\nhello\r\n0\r\n\r\n',
    "hello"),
  forwarded("RFC 9112 7.1.1", "several chunk extensions are ignored", chunked "5;a;b=c;d=e\r\nhello\r\n0\r\n\r\n",
    "hello"),
  {
    section = "RFC 9112 7.1.2", name = "trailers are forwarded",
    send = chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", "Trailer: X-Sum, X-More"),
    expect = { status = 200, connection = "keep",
      origin_sees = { body = "hello", framing = "chunked", trailers = { ["x-sum"] = "1", ["x-more"] = "2" } } },
  },
  {
    section = "RFC 9112 7.1.2", name = "trailers are not merged into the fields",
    send = chunked "5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n",
    expect = { status = 200, origin_sees = { fields = { ["x-late"] = false }, trailers = { ["x-late"] = "1" } } },
  },
  {
    section = "RFC 9112 6.3 rule 4", name = "the next request begins after the last chunk",
    send = chunked "5\r\nhello\r\n0\r\n\r\n" .. c.get(),
    expect = { responses = { { status = 200 }, { status = 200 } }, connection = "keep",
      origin_sees = { { body = "hello" }, { line = "GET / HTTP/1.1" } } },
  },
}

-- Content-Length values that are not one decimal number (RFC 9112 6.3 rule 5, RFC 9110 8.6).
for name, value in c.each {
  ["with a plus sign"] = "+5", ["with a minus sign"] = "-5", ["negative zero"] = "-0", ["in hexadecimal"] = "0x5",
  ["with a fraction"] = "5.0", ["with an exponent"] = "5e0", ["with a letter"] = "5a", ["with a space inside"] = "5 5",
  ["with an underscore"] = "5_0", ["with a semicolon"] = "5;a=b", ["as a list of equal values"] = "5, 5",
  ["as a list of different values"] = "5, 6", ["as a list without space"] = "5,5", ["with a trailing comma"] = "5,",
  ["with a leading comma"] = ",5", ["with nothing"] = "", ["quoted"] = '"5"',
  ["in digits of another script"] = "\217\165",
  ["with a no-break space"] = "\1605", ["with a vertical tab"] = "\v5", ["with a form feed"] = "5\f",
  ["as a word"] = "five",
} do
  cases[#cases + 1] = { section = "RFC 9112 6.3 rule 5", name = "Content-Length " .. name .. " is refused",
    send = post("Content-Length: " .. value) .. "hello", expect = refused(400) }
end
for name, fields in c.each {
  ["two equal Content-Length lines"] = { "Content-Length: 5", "Content-Length: 5" },
  ["two different Content-Length lines"] = { "Content-Length: 5", "Content-Length: 6" },
  ["two Content-Length lines in different case"] = { "Content-Length: 5", "content-length: 50" },
  ["Content-Length twice, apart"] = { "Content-Length: 5", "X: y", "Content-Length: 0" },
  ["a valid and an empty Content-Length"] = { "Content-Length: 5", "Content-Length:" },
} do
  cases[#cases + 1] = { section = "RFC 9112 6.3 rule 5", name = name .. " are refused",
    send = post(unpack(fields)) .. "hello", expect = refused(400) }
end

-- Transfer-Encoding other than exactly chunked (RFC 9112 6.1, 6.3 rules 3 and 4).
for name, row in c.each {
  ["both framings"] = { "Content-Length: 15", CHUNKED },
  ["both framings, the other order"] = { CHUNKED, "Content-Length: 15" },
  ["both framings, Content-Length: 0"] = { CHUNKED, "Content-Length: 0" },
  ["Content-Length with Transfer-Encoding: identity"] = { "Content-Length: 15", "Transfer-Encoding: identity" },
  ["chunked twice in one line"] = { "Transfer-Encoding: chunked, chunked" },
  ["chunked in two lines"] = { CHUNKED, CHUNKED },
  ["chunked before gzip"] = { "Transfer-Encoding: chunked, gzip" },
  ["chunked before identity"] = { "Transfer-Encoding: chunked, identity" },
  ["chunked and identity in two lines"] = { CHUNKED, "Transfer-Encoding: identity" },
  ["identity alone"] = { "Transfer-Encoding: identity" },
  ["gzip alone"] = { "Transfer-Encoding: gzip" },
  ["nothing"] = { "Transfer-Encoding:" },
  ["nothing beside chunked"] = { "Transfer-Encoding:", CHUNKED },
  ["a comma after chunked"] = { "Transfer-Encoding: chunked," },
  ["a comma before chunked"] = { "Transfer-Encoding: ,chunked" },
  ["a letter before chunked"] = { "Transfer-Encoding: xchunked" },
  ["a letter after chunked"] = { "Transfer-Encoding: chunkedx" },
  ["a space inside chunked"] = { "Transfer-Encoding: chunk ed" },
  ["chunked quoted"] = { 'Transfer-Encoding: "chunked"' },
  ["chunked in apostrophes"] = { "Transfer-Encoding: 'chunked'" },
  ["chunked with a parameter"] = { "Transfer-Encoding: chunked;a=b" },
  ["chunked with a weight"] = { "Transfer-Encoding: chunked;q=1" },
  ["chunked after a vertical tab"] = { "Transfer-Encoding: \vchunked" },
  ["chunked before a form feed"] = { "Transfer-Encoding: chunked\f" },
  ["chunked after a no-break space"] = { "Transfer-Encoding: \160chunked" },
  ["chunked and a NUL"] = { "Transfer-Encoding: chunked\0" },
  ["chunked folded into the next line"] = { "Transfer-Encoding:", " chunked" },
  ["chunked with a space before the colon"] = { "Transfer-Encoding : chunked" },
} do
  cases[#cases + 1] = { section = "RFC 9112 6.1", name = "Transfer-Encoding with " .. name .. " is refused",
    send = post(unpack(row)) .. "5\r\nhello\r\n0\r\n\r\n", expect = refused(400) }
end
for name, fields in c.each {
  ["gzip, then chunked"] = { "Transfer-Encoding: gzip, chunked" },
  ["a coding nobody knows, then chunked"] = { "Transfer-Encoding: cow, chunked" },
  ["gzip and chunked in two lines"] = { "Transfer-Encoding: gzip", CHUNKED },
} do
  cases[#cases + 1] = { section = "RFC 9112 6.1", name = "Transfer-Encoding of " .. name .. " is not implemented",
    send = post(unpack(fields)) .. "5\r\nhello\r\n0\r\n\r\n", expect = refused(501) }
end
cases[#cases + 1] = { section = "RFC 9112 6.1", name = "Transfer-Encoding in an HTTP/1.0 request is refused",
  send = head("POST / HTTP/1.0", "Host: a", CHUNKED) .. "5\r\nhello\r\n0\r\n\r\n", expect = refused(400) }
cases[#cases + 1] = { section = "RFC 9112 6.1", name = "both framings in an HTTP/1.0 request are refused",
  send = head("POST / HTTP/1.0", "Host: a", CHUNKED, "Content-Length: 5") .. "5\r\nhello\r\n0\r\n\r\n",
  expect = refused(400) }
cases[#cases + 1] = {
  section = "RFC 9112 6.2", name = "a body of known length in HTTP/1.0 is forwarded",
  send = head("POST / HTTP/1.0", "Host: a", "Content-Length: 5") .. "hello",
  expect = { status = 200, origin_sees = { line = "POST / HTTP/1.1", body = "hello", framing = "length" },
    connection = "close" },
}

-- Chunked bodies that are not well-formed (RFC 9112 7.1). The origin never gets a complete request.
for name, body in c.each {
  ["a size that is no number"] = "g\r\nhello\r\n0\r\n\r\n",
  ["a size with a letter after it"] = "5g\r\nhello\r\n0\r\n\r\n",
  ["a size with 0x"] = "0x5\r\nhello\r\n0\r\n\r\n",
  ["a size with a plus sign"] = "+5\r\nhello\r\n0\r\n\r\n",
  ["a size with a minus sign"] = "-5\r\nhello\r\n0\r\n\r\n",
  ["a size with an underscore"] = "0_5\r\nhello\r\n0\r\n\r\n",
  ["a size after a space"] = " 5\r\nhello\r\n0\r\n\r\n",
  ["a size before a space"] = "5 \r\nhello\r\n0\r\n\r\n",
  ["a size before a tab"] = "5\t\r\nhello\r\n0\r\n\r\n",
  ["a size before a comma"] = "5,a\r\nhello\r\n0\r\n\r\n",
  ["an empty size"] = "\r\nhello\r\n0\r\n\r\n",
  ["only an extension"] = ";a=b\r\nhello\r\n0\r\n\r\n",
  ["a size over 64 bits"] = "10000000000000005\r\nhello\r\n0\r\n\r\n",
  ["a size of 64 one-bits"] = "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
  ["a size with very many digits"] = ("1"):rep(300) .. "\r\nhello\r\n0\r\n\r\n",
  ["a size line that ends in LF"] = "5\nhello\r\n0\r\n\r\n",
  ["a size line that ends in CR"] = "5\rhello\r\n0\r\n\r\n",
  ["a size line that ends in two CR"] = "5\r\r\nhello\r\n0\r\n\r\n",
  ["data that end in LF"] = "5\r\nhello\n0\r\n\r\n",
  ["data that end in CR"] = "5\r\nhello\r0\r\n\r\n",
  ["data without an end"] = "5\r\nhello0\r\n\r\n",
  ["data longer than announced"] = "5\r\nhelloXX\r\n0\r\n\r\n",
  ["two bytes that are not CRLF after data"] = "5\r\nhelloXX0\r\n\r\n",
  ["data shorter than announced"] = "7\r\nhello\r\n0\r\n\r\n9\r\n",
  ["an empty line after data"] = "5\r\nhello\r\n\r\n0\r\n\r\n",
  ["an extension with a bare LF"] = "5;a\nb\r\nhello\r\n0\r\n\r\n",
  ["an extension with a bare CR"] = "5;a\rb\r\nhello\r\n0\r\n\r\n",
  ["an extension with a NUL"] = "5;a\0b\r\nhello\r\n0\r\n\r\n",
  ["an extension with a control character"] = "5;a\8b\r\nhello\r\n0\r\n\r\n",
  ["a last chunk line that ends in LF"] = "5\r\nhello\r\n0\n\r\n",
  ["a body that ends in LF"] = "5\r\nhello\r\n0\r\n\n",
  ["a body that ends in CR and more"] = "5\r\nhello\r\n0\r\n\rX",
  ["a trailer without colon"] = "5\r\nhello\r\n0\r\nX\r\n\r\n",
  ["a trailer with a space before the colon"] = "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
  ["a trailer with a bad name"] = "5\r\nhello\r\n0\r\nX Y: z\r\n\r\n",
  ["a folded trailer"] = "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
  ["a trailer that ends in LF"] = "5\r\nhello\r\n0\r\nX: y\n\r\n",
  ["a trailer with a bare CR"] = "5\r\nhello\r\n0\r\nX: y\rz\r\n\r\n",
  ["a trailer with a NUL"] = "5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
  ["the next request in place of the trailers"] = "5\r\nhello\r\n0\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
} do
  cases[#cases + 1] = { section = "RFC 9112 7.1", name = "a chunked body with " .. name .. " is refused",
    send = chunked(body), expect = refused_in_body(400) }
end
for name, body in c.each {
  ["an extension of 100,000 bytes"] = "5;" .. ("a"):rep(100000) .. "\r\nhello\r\n0\r\n\r\n",
  ["a trailer of 100,000 bytes"] = "5\r\nhello\r\n0\r\nX: " .. ("a"):rep(100000) .. "\r\n\r\n",
  ["10,000 trailers"] = "5\r\nhello\r\n0\r\n" .. ("X: y\r\n"):rep(10000) .. "\r\n",
} do
  cases[#cases + 1] = { section = "RFC 9112 7.1.1", name = "a chunked body with " .. name .. " is refused",
    send = chunked(body), expect = refused_in_body { 400, 413, 431 } }
end

-- Trailers that would change framing, routing or authentication never become fields (RFC 9110 6.5.1).
for _, name in ipairs { "Content-Length", "Transfer-Encoding", "Host", "Authorization", "Connection", "Trailer",
  "Content-Type" } do
  cases[#cases + 1] = {
    section = "RFC 9110 6.5.1", name = "a trailer called " .. name .. " is dropped or refused",
    send = chunked("5\r\nhello\r\n0\r\n" .. name .. ": 7\r\n\r\n"),
    expect = { status = { 200, 400 }, origin_sees = { requests = { 0, 1 }, whole = "any",
      trailers = { [name] = false }, fields = { [name] = function(values) return values[1] ~= "7" end } } },
  }
end

return cases
