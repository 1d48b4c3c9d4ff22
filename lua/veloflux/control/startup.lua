--- How control begins: with the first version of a fresh instance, or where its predecessor left off.
local candidates = require "veloflux.control.candidates"
local cluster = require "veloflux.cluster"
local conf = require "veloflux.conf"
local entities = require "veloflux.control.entities"
local ffi = require "ffi"
local flow = require "veloflux.control.flow"
local last_model = require "veloflux.last_model"
local link = require "veloflux.control.link"
local offload = require "veloflux.control.offload"
local plugin_log = require "veloflux.control.plugins.log"
local plugins = require "veloflux.control.plugins"
local queue = require "veloflux.control.queue"
local shared = require "veloflux.control.shared"
local slices = require "veloflux.slices"
local storage = require "veloflux.control.storage"
local worlds = require "veloflux.control.world"

ffi.cdef "uint64_t vf_clock_wall_ms(void);"

local M = {}

local MAX_TRIES = 10 -- of a start that other nodes are faster than
local MAX_AGAIN = 3 -- tries more, when a process cannot serve it for now

local context -- what C started us with
local first_draft -- of the conf file, as it was read to begin; nil once it is taken

local function now_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

local function fail_start(problems)
  for _, line in ipairs(candidates.format(problems)) do io.stderr:write(line, "\n") end
  link.give_up()
end

--- Reads the conf file. A broken plugin that nobody names does not keep the node from starting.
function M.read_conf()
  return conf.read { source = candidates.source(), is_forgiving = true, parse = offload.parse }
end

local function read_conf()
  local draft = first_draft or M.read_conf()
  first_draft = nil
  for _, faults in pairs(draft.plugins and draft.plugins.left_out or {}) do
    for _, fault in ipairs(faults) do plugin_log.left_out(fault) end
  end
  return draft
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
  local draft = read_conf() -- the other one has its problems noted
  return candidates.combine(draft, known, version)
end

--- Opens the store; what comes of it is done in slices, because there may be much.
local function open_store(node, callback)
  storage.open(node, function(message, loaded)
    slices.run(function() callback(message, loaded) end)
  end)
end

local start_fresh

--- Publishes at a start what a file and the store's entities are together.
-- @param start {draft, tools, done, tries}
-- @param is_stored true: the store has it under this version
local function start_with(start, set, version, is_stored)
  local draft, done = start.draft, start.done
  local made, problems = candidates.combine(draft, set, version, not is_stored)
  local behind
  if not made and is_stored then
    made = combine_last(start, version)
    behind = made and { set = set, version = version, why = conf.format(problems[1]) }
  end
  if draft.root then candidates.watch(draft.files) end
  if made then cluster.introduce(draft.node) end
  local ok = made
  if made then
    ok, problems = candidates.publish(made, "start", nil, function(result)
      if result.ok then
        if behind then queue.know(behind) end
        return done()
      end
      if result.code == "conflict" and start.tries < MAX_TRIES then return start_fresh(done, start.tries + 1) end
      candidates.rejected(result.problems)
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
  local draft = read_conf()
  local tools = worlds.tools(draft, worlds.sealing(draft.node) or {})
  local start = { draft = draft, tools = tools, done = done, tries = tries or 1 }
  if not draft.root or #draft.problems > 0 then return start_with(start, entities.new(), 1) end
  open_store(draft.node, function(message, loaded)
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
-- @return a draft, its version, the entities of the store, and true when those are not known; or nil and problems
local function recover(published)
  local draft = read_conf()
  local saved, version, stored = last_model.read(draft.node.data_dir, nil, draft.root and draft.node)
  if saved and version >= published then return says_the_same(draft, saved) and draft or saved, version, stored end
  if #draft.problems > 0 then return nil, draft.problems end
  return draft, published, saved and stored or {}, true
end

local function no_model(problems, done)
  for _, line in ipairs(candidates.format(problems)) do link.log("error", "control.no_model", line) end
  done() -- the next reload repairs this
end

--- What the store or the last model has and nobody has published yet, or what another binary has to compile anew.
-- @param is_stored true when the store needs no version of it
-- @param tries nil, or how often a process could not serve it for now
local function publish_again(made, is_stored, done, tries)
  local function try_again(is_passing)
    local is_last = not is_passing or tries == MAX_AGAIN
    if not is_last then publish_again(made, is_stored, done, (tries or 0) + 1) end
    return not is_last
  end
  local function ended(result)
    if try_again(result.is_passing) then return end
    if result.ok then
      link.log("info", "resume.done", "control goes on", made.world.version)
    else
      candidates.rejected(result.problems)
      if result.code == "conflict" then queue.follow() end -- another node's version is compiled anew as well
    end
    done()
  end
  local ok, problems, is_passing = candidates.publish(made, "upgrade", nil, ended, is_stored)
  if ok or try_again(is_passing) then return end
  candidates.rejected(problems)
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
    set, problems = entities.load(loaded.entities, made.world.tools, set)
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
  local draft, version, stored, is_unknown = recover(tonumber(context.published))
  if not draft then return no_model(version, done) end
  local set, problems = entities.load(stored, worlds.tools(draft, worlds.sealing(draft.node) or {}))
  local made
  if set then made, problems = candidates.combine(draft, set, version) end
  if not made then return no_model(problems, done) end
  candidates.watch(draft.files)
  cluster.introduce(draft.node)
  made.world.is_unknown = is_unknown
  queue.adopt(made.world, "not ready yet")
  if version <= tonumber(context.published) then
    flow.adopt(made.model, tonumber(context.published), context.mode ~= "recompile")
    plugins.adopt(made.control)
  end
  open_store(draft.node, function(message, loaded)
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

--- Begins.
-- @param started {mode = "fresh", "resume" or "recompile", published = the version that is published}
-- @param draft of M.read_conf
-- @param done function(): it has begun, or cannot
function M.begin(started, draft, done)
  context, first_draft = started, draft
  if started.mode == "fresh" then return start_fresh(done) end
  start_again(done)
end

return M
