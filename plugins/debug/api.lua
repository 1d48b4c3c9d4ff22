--- What runs, in detail, and why: for those who look for a fault.
local pdk = require "veloflux.pdk"
local paging = require "veloflux.plugins.debug.paging"

local state = pdk.state
local TEXT = { type = "string", len_min = 0 }

local function list(what, summary)
  return { method = "GET", path = "/api/debug/" .. what, permission = "debug:read", summary = summary, accept = "any",
    any_query = true, openapi = { parameters = paging.parameters(what), answers = {
      ["200"] = { "A list; X-Total-Count has its whole length.", { ["application/json"] = { type = "array" } } } } },
    handler = function(request) return paging.answer(request, what) end }
end

local LEVEL = { type = "string", enum = { "debug", "info", "warn", "error" } }
local LEVEL_OR_NULL = { anyOf = { LEVEL, { type = "null" } } }
local SHOWN = { type = "object", required = { "configured", "level", "subsystems" }, properties = {
  configured = LEVEL, level = LEVEL, subsystems = { type = "object", additionalProperties = LEVEL },
  dry_run = { type = "boolean" } } }
local WANTED = { type = "object", additionalProperties = false, properties = { level = LEVEL_OR_NULL,
  subsystems = { type = { "object", "null" }, additionalProperties = LEVEL_OR_NULL },
  configured = { type = "string", readOnly = true } } }
local MODE = { mode = { type = "string", one_of = { "merge", "replace" }, default = "merge",
  description = "replace: what is absent is as in the conf." } }

--- An endpoint of the log levels.
-- @param kind the media type of its body, or nil
local function levels(method, permission, summary, handler, kind)
  local endpoint = { method = method, path = "/api/debug/log-level", permission = permission, summary = summary,
    accept = "any", handler = handler, openapi = { body = kind and { [kind] = WANTED } or nil,
      is_body_optional = kind and false or nil, answers = { ["200"] = { "The levels in force.",
        { ["application/json"] = SHOWN } } } } }
  if method == "GET" then return endpoint end
  endpoint.dry_run, endpoint.probation, endpoint.openapi.may_be_tried = true, false, "alike"
  endpoint.openapi.parameters = {}
  if kind then endpoint.request = "object" else endpoint.request_type = "*/*" end
  return endpoint
end

local function set_levels(wanted, mode)
  local result, problem = state.set_log_levels(wanted, { mode = mode })
  if not result then return problem end
  return 200, result
end

--- Sets what the body says.
local function set_from(request, mode)
  local body = request.body
  if request.prefers "handling=lenient" then
    body = { level = body.level, subsystems = body.subsystems }
  end
  return set_levels(body, mode)
end

local function explain(request)
  local result, problem = state.explain(request.body)
  if not result then return problem end
  return 200, result
end

local put_levels = levels("PUT", "debug:write", "Sets log levels at run time, of everything and of subsystems; "
  .. "`null`: as in the conf.", function(request)
    return set_from(request, request.query.mode == "replace" and "replace" or "put")
  end, "application/json")
put_levels.query = MODE
put_levels.openapi.parameters = { { "mode", { type = "string", enum = MODE.mode.one_of }, MODE.mode.description } }

return {
  list("pools", "What the pools do: counters, answers, latencies."),
  list("backends", "What the backends do, and what is known of their health."),
  list("routes", "The routing table in force, the preferred first, with plugins and counters."),
  { method = "GET", path = "/api/debug/performance", permission = "debug:read", accept = "any",
    summary = "Loop lag, processor time and memory of processes; times of plugins.",
    handler = function() return 200, state.performance() end },
  { method = "POST", path = "/api/debug/explain", permission = "debug:read", accept = "any",
    summary = "What would become of a request: route and rivals, plugins, backend, limits.",
    request = {
      url = { type = "string", len_min = 0, required = true, description = "http://HOST/PATH, or /PATH." },
      method = TEXT, client_ip = TEXT, consumer = TEXT, listener = TEXT,
      headers = { type = "map", keys = { type = "string" }, values = TEXT },
    },
    handler = explain },
  levels("GET", "debug:read", "The log levels in force.", function() return 200, state.log_levels() end),
  put_levels,
  levels("PATCH", "debug:write", "Changes log levels by a JSON merge patch (RFC 7396).",
    function(request) return set_from(request, "merge") end, "application/merge-patch+json"),
  levels("DELETE", "debug:write", "Takes back log levels that were set at run time.",
    function() return set_levels({}, "replace") end),
}
