--- Work on threads (src/control/offload.h), for coroutines: each function yields until it is done. Where there is no
-- loop (the command line, specs) it is done at once.
local ffi = require "ffi"
local compiler = require "veloflux.compiler"
local document = require "veloflux.model.document"
local network = require "veloflux.runtime.network"
local task = require "veloflux.runtime.task"

ffi.cdef [[
int vf_control_parse(double token, const char *data, size_t len);
int vf_control_replace(double token, const char *path, const char *data, size_t len, uint32_t mode);
int vf_file_replace(const char *path, const char *data, size_t len, uint32_t mode);
int vf_control_finish(double token, struct vf_snapb *builder, uint64_t version);
void vf_control_free_snapshot(struct vf_snapb *builder);
]]
local C = ffi.C

local M = {}

local resume -- function(thread, ...); nil: there is no loop
local waiting = {} -- token -> {function(result) that goes on, what has to stay where it is}
local last_token = 0

--- From here on there are threads.
-- @param resumer function(thread, ...), as coroutine.resume; faults are its business
function M.open(resumer)
  resume = resumer
  compiler.use_threads { finish = M.finish, free = C.vf_control_free_snapshot }
end

--- A task has its own way to wait.
local function wait_in_task(token, kept)
  local signal, result = network.signal(), nil
  waiting[token] = { function(told)
    result = told
    network.raise(signal)
  end, kept }
  network.wait_signal(signal, 0)
  return result
end

local function wait(token, kept)
  if task.can_wait() then return wait_in_task(token, kept) end
  local thread = coroutine.running()
  waiting[token] = { function(told) resume(thread, told) end, kept }
  return coroutine.yield()
end

local function answer(token, result)
  local entry = waiting[token]
  waiting[token] = nil
  if entry then entry[1](result) end
end

--- Called by C.
function M.parsed(token, pointer) answer(token, pointer) end

--- Called by C.
function M.replaced(token, rc) answer(token, rc) end

--- Called by C.
function M.finished(token, fault) answer(token, fault) end

local function new_token()
  last_token = last_token + 1
  return last_token
end

--- Parses a text of YAML or JSON. May yield.
-- @param text string, or {data, len} (spool.lua)
-- @param name as for document.parse
-- @return a document, or nil and a problem
function M.parse(text, name)
  local data, len = text, #text
  if type(text) == "table" then data, len = text.data, text.len end
  local token = new_token()
  if not resume or not coroutine.running() or C.vf_control_parse(token, data, len) ~= 0 then
    return document.parse_bytes(data, len, name)
  end
  return document.take(wait(token, text), name)
end

--- Replaces a file, see vf_file_replace. May yield.
-- @param text string, or {data, len} (spool.lua)
-- @return 0 or -errno
function M.replace(path, text, mode)
  local data, len = text, #text
  if type(text) == "table" then data, len = text.data, text.len end
  local token = new_token()
  if not resume or not coroutine.running() or C.vf_control_replace(token, path, data, len, mode) ~= 0 then
    return C.vf_file_replace(path, data, len, mode)
  end
  return wait(token, text)
end

--- Finishes a builder of snapshots. May yield.
-- @return nil, or why it could not be
function M.finish(builder, version)
  local token = new_token()
  if not resume or not coroutine.running() or C.vf_control_finish(token, builder, version) ~= 0 then
    return compiler.finish_here(builder, version)
  end
  return wait(token, builder)
end

return M
