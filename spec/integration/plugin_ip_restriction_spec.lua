--- The plugin ip-restriction in a running server.
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local plugins = require "support.plugins"

local function start(config, conf)
  return plugins.shipped({ { name = "ip-restriction", config = config } }, { conf = conf })
end

describe("ip-restriction", function()
  it("lets pass whom it allows, and nobody it denies", loop.spec(function()
    local rig = start({ allow = { "10.0.0.0/8", "2001:db8::/32" }, deny = { "10.66.0.0/16" } },
      { trusted_proxies = { "127.0.0.1" } })
    local function status_of(address, fields)
      fields = fields or {}
      fields["X-Forwarded-For"] = address
      return clients.get(rig.port, "/", fields).status
    end
    assert.equal(200, status_of "10.1.2.3")
    assert.equal(200, status_of "2001:db8::7")
    assert.equal(200, status_of "10.66.0.1, 10.1.2.3") -- the address that our proxy has seen
    assert.equal(403, status_of "10.66.1.1")
    assert.equal(403, status_of "192.0.2.1")
    assert.equal(403, status_of "2001:db9::1")
    assert.equal(403, status_of "not an address")
    assert.equal(403, status_of(("1.2.3.4, "):rep(500) .. "1.2.3.4"))
    local answer = clients.get(rig.port, "/", { ["X-Forwarded-For"] = "192.0.2.1" })
    local body = cjson.decode(answer.body)
    assert.equal("IP address not allowed: 192.0.2.1", body.message)
    assert.equal("ip-restriction", rig.server:wait_access_log(9)[9].reason)
    rig.server:stop()
  end))

  it("does not believe what clients say of themselves", loop.spec(function()
    local rig = start { deny = { "127.0.0.0/8" }, status = 451, message = "<b>no</b>" }
    local answer = clients.get(rig.port, "/", { ["X-Forwarded-For"] = "10.0.0.1", Accept = "text/html" })
    assert.equal(451, answer.status)
    assert.matches("&lt;b&gt;no&lt;/b&gt;", answer.body)
    assert.equal(0, #rig.origin.requests)
    rig.server:stop()
  end))

  it("follows a reload", loop.spec(function()
    local rig = start { deny = { "127.0.0.1" } }
    assert.equal(403, clients.get(rig.port, "/").status)
    plugins.change(rig, { { name = "ip-restriction", config = { allow = { "127.0.0.1" } } } })
    assert.equal(200, clients.get(rig.port, "/").status)
    rig.server:stop()
  end))

  it("works with 10,000 networks", loop.spec(function()
    local list = {}
    for i = 0, 9999 do list[i + 1] = ("10.%d.%d.0/24"):format(math.floor(i / 256), i % 256) end
    local rig = start({ allow = list }, { trusted_proxies = { "127.0.0.1" }, plugin_limits = { cpu = "10s" } })
    for address, status in pairs { ["10.39.15.9"] = 200, ["10.39.16.1"] = 403, ["10.0.0.0"] = 200 } do
      assert.equal(status, clients.get(rig.port, "/", { ["X-Forwarded-For"] = address }).status, address)
    end
    rig.server:stop()
  end))

  it("refuses configurations that mean nothing", loop.spec(function()
    for expected, config in pairs {
      ["one of allow or deny is required"] = { status = 403 },
      ["allow%[1%]"] = { allow = { "10.0.0.1/8", "10.0.0.1/33" } },
      ["deny%[0%]"] = { deny = { "example.com" } },
      ["status"] = { deny = { "10.0.0.0/8" }, status = 200 },
    } do
      assert.matches(expected, (plugins.problems { name = "ip-restriction", config = config }))
    end
  end))
end)
