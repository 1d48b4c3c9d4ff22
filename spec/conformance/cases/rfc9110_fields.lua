--- End-to-end fields pass untouched in both directions; what a proxy adds about itself: RFC 9110 sections 5, 6.6, 7.6
--- and 8 to 14.
local c = require "conformance.case"
local get, answer = c.get, c.answer

local cases = {}

-- Request fields that are none of a proxy's business.
for name, value in c.each {
  ["Accept"] = "text/html;q=0.8, */*;q=0.1", ["Accept-Charset"] = "utf-8",
  ["Accept-Encoding"] = "gzip, br;q=0.5, identity;q=0",
  ["Accept-Language"] = "de-AT, en;q=0.5", ["Authorization"] = "Basic YTpi", ["Cookie"] = "a=1; b=\"2\"; a=3",
  ["Content-Type"] = "text/plain; charset=\"utf-8\"", ["Content-Encoding"] = "gzip", ["Content-Language"] = "en",
  ["Content-Location"] = "/x", ["Date"] = "Tue, 15 Nov 1994 08:12:31 GMT", ["From"] = "a@example.com",
  ["If-Match"] = '"a", W/"b"', ["If-None-Match"] = "*", ["If-Modified-Since"] = "Sat, 29 Oct 1994 19:43:31 GMT",
  ["If-Unmodified-Since"] = "not a date", ["If-Range"] = '"a"', ["Range"] = "bytes=0-4, -5",
  ["Referer"] = "http://b/?x",
  ["User-Agent"] = "test/1.0 (a comment)", ["Origin"] = "https://b.example", ["Priority"] = "u=1, i",
  ["Max-Forwards"] = "0", ["X_Under_Score"] = "1", ["Sec-Fetch-Mode"] = "cors", ["traceparent"] = "00-ab-cd-01",
} do
  cases[#cases + 1] = {
    section = "RFC 9110 7.6", name = "the request field " .. name .. " passes", send = get(name .. ": " .. value),
    expect = { status = 200, origin_sees = { fields = { [name] = value } } },
  }
end

-- Response fields likewise.
for name, value in c.each {
  ["Accept-Ranges"] = "bytes", ["Allow"] = "GET, HEAD", ["Authentication-Info"] = "a=b", ["Content-Encoding"] = "br",
  ["Content-Language"] = "en, de", ["Content-Location"] = "/x;y", ["Content-Type"] = "text/html; charset=utf-8",
  ["Date"] = "Tue, 15 Nov 1994 08:12:31 GMT", ["ETag"] = 'W/"a b"', ["Last-Modified"] = "Tue, 15 Nov 1994 12:45:26 GMT",
  ["Link"] = "</a>; rel=preload", ["Location"] = "http://origin.internal:8080/x?y", ["Retry-After"] = "120",
  ["Server"] = "origin/1.0", ["Strict-Transport-Security"] = "max-age=1",
  ["WWW-Authenticate"] = 'Basic realm="a, b", Digest x="y"',
  ["X-Empty"] = "", ["X-Text"] = "caf\195\169 \255", ["Content-Security-Policy"] = "default-src 'self'; x",
} do
  cases[#cases + 1] = {
    section = "RFC 9110 7.6", name = "the response field " .. name .. " passes", send = get(),
    origin = answer(name .. ": " .. value, "Content-Length: 2") .. "ok",
    expect = { status = 200, client_sees = { fields = { [name] = value } }, connection = "keep" },
  }
end

local more = {
  {
    section = "RFC 9110 5.3", name = "Set-Cookie lines stay separate and in order", send = get(),
    origin = answer("Set-Cookie: a=1, x; Path=/", "Set-Cookie: b=2", "Content-Length: 2", "Set-Cookie: a=3") .. "ok",
    expect = { status = 200, client_sees = { fields = { ["set-cookie"] = { "a=1, x; Path=/", "b=2", "a=3" } } } },
  },
  {
    section = "RFC 9110 5.3", name = "response fields keep names, case and order", send = get(),
    origin = answer("X-B: 1", "x-a: 2", "X-CaSe: 3", "Content-Length: 2") .. "ok",
    expect = { status = 200, client_sees = { order = { "X-B", "x-a", "X-CaSe" } } },
  },
  {
    section = "RFC 9110 5.3", name = "Cookie lines keep their order", send = get("Cookie: a=1", "Cookie: b=2"),
    expect = { status = 200, origin_sees = { fields = { cookie = function(values)
      return table.concat(values, "; "):gsub("[;,] ", ";") == "a=1;b=2"
    end } } },
  },
  {
    section = "RFC 9110 6.6.1", name = "an answer without Date gets one", send = get(),
    expect = { status = 200, client_sees = { fields = { date = function(values)
      return #values == 1 and values[1]:match "^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$"
    end } } },
  },
  {
    section = "RFC 9110 10.2.4", name = "an answer without Server gets none", send = get(),
    expect = { status = 200, client_sees = { fields = { server = false } } },
  },
  {
    section = "RFC 9110 7.6.3", name = "an answer gets no Via unless asked for", send = get(),
    expect = { status = 200, client_sees = { fields = { via = false } } },
  },
  {
    section = "RFC 9110 7.7", name = "content is not transformed", send = get "Accept-Encoding: gzip",
    origin = answer("Content-Type: text/plain", "Content-Length: 3000") .. ("a"):rep(3000),
    expect = { status = 200, client_sees = { body = ("a"):rep(3000), fields = { ["content-encoding"] = false } } },
  },
  {
    section = "RFC 9110 12.5.3", name = "Accept-Encoding is not added", send = get(),
    expect = { status = 200, origin_sees = { fields = { ["accept-encoding"] = false } } },
  },
  {
    section = "RFC 9110 8.3", name = "Content-Type is not added to a request without one",
    send = c.post "Content-Length: 2" .. "{}",
    expect = { status = 200, origin_sees = { body = "{}", fields = { ["content-type"] = false } } },
  },
  {
    section = "RFC 9110 8.6", name = "a GET without content gets no Content-Length", send = get(),
    expect = { status = 200, origin_sees = { framing = "none" } },
  },
  {
    section = "RFC 7239 4", name = "X-Forwarded-For and -Proto of a stranger are not believed",
    send = get("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example"),
    expect = { status = 200,
      origin_sees = { fields = { ["x-forwarded-for"] = "127.0.0.1", ["x-forwarded-proto"] = "http",
      ["x-forwarded-host"] = "a" } } },
  },
  {
    section = "RFC 7239 4", name = "the X-Request-Id of a stranger is replaced",
    send = get "X-Request-Id: stranger",
    expect = { status = 200, origin_sees = { fields = { ["x-request-id"] = function(values)
      return #values == 1 and values[1] ~= "stranger" and #values[1] >= 16
    end } } },
  },
  {
    section = "RFC 7239 4", name = "several X-Forwarded-For lines of a stranger are not believed",
    send = get("X-Forwarded-For: 192.0.2.1", "x-forwarded-for: 192.0.2.2, 192.0.2.3"),
    expect = { status = 200, origin_sees = { fields = { ["x-forwarded-for"] = "127.0.0.1" } } },
  },
}
for _, case in ipairs(more) do cases[#cases + 1] = case end

return cases
