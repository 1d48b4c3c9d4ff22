local typedefs = require "kong.db.schema.typedefs"

return {
  name = "route-by-header",
  fields = {
    { protocols = typedefs.protocols_http },
    { config = {
      type = "record",
      fields = {
        { rules = { type = "array", default = {}, elements = {
          type = "record",
          fields = {
            { condition = { type = "map", required = true, keys = typedefs.header_name, values = { type = "string" },
              len_min = 1 } },
            { upstream_name = { type = "string" } },
            { host = typedefs.host },
            { port = typedefs.port { default = 80 } },
          },
          entity_checks = { { only_one_of = { "upstream_name", "host" } } },
        } } },
      },
    } },
  },
}
