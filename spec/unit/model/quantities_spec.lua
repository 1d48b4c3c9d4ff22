local library = require "support.library" -- luacheck: ignore 211
local duration = require "veloflux.model.duration"
local size = require "veloflux.model.size"

describe("durations", function()
  it("reads numbers with units, several of them too", function()
    local cases = { ["250ms"] = 250, ["10s"] = 10000, ["5m"] = 300000, ["1h"] = 3600000, ["1h30m"] = 5400000,
      ["7d"] = 604800000, ["0.5s"] = 500, ["0s"] = 0 }
    for text, ms in pairs(cases) do assert.equal(ms, duration.parse(text), text) end
  end)

  it("reads nothing else", function()
    for _, text in ipairs { "", "10", "s", "10 s", "-1s", "1x", "10parsecs", "1s ", "off", "1e3s",
      "99999999999999d" } do
      assert.is_nil(duration.parse(text), text)
    end
  end)

  it("writes what it reads again", function()
    for _, ms in ipairs { 0, 1, 250, 1500, 10000, 60000, 90000, 3600000, 86400000 } do
      assert.equal(ms, duration.parse(duration.format(ms)))
    end
    assert.equal("90s", duration.format(90000))
    assert.equal("off", duration.format(math.huge))
  end)
end)

describe("sizes", function()
  it("reads bytes and powers of 1024, in either case", function()
    local cases = { ["512"] = 512, ["32k"] = 32768, ["32K"] = 32768, ["32kb"] = 32768, ["32KiB"] = 32768,
      ["256m"] = 268435456, ["1g"] = 1073741824, ["0"] = 0, ["7 k"] = 7168, ["3b"] = 3 }
    for text, bytes in pairs(cases) do assert.equal(bytes, size.parse(text), text) end
  end)

  it("reads nothing else", function()
    for _, text in ipairs { "", "k", "-1k", "1.5k", "1x", "1kk", "99999999t", "off" } do
      assert.is_nil(size.parse(text), text)
    end
  end)

  it("writes what it reads again", function()
    for _, bytes in ipairs { 0, 1, 1023, 1024, 32768, 1048576, 1048577 } do
      assert.equal(bytes, size.parse(size.format(bytes)))
    end
    assert.equal("32k", size.format(32768))
    assert.equal("off", size.format(math.huge))
  end)
end)
