--- acl: groups that may pass, groups that may not.
local clients = require "support.client"
local loop = require "support.loop"
local plugins = require "support.plugins"

local CONSUMERS = {
  { name = "ana", groups = { "gold", "staff" }, credentials = { { type = "key-auth", key = "ana" } } },
  { name = "ben", groups = { "silver" }, credentials = { { type = "key-auth", key = "ben" } } },
  { name = "cem", credentials = { { type = "key-auth", key = "cem" } } },
  { name = "guest", groups = { "guests" } },
}

-- Says groups as a plugin does that knows more than the conf, and authenticates without a consumer.
local CLAIM = { handler = [[
  Plugin.PRIORITY = 1300
  function Plugin:access()
    local groups = {}
    for name in (pdk.request.get_header "x-say" or ""):gmatch "%a+" do groups[#groups + 1] = name end
    if groups[1] then pdk.ctx.shared.authenticated_groups = groups end
    if pdk.request.get_header "x-token" then pdk.auth.accept(nil, { key = "token" }) end
  end]] }

local function spec_of(config, run)
  return loop.spec(function()
    local rig = plugins.start({ claim = CLAIM }, { conf = { consumers = CONSUMERS }, plugins = { { name = "claim" },
      { name = "key-auth", config = { anonymous = config.anonymous } }, { name = "acl", config = config.acl } } })
    run(function(key, fields)
      local all = { { "X-Consumer-Groups", "forged" }, { "x_authenticated_groups", "forged" } }
      if key then all[#all + 1] = { "apikey", key } end
      for name, value in pairs(fields or {}) do all[#all + 1] = { name, value } end
      local answer = clients.get(rig.port, "/", all)
      if answer.status ~= 200 then return answer.status, answer.body end
      assert.is_nil(answer.body:find("forged", 1, true))
      return plugins.field(answer, "X-Consumer-Groups"), plugins.field(answer, "X-Authenticated-Groups")
    end, rig)
    rig.server:stop()
  end)
end

describe("acl", function()
  it("lets groups pass", spec_of({ acl = { allow = { "gold", "guests" } }, anonymous = "guest" }, function(ask)
    assert.equal("gold, staff", (ask "ana"))
    local status, body = ask "ben"
    assert.equal(403, status)
    assert.matches("You cannot consume this service", body, 1, true)
    assert.equal(403, (ask "cem"))
    assert.equal("guests", (ask(nil)))
    assert.same({ nil, "gold" }, { ask(nil, { ["X-Say"] = "gold" }) })
    assert.equal(403, (ask(nil, { ["X-Say"] = "silver" })))
    assert.equal(403, (ask("ben", { ["X-Say"] = "gold" }))) -- the consumer's own count
  end))

  it("keeps groups out", spec_of({ acl = { deny = { "silver", "guests" } }, anonymous = "guest" }, function(ask)
    assert.equal("gold, staff", (ask "ana"))
    assert.equal(403, (ask "ben"))
    assert.same({}, { ask "cem" })
    assert.equal(403, (ask(nil)))
  end))

  it("takes groups that came with the authentication when told so", spec_of({ acl = { allow = { "gold" },
    always_use_authenticated_groups = true } }, function(ask)
    assert.equal("gold, staff", (ask "ana"))
    assert.equal(403, (ask("ana", { ["X-Say"] = "silver" })))
    assert.same({ nil, "gold" }, { ask("ben", { ["X-Say"] = "gold" }) })
  end))

  it("hides groups, the client's own too", spec_of({ acl = { allow = { "gold" }, hide_groups_header = true } },
    function(ask) assert.same({}, { ask "ana" }) end))

  it("knows those who have authenticated without a consumer from strangers", loop.spec(function()
    local rig = plugins.start({ claim = CLAIM }, { plugins = { { name = "claim" },
      { name = "acl", config = { allow = { "gold" } } } } })
    assert.equal(401, clients.get(rig.port, "/").status)
    assert.equal(403, clients.get(rig.port, "/", { ["X-Token"] = "1" }).status)
    assert.equal(200, clients.get(rig.port, "/", { ["X-Token"] = "1", ["X-Say"] = "gold" }).status)
    rig.server:stop()
  end))
end)
