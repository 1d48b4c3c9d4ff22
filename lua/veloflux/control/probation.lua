--- Probation: a version is watched for a while and taken back by itself when the traffic gets worse.
--
--   watching -> passed       its time is over and the guard has held
--            -> confirmed    somebody has said that it stays
--            -> rolled_back  the guard broke, or somebody said so: a new version undoes what this one changed
--            -> superseded   nothing of what it changed is there any more
--            -> failed       it should have been taken back, and that was refused: the reason says why
--
-- What a watch needs to know is an entity of the kind `meta` that the model does not know: it is committed together
-- with the change, so a control process that is killed goes on watching after its restart. How a watch has ended is a
-- small thing of the store; the entity goes with the next change.
--
-- In a cluster each node watches with its own counters; the first whose guard breaks takes the version back.
-- Versions are watched each for itself. One that is taken back gives back what it changed, except what was changed
-- again since, and leaves alone what others have changed. Of two on the same thing the earlier waits while the later is
-- watched: should that be taken back, what the earlier has made is there again, and is watched on.
local alarms = require "veloflux.control.alarms"
local counts = require "veloflux.control.probation_counts"
local entities = require "veloflux.control.entities"
local figures = require "veloflux.control.figures"
local guards = require "veloflux.control.guard"
local json = require "veloflux.pdk.json"
local outcome = require "veloflux.control.outcome"

local M = {}

local KIND, PREFIX, BUCKET = "meta", "probation:", "probation"
local KEPT_MS = 90 * 24 * 3600 * 1000 -- how long it is known how a watch has ended
local MOST_ROUTES = 200 -- that are watched by themselves; beyond, all traffic tells
local STEP_MS, SHORTEST_STEP_MS = 1000, 100
local SAMPLES = 31 -- of all traffic, one every two seconds: the last minute

local link, now_ms, store_of, history, node_of, seen
local watches -- version -> watch
local made -- version -> text of the watch that was made here for it: it has not ended
local samples -- figures of all traffic, the oldest first

--- Begins.
-- @param options {link, now_ms = wall clock, store = function() -> store or nil, history = control/history.lua,
-- node = function() -> what tells this node from others, nil when there are no others; figures = for specs}
function M.open(options)
  for _, watch in pairs(watches or {}) do alarms.cancel(watch.alarm) end
  link, now_ms, store_of, history = options.link, options.now_ms, options.store, options.history
  node_of = options.node or function() end
  seen = options.figures or figures
  watches, samples, made = {}, {}, {}
  counts.reset()
end

