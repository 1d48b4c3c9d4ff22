--- Plugins that decide who may pass.
local fixture = require "unit.plugins.fixture"
local kit = require "veloflux.kit"

describe("plugins that keep others out", function()
  after_each(kit.stop)

  it("let nobody pass while they are left out", function()
    for _, name in ipairs { "acl", "basic-auth", "ip-restriction", "jwt", "key-auth" } do
      assert.is_true(fixture.load(name) "handler".FAIL_CLOSED, name)
    end
  end)

  it("may know consumers and credentials by numbers", function()
    local gateway = kit.start { plugins = { { name = "script", config = { access =
      'pdk.auth.accept({ id = 5, username = "five", tenant = "default" }, { id = 7 }, 7) '
      .. 'pdk.response.exit(200, type(pdk.client.get_credential_identifier()))' } } } }
    assert.equal("string", gateway:request({}).body)
    gateway = kit.start { plugins = { { name = "script", config = { access =
      'pdk.auth.accept({ id = 5, username = "five", tenant = "default" }, { id = 7 }, 7)' } } } }
    gateway:request {}
    local headers = gateway:upstream_requests()[1].headers
    assert.same({ "5", "five", "7" }, { headers["x-consumer-id"], headers["x-consumer-username"],
      headers["x-credential-identifier"] })
  end)
end)
