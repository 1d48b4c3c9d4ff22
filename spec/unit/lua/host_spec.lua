local ffi = require "ffi"
local fixture = require "unit.conf.fixture"

ffi.cdef [[
int vf_ip_parse(const char *text, size_t len, uint8_t ip[16]);
int vf_host_user(const char *name, uint32_t *uid, uint32_t *gid);
int vf_host_group(const char *name, uint32_t *gid);
uint32_t vf_host_cpus(void);
int vf_path_normal_form(const char *path, size_t len, char *out);
]]
local C = ffi.C
local UV_ENOENT = -2

describe("the machine", function()
  local ids = ffi.new "uint32_t[2]"

  it("knows accounts by name and number", function()
    for _, name in ipairs { "root", "0" } do
      assert.equal(0, C.vf_host_user(name, ids, ids + 1))
      assert.same({ 0, 0 }, { ids[0], ids[1] })
      assert.equal(0, C.vf_host_group(name, ids))
    end
    for _, name in ipairs { "no-such-user", "", "4294967295", "3999999999", "-1" } do
      assert.equal(UV_ENOENT, C.vf_host_user(name, ids, ids + 1), name)
      assert.equal(UV_ENOENT, C.vf_host_group(name, ids), name)
    end
  end)

  it("has a processor", function() assert.is_true(C.vf_host_cpus() >= 1) end)

  it("reads IP addresses of exactly the bytes given", function()
    local ip = ffi.new "uint8_t[16]"
    assert.equal(1, C.vf_ip_parse("127.0.0.1x", 9, ip))
    assert.equal(0, C.vf_ip_parse("127.0.0.1x", 10, ip))
    assert.equal(2, C.vf_ip_parse("::ffff:1.2.3.4", 14, ip))
    for _, text in ipairs { "", "1.2.3", "1.2.3.4\0", "fe80::1%eth0", ("1"):rep(100), "01.2.3.4" } do
      assert.equal(0, C.vf_ip_parse(text, #text, ip), text)
    end
  end)
end)

describe("small things for Lua", function()
  it("normalise paths", function()
    local out = ffi.new "char[64]"
    local function normal(path)
      local len = C.vf_path_normal_form(path, #path, out)
      return len >= 0 and ffi.string(out, len) or len
    end
    assert.equal("/b", normal "/a/../b")
    assert.equal("/a", normal "/a")
    assert.is_true(normal "x" < 0)
    assert.is_true(normal "" < 0)
    assert.is_true(normal "/%2f" < 0)
  end)

  it("are in the library under test", function() assert.is_truthy(fixture.library) end)
end)
