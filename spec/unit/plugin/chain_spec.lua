local chain = require "veloflux.plugin.chain"

local function item(name, more)
  local made = { name = name, as = name, priority = 0, enabled = true, config = {} }
  for key, value in pairs(more or {}) do made[key] = value end
  return made
end

local function resolve(...)
  local items, circle = chain.resolve { ... }
  local names = {}
  for i, one in ipairs(items or circle) do names[i] = one.as end
  return table.concat(names, " "), items
end

describe("a chain", function()
  it("runs by priority, then name, then what the instance is called", function()
    assert.equal("c a z y b1 b2", resolve({ item("b", { as = "b2" }), item("a", { priority = 5 }) },
      { item("c", { priority = 10 }), item("b", { as = "b1" }), item("a", { as = "z", priority = 5 }),
        item("a", { as = "y", priority = 1 }) }))
    assert.equal("", resolve({}, {}))
  end)

  it("has of each instance the narrowest", function()
    local wide, narrow = item("a", { scope = 0 }), item("a", { scope = 3 })
    local names, items = resolve({ wide, item "b" }, {}, { narrow })
    assert.equal("a b", names)
    assert.equal(narrow, items[1])
    assert.equal("a x", resolve({ wide }, { item("a", { as = "x" }) }))
  end)

  it("leaves out what the narrowest disables, unless a narrower one wants it", function()
    local off = item("a", { enabled = false })
    assert.equal("b", resolve({ item "a", item "b" }, { off }))
    assert.equal("a b", resolve({ item "a", item "b" }, { off }, { item "a" }))
    assert.equal("b", resolve({ item "b" }, { off }))
  end)

  it("is moved by order, and by nothing more than needed", function()
    local function with(order) return item("x", { priority = 0, order = order }) end
    local list = { item("a", { priority = 30 }), item("b", { priority = 20 }), item("c", { priority = 10 }) }
    assert.equal("a x b c", resolve(list, { with { before = { "b" } } }))
    assert.equal("a b c x", resolve(list, { with { after = { "a" } } }))
    assert.equal("x a b c", resolve(list, { with { before = { "c", "a" } } }))
    assert.equal("a b c x", resolve(list, { with { before = { "nobody" }, after = {} } }))
    assert.equal("b c x a", resolve(list, { item("x"), item("a", { priority = 30, order = { after = { "x" } } }) }))
    assert.equal("strict x b", resolve({ item("b", { as = "strict", priority = 2 }), item("b", { priority = 1 }) },
      { with { after = { "strict" } }, item("b", { priority = 1, order = { after = { "x" } } }) }))
  end)

  it("tells who runs in a circle", function()
    local items, circle = chain.resolve { { item("a", { order = { before = { "b" } } }),
      item("b", { order = { before = { "c" } } }), item("c", { order = { before = { "a" } } }), item("d") } }
    assert.is_nil(items)
    local names = {}
    for i, one in ipairs(circle) do names[i] = one.name end
    table.sort(names)
    assert.same({ "a", "b", "c" }, names)
  end)

  it("combines fields that say so", function()
    local merge = { map = { values = { values = false } }, list = "append" }
    local said = { map = { a = 1, b = { c = 1, d = 2 } }, list = { 1 } }
    local wide = item("a", { merge = merge, own = said, config = { n = 1, map = said.map, list = said.list } })
    local narrow = item("a", { merge = merge, config = { n = 2, map = { b = { c = 3 } }, list = { 2, 3 } },
      own = { map = { b = { c = 3 } }, list = { 2, 3 } } })
    local _, items = resolve({ wide }, { narrow })
    assert.same({ n = 2, map = { a = 1, b = { c = 3, d = 2 } }, list = { 1, 2, 3 } }, items[1].config)
    assert.equal(wide, items[1].wide)
    local silent = item("a", { merge = merge, config = { n = 3, map = {}, list = { 9 } } }) -- a default, not said
    _, items = resolve({ wide }, { silent })
    assert.same({ n = 3, map = { a = 1, b = { c = 1, d = 2 } }, list = { 1 } }, items[1].config)
    assert.same({ 1 }, wide.config.list)
    _, items = resolve({ silent }, { narrow })
    assert.same({ 2, 3 }, items[1].config.list)
    _, items = resolve({ wide }, { silent }, { narrow })
    assert.same({ n = 2, map = { a = 1, b = { c = 3, d = 2 } }, list = { 1, 2, 3 } }, items[1].config)
    _, items = resolve({ wide }, { item("a", { enabled = false }) }, { narrow })
    assert.same({ 2, 3 }, items[1].config.list) -- what was disabled is nothing to build on
  end)
end)
