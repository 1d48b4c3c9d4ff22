--- Request targets: their forms, and how paths are normalised before routing (RFC 9112 3.2, RFC 9110 4 and 7.1,
--- RFC 3986 6.2). A path with dot segments is forwarded normalised; every other path as the bytes that were sent.
local c = require "conformance.case"
local head, refused = c.head, c.refused

local cases = {}

local function request(target, host) return head("GET " .. target .. " HTTP/1.1", "Host: " .. (host or "a")) end

-- Targets and what the origin sees of them.
local function forwarded(section, name, target, seen, host)
  cases[#cases + 1] = {
    section = section, name = name, send = request(target),
    expect = { status = 200, connection = "keep",
      origin_sees = { line = "GET " .. seen .. " HTTP/1.1", fields = { host = host or "a" } } },
  }
end

for name, target in c.each {
  ["a plain path"] = "/a/b", ["a path that ends in a slash"] = "/a/", ["a query"] = "/a?b=c&d",
  ["an empty query"] = "/a?",
  ["two question marks"] = "/a?b?c", ["a slash in the query"] = "/a?b=/../c",
  ["an encoded slash in the query"] = "/?a=%2F..%5c%00",
  ["two slashes"] = "/a//b", ["slashes at the start"] = "//evil.example/x", ["an escaped letter"] = "/%61/%7Eb",
  ["lower-case escapes"] = "/caf%c3%a9", ["an escaped space"] = "/a%20b", ["a plus sign"] = "/a+b",
  ["an escaped percent sign"] = "/a%2561",
  ["an escaped question mark"] = "/a%3Fb", ["an escaped number sign"] = "/a%23b",
  ["sub-delimiters"] = "/a!$&'()*+,;=:@b",
  ["a path parameter"] = "/a;x=y/b", ["three dots"] = "/a/.../b", ["dots inside a segment"] = "/a/b..c/..d/e../.f",
  ["dots with a parameter"] = "/a/..;/b", ["a colon in the first segment"] = "/a:80",
  ["an escaped dot inside a segment"] = "/a/b%2ec",
  ["a URL in the path"] = "/http://b.example/c",
} do
  forwarded("RFC 9110 7.1", name .. " is forwarded as it was sent", target, target)
end

for target, seen in c.each {
  ["/a/./b"] = "/a/b", ["/a/../b"] = "/b", ["/a/b/../../c"] = "/c", ["/."] = "/", ["/a/."] = "/a/", ["/a/.."] = "/",
  ["/a/b/.."] = "/a/", ["/./a"] = "/a", ["/a/%2e/b"] = "/a/b", ["/a/%2E%2e/b"] = "/b", ["/a/.%2e/b"] = "/b",
  ["/a/%2e./b"] = "/b",
  ["/a//../b"] = "/a/b", ["/a/../b?c=../d"] = "/b?c=../d", ["/a/../%7eb"] = "/~b", ["/a/./%20b"] = "/a/%20b",
  ["/a/..?b"] = "/?b", ["/a/b/./../c/"] = "/a/c/",
} do
  forwarded("RFC 3986 5.2.4", target .. " is forwarded as " .. seen, target, seen)
end

-- Never past the root, never with a character that two parsers read differently.
for name, target in c.each {
  ["climbs above the root"] = "/..", ["climbs above the root at once"] = "/../a",
  ["climbs above the root later"] = "/a/../../b",
  ["climbs above the root, encoded"] = "/%2e%2e/a", ["climbs above the root, half encoded"] = "/a/%2e./.%2E/b",
  ["climbs above the root by a detour"] = "/a/b/../../../c", ["has an encoded slash"] = "/a%2fb",
  ["has an encoded slash in upper case"] = "/a%2Fb",
  ["has dots and an encoded slash"] = "/a/..%2fb", ["has an encoded backslash"] = "/a%5cb",
  ["has an encoded backslash in upper case"] = "/a%5Cb",
  ["has dots and an encoded backslash"] = "/a/..%5cb", ["has a backslash"] = "/a\\b",
  ["has dots and a backslash"] = "/a/..\\b",
  ["has an encoded NUL"] = "/a%00b", ["has an escape without digits"] = "/a%", ["has an escape of one digit"] = "/a%2",
  ["has an escape that is no hexadecimal"] = "/a%zz", ["has an escape with a signed digit"] = "/a%-1",
  ["has a fragment"] = "/a#b", ["has a fragment in the query"] = "/a?b#c", ["has a DEL"] = "/a\127b",
  ["has a control character"] = "/a\1b",
  ["has a NUL in the query"] = "/a?b\0c", ["has a tab in the query"] = "/a?b\tc", ["is a relative path"] = "a/b",
  ["is only a query"] = "?a", ["is an asterisk"] = "*", ["is an asterisk and more"] = "*/a",
  ["is an authority"] = "b.example:80",
  ["is a dot"] = ".", ["is a scheme without slashes"] = "http:b.example",
  ["is a scheme with one slash"] = "http:/b.example",
  ["is a scheme without host"] = "http://", ["is a scheme without host, with path"] = "http:///a",
  ["has user information"] = "http://user@b.example/", ["has a password"] = "http://user:pw@b.example/",
  ["has a bad port"] = "http://b.example:x/", ["has a bad host"] = "http://b<c>/",
  ["has an open bracket"] = "http://[::1/",
  ["has a fragment after its authority"] = "http://b.example#c", ["has an empty host with port"] = "http://:80/",
  ["has a backslash in its authority"] = "http://b.example\\@c/",
} do
  cases[#cases + 1] = { section = "RFC 9112 3.2", name = "a target that " .. name .. " is refused",
    send = request(target), expect = refused(400) }
end

