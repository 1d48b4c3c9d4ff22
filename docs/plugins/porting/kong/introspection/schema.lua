local typedefs = require "kong.db.schema.typedefs"

return {
  name = "introspection",
  fields = {
    { consumer = typedefs.no_consumer },
    { protocols = typedefs.protocols_http },
    { config = {
      type = "record",
      fields = {
        { tokens = { type = "array", required = true, elements = { type = "record", fields = {
          { token = { type = "string", required = true } },
          { sub = { type = "string", required = true } },
          { scopes = { type = "array", elements = { type = "string" }, default = {} } },
        } } } },
        { ttl = { type = "number", default = 60, gt = 0 } },
        { anonymous = { type = "string" } },
        { logout_path = typedefs.path { default = "/logout" } },
        { run_on_preflight = { type = "boolean", required = true, default = true } },
      },
    } },
  },
}
