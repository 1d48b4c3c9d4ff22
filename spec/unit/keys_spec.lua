local fixture = require "unit.conf.fixture"
local keys = require "veloflux.keys"
local uv = require "luv"

describe("keys", function()
  local folder
  before_each(function() folder = fixture.folder {} end)
  after_each(function() fixture.remove(folder) end)

  it("are made once, for us alone", function()
    local node = { data_dir = folder .. "/deep/er" }
    local first = assert(keys.master(node))
    assert.equal(32, #first)
    assert.equal(first, keys.master(node))
    assert.equal(tonumber("600", 8), uv.fs_stat(node.data_dir .. "/master.key").mode % 512)
    assert.equal(keys.sticky(node), keys.sticky(node))
  end)

  it("come from the setting when there is one", function()
    assert.equal("sixteen bytes ok", keys.master { master_key = "sixteen bytes ok", data_dir = "/nonexistent" })
  end)

  it("are derived by HMAC-SHA-256", function() -- RFC 4231, test case 2
    local digest = keys.derive("Jefe", "what do ya want for nothing?")
    local hex = digest:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
    assert.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", hex)
  end)

  it("are refused when the file is none", function()
    local file = assert(io.open(folder .. "/master.key", "wb"))
    file:write "short"
    file:close()
    local key, problem = keys.master { data_dir = folder }
    assert.is_nil(key)
    assert.equal(folder .. "/master.key: not a key", problem)
    assert.is_nil((keys.master { data_dir = "/proc/nope" }))
  end)
end)
