require "support.library"
local source = require "veloflux.compiler.table_source"

local KINDS = { ["key-auth"] = { id = "key", hashed = true },
  ["basic-auth"] = { id = "username", hashed = false, password = "password" } }

local function ana(changes)
  local consumer = { name = "ana", tenant = "default", custom_id = "7", groups = { "gold" }, chain = "0f",
    credentials = { { type = "key-auth", key = "secret" },
      { type = "basic-auth", username = "ana", password = "pass", tags = { "a", "b" } } } }
  for name, value in pairs(changes or {}) do consumer[name] = value end
  return consumer
end

local function of(list, options)
  options = options or {}
  return source.of({ consumers = list }, { salt_key = options.salt_key or "salt",
    kind_of = function(credential) return (options.kinds or KINDS)[credential.type] end,
    chain_of = function(consumer) return consumer.chain end })
end

describe("what tables are made of", function()
  it("is the same when every consumer says the same, in the same order", function()
    local one, two = ana(), ana { name = "bo" }
    assert.is_true(source.same(of { one, two }, of { one, two }))
    assert.is_true(source.same(of { one, two }, of { ana(), ana { name = "bo" } }))
    assert.is_true(source.same(of {}, of {}))
    assert.is_true(source.same(of { ana { credentials = false } }, of { ana { credentials = false } }))
  end)

  it("is another when anything that the tables hold differs", function()
    local before = of { ana() }
    assert.is_false(source.same(nil, before))
    assert.is_false(source.same(before, of {}))
    assert.is_false(source.same(before, of({ ana() }, { salt_key = "other" })))
    for name, value in pairs { name = "bo", tenant = "acme", custom_id = "8", groups = { "gold", "red" }, chain = "1f",
      credentials = { { type = "key-auth", key = "secret" } } } do
      assert.is_false(source.same(before, of { ana { [name] = value } }), name)
    end
    local other = ana()
    other.credentials[2].tags[2] = "c"
    assert.is_false(source.same(before, of { other }))
    other = ana()
    other.credentials[2].tags = nil
    assert.is_false(source.same(before, of { other }))
    assert.is_false(source.same(of { other }, before))
  end)

  it("is another when a plugin keeps its credentials otherwise, or a consumer's chain is another", function()
    local one = ana()
    local kinds = { ["key-auth"] = { id = "key", hashed = false }, ["basic-auth"] = KINDS["basic-auth"] }
    assert.is_false(source.same(of { ana() }, of({ ana() }, { kinds = kinds })))
    local before = of { one }
    before.options.chain_of = function() return "old" end
    assert.is_false(source.same(before, of { one }))
  end)

  it("tells which consumers went and came, changed ones in both", function()
    local function names(list)
      local found = {}
      for i, consumer in ipairs(list) do found[i] = consumer.tenant .. "/" .. consumer.name end
      return found
    end
    local function differences(a, b)
      local found = source.differences(of(a), of(b))
      return { names(found.gone), names(found.come) }
    end
    local function one(name, changes)
      local made = { name = name, tenant = "default" }
      for field, value in pairs(changes or {}) do made[field] = value end
      return made
    end
    local a, b, c, d = one "a", one "b", one "c", one "d"
    assert.same({ {}, {} }, differences({ a, b, c }, { a, b, c }))
    assert.same({ { "default/b" }, {} }, differences({ a, b, c }, { a, c }))
    assert.same({ {}, { "default/b" } }, differences({ a, c }, { a, b, c }))
    assert.same({ { "default/b" }, { "default/b" } }, differences({ a, b, c }, { a, one("b", { chain = "0f" }), c }))
    assert.same({ { "default/a", "default/c" }, { "default/b", "default/d" } }, differences({ a, c }, { b, d }))
    assert.same({ { "default/b" }, { "acme/b" } }, differences({ a, b }, { a, one("b", { tenant = "acme" }) }))
    local moved = differences({ b, a }, { a, b }) -- in both, or in none
    assert.same(moved[1], moved[2])
    assert.is_nil(source.differences(nil, of { a }))
    assert.is_nil(source.differences(of { a }, of({ a }, { salt_key = "other" })))
  end)

  it("does not tell more than it is worth", function()
    local many = {}
    for i = 1, 10001 do many[i] = { name = "c" .. i, tenant = "default" } end
    assert.is_nil(source.differences(of {}, of(many)))
    many[#many] = nil
    assert.equal(10000, #source.differences(of {}, of(many)).come)
  end)
end)
