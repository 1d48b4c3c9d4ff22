--- What the node is doing, live: its state, its backends, its figures, its health; and the switches for these pushes.
local pdk = require "veloflux.pdk"

--- Answers what a message asked for, or says why not.
local function answer(result, problem)
  if result then return result end
  return { code = "invalid", detail = problem }, "error"
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
    type = "backend_status_update",
    summary = "The backends with their figures. With a filter: those of a pool.",
    every = "5s",
    watch = function(context) return context.version() .. " " .. context.mark "backends" end,
    frame = function(context)
      return context.backends(), context.reason == "open" and "backends" or "backend_status_update"
    end,
    filter_fields = { pool = { type = "string" }, tenant_id = { type = "string" } },
    filter = function(backends, filter)
      local list = pdk.json.array()
      for _, backend in ipairs(backends) do
        if (not filter.pool or backend.pool == filter.pool)
          and (not filter.tenant_id or backend.tenant_id == filter.tenant_id) then
          list[#list + 1] = backend
        end
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
