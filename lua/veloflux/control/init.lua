--- The control process: loads the conf, compiles it, and brings it through the supervisor to all
-- processes. One transaction at a time; a reload that comes meanwhile runs afterwards, once.
--
--   idle -> offered -> (prepared) written -> committed -> (live) idle        any refusal -> idle
local ffi = require "ffi"
local conf = require "veloflux.conf"
local compiler = require "veloflux.compiler"
local last_model = require "veloflux.last_model"
local model_kinds = require "veloflux.model"

ffi.cdef [[
void vf_control_offer(uint64_t version, int fd);
void vf_control_commit(uint64_t version);
void vf_control_reloading(int is_reloading);
void vf_control_set_config(int is_ok, const char *message);
int vf_control_drop(const char *data_dir, uint32_t uid, uint32_t gid);
int vf_control_watch(const char *path);
void vf_control_log(const char *level, const char *event, const char *message);
int vf_host_user(const char *name, uint32_t *uid, uint32_t *gid);
]]
local C = ffi.C

local M = {}

local context -- what C started us with
local current -- {model, version}: what is published
local pending -- the transaction under way: {model, version, compiled, diff}
local again = false -- another reload was asked for meanwhile
local waiting = {} -- callbacks of the reload under way
local waiting_next = {} -- of the one after it

local function log(level, event, message) C.vf_control_log(level, event, message) end

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

--- Tells who waits for the reload under way what became of it.
local function answer(result)
  local callbacks = waiting
  waiting = {}
  for _, callback in ipairs(callbacks) do callback(result) end
end

local function finish(result)
  pending = nil
  C.vf_control_reloading(0)
  answer(result)
  if again then
    again = false
    waiting, waiting_next = waiting_next, {}
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

--- Compiles `model` and offers it. Returns true, or nil and problems.
local function offer(model, version)
  local state = ffi.cast("struct vf_state *", context.state)
  local compiled, problem = compiler.compile(model, { version = version, state = state })
  if not compiled then return nil, { problem } end
  local fd, message = compiler.memfd(compiled)
  if not fd then return nil, { { file = context.conf, path = "", message = message } } end
  pending = { model = model, version = version, compiled = compiled,
    diff = model_kinds.diff(current and current.model, model) }
  C.vf_control_offer(version, fd)
  return true
end

function M.reload_now()
  C.vf_control_reloading(1)
  local model, problems = conf.load { source = source() }
  if model then
    local ok, refused = offer(model, current.version + 1)
    if ok then return end
    problems = refused
  end
  reject(problems)
end

--- Reads the conf again and publishes it.
-- @param callback called once with {ok, version, diff, summary, laggards} or {ok = false, problems,
-- lines, version}; may be nil
function M.reload(callback)
  if pending then
    again = true
    waiting_next[#waiting_next + 1] = callback
    return
  end
  waiting[#waiting + 1] = callback
  M.reload_now()
end

-- Events from the supervisor

local events = {}

function events.reload() M.reload() end

function events.changed()
  log("info", "conf.changed", "the conf file changed")
  M.reload()
end

local function drop_privileges(model)
  local user = model.node.user
  if not user or user == "" then return end
  local uid, gid = ffi.new "uint32_t[1]", ffi.new "uint32_t[1]"
  local rc = C.vf_host_user(user, uid, gid)
  if rc == 0 then rc = C.vf_control_drop(model.node.data_dir, uid[0], gid[0]) end
  if rc ~= 0 then error(("cannot become user %s (error %d)"):format(user, -rc), 0) end
end

--- All processes have prepared the offer: write it down, the point of no return.
function events.prepared(version)
  if not pending or pending.version ~= version then return end
  drop_privileges(pending.model)
  local ok, message = last_model.save(pending.model, version)
  if not ok then log("error", "last_model.failed", message) end
  C.vf_control_commit(version)
end

function events.refused(version, why)
  if not pending or pending.version ~= version then return end
  reject { { file = context.conf, path = "", message = why } }
end

function events.published(version)
  if pending and pending.version == version then
    current = { model = pending.model, version = version }
  end
end

function events.live(laggards)
  if not pending then return end
  local done = pending
  current = { model = done.model, version = done.version }
  compiler.sweep(done.compiled, ffi.cast("struct vf_state *", context.state))
  local summary = model_kinds.describe_diff(done.diff)
  C.vf_control_set_config(1, "")
  log("info", "reload.done", ("version=%d %s"):format(done.version, summary))
  finish { ok = true, version = done.version, diff = done.diff, summary = summary, laggards = laggards }
end

function M.on_event(name, number, text)
  events[name](number, text)
end

--- Returns what is published: {model, version}, or nil before the first publication.
function M.current() return current end

-- Start

local function start_fresh()
  local model, problems = conf.load { source = source() }
  if model then
    local _, version = last_model.load(model.node.data_dir)
    local ok
    ok, problems = offer(model, (tonumber(version) or 0) + 1)
    if ok then return true end
  end
  for _, line in ipairs(format(problems)) do io.stderr:write(line, "\n") end
  return false
end

--- The model of the last publication: the conf file if it is still good, else what is on disk.
local function recover()
  local model, problems = conf.load { source = source(), lenient = true }
  if model and #problems == 0 then return model, tonumber(context.published) end
  local saved, version = last_model.load(model and model.node.data_dir or "data")
  if saved then return saved, version end
  return nil, problems
end

local function start_again()
  local saved_from, problems = recover()
  if not saved_from then
    for _, line in ipairs(format(problems)) do log("error", "control.no_model", line) end
    return true -- what runs goes on; the next reload repairs this
  end
  current = { model = saved_from, version = tonumber(context.published) }
  if context.mode == "recompile" then
    local ok, refused = offer(saved_from, current.version + 1)
    if not ok then reject(refused) end
  end
  return true
end

--- Called by C once. `started`: {mode, conf, text, watch, state, published}.
-- @return true to go on; false ends the process with exit code 1
function M.start(started)
  context = started
  if started.watch and not started.text then C.vf_control_watch(started.conf) end
  if started.mode == "fresh" then return start_fresh() end
  return start_again()
end

return M
