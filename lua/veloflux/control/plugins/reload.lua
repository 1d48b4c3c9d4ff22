--- What pdk.configuration.reload asks for: the conf file is read again.
local conf = require "veloflux.conf"
local json = require "veloflux.pdk.json"
local outcomes = require "veloflux.admin.outcomes"
local problem = require "veloflux.admin.problem"
local seam = require "veloflux.runtime.control"
local services = require "veloflux.control.plugins.services"

local M = {}

--- Problems of the conf as members of `errors`: `detail` is the whole line, and its parts stand beside it.
local function errors_of(result)
  local errors = {}
  for i, line in ipairs(result.lines or {}) do
    local found = result.problems and result.problems[i] or {}
    errors[i] = { pointer = conf.pointer(found), detail = line, file = found.file, line = found.line,
      path = found.path, message = found.message, rule = found.rule, plugin = found.plugin }
  end
  return errors
end

--- The difference of two models (model.diff) with its empty lists marked as lists.
local function diff_of(diff)
  local marked = {}
  for kind, changes in pairs(diff or {}) do
    if kind == "node" then
      marked.node = json.array(changes)
    else
      marked[kind] = { added = json.array(changes.added), changed = json.array(changes.changed),
        removed = json.array(changes.removed) }
    end
  end
  return marked
end

--- Counts what a difference of two models has: what imports answer as `changes`, too.
local function counts_of(diff)
  local counts = { added = 0, updated = 0, removed = 0 }
  for kind, changes in pairs(diff or {}) do
    if kind ~= "node" then
      counts.added, counts.removed = counts.added + #changes.added, counts.removed + #changes.removed
      counts.updated = counts.updated + #changes.changed
    end
  end
  return counts
end

local function refused(result)
  local errors = errors_of(result)
  local first = errors[1] and errors[1].detail or "The configuration was refused."
  if result.is_passing then return problem.new("unavailable", first, { headers = { "Retry-After", "1" } }) end
  return problem.new("config_rejected", first, { errors = errors, members = { version = result.version } })
end

--- Adds the service.
-- @param context of admin/init.lua: reload(), dry_reload()
function M.register(context)
  function seam.services.reload(of, is_dry)
    local deposed = services.refuse_deposed(of)
    if deposed then return nil, deposed end
    local result = is_dry and context.dry_reload() or not is_dry and context.reload()
    if not result.ok then return nil, refused(result) end
    if not is_dry then of.version = result.version end
    return { dry_run = is_dry, version = result.version, changes = counts_of(result.diff), summary = result.summary,
      diff = diff_of(result.diff), warnings = json.array(result.warnings), findings = outcomes.findings(result),
      laggards = result.laggards or 0 }
  end
end

return M
