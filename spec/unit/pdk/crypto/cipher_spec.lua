require "support.library"
local blames = require "support.blames"
local crypto = require "veloflux.pdk.crypto"
local traces = require "support.traces"

local function hex(text) return assert(crypto.hex_decode((text:gsub("%s", "")))) end

-- The test cases of McGrew and Viega's GCM paper, which NIST's validation took over.
local PLAINTEXT = [[d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
  1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39]]
local AAD = "feedfacedeadbeeffeedfacedeadbeefabaddad2"
local CASES = {
  { name = "1", key = ("00"):rep(16), nonce = ("00"):rep(12), tag = "58e2fccefa7e3061367f1d57a4e7455a" },
  { name = "2", key = ("00"):rep(16), nonce = ("00"):rep(12), plaintext = ("00"):rep(16),
    ciphertext = "0388dace60b6a392f328c2b971b2fe78", tag = "ab6e47d42cec13bdf53a67b21257bddf" },
  { name = "4", key = "feffe9928665731c6d6a8f9467308308", nonce = "cafebabefacedbaddecaf888", plaintext = PLAINTEXT,
    aad = AAD, ciphertext = [[42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
      21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091]], tag = "5bc94fbc3221a5db94fae95ae7121a47" },
  { name = "6", key = "feffe9928665731c6d6a8f9467308308", plaintext = PLAINTEXT, aad = AAD,
    nonce = [[9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728
      c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b]],
    ciphertext = [[8ce24998625615b603a033aca13fb894be9112a5c3a211a8ba262a3cca7e2ca7
      01e4a9a4fba43c90ccdcb281d48c7c6fd62875d2aca417034c34aee5]], tag = "619cc5aefffe0bfa462af43c1699d050" },
  { name = "14", key = ("00"):rep(32), nonce = ("00"):rep(12), plaintext = ("00"):rep(16),
    ciphertext = "cea7403d4d606b6e074ec5d3baf39d18", tag = "d0d1c8a799996bf0265b98b5d48ab919" },
  { name = "16", key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
    nonce = "cafebabefacedbaddecaf888", plaintext = PLAINTEXT, aad = AAD,
    ciphertext = [[522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
      8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662]], tag = "76fc6ece0f4e1768cddf8853bb2d551b" },
}

local function flip(text, at)
  return text:sub(1, at - 1) .. string.char(bit.bxor(text:byte(at), 1)) .. text:sub(at + 1)
end

describe("AES-GCM", function()
  for _, case in ipairs(CASES) do
    it("is that of test case " .. case.name, function()
      local cipher = assert(crypto.aes_gcm(hex(case.key)))
      local plaintext, aad, nonce = hex(case.plaintext or ""), hex(case.aad or ""), hex(case.nonce)
      local ciphertext, tag = cipher:encrypt(plaintext, nonce, aad)
      assert.equal(crypto.hex_encode(hex(case.ciphertext or "")), crypto.hex_encode(ciphertext))
      assert.equal(case.tag, crypto.hex_encode(tag))
      assert.equal(plaintext, cipher:decrypt(ciphertext, nonce, tag, aad))
    end)
  end

  it("refuses what was changed, wherever", function()
    local cipher = assert(crypto.aes_gcm(("k"):rep(32)))
    local nonce = ("n"):rep(12)
    local ciphertext, tag = cipher:encrypt("secret text", nonce, "bound to")
    local WRONG = "not encrypted with this key, or changed"
    assert.equal("secret text", cipher:decrypt(ciphertext, nonce, tag, "bound to"))
    for at = 1, #tag do assert.is_nil((cipher:decrypt(ciphertext, nonce, flip(tag, at), "bound to"))) end
    for at = 1, #ciphertext do assert.is_nil((cipher:decrypt(flip(ciphertext, at), nonce, tag, "bound to"))) end
    assert.same({ nil, WRONG }, { cipher:decrypt(ciphertext, flip(nonce, 1), tag, "bound to") })
    assert.same({ nil, WRONG }, { cipher:decrypt(ciphertext, nonce, tag, "bound tO") })
    assert.same({ nil, WRONG }, { cipher:decrypt(ciphertext, nonce, tag) })
    for len = 0, 15 do -- a short tag is easier to guess
      assert.same({ nil, WRONG }, { cipher:decrypt(ciphertext, nonce, tag:sub(1, len), "bound to") })
    end
    assert.same({ nil, WRONG }, { cipher:decrypt(ciphertext, "", tag, "bound to") })
    local other = assert(crypto.aes_gcm(("K"):rep(32)))
    assert.is_nil((other:decrypt(ciphertext, nonce, tag, "bound to")))
  end)

  it("seals and opens under nonces of its own", function()
    local cipher = assert(crypto.aes_gcm(("k"):rep(16)))
    for _, text in ipairs { "", "a", ("long"):rep(10000) } do
      local sealed = cipher:seal(text, "user 7")
      assert.equal(#text + 28, #sealed)
      assert.equal(text, cipher:open(sealed, "user 7"))
      assert.is_nil((cipher:open(sealed, "user 8")))
      assert.is_nil((cipher:open(sealed)))
      assert.is_false(sealed == cipher:seal(text, "user 7"))
    end
    local sealed = cipher:seal "text"
    for at = 1, #sealed do assert.is_nil((cipher:open(flip(sealed, at)))) end
    for len = 0, #sealed - 1 do assert.is_nil((cipher:open(sealed:sub(1, len)))) end
  end)

  it("takes keys of two lengths", function()
    for _, len in ipairs { 0, 15, 17, 24, 31, 33, 64 } do
      local cipher, err = crypto.aes_gcm(("k"):rep(len))
      assert.is_nil(cipher)
      assert.equal("expected a key of 16 or 32 bytes, got " .. len, err)
    end
  end)

  it("blames the caller for wrong types", function()
    local cipher = assert(crypto.aes_gcm(("k"):rep(16)))
    blames.caller(function() crypto.aes_gcm() end, "^key: expected a string")
    blames.caller(function() cipher:encrypt("x", "short") end,
      "^nonce: expected 12 to 128 bytes, got 5")
    blames.caller(function() cipher:encrypt("x", ("n"):rep(12), 5) end, "^aad: expected")
    blames.caller(function() cipher:decrypt("x", ("n"):rep(12)) end, "^tag: expected")
    blames.caller(function() cipher:open() end, "^sealed: expected")
  end)

  it("compiles", function()
    local cipher = assert(crypto.aes_gcm(("k"):rep(16)))
    local sealed = cipher:seal("text", "aad")
    traces.assert_compiles(function() cipher:open(cipher:seal("text", "aad"), "aad") end)
    traces.assert_compiles(function() cipher:open(sealed, "other") end)
    local nonce = ("n"):rep(12)
    traces.assert_compiles(function()
      local ciphertext, tag = cipher:encrypt("text", nonce)
      cipher:decrypt(ciphertext, nonce, tag)
    end)
  end)
end)
