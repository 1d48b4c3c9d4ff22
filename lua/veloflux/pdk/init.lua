--- The plugin API. Each group is a module of its own, loaded on first use: pdk.request is
-- veloflux.pdk.request. Names and semantics of the groups that Kong has, too, are Kong's.
---@class pdk
---@field request pdk.request
---@field service pdk.service
---@field response pdk.response
---@field client pdk.client
---@field auth pdk.auth
---@field ctx pdk.ctx
---@field log pdk.log
---@field cache pdk.cache
---@field router pdk.router
---@field ip pdk.ip
---@field node pdk.node
---@field plugin pdk.plugin
---@field table pdk.table
---@field vault pdk.vault
---@field tracing pdk.tracing
---@field http pdk.http
---@field socket pdk.socket
---@field redis pdk.redis
---@field timer pdk.timer
---@field shared pdk.shared
---@field queue pdk.queue
---@field crypto pdk.crypto
---@field json pdk.json
---@field re pdk.re
---@field template pdk.template
---@field metrics pdk.metrics
---@field ratelimit pdk.ratelimit
---@field model pdk.model
---@field encoding pdk.encoding
---@field document pdk.document
---@field transaction pdk.transaction
---@field versions pdk.versions
---@field configuration pdk.configuration
---@field templates pdk.templates
---@field backups pdk.backups
---@field schemas pdk.schemas
---@field bulk pdk.bulk
---@field state pdk.state
---@field problem pdk.problem
local GROUPS = { "request", "service", "response", "client", "auth", "ctx", "log", "cache", "router", "ip", "node",
  "plugin", "table", "vault", "tracing", "http", "socket", "redis", "timer", "shared", "queue", "crypto", "json", "re",
  "template", "metrics", "ratelimit", "model", "encoding", "document", "transaction", "versions", "configuration",
  "templates", "backups", "schemas", "bulk", "state", "problem" }

local known = {}
for _, name in ipairs(GROUPS) do known[name] = true end

return setmetatable({ version = "1.0.0", version_num = 1000000 }, {
  __index = function(pdk, name)
    if not known[name] then return nil end
    local group = require("veloflux.pdk." .. name)
    rawset(pdk, name, group)
    return group
  end,
})
