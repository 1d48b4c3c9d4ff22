local kit = require "veloflux.kit"

describe("script", function()
  it("runs Lua of the configuration in its phases", function()
    local gateway = kit.start { config = {
      access = 'pdk.service.request.set_header("X-From", "script")',
      header_filter = 'pdk.response.set_header("X-Served", "yes")',
    } }
    assert.equal("yes", gateway:request({}).headers["x-served"])
    assert.equal("script", gateway:upstream_requests()[1].headers["x-from"])
  end)

  it("says where a script is wrong", function()
    local problems = kit.validate { access = "local x = 1\nx x" }
    assert.equal("access", problems[1].path)
    assert.matches("line 2", problems[1].message)
    assert.equal(1, #kit.validate {})
  end)

  it("fails the request when it raises", function()
    local gateway = kit.start { config = { access = 'error "boom"' } }
    assert.equal(500, gateway:request({}).status)
    assert.matches("script.access:1: boom", gateway:logs("plugin.failed")[1].error, 1, true)
  end)
end)
