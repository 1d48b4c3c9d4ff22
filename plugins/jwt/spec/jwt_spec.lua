local cjson = require "cjson"
local kit = require "veloflux.kit"
local crypto = require "veloflux.pdk.crypto"
local encoding = require "veloflux.pdk.encoding"

local SECRET = ("secret "):rep(6)
local CONSUMERS = { { name = "ana", credentials = { { type = "jwt", key = "ana-app", secret = SECRET } } } }

local function token(claims, secret)
  local text = encoding.base64url_encode '{"alg":"HS256","typ":"JWT"}' .. "."
    .. encoding.base64url_encode(cjson.encode(claims))
  return text .. "." .. encoding.base64url_encode(crypto.hmac("sha256", secret or SECRET, text))
end

local function bearer(...) return { headers = { Authorization = "Bearer " .. token(...) } } end

describe("jwt", function()
  it("lets those pass whose token is signed with their key", function()
    local gateway = kit.start { consumers = CONSUMERS }
    assert.equal(401, gateway:request({}).status)
    assert.equal(200, gateway:request(bearer { iss = "ana-app" }).status)
    assert.equal(401, gateway:request(bearer({ iss = "ana-app" }, "another secret")).status)
    assert.equal(401, gateway:request(bearer { iss = "nobody" }).status)
    assert.equal("ana", gateway:upstream_requests()[1].headers["x-consumer-username"])
  end)

  it("refuses tokens once they have expired", function()
    local gateway = kit.start { consumers = CONSUMERS, config = { claims_to_verify = { "exp" } } }
    local request = bearer { iss = "ana-app", exp = kit.now() + 3600 }
    assert.equal(200, gateway:request(request).status)
    gateway:advance(3500)
    assert.equal(200, gateway:request(request).status)
    gateway:advance(200)
    assert.equal(401, gateway:request(request).status)
  end)
end)
