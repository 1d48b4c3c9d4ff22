--- What pdk.configuration and pdk.versions ask for: the configuration as a document, and its history.
local await = require "veloflux.admin.await"
local conf = require "veloflux.conf"
local documents = require "veloflux.control.plugins.documents"
local json = require "veloflux.pdk.json"
local offload = require "veloflux.control.offload"
local outcomes = require "veloflux.admin.outcomes"
local probation = require "veloflux.admin.probation"
local problem = require "veloflux.admin.problem"
local rest = require "veloflux.admin.rest"
local seam = require "veloflux.runtime.control"
local services = require "veloflux.control.plugins.services"
local status = require "veloflux.admin.status"
local transactions = require "veloflux.control.transactions"

local M = {}

local function not_ready() return nil, problem.new("unavailable", "There is no configuration yet.") end

--- Asks something of transactions that is answered by a callback. Yields.
-- @return the outcome; or nil and a problem
local function ask(name, ...)
  local arguments, n = { ... }, select("#", ...)
  local outcome = await.call(function(callback)
    arguments[n + 1] = callback
    transactions[name](unpack(arguments, 1, n + 1))
  end)
  if outcome.ok then return outcome end
  return nil, outcomes.refused(outcome)
end

local function listed(list)
  local result = json.array()
  for i, value in ipairs(list or {}) do
    result[i] = type(value) == "table" and value.message and conf.format(value) or value
  end
  return result
end

--- What a change of many entities has done.
local function changed(of, outcome, is_dry)
  local counts = outcome.counts
  local result = { dry_run = is_dry, version = not is_dry and outcome.version or nil,
    changes = { added = counts.added, updated = counts.changed, removed = counts.removed }, summary = outcome.summary,
    skipped = json.array(outcome.skipped or {}), warnings = listed(outcome.warnings),
    findings = outcomes.findings(outcome), diff = outcomes.diff(outcome.diff) }
  if is_dry then
    result.affected_routes, result.affected_count = json.array(outcome.affected_routes or {}), outcome.affected_count
  else
    of.version, of.laggards = outcome.version, math.max(of.laggards or 0, outcomes.laggards(outcome))
  end
  return result
end

local function version_of(record)
  return { version = record.version, time = status.time(record.time_ms), author = record.author, source = record.source,
    reason = record.reason, request_id = record.request_id, summary = record.summary }
end

--- Adds the services.
-- @param context of admin/init.lua
function M.register(context)
  local of_plugin = seam.services

  function of_plugin.versions(_, _, options)
    if not rest.is_ready() then return not_ready() end
    local outcome, bad = ask("versions", options)
    if not outcome then return nil, bad end
    local list = json.array {}
    for i, record in ipairs(outcome.versions) do list[i] = version_of(record) end
    return list
  end

  function of_plugin.version(_, _, number)
    if not rest.is_ready() then return not_ready() end
    local outcome, bad = ask("version", number)
    if not outcome then return nil, bad end
    local shown = version_of(outcome.version)
    shown.diff = outcomes.diff(outcome.diff)
    shown.probation = probation.shown(context, number)
    return shown
  end

  function of_plugin.diff(_, _, from, to)
    if not rest.is_ready() then return not_ready() end
    local outcome, bad = ask("diff", from, to)
    if not outcome then return nil, bad end
    return { from = from, to = to, summary = outcome.summary, diff = outcomes.diff(outcome.diff) }
  end

  function of_plugin.rollback(of, plugin, number, options)
    if not rest.is_ready() then return not_ready() end
    local own = services.context_of(of, plugin, options)
    local outcome, bad = ask("rollback", number, own)
    if not outcome then return nil, bad end
    return changed(of, outcome, own.dry_run)
  end

  function of_plugin.export(_, _, format, is_masked)
    if not rest.is_ready() then return not_ready() end
    return transactions.export(format, is_masked)
  end

  function of_plugin.import(of, plugin, document, mode, options)
    if not rest.is_ready() then return not_ready() end
    local own = services.context_of(of, plugin, options)
    local outcome, bad = ask("import", documents.content(document), mode, own)
    if not outcome then return nil, bad end
    return changed(of, outcome, own.dry_run)
  end

  function of_plugin.validate(_, _, document)
    if not rest.is_ready() then return not_ready() end
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
    return { valid = outcome.ok, errors = errors, warnings = listed(outcome.warnings),
      findings = outcomes.findings(outcome) }
  end
end

return M
