local typedefs = require "kong.db.schema.typedefs"

return {
  name = "team-auth",
  fields = {
    { consumer = typedefs.no_consumer },
    { config = {
      type = "record",
      fields = {
        { header = typedefs.header_name { required = true, default = "X-Team" } },
        { hide = { type = "boolean", default = true } },
        { anonymous = { type = "boolean", default = false } },
      },
    } },
  },
}
