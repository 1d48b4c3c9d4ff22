--- A tenant: whose routes answer for which hosts. `default` is the platform's own and always there.
local s = require "veloflux.model.schema"
local common = require "veloflux.model.kinds.common"
local plugin = require "veloflux.model.kinds.plugin"

local function is_ownable(host)
  if host ~= "*" then return common.is_host(host) or nil, "expected a host like a.example.com or *.example.com" end
  return nil, "* belongs to the default tenant"
end

return s.record {
  located = true,
  description = "Whose routes, pools and hosts these are. A host belongs to one tenant.",
  fields = {
    { name = s.string { required = true, match = "^[%w][%w._-]*$", len_max = 128,
      expects = "a name of letters, digits, dots, dashes and underscores", description = "Unique." } },
    { active = s.boolean { default = true, description = "false: its routes answer 503." } },
    { hosts = s.list { default = {}, unique_by = string.lower, description = "The hosts that only its routes may use.",
      elements = s.string { custom_validator = is_ownable, expects = "a host like a.example.com" } } },
    { plugins = plugin.list { description = "Plugins of all routes of the tenant." } },
  },
}
