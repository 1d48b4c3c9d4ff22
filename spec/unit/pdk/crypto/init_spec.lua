require "support.library"
local blames = require "support.blames"
local crypto = require "veloflux.pdk.crypto"
local traces = require "support.traces"

describe("crypto.equals", function()
  it("compares whole strings", function()
    assert.is_true(crypto.equals("", ""))
    assert.is_true(crypto.equals("a\0b", "a\0b"))
    for _, other in ipairs { "", "a\0", "a\0c", "a\0bb", "A\0b" } do assert.is_false(crypto.equals("a\0b", other)) end
    blames.caller(function() crypto.equals("a") end, "^b: expected a string, got nil")
  end)

  it("compiles", function()
    traces.assert_compiles(function() return crypto.equals("secret", "secreT") end)
  end)
end)

describe("random things", function()
  it("are bytes, as many as wanted", function()
    for _, count in ipairs { 0, 1, 16, 100000 } do assert.equal(count, #crypto.random_bytes(count)) end
    assert.is_false(crypto.random_bytes(16) == crypto.random_bytes(16))
    for _, count in ipairs { -1, 1.5, 1048577, "1", 0 / 0 } do
      blames.caller(function() crypto.random_bytes(count) end, "^count: expected")
    end
  end)

  it("are UUIDs of version 4", function()
    local seen = {}
    for _ = 1, 200 do
      local uuid = crypto.uuid()
      assert.equal(36, #uuid)
      assert.is_truthy(uuid:match "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$", uuid)
      assert.is_nil(seen[uuid])
      seen[uuid] = true
    end
  end)

  it("compile", function()
    traces.assert_compiles(function() return crypto.uuid(), crypto.random_bytes(16) end)
  end)
end)

describe("passwords", function()
  it("are kept as hashes", function()
    local encoded = crypto.password_hash "correct horse"
    assert.is_truthy(encoded:find("$argon2id$", 1, true))
    assert.is_true(crypto.password_verify(encoded, "correct horse"))
    assert.is_false(crypto.password_verify(encoded, "correct horsE"))
    assert.same({ nil, "not an Argon2id hash" }, { crypto.password_verify("plain", "plain") })
  end)
end)

it("crypto has the encodings", function()
  assert.equal("-_8", crypto.base64url_encode(crypto.base64_decode "+/8="))
end)
