return {
  name = "body-guard",
  fields = {
    { config = {
      type = "record",
      fields = {
        { allowed_payload_size = { type = "integer", default = 128 } },
        { size_unit = { type = "string", required = true, default = "kilobytes", one_of = { "bytes", "kilobytes" } } },
        { require_content_length = { type = "boolean", required = true, default = false } },
        { max_depth = { type = "integer", default = 20, between = { 1, 100 } } },
      },
    } },
  },
}