-- Absolute form: the target's authority is the Host (RFC 9112 3.2.2).
for name, row in c.each {
  ["an absolute target"] = { "http://b.example/x?y=z", "/x?y=z", "b.example" },
  ["an absolute target with port"] = { "http://b.example:8080/x", "/x", "b.example:8080" },
  ["an absolute target without path"] = { "http://b.example", "/", "b.example" },
  ["an absolute target with only a query"] = { "http://b.example?x", "/?x", "b.example" },
  ["a scheme in upper case"] = { "HTTP://b.example/x", "/x", "b.example" },
  ["an IPv6 authority"] = { "http://[::1]:80/x", "/x", "[::1]:80" },
  ["a literal IPv4 authority"] = { "http://192.0.2.1/x", "/x", "192.0.2.1" },
  ["dot segments in an absolute target"] = { "http://b.example/x/../y", "/y", "b.example" },
  ["a slash in the query of an absolute target"] = { "http://b.example?/x/../y", "/?/x/../y", "b.example" },
} do
  forwarded("RFC 9112 3.2.2", name .. " is forwarded in origin form, Host from the target", row[1], row[2], row[3])
end

local more = {
  {
    section = "RFC 9110 7.4", name = "an https target over a connection that is not secured is misdirected",
    send = head("GET https://b.example/ HTTP/1.1", "Host: b.example"),
    expect = { status = 421, problem = true, origin_sees = c.NOTHING, connection = "close" },
  },
  {
    section = "RFC 9112 3.2.2", name = "an absolute target does not make up for a missing Host",
    send = head "GET http://b.example/ HTTP/1.1", expect = refused(400),
  },
  {
    section = "RFC 9112 3.2.2", name = "an absolute target does not make up for a bad Host",
    send = head("GET http://b.example/ HTTP/1.1", "Host: a b"), expect = refused(400),
  },
  {
    section = "RFC 9112 3.2.2", name = "an absolute target does not make up for two Hosts",
    send = head("GET http://b.example/ HTTP/1.1", "Host: b.example", "Host: a"), expect = refused(400),
  },
  {
    section = "RFC 9112 3.2.2", name = "X-Forwarded-Host tells the authority of the target",
    send = head("GET http://b.example/ HTTP/1.1", "Host: a"),
    expect = { status = 200, origin_sees = { fields = { host = "b.example", ["x-forwarded-host"] = "b.example" } } },
  },
  {
    section = "RFC 9112 3.2.2", name = "an absolute target in HTTP/1.0 without Host",
    send = head "GET http://b.example/x HTTP/1.0",
    expect = { status = 200, origin_sees = { line = "GET /x HTTP/1.1", fields = { host = "b.example" } },
      connection = "close" },
  },
  {
    section = "RFC 9112 3.2.2", name = "an absolute target of another scheme is refused",
    send = request "ftp://b.example/x",
    expect = { status = { 400, 404, 421, 501 }, problem = true, origin_sees = c.NOTHING },
  },
  {
    section = "RFC 9112 3.2.4", name = "OPTIONS of an absolute target without path is OPTIONS *",
    send = head("OPTIONS http://b.example:8001 HTTP/1.1", "Host: b.example:8001"),
    expect = { status = 200, origin_sees = { line = "OPTIONS * HTTP/1.1", fields = { host = "b.example:8001" } } },
  },
  {
    section = "RFC 9112 3.2.4", name = "an asterisk is for OPTIONS only",
    send = head("POST * HTTP/1.1", "Host: a", "Content-Length: 0"), expect = refused(400),
  },
  {
    section = "RFC 9110 7.1", name = "routing sees the decoded path: an escape does not get around a route",
    send = head("DELETE /%6fnly-get HTTP/1.1", "Host: a"),
    expect = { status = 405, problem = true, origin_sees = c.NOTHING, connection = "keep" },
  },
  {
    section = "RFC 9110 7.1", name = "routing sees the normalised path: dot segments do not get around a route",
    send = head("DELETE /x/../only-get HTTP/1.1", "Host: a"),
    expect = { status = 405, problem = true, origin_sees = c.NOTHING, connection = "keep" },
  },
  {
    section = "RFC 9110 7.1", name = "routing sees the normalised path: encoded dot segments do not get around a route",
    send = head("DELETE /only-get/%2e%2e/only-get/x HTTP/1.1", "Host: a"),
    expect = { status = 405, problem = true, origin_sees = c.NOTHING, connection = "keep" },
  },
  {
    section = "RFC 9110 7.1", name = "a prefix matches at a segment boundary only",
    send = head("DELETE /only-getx HTTP/1.1", "Host: a"), expect = { status = 200, connection = "keep" },
  },
  {
    section = "RFC 3986 6.2.2", name = "a rewritten path is forwarded normalised",
    send = head("GET /strip/a/./%7Eb?c=%7e HTTP/1.1", "Host: a"),
    expect = { status = 200, origin_sees = { line = "GET /a/~b?c=%7e HTTP/1.1" }, connection = "keep" },
  },
  {
    section = "RFC 3986 6.2.2", name = "what remains of a path after its prefix begins with one slash",
    send = head("GET /strip HTTP/1.1", "Host: a"),
    expect = { status = 200, origin_sees = { line = "GET / HTTP/1.1" }, connection = "keep" },
  },
  {
    section = "RFC 9112 3.2.1", name = "a path that is stripped to two slashes does not become an authority",
    send = head("GET /strip//evil.example/x HTTP/1.1", "Host: a"),
    expect = { status = 200, origin_sees = { fields = { host = "a" }, line = "GET //evil.example/x HTTP/1.1" } },
  },
}
for _, case in ipairs(more) do cases[#cases + 1] = case end

return cases
