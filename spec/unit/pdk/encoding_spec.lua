require "support.library"
local blames = require "support.blames"
local encoding = require "veloflux.pdk.encoding"
local traces = require "support.traces"

local ALL = {}
for i = 0, 255 do ALL[#ALL + 1] = string.char(i) end
ALL = table.concat(ALL)

-- RFC 4648 section 10
local VECTORS = { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", fooba = "Zm9vYmE=",
  foobar = "Zm9vYmFy" }

describe("Base64", function()
  for data, text in pairs(VECTORS) do
    it(("encodes and decodes %q"):format(data), function()
      assert.equal(text, encoding.base64_encode(data))
      assert.equal(data, encoding.base64_decode(text))
      local bare = text:gsub("=", "")
      assert.equal(data, encoding.base64_decode(bare, true))
      assert.equal(data, encoding.base64_decode(text, true))
      assert.equal(bare, encoding.base64url_encode(data))
      assert.equal(data, encoding.base64url_decode(bare))
      if bare ~= text then
        assert.same({ nil, "not Base64: it ends too early" }, { encoding.base64_decode(bare) })
        assert.same({ nil, "not base64url: byte " .. #bare + 1 }, { encoding.base64url_decode(text) })
      end
    end)
  end

  it("has an alphabet for URLs", function()
    assert.equal("+/+/", encoding.base64_encode "\251\255\191")
    assert.equal("-_-_", encoding.base64url_encode "\251\255\191")
    assert.equal("\251\255\191", encoding.base64_decode "+/+/")
    assert.equal("\251\255\191", encoding.base64url_decode "-_-_")
    assert.is_nil((encoding.base64_decode "-_-_"))
    assert.is_nil((encoding.base64url_decode "+/+/"))
  end)

  it("keeps every byte, in pieces of every length", function()
    for len = 0, 256 do
      local data = ALL:sub(257 - len)
      assert.equal(data, encoding.base64_decode(encoding.base64_encode(data)))
      assert.equal(data, encoding.base64url_decode(encoding.base64url_encode(data)))
    end
    local long = ALL:rep(400) -- beyond the reused buffer
    assert.equal(long, encoding.base64_decode(encoding.base64_encode(long)))
  end)

  for text, at in pairs {
    ["Zm9v!"] = 5, ["Z g="] = 2, ["Zg=="] = false, ["Zh=="] = 2, ["Zm9="] = 3, ["Zg=a"] = 3, ["=Zg="] = 1, ["===="] = 1,
    ["Zm9vZ==="] = 6, ["Zm9v\n"] = 5, ["\0"] = 1, ["Z"] = "end", ["Zg="] = "end", ["Zm9vY"] = "end", ["="] = 1,
    ["Zm9v="] = 5, ["Zm9v=="] = 5, ["!g="] = 1, ["Zm8=\0"] = 4,
  } do
    it(("is strict about %q"):format(text), function()
      local data, err = encoding.base64_decode(text)
      if not at then return assert.equal("f", data) end
      assert.is_nil(data)
      assert.equal(at == "end" and "not Base64: it ends too early" or "not Base64: byte " .. at, err)
    end)
  end

  it("does not take every padding even when loose", function()
    for _, text in ipairs { "Z", "Zg=", "Zg===", "Zm9v=", "Z g=", "Zm9v!", "=", "Zm9vY", "Zh" } do
      assert.is_nil((encoding.base64_decode(text, true)), text)
    end
  end)
end)

describe("hexadecimal", function()
  it("keeps every byte", function()
    assert.equal("00ff10", encoding.hex_encode "\0\255\16")
    assert.equal(ALL, encoding.hex_decode(encoding.hex_encode(ALL)))
    assert.equal(ALL, encoding.hex_decode(encoding.hex_encode(ALL):upper()))
  end)

  it("refuses what is none", function()
    assert.same({ nil, "not hexadecimal: byte 3" }, { encoding.hex_decode "00g0" })
    assert.same({ nil, "not hexadecimal: it ends too early" }, { encoding.hex_decode "000" })
    assert.equal("", encoding.hex_decode "")
  end)
end)

describe("percent-encoding", function()
  it("keeps every byte", function()
    assert.equal("a-Z0._~%20%2F%C3%A9%00", encoding.url_encode "a-Z0._~ /é\0")
    assert.equal(ALL, encoding.url_decode(encoding.url_encode(ALL)))
  end)

  it("knows forms", function()
    assert.equal("a+b c", encoding.url_decode "a+b%20c")
    assert.equal("a b+c", encoding.url_decode("a+b%2bc", true))
  end)

  it("refuses a lone %", function()
    for text, at in pairs { ["%"] = 1, ["a%2"] = 2, ["ab%zz"] = 3, ["%2%20"] = 1 } do
      assert.same({ nil, "not percent-encoding: byte " .. at }, { encoding.url_decode(text) })
    end
  end)
end)

describe("encodings", function()
  it("blame the caller for what is no string", function()
    for name, call in pairs(encoding) do
      blames.caller(function() call(nil) end, "^" .. name .. ": expected a string, got nil")
    end
  end)

  it("compile", function()
    local jwt = encoding.base64url_encode(ALL)
    traces.assert_compiles(function() encoding.base64url_encode(encoding.base64url_decode(jwt)) end)
    traces.assert_compiles(function() encoding.base64_decode(encoding.base64_encode(ALL)) end)
    traces.assert_compiles(function() encoding.base64_decode "Zm9v!" end)
    traces.assert_compiles(function() encoding.hex_decode(encoding.hex_encode(ALL)) end)
    traces.assert_compiles(function() encoding.url_decode(encoding.url_encode(ALL), true) end)
  end)
end)
