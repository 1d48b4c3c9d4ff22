--- src/http/h1_plain.c: which field sections it reads, and what it leaves to llhttp. That both read the same is the
-- business of the fuzz targets.
local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

pcall(ffi.cdef, "struct vf_str { const char *data; size_t len; };")
pcall(ffi.cdef, [[
struct vf_arena { void *chunks; char *next; size_t left; };
void vf_arena_deinit(struct vf_arena *arena);
struct vf_field { struct vf_str name, value; int id; bool dropped; };
struct vf_fields { struct vf_field *list; uint32_t count, room, present; };
]])
ffi.cdef [[
const char *vf_h1_find_control(const char *at, const char *end);
bool vf_h1_read_plain(struct vf_fields *fields, struct vf_arena *arena, const char *data, size_t len);
bool vf_h1_is_plain_target(struct vf_str target);
]]

local function view(text) return ffi.string(text.data, text.len) end

--- Returns the fields that were read as "name=value", or nil when the section is not plain.
local function read(text)
  local fields, arena, list = ffi.new "struct vf_fields", ffi.new "struct vf_arena", nil
  if lib.vf_h1_read_plain(fields, arena, text, #text) then
    list = {}
    for i = 0, fields.count - 1 do
      list[i + 1] = view(fields.list[i].name) .. "=" .. view(fields.list[i].value)
    end
  else
    assert.same({ 0, 0 }, { fields.count, fields.present })
  end
  lib.vf_arena_deinit(arena)
  return list
end

describe("a plain field section", function()
  it("is read line by line, values without the spaces around them", function()
    assert.same({}, read "\r\n")
    assert.same({ "Host=a" }, read "Host: a\r\n\r\n")
    assert.same({ "a=b c", "X-Empty=", "d=e: f", "g=\200" }, read "a:b c  \r\nX-Empty: \r\nd:  e: f\r\ng: \200\r\n\r\n")
  end)

  it("may be of any length", function()
    for len = 0, 40 do
      local value = ("v"):rep(len)
      assert.same({ "n=" .. value, "m=" .. value }, read(("n: %s\r\nm: %s\r\n\r\n"):format(value, value)))
    end
  end)

  it("is whole", function()
    local whole = "Host: a\r\nAccept: */*\r\n\r\n"
    for cut = 0, #whole - 1 do assert.is_nil(read(whole:sub(1, cut)), cut) end
    assert.is_nil(read(whole .. "x"))
  end)

  it("has no line of another shape", function()
    for _, line in ipairs {
      "a: b\r\n c", "a: b\r\n\tc", "a : b", ": b", " a: b", "a b: c", "a", "a\t: b", "a:\tb", "a: b\t", "a: b\tc",
      "a: b\n", "a: b\rc", "a: b\0c", "a: b\127", "a: b\1", "\200: a", "a(: b", "a\0: b", "Transfer-Encoding: chunked",
      "transfer-encoding: x",
    } do
      assert.is_nil(read("Host: a\r\n" .. line .. "\r\nb: c\r\n\r\n"), line)
    end
  end)
end)

describe("a plain target", function()
  local function is_plain(text) return lib.vf_h1_is_plain_target(ffi.new("struct vf_str", text, #text)) end

  it("is a path of visible characters", function()
    assert.is_true(is_plain "/")
    assert.is_true(is_plain "/a/b?c=%20&d=\"<>[]{}|^~")
    for _, text in ipairs { "", "*", "a", "http://a/", "a:80", "/a b", "/\t", "/\127", "/\195\164", "/\0" } do
      assert.is_false(is_plain(text), text)
    end
  end)
end)

describe("a control character", function()
  it("is found wherever it stands", function()
    for len = 0, 24 do
      for at = 0, len do
        for _, byte in ipairs { "\0", "\31", "\127", "\r" } do
          local text = (" \200~"):rep(8):sub(1, at) .. byte .. ("\1\128"):rep(len - at)
          local bytes = ffi.cast("const char *", text)
          assert.equal(at, tonumber(lib.vf_h1_find_control(bytes, bytes + #text) - bytes))
        end
      end
    end
  end)

  it("may not be there", function()
    local text = " \128\200\255~!" .. ("x"):rep(20)
    for len = 0, #text do
      local bytes = ffi.cast("const char *", text)
      assert.equal(len, tonumber(lib.vf_h1_find_control(bytes, bytes + len) - bytes))
    end
  end)
end)
