return {
  name = "form-to-json",
  fields = {
    { config = { type = "record", fields = {
      { drop = { type = "set", elements = { type = "string" }, default = {} } },
    } } },
  },
}
