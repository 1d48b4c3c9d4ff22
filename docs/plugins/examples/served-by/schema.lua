return {
  header = { type = "string", default = "X-Served-By", description = "The field that is set." },
}
