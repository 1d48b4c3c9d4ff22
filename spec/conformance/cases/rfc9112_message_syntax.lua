--- Start lines, line ends, field lines, Host and the limits of a request head: RFC 9112 sections 2, 3 and 5, RFC 9110
--- sections 5 and 7.2.
local c = require "conformance.case"
local head, get, refused = c.head, c.get, c.refused

local cases = {
  {
    section = "RFC 9112 2.1", name = "a minimal request is forwarded",
    send = head("GET /path HTTP/1.1", "Host: a"),
    expect = { status = 200, origin_sees = { line = "GET /path HTTP/1.1", fields = { host = "a" } },
      connection = "keep" },
  },
  {
    section = "RFC 9112 2.2", name = "one empty line before the request line is ignored",
    send = "\r\n" .. get(),
    expect = { status = 200, origin_sees = { line = "GET / HTTP/1.1" }, connection = "keep" },
  },
  {
    section = "RFC 9112 2.2", name = "an empty line after a body is ignored",
    send = c.post "Content-Length: 2" .. "hi\r\n" .. get(),
    expect = { responses = { { status = 200 }, { status = 200 } }, connection = "keep",
      origin_sees = { { body = "hi" }, { line = "GET / HTTP/1.1" } } },
  },
  { section = "RFC 9112 2.2", name = "two empty lines before the request line are refused",
    send = "\r\n\r\n" .. get(), expect = refused(400) },
  {
    section = "RFC 9112 2.2", name = "a head that arrives byte by byte is understood",
    send = c.byte_by_byte(head("GET /slow HTTP/1.1", "Host: a", "X-A: b")),
    expect = { status = 200, origin_sees = { line = "GET /slow HTTP/1.1", fields = { ["x-a"] = "b" } },
      connection = "keep" },
  },
  {
    section = "RFC 9112 2.3", name = "an HTTP/1.0 request goes upstream as HTTP/1.1",
    send = head("GET /old HTTP/1.0", "Host: a"),
    expect = { status = 200, origin_sees = { line = "GET /old HTTP/1.1", fields = { host = "a" } },
      connection = "close" },
  },
  {
    section = "RFC 9112 2.3", name = "a higher minor version is taken as 1.1",
    send = head("GET / HTTP/1.2", "Host: a"),
    expect = { status = 200, origin_sees = { line = "GET / HTTP/1.1", requests = 1 }, connection = "keep" },
  },
  { section = "RFC 9110 15.6.6", name = "major version 2 in a request line is refused",
    send = head("GET / HTTP/2.0", "Host: a"), expect = refused(505) },
  { section = "RFC 9110 15.6.6", name = "major version 3 in a request line is refused",
    send = head("GET / HTTP/3.0", "Host: a"), expect = refused(505) },
  { section = "RFC 9113 3.4", name = "what is almost the preface of HTTP/2 is refused",
    send = "PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", expect = refused { 400, 505 } },
  { section = "RFC 9110 15.6.6", name = "HTTP/0.9 as a version is refused",
    send = head("GET / HTTP/0.9", "Host: a"), expect = refused { 400, 505 } },
}

-- Request lines that are not method SP request-target SP HTTP-version CRLF (RFC 9112 3).
for name, line in c.each {
  ["without a version"] = "GET /",
  ["without a target"] = "GET HTTP/1.1",
  ["without a method"] = " / HTTP/1.1",
  ["with two spaces before the target"] = "GET  / HTTP/1.1",
  ["with two spaces before the version"] = "GET /  HTTP/1.1",
  ["with a tab before the target"] = "GET\t/ HTTP/1.1",
  ["with a tab before the version"] = "GET /\tHTTP/1.1",
  ["with a space after the version"] = "GET / HTTP/1.1 ",
  ["with a tab after the version"] = "GET / HTTP/1.1\t",
  ["with a space before the method"] = " GET / HTTP/1.1",
  ["with a vertical tab for a space"] = "GET\v/ HTTP/1.1",
  ["with a form feed for a space"] = "GET /\fHTTP/1.1",
  ["with two targets"] = "GET /a /b HTTP/1.1",
  ["with two versions"] = "GET / HTTP/1.1 HTTP/1.1",
  ["with a bare CR in the target"] = "GET /a\rb HTTP/1.1",
  ["with a NUL in the target"] = "GET /a\0b HTTP/1.1",
  ["with a NUL in the method"] = "G\0ET / HTTP/1.1",
  ["with a bracket in the method"] = "GE[T / HTTP/1.1",
  ["with a colon in the method"] = "GET: / HTTP/1.1",
  ["with a lower-case protocol"] = "GET / http/1.1",
  ["with another protocol"] = "GET / HTTPS/1.1",
  ["with a space inside the version"] = "GET / HTTP/ 1.1",
  ["with a space before the slash of the version"] = "GET / HTTP /1.1",
  ["with no minor version"] = "GET / HTTP/1",
  ["with an empty minor version"] = "GET / HTTP/1.",
  ["with an empty major version"] = "GET / HTTP/.1",
  ["with a two-digit minor version"] = "GET / HTTP/1.10",
  ["with a two-digit major version"] = "GET / HTTP/01.1",
  ["with a comma in the version"] = "GET / HTTP/1,1",
  ["with a letter after the version"] = "GET / HTTP/1.1x",
  ["with a signed version"] = "GET / HTTP/1.-1",
  ["with a cut protocol name"] = "GET / HTP/1.1",
} do
  cases[#cases + 1] = { section = "RFC 9112 3", name = "a request line " .. name .. " is refused",
    send = head(line, "Host: a"), expect = refused(400) }
