local code = require "veloflux.plugins.script.code"

local DESCRIPTIONS = {
  rewrite = "Runs first, before authentication.",
  access = "Runs before the request is forwarded.",
  balancer = "Runs before each try of a backend.",
  header_filter = "Runs when the head of the answer is there.",
  body_filter = "Runs for each piece of the answer's content.",
  log = "Runs when the exchange is over.",
}

local fields = {}
for order, name in ipairs(code.PHASES) do
  fields[order] = { [name] = { type = "string", order = order, len_max = 64 * 1024,
    description = "Lua. " .. DESCRIPTIONS[name],
    custom_validator = function(text)
      local compiled, problem = code.compile(text, name)
      return compiled ~= nil, problem
    end } }
end

return {
  name = "script",
  fields = { { config = { type = "record", required = true, fields = fields,
    entity_checks = { { at_least_one_of = code.PHASES } } } } },
}
