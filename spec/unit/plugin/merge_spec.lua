require "support.library"
local cjson = require "cjson"
local document = require "veloflux.model.document"
local judge = require "veloflux.plugin.judge"
local items_of = require "veloflux.plugin.items"
local merge = require "veloflux.plugin.merge"
local merge_modes = require "veloflux.plugin.merge_modes"
local plugin_schema = require "veloflux.plugin.schema"
local schema = require "veloflux.model.schema"

local function plugin_of(fields)
  local made, problems = plugin_schema.make(fields)
  assert(made, problems and problems[1] and problems[1].path .. ": " .. problems[1].message)
  made.name = "p"
  return made
end

--- Returns an item of that plugin with a configuration as a conf would say it.
local function item_of(plugin, config)
  local doc = assert(document.parse(cjson.encode(config), "conf"))
  local record, problems = schema.read(plugin.compiled, doc, function() end)
  assert(record, problems[1] and problems[1].path .. ": " .. problems[1].message)
  local item = { plugin = plugin, merge = plugin.modes, record = record, scope = 0, source = "conf.yaml:1",
    order = { before = {}, after = {} }, enabled = true,
    json = schema.write(plugin.compiled, record), own_json = merge_modes.said(plugin.modes, plugin.compiled, record) }
  item.layers = { item }
  return item
end

--- Returns it as a worker has it.
local function of_worker(item)
  return { config = cjson.decode(item.json), own = item.own_json and cjson.decode(item.own_json) }
end

local STRING, NUMBER = { type = "string", default = "d" }, { type = "integer", default = 7 }

local FIELDS = {
  plain = { type = "string", default = "x" },
  wait = { type = "duration", default = "1s" },
  names = { type = "set", elements = { type = "string" }, default = { "d" }, merge = "append" },
  hosts = { type = "array", elements = { type = "address" }, merge = "append" },
  rules = { type = "array", elements = { type = "record", fields = { a = STRING, n = NUMBER } }, merge = "append" },
  codes = { type = "map", keys = { type = "integer" }, values = { type = "duration" }, merge = "deep" },
  plans = { type = "map", values = { type = "record", fields = { limit = NUMBER, kind = STRING,
    tags = { type = "array", elements = { type = "string" }, default = { "t" } },
    peers = { type = "map", values = { type = "address" } } } }, merge = "deep" },
  deep = { type = "record", merge = "deep", fields = { one = STRING, two = NUMBER,
    size = { type = "size", default = "1k" },
    inner = { type = "record", fields = { three = NUMBER, off = { type = "boolean", default = true } } } } },
}

local CHOICES = {
  plain = { "a", "b" }, wait = { "2s", "5m" },
  names = { { "a" }, { "a", "b" }, { "b", "c" } },
  hosts = { { "10.0.0.1:80" }, { "10.0.0.1:80", "[::1]:9" } },
  rules = { { { a = "1" } }, { { n = 3 }, { a = "2", n = 4 } } },
  codes = { { ["200"] = "1s" }, { ["200"] = "2s", ["404"] = "3s" }, { ["500"] = "1m" } },
  plans = { { gold = { limit = 1 } }, { gold = { kind = "k", peers = { a = "10.0.0.1:1" } }, iron = { limit = 2 } },
    { gold = { tags = { "x" }, peers = { a = "10.0.0.2:2", b = "10.0.0.3:3" } } }, { iron = { kind = "z" } } },
  deep = { { one = "1" }, { two = 2, inner = { three = 3 } }, { size = "2k", inner = { off = false } },
    { inner = { three = 4 } } },
}

