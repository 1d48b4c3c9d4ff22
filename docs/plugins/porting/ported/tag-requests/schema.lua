return {
  tag = { type = "string", required = true, description = "What requests are tagged with." },
  refuse = { type = "array", elements = { type = "string" }, default = {}, description = "User-Agents to refuse." },
}
