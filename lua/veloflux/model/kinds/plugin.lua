--- An instance of a plugin: its name, its configuration, and how it stands to others. What may stand in
-- `config` is the plugin's own affair: the reader's `plugins` (plugin/loader.lua) finds it by its name.
local entity_checks = require "veloflux.model.entity_checks"
local s = require "veloflux.model.schema"

local M = {}

local function is_order_name(text) return text:find "^[%w][%w._-]*$" ~= nil or nil, "expected a name" end

local function names(description)
  return s.list { default = {}, unique = true, description = description,
    elements = s.string { custom_validator = is_order_name, expects = "the name of a plugin or of an instance" } }
end

local function fields(config, has_tenant)
  local list = {
    { name = s.string { required = true, description = "The plugin." } },
    { as = s.string { match = "^[%w][%w._-]*$", len_max = 128,
      expects = "a name of letters, digits, dots, dashes and underscores",
      description = "What this instance is called; its own name when not given. One plugin may run under several." } },
    { config = config },
    { enabled = s.boolean { default = true,
      description = "false: it does not run, nor does one of the same name of a wider scope." } },
    { on_error = s.string { default = "fail", one_of = { "fail", "continue" },
      description = "What becomes of a request when it raises an error: fail answers 500." } },
    { order = s.record { default = {}, description = "Its place, where its priority does not do.", fields = {
      { before = names "Runs before these." }, { after = names "Runs after these." } } } },
  }
  if has_tenant then
    table.insert(list, 2, { tenant = s.foreign { reference = "tenants",
      description = "Runs for the routes of this tenant; without it, for everything." } })
  end
  return list
end

local ANY = s.opaque { expects = "map, see the plugin", description = "Its configuration." }

--- Returns the compiled record of an instance of `plugin`, made once.
local function type_of(plugin, has_tenant)
  local key = has_tenant and "root_type" or "instance_type"
  if plugin[key] then return plugin[key] end
  local compiled = s.compile(s.record {
    located = true,
    fields = fields({ compiled = plugin.compiled }, has_tenant),
    custom_validator = function(instance)
      if instance.enabled and plugin.needs and instance.config == nil then
        return nil, "required: " .. plugin.needs, "config"
      end
      return true
    end,
  })
  compiled.metatable.plugin = plugin
  plugin[key] = compiled
  return compiled
end

--- Returns what an instance is called among all of its scope, for messages: "cors" or "cors as strict".
function M.label(instance)
  local as = instance.as
  return as and as ~= instance.name and instance.name .. " as " .. as or instance.name
end

--- A name that is wrong is no name that could be given twice.
local function unique_label(instance)
  return not entity_checks.has_failed(instance) and M.label(instance) or nil
end

local function name_plugin(problem, name)
  problem.plugin = problem.plugin or name
  if problem.path:find("].config", 1, true) then
    problem.message = ("%s (plugin %s)"):format(problem.message, name)
  end
end

--- Returns the definition of a list of instances.
-- @param attr with a description; has_tenant: instances may say `tenant`, and that they are unique is
-- left to model/check.lua
function M.list(attr)
  local has_tenant = attr.has_tenant
  local general = s.record { fields = fields(ANY, has_tenant) }
  local fallback = s.compile(general)
  return s.list { default = {}, unique_by = not has_tenant and unique_label or nil, description = attr.description,
    elements = s.variant {
      tag = "name", general = general, expects = "an instance of a plugin: a map with its name",
      note = name_plugin,
      choose = function(where, name)
        local plugin, problem = where.plugins:find(name)
        if plugin and plugin.sources.handler then return type_of(plugin, has_tenant) end
        if plugin then
          return nil, ("the plugin %s has no handler.lua: it works in control, without being named"):format(name),
            fallback
        end
        return nil, problem, fallback
      end,
    } }
end

--- Returns the plugin behind an instance.
function M.plugin_of(instance) return getmetatable(instance).plugin end

return M
