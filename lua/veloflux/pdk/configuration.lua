--- The configuration as one document: out, in, and judged.
--
--     local text = pdk.configuration.export("yaml")
--     local result, problem = pdk.configuration.import(text, "merge", { reason = "as it was" })
--
-- A document is a text, or one of pdk.document, such as the body of a request to an endpoint with `max_body`. May be
-- called in control only: in the functions of api.lua and jobs.lua. All functions wait.
local control = require "veloflux.runtime.control"
local network = require "veloflux.runtime.network"

---@class pdk.configuration
local M = {}

local function options_of(options)
  options = options or {}
  return { reason = options.reason and tostring(options.reason), dry_run = options.dry_run == true }
end

--- Returns all entities as a document. Secrets stand there by reference, or sealed for this installation.
---@async
---@param format? "json"|"yaml" json when left out
---@param is_masked? boolean true: `*****` stands for what would be sealed
---@return string? text
---@return pdk.problem.document? problem
function M.export(format, is_masked)
  local of = control.current "configuration.export"
  format = format or "json"
  if format ~= "json" and format ~= "yaml" then error("configuration.export: expected json or yaml", 2) end
  return control.call("export", of, network.plugin_name(), format, is_masked == true)
end

--- Takes a document as one transaction.
---@async
---@param document string|pdk.document.content JSON or YAML
---@param mode? "merge"|"replace" merge, when left out: what it names is made or replaced; replace: the rest goes, too
---@param options? { reason?: string, dry_run?: boolean }
---@return table? result {version, dry_run, changes = {added, updated, removed}, summary, skipped, warnings, diff}
---@return pdk.problem.document? problem
function M.import(document, mode, options)
  local of = control.current "configuration.import"
  mode = mode or "merge"
  if mode ~= "merge" and mode ~= "replace" then error("configuration.import: expected merge or replace", 2) end
  return control.call("import", of, network.plugin_name(), document, mode, options_of(options))
end

--- Reads the conf file of the node again, and publishes it when it is good.
---@async
---@param options? { dry_run?: boolean } dry_run: only say what would change
---@return table? result {version, dry_run, changes = {added, updated, removed}, summary, diff, warnings, findings,
--- laggards}
---@return pdk.problem.document? problem config_rejected, with an error for each fault of the file: nothing has changed
function M.reload(options)
  local of = control.current "configuration.reload"
  return control.call("reload", of, options_of(options).dry_run or of.dry_run == true)
end

--- Judges a whole conf file, node settings and all.
---@async
---@param document string|pdk.document.content JSON or YAML
---@return { valid: boolean, errors: table[], warnings: string[] }? judgement
---@return pdk.problem.document? problem it cannot be read at all
function M.validate(document)
  local of = control.current "configuration.validate"
  return control.call("validate", of, network.plugin_name(), document)
end

return M
