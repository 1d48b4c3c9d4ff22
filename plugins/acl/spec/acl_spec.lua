local kit = require "veloflux.kit"

local CONSUMERS = {
  { name = "ana", groups = { "gold", "staff" }, credentials = { { type = "key-auth", key = "ana" } } },
  { name = "ben", groups = { "silver" }, credentials = { { type = "key-auth", key = "ben" } } },
}

local function start(config)
  return kit.start { plugins = { { name = "key-auth" }, { name = "acl", config = config } }, consumers = CONSUMERS,
    upstream = function(request) return request.headers["x-consumer-groups"] or "none" end }
end

local function ask(gateway, key)
  local answer = gateway:request { headers = { apikey = key, ["X-Consumer-Groups"] = "forged" } }
  return answer.status == 200 and answer.body or answer.status
end

describe("acl", function()
  it("lets groups pass", function()
    local gateway = start { allow = { "gold" } }
    assert.same({ "gold, staff", 403 }, { ask(gateway, "ana"), ask(gateway, "ben") })
  end)

  it("keeps groups out", function()
    local gateway = start { deny = { "gold" }, hide_groups_header = true }
    assert.same({ 403, "none" }, { ask(gateway, "ana"), ask(gateway, "ben") })
  end)

  it("tells no groups that cannot stand in the list", function()
    local gateway = kit.start {
      upstream = function(request) return request.headers["x-authenticated-groups"] or "none" end,
      plugins = { { name = "acl", config = { allow = { "gold" } } }, { name = "script", config = { access =
        'pdk.client.authenticate(nil, { id = "x" }) pdk.ctx.shared.authenticated_groups = '
        .. '{ "a\\r\\nX-Admin: 1", "gold, staff", "gold", 7, "" }' } } } }
    local answer = gateway:request {}
    assert.same({ 200, "gold" }, { answer.status, answer.body })
  end)

  it("lets nobody pass who has not been authenticated", function()
    assert.equal(401, kit.start({ config = { deny = { "gold" } } }):request({}).status)
  end)

  it("says what its configuration may be", function()
    assert.same({}, kit.validate { allow = { "a" } })
    for _, config in ipairs { {}, { allow = { "a" }, deny = { "b" } }, { allow = { "a,b" } },
      { allow = kit.list {} } } do
      assert.is_true(#kit.validate(config) > 0)
    end
  end)
end)
