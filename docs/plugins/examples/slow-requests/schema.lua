return {
  longer_than = { type = "duration", default = "1s", description = "Requests that took less are not logged." },
}
