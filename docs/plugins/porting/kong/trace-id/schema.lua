local typedefs = require "kong.db.schema.typedefs"

return {
  name = "trace-id",
  fields = {
    { protocols = typedefs.protocols_http },
    { config = {
      type = "record",
      fields = {
        { header_name = { type = "string", default = "X-Trace-Id" } },
        { generator = { type = "string", default = "letters", one_of = { "letters", "counter" } } },
        { echo_downstream = { type = "boolean", required = true, default = false } },
      },
    } },
  },
}
