--- What is made of a schema for people and tools: the reference page and JSON Schema.
local library = require "support.library" -- luacheck: ignore 211
local cjson = require "cjson"
local fixture = require "unit.plugin.fixture"
local json_schema = require "veloflux.plugin.json_schema"
local loader = require "veloflux.plugin.loader"
local reference = require "veloflux.plugin.reference"

local SCHEMA = [[
local typedefs = require "kong.db.schema.typedefs"
return {
  limit = { type = "integer", required = true, gt = 0, order = 1, unit = "requests", description = "How many." },
  window = { type = "duration", default = "1m", min = "1s", off = true, order = 2 },
  by = { type = "string", one_of = { "ip", "header" }, default = "ip" },
  header = { type = "string", match = "^[%w-]+$", len_max = 64, err = "expected a field name" },
  networks = { type = "set", elements = { type = "network" }, default = {}, merge = "append" },
  redis = { type = "record", required = true, fields = {
    host = typedefs.host, password = { type = "string", secret = true, len_min = 0 },
  }, entity_checks = { { at_least_one_of = { "host", "password" } } } },
  labels = { type = "map", keys = { type = "string", match = "^%l+$" }, values = { type = "string" }, len_max = 3 },
  old = { type = "boolean", deprecated = "use by" },
}
]]

describe("of a plugin's schema", function()
  local plugin

  before_each(function()
    local folder = fixture.write { limits = { schema = SCHEMA, entities = [[return { credential = { id = "key",
      hashed = true, fields = { key = { type = "string", required = true, secret = true } } } }]] } }
    local of = loader.new { folder }
    plugin = of:find "limits"
    assert(plugin, of.problems[1] and of.problems[1].path .. ": " .. of.problems[1].message)
  end)
  after_each(fixture.clean)

  it("comes JSON Schema 2020-12, in the same order", function()
    local text = json_schema.text(plugin)
    local schema = cjson.decode(text)
    assert.equal("https://json-schema.org/draft/2020-12/schema", schema["$schema"])
    assert.same({ "limit", "redis" }, schema.required) -- redis: {} would break its own check
    assert.is_false(schema.additionalProperties)
    assert.same({ description = "How many.", type = "integer", exclusiveMinimum = 0, ["x-unit"] = "requests" },
      schema.properties.limit)
    assert.same({ type = "string", minLength = 1, enum = { "ip", "header" }, default = "ip" }, schema.properties.by)
    assert.equal("^[A-Za-z0-9-]+$", schema.properties.header.pattern)
    assert.equal("1m", schema.properties.window.default)
    assert.is_truthy(schema.properties.window.pattern:find "off")
    assert.is_true(schema.properties.networks.uniqueItems)
    assert.is_true(schema.properties.redis.properties.password.writeOnly)
    assert.same({ { anyOf = { { required = { "host" } }, { required = { "password" } } } } },
      schema.properties.redis.allOf)
    assert.equal("^[a-z]+$", schema.properties.labels.propertyNames.pattern)
    assert.is_true(schema.properties.old.deprecated)
    assert.is_truthy(text:find '"properties":{"limit":.*"window":.*"by":.*"header":')
  end)

  it("come patterns only when both languages have them", function()
    assert.equal("^/[^\\]]+$", json_schema.regex "^/[^%]]+$")
    assert.equal("a\\.b\\|", json_schema.regex "a%.b|")
    assert.is_nil(json_schema.regex "%bxy")
    assert.is_nil(json_schema.regex "a-b")
    assert.is_nil(json_schema.regex "%1")
  end)

  it("comes a page of reference", function()
    local page = reference.markdown(plugin)
    local function has(line) assert.is_truthy(page:find(line, 1, true), line .. "\n" .. page) end
    has "# limits\n"
    has "| priority | 1000 |"
    has "| phases | access |"
    has "| scopes | global, tenant, pool, route, consumer |"
    has "| `limit` | an integer above 0 (requests) | required | How many. |"
    has "| `window` | a duration of at least 1s or off | `1m` |  |"
    has "| `by` | one of ip or header | `ip` |  |"
    has "| `redis` | map, see below | required |"
    has "### `redis`"
    has "| `old` | true or false |  | Deprecated: use by. |"
    has "`networks` is combined with that of wider scopes (append)."
    has "## Credentials of the type `limits`"
    has "A credential is found by `key`, of which only the SHA-256 is kept."
    assert.is_truthy(page:find "`limit`.*`window`.*`by`.*`header`")
  end)
end)
