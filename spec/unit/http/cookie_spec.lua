--- The Cookie field, RFC 6265 section 4.2.1, as clients really send it.
local ffi = require "ffi"

ffi.cdef [[
struct vf_str { const char *data; size_t len; };
bool vf_cookie_next(struct vf_str *rest, struct vf_str *name, struct vf_str *value);
bool vf_cookie_find(struct vf_str cookie, struct vf_str name, struct vf_str *value);
]]
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

local function text(str) return ffi.string(str.data, str.len) end

local function all(field)
  local rest, name, value = ffi.new("struct vf_str", field, #field), ffi.new "struct vf_str", ffi.new "struct vf_str"
  local pairs_found = {}
  while lib.vf_cookie_next(rest, name, value) do
    pairs_found[#pairs_found + 1] = text(name) .. "=" .. text(value)
  end
  return table.concat(pairs_found, "|")
end

describe("cookies", function()
  for field, expected in pairs {
    ["a=1; b=2"] = "a=1|b=2",
    ["a=1;b=2;"] = "a=1|b=2",
    ["  a = 1 ;\tb\t=\t2 "] = "a=1|b=2",
    ['a="1 2"; b=""'] = "a=1 2|b=",
    ['a="1'] = 'a="1',
    ["a=b=c"] = "a=b=c",
    ["lonely"] = "=lonely",
    ["=x; a=1"] = "=x|a=1",
    ["; ;;"] = "",
    [""] = "",
  } do
    it(("reads %q"):format(field), function() assert.equal(expected, all(field)) end)
  end

  it("finds the first of a name, minding case", function()
    local field, value = "A=0; ab=1; a=2; a=3", ffi.new "struct vf_str"
    local cookie = ffi.new("struct vf_str", field, #field)
    assert.is_true(lib.vf_cookie_find(cookie, ffi.new("struct vf_str", "a", 1), value))
    assert.equal("2", text(value))
    assert.is_false(lib.vf_cookie_find(cookie, ffi.new("struct vf_str", "b", 1), value))
  end)
end)
