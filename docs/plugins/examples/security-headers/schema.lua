return {
  referrer_policy = { type = "string", default = "no-referrer", description = "Value of Referrer-Policy." },
  remove = { type = "array", elements = { type = "string" }, default = { "X-Powered-By" },
    description = "Fields that are removed." },
}
