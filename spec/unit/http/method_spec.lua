local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
struct vf_str { const char *data; size_t len; };
struct vf_str vf_method_name(int method);
int vf_method_from_name(const char *name, size_t len);
int vf_method_read(const char *name, size_t len);
bool vf_method_is_safe(int method);
bool vf_method_is_idempotent(int method);
size_t vf_method_list(uint64_t mask, char *out);
]]

local function number(name)
  return lib.vf_method_from_name(name, #name)
end

local function name_of(method)
  local name = lib.vf_method_name(method)
  return ffi.string(name.data, name.len)
end

describe("methods", function()
  it("have llhttp's numbers", function()
    for name, method in pairs { DELETE = 0, GET = 1, HEAD = 2, POST = 3, PUT = 4, CONNECT = 5, OPTIONS = 6,
      TRACE = 7, PATCH = 28, ["M-SEARCH"] = 24, QUERY = 46 } do
      assert.equal(method, number(name))
      assert.equal(name, name_of(method))
    end
  end)

  it("are the same there and back", function()
    local count = 0
    for method = 0, 63 do
      local name = name_of(method)
      if name ~= "" then
        count = count + 1
        assert.equal(method, number(name))
      end
    end
    assert.is_true(count >= 34)
  end)

  it("are case-sensitive and HTTP's only", function()
    for _, name in ipairs { "get", "Get", "", "GETT", "GE", "DESCRIBE", "PLAY", "SOURCE", "PRI", "X" } do
      assert.equal(-1, number(name), name)
    end
    for _, method in ipairs { -1, 33, 34, 35, 45, 47, 63, 64, 1000 } do assert.equal("", name_of(method)) end
  end)

  it("of requests are known ones, or extension methods, which share a number", function()
    local function read(name) return lib.vf_method_read(name, #name) end
    for name, method in pairs { GET = 1, QUERY = 46, BREW = 63, SOURCE = 63, DESCRIBE = 63, brew = 63,
      ["X-!#$%&'*+.^_`|~1"] = 63, [("M"):rep(32)] = 63 } do
      assert.equal(method, read(name), name)
    end
    for _, name in ipairs { "", "get", "Post", "m-search", "PRI", "A B", "A\0", "A/", "\195\156", ("M"):rep(33) } do
      assert.equal(-1, read(name), name)
    end
    assert.equal("", name_of(63))
    assert.is_false(lib.vf_method_is_idempotent(63))
  end)

  it("are safe or idempotent as RFC 9110 section 9.2 says", function()
    for _, name in ipairs { "GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND" } do
      assert.is_true(lib.vf_method_is_safe(number(name)), name)
      assert.is_true(lib.vf_method_is_idempotent(number(name)), name)
    end
    for _, name in ipairs { "PUT", "DELETE" } do
      assert.is_false(lib.vf_method_is_safe(number(name)), name)
      assert.is_true(lib.vf_method_is_idempotent(number(name)), name)
    end
    for _, name in ipairs { "POST", "PATCH", "CONNECT", "LOCK" } do
      assert.is_false(lib.vf_method_is_safe(number(name)), name)
      assert.is_false(lib.vf_method_is_idempotent(number(name)), name)
    end
    assert.is_false(lib.vf_method_is_idempotent(-1))
    assert.is_false(lib.vf_method_is_safe(64))
  end)

  it("make an Allow field value", function()
    local out = ffi.new "char[512]"
    local function list(mask) return ffi.string(out, lib.vf_method_list(mask, out)) end
    assert.equal("", list(0))
    assert.equal("GET", list(2))
    assert.equal("DELETE, GET, PATCH", list(1 + 2 + 2ULL ^ 28))
    local all = list(0xffffffffffffffffULL) -- fits the room that the header promises
    assert.is_true(#all < 512)
    assert.is_nil(all:find("SOURCE", 1, true))
  end)
end)
