--- Finding credentials in a request: the parts of key-auth, basic-auth and jwt that run for each one, compiled.
local fixture = require "unit.plugins.fixture"
local crypto = require "veloflux.pdk.crypto"
local traces = require "support.traces"

-- A request that consists of a table of fields and a query.
local function request_of(fields, query)
  return { request = {
    get_header_at = function(name, nth) return nth == 1 and fields[name] or nil end,
    get_header = function(name) return fields[name] end,
    get_raw_query = function() return query or "" end,
    get_query = function() error "a query is decoded that has nothing like it" end,
  } }
end

describe("key-auth", function()
  it("finds keys in compiled code", function()
    local keys = fixture.load("key-auth", request_of({ apikey = "secret" }, "a=1&b=2"))("keys")
    local conf = { key_names = { "x-key", "apikey" }, key_in_header = true, key_in_query = true }
    assert.equal("secret", (keys.find(conf)))
    traces.assert_compiles(function() keys.find(conf) end)
  end)

  it("finds none in compiled code", function()
    local keys = fixture.load("key-auth", request_of({}, "a=1"))("keys")
    local conf = { key_names = { "apikey" }, key_in_header = true, key_in_query = true }
    assert.same({ nil, "No API key found in request" }, { keys.find(conf) })
    traces.assert_compiles(function() keys.find(conf) end)
  end)
end)

describe("basic-auth", function()
  local login = fixture.load "basic-auth" "login"

  it("reads names and passwords in compiled code", function()
    local value = "Basic " .. crypto.base64_encode "ana:open: sesame"
    assert.same({ "ana", "open: sesame" }, { login.parse(value) })
    traces.assert_compiles(function() login.parse(value) end)
  end)

  it("reads nothing else", function()
    for _, value in ipairs { "", "Basic", "Basic ", "Basic  ", "Basic =", "Basic Og==", "Basic YQ==", "basic:YTpi",
      "Basic YTpi YTpi", "Basic YTpi,", "Digest YTpi", "Basic YTo\0" } do
      assert.is_nil(login.parse(value), value)
    end
    assert.same({ "a", "" }, { login.parse "basic YTo" })
  end)

  it("never raises", function()
    math.randomseed(11)
    for _ = 1, 2000 do
      local bytes = {}
      for i = 1, math.random(0, 40) do bytes[i] = string.char(math.random(0, 255)) end
      login.parse("Basic " .. table.concat(bytes))
      login.parse("Basic " .. crypto.base64_encode(table.concat(bytes)))
    end
  end)
end)

describe("jwt", function()
  it("finds tokens in compiled code", function()
    local source = fixture.load("jwt", request_of({ authorization = "Bearer   abc.def.ghi " }, "a=1"))("source")
    local conf = { header_names = { "authorization" }, uri_param_names = { "jwt" }, cookie_names = {} }
    assert.equal("abc.def.ghi", (source.find(conf)))
    traces.assert_compiles(function() source.find(conf) end)
  end)
end)
