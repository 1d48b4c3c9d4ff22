return {
  agents = { type = "array", elements = { type = "string" }, required = true, merge = "append",
    description = "First words of User-Agent, such as curl. Any case." },
}
