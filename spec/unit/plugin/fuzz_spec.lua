--- Whatever a schema, a handler or a configuration says: something good or problems, never an error.
-- Seeds are fixed, so a failure repeats; FUZZ_SEEDS sets how many of each sort (200).
local conf_fixture = require "unit.conf.fixture"
local fixture = require "unit.plugin.fixture"
local mutation = require "unit.conf.mutation"
local attributes = require "veloflux.plugin.attributes"
local compiler = require "veloflux.compiler"
local conf = require "veloflux.conf"
local json_schema = require "veloflux.plugin.json_schema"
local loader = require "veloflux.plugin.loader"
local plugin_schema = require "veloflux.plugin.schema"
local reference = require "veloflux.plugin.reference"

local SEEDS = tonumber(os.getenv "FUZZ_SEEDS" or 200)

local NAMES = { "type", "required", "default", "elements", "keys", "values", "fields", "one_of", "between", "gt",
  "match", "match_none", "match_any", "len_min", "len_max", "custom_validator", "entity_checks", "shorthand_fields",
  "merge", "order", "min", "max", "unit", "secret", "err", "deprecated", "config", "name", "a", "b", 1, 2, true }

local function random_attributes(random, depth)
  local choice = random(depth > 4 and 6 or 9)
  if choice == 1 then return attributes.TYPES[random(#attributes.TYPES)] end
  if choice == 2 then return random(20) - 10 end
  if choice == 3 then return random(2) == 1 end
  if choice == 4 then return function() error "boom" end end
  if choice == 5 then return "%" .. string.char(random(256) - 1) .. "[" end
  if choice == 6 then return {} end
  local made = { type = attributes.TYPES[random(#attributes.TYPES)] }
  for _ = 1, random(5) do made[NAMES[random(#NAMES)]] = random_attributes(random, depth + 1) end
  return made
end

local SCHEMA = [[
local typedefs = require "kong.db.schema.typedefs"
return { name = "x", fields = { { consumer = typedefs.no_consumer }, { config = { type = "record", fields = {
  { limit = { type = "integer", required = true, between = { 1, 10 }, description = "How many." } },
  { names = { type = "set", elements = typedefs.header_name, default = { "a" }, len_max = 3, merge = "append" } },
  { map = { type = "map", values = { type = "duration", min = "1s" }, merge = "deep" } },
  { redis = { type = "record", required = true, fields = { { host = typedefs.host }, { port = typedefs.port } } } },
}, entity_checks = { { conditional = { if_field = "limit", if_match = { gt = 5 }, then_field = "map",
  then_match = { required = true } } } } } } } }
]]

local CONF = [[
plugins: [ { name: x, tenant: acme, config: { limit: 3, map: { a: 1s } } }, { name: y, as: z, on_error: continue } ]
tenants: [ { name: acme, hosts: [ a.example ], plugins: [ { name: y, enabled: false } ] } ]
pools: [ { name: p, plugins: [ { name: x, as: w, config: { limit: 7, map: { b: 2s }, names: [ b ] } } ] } ]
routes:
  - { name: a, pool: p, plugins: [ { name: x, config: { limit: 1 }, order: { before: [ y ], after: [ w ] } } ] }
  - { name: b, tenant: acme, respond: {}, plugins: [ { name: x, config: { limit: 2, redis: { port: 80 } } } ] }
consumers:
  - { name: c, custom_id: d, groups: [ e ], credentials: [ { type: y, key: f } ], plugins: [ { name: y } ] }
plugin_limits: { cpu: 1s, trip: { errors: 5 } }
]]

local FILES = { x = { schema = SCHEMA }, y = { entities = [[return { credential = { id = "key", fields = {
  key = { type = "string", required = true, secret = true } } } }]] } }

describe("plugins survive", function()
  local path

  before_each(function() path = fixture.write(FILES) end)
  after_each(fixture.clean)

  local function check_problems(problems, what)
    assert(#problems > 0, what .. ": nothing good and no problems")
    for _, problem in ipairs(problems) do assert.is_string(conf.format(problem)) end
  end

  it("any schema", function()
    for seed = 1, SEEDS * 20 do
      local random = mutation.generator(seed)
      local raw = { a = random_attributes(random, 0), b = random_attributes(random, 0) }
      local ok, made, problems = xpcall(plugin_schema.make, debug.traceback, raw)
      assert(ok, ("schema, seed %d raised: %s"):format(seed, tostring(made)))
      if made then
        made.name, made.priority, made.phases = "x", 1, {}
        assert.is_string(json_schema.text(made))
        assert.is_string(reference.markdown(made))
      else
        assert(#problems > 0)
      end
    end
  end)

  it("any handler and schema file", function()
    for seed = 1, SEEDS do
      local random = mutation.generator(seed)
      local files = { handler = fixture.HANDLER, schema = SCHEMA }
      local file = random(2) == 1 and "handler" or "schema"
      files[file] = mutation.mutate(files[file], random)
      fixture.write({ x = files }, path)
      local of = loader.new { path }
      local ok, plugin = pcall(of.find, of, "x")
      assert(ok, ("%s, seed %d raised: %s\n%s"):format(file, seed, tostring(plugin), files[file]))
      if not plugin then check_problems(of.problems, "seed " .. seed) end
    end
  end)

  it("any configuration", function()
    for seed = 1, SEEDS * 3 do
      local text = "plugin_path: [" .. path .. "]\n" .. mutation.mutate(CONF, mutation.generator(seed))
      local ok, model, problems = pcall(conf_fixture.load, text)
      assert(ok, ("seed %d raised: %s\n%s"):format(seed, tostring(model), text))
      if model then
        assert(compiler.compile(model, {}))
      else
        check_problems(problems, "seed " .. seed)
      end
    end
  end)

  it("every prefix of a good one", function()
    conf_fixture.model("plugin_path: [" .. path .. "]\n" .. CONF)
    for length = 0, #CONF do
      local model, problems = conf_fixture.load("plugin_path: [" .. path .. "]\n" .. CONF:sub(1, length))
      if not model then check_problems(problems, "prefix of " .. length) end
    end
  end)
end)
