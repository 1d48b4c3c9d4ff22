local kit = require "veloflux.kit"

local CONSUMERS = {
  { name = "ana", groups = { "gold" }, credentials = { { type = "key-auth", key = "ana-key" } } },
  { name = "bob", groups = { "iron" }, credentials = { { type = "key-auth", key = "bob-key" } } },
}

local function statuses(config)
  local gateway = kit.start { consumers = CONSUMERS, plugins = {
    { name = "key-auth", config = { key_names = { "apikey" } } }, { name = "acl", config = config },
  } }
  local list = {}
  for i, key in ipairs { "ana-key", "bob-key", "none" } do
    list[i] = gateway:request({ headers = { apikey = key } }).status
  end
  return list, gateway
end

describe("acl", function()
  it("lets groups pass, or keeps them out", function()
    assert.same({ 200, 403, 401 }, (statuses { allow = { "gold" } }))
    assert.same({ 403, 200, 401 }, (statuses { deny = { "gold" } }))
  end)

  it("tells the backend the groups unless it must not", function()
    local _, gateway = statuses { allow = { "gold" } }
    assert.equal("gold", gateway:upstream_requests()[1].headers["x-consumer-groups"])
    _, gateway = statuses { allow = { "gold" }, hide_groups_header = true }
    assert.is_nil(gateway:upstream_requests()[1].headers["x-consumer-groups"])
  end)

  it("needs one list", function()
    assert.is_true(#kit.validate {} > 0)
    assert.is_true(#kit.validate { allow = { "a" }, deny = { "b" } } > 0)
    assert.same({}, kit.validate { allow = { "a" } })
  end)
end)
