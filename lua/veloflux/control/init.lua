--- The control process: loads the conf, compiles it, and brings it through the supervisor to all
-- processes. One transaction at a time; reloads that are asked for meanwhile run afterwards, as one.
--
--   idle -> offered -> (prepared) written -> committed -> (live) idle        any refusal -> idle
--
-- The admin server uses `current` and `reload`; everything else is called by src/control/control.c.
local ffi = require "ffi"
local conf = require "veloflux.conf"
local compiler = require "veloflux.compiler"
local tables = require "veloflux.compiler.tables"
local explain = require "veloflux.explain"
local last_model = require "veloflux.last_model"
local model_kinds = require "veloflux.model"
local files = require "veloflux.conf.files"
local plugin_schema = require "veloflux.plugin.schema"
local account_of = require("veloflux.conf.node_check").account

ffi.cdef [[
void vf_control_offer(uint64_t version, int fd);
void vf_control_commit(uint64_t version);
void vf_control_reloading(int is_reloading);
uint64_t vf_control_published(void);
void vf_control_set_config(int is_ok, const char *message);
int vf_control_drop(uint32_t uid, uint32_t gid);
int vf_control_watch(const char *path);
int close(int fd);
void vf_control_log(const char *level, const char *event, uint64_t version, const char *message);
]]
local C = ffi.C

local M = {}

local context -- what C started us with
local current -- {model, version}: what is published
local pending -- the transaction under way: {model, version, compiled, diff, event}
local callbacks = {} -- of the reload under way
local later -- callbacks of the reload after it; nil: none was asked for
local watched = {} -- set of paths
local tables_need_repair = false -- when what is published comes: the tables have come before it

local function log(level, event, message, version) C.vf_control_log(level, event, version or 0, message) end

local function source()
  if context.text then return { text = context.text, name = context.conf } end
  return { path = context.conf }
end

--- For a new binary before it takes over: is the conf good for it? Says why not on standard error.
-- @param path of the conf file, or what to call `text`
-- @param text the conf itself, or nil
function M.probe(path, text)
  context = { conf = path, text = text }
  local model, problems = conf.load { source = source() }
  if model then
    local compiled, problem = compiler.compile(model, {})
    if compiled then return true end
    problems = { problem }
  end
  for _, problem in ipairs(problems) do io.stderr:write(conf.format(problem), "\n") end
  return false
end

local function format(problems)
  local lines = {}
  for i, problem in ipairs(problems) do lines[i] = conf.format(problem) end
  return lines
end

local function state() return ffi.cast("struct vf_state *", context.state) end

local function watch_path(path)
  if watched[path] then return end
  watched[path] = true
  if C.vf_control_watch(path) ~= 0 then log("warn", "watch.failed", path) end
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

--- Tells who waits for the reload under way what became of it, and begins the next.
local function finish(result)
  local told = callbacks
  pending, callbacks = nil, {}
  C.vf_control_reloading(0)
  for _, callback in ipairs(told) do callback(result) end
  if later then
    callbacks, later = later, nil
    M.reload_now()
  end
end

local function reject(problems)
  local lines = format(problems)
  for _, line in ipairs(lines) do log("error", "reload.rejected", line) end
  local more = #lines > 1 and (" (and %d more)"):format(#lines - 1) or ""
  C.vf_control_set_config(0, lines[1] .. more)
  finish { ok = false, problems = problems, lines = lines, version = current and current.version }
end

--- What the plugin of a credential says of its type.
local function kind_of(credential) return getmetatable(credential).plugin.credential end

local function plain(credential) return plugin_schema.plain(kind_of(credential).record, credential) end

--- Prepares the tables for a model.
-- @param compiled the same, compiled: it knows the chains of the consumers
local function stage_tables(model, compiled)
  local chains = compiled.consumer_chains or {}
  local function chain_of(consumer) return chains[consumer] and tables.chain_key(chains[consumer].hash) end
  return tables.stage(model, { kind_of = kind_of, plain = plain, chain_of = chain_of })
end

--- Compiles `model` and offers it. Returns true, or nil and problems.
-- @param event logged when it is live, or nil
local function offer(model, version, event)
  local compiled, problem = compiler.compile(model, { version = version, state = state() })
  if not compiled then return nil, { problem } end
  local fd, message = compiler.memfd(compiled)
  if not fd then return nil, { { file = context.conf, path = "", message = message } } end
  local staged
  staged, message = stage_tables(model, compiled)
  if not staged then
    C.close(fd)
    return nil, { { file = context.conf, path = "consumers", message = message } }
  end
  pending = { model = model, version = version, compiled = compiled, tables = staged, event = event,
    diff = model_kinds.diff(current and current.model, model) }
  C.vf_control_offer(version, fd)
  return true
end

function M.reload_now()
  C.vf_control_reloading(1)
  local model, problems = conf.load { source = source() }
  if model then
    watch(model.files)
    local ok, refused = offer(model, tonumber(C.vf_control_published()) + 1, "reload.done")
    if ok then return end
    problems = refused
  end
  reject(problems)
