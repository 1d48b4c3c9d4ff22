--- Commands of `veloflux ctl` about the node: what it is, what it does, and what would become of a request.
local encoding = require "veloflux.pdk.encoding"
local ffi = require "ffi"
local json = require "veloflux.pdk.json"
local output = require "veloflux.cli.output"
local report = require "veloflux.cli.report"
local text = require "veloflux.cli.text"

ffi.cdef [[
int usleep(unsigned int microseconds);
int isatty(int fd);
]]

local M = {}

local function add(command) M[#M + 1] = command end

local function is_set(value) return value ~= nil and value ~= json.null end

add { name = "status", usage = "status", help = "what the instance says of itself", run = function(ctx)
  local status = ctx:ask("GET", "/api/status").body
  ctx:show(status, function(body) return report.lines(body) end)
end }

add { name = "version", usage = "version", help = "what runs there", run = function(ctx)
  ctx:show(ctx:ask("GET", "/api/version").body, function(body) return { body.name .. " " .. body.version } end)
end }

add { name = "info", usage = "info", help = "build, machine and features", run = function(ctx)
  ctx:show(ctx:ask("GET", "/api/system/info").body)
end }

add { name = "health", usage = "health", help = "exit status 0 when all is well, 1 when not", run = function(ctx)
  local body = ctx:ask("GET", "/api/status/health").body
  ctx:show(body, function()
    local rows = {}
    for name, component in pairs(body.components) do
      rows[#rows + 1] = { component = name, status = component.status, message = component.message }
    end
    table.sort(rows, function(a, b) return a.component < b.component end)
    local lines = text.table({ "component", "status", "message" }, rows)
    table.insert(lines, 1, ("%s, up for %s"):format(body.status, body.uptime))
    return lines
  end)
  return body.status == "healthy" and 0 or 1
end }

add { name = "cluster", usage = "cluster", help = "the nodes that share the store: who leads, who lags behind",
  run = function(ctx)
    ctx:show(ctx:ask("GET", "/api/cluster").body, function(body)
      local rows, reasons = {}, {}
      for i, node in ipairs(body.nodes) do
        rows[i] = { node = node.id, role = node.role, status = node.status, config = node.config_version,
          lag = node.lag, address = node.address, ["last seen"] = node.last_seen }
        if is_set(node.reason) then reasons[#reasons + 1] = ("%s: %s"):format(node.id, node.reason) end
      end
      local lines = text.table({ "node", "role", "status", "config", "lag", "address", "last seen" }, rows)
      table.insert(lines, 1, ("%s, version %d of the store"):format(body.status, body.store_version))
      for _, line in ipairs(reasons) do lines[#lines + 1] = line end
      return lines
    end)
  end }

-- top -----------------------------------------------------------------------------------------------

local function backends_of(status)
  local rows = {}
  for _, pool in ipairs(status.pools) do
    local name = pool.tenant ~= "default" and pool.tenant .. "/" .. pool.name or pool.name
    for _, backend in ipairs(pool.backends) do
      rows[#rows + 1] = { pool = name, backend = backend.address, status = backend.status, weight = backend.weight,
        ["req/s"] = backend.requests_per_second, requests = backend.requests, errors = backend.errors,
        active = backend.in_flight, conns = backend.connections, ms = backend.response_time_ms }
    end
  end
  return rows
end

local TOP = { "pool", "backend", "status", "weight", "req/s", "requests", "errors", "active", "conns", "ms" }

local function top_lines(status)
  local traffic = status.traffic
  local lines = { ("VeloFlux %s, up %s, config %s, %d of %d workers ready"):format(status.version, status.uptime,
    tostring(status.config.version), status.ready_workers, status.workers),
    ("%.1f req/s, %.1f errors/s, %.0f bytes/s in, %.0f bytes/s out, %d connections, %d exchanges"):format(
      traffic.requests_per_second, traffic.errors_per_second, traffic.bytes_in_per_second,
      traffic.bytes_out_per_second, traffic.connections, traffic.exchanges), "" }
  for _, line in ipairs(text.table(TOP, backends_of(status))) do lines[#lines + 1] = line end
  return lines
end

local CLEAR = "\27[H\27[2J"

add { name = "top", usage = "top [-n TIMES] [--interval SECONDS]", help = "traffic and backends, again and again",
  run = function(ctx)
    local is_terminal = ffi.C.isatty(1) == 1
    local times = tonumber(ctx.parsed.count or is_terminal and math.huge or 1)
    local seconds = tonumber(ctx.parsed.interval or 2)
    if not times or times < 1 then ctx:usage "-n expects a number above 0" end
    if not seconds or seconds < 0 or seconds > 3600 then ctx:usage "--interval expects seconds, at most 3600" end
    local i = 0
    while i < times do
      if i > 0 then ffi.C.usleep(math.floor(seconds * 1e6)) end
      i = i + 1
      local status = ctx:ask("GET", "/api/status").body
      if is_terminal and times > 1 and not ctx.parsed.output then io.stdout:write(CLEAR) end
      ctx:show(status, top_lines)
    end
  end }

-- explain -------------------------------------------------------------------------------------------

local function headers_of(ctx)
  local headers
  for _, pair in ipairs(ctx.parsed.headers or {}) do
    local name, value = pair:match "^([^:]+):%s*(.-)%s*$"
    if not name then ctx:usage("-H expects 'NAME: VALUE', got " .. pair) end
    headers = headers or {}
    headers[name] = value
  end
  return headers
end

local function placed(source) return is_set(source) and " (" .. source .. ")" or "" end

local function append_plugins(lines, plugins)
  for i, plugin in ipairs(plugins) do
    local label = plugin.as ~= plugin.name and plugin.name .. " as " .. plugin.as or plugin.name
    lines[#lines + 1] = ("%s %d. %s (priority %d, %s %s)"):format(i == 1 and "plugins " or "        ", i, label,
      plugin.priority, plugin.scope, tostring(plugin.source))
    for _, setting in ipairs(plugin.settings) do
      lines[#lines + 1] = ("            %s: %s  (%s)"):format(setting.field, json.lenient(setting.value),
        setting.origin)
    end
  end
end

local function append_pool(lines, pool)
  lines[#lines + 1] = ("pool     %s%s, %s"):format(pool.name, placed(pool.source), pool.algorithm)
  local choice = pool.choice
  lines[#lines + 1] = choice.decided and ("backend  %s: %s"):format(choice.backend, choice.reason)
    or "backend  not foretold: " .. choice.reason
  for _, backend in ipairs(pool.backends) do
    local verdict = backend.chosen and "chosen" or backend.reason or ("share %g %%"):format(backend.share)
    lines[#lines + 1] = ("         %s, %s, weight %d: %s"):format(backend.address, backend.status, backend.weight,
      verdict)
  end
end

local function append_policy(lines, label, settings)
  local names = {}
  for name, setting in pairs(settings) do
    if setting.origin ~= "default" then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    lines[#lines + 1] = ("%-8s %s: %s  (%s)"):format(label, name, tostring(settings[name].value), settings[name].origin)
  end
end

local function explain_lines(answer)
  local lines = { ("request  %s %s%s"):format(answer.request.method,
    answer.request.host ~= "" and answer.request.host .. " " or "", answer.request.path) }
  if answer.matched then
    local route = answer.route
    lines[2] = ("route    %s%s"):format(route.route, placed(route.source))
    lines[3] = "matches  " .. route.matches
    lines[4] = "action   " .. route.action
  else
    lines[2] = ("route    none: %d"):format(answer.status)
  end
  append_plugins(lines, answer.plugins)
  if is_set(answer.pool) then append_pool(lines, answer.pool) end
  for _, rival in ipairs(answer.rivals) do
    lines[#lines + 1] = ("rival    %s%s: %s; loses: %s"):format(rival.route, placed(rival.source), rival.matches,
      rival.reason)
  end
  append_policy(lines, "timeout", answer.timeouts)
  append_policy(lines, "limit", answer.limits)
  return lines
end

add { name = "explain", usage = "explain METHOD URL [-H 'NAME: VALUE']...", arguments = 2,
  help = "what would become of a request (--client-ip, --consumer, --listener)", run = function(ctx)
    local question = { method = ctx:argument(1, "METHOD"), url = ctx:argument(2, "URL"), headers = headers_of(ctx),
      client_ip = ctx.parsed.client_ip, consumer = ctx.parsed.consumer, listener = ctx.parsed.listener }
    ctx:show(ctx:ask("POST", "/api/debug/explain", question).body, explain_lines)
  end }

-- Operations ----------------------------------------------------------------------------------------

local function level_lines(body)
  local rows = { { subsystem = "*", level = body.level } }
  local names = {}
  for name in pairs(body.subsystems) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do rows[#rows + 1] = { subsystem = name, level = body.subsystems[name] } end
  return text.table({ "subsystem", "level" }, rows)
end

add { name = "log-level", usage = "log-level [LEVEL] [SUBSYSTEM=LEVEL]... | --reset", takes_all = true,
  help = "log levels at run time", run = function(ctx)
    if ctx.parsed.reset then return ctx:show(ctx:ask("DELETE", "/api/debug/log-level").body, level_lines) end
    local body, is_change = {}, false
    for i = 2, #ctx.parsed do
      local name, level = ctx.parsed[i]:match "^([^=]+)=(.+)$"
      if name then
        body.subsystems = body.subsystems or {}
        body.subsystems[name] = level
      else
        body.level = ctx.parsed[i]
      end
      is_change = true
    end
    local path = "/api/debug/log-level"
    local answer = is_change and ctx:ask("PATCH", path, body) or ctx:ask("GET", path)
    ctx:show(answer.body, level_lines)
  end }

add { name = "reload", usage = "reload [--dry-run]", help = "reads the conf file again", run = function(ctx)
  ctx:show(ctx:ask("POST", "/api/reload").body, function(body)
    return { ("version %d: %s"):format(body.version, body.summary) }
  end)
end }

add { name = "drain", usage = "drain --yes", help = "finishes what is under way and ends the instance",
  run = function(ctx)
    if not ctx.parsed.yes then ctx:usage "this ends the instance: say --yes" end
    ctx:show(ctx:ask("POST", "/api/system/drain", { confirm = true }).body, function(body)
      return { ("%s, %d connections are open"):format(body.status, body.active_connections) }
    end)
  end }

add { name = "request", usage = "request METHOD PATH [-f FILE]", arguments = 2, help = "any request to the admin API",
  run = function(ctx)
    local method, path = ctx:argument(1, "METHOD"):upper(), ctx:argument(2, "PATH")
    if not path:find "^/" then ctx:usage "PATH begins with /" end
    local body = ctx.parsed.file and ctx:read_file() or nil
    local answer = ctx:ask(method, (path:gsub("[^%w/?&=%%._~:@!$'()*+,;-]", encoding.url_encode)), body,
      { accept = "application/json, */*;q=0.5",
        content_type = method == "PATCH" and "application/merge-patch+json" or nil })
    if answer.body ~= nil then return ctx:show(answer.body) end
    output.write(answer.text)
  end }

return M
