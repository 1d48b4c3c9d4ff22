return {
  name = "audit-log",
  fields = {
    { config = { type = "record", fields = {
      { tag = { type = "string", default = "audit", match = "^%l+$" } },
      { custom_fields = { type = "map", keys = { type = "string", len_min = 1 }, values = { type = "string" }, default = {} } },
    } } },
  },
}
