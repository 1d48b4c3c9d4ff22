--- A proxy that keeps no cache passes everything about caching through and answers nothing by itself: RFC 9111.
local c = require "conformance.case"
local head, get, answer = c.head, c.get, c.answer

local cases = {}

for name, row in c.each {
  ["Age"] = { "5.1", "Age", "17" },
  ["Cache-Control"] = { "5.2", "Cache-Control", 'private="set-cookie", max-age=60, community="UCI"' },
  ["an unknown Cache-Control directive"] = { "5.2.3", "Cache-Control", "immutable, stale-while-revalidate=30, x-y" },
  ["Expires"] = { "5.3", "Expires", "Thu, 01 Dec 1994 16:00:00 GMT" },
  ["an invalid Expires"] = { "5.3", "Expires", "0" },
  ["Pragma"] = { "5.4", "Pragma", "no-cache" },
  ["Warning"] = { "5.5", "Warning", '110 anderson/1.3.37 "Response is stale"' },
  ["Vary"] = { "4.1", "Vary", "Accept-Encoding, *" },
  ["ETag"] = { "4.3", "ETag", 'W/"0"' },
  ["Last-Modified"] = { "4.3", "Last-Modified", "Thu, 01 Dec 1994 16:00:00 GMT" },
  ["CDN-Cache-Control"] = { "5.2", "CDN-Cache-Control", "max-age=600" },
  ["Surrogate-Control"] = { "5.2", "Surrogate-Control", "no-store" },
  ["Cache-Status of a cache behind"] = { "5", "Cache-Status", "behind; hit" },
  ["Clear-Site-Data"] = { "5", "Clear-Site-Data", '"cache"' },
} do
  cases[#cases + 1] = {
    section = "RFC 9111 " .. row[1], name = name .. " in an answer passes untouched", send = get(),
    origin = answer(row[2] .. ": " .. row[3], "Content-Length: 2") .. "ok",
    expect = { status = 200, client_sees = { fields = { [row[2]] = row[3] } }, connection = "keep" },
  }
end

for name, row in c.each {
  ["no-cache"] = { "5.2.1.4", "Cache-Control", "no-cache" },
  ["no-store"] = { "5.2.1.5", "Cache-Control", "no-store" },
  ["max-age=0"] = { "5.2.1.1", "Cache-Control", "max-age=0" },
  ["max-stale and min-fresh"] = { "5.2.1.2", "Cache-Control", "max-stale=10, min-fresh=5" },
  ["no-transform"] = { "5.2.1.6", "Cache-Control", "no-transform" },
  ["only-if-cached, which is for caches"] = { "5.2.1.7", "Cache-Control", "only-if-cached" },
  ["Pragma: no-cache"] = { "5.4", "Pragma", "no-cache" },
  ["If-None-Match"] = { "4.3.1", "If-None-Match", 'W/"a", "b"' },
  ["If-Modified-Since"] = { "4.3.1", "If-Modified-Since", "Thu, 01 Dec 1994 16:00:00 GMT" },
} do
  cases[#cases + 1] = {
    section = "RFC 9111 " .. row[1], name = "a request with " .. name .. " reaches the origin untouched",
    send = get(row[2] .. ": " .. row[3]),
    expect = { status = 200, origin_sees = { fields = { [row[2]] = row[3] } }, connection = "keep" },
  }
end

local FRESH = answer("Cache-Control: public, max-age=3600", "Date: Tue, 15 Nov 2044 08:12:31 GMT", 'ETag: "a"',
  "Content-Length: 3")

local more = {
  {
    section = "RFC 9111 2", name = "equal requests each reach the origin, however fresh the answer",
    send = { get(), c.response, get() }, origins = { FRESH .. "one", FRESH .. "two" },
    expect = { responses = { { body = "one" }, { body = "two" } }, origin_sees = { requests = 2 },
      connection = "keep" },
  },
  {
    section = "RFC 9111 2", name = "HEAD is not answered from a GET",
    send = { get(), c.response, head("HEAD / HTTP/1.1", "Host: a") },
    origins = { FRESH .. "one", answer "Content-Length: 9" },
    expect = { responses = { { body = "one" },
      { status = 200, method = "HEAD", fields = { ["content-length"] = "9" } } },
      origin_sees = { requests = 2 }, connection = "keep" },
  },
  {
    section = "RFC 9111 3.3", name = "a part is not completed from a whole",
    send = { get(), c.response, get "Range: bytes=0-0" },
    origins = { FRESH .. "one",
      head("HTTP/1.1 206 Partial Content", "Content-Range: bytes 0-0/3", "Content-Length: 1") .. "t" },
    expect = { responses = { { status = 200 }, { status = 206, body = "t" } },
      origin_sees = { {}, { fields = { range = "bytes=0-0" } } } },
  },
  {
    section = "RFC 9111 4.3.4", name = "304 of the origin is relayed, not turned into a stored answer",
    send = { get(), c.response, get 'If-None-Match: "a"' },
    origins = { FRESH .. "one", head("HTTP/1.1 304 Not Modified", 'ETag: "a"', "Cache-Control: max-age=9") },
    expect = { responses = { { status = 200 },
      { status = 304, body = "", fields = { ["cache-control"] = "max-age=9" } } },
      origin_sees = { requests = 2 }, connection = "keep" },
  },
  {
    section = "RFC 9111 4.2.4", name = "no stale answer stands in for an origin that fails",
    send = { get(), c.response, get() },
    origins = { FRESH .. "one", head("HTTP/1.1 503 Down", "Content-Length: 4") .. "down" },
    expect = { responses = { { status = 200 }, { status = 503, body = "down" } }, connection = "keep" },
  },
  {
    section = "RFC 9111 5.1", name = "Age is not added", send = get(), origin = FRESH .. "one",
    expect = { status = 200, client_sees = { fields = { age = false } } },
  },
  {
    section = "RFC 9111 5.2", name = "several Cache-Control lines all pass", send = get(),
    origin = answer("Cache-Control: no-cache", "Cache-Control: private", "Content-Length: 2") .. "ok",
    expect = { status = 200, client_sees = { fields = { ["cache-control"] = c.joined "no-cache, private" } } },
  },
  {
    section = "RFC 9111 3.5", name = "an answer to a request with Authorization is not kept for others",
    send = { get "Authorization: Bearer a", c.response, get() },
    origins = { FRESH .. "sec",
      head("HTTP/1.1 401 Unauthorized", "WWW-Authenticate: Bearer", "Content-Length: 2") .. "no" },
    expect = { responses = { { status = 200 }, { status = 401, body = "no" } },
      origin_sees = { { fields = { authorization = "Bearer a" } }, { fields = { authorization = false } } } },
  },
}
for _, case in ipairs(more) do cases[#cases + 1] = case end

return cases
