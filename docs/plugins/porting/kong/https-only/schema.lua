return {
  name = "https-only",
  fields = {
    { config = { type = "record", fields = {
      { status = { type = "integer", default = 301, one_of = { 301, 302, 307, 308 } } },
      { trust_forwarded = { type = "boolean", default = false } },
      { want_certificate = { type = "boolean", default = false } },
      { max_age = { type = "integer", default = 600, gt = 0 } },
    } } },
  },
}
