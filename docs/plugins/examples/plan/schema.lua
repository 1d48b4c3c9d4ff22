return {
  header = { type = "string", default = "X-Team", order = 1, description = "The field that names the team." },
  plans = { type = "map", keys = { type = "string" }, required = true, merge = "deep", order = 2,
    values = { type = "string", one_of = { "free", "gold" } }, description = "The plan of each team." },
}
