--- The control process: puts the conf file and the store's entities together (candidates.lua), and brings what they
-- make through the supervisor to all processes. Every change goes through control/queue.lua; what is here is where it
-- begins: start (startup.lua), reload, and the supervisor's events.
--
-- The admin server uses `current` and `reload`; everything else is called by src/control/control.c.
local ffi = require "ffi"
local alarms = require "veloflux.control.alarms"
local candidates = require "veloflux.control.candidates"
local cluster = require "veloflux.cluster"
local compiler = require "veloflux.compiler"
local conf = require "veloflux.conf"
local entities = require "veloflux.control.entities"
local explain = require "veloflux.explain"
local flow = require "veloflux.control.flow"
local keys = require "veloflux.keys"
local last_model = require "veloflux.last_model"
local history = require "veloflux.control.history"
local housekeeping = require "veloflux.control.housekeeping"
local link = require "veloflux.control.link"
local lint_live = require "veloflux.control.lint_live"
local memory = require "veloflux.control.memory"
local model_kinds = require "veloflux.model"
local offload = require "veloflux.control.offload"
local probation = require "veloflux.control.probation"
local plugins = require "veloflux.control.plugins"
local shared = require "veloflux.control.shared"
local startup = require "veloflux.control.startup"
local storage = require "veloflux.control.storage"
local queue = require "veloflux.control.queue"
local slices = require "veloflux.slices"
local worlds = require "veloflux.control.world"

ffi.cdef "uint64_t vf_clock_wall_ms(void);"

local M = {}

local MAX_TRIES = 10 -- of a reload that other nodes are faster than
local MAX_AGAIN = 3 -- tries more, when a process cannot serve it for now

local context -- what C started us with
local waiting -- callbacks of the reload that has not begun; nil: none was asked for

local function now_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

--- For a new binary before it takes over: is the conf good for it? Says why not on standard error. The store is the
-- running instance's; its entities are what that has written down.
-- @param path of the conf file, or what to call `text`
-- @param text the conf itself, or nil
function M.probe(path, text)
  candidates.open { conf = path, text = text }
  local draft = conf.read { source = candidates.source() }
  local more, found = M.last_entities(draft)
  local model, problems = conf.complete(draft, more)
  problems = found or problems
  if model and not found then
    local compiled, problem = compiler.compile(model, {})
    if compiled then return true end
    problems = { problem }
  end
  for _, problem in ipairs(problems) do io.stderr:write(conf.format(problem), "\n") end
  return false
end

--- Returns the records of the store's entities as the last model has them; nil and problems when they cannot be read.
function M.last_entities(draft)
  local saved, _, stored = last_model.read(draft.node.data_dir, nil, draft.root and draft.node)
  if not saved or not draft.root then return draft.root and conf.seed_of(draft) or nil end
  local sealing = worlds.sealing(draft.node)
  local set, problems = entities.load(stored, worlds.tools(draft, sealing or {}))
  if not set then return nil, problems end
  if worlds.wants_seed(draft, set) then return conf.seed_of(draft) end
  return entities.records(set, draft.plugins)
end

-- Reloads -------------------------------------------------------------------------------------------

--- Reads the conf file as it stands now. It may yield.
function M.read_conf() return conf.read { source = candidates.source(), parse = offload.parse } end

--- Publishes what the conf file and the entities of the store are together.
-- @param draft of the conf file; nil: it is read again
local function begin_reload(set, callback, draft, tries)
  draft = draft or M.read_conf()
  local version = queue.next_version()
  local made, problems = candidates.combine(draft, set, version, true)
  if draft.root then candidates.watch(draft.files) end
  if not made then return callback(candidates.rejected(problems)) end
  local current = flow.current()
  local diff = model_kinds.diff(current and current.model, made.model)
  local function refuse(refused, is_passing)
    if is_passing and (tries or 1) <= MAX_AGAIN then return begin_reload(set, callback, nil, (tries or 1) + 1) end
    local outcome = candidates.rejected(refused)
    outcome.is_passing = is_passing
    callback(outcome)
  end
  local ok, refused, is_passing = candidates.publish(made, "reload", diff, function(result)
    if result.code == "conflict" and queue.world() and (tries or 1) < MAX_TRIES then
      return queue.fetch_in_turn(tries or 1, function()
        begin_reload(queue.base().set, callback, nil, (tries or 1) + 1)
      end)
    end
    if not result.ok then return refuse(result.problems, result.is_passing) end
    local summary = model_kinds.describe_diff(diff)
    link.log("info", "reload.done", summary, version)
    callback { ok = true, version = version, diff = diff, summary = summary, warnings = result.warnings,
      findings = result.findings, laggards = result.laggards }
  end)
  if not ok then refuse(refused, is_passing) end
