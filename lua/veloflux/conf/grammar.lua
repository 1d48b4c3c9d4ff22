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

--- Lists of the entities that plugins store, as the plugins' own types say.
local function stored(plugins)
  local fields = {}
  for i, name in ipairs(plugins.kind_names) do
    local kind = plugins.kinds[name]
    fields[i] = { [name] = schema.list { default = {}, elements = { compiled = kind.compiled },
      description = kind.compiled.attr.description or ("Entities of the plugin %s."):format(kind.plugin) } }
  end
  return fields
end

local function make()
  return {
    file = schema.compile(schema.record {
      default = {}, expects = "a map of settings",
      fields = common.join(head, (require "veloflux.model.kinds.node").fields, entities()),
    }),
    included = schema.compile(schema.record {
      default = {}, expects = "a map of entities",
      fields = entities(),
    }),
  }
end

local core = make()
M.file, M.included = core.file, core.included

--- The same with more fields: those that both have are of the same types, so that their records compare.
local function extend(compiled, fields)
  local all = {}
  for i, pair in ipairs(compiled.fields) do all[i] = { [pair[1]] = { compiled = pair[2] } } end
  return schema.compile(schema.record { default = {}, expects = compiled.attr.expects,
    fields = common.join(all, fields) })
end

local made = setmetatable({}, { __mode = "v" }) -- by the types of the kinds

--- Returns {file, included} with the entities that plugins store.
-- @param plugins of plugin/loader.lua after load_control, or nil
function M.of(plugins)
  if not plugins or #plugins.kind_names == 0 then return core end
  local key = {}
  for i, name in ipairs(plugins.kind_names) do key[i] = name .. "=" .. tostring(plugins.kinds[name].compiled) end
  local text = table.concat(key, " ")
  if not made[text] then
    local fields = stored(plugins)
    made[text] = { file = extend(core.file, fields), included = extend(core.included, fields) }
  end
  plugins.grammar = made[text]
  return made[text]
end

--- Says who has a kind of entities or a setting of this name: for plugins, which may not take it.
function M.owner(name) return M.file.by_name[name] and "VeloFlux itself" or nil end

return M
