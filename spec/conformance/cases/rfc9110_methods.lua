--- Methods: RFC 9110 section 9.
local c = require "conformance.case"
local head, answer = c.head, c.answer

local cases = {}

for _, method in ipairs {
  "GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK",
  "UNLOCK",
  "REPORT", "SEARCH", "PURGE",
} do
  cases[#cases + 1] = {
    section = "RFC 9110 9.1", name = method .. " is forwarded",
    send = head(method .. " /x HTTP/1.1", "Host: a", "Content-Length: 2") .. "hi",
    expect = { status = 200, origin_sees = { line = method .. " /x HTTP/1.1", body = "hi" }, connection = "keep" },
  }
  cases[#cases + 1] = {
    section = "RFC 9112 6.3", name = method .. " without framing has no content",
    send = head(method .. " /x HTTP/1.1", "Host: a") .. c.get(),
    expect = { responses = { { status = 200 }, { status = 200 } }, connection = "keep",
      origin_sees = { { line = method .. " /x HTTP/1.1", body = "" }, { line = "GET / HTTP/1.1" } } },
  }
end

-- Extension methods: forwarded as they are (RFC 9110 9.1, 16.1), framed as any other.
for name, method in c.each { ["an unknown method"] = "FLY", ["a method with token characters"] = "X-!#$%&'*+.^_`|~1",
  ["an unknown method in lower case"] = "fly", ["a method of RTSP"] = "DESCRIBE", ["a method of Icecast"] = "SOURCE",
  ["a registered method that few know"] = "UPDATEREDIRECTREF", ["a method of one letter"] = "Q",
  ["a method that begins like another"] = "POSTER", ["a method of 32 bytes"] = ("M"):rep(32) } do
  local line = method .. " /x HTTP/1.1"
  local seen = { line = line, body = "hi" }
  cases[#cases + 1] = {
    section = "RFC 9110 9.1", name = name .. " is forwarded as it is", send = head(line, "Host: a"),
    expect = { status = 200, origin_sees = { line = line, body = "" }, connection = "keep" },
  }
  cases[#cases + 1] = {
    section = "RFC 9112 6.3", name = name .. " may have content",
    send = head(line, "Host: a", "Content-Length: 2") .. "hi" .. head(line, "Host: a", "Transfer-Encoding: chunked") ..
      "2\r\nhi\r\n0\r\n\r\n",
    expect = { responses = { { status = 200 }, { status = 200 } }, connection = "keep", origin_sees = { seen, seen } },
  }
  cases[#cases + 1] = {
    section = "RFC 9112 6.3", name = name .. " without framing has no content",
    send = head(line, "Host: a") .. c.get(),
    expect = { responses = { { status = 200 }, { status = 200 } }, connection = "keep",
      origin_sees = { { line = line, body = "" }, { line = "GET / HTTP/1.1" } } },
  }
  cases[#cases + 1] = {
    section = "RFC 9112 6.3", name = name .. " with two framings is refused",
    send = head(line, "Host: a", "Content-Length: 2", "Transfer-Encoding: chunked") .. "0\r\n\r\n",
    expect = c.refused(400),
  }
end

-- What could be taken for another method is not forwarded, nor is what is no method.
for name, method in c.each { ["a known method in lower case"] = "get", ["a known method in mixed case"] = "Post",
  ["the preface of HTTP/2"] = "PRI", ["a method of 33 bytes"] = ("M"):rep(33) } do
  cases[#cases + 1] = {
    section = "RFC 9110 9.1", name = name .. " is not implemented", send = head(method .. " /x HTTP/1.1", "Host: a"),
    expect = c.refused(501),
  }
end
for name, method in c.each { ["a slash"] = "A/B", ["a NUL"] = "A\0B", ["a byte above ASCII"] = "A\228",
  ["a colon"] = "A:", ["a tab"] = "A\tB", ["a quote"] = 'A"' } do
  cases[#cases + 1] = {
    section = "RFC 9110 9.1", name = "a method with " .. name .. " is refused",
    send = head(method .. " /x HTTP/1.1", "Host: a"), expect = c.refused(400),
  }
end

