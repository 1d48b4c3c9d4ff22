local kit = require "veloflux.kit"

describe("plan", function()
  local gateway

  before_each(function()
    gateway = kit.start {
      config = { plans = { blue = "gold", green = "free" } },
      upstream = function(request) return { body = "plan " .. request.headers["x-plan"] } end,
    }
  end)

  it("tells the backend and the client", function()
    local answer = gateway:request { headers = { ["X-Team"] = "blue" } }
    assert.equal("plan gold", answer.body)
    assert.equal("gold", answer.headers["x-plan"])
  end)

  it("turns away who has none", function()
    for _, team in ipairs { "red", "" } do
      local answer = gateway:request { headers = { ["X-Team"] = team } }
      assert.equal(403, answer.status)
      assert.is_nil(answer.headers["x-plan"])
    end
    assert.same({}, gateway:upstream_requests())
  end)

  it("knows no other plans", function()
    local problems = kit.validate { plans = { blue = "silver" } }
    assert.equal("plans.blue", problems[1].path)
  end)
end)
