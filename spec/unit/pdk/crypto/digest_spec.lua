require "support.library"
local blames = require "support.blames"
local crypto = require "veloflux.pdk.crypto"
local traces = require "support.traces"

local function hex(text) return assert(crypto.hex_decode((text:gsub("%s", "")))) end
local function expect(digits, bytes) assert.equal((digits:gsub("%s", "")), crypto.hex_encode(bytes)) end

describe("hashes", function()
  local ABC = { -- FIPS 180-4 and RFC 1321, "abc"
    md5 = "900150983cd24fb0d6963f7d28e17f72",
    sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d",
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    sha384 = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
    sha512 = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
      .. "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
  }
  for name, digits in pairs(ABC) do
    it("have " .. name .. ", at once and in pieces", function()
      expect(digits, crypto.hash(name, "abc"))
      local hasher = crypto.hasher(name)
      for _ = 1, 2 do
        expect(digits, hasher:update("a"):update(""):update("bc"):final()) -- and begins anew
      end
      hasher:update "forgotten"
      expect(digits, hasher:of "abc")
      expect(digits, hasher:update("abc"):final())
    end)
  end

  it("take long texts and empty ones", function()
    expect("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
      crypto.hash("sha256", ("a"):rep(1000000)))
    expect("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", crypto.hash("sha256", ""))
  end)

  it("blame the caller for a wrong name or type", function()
    blames.caller(function() crypto.hash("sha3", "x") end, "^expected md5, sha1, .*got sha3")
    blames.caller(function() crypto.hash(nil, "x") end, "^expected md5")
    blames.caller(function() crypto.hash("sha256", 5) end, "^data: expected a string")
    blames.caller(function() crypto.hasher "x" end, "^expected md5")
    blames.caller(function() crypto.hasher("sha1"):update {} end, "^data: expected a string")
  end)

  it("compile", function()
    local hasher = crypto.hasher "sha256"
    traces.assert_compiles(function() crypto.hash("sha256", "abc") end)
    traces.assert_compiles(function() hasher:update("abc"):final() end)
  end)
end)

describe("HMAC", function()
  local CASES = { -- RFC 4231: key, text, SHA-256 and SHA-512
    { ("\11"):rep(20), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
      "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4"
        .. "be9d914eeb61f1702e696c203a126854" },
    { "Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd"
        .. "caeab1a34d4a6b4b636e070a38bce737" },
    { ("\170"):rep(20), ("\221"):rep(50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
      "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807"
        .. "b946a337bee8942674278859e13292fb" },
    { ("\170"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First",
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
      "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e52"
        .. "95e64f73f63f0aec8b915a985d786598" },
  }
  for i, case in ipairs(CASES) do
    it("is that of RFC 4231, case " .. i, function()
      expect(case[3], crypto.hmac("sha256", case[1], case[2]))
      expect(case[4], crypto.hmac("sha512", case[1], case[2]))
      local key = crypto.hmac_key("sha256", case[1])
      for _ = 1, 2 do
        expect(case[3], key:of(case[2]))
        expect(case[3], key:update(case[2]:sub(1, 3)):update(case[2]:sub(4)):final())
        assert.is_true(key:verify(case[2], hex(case[3])))
      end
    end)
  end

  it("has SHA-384 and SHA-1", function() -- RFC 4231 and RFC 2202, case 2
    local key, text = "Jefe", "what do ya want for nothing?"
    expect("af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
      crypto.hmac("sha384", key, text))
    expect("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79", crypto.hmac("sha1", key, text))
  end)

  it("takes an empty key", function()
    expect("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad", crypto.hmac("sha256", "", ""))
    expect("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad", crypto.hmac_key("sha256", ""):of "")
  end)

  it("verifies the whole result and nothing else", function()
    local key = crypto.hmac_key("sha256", "k")
    local mac = key:of "text"
    assert.is_true(key:verify("text", mac))
    for _, wrong in ipairs { "", mac:sub(1, 31), mac .. "\0", mac:gsub(".$", "\0"), ("\0"):rep(32) } do
      assert.is_false(key:verify("text", wrong))
    end
    assert.is_false(key:verify("texT", mac))
  end)

  it("is not made with MD5", function()
    blames.caller(function() crypto.hmac("md5", "k", "x") end, "^expected sha1, sha256")
    blames.caller(function() crypto.hmac_key("md5", "k") end, "^expected sha1, sha256")
    blames.caller(function() crypto.hmac("sha1", nil, "x") end, "^key: expected a string")
  end)

  it("compiles", function()
    local key = crypto.hmac_key("sha256", "k")
    local mac = key:of "text"
    traces.assert_compiles(function() crypto.hmac("sha256", "k", "text") end)
    traces.assert_compiles(function() return key:verify("text", mac) end)
    traces.assert_compiles(function() return key:verify("text", "no") end)
  end)
end)

describe("HKDF", function()
  it("is that of RFC 5869", function() -- appendices A.1, A.2 and A.3
    expect("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
      crypto.hkdf("sha256", ("\11"):rep(22), 42, hex "000102030405060708090a0b0c", hex "f0f1f2f3f4f5f6f7f8f9"))
    local function range(from, to)
      local bytes = {}
      for i = from, to do bytes[#bytes + 1] = string.char(i) end
      return table.concat(bytes)
    end
    expect("b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
      .. "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
      crypto.hkdf("sha256", range(0, 0x4f), 82, range(0x60, 0xaf), range(0xb0, 0xff)))
    expect("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
      crypto.hkdf("sha256", ("\11"):rep(22), 42))
  end)

  it("has an end", function()
    assert.equal(255 * 32, #crypto.hkdf("sha256", "key", 255 * 32))
    blames.caller(function() crypto.hkdf("sha256", "key", 255 * 32 + 1) end,
      "^length: expected a whole number from 1 to 8160")
    blames.caller(function() crypto.hkdf("sha256", "key", 0) end, "length: expected")
  end)
end)

describe("PBKDF2", function()
  it("is that of RFC 6070 and RFC 7914 section 11", function()
    expect("0c60c80f961f0e71f3a9b524af6012062fe037a6", crypto.pbkdf2("sha1", "password", "salt", 1, 20))
    expect("4b007901b765489abead49d926f721d065a429c1", crypto.pbkdf2("sha1", "password", "salt", 4096, 20))
    expect("56fa6aa75548099dcc37d7f03425e0c3", crypto.pbkdf2("sha1", "pass\0word", "sa\0lt", 4096, 16))
    expect("55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
      .. "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783",
      crypto.pbkdf2("sha256", "passwd", "salt", 1, 64))
  end)

  it("takes no more than it can bear", function()
    for _, iterations in ipairs { 0, -1, 1.5, 2000001, 0 / 0, "1" } do
      blames.caller(function() crypto.pbkdf2("sha256", "p", "s", iterations, 32) end,
        "^iterations: expected a whole number from 1 to 2000000")
    end
    blames.caller(function() crypto.pbkdf2("sha256", "p", "s", 1, 1025) end, "length: expected")
  end)
end)