local function any_config(random)
  local config = {}
  for field, list in pairs(CHOICES) do
    local n = random(#list + 1)
    config[field] = list[n] -- one more than there are: not said
  end
  return config
end

describe("merging", function()
  it("joins lists, those of sets without repeating", function()
    assert.same({ 1, 2, 2, 3 }, merge.value("append", { 1, 2 }, { 2, 3 }, { 2, 3 }))
    assert.same({ 1, 2, 3 }, merge.value("append_new", { 1, 2 }, { 2, 3 }, { 2, 3 }))
  end)

  it("goes as deep as maps and records do, and no deeper", function()
    local mode = { values = { fields = { x = { values = false } } } }
    assert.same({ a = { x = { p = 1, q = 2 }, y = { 9 } }, b = 3 },
      merge.value(mode, { a = { x = { p = 1 }, y = { 8 } }, b = 3 }, { a = { x = { q = 2 }, y = { 9 } } },
        { a = { x = { q = 2 }, y = { 9 } } }))
  end)

  it("takes defaults where nobody has said anything", function()
    local plugin = plugin_of(FIELDS)
    local function merged(wide, narrow)
      return merge.config(plugin.modes, of_worker(item_of(plugin, wide)), of_worker(item_of(plugin, narrow)))
    end
    assert.same({ "d" }, merged({}, {}).names)
    assert.same({ "a" }, merged({ names = { "a" } }, {}).names)
    assert.same({ "a" }, merged({}, { names = { "a" } }).names)
    assert.same({ limit = 1, kind = "k", tags = { "t" } }, merged({ plans = { gold = { limit = 1 } } },
      { plans = { gold = { kind = "k" } } }).plans.gold)
    assert.same({ limit = 7, kind = "k", tags = { "t" } }, merged({ plans = { iron = {} } },
      { plans = { gold = { kind = "k" } } }).plans.gold)
    assert.same(2, merged({ deep = { two = 2 } }, { deep = { one = "1" } }).deep.two)
  end)

  it("comes out the same in workers as in control, which judges it", function()
    local plugin = plugin_of(FIELDS)
    local seed = os.time()
    math.randomseed(seed)
    for round = 1, 300 do
      local wide, middle = item_of(plugin, any_config(math.random)), item_of(plugin, any_config(math.random))
      local narrow = item_of(plugin, any_config(math.random))
      local both = items_of.merged(wide, middle, (judge.judge(wide, middle)))
      local all = items_of.merged(both, narrow, (judge.judge(both, narrow)))
      local expected = cjson.decode(all.json)
      local what = ("seed %d, round %d"):format(seed, round)
      assert.same(expected, merge.config(plugin.modes, of_worker(both), of_worker(narrow)), what)
      local chained = { config = merge.config(plugin.modes, of_worker(wide), of_worker(middle)),
        own = merge.own(plugin.modes, of_worker(wide), of_worker(middle)) }
      assert.same(expected, merge.config(plugin.modes, chained, of_worker(narrow)), what)
    end
  end)
end)

describe("what may be wrong with a merged configuration", function()
  local function limits(fields) return plugin_of(fields).limits end
  local function list(more)
    local attr = { type = "array", elements = { type = "string" }, merge = "append" }
    for key, value in pairs(more or {}) do attr[key] = value end
    return { a = attr }
  end
  local function yes() return true end

  it("is nothing when no rule speaks of the whole", function()
    assert.same({}, limits(list()))
    assert.same({}, limits(list { len_min = 2 }))
    assert.same({}, limits { a = { type = "map", merge = "deep",
      values = { type = "string", custom_validator = yes } } })
    assert.same({}, limits(FIELDS))
  end)

  it("is its length, when that is all", function()
    assert.same({ a = 3 }, limits(list { len_max = 3 }))
  end)

  it("has to be looked at else", function()
    assert.is_nil(limits(list { custom_validator = yes }))
    assert.is_nil(limits(list { len_eq = 2 }))
    assert.is_nil(limits { a = { type = "map", merge = "deep", values = { type = "map", len_max = 2,
      values = { type = "string" } } } })
    assert.is_nil(limits { a = { type = "record", merge = "deep", fields = { b = STRING, c = STRING },
      entity_checks = { { mutually_exclusive = { "b", "c" } } } } })
    assert.is_nil(limits { config = nil, fields = { { config = { type = "record", fields = { { a = list().a },
      { b = STRING } }, entity_checks = { { at_least_one_of = { "a", "b" } } } } } } })
  end)
end)
