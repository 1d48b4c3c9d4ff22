require "support.library"
local archive = require "veloflux.control.archive"
local archives = require "support.archive"
local crypto = require "veloflux.pdk.crypto"

local MASTER = ("m"):rep(32)

local made = archives.of

local function lines_of(bytes, secrets)
  local lines, list = assert(archive.open(bytes, secrets)), {}
  for line in lines do list[#list + 1] = line end
  return list
end

local function flipped(bytes, at, bit)
  return bytes:sub(1, at - 1) .. string.char(require("bit").bxor(bytes:byte(at), bit)) .. bytes:sub(at + 1)
end

describe("an archive", function()
  it("gives back its lines and secrets", function()
    for _, secrets in ipairs { { master = MASTER }, { master = MASTER, passphrase = "correct horse" } } do
      local writer, bytes_of = archives.writer(secrets)
      local hex = writer:seal "hunter2"
      writer:add "one"
      writer:add ""
      local bytes = bytes_of()
      assert.is_nil(bytes:find("one", 1, true))
      local lines, unseal = archive.open(bytes, secrets)
      assert.same({ "one", "" }, { lines(), lines() })
      assert.is_nil(lines())
      assert.equal("hunter2", unseal(hex))
      assert.is_nil(unseal "00")
    end
  end)

  it("of many chunks comes back whole", function()
    local lines = {}
    for i = 1, 5000 do lines[i] = ("line %d "):format(i):rep(5) end
    assert.same(lines, lines_of(made({ master = MASTER }, lines), { master = MASTER }))
  end)

  it("says how long it is, and what its checksum is", function()
    local parts = {}
    local writer = assert(archive.writer({ master = MASTER }, function(bytes)
      parts[#parts + 1] = bytes
      return true
    end))
    for i = 1, 3000 do writer:add(("line %d "):format(i):rep(5)) end
    local facts = writer:finish()
    local bytes = table.concat(parts)
    assert.is_true(#parts > 2)
    assert.same({ size = #bytes, checksum = "sha256:" .. crypto.hex_encode(crypto.hash("sha256", bytes)) }, facts)
  end)

  it("ends with the first fault of what takes it", function()
    local count = 0
    local writer = assert(archive.writer({ master = MASTER }, function()
      count = count + 1
      if count > 1 then return nil, { code = "insufficient_storage", message = "full" } end
      return true
    end))
    for i = 1, 5000 do writer:add(("line %d "):format(i):rep(5)) end
    local facts, failure = writer:finish()
    assert.is_nil(facts)
    assert.same({ 2, "full" }, { count, failure.message })
  end)

  it("is refused after any change of a bit", function()
    local bytes = made({ master = MASTER }, { "one", "two" })
    for at = 1, #bytes do
      for _, bit in ipairs { 1, 128 } do
        local lines, problem = archive.open(flipped(bytes, at, bit), { master = MASTER })
        assert.is_nil(lines, at)
        assert.is_not.equal("wrong_key", problem.code, at)
      end
    end
  end)

  it("is refused when it is cut off or goes on", function()
    local bytes = made({ master = MASTER }, { "one", "two" })
    for length = 1, #bytes - 1 do
      local lines, problem = archive.open(bytes:sub(1, length), { master = MASTER })
      assert.is_nil(lines)
      assert.equal("truncated", problem.code, length)
    end
    assert.equal("format", select(2, archive.open("", { master = MASTER })).code)
    assert.equal("damaged", select(2, archive.open(bytes .. "x", { master = MASTER })).code)
  end)

  it("is refused when chunks are left out under a checksum that fits", function()
    local lines = {}
    for i = 1, 4000 do lines[i] = ("x"):rep(50) end
    local bytes = made({ master = MASTER }, lines)
    local function length_at(at)
      local a, b, c, d = bytes:byte(at, at + 3)
      return ((a * 256 + b) * 256 + c) * 256 + d
    end
    local first = 9 + 4 + length_at(9) -- behind the header
    local second = first + 4 + length_at(first)
    local third = second + 4 + length_at(second)
    for _, forged in ipairs { bytes:sub(1, second - 1) .. bytes:sub(third, -33), -- the second is gone
      bytes:sub(1, third - 1) .. "\0\0\0\0" } do -- all from the third on
      local whole = forged .. crypto.hash("sha256", forged)
      local opened, problem = archive.open(whole, { master = MASTER })
      assert.is_nil(opened)
      assert.equal("damaged", problem.code)
    end
  end)

  it("wants its key", function()
    local by_master = made({ master = MASTER }, { "one" })
    local by_passphrase = made({ master = MASTER, passphrase = "correct horse" }, { "one" })
    for _, case in ipairs { { by_master, { master = ("n"):rep(32) } }, { by_passphrase, { master = MASTER } },
      { by_passphrase, { master = MASTER, passphrase = "another horse" } } } do
      local lines, problem = archive.open(case[1], case[2])
      assert.is_nil(lines)
      assert.equal("wrong_key", problem.code)
    end
  end)

  it("takes passphrases of a sensible length", function()
    assert.is_nil(archive.passphrase_problem "12345678")
    for _, text in ipairs { "1234567", ("x"):rep(1025), 12345678 } do
      assert.is_string(archive.passphrase_problem(text))
    end
  end)
end)
