--- From the conf file and the store's entities to what is offered to the processes.
local conf = require "veloflux.conf"
local entities = require "veloflux.control.entities"
local ffi = require "ffi"
local files = require "veloflux.conf.files"
local flow = require "veloflux.control.flow"
local link = require "veloflux.control.link"
local model_kinds = require "veloflux.model"
local outcome = require "veloflux.control.outcome"
local plugins = require "veloflux.control.plugins"
local queue = require "veloflux.control.queue"
local worlds = require "veloflux.control.world"

ffi.cdef "uint64_t vf_clock_wall_ms(void);"

local M = {}

local context -- what C started us with
local watched = {} -- set of paths

local function now_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

--- Begins.
-- @param started {conf = path or name of the conf, text = the conf itself or nil, watch = boolean}
function M.open(started) context = started end

--- Returns the conf as conf.read takes it.
function M.source()
  if context.text then return { text = context.text, name = context.conf } end
  return { path = context.conf }
end

--- Returns problems as lines.
function M.format(problems)
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
function M.watch(names)
  if not context.watch or context.text then return end
  for i, name in ipairs(names) do
    watch_path(name)
    if i > 1 then watch_path(files.folder_of(name)) end
  end
end

--- Says in log and state area that a conf was refused. Returns the result of a reload that was.
function M.rejected(problems)
  local lines = M.format(problems)
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
-- @return {world, model, control, net, source}, or nil and problems
function M.combine(draft, set, version, may_seed)
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
function M.publish(made, reason, diff, callback, is_stored)
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

return M
