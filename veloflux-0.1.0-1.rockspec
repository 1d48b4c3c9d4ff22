rockspec_format = "3.0"
package = "veloflux"
version = "0.1.0-1"
source = { url = "." } -- for `luarocks make` in a clone, after `make deps`
description = {
  summary = "Multi-tenant load balancer and API gateway: a compact C core and Lua plugins",
  detailed = [[
    VeloFlux moves bytes in C and decides in Lua. This rock builds the program with make and
    installs it; the Lua of the core travels inside the binary.
  ]],
  license = "Apache-2.0",
  labels = { "http", "proxy", "load-balancer", "api-gateway" },
}
supported_platforms = { "linux" }
dependencies = { "lua == 5.1" }
test_dependencies = { "busted >= 2.0", "luv" }
build = {
  type = "make",
  build_target = "all",
  install_target = "install",
  install_variables = { PREFIX = "$(PREFIX)" },
}
test = {
  type = "command",
  command = "make test",
}
