--- Templates: stored entities with holes that parameters fill. They are entities of the kind `templates`, which
-- pdk.model reads and pdk.transaction changes; what one gives is made here.
--
--     local result, problem = pdk.templates.apply("site", { name = "shop", weight = 100 }, { tenant = "acme" })
--
-- May be called in control only: in the functions of api.lua and jobs.lua. It waits.
local control = require "veloflux.runtime.control"
local json = require "veloflux.pdk.json"
local network = require "veloflux.runtime.network"

---@class pdk.templates
local M = {}

---@class pdk.templates.options
---@field tenant? string whose the entities are that do not say so; that of the template when left out
---@field template_tenant? string whose the template is; "default" when left out
---@field replace? boolean true: what there is by the same names is replaced; else it is in the way
---@field reason? string "template NAME" when left out
---@field dry_run? boolean only say what would change

local function expect_text(value, name)
  if value ~= nil and type(value) ~= "string" then
    error(("templates.apply: %s: expected a text, got a %s"):format(name, type(value)), 3)
  end
end

--- Makes what a template gives with parameters, all or nothing, as one transaction.
---@async
---@param name string of the template
---@param parameters? table<string, any> values as pdk.json.decode makes them: lists are marked by pdk.json.array
---@param options? pdk.templates.options
---@return table? result {version, dry_run, changes = {added, updated, removed}, summary, diff, warnings, entities =
--- {{kind, tenant, name, pointer}}}
---@return pdk.problem.document? problem not_found: there is no such template; else errors point into /parameters or
--- into the entities, /entities
function M.apply(name, parameters, options)
  local of = control.current "templates.apply"
  options = options or {}
  if type(name) ~= "string" then error("templates.apply: expected the name of a template", 2) end
  if parameters ~= nil and (type(parameters) ~= "table" or json.is_array(parameters)) then
    error("templates.apply: parameters: expected a map from names to values", 2)
  end
  for _, field in ipairs { "tenant", "template_tenant", "reason" } do expect_text(options[field], field) end
  return control.call("apply_template", of, network.plugin_name(), name, parameters or {},
    { tenant = options.tenant, template_tenant = options.template_tenant, replace = options.replace == true,
      reason = options.reason, dry_run = options.dry_run == true })
end

return M