end

--- Tries again to reach a store that was out of reach.
-- @param callback function(set): nil when it still is; then `M.unavailable` says why
local function with_store(node, callback)
  if not queue.unavailable() then return callback(queue.world() and queue.base().set) end
  storage.open(node, function(message, loaded)
    if message then
      queue.adopt(queue.world(), message)
      return callback(nil, message)
    end
    M.join(node, loaded, callback)
  end)
end

--- Takes what a store has, after it was out of reach.
function M.join(node, loaded, callback)
  local world, sealing = queue.world(), worlds.sealing(node)
  local draft = world and world.draft or conf.read { source = candidates.source() }
  local set, problems = entities.load(loaded.entities, worlds.tools(draft, sealing or {}))
  local why = not set and conf.format(problems[1]) or nil
  if world and storage.is_shared() then
    return shared.join({ set = set, version = loaded.version, why = why }, callback)
  end
  if not set then return callback(nil, why) end
  local last = loaded.version > 0 and link.published() or 0
  storage.catch_up(loaded.version, last, now_ms(), function(message)
    queue.set_stored(math.max(loaded.version, last))
    queue.adopt(world and worlds.with(world, set, world.version), message)
    callback(not message and set or nil, message)
  end)
end

--- Reads the keys anew, as the conf file says now where they are.
-- @param draft of conf.read
-- @param callback function(message): what is wrong with them; it may pause
local function with_keys(draft, callback)
  local node = draft.root and draft.node or keys.remembered(draft.node.data_dir)
  keys.refresh(node, alarms, function(message)
    slices.run(function() callback(message) end)
  end)
end

local function reload_now(done)
  local callbacks = waiting
  waiting = nil
  link.reloading(true)
  local function finish(result)
    link.reloading(false)
    for _, callback in ipairs(callbacks) do
      local ok, message = xpcall(callback, debug.traceback, result)
      if not ok then link.log("error", "control.fault", tostring(message)) end
    end
    done()
  end
  local draft = M.read_conf()
  local node, is_good = draft.node, draft.root ~= nil and #draft.problems == 0
  local function go_on(set, message)
    local ok, fault
    if set then ok, fault = xpcall(begin_reload, debug.traceback, set, finish, draft) end
    if ok then return end
    if fault then
      link.log("error", "control.fault", tostring(fault))
      message = "a fault in control: its log has it"
      return finish(candidates.rejected { { file = context.conf, path = "", message = message } })
    end
    finish(candidates.rejected { { file = context.conf, path = "store", message = "the store is not available: "
      .. (message or "not ready yet") } })
  end
  local function reject(path, message)
    finish(candidates.rejected { { file = context.conf, path = path, message = message } })
  end
  with_keys(draft, function(problem)
    if problem then return reject("master_key", problem) end
    local world, adjusted, refusal = queue.world(), "same", nil
    local is_moved = world and world.draft.node.data_dir ~= node.data_dir -- which the supervisor refuses
    if is_good and not is_moved then adjusted, refusal = storage.adjust(node) end
    if not adjusted then return reject("store", refusal) end
    if adjusted == "opened" then queue.adopt(world, "opened again") end
    with_store(not is_good and world and world.draft.node or node, go_on)
  end)
end

