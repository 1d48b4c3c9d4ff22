--- Transactions, one after the other (transactions.lua is what others use). Those that wait while another is under
-- way become versions of their own and are published together; if they are not good together, each is tried alone.
--
-- A change becomes: entities (edits.lua), a model that is checked as a whole, a snapshot that all processes
-- prepare, a version of the store, and what is published (flow.lua). Refused at any step before the store has
-- it, it leaves nothing behind.
--
-- A store may be shared with other nodes. What they commit is fetched (follow.lua) and published here under its own
-- number; a transaction that met such a commit is made anew upon it. What this node cannot serve keeps it behind: it
-- goes on with what it has, and tries again with the next version.
--
-- Callbacks get an outcome; they may be called before the function that they were given to returns.
local conf = require "veloflux.conf"
local flow = require "veloflux.control.flow"
local follow = require "veloflux.control.follow"
local outcome = require "veloflux.control.outcome"
local probation = require "veloflux.control.probation"
local proposals = require "veloflux.control.proposals"
local slices = require "veloflux.slices"
local standing = require "veloflux.control.standing"
local turns = require "veloflux.control.turns"
local work = require "veloflux.control.work"
local worlds = require "veloflux.control.world"

local M = {}

local MAX_BATCH = 500 -- transactions that are published together
local MAX_TRIES = 20 -- of a transaction that others are faster than
local TURN_AFTER = 2 -- tries; then it asks for the turn (turns.lua)
local MAX_ASKS = 200 -- for that, when nobody else is served meanwhile
local MAX_AGAIN = 3 -- tries, one behind the other, of what may be served a moment later

local link, now_ms, retry, source, store_of, restore
local wants_fetch = false -- the store may have more
local waiting = {} -- jobs: {ops, context, callback}, {make, ...} or {run}
local is_busy = false
local n_again = 0 -- tries that have failed of what might have been served

--- Begins.
-- @param options {link = control/link.lua, now_ms = function: wall clock, retry = function(node, callback): tries to
-- reach a store that was out of reach, callback(set) with what it has,
-- source = function: of the conf file, as conf.read takes it, store = function() -> the store or nil,
-- restore = function(found, callback(message)): gives a shared store back what it has lost,
-- on_change = function: see standing.lua}
function M.open(options)
  link, now_ms, retry, source = options.link, options.now_ms, options.retry, options.source
  store_of, restore, wants_fetch, waiting, is_busy = options.store, options.restore, false, {}, false
  n_again = 0
  standing.open(options)
  proposals.open(now_ms)
  turns.open()
end

M.world, M.base, M.behind, M.counts = standing.world, standing.base, standing.behind, standing.counts
M.know, M.stored, M.set_stored = standing.know, standing.stored, standing.set_stored
M.unavailable, M.next_version = standing.unavailable, standing.next_version

--- Says what is published: see standing.lua.
function M.adopt(next_world, why)
  standing.adopt(next_world, why)
  if next_world then probation.follow(next_world.set) end
end

--- Reads the conf file as it stands now. Returns a draft (conf.read).
function M.read_file() return conf.read { source = source() } end

--- Tells somebody; a fault of theirs is not ours.
local function tell(callback, result)
  if not callback then return end
  local ok, message = xpcall(callback, debug.traceback, result)
  if not ok then link.log("error", "control.fault", tostring(message)) end
end

--- Answers a job, once.
local function answer(job, result)
  local callback = job.callback
  job.callback = nil
  tell(callback, result)
end

local function refuse(job, result)
  local world = standing.world()
  result.version = world and world.version
  answer(job, result)
end

local turn

local function done()
  is_busy = false
  local first = waiting[1]
  if not first or (first.tries or 0) < TURN_AFTER then turns.finish(store_of()) end
  turn()
end

local function put_back(jobs)
  for i = #jobs, 1, -1 do table.insert(waiting, 1, jobs[i]) end
end

--- What is not good together may be good alone.
local function try_alone(jobs)
  for _, job in ipairs(jobs) do job.is_alone = true end
  put_back(jobs)
  done()
end

local function refuse_all(jobs, refusal)
  n_again = 0
  for _, job in ipairs(jobs) do refuse(job, refusal) end
  done()
end

--- Says whether what could not be served for now, such as for want of memory, is to be tried again; then that is so.
local function try_again(jobs, is_passing)
  if not is_passing or n_again == MAX_AGAIN or jobs[1] and jobs[1].is_stored then return false end
  n_again = n_again + 1
  put_back(jobs)
  done()
  return true
end