local more = {
  {
    section = "RFC 9110 9.3.2", name = "HEAD is forwarded as HEAD, and its answer has no body",
    send = head("HEAD /x HTTP/1.1", "Host: a"), origin = answer "Content-Length: 1000",
    expect = { status = 200, origin_sees = { line = "HEAD /x HTTP/1.1" }, connection = "keep",
      client_sees = { body = "", fields = { ["content-length"] = "1000" } } },
  },
  {
    section = "RFC 9110 9.3.2", name = "HEAD to HTTP/1.0 ends without a body",
    send = head("HEAD /x HTTP/1.0", "Host: a"), origin = answer "Transfer-Encoding: chunked",
    expect = { status = 200, client_sees = { body = "" }, connection = "close" },
  },
  {
    section = "RFC 9110 9.3.2", name = "an error of the proxy itself has no body for HEAD",
    send = head("HEAD /refused HTTP/1.1", "Host: a"),
    expect = { status = { 502, 503 }, client_sees = { body = "" }, origin_sees = c.NOTHING, connection = "keep" },
  },
  {
    section = "RFC 9110 9.3.2", name = "a fixed answer has no body for HEAD, but its length",
    send = head("HEAD /fixed HTTP/1.1", "Host: a"),
    expect = { status = 200, client_sees = { body = "", fields = { ["content-length"] = "5" } },
      origin_sees = c.NOTHING,
      connection = "keep" },
  },
  {
    section = "RFC 9110 15.5.6", name = "a method that the route does not take is answered with 405 and Allow",
    send = head("DELETE /only-get HTTP/1.1", "Host: a"),
    expect = { status = 405, problem = true, origin_sees = c.NOTHING, connection = "keep",
      client_sees = { fields = { allow = c.with "get" } } },
  },
  {
    section = "RFC 9110 15.5.6", name = "a method that the route takes passes",
    send = head("GET /only-get HTTP/1.1", "Host: a"), expect = { status = 200, connection = "keep" },
  },

  -- CONNECT (RFC 9110 9.3.6): no tunnels.
  {
    section = "RFC 9110 9.3.6", name = "CONNECT is refused",
    send = head("CONNECT b.example:443 HTTP/1.1", "Host: b.example:443"),
    expect = { status = { 405, 501 }, problem = true, origin_sees = c.NOTHING },
  },
  {
    section = "RFC 9110 9.3.6", name = "nothing sent behind CONNECT is forwarded to anybody",
    send = head("CONNECT b.example:80 HTTP/1.1", "Host: b.example:80") .. head("GET /evil HTTP/1.1", "Host: b.example"),
    expect = { status = { 405, 501 }, problem = true, origin_sees = { requests = 0 } },
  },
  {
    section = "RFC 9112 3.2.3", name = "CONNECT with a path is refused", send = head("CONNECT / HTTP/1.1", "Host: a"),
    expect = { status = { 400, 405, 501 }, problem = true, origin_sees = c.NOTHING },
  },
  {
    section = "RFC 9112 3.2.3", name = "CONNECT without a port is refused",
    send = head("CONNECT b HTTP/1.1", "Host: b"),
    expect = { status = { 400, 405, 501 }, problem = true, origin_sees = c.NOTHING },
  },

  -- OPTIONS and TRACE end at the proxy when Max-Forwards says so (RFC 9110 7.6.2, 9.3.7, 9.3.8).
  {
    section = "RFC 9110 9.3.7", name = "OPTIONS * is forwarded", send = head("OPTIONS * HTTP/1.1", "Host: a"),
    expect = { status = 200, origin_sees = { line = "OPTIONS * HTTP/1.1", fields = { host = "a" } },
      connection = "keep" },
  },
  {
    section = "RFC 9110 7.6.2", name = "OPTIONS with Max-Forwards: 0 is answered by the proxy",
    send = head("OPTIONS / HTTP/1.1", "Host: a", "Max-Forwards: 0"),
    expect = { status = { 200, 204 }, origin_sees = c.NOTHING, connection = "keep",
      client_sees = { fields = { allow = c.present } } },
  },
  {
    section = "RFC 9110 7.6.2", name = "OPTIONS * with Max-Forwards: 0 is answered by the proxy",
    send = head("OPTIONS * HTTP/1.1", "Host: a", "Max-Forwards: 0"),
    expect = { status = { 200, 204 }, origin_sees = c.NOTHING, connection = "keep" },
  },
  {
    section = "RFC 9110 7.6.2", name = "OPTIONS with Max-Forwards: 5 is forwarded with 4",
    send = head("OPTIONS / HTTP/1.1", "Host: a", "Max-Forwards: 5"),
    expect = { status = 200, origin_sees = { fields = { ["max-forwards"] = "4" } }, connection = "keep" },
  },
  {
    section = "RFC 9110 7.6.2", name = "OPTIONS * with Max-Forwards: 1 is forwarded with 0",
    send = head("OPTIONS * HTTP/1.1", "Host: a", "Max-Forwards: 1"),
    expect = { status = 200, origin_sees = { line = "OPTIONS * HTTP/1.1", fields = { ["max-forwards"] = "0" } } },
  },
  {
    section = "RFC 9110 7.6.2",
    name = "a Max-Forwards with more digits than any integer is forwarded smaller, or refused",
    send = head("OPTIONS / HTTP/1.1", "Host: a", "Max-Forwards: 18446744073709551616"),
    expect = { status = { 200, 400 },
      origin_sees = { requests = { 0, 1 }, fields = { ["max-forwards"] = function(values)
      return values[1] and values[1]:match "^%d+$" and values[1] ~= "18446744073709551616"
    end } } },
  },
  {
    section = "RFC 9110 9.3.8", name = "TRACE with Max-Forwards: 0 ends at the proxy, which reflects nothing",
    send = head("TRACE / HTTP/1.1", "Host: a", "Max-Forwards: 0", "Cookie: secret"),
    expect = { status = 405, origin_sees = c.NOTHING, connection = "keep",
      client_sees = { fields = { allow = c.present } } },
  },
  {
    section = "RFC 9110 9.3.8", name = "TRACE with Max-Forwards: 2 is forwarded with 1",
    send = head("TRACE /x HTTP/1.1", "Host: a", "Max-Forwards: 2"),
    expect = { status = 200, origin_sees = { line = "TRACE /x HTTP/1.1", fields = { ["max-forwards"] = "1" } } },
  },
  {
    section = "RFC 9110 9.3.8", name = "TRACE without Max-Forwards is forwarded",
    send = head("TRACE /x HTTP/1.1", "Host: a"),
    expect = { status = 200, origin_sees = { line = "TRACE /x HTTP/1.1" } },
  },
  {
    section = "RFC 9110 7.6.2", name = "Max-Forwards means nothing for other methods",
    send = head("POST / HTTP/1.1", "Host: a", "Max-Forwards: 0", "Content-Length: 0"),
    expect = { status = 200, origin_sees = { fields = { ["max-forwards"] = "0" } }, connection = "keep" },
  },
}
for _, case in ipairs(more) do cases[#cases + 1] = case end

return cases