--- Reads the conf again and publishes it.
-- @param callback called once with {ok = true, version, diff, summary, warnings, laggards}, or {ok = false,
-- problems, lines, version}; may be nil
function M.reload(callback)
  if waiting then
    waiting[#waiting + 1] = callback
    return
  end
  waiting = { callback }
  queue.enqueue(reload_now)
end

--- Reads the conf and says what a reload would change.
local function dry_reload_now(callback)
  local draft = M.read_conf()
  local current = flow.current()
  local version = current and current.version
  local function refused(problems)
    callback { ok = false, problems = problems, lines = candidates.format(problems), version = version }
  end
  local world = queue.world()
  if not world then return refused { { file = context.conf, path = "", message = "nothing is published yet" } } end
  local made, problems = candidates.combine(draft, queue.base().set, queue.next_version(), true)
  if not made then return refused(problems) end
  local compiled, problem = compiler.compile(made.model, {})
  if not compiled then return refused { problem } end
  local diff = model_kinds.diff(current and current.model, made.model)
  local warnings, findings = explain.warnings(made.model, compiled, lint_live.of(made.model))
  compiler.give_back(compiled)
  callback { ok = true, version = version, diff = diff, summary = model_kinds.describe_diff(diff),
    warnings = warnings, findings = findings }
end

--- Says what a reload would change, and changes nothing.
-- @param callback called once like that of `reload`
function M.dry_reload(callback)
  queue.enqueue(function(done)
    local ok, fault = xpcall(dry_reload_now, debug.traceback, callback)
    done()
    if ok then return end
    link.log("error", "control.fault", tostring(fault))
    callback { ok = false, problems = {}, lines = { "a fault in control: its log has it" } }
  end)
end

-- Events from the supervisor ------------------------------------------------------------------------

local events = {}

function events.reload() M.reload() end

--- Says whether the conf file, as it stands now, makes what is published.
local function is_published()
  local world, current = queue.world(), flow.current()
  if not world or not current then return false end
  local made = candidates.combine(M.read_conf(), queue.base().set, world.version)
  return made and model_kinds.describe_diff(model_kinds.diff(current.model, made.model)) == "no changes"
    and plugins.is_same_code(current.model, made.model)
end

local is_to_look = false -- at the files, in the queue

local function look_at_files(done)
  is_to_look = false
  local ok, published = xpcall(is_published, debug.traceback)
  if not ok then
    link.log("error", "control.fault", tostring(published))
  elseif not published then
    link.log("info", "conf.changed", "reloading")
    M.reload()
  end
  done()
end

--- One of the watched files or folders has changed. What says the same as before is not published, nor what a reload
-- under way has read already: that ends first.
function events.changed()
  if is_to_look then return end
  is_to_look = true
  queue.enqueue(look_at_files)
end

function events.prepared(version) flow.prepared(version) end

function events.refused(version, why) flow.refused(version, why) end

function events.unable(version, why) flow.refused(version, why, true) end

function events.published(version) flow.published(version) end

function events.live(laggards) flow.live(laggards) end

--- The supervisor wants this process to end.
function events.ending() cluster.stop() end

function M.on_event(name, number, text)
  events[name](number, text)
end

--- Returns what is published: {model, version}, or nil before the first publication.
function M.current() return flow.current() end

--- Called by C once. `started`: {mode, conf, text, watch, state, published}.
-- @return true to go on; false ends the process with exit code 1
function M.start(started)
  context = started
  candidates.open(started)
  cluster.open()
  flow.open { link = link, state = started.state, store = storage.current }
  queue.open { link = link, now_ms = now_ms, retry = with_store, source = candidates.source, store = storage.current,
    restore = shared.restore, on_change = cluster.update }
  storage.watch(function()
    if not cluster.is_draining() then queue.follow() end -- the supervisor takes nothing any more
  end)
  housekeeping.open { now_ms = now_ms }
  probation.open { link = link, now_ms = now_ms, store = storage.current, history = history,
    node = function() return cluster.is_enabled() and cluster.id() or nil end }
  memory.open()
  queue.enqueue(function(done)
    local has_grown = memory.large()
    local draft = startup.read_conf()
    with_keys(draft, function() -- what is wrong with them is said when they are needed
      startup.begin(started, draft, function()
        has_grown()
        done()
      end)
    end)
  end)
  return true
end

return M
