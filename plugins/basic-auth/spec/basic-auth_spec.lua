local kit = require "veloflux.kit"
local crypto = require("veloflux.pdk").crypto

local function basic(name, password)
  return { Authorization = "Basic " .. crypto.base64_encode(name .. ":" .. password) }
end

local CONSUMERS = {
  { name = "ana", credentials = { { type = "basic-auth", username = "ana", password = "open: sesame" } } },
  { name = "ben", credentials = { { type = "basic-auth", username = "ben",
    password = assert(crypto.password_hash "hashed") } } },
}

local function start(config)
  return kit.start { config = config, consumers = CONSUMERS,
    upstream = function(request) return request.headers["x-credential-identifier"] end }
end

describe("basic-auth", function()
  it("lets those pass who know the password", function()
    local gateway = start {}
    assert.equal("ana", gateway:request({ headers = basic("ana", "open: sesame") }).body)
    for _ = 1, 2 do assert.equal("ben", gateway:request({ headers = basic("ben", "hashed") }).body) end
    assert.is_not_nil(gateway:upstream_requests()[1].headers.authorization)
  end)

  it("refuses all others", function()
    local gateway = start { realm = "the lab" }
    for _, headers in ipairs { {}, basic("ana", "x"), basic("ben", "x"), basic("eve", "x"), basic("ana", ""),
      { Authorization = "Basic %%%" }, { Authorization = "Bearer x" } } do
      local answer = gateway:request { headers = headers }
      assert.equal(401, answer.status)
      assert.equal('Basic realm="the lab", charset="UTF-8"', answer.headers["www-authenticate"])
    end
    assert.equal(0, #gateway:upstream_requests())
  end)

  it("hides names and passwords", function()
    local gateway = start { hide_credentials = true }
    assert.equal(200, gateway:request({ headers = basic("ana", "open: sesame") }).status)
    assert.is_nil(gateway:upstream_requests()[1].headers.authorization)
  end)

  it("lets preflights pass when told so", function()
    assert.equal(401, start({}):request({ method = "OPTIONS" }).status)
    assert.equal(200, start({ run_on_preflight = false }):request({ method = "OPTIONS" }).status)
  end)
end)
