require "support.library"
local json = require "veloflux.pdk.json"
local query = require "veloflux.admin.query"

local FIELDS = { name = true, size = true, colour = true, tags = true, ["in.side"] = true }

local function answer(text, items)
  local params = assert(query.parse(text))
  local result = query.answer({ path = "/api/things", query = text }, params, items, FIELDS, "name")
  result.json = result.json_text and json.decode(result.json_text)
  return result
end

local function header(result, name)
  for i = 1, #(result.headers or {}), 2 do
    if result.headers[i] == name then return result.headers[i + 1] end
  end
end

local function names(result)
  local list = {}
  for i, item in ipairs(result.json) do list[i] = item.name end
  return table.concat(list, " ")
end

local THINGS = {
  { name = "c", size = 2, colour = "red", tags = json.array { "x", "y" }, ["in"] = { side = true } },
  { name = "a", size = 10, colour = "red" },
  { name = "d", size = 2, colour = "blue", tags = json.array { "y" } },
  { name = "b", colour = "a b" },
}

describe("lists", function()
  it("come whole and sorted", function()
    local result = answer("", THINGS)
    assert.equal("a b c d", names(result))
    assert.equal("4", header(result, "X-Total-Count"))
    assert.is_nil(header(result, "Link"))
  end)

  it("are never null", function() assert.is_true(json.is_array(answer("", {}).json)) end)

  it("are sorted by several fields, what has none first", function()
    assert.equal("b c d a", names(answer("sort=size", THINGS)))
    assert.equal("a d c b", names(answer("sort=-size,-name", THINGS)))
    assert.equal("invalid", answer("sort=weight", THINGS).code)
  end)

  it("are filtered by one of several values, within lists and maps", function()
    assert.equal("a c", names(answer("colour=red", THINGS)))
    assert.equal("a c d", names(answer("colour=red&colour=blue", THINGS)))
    assert.equal("c d", names(answer("size=2", THINGS)))
    assert.equal("c", names(answer("tags=x", THINGS)))
    assert.equal("c", names(answer("in.side=true", THINGS)))
    assert.equal("b", names(answer("colour=a+b", THINGS)))
    assert.equal("b", names(answer("colour=a%20b", THINGS)))
    assert.equal("", names(answer("colour=green", THINGS)))
  end)

  it("are walked by cursors, while others come and go", function()
    local first = answer("limit=2&colour=red&colour=blue&sort=-size", THINGS)
    assert.equal("a c", names(first))
    assert.equal("3", header(first, "X-Total-Count"))
    local path, text = header(first, "Link"):match '^<([^?]*)%?(.*)>; rel="next"$'
    assert.equal("/api/things", path)
    local more = { THINGS[1], THINGS[3], { name = "z", size = 2, colour = "red" },
      { name = "0", size = 99, colour = "red" } }
    local second = answer(text, more)
    assert.equal("d z", names(second))
    assert.is_nil(header(second, "Link"))
  end)

  it("are walked by pages", function()
    assert.equal("c", names(answer("page=3&limit=1", THINGS)))
    assert.equal("", names(answer("page=9&limit=2", THINGS)))
    assert.equal("invalid", answer("page=1&limit=1&cursor=x", THINGS).code)
    assert.equal("invalid", answer("page=0", THINGS).code)
    assert.equal("invalid", answer("limit=501", THINGS).code)
    assert.equal("invalid", answer("limit=two", THINGS).code)
  end)

  it("refuse cursors of other orders", function()
    for _, cursor in ipairs { "x", "%25", "WzFd", "bnVsbA", "WyJhIiwiYiJd" } do
      local result = answer("limit=1&cursor=" .. cursor, THINGS)
      assert.is_true(result.code == "invalid" or cursor == "WzFd", cursor) -- [1] is a place: before all texts
    end
  end)

  it("beyond 10,000 items ask for a limit", function()
    local many = {}
    for i = 1, query.MAX_ITEMS do many[i] = { name = ("%05d"):format(i) } end
    assert.equal(query.MAX_ITEMS, #answer("", many).json)
    many[#many + 1] = { name = "x" }
    assert.equal("invalid", answer("", many).code)
    assert.equal(500, #answer("limit=500", many).json)
  end)
end)

describe("queries", function()
  it("that are not well-formed are refused", function()
    assert.is_nil((query.parse "a=%zz"))
    assert.same({ "1", "2" }, (query.parse "a=1&a=2").a)
  end)

  it("name what is unknown", function()
    local _, all = query.parse "colour=1&shape=2"
    local refused = query.unknown(all, { colour = true })
    assert.equal("shape", refused.errors[1].parameter)
    assert.is_nil(query.unknown(all, { colour = true, shape = true }))
  end)

  it("say yes and no", function()
    assert.is_true(query.flag({ dry = { "true" } }, "dry"))
    assert.is_true(query.flag({ dry = { "" } }, "dry"))
    assert.is_false(query.flag({ dry = { "0" } }, "dry"))
    assert.is_false(query.flag({}, "dry"))
    assert.is_nil(query.flag({ dry = { "maybe" } }, "dry"))
  end)
end)
