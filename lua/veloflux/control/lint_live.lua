--- What the state of the backends says about a model that is not published yet: pools of which nobody is healthy.
local totals = require "veloflux.totals"

local M = {}

local MOST_BACKENDS = 5000 -- that are looked at

--- Returns the pools of what runs that have backends and none that gets requests: a set of TENANT/NAME.
local function pools_down()
  local down = {}
  if not totals.has_snapshot() or totals.numbers().backends > MOST_BACKENDS then return down end
  for i = 0, totals.numbers().pools - 1 do
    local pool = totals.pool(i)
    local first, count = pool.first_backend, pool.n_backends
    local key, is_down = totals.text(pool.tenant) .. "/" .. totals.text(pool.name), count > 0
    for at = first, first + count - 1 do is_down = is_down and totals.backend(at).is_usable == 0 end
    if is_down then down[key] = true end
  end
  return down
end

--- Returns warnings, as model/lint.lua notes them.
function M.of(model)
  local down, used, warnings = pools_down(), {}, {}
  if next(down) == nil then return warnings end
  for _, route in ipairs(model.routes) do
    if route._pool then used[route._pool] = route end
  end
  for _, pool in ipairs(model.pools) do
    if down[pool.tenant .. "/" .. pool.name] and used[pool] then
      warnings[#warnings + 1] = { code = "pool_without_healthy_backends", file = pool._file, line = pool._line,
        path = "",
        message = ("the pool %s has no backend that gets requests now, and the route %s leads to it"):format(pool.name,
          used[pool].name) }
    end
  end
  return warnings
end

return M
