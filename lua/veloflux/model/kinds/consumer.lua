--- A consumer: somebody or something that uses the routes, known by credentials. What a credential looks
-- like is said by the plugin of its type (entities.lua).
local s = require "veloflux.model.schema"
local common = require "veloflux.model.kinds.common"
local plugin = require "veloflux.model.kinds.plugin"

local TYPE = { type = s.string { required = true, description = "The plugin that understands it." } }

--- Returns the compiled record of a credential of `owner`, a plugin; made once.
local function credential_type(owner)
  local of = owner.credential
  if of.record then return of.record end
  local fields = { TYPE }
  for _, field in ipairs(of.config.fields) do fields[#fields + 1] = field end
  of.record = s.compile(s.record { located = true, fields = fields, entity_checks = of.config.entity_checks,
    shorthand_fields = of.config.shorthand_fields })
  of.record.metatable.plugin = owner
  return of.record
end

local function choose(where, name)
  local owner, problem = where.plugins:find(name)
  if not owner then return nil, problem end
  if not owner.credential then return nil, ("the plugin %s knows no credentials"):format(name) end
  return credential_type(owner)
end

local credentials = s.list {
  default = {}, description = "What it proves itself with.",
  elements = s.variant { tag = "type", choose = choose, expects = "a credential: a map with its type",
    general = s.record { fields = { TYPE } },
    note = function(problem, name) problem.plugin = problem.plugin or name end },
}

return s.record {
  located = true,
  description = "Who uses the routes.",
  fields = {
    { name = common.name "consumers" },
    { tenant = common.tenant() },
    { custom_id = s.string { len_min = 1, len_max = 256, match = "^[^%c]+$",
      description = "What another system calls it; unique in its tenant." } },
    { groups = s.list { default = {}, unique = true, description = "The groups that it belongs to.",
      elements = s.string { match = "^[^%c,]+$", len_min = 1, len_max = 128,
        expects = "the name of a group, without commas" } } },
    { credentials = credentials },
    { plugins = plugin.list { description = "Plugins that run once it is known." } },
  },
}
