--- src/http/h1.c and h1_write.c: where a head ends, what cannot become one, and chunk lines. Whole messages are the
-- business of spec/conformance and of the fuzz targets.
local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
size_t vf_h1_head_len(const char *data, size_t len, size_t seen);
bool vf_h1_may_be_request(const char *data, size_t len);
const char *vf_h1_bare_cr(const char *data, size_t len);
size_t vf_h1_chunk_line(uint64_t len, char *out);
]]

local function head_len(text, seen) return tonumber(lib.vf_h1_head_len(text, #text, seen or 0)) end

describe("the end of a head", function()
  local HEAD = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

  it("is behind the empty line", function()
    assert.equal(#HEAD, head_len(HEAD))
    assert.equal(#HEAD, head_len(HEAD .. "body\r\n\r\n"))
  end)

  it("is found whatever was looked at before", function()
    for cut = 0, #HEAD - 1 do
      assert.equal(0, head_len(HEAD:sub(1, cut)), cut)
      assert.equal(#HEAD, head_len(HEAD, cut), cut)
    end
  end)

  it("is not the one empty line that may stand before a request (RFC 9112 section 2.2)", function()
    assert.equal(0, head_len "\r\n")
    assert.equal(#HEAD + 2, head_len("\r\n" .. HEAD))
  end)

  it("is also behind bare line feeds, so that they are refused at once", function()
    assert.equal(16, head_len "GET / HTTP/1.1\n\n")
  end)
end)

describe("bytes that cannot become a request", function()
  local function may(text) return lib.vf_h1_may_be_request(text, #text) end

  it("are told from the start", function()
    assert.is_false(may "\22\3\1\2\0")
    assert.is_false(may " GET / HTTP/1.1")
    assert.is_false(may "\0")
    assert.is_false(may "GE(T / ")
  end)

  it("may be the beginning of any method", function()
    for _, text in ipairs { "", "G", "GET", "GET ", "GET /", "\r\nGET", "PROPFIND /x" } do
      assert.is_true(may(text), text)
    end
  end)
end)

describe("a carriage return", function()
  local function at(text)
    local bytes = ffi.cast("const char *", text)
    local found = lib.vf_h1_bare_cr(bytes, #text)
    return found ~= nil and tonumber(found - bytes) or nil
  end

  it("ends a line or is found", function()
    assert.is_nil(at "a\r\nb\r\n")
    assert.is_nil(at "a\r\nb\r") -- the line feed may follow
    assert.equal(1, at "a\rb\r\n")
    assert.equal(3, at "a\r\n\r\r\n")
  end)
end)

describe("the line before a chunk", function()
  it("is the length in hexadecimal", function()
    local out = ffi.new "char[18]"
    local function line(length) return ffi.string(out, lib.vf_h1_chunk_line(length, out)) end
    assert.equal("0\r\n", line(0))
    assert.equal("a\r\n", line(10))
    assert.equal("10000\r\n", line(65536))
    assert.equal("ffffffffffffffff\r\n", line(0xffffffffffffffffULL))
  end)
end)
