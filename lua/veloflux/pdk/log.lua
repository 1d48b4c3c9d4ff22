--- The process log: one line an event, with the plugin's name, the route and the request's id.
local phase = require "veloflux.runtime.phase"
local task = require "veloflux.runtime.task"
local view = require "veloflux.runtime.view"
local report = require "veloflux.runtime.report"

---@class pdk.log
---@overload fun(...) as notice
local M = {}

local REQUEST = phase.set "request"

local MAX_DEPTH = 6

local function join(...)
  local parts = {}
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    parts[i] = type(value) == "table" and M.to_text(value) or tostring(value)
  end
  return table.concat(parts)
end

local function current()
  local instance = require("veloflux.runtime.chain").current()
  return instance and instance.name, instance and instance.as ~= instance.name and instance.as or nil
end

local function place()
  if task.run == nil or task.run.ex == nil then return nil, nil end
  return view.text(view.response().route), view.text_of(view.REQUEST_ID)
end

local function write(level, word, message)
  local plugin, as = current()
  local route, request_id = place()
  report.write(level, "plugin.log", "plugin", plugin, "as", as, "severity", word, "route", route ~= "" and route or nil,
    "request_id", request_id, "message", message)
end

local function writer(level, word)
  return function(...) write(level, word, join(...)) end
end

--- Logs at level debug: the values, joined; tables with their contents.
---@param ... any
M.debug = writer(report.DEBUG, nil)
--- Logs at level info.
---@param ... any
M.info = writer(report.INFO, nil)
--- Logs at level info, with severity=notice. pdk.log(...) does the same.
---@param ... any
M.notice = writer(report.INFO, "notice")
--- Logs at level warn.
---@param ... any
M.warn = writer(report.WARN, nil)
--- Logs at level error.
---@param ... any
M.err = writer(report.ERROR, nil)
--- Logs at level error, with severity=crit.
---@param ... any
M.crit = writer(report.ERROR, "crit")
--- Logs at level error, with severity=alert.
---@param ... any
M.alert = writer(report.ERROR, "alert")
--- Logs at level error, with severity=emerg.
---@param ... any
M.emerg = writer(report.ERROR, "emerg")

