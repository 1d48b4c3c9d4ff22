--- What pdk.configuration and pdk.versions ask for: the configuration as a document, and its history.
local changes = require "veloflux.control.plugins.changes"
local conf = require "veloflux.conf"
local documents = require "veloflux.control.plugins.documents"
local json = require "veloflux.pdk.json"
local offload = require "veloflux.control.offload"
local outcomes = require "veloflux.admin.outcomes"
local probation = require "veloflux.admin.probation"
local problem = require "veloflux.admin.problem"
local seam = require "veloflux.runtime.control"
local services = require "veloflux.control.plugins.services"
local status = require "veloflux.admin.status"
local transactions = require "veloflux.control.transactions"

local M = {}

local function version_of(record)
  return { version = record.version, time = status.time(record.time_ms), author = record.author, source = record.source,
    reason = record.reason, request_id = record.request_id, summary = record.summary }
end

--- Adds the services.
-- @param context of admin/init.lua
function M.register(context)
  local of_plugin = seam.services

  of_plugin.versions = changes.ready(function(_, _, options)
    local outcome, bad = changes.ask("versions", options)
    if not outcome then return nil, bad end
    local list = json.array {}
    for i, record in ipairs(outcome.versions) do list[i] = version_of(record) end
    return list, nil, outcome.total
  end)

  of_plugin.version = changes.ready(function(_, _, number)
    local outcome, bad = changes.ask("version", number)
    if not outcome then return nil, bad end
    local shown = version_of(outcome.version)
    shown.diff = outcomes.diff(outcome.diff)
    shown.probation = probation.shown(context, number)
    return shown
  end)

  of_plugin.diff = changes.ready(function(_, _, from, to)
    local outcome, bad = changes.ask("diff", from, to)
    if not outcome then return nil, bad end
    return { from = from, to = to, summary = outcome.summary, diff = outcomes.diff(outcome.diff) }
  end)

  of_plugin.rollback = changes.changing(function(of, plugin, number, options)
    local own = services.context_of(of, plugin, options)
    local outcome, bad = changes.ask("rollback", number, own)
    if not outcome then return nil, bad end
    return changes.changed(of, outcome, own.dry_run)
  end)

  --- Says how a probation has ended.
  local function ended(of, number, outcome)
    if not outcome.ok then return nil, outcomes.refused(outcome) end
    if outcome.rollback then changes.note(of, outcome) end
    return { version = number, probation = probation.shown(context, number) or json.null }
  end

  of_plugin.confirm = changes.changing(function(of, plugin, number)
    local own = services.context_of(of, plugin, {})
    local outcome = transactions.confirm(number, own)
    if own.dry_run and outcome.ok then
      return outcomes.would("versions", "changed", tostring(number),
        { pointer = "/probation/state", before = "watching", after = "confirmed" }, { version = number }).json
    end
    return ended(of, number, outcome)
  end)

  of_plugin.reject = changes.changing(function(of, plugin, number)
    local own = services.context_of(of, plugin, {})
    local outcome = changes.outcome_of("reject", number, own)
    if not own.dry_run or not outcome.ok then return ended(of, number, outcome) end
    local result = changes.changed(of, outcome, true)
    result.status, result.version = "dry_run", number
    return result
  end)

  of_plugin.export = changes.ready(function(_, _, format, is_masked)
    return transactions.export(format, is_masked)
  end)

  of_plugin.import = changes.changing(function(of, plugin, document, mode, options)
    local own = services.context_of(of, plugin, options)
    local outcome, bad = changes.ask("import", documents.content(document), mode, own)
    if not outcome then return nil, bad end
    return changes.changed(of, outcome, own.dry_run)
  end)

  of_plugin.validate = changes.ready(function(_, _, document)
    local doc, fault = offload.parse(documents.content(document), "document")
    if not doc then
      return nil, problem.new("invalid", conf.format(fault),
        { errors = { { pointer = "", detail = fault.message, line = fault.line } } })
    end
    local outcome = transactions.validate(doc)
    local errors = json.array()
    for i, found in ipairs(outcome.errors or {}) do
      errors[i] = { path = found.pointer, pointer = found.pointer, message = found.detail, detail = found.detail,
        line = found.line }
    end
    return { valid = outcome.ok, errors = errors, warnings = outcomes.texts(outcome.warnings),
      findings = outcomes.findings(outcome) }
  end)
end

return M
