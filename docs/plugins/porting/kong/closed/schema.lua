local typedefs = require "kong.db.schema.typedefs"

return {
  name = "closed",
  fields = {
    { consumer = typedefs.no_consumer },
    { config = {
      type = "record",
      fields = {
        { status_code = { type = "integer", required = true, default = 503, between = { 100, 599 } } },
        { retry_after = { type = "integer", default = 60, gt = 0 } },
        { body = { type = "string" } },
        { content_type = { type = "string", default = "text/plain" } },
        { except = { type = "boolean", default = false } },
      },
      entity_checks = {
        { conditional = { if_field = "status_code", if_match = { one_of = { 204, 304 } },
          then_field = "body", then_match = { eq = nil } } },
      },
    } },
  },
}
