--- Work that a plugin does by itself: jobs.lua returns a list of
--   { name = "sweep", every = "30s", jitter = 0.1, scope = "node", timeout = "1m", run = function(job) ... end }
-- `at` instead of `every`: "03:30" (UTC, each day), a list of those, or a schedule in five fields as cron has them.
local fields = require "veloflux.plugin.control.fields"
local schedule = require "veloflux.plugin.control.schedule"

local M = {}

local TIMEOUT_MS, MAX_TIMEOUT_MS = 60000, 24 * 3600000
local LEAST_MS = 100
local KNOWN = { name = "string", every = { "number", "string" }, at = { "string", "table" }, jitter = "number",
  scope = "string", timeout = { "number", "string" }, run = "function", description = "string" }

--- Returns the schedule of a definition, or nil after noting what is wrong.
local function schedule_of(definition, note)
  if not definition.every then
    if definition.jitter then return note("jitter", "goes with every") end
    local when, bad = schedule.at(definition.at)
    return when or note("at", bad)
  end
  local every_ms, bad = fields.milliseconds(definition.every)
  if not every_ms then return note("every", bad) end
  if every_ms < LEAST_MS then return note("every", "expected at least 100ms") end
  local jitter = definition.jitter or 0
  if not (jitter >= 0 and jitter <= 1) then return note("jitter", "expected a number from 0 to 1") end
  return schedule.every(every_ms, jitter)
end

--- Reads one definition. Returns a job {name, schedule, scope, timeout_ms, run, description}, or nil.
function M.read(reader, definition, place)
  local function note(name, message) return reader.note("jobs", ("%s.%s: %s"):format(place, name, message), name) end
  if not fields.check(reader, "jobs", definition, place, KNOWN) then return nil end
  if not (definition.name or ""):find "^%w[%w._-]*$" then
    return note("name", "expected a name of letters, digits, dots, dashes and underscores")
  end
  if not definition.run then return note("run", "required") end
  if (definition.every == nil) == (definition.at == nil) then return note("every", "expected either every or at") end
  local scope = definition.scope or "node"
  if scope ~= "node" and scope ~= "cluster" then return note("scope", "expected node or cluster") end
  local timeout_ms = TIMEOUT_MS
  if definition.timeout then
    local expected
    timeout_ms, expected = fields.milliseconds(definition.timeout)
    if not timeout_ms or timeout_ms > MAX_TIMEOUT_MS then return note("timeout", expected or "expected at most 24h") end
  end
  local when = schedule_of(definition, note)
  if not when then return nil end
  return { name = definition.name, schedule = when, scope = scope, timeout_ms = timeout_ms, run = definition.run,
    description = definition.description }
end

return M
