--- Where listeners pass connections on to: their names in byte order, each with its pool and the limits that apply.
local layout = require "veloflux.compiler.layout"
local traffic = require "veloflux.compiler.traffic"

local C = layout.C

local M = {}

M.MODES = { http = C.VF_LISTENER_HTTP, tcp = C.VF_LISTENER_TCP, tls_passthrough = C.VF_LISTENER_TLS_PASSTHROUGH }

--- Returns what finds pools by name: function(name) -> record, index.
-- @param indexes of compiler/pools.lua
function M.finder(model, indexes)
  local by_name
  return function(name)
    if not by_name then
      by_name = {}
      for _, pool in ipairs(model.pools) do
        if pool.tenant == "default" then by_name[pool.name] = pool end
      end
    end
    local pool = by_name[name]
    return pool, indexes[pool]
  end
end

--- The names of a listener, sorted, each with the name of its pool. The empty name, which is for all others, is first.
local function targets(listener)
  local list = {}
  if listener.pool then list[1] = { name = "", pool = listener.pool } end
  for _, entry in ipairs(listener.names or {}) do
    for _, host in ipairs(entry.hosts) do list[#list + 1] = { name = host:lower(), pool = entry.pool } end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

--- Writes the destinations of a listener.
-- @param find_pool of finder
-- @param out struct vf_snap_list
function M.write(to, node, listener, find_pool, out)
  local list, policies = targets(listener), {}
  if #list == 0 then return end
  local records, first = to:add(C.VF_SNAP_DESTINATIONS, #list)
  for i, target in ipairs(list) do
    local pool, index = find_pool(target.pool)
    policies[pool] = policies[pool] or traffic.complete(to, node, listener, pool)
    records[i - 1].pool, records[i - 1].policy = index, policies[pool]
    to:text(target.name, records[i - 1].name)
  end
  out.first, out.count = first, #list
end

return M
