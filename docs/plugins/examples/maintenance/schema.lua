return {
  message = { type = "string", default = "Back soon.", description = "Shown to the client." },
  retry_after = { type = "duration", default = "1m", min = "1s", description = "Sent as Retry-After." },
  key = { type = "string", secret = true, description = "Who sends it as X-Maintenance-Key is let through." },
}
