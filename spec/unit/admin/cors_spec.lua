require "support.library"
local cors = require "veloflux.admin.cors"

local function of(origin, more)
  local headers = { origin = origin }
  for name, value in pairs(more or {}) do headers[name] = value end
  return { method = "OPTIONS", headers = headers }
end

local function field(list, name)
  for i = 1, #list, 2 do
    if list[i] == name then return list[i + 1] end
  end
end

describe("pages of other sites", function()
  before_each(function()
    cors.configure { origins = { "https://Dash.example.com", "http://10.0.0.1:8081", "https://[::1]:443" },
      max_age = 600000 }
  end)
  after_each(function() cors.configure { origins = {}, max_age = 0 } end)

  it("may be of an origin that the conf names, however it is written", function()
    for _, origin in ipairs { "https://dash.example.com", "https://dash.example.com:443", "http://10.0.0.1:8081",
      "https://[::1]" } do
      assert.equal(origin, cors.origin_of(of(origin)))
    end
    for _, origin in ipairs { "http://dash.example.com", "https://dash.example.com:444", "http://10.0.0.1", "null",
      "https://dash.example.com.evil.example", "" } do
      assert.is_nil(cors.origin_of(of(origin)))
    end
    assert.is_nil(cors.origin_of { headers = {} })
  end)

  it("are told what they may send", function()
    local asked = { ["access-control-request-method"] = "PATCH",
      ["access-control-request-headers"] = "authorization, if-match" }
    local result = cors.preflight(of("https://dash.example.com", asked))
    assert.equal(204, result.status)
    assert.matches("PATCH", field(result.headers, "Access-Control-Allow-Methods"))
    assert.equal("authorization, if-match", field(result.headers, "Access-Control-Allow-Headers"))
    assert.equal("600", field(result.headers, "Access-Control-Max-Age"))
    assert.is_nil(cors.preflight(of("https://evil.example", asked)))
    assert.is_nil(cors.preflight(of "https://dash.example.com"))
    asked["access-control-request-headers"] = "a\r\nb"
    assert.is_nil(field(cors.preflight(of("https://dash.example.com", asked)).headers, "Access-Control-Allow-Headers"))
  end)

  it("may read answers, and caches are told that these differ", function()
    local headers = cors.add(of "https://dash.example.com", { "ETag", '"1"' })
    assert.equal("https://dash.example.com", field(headers, "Access-Control-Allow-Origin"))
    assert.matches("ETag", field(headers, "Access-Control-Expose-Headers"))
    assert.equal("Origin", field(headers, "Vary"))
    assert.equal('"1"', field(headers, "ETag"))
    assert.is_nil(field(cors.add(of "https://evil.example", {}), "Access-Control-Allow-Origin"))
    cors.configure { origins = {}, max_age = 0 }
    assert.same({ "ETag", '"1"' }, cors.add(of "https://dash.example.com", { "ETag", '"1"' }))
  end)
end)
