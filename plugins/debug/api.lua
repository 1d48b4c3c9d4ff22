--- What runs, in detail, and why: for those who look for a fault.
local pdk = require "veloflux.pdk"
local paging = require "veloflux.plugins.debug.paging"

local state = pdk.state
local TEXT = { type = "string", len_min = 0 }

local function list(what, summary)
  return { method = "GET", path = "/api/debug/" .. what, permission = "debug:read", summary = summary, accept = "any",
    query = paging.QUERY, answers = { [200] = "A list; X-Total-Count has its whole length." },
    handler = function(request) return paging.answer(request, what) end }
end

local function levels(method, permission, summary, handler, request)
  return { method = method, path = "/api/debug/log-level", permission = permission, summary = summary, accept = "any",
    request = request, request_optional = request and true or nil, request_type = not request and method ~= "GET"
      and "*/*" or nil, handler = handler }
end

local function set_levels(wanted)
  local result, problem = state.set_log_levels(wanted)
  if not result then return problem end
  return 200, result
end

local function explain(request)
  local result, problem = state.explain(request.body)
  if not result then return problem end
  return 200, result
end

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
  levels("PUT", "debug:write", "Sets log levels at run time, of everything and of subsystems.",
    function(request) return set_levels { level = request.body.level, subsystems = request.body.subsystems } end, {
      level = { type = "string", description = "debug, info, warn or error; of everything." },
      subsystems = { type = "map", keys = { type = "string" }, values = TEXT, description = "Level by subsystem." },
      configured = { type = "string", description = "As it was shown; it is the conf's." },
    }),
  levels("DELETE", "debug:write", "Takes back log levels that were set at run time.",
    function() return set_levels {} end),
}