--- Writes a line with named fields: log.event("cache.hit", { key = key, age_s = 3 }).
---@param name string a dotted name
---@param fields table<string, string|number|boolean>|nil
function M.event(name, fields)
  if type(name) ~= "string" or not name:find "^[%w_.-]+$" then
    error("log.event: expected a name of letters, digits, dots and dashes", 2)
  end
  local list, keys = {}, {}
  for key in pairs(fields or {}) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  for _, key in ipairs(keys) do
    list[#list + 1] = key:gsub("[^%w_.-]", "_")
    list[#list + 1] = join(fields[key])
  end
  local plugin = current()
  local route, request_id = place()
  report.write(report.INFO, name, "plugin", plugin, "route", route ~= "" and route or nil, "request_id", request_id,
    unpack(list))
end

local function render(value, depth, seen)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" then return tostring(value) end
  if seen[value] then return "<cycle>" end
  if depth > MAX_DEPTH then return "{...}" end
  seen[value] = true
  local parts, keys = {}, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, key in ipairs(keys) do
    local name = type(key) == "string" and key:find "^[%a_][%w_]*$" and key or "[" .. tostring(key) .. "]"
    parts[#parts + 1] = name .. " = " .. render(value[key], depth + 1, seen)
  end
  seen[value] = nil
  return "{" .. table.concat(parts, ", ") .. "}"
end

--- Returns a value as readable text, tables with their contents.
---@param value any
---@return string
function M.to_text(value) return render(value, 1, {}) end

--- Logs values in readable form at debug level. inspect.on and inspect.off are kept for handlers that use
-- them; the log level decides.
---@param ... any
M.inspect = setmetatable({ on = function() end, off = function() end }, {
  __call = function(_, ...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = M.to_text((select(i, ...))) end
    write(report.DEBUG, "inspect", table.concat(parts, " "))
  end,
})

local told, n_told = {}, 0

local MOST_TOLD = 1000 -- messages that name what differs each time are told again, and do not fill the memory

local function deprecation(...)
  local message = join(...)
  if told[message] then return end
  if n_told >= MOST_TOLD then told, n_told = {}, 0 end
  told[message], n_told = true, n_told + 1
  write(report.WARN, "deprecation", message)
end

--- Says once in the life of the process that something is deprecated. deprecation.write does the same.
---@param ... any the message; a table {after=, removal=} may follow
M.deprecation = setmetatable({ write = deprecation }, { __call = function(_, ...) deprecation(...) end })

--- Adds or changes a value of what `serialize` returns, under a dotted path.
---@param key string "request.headers.x-user" or "my.value"
---@param value any nil removes it
---@param options {mode: "set"|"add"|"replace"}|nil add: only what is not there; replace: only what is
function M.set_serialize_value(key, value, options)
  if not REQUEST[task.run.phase] then phase.wrong(REQUEST, "log.set_serialize_value") end
  if type(key) ~= "string" then error("log.set_serialize_value: expected a string as key", 2) end
  local values = view.values()
  values.serialize = values.serialize or {}
  table.insert(values.serialize, { key, value, options and options.mode or "set" })
end

local function apply(into, change)
  local at, last = into, nil
  for step in change[1]:gmatch "[^.]+" do
    if last then
      if type(at[last]) ~= "table" then at[last] = {} end
      at = at[last]
    end
    last = step
  end
  local mode = change[3]
  if mode == "set" or mode == "add" and at[last] == nil or mode == "replace" and at[last] ~= nil then
    at[last] = change[2]
  end
end

local function ms_between(from, to)
  if from == 0 or to < from then return -1 end
  return math.floor(tonumber(to - from) / 1e4 + 0.5) / 100
end

local HIDDEN = { authorization = true, ["proxy-authorization"] = true, cookie = true, ["set-cookie"] = true }

local function shown_fields(side)
  local fields = view.fields(side, 1000)
  for name in pairs(fields) do
    if HIDDEN[name] then fields[name] = "REDACTED" end
  end
  return fields
end

-- Who was tried: {ip, port}, `state` "failed" where another one was tried next.
local function tries()
  local list = view.tries()
  for i, address in ipairs(list) do
    local host, port = address:match "^%[?(.-)%]?:(%d+)$"
    list[i] = { ip = host or address, port = tonumber(port), state = i < #list and "failed" or nil }
  end
  return list
end

--- Returns what is known of the exchange as a table, for log shippers: request, response, latencies (ms),
-- route, service, backend, tries (list of {ip, port, state}), upstream_uri, upstream_status, client_ip, consumer,
-- tenant, started_at (ms). Credentials are not in it.
---@return table
function M.serialize()
  if not REQUEST[task.run.phase] then phase.wrong(REQUEST, "log.serialize") end
  local request = view.request()
  local entry = {
    request = { id = view.text(request.request_id), method = view.text(request.method),
      uri = view.text(request.target), url = nil, headers = shown_fields(view.REQUEST), querystring = {} },
    started_at = tonumber(request.start_wall_ms), client_ip = view.text(request.client_ip),
  }
  local scheme = request.is_tls ~= 0 and "https" or "http"
  entry.request.url = ("%s://%s%s"):format(scheme, view.text(request.host) or "", view.text(request.target) or "")
  entry.request.querystring = require("veloflux.runtime.query").decode(view.text(request.query), 100)
  local answer = view.response()
  entry.request.size = tonumber(answer.bytes_in)
  entry.response = { status = tonumber(answer.status), size = tonumber(answer.bytes_out),
    headers = shown_fields(view.RESPONSE) }
  answer = view.response()
  entry.upstream_status = answer.upstream_status ~= 0 and tostring(answer.upstream_status) or nil
  entry.latencies = { request = ms_between(answer.start_ns, answer.now_ns),
    proxy = ms_between(answer.sent_ns, answer.first_byte_ns),
    connect = ms_between(answer.connect_ns, answer.connected_ns) }
  entry.latencies.gateway = entry.latencies.proxy >= 0 and
    math.max(entry.latencies.request - entry.latencies.proxy, 0) or entry.latencies.request
  entry.latencies.kong = entry.latencies.gateway -- the name that log consumers know
  entry.reason = view.text(answer.reason)
  local function named(str) local name = view.text(str) return name ~= "" and name and { name = name } or nil end
  entry.route, entry.service, entry.backend = named(answer.route), named(answer.pool), view.text(answer.backend)
  entry.tenant, entry.tries = view.text(answer.route_tenant), tries()
  entry.upstream_uri = view.text_of(view.UPSTREAM_URI)
  local values = task.values[task.run.context]
  local consumer = values and values.consumer
  entry.consumer = consumer and { id = consumer.id or consumer.name, username = consumer.name,
    custom_id = consumer.custom_id } or nil
  for _, change in ipairs(values and values.serialize or {}) do apply(entry, change) end
  return entry
end

return setmetatable(M, { __call = function(_, ...) M.notice(...) end })
