--- What GET /api/metrics says of those who were kept out: by plugins in all processes, and at the admin address by this
-- one since its start.
local json = require "veloflux.pdk.json"
local own = require "veloflux.admin.metrics.own"

local M = {}

local MOST = 100 -- addresses that are named

--- Returns {blocked_requests, rate_limit_hits, failed_auth_attempts, suspicious_ips}.
-- @param state pointer to struct vf_state
-- @param auth of auth.lua
-- @param now seconds, as that has them
function M.document(state, auth, now)
  local totals = own.totals(state, { blocked = { "veloflux_plugin_ip_restriction_refused_total", "" },
    limited = { "veloflux_plugin_rate_limiting_requests_total", '{verdict="refused"}' } })
  return { blocked_requests = totals.blocked, rate_limit_hits = totals.limited, failed_auth_attempts = auth.n_failed,
    suspicious_ips = json.array(auth.throttle:locked(now, MOST)) }
end

return M
