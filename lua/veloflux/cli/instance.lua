--- veloflux reload, status and stop: what they say to the running instance of a conf file's data_dir.
-- reload and status speak HTTP/1.1 over data_dir/control.sock:
--   POST /api/reload  200 {version, changes, warnings, laggards}, 202 when some processes do not run it yet, or a
--                     problem document whose `errors` are {file, line, path, message}
--   GET /api/status   200, what cli/report.lua writes
local ffi = require "ffi"
local json = require "veloflux.pdk.json"
local arguments = require "veloflux.cli.arguments"
local conf = require "veloflux.conf"
local http = require "veloflux.cli.http"
local report = require "veloflux.cli.report"

ffi.cdef [[
int32_t vf_instance_pid(const char *lock_path);
int vf_instance_stop(int32_t pid, int timeout_ms);
]]
local C = ffi.C

local M = {}

local OPTIONS = { ["-c"] = arguments.CONFIG, ["--config"] = arguments.CONFIG }

--- Returns the data directory that a conf file names, even one with errors, and for messages where it is the default
-- how that came; or nil and a message.
local function data_dir_of(args)
  local parsed, message = arguments.parse(args, OPTIONS)
  if not parsed then return nil, message end
  if #parsed > 0 then return nil, "unexpected argument " .. parsed[1] end
  local file = arguments.config_of(parsed)
  local data_dir, problem = conf.data_dir(file)
  if not data_dir then return nil, conf.format(problem) end
  return data_dir, problem and (", the default: %s says nothing else"):format(file) or ""
end

local function pid_of(data_dir, why)
  local pid = C.vf_instance_pid(data_dir .. "/veloflux.pid")
  if pid > 0 then return pid end
  return nil, pid == 0 and ("no instance is running (data_dir %s%s)"):format(data_dir, why)
    or ("%s/veloflux.pid cannot be read (error %d)"):format(data_dir, -pid)
end

--- Asks control. Returns the status and the decoded body; or nil and a message.
function M.ask(data_dir, method, target)
  local answer, message = http.ask(data_dir .. "/control.sock",
    { method = method, target = target, headers = { "Accept", "application/json" } })
  if not answer then return nil, message end
  return answer.status, json.decode(answer.body) or { detail = answer.body }
end

--- Runs `act(data_dir)` on the running instance, or says why not.
local function with_instance(name, args, err, act)
  local data_dir, message = data_dir_of(args)
  local pid
  if data_dir then pid, message = pid_of(data_dir, message) end
  if not pid then
    err(("veloflux %s: %s"):format(name, message))
    return 1
  end
  return act(data_dir, pid)
end

local function print_errors(body, err)
  local errors = type(body.errors) == "table" and body.errors or {}
  for _, problem in ipairs(errors) do
    if problem.message then
      err(conf.format { file = problem.file or "conf", line = problem.line, path = problem.path or "",
        message = problem.message })
    else
      err(("%s: %s"):format(problem.pointer or "", problem.detail or ""))
    end
  end
  if #errors == 0 then err(tostring(body.detail or body.error or body.title or "refused")) end
end

--- Returns lines that tell of a reload: the answer of POST /api/reload, decoded.
function M.reloaded(body)
  local lines = { ("version %s: %s"):format(tostring(body.version), tostring(body.summary or "live")) }
  local laggards = tonumber(body.laggards) or 0
  if laggards > 0 then lines[2] = ("not yet in %d %s"):format(laggards, laggards == 1 and "process" or "processes") end
  return lines
end

--- veloflux reload: waits until the new version is live.
function M.reload(args, out, err)
  return with_instance("reload", args, err, function(data_dir)
    local status, body = M.ask(data_dir, "POST", "/api/reload")
    if not status then
      err("veloflux reload: " .. body)
      return 1
    end
    if status >= 300 then
      print_errors(body, err)
      err "veloflux reload: refused, nothing changed"
      return 1
    end
    for _, warning in ipairs(type(body.warnings) == "table" and body.warnings or {}) do err(tostring(warning)) end
    for _, line in ipairs(M.reloaded(body)) do out(line) end
    return 0
  end)
end

--- veloflux status: what the running instance says of itself.
function M.status(args, out, err)
  return with_instance("status", args, err, function(data_dir, pid)
    local status, body = M.ask(data_dir, "GET", "/api/status")
    if not status or status >= 300 then
      err(("veloflux status: process %d runs, but: %s"):format(pid, status and tostring(body.detail) or body))
      return 1
    end
    for _, line in ipairs(report.lines(body, pid)) do out(line) end
    return 0
  end)
end

--- veloflux stop: asks the instance to drain and end, and waits for that.
function M.stop(args, out, err)
  return with_instance("stop", args, err, function(_, pid)
    local rc = C.vf_instance_stop(pid, -1)
    if rc ~= 0 and rc ~= -3 then -- ESRCH: it has ended by itself
      err(("veloflux stop: process %d cannot be stopped (%s)"):format(pid,
        rc == -1 and "it belongs to another user" or "error " .. -rc))
      return 1
    end
    out(("process %d has stopped"):format(pid))
    return 0
  end)
end

return M
