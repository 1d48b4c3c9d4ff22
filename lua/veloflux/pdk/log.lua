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

local MODES = { set = true, add = true, replace = true }

--- Adds or changes a value of what `serialize` returns, under a dotted path.
---@param key string "request.headers.x-user" or "my.value"
---@param value any nil removes it
---@param options {mode: "set"|"add"|"replace"}|nil add: only what is not there; replace: only what is
function M.set_serialize_value(key, value, options)
  if not REQUEST[task.run.phase] then phase.wrong(REQUEST, "log.set_serialize_value") end
  if type(key) ~= "string" then error("log.set_serialize_value: expected a string as key", 2) end
  local mode = options and options.mode or "set"
  if not MODES[mode] then error('log.set_serialize_value: mode: expected "set", "add" or "replace"', 2) end
  local values = view.values()
  values.serialize = values.serialize or {}
  table.insert(values.serialize, { key = key, value = value, mode = mode })
end

--- Returns what is known of the exchange as a table, for log shippers: request {id, method, uri, url, querystring,
-- headers, size, tls {version, cipher, client_verify}}, response {status, headers, size}, latencies (ms), source
-- ("service", "exit", "error"), route and service (as router.get_route and get_service return them), pool (the one that
-- was used), backend, tries (list of {ip, port, state}), upstream_uri, upstream_status, client_ip, consumer,
-- authenticated_entity, tenant, started_at (ms). Authorization, Proxy-Authorization and cookies are "REDACTED"; what
-- plugins take from other fields or from the query, as keys of key-auth, is in it.
-- Raises when a value that was set is none that can be logged, or stands in one that is no table.
---@return table
function M.serialize()
  if not REQUEST[task.run.phase] then phase.wrong(REQUEST, "log.serialize") end
  local entry, problem = require("veloflux.runtime.log_entry").make()
  if not entry then error("log.serialize: " .. problem, 2) end
  return entry
end

return setmetatable(M, { __call = function(_, ...) M.notice(...) end })
