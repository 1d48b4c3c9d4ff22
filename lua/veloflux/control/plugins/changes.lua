--- Changes of many entities that plugins ask for: how transactions are asked, and what the plugin is told.
local await = require "veloflux.admin.await"
local outcomes = require "veloflux.admin.outcomes"
local problem = require "veloflux.admin.problem"
local rest = require "veloflux.admin.rest"
local services = require "veloflux.control.plugins.services"
local transactions = require "veloflux.control.transactions"

local M = {}

--- Returns a service that waits for the first configuration, and refuses when there is none.
function M.ready(fn)
  return function(...)
    if rest.is_ready() then return fn(...) end
    return nil, problem.new("unavailable", "There is no configuration yet.")
  end
end

--- The same of a service that changes something, whose first argument is what runs: a job of the leader may not, once
-- another node leads.
function M.changing(fn)
  return M.ready(function(of, ...)
    local deposed = services.refuse_deposed(of)
    if deposed then return nil, deposed end
    return fn(of, ...)
  end)
end

--- Asks something of transactions that is answered by a callback, which comes last. Yields.
-- @return the outcome
function M.outcome_of(name, ...)
  local arguments, n = { ... }, select("#", ...)
  return await.call(function(callback)
    arguments[n + 1] = callback
    transactions[name](unpack(arguments, 1, n + 1))
  end)
end

--- The same. Returns the outcome; or nil and a problem.
function M.ask(name, ...)
  local outcome = M.outcome_of(name, ...)
  if outcome.ok then return outcome end
  return nil, outcomes.refused(outcome)
end

--- Notes the version that a change has made, for the answer of the endpoint.
-- @param of what runs (runtime/control.lua)
function M.note(of, outcome)
  of.version, of.laggards = outcome.version, math.max(of.laggards or 0, outcomes.laggards(outcome))
end

--- Returns what a change of many entities has done.
function M.changed(of, outcome, is_dry)
  if not is_dry then M.note(of, outcome) end
  return outcomes.changed(outcome, is_dry)
end

return M
