--- The control process: puts the conf file and the store's entities together, and brings what they make through
-- the supervisor to all processes. Every change goes through control/queue.lua; what is here is where it
-- begins: start, reload, and the supervisor's events.
--
-- The admin server uses `current` and `reload`; everything else is called by src/control/control.c.
local ffi = require "ffi"
local alarms = require "veloflux.control.alarms"
local cluster = require "veloflux.cluster"
local compiler = require "veloflux.compiler"
local conf = require "veloflux.conf"
local entities = require "veloflux.control.entities"
local explain = require "veloflux.explain"
local files = require "veloflux.conf.files"
local flow = require "veloflux.control.flow"
local keys = require "veloflux.keys"
local last_model = require "veloflux.last_model"
local history = require "veloflux.control.history"
local housekeeping = require "veloflux.control.housekeeping"
local link = require "veloflux.control.link"
local lint_live = require "veloflux.control.lint_live"
local model_kinds = require "veloflux.model"
local outcome = require "veloflux.control.outcome"
local probation = require "veloflux.control.probation"
local plugins = require "veloflux.control.plugins"
local shared = require "veloflux.control.shared"
local storage = require "veloflux.control.storage"
local queue = require "veloflux.control.queue"
local worlds = require "veloflux.control.world"

ffi.cdef "uint64_t vf_clock_wall_ms(void);"

local M = {}

local MAX_TRIES = 10 -- of a start or a reload that other nodes are faster than

local context -- what C started us with
local waiting -- callbacks of the reload that has not begun; nil: none was asked for
local watched = {} -- set of paths

local function now_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

local function source()
  if context.text then return { text = context.text, name = context.conf } end
  return { path = context.conf }
end

--- For a new binary before it takes over: is the conf good for it? Says why not on standard error. The store is the
-- running instance's; its entities are what that has written down.
-- @param path of the conf file, or what to call `text`
-- @param text the conf itself, or nil
function M.probe(path, text)
  context = { conf = path, text = text }
  local draft = conf.read { source = source() }
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

local function format(problems)
  local lines = {}
  for i, problem in ipairs(problems) do lines[i] = conf.format(problem) end
  return lines
end

local function watch_path(path)
  if watched[path] then return end
  watched[path] = true
  if not link.watch(path) then link.log("warn", "watch.failed", path) end
end

--- With --watch: the files of the conf, and the folders of those that an `include` found, where
-- another may appear.
local function watch(names)
  if not context.watch or context.text then return end
  for i, name in ipairs(names) do
    watch_path(name)
    if i > 1 then watch_path(files.folder_of(name)) end
  end
end

-- Reloads -------------------------------------------------------------------------------------------

local function rejected(problems)
  local lines = format(problems)
  for _, line in ipairs(lines) do link.log("error", "reload.rejected", line) end
  local more = #lines > 1 and (" (and %d more)"):format(#lines - 1) or ""
  link.set_config(false, lines[1] .. more)
  local current = flow.current()
  return { ok = false, problems = problems, lines = lines, version = current and current.version }
end

--- What a file becomes together with the store's entities.
-- @param draft of conf.read
-- @param set of the store's entities as they were read last
-- @param may_seed true: a store that was never seeded is, with `entities: seed`
-- @return {world, model, net, source}, or nil and problems
local function combine(draft, set, version, may_seed)
  if not draft.root or #draft.problems > 0 then
    local _, problems = conf.complete(draft, entities.records(set, draft.plugins))
    return nil, problems
  end
  local sealing, message = worlds.sealing(draft.node)
  if not sealing then return nil, { { file = context.conf, path = "master_key", message = message } } end
  local tools, edits, problems, model = worlds.tools(draft, sealing), {}
  set, problems = entities.with_plugins(set, tools)
  if not set then return nil, problems end
  local is_seed = may_seed and worlds.wants_seed(draft, set)
  if is_seed then
    local base = { tools = tools, seal = sealing.seal, version = version, now_ms = now_ms(), set = set }
    edits, problems = worlds.seed_edits(draft, base)
    if #problems > 0 then return nil, problems end
    set = entities.with(set, edits)
  end
  model, problems = conf.complete(draft, entities.records(set, draft.plugins))
  if not model then return nil, problems end
  worlds.warn_of_orphans(model, set, draft.plugins)
  if draft.node.entities == "seed" and not worlds.is_as_sown(draft, set) then
    table.insert(model.warnings, { file = context.conf, path = "entities", message = "seed: the API owns the entities "
      .. "since this file filled the store; what it says of them now has no effect" })
  end
  local control
  control, problems = plugins.prepare(draft.plugins)
  if not control then return nil, problems end
  local world = worlds.new(draft, set, version, sealing, queue.world())
  return { world = world, model = model, control = control, net = outcome.net(edits),
    source = is_seed and "seed" or "file" }