end

--- Reads the conf again and publishes it.
-- @param callback called once with {ok = true, version, diff, summary, laggards}, or {ok = false,
-- problems, lines, version}; may be nil
function M.reload(callback)
  if pending then
    later = later or {}
    later[#later + 1] = callback
    return
  end
  callbacks[#callbacks + 1] = callback
  M.reload_now()
end

-- Events from the supervisor

local events = {}

function events.reload() M.reload() end

--- One of the watched files or folders has changed. What says the same as before is not published.
function events.changed()
  local model = conf.load { source = source() }
  if model and current and model_kinds.describe_diff(model_kinds.diff(current.model, model)) == "no changes" then
    return
  end
  log("info", "conf.changed", "reloading")
  M.reload()
end

local function drop_privileges(model)
  local account = account_of(model.node)
  local rc = account and C.vf_control_drop(account.uid, account.gid) or 0
  if rc ~= 0 then error(("cannot become user %s (error %d)"):format(model.node.user, -rc), 0) end
end

--- All processes have prepared the offer: write it down, the point of no return. The tables change just
-- before that: they reach each process ahead of the version that needs them.
function events.prepared(version)
  if not pending or pending.version ~= version then return end
  drop_privileges(pending.model)
  local ok, message = tables.publish(pending.tables)
  if not ok then
    reject { { file = context.conf, path = "consumers", message = message } }
    return
  end
  pending.tables = nil
  ok, message = last_model.save(pending.model, version)
  if not ok then log("error", "last_model.failed", message) end
  C.vf_control_commit(version)
end

function events.refused(version, why)
  if not pending or pending.version ~= version then return end
  reject { { file = context.conf, path = "", message = why } }
end

--- A predecessor that was killed may have changed a table and not come to say the rest.
local function repair_tables()
  tables_need_repair = false
  local compiled, problem = compiler.compile(current.model, { version = current.version })
  if not compiled then return log("error", "tables.failed", conf.format(problem)) end
  local staged, message = stage_tables(current.model, compiled)
  local ok = staged
  if staged then ok, message = tables.publish(staged) end
  if not ok then log("error", "tables.failed", message) end
end

function events.published(version)
  if pending and pending.version == version then
    current = { model = pending.model, version = version }
  elseif tables_need_repair and current then
    repair_tables()
  end
end

function events.live(laggards)
  if not pending then return end
  local done = pending
  current = { model = done.model, version = done.version }
  compiler.sweep(done.compiled, state())
  local summary = model_kinds.describe_diff(done.diff)
  C.vf_control_set_config(1, "")
  if done.event then log("info", done.event, summary, done.version) end
  local warnings = explain.warnings(done.model, done.compiled)
  for _, warning in ipairs(warnings) do log("warn", "conf.warning", warning, done.version) end
  finish { ok = true, version = done.version, diff = done.diff, summary = summary, warnings = warnings,
    laggards = laggards }
end

function M.on_event(name, number, text)
  events[name](number, text)
end

--- Returns what is published: {model, version}, or nil before the first publication.
function M.current() return current end

-- Start

local function print_problems(problems)
  for _, line in ipairs(format(problems)) do io.stderr:write(line, "\n") end
end

--- The first version of a house is the one after the last that its data directory remembers.
local function start_fresh()
  local model, problems = conf.load { source = source() }
  if model then
    watch(model.files)
    local version = last_model.version(model.node.data_dir)
    local ok
    ok, problems = offer(model, (tonumber(version) or 0) + 1)
    if ok then return true end
  end
  print_problems(problems)
  return false
end

--- Finds the model that a predecessor published, or was about to: what it wrote down, else the conf
-- file if that is good.
-- @return model and version, or nil and problems
local function recover(published)
  local model, problems = conf.load { source = source(), lenient = true }
  local saved, version = last_model.load(model.node.data_dir)
  if saved and version >= published then return saved, version end
  if #problems > 0 then return nil, problems end
  return model, published
end

--- After a predecessor: what runs goes on. What it had written down but not published is published.
local function start_again()
  local published = tonumber(context.published)
  local model, version = recover(published)
  if not model then
    for _, line in ipairs(format(version)) do log("error", "control.no_model", line) end
    return true -- the next reload repairs this
  end
  watch(model.files)
  local is_ahead = version > published
  if not is_ahead then current = { model = model, version = published } end
  tables_need_repair = not is_ahead and context.mode ~= "recompile"
  if is_ahead or context.mode == "recompile" then
    local ok, refused = offer(model, is_ahead and version or published + 1, "resume.done")
    if not ok then reject(refused) end
  end
  return true
end

--- Called by C once. `started`: {mode, conf, text, watch, state, published}.
-- @return true to go on; false ends the process with exit code 1
function M.start(started)
  context = started
  if started.mode == "fresh" then return start_fresh() end
  return start_again()
end

return M