--- Others have committed first: once that is known, the jobs are made anew upon it.
local function rebase(jobs)
  local again = {}
  turns.finish(store_of()) -- it has run out, or there is no such thing
  for _, job in ipairs(jobs) do
    job.tries = (job.tries or 0) + 1
    if job.tries >= TURN_AFTER then turns.want() end
    if job.tries < MAX_TRIES then
      again[#again + 1] = job
    else
      refuse(job, { ok = false, code = "conflict", errors = {},
        message = "other nodes change the configuration all the time; try again" })
    end
  end
  local counts = standing.counts()
  counts.rebased = counts.rebased + #again
  put_back(again)
  wants_fetch = true
  done()
end

local offer

--- The store took some of the changes and then failed: those are versions, so they are published.
local function publish_stored(jobs, count, failure)
  local kept, left = {}, {}
  for i, job in ipairs(jobs) do
    if i <= count then
      kept[i], job.is_stored = job, true
    elseif failure.code == "conflict" then
      left[#left + 1] = job
    else
      refuse(job, outcome.refusal(failure.problems, {}, failure.code))
    end
  end
  put_back(left)
  wants_fetch = wants_fetch or #left > 0
  standing.note_stored(kept[count].version)
  local next_world = worlds.with(standing.world(), kept[count].result.set, kept[count].version)
  local model, refusal = proposals.judge(kept, next_world)
  if not model then
    link.log("error", "control.fault", refusal.message)
    return done()
  end
  offer(kept, next_world, model, {})
end

-- What other nodes have stored ----------------------------------------------------------------------

--- This node keeps what it serves.
local function fall_behind(why)
  n_again = 0
  standing.fall_behind(why)
  done()
end

--- Publishes what the store has. Its number is taken here when a node without the store went on counting.
local function offer_ahead()
  local news = standing.news()
  local version, changes = news.version, {}
  if version <= link.published() then
    version = standing.next_version()
    changes = { outcome.store_change({}, { source = "file", reason = "a node joins" }, version, now_ms()) }
  end
  local next_world = worlds.with(standing.world(), news.set, version)
  local model, refusal = proposals.judge({}, next_world)
  if not model then return fall_behind(refusal.message) end
  offer({}, next_world, model, changes)
end

--- Offers that alone; the jobs that were not good with it follow.
local function offer_ahead_of(jobs)
  for _, job in ipairs(jobs) do job.is_alone = true end
  put_back(jobs)
  offer_ahead()
end

--- Says why jobs are refused while this node is behind: it takes what repairs that, and nothing else.
local function refuse_behind(jobs, refusal) refuse_all(jobs, standing.refusal_behind(refusal)) end

--- Reads what the store has beyond what is known.
-- @param callback function(message): nil when that is known now
function M.fetch(callback)
  local store = store_of()
  wants_fetch = false
  if not store then return callback "the store is not available" end
  follow.fetch(store, standing.base(), standing.world().tools, function(err, found)
    if err then return callback(err.message or err.code) end
    if found.set and found.version < standing.world().version then return restore(found, callback) end
    standing.know(found)
    callback()
  end)
end

--- The same for what has the queue to itself, such as a reload, and met others' commits so many times: after the second
-- it waits for its turn.
function M.fetch_in_turn(n_conflicts, callback)
  local left = MAX_ASKS
  local function ask()
    left = left - 1
    if not store_of() or left == 0 then return M.fetch(callback) end
    turns.want()
    turns.ask(store_of(), function(is_mine)
      if is_mine then M.fetch(callback) end
    end, ask)
  end
  if n_conflicts < TURN_AFTER then return M.fetch(callback) end
  ask()
end

-- One after the other -------------------------------------------------------------------------------

local function refuse_unavailable(jobs, why)
  refuse_all(jobs, { ok = false, code = "unavailable", errors = {}, message = "the store is not available: "
    .. (why or standing.unavailable() or "nothing is published yet") })
end

local function refuse_offered(jobs, problems, code, is_passing)
  if code == "unavailable" and problems[1].path == "store" then return refuse_unavailable(jobs, problems[1].message) end
  refuse_all(jobs, outcome.unserved(problems, #jobs == 1 and jobs[1].result.edits or {}, code, is_passing))
end

local function conclude(jobs, next_world, result)
  if result.ok then
    n_again = 0
    local counts = standing.counts()
    if standing.news() then counts.followed = counts.followed + 1 end
    standing.note_stored(next_world.version)
    M.adopt(next_world, standing.unavailable())
    for _, job in ipairs(jobs) do answer(job, proposals.success(job, result, next_world)) end
    return done()
  end
  if result.stored > 0 then return publish_stored(jobs, result.stored, result) end
  if result.code == "conflict" then return rebase(jobs) end
  if try_again(jobs, result.is_passing) then return end
  if #jobs == 0 then return fall_behind(conf.format(result.problems[1])) end
  if result.code == "invalid" and standing.news() then return offer_ahead_of(jobs) end
  if #jobs > 1 and result.code == "invalid" then return try_alone(jobs) end
  refuse_offered(jobs, result.problems, result.code, result.is_passing)
end

--- Runs a step of jobs. A fault in it is ours: they are refused, and the next go on.
local function guarded(jobs, step, ...)
  local arguments, n = { ... }, select("#", ...)
  slices.run(function()
    local ok, message = xpcall(step, debug.traceback, unpack(arguments, 1, n))
    if ok then return end
    link.log("error", "control.fault", tostring(message))
    if standing.news() then standing.fall_behind "a fault in control: its log has it" end
    refuse_all(jobs, { ok = false, code = "unavailable", errors = {}, message = "a fault in control: its log has it" })
  end)
end

function offer(jobs, next_world, model, changes)
  local ok, problems, is_passing = flow.offer { model = model, version = next_world.version,
    draft = standing.world().draft, set = next_world.set, changes = changes,
    on_end = function(result) guarded(jobs, conclude, jobs, next_world, result) end }
  if ok or try_again(jobs, is_passing) then return end
  if #jobs == 0 then return fall_behind(conf.format(problems[1])) end
  if standing.news() then return offer_ahead_of(jobs) end
  if #jobs > 1 then return try_alone(jobs) end
  refuse_offered(jobs, problems, "invalid", is_passing)
end

local function process(batch)
  local is_away = #batch > 0 and standing.away(store_of())
  if is_away then return refuse_unavailable(batch, is_away) end -- before any process prepares it
  local behind = standing.behind()
  if behind and not behind.set and #batch > 0 then return refuse_behind(batch, { errors = {} }) end
  local jobs, next_world = proposals.stack(batch, function(job, result)
    if result.ok then answer(job, result) else refuse(job, result) end
  end)
  if #jobs == 0 and standing.news() then return offer_ahead() end
  if #jobs == 0 then return done() end
  local model, refusal = proposals.judge(jobs, next_world)
  if not model and standing.news() then return offer_ahead_of(jobs) end
  if not model and #jobs > 1 then return try_alone(jobs) end
  if not model and behind then return refuse_behind(jobs, refusal) end
  if not model then return refuse_all(jobs, refusal) end
  refusal = #jobs == 1 and proposals.check(jobs[1]) -- a long one may have been called off meanwhile
  if refusal then return refuse_all(jobs, refusal) end
  next_world = proposals.with_probation(jobs, next_world, model)
  offer(jobs, next_world, model, proposals.changes(jobs))
end

--- Takes the jobs that go together from the front of those that wait.
local function take_batch()
  local batch = {}
  while waiting[1] and not waiting[1].run and #batch < MAX_BATCH do
    if waiting[1].is_alone and #batch > 0 then break end
    batch[#batch + 1] = table.remove(waiting, 1)
    if batch[1].is_alone then break end
  end
  return batch
end

--- What comes next, once it is known what the store has.
local function go_on()
  if waiting[1] and waiting[1].run then
    local run = table.remove(waiting, 1).run
    return guarded({}, run, done)
  end
  if waiting[1] and turns.is_needed() and store_of() then
    return turns.ask(store_of(), function(is_mine)
      wants_fetch = wants_fetch or is_mine
      done()
    end, turn)
  end
  local batch = turns.is_waiting() and {} or take_batch()
  if #batch == 0 and not standing.news() then
    is_busy = false
    return
  end
  local world = standing.world()
  if not world then return refuse_unavailable(batch) end
  if not standing.unavailable() or #batch == 0 then return guarded(batch, process, batch) end
  retry(world.draft.node, function(set)
    if not set then return refuse_unavailable(batch) end
    guarded(batch, process, batch)
  end)
end

--- Looks what the store has; goes on in any case: if the store is out of reach, what needs it will be told.
local function look()
  if not standing.unavailable() then return M.fetch(go_on) end
  wants_fetch = false
  retry(standing.world().draft.node, go_on)
end

function turn()
  local world = standing.world()
  local has_job = waiting[1] and (waiting[1].run or not turns.is_waiting())
  if is_busy or not (has_job or world and (wants_fetch or standing.news())) then return end
  is_busy = true
  if wants_fetch and world then return guarded({}, look) end
  go_on()
end

--- The store may have versions that others have committed: they are fetched and published.
function M.follow()
  wants_fetch = true
  turn()
end

--- Queues something that is no change of entities, such as a reload.
-- @param run function(done): is called when its turn comes, and calls done when the next may begin
function M.enqueue(run)
  waiting[#waiting + 1] = { run = run }
  turn()
end

local function submit(job)
  job.is_alone = job.context.fence ~= nil -- what is refused is refused alone
  if job.context.dry_run then
    return work(function() return proposals.try(job) end, function(fault, result)
      if fault then return refuse(job, { ok = false, code = fault.code, message = fault.message, errors = {} }) end
      answer(job, result)
    end)
  end
  waiting[#waiting + 1] = job
  turn()
end

--- Submits transactions together: see transactions.lua.
function M.together(submit_all)
  M.enqueue(function(next_turn)
    submit_all()
    next_turn()
  end)
end

--- Changes entities by operations: see transactions.lua.
function M.apply(ops, context, callback)
  submit { ops = ops, context = context, callback = callback }
end

--- Changes entities in a way of its own.
-- @param make function(base) -> {set, edits, keys, extra}, or nil and an outcome, like edits.apply: it is called
-- when its turn comes, and again when the change has to be made anew
function M.transform(make, context, callback)
  submit { make = make, context = context, callback = callback }
end

return M
