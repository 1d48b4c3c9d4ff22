local kit = require "veloflux.kit"

local function seen(config, request)
  local gateway = kit.start { config = config }
  assert.equal(200, gateway:request(request).status)
  return gateway:upstream_requests()[1]
end

describe("request-transformer", function()
  it("changes header fields and arguments", function()
    local request = seen({
      add = { headers = { "x-new:1" }, querystring = { "n:2" } },
      remove = { headers = { "x-old" }, querystring = { "o" } },
      replace = { headers = { "x-kept:other" } },
    }, { path = "/p?o=1", headers = { ["X-Old"] = "1", ["X-Kept"] = "mine" } })
    assert.equal("1", request.headers["x-new"])
    assert.is_nil(request.headers["x-old"])
    assert.equal("other", request.headers["x-kept"])
    assert.equal("/p?n=2", request.path)
  end)

  it("changes content that comes in pieces", function()
    local request = seen({ add = { body = { "c:d" } } }, { method = "POST", body = "a=b",
      headers = { ["Content-Type"] = "application/x-www-form-urlencoded" } })
    assert.matches("a=b", request.body)
    assert.matches("c=d", request.body)
    assert.equal(tostring(#request.body), request.headers["content-length"])
  end)
end)
