local NETWORKS = { type = "network" }

return {
  name = "ip-restriction",
  fields = { { config = { type = "record", fields = {
    { allow = { type = "array", elements = NETWORKS, len_min = 1, order = 1,
      description = "Addresses and networks (10.0.0.0/8, 2001:db8::/32; any address of a network stands for " ..
        "it) that may pass; all others may not." } },
    { deny = { type = "array", elements = NETWORKS, len_min = 1, order = 2,
      description = "Addresses and networks that may not pass, whatever `allow` says." } },
    { status = { type = "integer", default = 403, between = { 400, 599 }, order = 3,
      description = "The status of the answer to those who may not pass." } },
    { message = { type = "string", order = 4, len_max = 4096,
      description = "Its message; if not given, one that names the address." } },
  } } } },
  entity_checks = { { at_least_one_of = { "config.allow", "config.deny" } } },
}
