--- What people should know: stored, versioned, in exports and backups like everything else that is configured.
return {
  {
    kind = "notices",
    noun = "notice",
    description = "What people should know.",
    schema = {
      text = { type = "string", required = true, len_max = 500, order = 1, description = "What it says." },
      severity = { type = "string", one_of = { "info", "warning" }, default = "info", order = 2 },
      pool = { type = "string", order = 3, description = "The pool that it is about." },
      until_ms = { type = "integer", min = 0, order = 4, description = "When it goes, Unix time in milliseconds." },
    },
    references = { pool = "pools" }, -- a pool that a notice is about cannot be deleted
    unique = { "text" },
    indexes = { "severity" },
  },
}