end

--- Publishes what `combine` made.
-- @param reason of the version
-- @param callback function(result of flow.offer)
-- @param is_stored true: the store has it already
local function publish(made, reason, diff, callback, is_stored)
  local version = made.world.version
  local summary = diff and model_kinds.describe_diff(diff) or outcome.summary(made.net)
  local change = outcome.store_change(made.net, { source = made.source, reason = reason, summary = summary }, version,
    now_ms())
  local stores = not queue.unavailable() and not is_stored
  return flow.offer { model = made.model, version = version, draft = made.world.draft, set = made.world.set,
    changes = stores and { change } or {},
    on_published = function() plugins.adopt(made.control) end,
    on_end = function(result)
      if result.ok then
        queue.adopt(made.world, queue.unavailable())
        if stores then queue.set_stored(version) end
      end
      callback(result)
    end }
end

local function begin_reload(set, callback, tries)
  local draft = conf.read { source = source() }
  local version = queue.next_version()
  local made, problems = combine(draft, set, version, true)
  if draft.root then watch(draft.files) end
  if not made then return callback(rejected(problems)) end
  local current = flow.current()
  local diff = model_kinds.diff(current and current.model, made.model)
  local ok, refused = publish(made, "reload", diff, function(result)
    if result.code == "conflict" and queue.world() and (tries or 1) < MAX_TRIES then
      return queue.fetch(function() begin_reload(queue.base().set, callback, (tries or 1) + 1) end)
    end
    if not result.ok then return callback(rejected(result.problems)) end
    local summary = model_kinds.describe_diff(diff)
    link.log("info", "reload.done", summary, version)
    callback { ok = true, version = version, diff = diff, summary = summary, warnings = result.warnings,
      findings = result.findings, laggards = result.laggards }
  end)
  if not ok then callback(rejected(refused)) end
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
  local draft = world and world.draft or conf.read { source = source() }
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
-- @param callback function(message, node, is_good): whether the file can be read
local function with_keys(callback)
  local draft = conf.read { source = source() }
  local node = draft.root and draft.node or keys.remembered(draft.node.data_dir)
  keys.refresh(node, alarms, function(message)
    callback(message, draft.node, draft.root ~= nil and #draft.problems == 0)
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
  local function go_on(set, message)
    local ok, fault
    if set then ok, fault = xpcall(begin_reload, debug.traceback, set, finish) end
    if ok then return end
    if fault then
      link.log("error", "control.fault", tostring(fault))
      message = "a fault in control: its log has it"
      return finish(rejected { { file = context.conf, path = "", message = message } })
    end
    finish(rejected { { file = context.conf, path = "store", message = "the store is not available: "
      .. (message or "not ready yet") } })
  end
  local function reject(path, message) finish(rejected { { file = context.conf, path = path, message = message } }) end
  with_keys(function(problem, node, is_good)
    if problem then return reject("master_key", problem) end
    local adjusted, refusal = "same", nil
    if is_good then adjusted, refusal = storage.adjust(node) end
    if not adjusted then return reject("store", refusal) end
    local world = queue.world()
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
  local draft = conf.read { source = source() }
  local current = flow.current()
  local version = current and current.version
  local function refused(problems)
    callback { ok = false, problems = problems, lines = format(problems), version = version }
  end
  local world = queue.world()
  if not world then return refused { { file = context.conf, path = "", message = "nothing is published yet" } } end
  local made, problems = combine(draft, queue.base().set, queue.next_version(), true)
  if not made then return refused(problems) end
  local compiled, problem = compiler.compile(made.model, {})
  if not compiled then return refused { problem } end
  local diff = model_kinds.diff(current and current.model, made.model)
  local warnings, findings = explain.warnings(made.model, compiled, lint_live.of(made.model))
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

--- One of the watched files or folders has changed. What says the same as before is not published.
function events.changed()
  local world, current = queue.world(), flow.current()
  if world and current then
    local made = combine(conf.read { source = source() }, queue.base().set, world.version)
    if made and model_kinds.describe_diff(model_kinds.diff(current.model, made.model)) == "no changes"
      and plugins.is_same_code(current.model, made.model) then
      return
    end
  end
  link.log("info", "conf.changed", "reloading")
  M.reload()
end

function events.prepared(version) flow.prepared(version) end

function events.refused(version, why) flow.refused(version, why) end

function events.published(version) flow.published(version) end

function events.live(laggards) flow.live(laggards) end

--- The supervisor wants this process to end.
function events.ending() cluster.stop() end

function M.on_event(name, number, text)
  events[name](number, text)
end

--- Returns what is published: {model, version}, or nil before the first publication.
function M.current() return flow.current() end

-- Start ---------------------------------------------------------------------------------------------

local function fail_start(problems)
  for _, line in ipairs(format(problems)) do io.stderr:write(line, "\n") end
  link.give_up()
end

--- What is known of the store's entities without the store: those of the last model.
local function entities_of_last(draft, tools)
  local saved, version, stored = last_model.read(draft.node.data_dir, nil, draft.root and draft.node)
  local set = saved and entities.load(stored, tools)
  return set or entities.new(), saved and version or nil
end

--- What other nodes have stored is not good together with this node's file: it goes on with what it served last.
-- @return the same as `combine`
local function combine_last(start, newest)
  local known, version = entities_of_last(start.draft, start.tools)
  if not version or version >= newest then return nil end
  return combine(conf.read { source = source() }, known, version) -- the other draft has its problems noted
end

local start_fresh

--- Publishes at a start what a file and the store's entities are together.
-- @param start {draft, tools, done, tries}
-- @param is_stored true: the store has it under this version
local function start_with(start, set, version, is_stored)
  local draft, done = start.draft, start.done
  local made, problems = combine(draft, set, version, not is_stored)
  local behind
  if not made and is_stored then
    made = combine_last(start, version)
    behind = made and { set = set, version = version, why = conf.format(problems[1]) }
  end
  if draft.root then watch(draft.files) end
  local ok = made
  if made then
    ok, problems = publish(made, "start", nil, function(result)
      if result.ok then
        if behind then queue.know(behind) end
        return done()
      end
      if result.code == "conflict" and start.tries < MAX_TRIES then return start_fresh(done, start.tries + 1) end
      rejected(result.problems)
      if result.code == "invalid" then return done() end -- the supervisor knows what that means at a start
      queue.adopt(nil, conf.format(result.problems[1]))
      start_with(start, set, version)
    end, is_stored)
  end
  if not ok then fail_start(problems) end
end

--- The first version of a house is the one after the last that its store, or else its data directory, remembers.
-- Without its store it serves what it served last, under the same version. What several nodes share is served under
-- the version that it has there.
function start_fresh(done, tries)
  local draft = conf.read { source = source() }
  local tools = worlds.tools(draft, worlds.sealing(draft.node) or {})
  local start = { draft = draft, tools = tools, done = done, tries = tries or 1 }
  if not draft.root or #draft.problems > 0 then return start_with(start, entities.new(), 1) end
  storage.open(draft.node, function(message, loaded)
    local set, problems = entities.new(), nil
    if loaded then set, problems = entities.load(loaded.entities, tools) end
    if problems and not set then message = conf.format(problems[1]) end
    queue.adopt(nil, message)
    if message then
      link.log("error", "store.unavailable", message)
      local known, version = entities_of_last(draft, tools)
      return start_with(start, known, version or 1)
    end
    queue.set_stored(loaded.version)
    if storage.is_shared() and loaded.version > 0 and not worlds.wants_seed(draft, set) then
      return start_with(start, set, loaded.version, true)
    end
    local last = loaded.version > 0 and loaded.version or last_model.version(draft.node.data_dir) or 0
    start_with(start, set, last + 1)
  end)
end

--- True when the conf file says what the draft of the last model says: then it is taken, for its lines.
local function says_the_same(draft, saved)
  if not draft.root or #draft.problems > 0 then return false end
  local function plain(of)
    local seed = conf.seed_of(of)
    seed.node = of.node
    return seed
  end
  return last_model.encode(plain(draft)) == last_model.encode(plain(saved))
end

--- Finds what a predecessor published, or was about to: what it wrote down, else the conf file if that is good.
-- @return a draft, its version and the entities of the store; or nil and problems
local function recover(published)
  local draft = conf.read { source = source() }
  local saved, version, stored = last_model.read(draft.node.data_dir, nil, draft.root and draft.node)
  if saved and version >= published then return says_the_same(draft, saved) and draft or saved, version, stored end
  if #draft.problems > 0 then return nil, draft.problems end
  return draft, published, {}
end

local function no_model(problems, done)
  for _, line in ipairs(format(problems)) do link.log("error", "control.no_model", line) end
  done() -- the next reload repairs this
end

--- What the store or the last model has and nobody has published yet, or what another binary has to compile anew.
-- @param is_stored true when the store needs no version of it
local function publish_again(made, is_stored, done)
  local function ended(result)
    if result.ok then
      link.log("info", "resume.done", "control goes on", made.world.version)
    else
      rejected(result.problems)
      if result.code == "conflict" then queue.follow() end -- another node's version is compiled anew as well
    end
    done()
  end
  local ok, problems = publish(made, "upgrade", nil, ended, is_stored)
  if ok then return end
  rejected(problems)
  done()
end

--- Goes on once the store has said what it has.
-- @param made what the last model, or the conf file, has become
-- @param version of that
local function settle(made, version, loaded, done)
  local published, recompiles = tonumber(context.published), context.mode == "recompile"
  local ahead = math.max(version, loaded and loaded.version or 0)
  local draft, set, problems = made.world.draft, made.world.set
  if loaded and loaded.version > 0 then
    set, problems = entities.load(loaded.entities, made.world.tools)
    if not set then return no_model(problems, done) end
    made.model, problems = conf.recombine(draft, entities.records(set, draft.plugins))
    if not made.model then return no_model(problems, done) end
  end
  local is_ahead = ahead > published
  local next_version = recompiles and not is_ahead and published + 1 or ahead
  made.world = worlds.with(made.world, set, next_version)
  if is_ahead or recompiles then return publish_again(made, is_ahead, done) end
  flow.adopt(made.model, published)
  queue.adopt(made.world, queue.unavailable())
  done()
end

--- After a predecessor: what runs goes on at once, as it was written down. What was stored or written down but not
-- published is published when the store has been read.
local function start_again(done)
  local draft, version, stored = recover(tonumber(context.published))
  if not draft then return no_model(version, done) end
  local set, problems = entities.load(stored, worlds.tools(draft, worlds.sealing(draft.node) or {}))
  local made
  if set then made, problems = combine(draft, set, version) end
  if not made then return no_model(problems, done) end
  watch(draft.files)
  queue.adopt(made.world, "not ready yet")
  if version <= tonumber(context.published) then
    flow.adopt(made.model, tonumber(context.published), context.mode ~= "recompile")
    plugins.adopt(made.control)
  end
  storage.open(draft.node, function(message, loaded)
    if message then
      link.log("error", "store.unavailable", message)
      queue.adopt(made.world, message)
      return settle(made, version, nil, done)
    end
    if storage.is_shared() then return shared.settle(made, version, loaded, context, publish_again, done) end
    local ahead = loaded.version > 0 and math.max(version, loaded.version) or 0
    storage.catch_up(loaded.version, ahead, now_ms(), function(failure)
      queue.set_stored(failure and loaded.version or ahead)
      queue.adopt(made.world, failure)
      settle(made, version, loaded, done)
    end)
  end)
end

--- Called by C once. `started`: {mode, conf, text, watch, state, published}.
-- @return true to go on; false ends the process with exit code 1
function M.start(started)
  context = started
  cluster.open()
  flow.open { link = link, state = started.state, store = storage.current }
  queue.open { link = link, now_ms = now_ms, retry = with_store, source = source, store = storage.current,
    restore = shared.restore, on_change = cluster.update }
  storage.watch(function()
    if not cluster.is_draining() then queue.follow() end -- the supervisor takes nothing any more
  end)
  housekeeping.open { now_ms = now_ms }
  probation.open { link = link, now_ms = now_ms, store = storage.current, history = history,
    node = function() return cluster.is_enabled() and cluster.id() or nil end }
  local begin = started.mode == "fresh" and start_fresh or start_again
  queue.enqueue(function(done)
    with_keys(function() begin(done) end) -- what is wrong with them is said when they are needed
  end)
  return true
end

return M
