--- src/http/h2_client.c: requests as lists of fields, answers from them.
local ffi = require "ffi"
local native = require "support.native"

ffi.cdef [[
void h2c_request(const char *lines, int framing, long length, int te_trailers, char *out);
void h2c_trailers(const char *lines, char *out);
void h2c_answer(const char *lines, int is_head, int is_last, char *out);
]]
local lib = native.load "h2_client"
local NONE, LENGTH, CHUNKED = 0, 1, 2
local out = ffi.new "char[4096]"

local function request(lines, framing, length, te)
  lib.h2c_request(lines, framing or NONE, length or -1, te and 1 or 0, out)
  return ffi.string(out)
end

local PSEUDO = ":method: PUT\n:scheme: http\n:authority: host\n:path: /a\n"

describe("a request", function()
  it("begins with pseudo-header fields; names are in lower case, values as they were", function()
    assert.equal(PSEUDO .. "x-one: A b\nx-two: \n", request "X-One: A b\nx-TWO: \n")
  end)

  it("has no fields of a connection, nor what the connection names, nor Host", function()
    assert.equal(PSEUDO .. "a: 1\n", request(
      "Host: x\nConnection: close, Hop\nHop: 1\nKeep-Alive: 1\nTransfer-Encoding: chunked\nUpgrade: h2c\nTE: gzip\n"
      .. "Proxy-Connection: close\nHTTP2-Settings: a\na: 1\n"))
  end)

  it("has its length, where there is one", function()
    assert.equal(PSEUDO .. "content-length: 5\n", request("Content-Length: 7\n", LENGTH, 5))
    assert.equal(PSEUDO .. "content-length: 0\n", request("", NONE, 0))
    assert.equal(PSEUDO, request("", NONE))
    assert.equal(PSEUDO, request("", CHUNKED))
  end)

  it("says that trailers are welcome", function()
    assert.equal(PSEUDO .. "te: trailers\n", request("", NONE, -1, true))
  end)
end)

describe("trailers", function()
  it("are copied in lower case, without what decides about framing", function()
    lib.h2c_trailers("X-Sum: 6\nContent-Length: 5\nTransfer-Encoding: chunked\nHost: a\nX-Empty: \n", out)
    assert.equal("x-sum: 6\nx-empty: \n", ffi.string(out))
  end)

  it("may be none", function()
    lib.h2c_trailers("", out)
    assert.equal("", ffi.string(out))
  end)
end)

describe("an answer", function()
  local function answer(lines, is_last, is_head)
    lib.h2c_answer(lines, is_head and 1 or 0, is_last and 1 or 0, out)
    return ffi.string(out)
  end

  for _, case in ipairs {
    { "of a length", ":status: 200\ncontent-length: 5\n", false, "200 length 5 fields=1" },
    { "without", ":status: 200\n", false, "200 chunked -1 fields=0" },
    { "that ends at once", ":status: 200\na: b\n", true, "200 none 0 fields=1" },
    { "of nothing", ":status: 200\ncontent-length: 0\n", false, "200 none 0 fields=1" },
    { "204", ":status: 204\n", true, "204 none -1 fields=0" },
    { "304 with a length", ":status: 304\ncontent-length: 9\n", true, "304 none 9 fields=1" },
    { "103", ":status: 103\nlink: a\n", false, "103 none -1 fields=1" },
    { "103 that ends", ":status: 103\n", true, "502 an interim answer that ends" },
    { "101", ":status: 101\n", false, "502 101, which HTTP/2 does not have" },
    { "600", ":status: 600\n", false, "502 the status is not within 100 and 599" },
    { "with a length that is none", ":status: 200\ncontent-length: 5x\n", false,
      "502 Content-Length is not a decimal number" },
    { "that is large", ":status: 200\na: " .. ("b"):rep(190) .. "\n", false,
      "502 the header section is larger than allowed" },
    { "of many fields", ":status: 200\n" .. ("a: b\n"):rep(6), false, "502 more header fields than allowed" },
    { "of as many as there may be", ":status: 200\n" .. ("a: b\n"):rep(5), true, "200 none 0 fields=5" },
  } do
    it(case[1], function() assert.equal(case[4], answer(case[2], case[3])) end)
  end

  it("to HEAD keeps the length of what it would be", function()
    assert.equal("200 none 7 fields=1", answer(":status: 200\ncontent-length: 7\n", true, true))
    assert.equal("200 none -1 fields=0", answer(":status: 200\n", true, true))
  end)
end)
