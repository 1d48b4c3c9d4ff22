--- /api/ws/status: how the node is. Sent every ten seconds, and at once when there is another configuration or the
-- health of a backend has changed.
return {
  {
    path = "/api/ws/status",
    permission = "user",
    type = "status",
    summary = "How the node is: health, version, backends, clients.",
    every = "10s",
    watch = function(context) return context.version() .. " " .. context.health_mark() end,
    frame = function(context) return context.status() end,
  },
}
