local kit = require "veloflux.kit"

local function status_of(config, ip) return kit.start({ config = config }):request({ ip = ip }).status end

describe("ip-restriction", function()
  it("lets those pass who are allowed", function()
    assert.equal(200, status_of({ allow = { "10.0.0.0/8" } }, "10.1.2.3"))
    assert.equal(403, status_of({ allow = { "10.0.0.0/8" } }, "11.1.2.3"))
    assert.equal(200, status_of({ allow = { "2001:db8::/32" } }, "2001:db8::7"))
    assert.equal(200, status_of({ allow = { "10.9.9.9/8" } }, "10.1.2.3"))
    assert.equal(403, status_of({ deny = { "2001:db8:1::1/32" } }, "2001:db8::7"))
  end)

  it("refuses those who are denied, allowed or not", function()
    local config = { allow = { "10.0.0.0/8" }, deny = { "10.0.0.7" }, status = 451, message = "Not here." }
    local gateway = kit.start { config = config }
    local answer = gateway:request { ip = "10.0.0.7" }
    assert.equal(451, answer.status)
    assert.matches("Not here.", answer.body, 1, true)
    assert.equal(200, gateway:request({ ip = "10.0.0.8" }).status)
    assert.equal(1, #gateway:upstream_requests())
  end)

  it("needs one of both lists", function()
    assert.equal(1, #kit.validate {})
    assert.equal(1, #kit.validate { allow = { "10.0.0.0/99" } })
    assert.same({}, kit.validate { deny = { "10.0.0.1" } })
  end)
end)
