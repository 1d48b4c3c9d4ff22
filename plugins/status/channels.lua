--- What the node is doing, live: its state, its backends, its figures, its health; and the switches for these pushes.
local pdk = require "veloflux.pdk"

--- Answers what a message asked for, or says why not.
local function answer(result, problem)
  if result then return result end
  return { code = "invalid", detail = problem }, "error"
end

local FIGURES = { "status", "healthy", "connections", "in_flight", "requests", "errors", "error_rate", "response_time",
  "latency", "uptime", "effective_weight", "drain" }

local known = { backends = {}, pools = {} } -- their states when they were sent last

--- Returns the pools with the backends that they have: list of {name, tenant_id, healthy, total}.
local function pools_of(backends)
  local list, by_name = {}, {}
  for _, backend in ipairs(backends) do
    local key = backend.tenant_id .. "/" .. backend.pool
    local pool = by_name[key]
    if not pool then
      pool = { key = key, pool = backend.pool, tenant_id = backend.tenant_id, healthy_backends = 0, total_backends = 0 }
      by_name[key], list[#list + 1] = pool, pool
    end
    pool.total_backends = pool.total_backends + 1
    if backend.healthy then pool.healthy_backends = pool.healthy_backends + 1 end
  end
  return list
end

local function state_of(pool)
  if pool.healthy_backends == 0 then return "unhealthy" end
  return pool.healthy_backends < pool.total_backends and "degraded" or "healthy"
end

--- Returns frames for the backends and pools whose state is another than when they were sent last.
local function changes_of(backends)
  local frames, now = {}, { backends = {}, pools = {} }
  for _, backend in ipairs(backends) do
    now.backends[backend.id] = backend.status
    local before = known.backends[backend.id]
    if before and before ~= backend.status then
      local metrics = {}
      for _, name in ipairs(FIGURES) do metrics[name] = backend[name] end
      frames[#frames + 1] = { type = "backend_metrics_update", data = { backend_id = backend.address, id = backend.id,
        pool = backend.pool, tenant_id = backend.tenant_id, metrics = metrics } }
    end
  end
  for _, pool in ipairs(pools_of(backends)) do
    local key, status = pool.key, state_of(pool)
    now.pools[key] = status
    local before = known.pools[key]
    if before and before ~= status then
      pool.key, pool.status, pool.previous = nil, status, before
      frames[#frames + 1] = { type = "pool_status_change", data = pool }
    end
  end
  known = now
  return frames
end

local function is_wanted(item, filter)
  return (not filter.pool or item.pool == filter.pool) and (not filter.tenant_id or item.tenant_id == filter.tenant_id)
end

return {
  {
    path = "/api/ws/status",
    permission = "user",
    type = "status",
    summary = "How the node is: health, version, backends, clients.",
    every = "10s",
    watch = function(context) return context.version() .. " " .. context.mark "backends" end,
    frame = function(context) return context.status() end,
  },
  {
    path = "/api/ws/backends",
    permission = "user",
    of_tenant = true,
    type = "backend_status_update",
    summary = "The backends with their figures. With a filter: those of a pool.",
    every = "5s",
    watch = function(context) return context.version() .. " " .. context.mark "backends" end,
    frame = function(context)
      local backends = context.backends()
      if context.reason == "open" then return backends, "backends" end
      return backends, "backend_status_update", changes_of(backends)
    end,
    filter_fields = { pool = { type = "string" }, tenant_id = { type = "string" } },
    filter = function(data, filter, kind)
      if kind ~= "backends" and kind ~= "backend_status_update" then return is_wanted(data, filter) and data or nil end
      local list = pdk.json.array()
      for _, backend in ipairs(data) do
        if is_wanted(backend, filter) then list[#list + 1] = backend end
      end
      return list
    end,
  },
  {
    path = "/api/ws/metrics",
    permission = "user",
    type = "metrics",
    summary = "Rates and counts of the node, and of its pools.",
    every = "2s",
    history = 8,
    frame = function(context) return context.metrics() end,
  },
  {
    path = "/api/ws/health",
    permission = "user",
    type = "health",
    summary = "Whether the parts of the node are well.",
    every = "15s",
    watch = function(context) return context.mark "health" end,
    frame = function(context) return context.health() end,
  },
  {
    path = "/api/ws/control",
    permission = "admin",
    type = "control",
    summary = "Pauses and resumes pushes: takes what POST takes, as messages.",
    history = 0,
    receive = function(context, message) return answer(context.switch(message.action, message.type)) end,
  },
  {
    path = "/api/ws/force-update",
    permission = "admin",
    type = "force_update",
    summary = "Pushes data at once: takes what POST takes, as messages.",
    history = 0,
    receive = function(context, message) return answer(context.force(message.type)) end,
  },
}