--- Takes a sample of all traffic: what a change is compared with. Called every two seconds.
function M.sample()
  if not seen then return end
  samples[#samples + 1] = seen.node()
  if #samples > SAMPLES then table.remove(samples, 1) end
end

-- What is committed with a change -----------------------------------------------------------------------

--- Returns what all traffic was before: of the last minute, or if that is too little, since the first start.
local function lately(now, min_requests)
  local recent = samples[1] and figures.growth(samples[1], now)
  return recent and recent.requests >= min_requests and recent or now
end

local function record_of(job, models, time_ms)
  local probation = job.context.probation
  local node, routes = seen.node(), outcome.affected_routes(job.net, models)
  if #routes > MOST_ROUTES then routes = {} end
  return { version = job.version, begun_ms = time_ms, until_ms = time_ms + probation.ms, guard = probation.guard,
    author = job.context.author, node = node_of(), routes = json.array(routes),
    start = { node = node, routes = seen.routes(routes, {}) }, before = lately(node, probation.guard.min_requests) }
end

local function edit_of(record, time_ms)
  local key, text = PREFIX .. record.version, json.encode(record)
  made[record.version] = text
  return { kind = KIND, key = key, after = text, entity = { kind = KIND, key = key, json = text,
    version = record.version, created_ms = time_ms, updated_ms = time_ms } }
end

--- Returns what is to be changed beside: the watch of a change, and those that have ended.
-- @param job of control/queue.lua with its net changes and its version
-- @param set the entities that it is applied to
-- @param models the model before and after it
-- @return list of {kind, key, before, after, entity}
function M.edits(job, set, models, time_ms)
  local edits = {}
  if not watches then return edits end
  for key, entity in pairs(set[KIND] or {}) do
    local watch = watches[tonumber(key:match("^" .. PREFIX .. "(%d+)$"))]
    if watch and watch.is_kept then edits[#edits + 1] = { kind = KIND, key = key, before = entity.json } end
  end
  if job.context.probation then edits[#edits + 1] = edit_of(record_of(job, models, time_ms), time_ms) end
  return edits
end

-- Watching ------------------------------------------------------------------------------------------------

local function log(level, watch, message) link.log(level, "probation." .. watch.state, message, watch.version) end

local resume

--- Writes down how a watch has ended; again until the store has it.
local function keep(watch)
  local function later() watch.alarm = alarms.after(STEP_MS, function() keep(watch) end) end
  local store = store_of()
  if not store then return later() end
  local text = json.encode { state = watch.state, reason = watch.reason, ended_ms = watch.ended_ms,
    rollback = watch.rollback, begun_ms = watch.record.begun_ms, until_ms = watch.record.until_ms }
  store:put_fenced(BUCKET, tostring(watch.version), text, KEPT_MS, watch.fence, function(err)
    if err and err.code == "fenced" then -- another leads: what it says of the watch holds
      watch.fence = nil
      return resume(watch)
    end
    if err then return later() end
    watch.is_kept = true
  end)
end

local function finish(watch, state, reason, rollback)
  alarms.cancel(watch.alarm)
  watch.state, watch.reason, watch.rollback, watch.ended_ms = state, reason, rollback, now_ms()
  counts.ended(state)
  log(state == "failed" and "error" or state == "rolled_back" and "warn" or "info", watch, reason or "")
  keep(watch)
end

local step

local function again(watch)
  local left = math.max(watch.record.until_ms - now_ms(), 0)
  local whole = watch.record.until_ms - watch.record.begun_ms
  local wait = math.max(SHORTEST_STEP_MS, math.min(STEP_MS, whole / 10, left + 1))
  watch.alarm = alarms.after(wait, function() step(watch) end)
end

--- Takes back what a version changed.
-- @param callback function(outcome of transactions.apply), or nil
local function take_back(watch, reason, context, callback)
  watch.is_ending = true
  history.revert(watch.version, { author = context.author, fence = context.fence, reason = reason }, function(result)
    watch.is_ending = false
    if result.ok then
      finish(watch, "rolled_back", reason, result.version)
    elseif result.code == "unavailable" or result.code == "fenced" then
      again(watch)
    else
      finish(watch, "failed", ("%s; it could not be taken back: %s"):format(reason, result.message))
    end
    if callback then callback(result) end
  end)
end

--- Returns the figures of the traffic since a change, or since it is there again: of all, and of the routes that it
-- touches.
local function since(watch)
  local start, routes = watch.start or watch.record.start, {}
  local now = seen.routes(watch.record.routes, watch.hints)
  for key, found in pairs(now) do routes[key] = figures.growth(start.routes[key], found) end
  return figures.growth(start.node, seen.node()), routes
end

--- What a route was before: of itself when that is enough, else what all traffic was.
local function before_of(watch, key)
  local before = watch.record.start.routes[key]
  return before and before.requests >= watch.record.guard.min_requests and before or watch.record.before
end

--- Says why the guard is broken, or nil.
local function judge(watch)
  local guard = watch.record.guard
  local all, routes = since(watch)
  local keys = {}
  for key in pairs(routes) do keys[#keys + 1] = key end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local broken = guards.judge(guard, "the route " .. key:gsub("^default/", ""), before_of(watch, key), routes[key])
    if broken then return broken end
  end
  return guards.judge(guard, "all traffic", watch.record.before, all)
end

--- True while something of what a version changed is as it has left it.
local function stands(watch)
  for _, change in ipairs(watch.changes) do
    local entity = entities.get(watch.set, change.kind, change.key)
    if (entity and entity.json) == change.after then return true end
  end
  return false
end

--- True while a later version on probation stands where this one stood, or may: what it has changed is not known yet.
local function is_covered(watch)
  for _, other in pairs(watches) do
    if other.version > watch.version and (other.state == "watching" or other.state == "starting") then
      if not other.keys then return true end
      for _, change in ipairs(watch.changes) do
        if other.keys[change.kind .. "\0" .. change.key] then return true end
      end
    end
  end
  return false
end

--- What a version changed is there again: the traffic of the time between was another's.
local function uncover(watch)
  watch.is_waiting = nil
  watch.start = { node = seen.node(), routes = seen.routes(watch.record.routes, watch.hints) }
end

--- Takes over how a watch has ended, as the store has it.
local function take_over(watch, ended)
  for _, name in ipairs { "state", "reason", "rollback", "ended_ms" } do watch[name] = ended[name] end
  watch.is_kept = true
end

--- Nothing of a version is there any more: another node may have taken it back, and says so.
local function supersede(watch)
  local store = store_of()
  if not store then return again(watch) end
  watch.is_ending = true
  store:get(BUCKET, tostring(watch.version), function(err, text)
    watch.is_ending = false
    local ended = text and json.decode(text)
    if err then return again(watch) end
    if type(ended) ~= "table" then
      return finish(watch, "superseded", "nothing of what it changed is there any more")
    end
    take_over(watch, ended)
    counts.ended(ended.state)
  end)
end

function step(watch)
  if watch.state ~= "watching" or watch.is_ending then return end
  if watch.changes and not stands(watch) then
    watch.is_waiting = now_ms() < watch.record.until_ms and is_covered(watch)
    return (watch.is_waiting and again or supersede)(watch)
  end
  if watch.is_waiting then uncover(watch) end
  local broken = judge(watch)
  if broken then return take_back(watch, broken, { author = "probation" }) end
  if now_ms() >= watch.record.until_ms then return finish(watch, "passed") end
  again(watch)
end

--- Learns what the version changed; until then nothing supersedes it.
local function learn(watch)
  local store = store_of()
  if not store then return end
  store:version(watch.version, function(err, record)
    if err or not record then return end
    watch.changes, watch.keys = {}, {}
    for _, change in ipairs(record.changes) do
      if change.kind ~= "meta" then
        table.insert(watch.changes, change)
        watch.keys[change.kind .. "\0" .. change.key] = true
      end
    end
  end)
end

local function begin(watch)
  watch.state = "watching"
  counts.begun()
  log("info", watch, ("until %s"):format(os.date("!%Y-%m-%dT%H:%M:%SZ", watch.record.until_ms / 1000)))
  learn(watch)
  step(watch)
end

--- Goes on with what the store has, unless it has ended already: only the store knows that, so it is waited for.
function resume(watch)
  local function later() watch.alarm = alarms.after(STEP_MS, function() resume(watch) end) end
  local store = store_of()
  if not store then return later() end
  store:get(BUCKET, tostring(watch.version), function(err, text)
    if err then return later() end
    local ended = text and json.decode(text)
    if type(ended) ~= "table" then return begin(watch) end
    take_over(watch, ended)
  end)
end

--- A version of another node: this one counts for itself, from now on.
local function count_here(record)
  if record.node == node_of() then return end
  local node = seen.node()
  record.start = { node = node, routes = seen.routes(record.routes, {}) }
  record.before = lately(node, record.guard.min_requests)
end

--- A set of entities is published: versions in it that are on probation are watched from now on.
function M.follow(set)
  if not watches then return end
  for version, watch in pairs(watches) do
    watch.set = set
    local is_marked = set[KIND] and set[KIND][PREFIX .. version]
    if watch.is_kept and not is_marked then watches[version] = nil end -- the store tells of it
  end
  for key, entity in pairs(set[KIND] or {}) do
    local version = tonumber(key:match("^" .. PREFIX .. "(%d+)$"))
    local record = version and not watches[version] and json.decode(entity.json)
    if record then
      count_here(record)
      watches[version] = { version = version, record = record, set = set, state = "starting", hints = {} }
      if made[version] == entity.json then begin(watches[version]) else resume(watches[version]) end
      made[version] = nil
    end
  end
end

-- What is asked -------------------------------------------------------------------------------------------

local function shown(watch)
  local record = watch.record
  local told = { state = watch.state, begun_ms = record.begun_ms, until_ms = record.until_ms,
    reason = watch.reason, rollback = watch.rollback, ended_ms = watch.ended_ms, guard = record.guard,
    routes = record.routes }
  if watch.state == "watching" then
    local all = since(watch)
    told.before = guards.show(record.before, record.guard.statistic)
    told.since = guards.show(all, record.guard.statistic)
  end
  return told
end

--- Tells of the probation of a version.
-- @param callback function({state, begun_ms, until_ms, reason, rollback, ended_ms, guard, routes, before, since}), or
-- with nil: there is, or was, none
function M.status(version, callback)
  local watch, store = watches and watches[version], store_of and store_of()
  if watch and watch.state ~= "starting" then return callback(shown(watch)) end
  if not store then return callback(nil) end
  store:get(BUCKET, tostring(version), function(err, text) callback(not err and text and json.decode(text) or nil) end)
end

local function refusal(version)
  return { ok = false, code = "conflict", message = ("version %d is not on probation"):format(version), errors = {} }
end

local function watched(version)
  local watch = watches[version]
  return watch and watch.state == "watching" and not watch.is_ending and watch or nil
end

--- Ends a probation: the version stays.
-- @param context of transactions.apply, of which are heeded: author, dry_run and fence
-- @return {ok = true}, or an outcome that says why not
function M.confirm(version, context)
  local watch = watched(version)
  if not watch then return refusal(version) end
  if context.dry_run then return { ok = true, version = version } end
  watch.fence = context.fence
  finish(watch, "confirmed", "by " .. context.author)
  return { ok = true, version = version }
end

--- Ends a probation: what the version changed is taken back now.
-- @param context of transactions.apply, of which are heeded: author, dry_run and fence
-- @param callback function(outcome of transactions.apply)
function M.reject(version, context, callback)
  local watch = watched(version)
  if not watch then return callback(refusal(version)) end
  local reason = "rejected by " .. context.author
  if not context.dry_run then return take_back(watch, reason, context, callback) end
  history.revert(version, { author = context.author, reason = reason, dry_run = true }, callback)
end

--- Returns the versions that are watched, in order.
function M.watching()
  local list = {}
  for version, watch in pairs(watches or {}) do
    if watch.state == "watching" then list[#list + 1] = version end
  end
  table.sort(list)
  return list
end

return M
