local kit = require "veloflux.kit"

local ORIGIN = "https://app.example.com"

describe("cors", function()
  it("tells browsers whose pages may read an answer", function()
    local gateway = kit.start { config = { origins = { ORIGIN }, credentials = true } }
    local answer = gateway:request { headers = { Origin = ORIGIN } }
    assert.equal(ORIGIN, answer.headers["access-control-allow-origin"])
    assert.equal("true", answer.headers["access-control-allow-credentials"])
    assert.is_not.equal("https://evil.test",
      gateway:request({ headers = { Origin = "https://evil.test" } }).headers["access-control-allow-origin"])
  end)

  it("takes no star for any host: in a pattern it would repeat the slash", function()
    for _, origin in ipairs { "https://*.example.com", "*.example.com" } do
      assert.equal("origins[0]", kit.validate({ origins = { origin } })[1].path)
    end
    local gateway = kit.start { config = { origins = { [[https://[^.]+\.example\.com]] } } }
    local function allowed(origin)
      return gateway:request({ headers = { Origin = origin } }).headers["access-control-allow-origin"]
    end
    assert.equal(ORIGIN, allowed(ORIGIN))
    assert.is_nil(allowed "https://xexample.com")
  end)

  it("answers preflight requests itself", function()
    local gateway = kit.start { config = { origins = { ORIGIN }, methods = { "GET", "PUT" }, max_age = 600 } }
    local answer = gateway:request { method = "OPTIONS",
      headers = { Origin = ORIGIN, ["Access-Control-Request-Method"] = "PUT" } }
    assert.is_true(answer.status == 200 or answer.status == 204)
    assert.matches("PUT", answer.headers["access-control-allow-methods"])
    assert.equal("600", answer.headers["access-control-max-age"])
    assert.same({}, gateway:upstream_requests())
  end)
end)
