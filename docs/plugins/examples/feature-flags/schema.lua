return {
  url = { type = "string", required = true, match = "^http://", description = "Answers with {\"name\": true, ...}." },
  interval = { type = "duration", default = "30s", min = "10ms", description = "Between two requests to it." },
}