end

-- Line ends and whitespace around field lines (RFC 9112 2.2, 5.1, 5.2; RFC 9110 5.5).
for name, bytes in c.each {
  ["LF alone after the request line"] = "GET / HTTP/1.1\nHost: a\r\n\r\n",
  ["LF alone after a field line"] = "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
  ["LF alone as the empty line"] = "GET / HTTP/1.1\r\nHost: a\r\n\n",
  ["LF alone everywhere"] = "GET / HTTP/1.1\nHost: a\n\n",
  ["CR alone after a field line"] = "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
  ["CR alone as the empty line"] = "GET / HTTP/1.1\r\nHost: a\r\n\rX",
  ["two CR before a LF"] = "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
  ["two CR after a field line"] = "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
  ["a space before the first field line"] = "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n",
  ["a tab before the first field line"] = "GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n",
  ["a line of spaces before the fields"] = "GET / HTTP/1.1\r\n  \r\nHost: a\r\n\r\n",
  ["a folded field line, by space"] = get("X: y", " z"),
  ["a folded field line, by tab"] = get("X: y", "\tz"),
  ["a fold with nothing but a space"] = get("X: y", " "),
  ["a folded Host"] = head("GET / HTTP/1.1", "Host:", " a"),
  ["a folded Content-Length"] = c.post("Content-Length:", " 2") .. "hi",
  ["a space before the colon"] = get "X : y",
  ["a tab before the colon"] = get "X\t: y",
  ["a space before the colon of Host"] = head("GET / HTTP/1.1", "Host : a"),
  ["a field line without colon"] = get "X",
  ["a field line without name"] = get ": y",
  ["a second request line among the fields"] = get "GET /b HTTP/1.1",
  ["a space in a field name"] = get "X Y: z",
  ["a NUL in a field name"] = get "X\0Y: z",
  ["a byte over 127 in a field name"] = get "X\233: z",
  ["a no-break space in a field name"] = get "X\160: z",
  ["a parenthesis in a field name"] = get "X(Y): z",
  ["a quotation mark in a field name"] = get 'X"Y": z',
  ["a slash in a field name"] = get "X/Y: z",
  ["a bracket in a field name"] = get "X[]: z",
  ["an at sign in a field name"] = get "X@Y: z",
  ["a comma in a field name"] = get "X,Y: z",
  ["a semicolon in a field name"] = get "X;Y: z",
  ["an equals sign in a field name"] = get "X=Y: z",
  ["a brace in a field name"] = get "X{}: z",
  ["a vertical tab in a field name"] = get "X\v: z",
  ["a NUL in a field value"] = get "X: a\0b",
  ["a bare CR in a field value"] = get "X: a\rb",
  ["a control character in a field value"] = get "X: a\1b",
  ["a backspace in a field value"] = get "X: a\8b",
  ["an escape character in a field value"] = get "X: a\27[31mb",
  ["DEL in a field value"] = get "X: a\127b",
} do
  cases[#cases + 1] = { section = "RFC 9112 5", name = name .. " is refused", send = bytes, expect = refused(400) }
end

-- Host (RFC 9112 3.2, RFC 9110 7.2).
for name, fields in c.each {
  ["no Host in HTTP/1.1"] = { "X: y" },
  ["two different Hosts"] = { "Host: a", "Host: b" },
  ["two equal Hosts"] = { "Host: a", "Host: a" },
  ["two Hosts in different case"] = { "host: a", "HOST: b" },
  ["a Host with a space"] = { "Host: a b" },
  ["a Host with a tab"] = { "Host: a\tb" },
  ["a Host with a list"] = { "Host: a, b" },
  ["a Host with a path"] = { "Host: a/b" },
  ["a Host with a scheme"] = { "Host: http://a" },
  ["a Host with user information"] = { "Host: user@a" },
  ["a Host with a query"] = { "Host: a?b" },
  ["a Host with a fragment"] = { "Host: a#b" },
  ["a Host with a backslash"] = { "Host: a\\b" },
  ["a Host with two ports"] = { "Host: a:80:80" },
  ["a Host with a port that is no number"] = { "Host: a:http" },
  ["a Host with a negative port"] = { "Host: a:-1" },
  ["a Host with only a port"] = { "Host: :80" },
  ["a Host with an open bracket"] = { "Host: [::1" },
  ["a Host with text after the bracket"] = { "Host: [::1]a" },
  ["a Host with a bracket that holds no address"] = { "Host: [zz]" },
  ["a Host with a bad escape"] = { "Host: a%zz" },
  ["a Host with a quotation mark"] = { 'Host: "a"' },
  ["a Host with angle brackets"] = { "Host: <a>" },
  ["a Host with a NUL"] = { "Host: a\0b" },
} do
  cases[#cases + 1] = { section = "RFC 9112 3.2", name = name .. " is refused",
    send = head("GET / HTTP/1.1", unpack(fields)), expect = refused(400) }
end
cases[#cases + 1] = { section = "RFC 9112 3.2", name = "two Hosts in HTTP/1.0 are refused",
  send = head("GET / HTTP/1.0", "Host: a", "Host: b"), expect = refused(400) }
cases[#cases + 1] = {
  section = "RFC 9112 3.2", name = "HTTP/1.0 without Host is served, and the origin gets one Host",
  send = head("GET / HTTP/1.0", "X: y"),
  expect = { status = 200, origin_sees = { line = "GET / HTTP/1.1", fields = { x = "y" } }, connection = "close" },
}
cases[#cases + 1] = {
  section = "RFC 9112 3.3", name = "an empty Host is refused or forwarded empty",
  send = head("GET / HTTP/1.1", "Host:"),
  expect = { status = { 200, 400 }, origin_sees = { requests = { 0, 1 } } },
}
for name, host in c.each {
  ["a name with a port"] = "a.example:8080", ["upper case"] = "A.Example", ["an IPv4 address"] = "192.0.2.7:80",
  ["an IPv6 address"] = "[2001:db8::1]", ["an IPv6 address with a port"] = "[2001:db8::1]:8443",
  ["an empty port"] = "a.example:", ["a trailing dot"] = "a.example.", ["an underscore"] = "a_b.example",
  ["a sub-delimiter"] = "a!$&'()*+;=b", ["an escape"] = "a%2dx.example",
} do
  cases[#cases + 1] = {
    section = "RFC 9110 7.2", name = "a Host that is " .. name .. " is forwarded as it is",
    send = head("GET / HTTP/1.1", "Host: " .. host),
    expect = { status = 200, origin_sees = { fields = { host = host } }, connection = "keep" },
  }
end

-- Field lines that must get through untouched (RFC 9110 5).
for name, field in c.each {
  ["every token character in a name"] = { "!#$%&'*+-.^_`|~09azAZ", "x" },
  ["an empty value"] = { "X-Empty", "" },
  ["bytes over 127 in a value"] = { "X-Text", "caf\195\169 \255" },
  ["a tab inside a value"] = { "X-Tab", "a\tb" },
  ["colons in a value"] = { "X-Colon", ":a:b::" },
  ["quoted strings and comments"] = { "X-Quoted", '"a, \\"b\\"" (c (d)); e="f"' },
  ["a value that looks like a request line"] = { "X-Line", "GET / HTTP/1.1" },
  ["a name of 200 characters"] = { ("n"):rep(200), "x" },
  ["a value of 20,000 characters"] = { "X-Long", ("v"):rep(20000) },
} do
  cases[#cases + 1] = {
    section = "RFC 9110 5.5", name = name .. " passes",
    send = get(field[1] .. ": " .. field[2]),
    expect = { status = 200, origin_sees = { fields = { [field[1]] = field[2] } }, connection = "keep" },
  }
end
for name, line in c.each {
  ["several spaces and tabs"] = "X-A: \t  value \t ", ["no space after the colon"] = "X-A:value",
} do
  cases[#cases + 1] = {
    section = "RFC 9112 5.1", name = name .. " around a value are not part of it",
    send = get(line),
    expect = { status = 200, origin_sees = { fields = { ["x-a"] = "value" } }, connection = "keep" },
  }
end
cases[#cases + 1] = {
  section = "RFC 9110 5.3", name = "lines of one name keep their order and stay separate or joined in order",
  send = get("X-A: 1", "X-B: 2", "X-A: 3", "x-a: 4"),
  expect = { status = 200, origin_sees = { fields = {
    ["x-a"] = c.joined "1, 3, 4", ["x-b"] = "2",
  } } },
}
cases[#cases + 1] = {
  section = "RFC 9110 5.1", name = "names keep their case and order",
  send = get("X-CaSe: 1", "x-lower: 2", "X-UPPER: 3"),
  expect = { status = 200, origin_sees = { order = { "X-CaSe", "x-lower", "X-UPPER" } } },
}

-- Limits (RFC 9112 3, RFC 6585 5, RFC 9110 15.5.15).
local function many(count)
  local fields = {}
  for i = 1, count do fields[i] = ("X-%d: %d"):format(i, i) end
  return fields
end
local function target_of(length) return "/" .. ("u"):rep(length - 1) end
local limits = {
  { section = "RFC 6585 5", name = "100 fields pass", send = get(unpack(many(99))),
    expect = { status = 200, origin_sees = { fields = { ["x-99"] = "99" } }, connection = "keep" } },
  { section = "RFC 6585 5", name = "101 fields are refused with 431", send = get(unpack(many(100))),
    expect = refused(431) },
  { section = "RFC 6585 5", name = "a field line over the limit is refused with 431",
    send = get("X: " .. ("v"):rep(33000)), expect = refused(431) },
  { section = "RFC 6585 5", name = "many fields over the limit together are refused with 431",
    send = get("A: " .. ("v"):rep(11000), "B: " .. ("v"):rep(11000), "C: " .. ("v"):rep(11000)),
    expect = refused(431) },
  { section = "RFC 6585 5", name = "a field line that never ends is refused with 431",
    send = "GET / HTTP/1.1\r\nHost: a\r\nX: " .. ("v"):rep(70000), expect = refused(431) },
  { section = "RFC 6585 5", name = "a field name that never ends is refused",
    send = "GET / HTTP/1.1\r\nHost: a\r\n" .. ("n"):rep(70000), expect = refused { 400, 431 } },
  { section = "RFC 9112 3", name = "a target of 8,000 bytes passes",
    send = head("GET " .. target_of(8000) .. " HTTP/1.1", "Host: a"),
    expect = { status = 200, origin_sees = { line = "GET " .. target_of(8000) .. " HTTP/1.1" }, connection = "keep" } },
  { section = "RFC 9112 3", name = "a target of exactly the limit passes",
    send = head("GET " .. target_of(8192) .. " HTTP/1.1", "Host: a"), expect = { status = 200, connection = "keep" } },
  { section = "RFC 9112 3", name = "a target over the limit is refused with 414",
    send = head("GET " .. target_of(8193) .. " HTTP/1.1", "Host: a"), expect = refused(414) },
  { section = "RFC 9112 3", name = "a long query is refused with 414",
    send = head("GET /?" .. ("q"):rep(9000) .. " HTTP/1.1", "Host: a"), expect = refused(414) },
  { section = "RFC 9112 3", name = "a target that never ends is refused with 414",
    send = "GET " .. target_of(70000), expect = refused(414) },
  { section = "RFC 9112 3", name = "a method that never ends is refused",
    send = ("M"):rep(70000), expect = refused { 400, 414, 431, 501 } },
}
for _, case in ipairs(limits) do cases[#cases + 1] = case end

-- What is not HTTP at all.
for name, bytes in c.each {
  ["a TLS ClientHello"] = "\22\3\1\2\0\1\0\1\252\3\3" .. ("r"):rep(64) .. "\r\n\r\n",
  ["SSH"] = "SSH-2.0-OpenSSH_9.2\r\n\r\n",
  ["SMTP"] = "EHLO example.com\r\n\r\n",
  ["a PROXY protocol header where none is expected"] = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" .. get(),
  ["a response"] = c.OK,
  ["bytes without meaning"] = "\255\254\0\1\128\r\n\r\n",
} do
  cases[#cases + 1] = { section = "RFC 9112 2.2", name = name .. " is refused", send = bytes, expect = refused(400) }
end

return cases
