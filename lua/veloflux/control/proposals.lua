--- What transactions would make of the newest that is known: their edits, one upon the other, the model of that, judged
-- as a whole, and what is said of it. Nothing here publishes or stores anything.
--
-- A job is {ops, context, callback} or {make, ...} (queue.lua); here it gets `result`, `net` and `version`.
local compiler = require "veloflux.compiler"
local edits = require "veloflux.control.edits"
local entities = require "veloflux.control.entities"
local explain = require "veloflux.explain"
local flow = require "veloflux.control.flow"
local lint_live = require "veloflux.control.lint_live"
local outcome = require "veloflux.control.outcome"
local probation = require "veloflux.control.probation"
local slices = require "veloflux.slices"
local standing = require "veloflux.control.standing"
local worlds = require "veloflux.control.world"

local M = {}

local MAX_SHOWN = 1000 -- entities in the difference that is answered

local now_ms

--- Begins.
-- @param clock function: wall clock in milliseconds
function M.open(clock) now_ms = clock end

--- Asks whoever wants a job whether that still holds. Returns an outcome when it does not, or nil.
function M.check(job) return job.context.check and job.context.check() end

--- Refuses a job that was asked for on the condition that the version is another.
local function outdated(job, current)
  local wanted = job.context.if_versions
  if not wanted or wanted[current] then return nil end
  return { ok = false, code = "stale", message = ("The current version is %d."):format(current), errors = {} }
end

--- The edits of a job upon a set.
local function edits_of(job, set, version)
  local base = setmetatable({ set = set, version = version, now_ms = now_ms() }, { __index = standing.world() })
  local refusal = M.check(job) or outdated(job, version - 1)
  if refusal then return nil, refusal end
  if job.make then return job.make(base) end
  return edits.apply(base, job.ops)
end

local function objects_of(keys, whole)
  local objects = {}
  for i, place in ipairs(keys or {}) do
    slices.pause()
    objects[i] = worlds.find(whole, place.kind, entities.split_key(place.kind, place.key)) or false
  end
  return objects
end

--- Returns the outcome of a job that went through.
-- @param result of flow.offer
-- @param whole the world with it
function M.success(job, result, whole)
  local told = { ok = true, version = job.version or whole.version, published = whole.version,
    diff = job.context.is_brief and {} or outcome.diff(job.net, standing.world().unseal, MAX_SHOWN),
    counts = outcome.counts(job.net), summary = outcome.summary(job.net), warnings = result.warnings or {},
    findings = result.findings or {},    laggards = result.laggards or 0, objects = objects_of(job.result.keys, whole) }
  for name, value in pairs(job.result.extra or {}) do told[name] = value end
  told.probation = job.version and job.context.probation
  return told
end

--- Applies jobs to the newest that is known.
-- @param answer function(job, outcome): is called for those that cannot be, or change nothing
-- @return the jobs that change something, and the world with them
function M.stack(jobs, answer)
  local good, set, version = {}, standing.base().set, standing.next_version()
  for _, job in ipairs(jobs) do
    local result, refusal = edits_of(job, set, version)
    if not result then
      answer(job, refusal)
    else
      job.result, job.net, job.version = result, outcome.net(result.edits), version
      if #job.net == 0 then
        job.version = nil
        answer(job, M.success(job, {}, standing.world()))
      else
        set, version = result.set, version + 1
        good[#good + 1] = job
      end
    end
  end
  return good, worlds.with(standing.world(), set, version - 1)
end

--- Makes the model of stacked jobs.
-- @return it, or nil and a refusal
function M.judge(jobs, next_world)
  local all = {}
  for _, job in ipairs(jobs) do
    for _, edit in ipairs(job.result.edits) do
      slices.pause()
      all[#all + 1] = edit
    end
  end
  local model, problems = worlds.model(next_world, flow.current() and flow.current().model)
  if not model then return nil, outcome.refusal(problems, all, "invalid") end
  slices.look()
  local rivalry = outcome.rivalry(model, all)
  if rivalry then return nil, rivalry end
  return model
end

--- Adds to changes what is said with them about probation. Returns the world with that.
function M.with_probation(jobs, next_world, model)
  local added, models = {}, { flow.current().model, model }
  for i, job in ipairs(jobs) do
    for _, edit in ipairs(probation.edits(job, i == 1 and standing.base().set or entities.new(), models, now_ms())) do
      added[#added + 1], job.net[#job.net + 1] = edit, edit
    end
    if #added > 0 then job.result.set = entities.with(job.result.set, added) end
  end
  return #added > 0 and worlds.with(next_world, jobs[#jobs].result.set, next_world.version) or next_world
end

--- Returns the jobs as the store commits them.
function M.changes(jobs)
  local changes = {}
  for i, job in ipairs(jobs) do
    changes[i] = outcome.store_change(job.net, job.context, job.version, now_ms())
  end
  return changes
end

--- Returns what would become of a job alone: its outcome, with dry_run, affected_routes and affected_count.
function M.try(job)
  local world = standing.world()
  if not world then return { ok = false, code = "unavailable", message = "nothing is published yet", errors = {} } end
  local result, refusal = edits_of(job, standing.base().set, standing.next_version())
  if not result then return refusal end
  job.result, job.net = result, outcome.net(result.edits)
  local next_world = worlds.with(world, result.set, world.version)
  local model, warnings, compiled, findings = flow.current().model, {}
  local before = model
  if #job.net > 0 then
    model, refusal = M.judge({ job }, next_world)
    if not model then return refusal end
    local problem, is_passing
    compiled, problem, is_passing = compiler.compile(model, { base = flow.current().compiled })
    if not compiled then return outcome.unserved({ problem }, result.edits, "invalid", is_passing) end
    warnings, findings = explain.warnings(model, compiled, lint_live.of(model))
    compiler.give_back(compiled)
  end
  local told = M.success(job, { warnings = warnings, findings = findings }, next_world)
  told.dry_run = true
  told.affected_routes, told.affected_count = outcome.affected_routes(job.net, { before, model })
  return told
end

return M
