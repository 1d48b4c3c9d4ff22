require "support.library"
local bodies = require "veloflux.admin.body"

local function read(body, kind, is_optional)
  local request = { body = body, headers = { ["content-type"] = kind or "application/json" } }
  return bodies.read(request, bodies.JSON, is_optional)
end

local function refusal(...)
  local value, problem = read(...)
  assert.is_nil(value)
  return problem.code
end

describe("bodies", function()
  it("are objects in JSON", function()
    assert.same({ a = 1 }, (read '{"a":1}'))
    assert.same({ a = 1 }, (read('{"a":1}', "Application/JSON; charset=utf-8")))
    assert.same({}, (read("", nil, true)))
  end)

  it("are refused otherwise", function()
    for _, body in ipairs { "", "[]", "1", "null", '"a"', "{", '{"a":1}{}', '{"a":1,"a":1}', '{"a":"\255"}',
      '{"a":' .. ("["):rep(40) .. ("]"):rep(40) .. "}", '{"a":1e999}' } do
      assert.equal("invalid", refusal(body), body)
    end
    assert.equal("unsupported_media_type", refusal("{}", "text/plain"))
    assert.equal("unsupported_media_type", refusal("{}", ""))
  end)
end)

describe("Accept", function()
  local function accepts(field) return bodies.accepts({ headers = { accept = field } }, "application/json") end

  it("is asked for the most specific range", function()
    for _, field in ipairs { "", "*/*", "application/*", "application/json", "text/html, */*;q=0.1",
      "text/html;q=1, application/json; q=0.5" } do
      assert.is_true(accepts(field), field)
    end
    assert.is_true(accepts(nil))
    for _, field in ipairs { "text/html", "application/json;q=0", "*/*, application/json;q=0.0", "image/*" } do
      assert.is_false(accepts(field), field)
    end
  end)
end)

describe("Prefer", function()
  it("is a list", function()
    local request = { headers = { prefer = "respond-async, handling=\"lenient\"" } }
    assert.is_true(bodies.prefers(request, "handling=lenient"))
    assert.is_false(bodies.prefers({ headers = {} }, "handling=lenient"))
  end)
end)
