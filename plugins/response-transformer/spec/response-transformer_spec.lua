local cjson = require "cjson"
local kit = require "veloflux.kit"

describe("response-transformer", function()
  it("changes header fields", function()
    local gateway = kit.start { config = { add = { headers = { "x-new:1" } }, remove = { headers = { "x-old" } } },
      upstream = function() return { headers = { ["X-Old"] = "1" }, body = "text" } end }
    local answer = gateway:request {}
    assert.same({ "1", "text" }, { answer.headers["x-new"], answer.body })
    assert.is_nil(answer.headers["x-old"])
  end)

  it("changes JSON that comes in pieces", function()
    local gateway = kit.start { config = { add = { json = { "b:2" } }, remove = { json = { "a" } } },
      upstream = function()
        return { headers = { ["Content-Type"] = "application/json" }, body = '{"a":1,"kept":[1,2,3]}', chunked = true }
      end }
    local content = cjson.decode(gateway:request({}).body)
    assert.is_nil(content.a)
    assert.equal("2", tostring(content.b))
    assert.same({ 1, 2, 3 }, content.kept)
  end)

  it("keeps a member that gets the name that it has", function()
    local gateway = kit.start { config = { rename = { json = { "a:a", "b:c" } } }, upstream = function()
      return { headers = { ["Content-Type"] = "application/json" }, body = '{"a":1,"b":2}' }
    end }
    assert.same({ a = 1, c = 2 }, cjson.decode(gateway:request({}).body))
  end)
end)
