local GROUP = { type = "string", len_max = 128, match = "^[^%c,]+$",
  err = "expected the name of a group, without commas" }

return {
  name = "acl",
  fields = {
    { consumer = { refuses = "consumer" } },
    { config = { type = "record", fields = {
      allow = { type = "array", elements = GROUP, len_min = 1, order = 1,
        description = "The groups that may pass; nobody else does." },
      deny = { type = "array", elements = GROUP, len_min = 1, order = 2,
        description = "The groups that may not pass; everybody else who is authenticated does." },
      hide_groups_header = { type = "boolean", default = false, order = 3,
        description = "The backend is not told the groups." },
      always_use_authenticated_groups = { type = "boolean", default = false, order = 4,
        description = "Groups that came with the authentication (of a token, say) count instead of the consumer's, " ..
          "not only where there is no consumer or an anonymous one." },
    }, entity_checks = { { only_one_of = { "allow", "deny" } }, { at_least_one_of = { "allow", "deny" } } } } },
  },
}
