local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
struct vf_str { const char *data; size_t len; };
struct vf_str vf_str_trim(struct vf_str text);
bool vf_str_next_item(struct vf_str *rest, struct vf_str *item);
bool vf_str_has_token(struct vf_str list, struct vf_str token);
bool vf_str_to_u64(struct vf_str text, uint64_t *out);
size_t vf_u64_format(uint64_t value, char *out);
void vf_hex_format(uint32_t value, char out[8]);
bool vf_same_letters(const char *a, const char *b, size_t len);
]]

local held = {}

--- A view of `text`, which stays alive until the spec ends.
local function view(text)
  held[#held + 1] = text
  return ffi.new("struct vf_str", { text, #text })
end

local function items(text)
  local rest, item, found = view(text), ffi.new "struct vf_str", {}
  while lib.vf_str_next_item(rest, item) do found[#found + 1] = ffi.string(item.data, item.len) end
  return found
end

describe("str", function()
  it("trims spaces and tabs only", function()
    for text, expected in pairs { ["  a b\t"] = "a b", [""] = "", [" \t "] = "", ["a"] = "a", ["\na\r"] = "\na\r" } do
      local trimmed = lib.vf_str_trim(view(text))
      assert.equal(expected, ffi.string(trimmed.data, trimmed.len))
    end
  end)

  it("takes lists apart at commas outside quotes", function()
    assert.same({ "a", "b", "c" }, items " a, b\t,c")
    assert.same({ "a", "b" }, items ",,a, ,b,,")
    assert.same({ 'x="a,b"', "c" }, items 'x="a,b", c')
    assert.same({ [["a\",b"]], "c" }, items [["a\",b",c]])
    assert.same({ '"open, to the end' }, items '"open, to the end')
    assert.same({ '"\\' }, items '"\\')
    assert.same({}, items "")
    assert.same({}, items " , ")
  end)

  it("finds a token in any case, whole only", function()
    assert.is_true(lib.vf_str_has_token(view "Keep-Alive, CLOSE", view "close"))
    assert.is_false(lib.vf_str_has_token(view "closed, no-close", view "close"))
    assert.is_false(lib.vf_str_has_token(view "", view "close"))
  end)

  it("compares letters in any case, and every other byte as it is", function()
    local function same(a, b) return lib.vf_same_letters(a, b, #a) end
    for len = 0, 20 do
      assert.is_true(same(("Content-Length_09[]"):rep(2):sub(1, len), ("cONTENT-lENGTH_09[]"):rep(2):sub(1, len)), len)
      for at = 1, len do
        local before, behind = ("A"):rep(at - 1), ("a"):rep(len - at)
        for other = 0, 255 do
          local byte = string.char(other)
          local is_same = byte:lower() == "k"
          assert.equal(is_same, same(before .. "K" .. behind, before .. byte .. behind), byte)
          assert.equal(byte == "-", same(before .. byte .. behind, before .. "-" .. behind), byte)
          assert.equal(byte == "@", same(before .. "@" .. behind, before .. byte .. behind), byte)
        end
      end
    end
  end)

  it("reads numbers that are digits only and fit", function()
    local out = ffi.new "uint64_t[1]"
    for text, expected in pairs { ["0"] = 0ULL, ["007"] = 7ULL,
      ["9999999999999999999"] = 9999999999999999999ULL, ["10000000000000000000"] = 10000000000000000000ULL,
      ["18446744073709551615"] = 18446744073709551615ULL } do
      assert.is_true(lib.vf_str_to_u64(view(text), out), text)
      assert.is_true(out[0] == expected, text)
    end
    for _, text in ipairs { "", "-1", "+1", " 1", "1 ", "1_0", "0x1", "18446744073709551616",
      "99999999999999999999", "1\0" } do
      assert.is_false(lib.vf_str_to_u64(view(text), out), text)
    end
  end)

  it("writes numbers", function()
    local out = ffi.new "char[20]"
    for value, expected in pairs { [0] = "0", [7] = "7", [1234567890] = "1234567890" } do
      assert.equal(expected, ffi.string(out, lib.vf_u64_format(value, out)))
    end
    assert.equal("18446744073709551615", ffi.string(out, lib.vf_u64_format(18446744073709551615ULL, out)))
    local power = 1ULL
    for digits = 1, 19 do
      power = power * 10
      assert.equal("1" .. ("0"):rep(digits), ffi.string(out, lib.vf_u64_format(power, out)))
      assert.equal(("9"):rep(digits), ffi.string(out, lib.vf_u64_format(power - 1, out)))
    end
  end)

  it("writes numbers in hexadecimal", function()
    local out = ffi.new "char[8]"
    for _, value in ipairs { 0, 1, 9, 10, 15, 16, 0x9a, 0x0123abcd, 0x456789ef, 0xfedcba98, 0xffffffff } do
      lib.vf_hex_format(value, out)
      assert.equal(("%08x"):format(value), ffi.string(out, 8))
    end
  end)
end)
