return {
  name = "redact",
  fields = {
    { config = {
      type = "record",
      fields = {
        { names = { type = "array", required = true, elements = { type = "string" } } },
        { request = { type = "boolean", default = true } },
      },
    } },
  },
}
