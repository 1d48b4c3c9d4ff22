require "support.library"
local instance = require "veloflux.cli.instance"

describe("veloflux reload", function()
  it("tells what is live, and what is not in all processes yet", function()
    assert.same({ "version 3: pools: 1 added" }, instance.reloaded { version = 3, summary = "pools: 1 added",
      laggards = 0 })
    assert.same({ "version 3: live", "not yet in 1 process" }, instance.reloaded { version = 3, laggards = 1 })
    assert.same({ "version 3: live", "not yet in 2 processes" }, instance.reloaded { version = 3, laggards = 2 })
  end)
end)
