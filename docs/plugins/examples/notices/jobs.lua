local pdk = require "veloflux.pdk"

--- Deletes the notices whose time is over. In a cluster one node does: the leader.
local function expire()
  local ops, now_ms = {}, os.time() * 1000
  for _, notice in ipairs(pdk.model.list "notices") do
    if notice.origin == "api" and notice.until_ms and notice.until_ms <= now_ms then
      ops[#ops + 1] = { op = "delete", kind = "notices", name = notice.name, tenant = notice.tenant_id,
        if_match = notice.version }
    end
  end
  if #ops == 0 then return end
  local result, problem = pdk.transaction.apply(ops, { reason = "their time is over" })
  if not result then pdk.log.warn("notices cannot be deleted: ", problem.detail) end
end

return { { name = "expire", every = "1s", jitter = 0.1, scope = "cluster", run = expire } }
