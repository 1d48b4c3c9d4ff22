--- Status codes: those of origins pass, those of the proxy carry a problem document. RFC 9110 section 15, RFC 9457.
local cjson = require "cjson"
local c = require "conformance.case"
local head, get = c.head, c.get

local cases = {}

-- Every final code of the registry, and codes nobody registered (RFC 9110 15: treated as the x00 of their class).
for _, status in ipairs {
  200, 201, 202, 203, 206, 207, 208, 226, 299, 300, 301, 302, 303, 305, 307, 308, 399, 400, 401, 402, 403, 404, 405,
  406,
  407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 499,
  500,
  501, 502, 503, 504, 505, 507, 508, 510, 511, 599,
} do
  cases[#cases + 1] = {
    section = "RFC 9110 15", name = status .. " of an origin passes with its fields and content", send = get(),
    origin = head(("HTTP/1.1 %d Reason"):format(status), "Content-Type: text/x", "X-A: b", "Content-Length: 2") .. "ok",
    expect = { status = status, origin_sees = { requests = 1 }, connection = "keep",
      client_sees = { body = "ok", fields = { ["x-a"] = "b", ["content-type"] = "text/x" } } },
  }
end
for _, status in ipairs { 600, 999 } do
  cases[#cases + 1] = {
    section = "RFC 9110 15", name = status .. " of an origin is no valid status", send = get(),
    origin = head(("HTTP/1.1 %d Reason"):format(status), "Content-Length: 2") .. "ok",
    expect = { status = 502, problem = true, connection = "keep" },
  }
end

local function is_html(values) return (values[1] or ""):find "^text/html" ~= nil end

-- The proxy's own answers: in HTML when the client prefers it, else as a problem document.
for name, row in c.each {
  ["application/json"] = { "application/json", false },
  ["a wildcard"] = { "*/*", false },
  ["what a browser sends"] = { "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true },
  ["HTML, less than JSON"] = { "application/json, text/html;q=0.5", false },
  ["JSON, less than HTML"] = { "application/json;q=0.5, text/html", true },
  ["HTML never"] = { "text/html;q=0, */*", false },
} do
  cases[#cases + 1] = {
    section = "RFC 9110 12.5.1", name = "an error for a client that accepts " .. name,
    send = head("DELETE /only-get HTTP/1.1", "Host: a", "Accept: " .. row[1]),
    expect = { status = 405, problem = not row[2], origin_sees = c.NOTHING, connection = "keep",
      client_sees = { fields = { ["content-type"] = function(values) return is_html(values) == row[2] end } } },
  }
end

local more = {
  {
    section = "RFC 9457 3.1", name = "nothing that the client sent is reflected as HTML",
    send = head("DELETE /only-get/<script>alert(1)</script> HTTP/1.1", "Host: a", "Accept: text/html",
      "X-Request-Id: <script>"),
    expect = { status = { 400, 405 }, origin_sees = c.NOTHING,
      client_sees = { check = function(response) return not response.body:find "<script>" end } },
  },
  {
    section = "RFC 9457 3.1", name = "what the client sent does not break the JSON of an error",
    send = head('DELETE /only-get/"\\u0022%22 HTTP/1.1', "Host: a"),
    expect = { status = { 400, 405 }, problem = true, origin_sees = c.NOTHING,
      client_sees = { check = function(response) return pcall(cjson.decode, response.body) end } },
  },
  {
    section = "RFC 9457 3.1", name = "an error has a stable code and the id of its request",
    send = head("GET /refused HTTP/1.1", "Host: a"),
    expect = { status = { 502, 503 }, problem = true, origin_sees = c.NOTHING,
      client_sees = { check = function(response)
        local problem = cjson.decode(response.body)
        return problem.code:match "^[a-z0-9_.-]+$" and #problem.request_id >= 16 and problem.type ~= ""
      end } },
  },
  {
    section = "RFC 9110 15.4.9", name = "a redirect of the proxy", send = head("GET /moved HTTP/1.1", "Host: a"),
    expect = { status = 308, client_sees = { fields = { location = "https://b.example/new" } }, origin_sees = c.NOTHING,
      connection = "keep" },
  },
  {
    section = "RFC 9110 15.3.1", name = "a fixed answer of the proxy", send = head("GET /fixed HTTP/1.1", "Host: a"),
    expect = { status = 200, client_sees = { body = "fixed", fields = { ["content-type"] = "text/plain" } },
      origin_sees = c.NOTHING, connection = "keep" },
  },
  {
    section = "RFC 9110 15.3.1", name = "a fixed answer to a request with content leaves the connection in order",
    send = head("POST /fixed HTTP/1.1", "Host: a", "Content-Length: 5") .. "hello" .. get(),
    expect = { responses = { { status = 200, body = "fixed" }, { status = 200, body = "ok" } }, origin_sees = { {} },
      connection = "keep" },
  },
  {
    section = "RFC 9110 15.3.7", name = "206 keeps Content-Range and its partial content",
    send = get "Range: bytes=0-4",
    origin = head("HTTP/1.1 206 Partial Content", "Content-Range: bytes 0-4/10", "Content-Length: 5") .. "hello",
    expect = { status = 206, client_sees = { body = "hello", fields = { ["content-range"] = "bytes 0-4/10" } } },
  },
  {
    section = "RFC 9110 15.5.17", name = "416 keeps Content-Range", send = get "Range: bytes=99-",
    origin = head("HTTP/1.1 416 Range Not Satisfiable", "Content-Range: bytes */10", "Content-Length: 0"),
    expect = { status = 416, client_sees = { fields = { ["content-range"] = "bytes */10" } } },
  },
  {
    section = "RFC 9110 15.5.22", name = "426 keeps Upgrade, which it must carry", send = get(),
    origin = head("HTTP/1.1 426 Upgrade Required", "Upgrade: websocket", "Connection: upgrade", "Content-Length: 0"),
    expect = { status = 426, client_sees = { fields = { upgrade = "websocket",
      connection = c.with "upgrade" } } },
  },
}
for _, case in ipairs(more) do cases[#cases + 1] = case end

return cases
