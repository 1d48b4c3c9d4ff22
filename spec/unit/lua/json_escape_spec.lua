--- The escapes of JSON strings.
local ffi = require "ffi"
local library = require "support.library"

ffi.cdef "const char *vf_json_unescape(const char *at, const char *end, char **out);"

--- Returns what the escape at the front of `text` stands for and its length; nil for none.
local function unescape(text)
  local buffer, out = ffi.new "char[8]", ffi.new "char *[1]"
  local at = ffi.cast("const char *", text)
  out[0] = buffer
  local behind = library.vf_json_unescape(at, at + #text, out)
  if behind == nil then return nil end
  return ffi.string(buffer, out[0] - buffer), tonumber(behind - at)
end

describe("an escape", function()
  it("of one character stands for that", function()
    local meant_by = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }
    for letter, meant in pairs(meant_by) do
      assert.same({ meant, 2 }, { unescape("\\" .. letter .. "x") })
    end
  end)

  it("by number becomes UTF-8", function()
    assert.same({ "A", 6 }, { unescape "\\u0041" })
    assert.same({ "\0", 6 }, { unescape "\\u0000" })
    assert.same({ "é", 6 }, { unescape "\\u00E9" })
    assert.same({ "€", 6 }, { unescape "\\u20ac" })
    assert.same({ "😀", 12 }, { unescape "\\ud83d\\ude00" })
  end)

  it("is none with other letters, too few digits, or half of a pair", function()
    for _, text in ipairs { "\\", "\\x", "\\u", "\\u004", "\\u00g0", "\\ud83d", "\\ud83dxxxxxx", "\\ud83d\\u0041",
      "\\ud83d\\ude0", "\\ude00" } do
      assert.is_nil(unescape(text), text)
    end
  end)

  it("is not read beyond the end", function()
    local at = ffi.cast("const char *", "\\u0041")
    local out = ffi.new("char *[1]", ffi.new "char[8]")
    assert.is_true(library.vf_json_unescape(at, at + 5, out) == nil)
    assert.is_true(library.vf_json_unescape(at, at + 1, out) == nil)
  end)
end)
