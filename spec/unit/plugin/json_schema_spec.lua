--- JSON Schemas of the model's types; those of plugins have specs with the plugin command.
require "support.library"
local json = require "veloflux.pdk.json"
local json_schema = require "veloflux.plugin.json_schema"
local schema = require "veloflux.model.schema"

local function of(attr)
  schema.compile(attr)
  return assert(json.decode(json_schema.encode(json_schema.of(attr))))
end

describe("the JSON Schema of a type", function()
  it("says words and off besides a number", function()
    local made = of(schema.integer { default = "off", off = true, between = { 1, 9 }, description = "How many." })
    assert.same({ description = "How many.", default = "off",
      anyOf = { { type = "integer", minimum = 1, maximum = 9 }, { enum = { "off" } } } }, made)
    made = of(schema.integer { words = { "auto" } })
    assert.same({ { type = "integer" }, { enum = { "auto" } } }, made.anyOf)
  end)

  it("says off in the pattern of times and sizes", function()
    assert.is_truthy(of(schema.duration { off = true }).pattern:find("|^off$", 1, true))
    assert.is_nil(of(schema.duration {}).pattern:find("off", 1, true))
    assert.is_nil(of(schema.size { off = true }).anyOf)
  end)

  it("has the forms of a shape", function()
    local made = of(schema.shape { default = false, scalar = schema.boolean { off = true },
      map = schema.record { fields = { { path = schema.string { required = true } } } } })
    assert.same({ { type = "boolean" }, { type = "object", properties = { path = { type = "string" } },
      required = { "path" }, additionalProperties = false } }, made.anyOf)
    assert.is_false(made.default)
  end)

  it("leaves out what is not available, and marks secrets", function()
    local made = of(schema.record { fields = { { tls = schema.unavailable {} },
      { key = schema.string { secret = true } },
      { pool = schema.foreign { reference = "pools" } },
      { hosts = schema.list { default = {}, elements = schema.string {}, unique = true } } } })
    assert.same({ key = { type = "string", writeOnly = true }, pool = { type = "string" },
      hosts = { type = "array", items = { type = "string" }, uniqueItems = true, default = {} } }, made.properties)
  end)
end)
