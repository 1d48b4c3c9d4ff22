--- What operators do to the node as a whole: the levels of its log, and draining it.
local bodies = require "veloflux.admin.body"
local cluster = require "veloflux.cluster"
local ffi = require "ffi"
local json = require "veloflux.pdk.json"
local log = require "veloflux.admin.log"
local parameters = require "veloflux.admin.parameters"
local problem = require "veloflux.admin.problem"
local totals = require "veloflux.totals"

ffi.cdef [[
int vf_control_set_log(const char *text);
const char *vf_log_overrides(void);
void vf_control_stop_node(void);
]]
local C = ffi.C

local M = {}

local LEVELS = { debug = true, info = true, warn = true, error = true }
local MAX_SUBSYSTEMS = 16 -- as base/log.c has room for
local NAME, MAX_NAME = "^[a-z][a-z0-9_]*$", 31

local function invalid(errors)
  table.sort(errors, function(a, b) return a.pointer < b.pointer end)
  return problem.new("invalid", errors[1].pointer .. ": " .. errors[1].detail, { errors = errors })
end

-- Log levels ----------------------------------------------------------------------------------------

local function document(context)
  local current = context.current()
  local configured = current and current.model.node.log.level or "info"
  local result = { configured = configured, level = configured, subsystems = {} }
  for name, level in ffi.string(C.vf_log_overrides()):gmatch "(%S+)=(%S+)" do
    if name == "*" then result.level = level else result.subsystems[name] = level end
  end
  return { json = result }
end

local function check_level(errors, pointer, level)
  if LEVELS[level] then return end
  errors[#errors + 1] = { pointer = pointer, detail = "expected debug, info, warn or error" }
end

local function check_subsystems(errors, subsystems)
  local pairs_of, count = {}, 0
  for name, level in pairs(subsystems) do
    count = count + 1
    if type(name) ~= "string" or not name:find(NAME) or #name > MAX_NAME then
      errors[#errors + 1] = { pointer = "/subsystems/" .. name, detail = "not the name of a subsystem" }
    else
      check_level(errors, "/subsystems/" .. name, level)
      pairs_of[#pairs_of + 1] = ("%s=%s"):format(name, tostring(level))
    end
  end
  if count > MAX_SUBSYSTEMS then
    errors[#errors + 1] = { pointer = "/subsystems", detail = "expected at most " .. MAX_SUBSYSTEMS }
  end
  table.sort(pairs_of)
  return pairs_of
end

--- Reads {level, subsystems}. Returns the text for vf_log_override, or nil and errors.
local function overrides_of(body)
  local errors, words = {}, {}
  for name in pairs(body) do
    if name ~= "level" and name ~= "subsystems" and name ~= "configured" then
      errors[#errors + 1] = { pointer = "/" .. name, detail = "unknown field" }
    end
  end
  local level, subsystems = body.level, body.subsystems
  if subsystems ~= nil and subsystems ~= json.null then
    if type(subsystems) ~= "table" or json.is_array(subsystems) then
      errors[#errors + 1] = { pointer = "/subsystems", detail = "expected an object" }
    else
      words = check_subsystems(errors, subsystems)
    end
  end
  if level ~= nil and level ~= json.null then
    check_level(errors, "/level", level)
    table.insert(words, 1, "*=" .. tostring(level))
  end
  if #errors > 0 then return nil, errors end
  return table.concat(words, " ")
end

local function set(context, text)
  if C.vf_control_set_log(text) ~= 0 then return problem.new("invalid", "These levels cannot be set.") end
  return document(context)
end

local function put_levels(request, context)
  local body, refused = bodies.read(request, bodies.JSON, true)
  if not body then return refused end
  local text, errors = overrides_of(body)
  if not text then return invalid(errors) end
  return set(context, text)
end

-- Draining ------------------------------------------------------------------------------------------

local function drain(request)
  local body, refused = bodies.read(request, bodies.JSON, true)
  if not body then return refused end
  local errors = {}
  for name, value in pairs(body) do
    if name ~= "confirm" then
      errors[#errors + 1] = { pointer = "/" .. name, detail = "unknown field" }
    elseif value ~= true then
      errors[#errors + 1] = { pointer = "/confirm", detail = "expected true" }
    end
  end
  if #errors > 0 then return invalid(errors) end
  log.write("warn", "admin.drain", { "by", request.identity.name, "client", request.client,
    "request_id", request.request_id })
  C.vf_control_stop_node()
  return { json = { status = "draining", node_id = cluster.id() or json.null,
    active_connections = totals.number(totals.node().connections) } }
end

local WANTED = { ["application/json"] = { type = "object", additionalProperties = false, properties = {
  level = { type = { "string", "null" } }, configured = { type = "string" },
  subsystems = { type = { "object", "null" }, additionalProperties = { type = "string" } } } } }
local CONFIRM = { ["application/json"] = { type = "object", additionalProperties = false,
  properties = { confirm = { type = "boolean" } } } }

--- Registers all of them.
-- @param context as for endpoints.register
function M.register(router, context)
  local function add(method, path, permission, handler, doc)
    router:register { method = method, path = path, permission = permission, doc = doc,
      handler = parameters.taking(nil, function(request) return handler(request, context) end) }
  end
  add("GET", "/api/debug/log-level", "debug:read", function() return document(context) end,
    { tag = "debug", summary = "The log levels in force." })
  add("PUT", "/api/debug/log-level", "debug:write", put_levels,
    { tag = "debug", summary = "Sets log levels at run time, of everything and of subsystems.", body = WANTED })
  add("DELETE", "/api/debug/log-level", "debug:write", function() return set(context, "") end,
    { tag = "debug", summary = "Takes back log levels that were set at run time." })
  add("POST", "/api/system/drain", "system:drain", drain, { tag = "system", body = CONFIRM, is_body_optional = true,
    summary = "Finishes what is under way and ends the node, as SIGTERM does." })
end

return M
