return {
  mark = { type = "string", default = "everything", description = "What the log and the answers say." },
  allow = { type = "array", elements = { type = "string" }, default = {}, description = "A list." },
  ship_after = { type = "integer", default = 30, description = "Seconds until the queue ships." },
}
