require "support.library"
local definitions = require "veloflux.channels.definition"

local function with(extra)
  local definition = { path = "/api/ws/widgets", permission = "user", type = "widgets", frame = function() end }
  for name, value in pairs(extra or {}) do definition[name] = value end
  return definition
end

local function refusal(given)
  local ok, message = pcall(definitions.check, given)
  assert.is_false(ok)
  return message
end

describe("the definition of a channel", function()
  it("is completed", function()
    local definition = definitions.check(with { every = "5s" })
    assert.equal("widgets", definition.name)
    assert.equal(5, definition.every_s)
    assert.equal(64, definition.history)
    assert.is_false(definition.per_client)
    assert.equal("api/things", definitions.check(with { path = "/api/things" }).name)
  end)

  it("says what is wrong with it", function()
    assert.equal("a channel: expected a table, got a string", refusal "x")
    for message, extra in pairs {
      ["channel /api/ws/widgets: colour is not known"] = { colour = "red" },
      ["channel /api/ws/widgets: frame: expected a function, got a number"] = { frame = 1 },
      ["channel /widgets: path: expected /api/ and names of letters, digits, - and _"] = { path = "/widgets" },
      ["channel /api/ws//x: path: expected /api/ and names of letters, digits, - and _"] = { path = "/api/ws//x" },
      ['channel /api/ws/widgets: every: expected a duration like 10s, got "often"'] = { every = "often" },
      ["channel /api/ws/widgets: every: at least 250ms"] = { every = "10ms" },
      ["channel /api/ws/widgets: history: expected an integer between 0 and 1024"] = { history = 5000 },
      ["channel /api/ws/widgets: a message cannot be called ping"] = { messages = { ping = {} } },
      ["channel /api/ws/widgets: messages.say.handle is missing"] = { messages = { say = {} } },
      ["channel /api/ws/widgets: messages.say.what is not known"] = { messages = { say = { what = 1 } } },
    } do
      assert.equal(message, refusal(with(extra)))
    end
    assert.is_truthy(refusal(with { filter_fields = { a = { type = "strange" } } }):find "filter_fields: a")
    assert.equal("channel /api/ws/widgets: of_tenant needs filter or per_client", refusal(with { of_tenant = true }))
    assert.equal("channel nil: path is missing", refusal {})
    assert.equal("channel /api/x: type is missing", refusal { path = "/api/x", permission = "user" })
    assert.equal("channel /api/x: frame is missing", refusal { path = "/api/x", permission = "user", type = "x",
      every = "1s" })
  end)
end)
