return {
  default = { type = "string", default = "1", match = "^%d+$", description = "Where the path has none." },
}
