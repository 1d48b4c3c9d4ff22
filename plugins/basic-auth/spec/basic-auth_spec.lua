local kit = require "veloflux.kit"
local encoding = require "veloflux.pdk.encoding"

local CONSUMERS = { { name = "ana", credentials = { { type = "basic-auth", username = "ana", password = "secret" } } } }

local function login(name, password)
  return { headers = { Authorization = "Basic " .. encoding.base64_encode(name .. ":" .. password) } }
end

describe("basic-auth", function()
  it("lets those pass who know their password", function()
    local gateway = kit.start { consumers = CONSUMERS, config = { realm = "house" } }
    local answer = gateway:request {}
    assert.equal(401, answer.status)
    assert.matches('realm="house"', answer.headers["www-authenticate"], 1, true)
    assert.equal(200, gateway:request(login("ana", "secret")).status)
    assert.equal(401, gateway:request(login("ana", "wrong")).status)
    assert.equal(401, gateway:request(login("bob", "secret")).status)
    assert.equal("ana", gateway:upstream_requests()[1].headers["x-consumer-username"])
  end)
end)
