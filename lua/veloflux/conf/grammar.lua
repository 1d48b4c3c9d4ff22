--- What may stand in a conf file: the node settings and the entities. And in a file that it includes:
-- entities only.
local schema = require "veloflux.model.schema"
local common = require "veloflux.model.kinds.common"
local plugin = require "veloflux.model.kinds.plugin"

local function entities()
  return {
    { tenants = schema.list { default = {}, elements = require "veloflux.model.kinds.tenant",
      description = "Whose routes answer for which hosts." } },
    { pools = schema.list { default = {}, elements = require "veloflux.model.kinds.pool",
      description = "Backends that serve the same." } },
    { routes = schema.list { default = {}, elements = require "veloflux.model.kinds.route",
      description = "Which requests go where." } },
    { certificates = schema.list { default = {}, elements = require("veloflux.model.kinds.certificate").type,
      description = "What listeners with TLS show to clients." } },
    { consumers = schema.list { default = {}, elements = require "veloflux.model.kinds.consumer",
      description = "Who uses the routes." } },
    { plugins = plugin.list { has_tenant = true, description = "Plugins for everything, or for a tenant." } },
    { templates = schema.list { default = {}, elements = require "veloflux.model.kinds.template",
      description = "Entities with holes that parameters fill." } },
  }
end

local head = {
  { entities = schema.string { default = "owned", one_of = { "owned", "seed" },
    default_text = "owned; seed with a store in Redis",
    description = "owned: this file is the truth for its entities; seed: they fill an empty store once, then the API "
      .. "owns them." } },
  { include = schema.list { default = {}, elements = schema.string { len_min = 1, expects = "a file or a pattern" },
    description = "Files, or patterns like conf.d/*.yaml, whose entities are appended." } },
}

local M = {}

M.file = schema.compile(schema.record {
  default = {}, expects = "a map of settings",
  fields = common.join(head, (require "veloflux.model.kinds.node").fields, entities()),
})

M.included = schema.compile(schema.record {
  default = {}, expects = "a map of entities",
  fields = entities(),
})

return M
