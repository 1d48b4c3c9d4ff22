local kit = require "veloflux.kit"

local CONSUMERS = { { name = "ana", credentials = { { type = "key-auth", key = "ana-key" } } } }

local function start(config) return kit.start { config = config, consumers = CONSUMERS } end

describe("key-auth", function()
  it("lets those pass who have a key, and tells the backend who they are", function()
    local gateway = start { key_names = { "apikey" } }
    assert.equal(401, gateway:request({}).status)
    assert.equal(401, gateway:request({ headers = { apikey = "another" } }).status)
    assert.equal(200, gateway:request({ headers = { apikey = "ana-key" } }).status)
    assert.equal(200, gateway:request({ path = "/?apikey=ana-key" }).status)
    local seen = gateway:upstream_requests()
    assert.equal(2, #seen)
    assert.equal("ana", seen[1].headers["x-consumer-username"])
  end)

  it("hides keys from the backend when asked to", function()
    local gateway = start { key_names = { "apikey" }, hide_credentials = true }
    gateway:request { headers = { apikey = "ana-key" } }
    gateway:request { path = "/?a=b&apikey=ana-key" }
    local seen = gateway:upstream_requests()
    assert.is_nil(seen[1].headers.apikey)
    assert.equal("/?a=b", seen[2].path)
  end)

  it("reads keys from the content of a request, however it comes", function()
    local gateway = start { key_names = { "apikey" }, key_in_body = true }
    local answer = gateway:request { method = "POST", body = "a=b&apikey=ana-key&c=d",
      headers = { ["Content-Type"] = "application/x-www-form-urlencoded" } }
    assert.equal(200, answer.status)
    assert.equal("a=b&apikey=ana-key&c=d", gateway:upstream_requests()[1].body)
  end)
end)
