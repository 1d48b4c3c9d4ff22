--- The answer of GET /api/status as lines for a terminal. Fields that are not there are left out.
local M = {}

local function plural(number, noun)
  return ("%d %s%s"):format(number, noun, number == 1 and "" or "s")
end

local function config_line(config)
  local version, time = tostring(config.version), tostring(config.time)
  if config.ok then return ("config    version %s, loaded %s"):format(version, time) end
  return ("config    version %s; at %s the last reload was refused: %s"):format(version, time, tostring(config.message))
end

local function worker_line(body)
  local restarts = {}
  for _, kind in ipairs { "worker", "control", "checker" } do
    local count = body.restarts and body.restarts[kind] or 0
    if count > 0 then restarts[#restarts + 1] = ("%s %d"):format(kind, count) end
  end
  return ("workers   %d of %d ready; %s"):format(body.ready_workers, body.workers,
    #restarts > 0 and "replaced after a crash: " .. table.concat(restarts, ", ") or "none was replaced")
end

local function traffic_line(traffic)
  return ("traffic   %s, %s, %.1f requests/s, %s open"):format(plural(traffic.requests, "request"),
    plural(traffic.errors, "error"), traffic.requests_per_second, plural(traffic.connections, "connection"))
end

local function backend_line(backend)
  local reason = backend.reason and backend.reason ~= "" and (" (%s)"):format(backend.reason) or ""
  local drain = backend.drain and backend.drain ~= "none" and ", " .. backend.drain or ""
  return ("          %-24s %s%s%s, weight %d, %s, %d in flight"):format(backend.address, backend.status, reason, drain,
    backend.weight, plural(backend.requests, "request"), backend.in_flight)
end

local function append_pool(lines, pool)
  local name = pool.tenant ~= "default" and pool.tenant .. "/" .. pool.name or pool.name
  lines[#lines + 1] = ("pool      %s, %s: %d of %d backends usable, %s, %s"):format(name, pool.algorithm,
    pool.active_backends, pool.total_backends, plural(pool.requests, "request"), plural(pool.errors, "error"))
  for _, backend in ipairs(pool.backends) do lines[#lines + 1] = backend_line(backend) end
end

--- Writes a status.
-- @param body decoded JSON
-- @param pid of the supervisor, or nil
-- @return list of lines
function M.lines(body, pid)
  local lines = { ("VeloFlux %s is running%s, for %s"):format(tostring(body.version),
    pid and (", process %d"):format(pid) or "", tostring(body.uptime)) }
  if body.config then lines[#lines + 1] = config_line(body.config) end
  if body.workers then lines[#lines + 1] = worker_line(body) end
  if body.traffic then lines[#lines + 1] = traffic_line(body.traffic) end
  for _, listener in ipairs(body.listeners or {}) do
    lines[#lines + 1] = ("listener  %s %s, %s, %s open"):format(listener.name, listener.address,
      plural(listener.requests, "request"), plural(listener.connections, "connection"))
  end
  for _, pool in ipairs(body.pools or {}) do append_pool(lines, pool) end
  if body.truncated then lines[#lines + 1] = "          and more: GET /api/status" end
  return lines
end

return M
