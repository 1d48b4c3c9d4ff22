--- src/http/message.c: names that the proxy knows, tokens, field values, reasons.
local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef "struct vf_str { const char *data; size_t len; };"
ffi.cdef [[
int vf_field_id(struct vf_str name);
struct vf_arena { void *chunks; char *next; size_t left; };
void vf_arena_deinit(struct vf_arena *arena);
struct vf_field { struct vf_str name, value; int id; bool dropped; };
struct vf_fields { struct vf_field *list; uint32_t count, room, present; };
int vf_fields_add_known(struct vf_fields *fields, struct vf_arena *arena, int id, struct vf_str value);
bool vf_is_token(struct vf_str name);
bool vf_is_field_value(struct vf_str value);
struct vf_str vf_status_reason(uint32_t status);
]]

local function str(text) return ffi.new("struct vf_str", text, #text) end

local KNOWN = {
  "accept", "connection", "content-length", "cookie", "date", "expect", "forwarded", "host", "http2-settings",
  "keep-alive", "max-forwards", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "via",
  "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id",
}

describe("field names", function()
  it("have an id each, in any case", function()
    local seen = {}
    for _, name in ipairs(KNOWN) do
      local id = lib.vf_field_id(str(name))
      assert.is_true(id > 0, name)
      assert.is_nil(seen[id], name)
      seen[id] = name
      assert.equal(id, lib.vf_field_id(str(name:upper())))
    end
  end)

  it("of the same length and first letter are no match", function()
    for _, name in ipairs(KNOWN) do
      local other = name:sub(1, -2) .. "~"
      assert.equal(0, lib.vf_field_id(str(other)), other)
      assert.equal(0, lib.vf_field_id(str(name .. "x")), name)
    end
    assert.equal(0, lib.vf_field_id(str ""))
  end)

  it("are written as usual for fields of our own", function()
    local fields, arena, value = ffi.new "struct vf_fields", ffi.new "struct vf_arena", str "v"
    for _, name in ipairs(KNOWN) do
      local id = lib.vf_field_id(str(name))
      assert.equal(0, lib.vf_fields_add_known(fields, arena, id, value))
      local field = fields.list[fields.count - 1]
      assert.same({ name, "v", id }, { ffi.string(field.name.data, field.name.len):lower(),
        ffi.string(field.value.data, field.value.len), tonumber(field.id) })
      assert.equal(1, bit.band(bit.rshift(fields.present, id), 1))
    end
    assert.equal(#KNOWN, fields.count)
    lib.vf_arena_deinit(arena)
  end)
end)

describe("tokens (RFC 9110 section 5.6.2)", function()
  it("are letters, digits and fifteen other characters", function()
    for byte = 0, 255 do
      local char = string.char(byte)
      local expected = char:find "[%w!#$%%&'*+.^_`|~-]" ~= nil and byte < 128
      assert.equal(expected, lib.vf_is_token(str(char)), ("byte %d"):format(byte))
    end
    assert.is_false(lib.vf_is_token(str ""))
  end)
end)

describe("field values (RFC 9110 section 5.5)", function()
  it("have no control characters but tabs", function()
    for byte = 0, 255 do
      local expected = byte == 9 or (byte >= 32 and byte ~= 127)
      assert.equal(expected, lib.vf_is_field_value(str("a" .. string.char(byte))), ("byte %d"):format(byte))
    end
  end)
end)

describe("reason phrases", function()
  local function reason(status)
    local text = lib.vf_status_reason(status)
    return ffi.string(text.data, text.len)
  end
  it("are those of the registry", function()
    assert.equal("Not Found", reason(404))
    assert.equal("Content Too Large", reason(413))
    assert.equal("HTTP Version Not Supported", reason(505))
    assert.equal("Unknown", reason(299))
  end)
end)
