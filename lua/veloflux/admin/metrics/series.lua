--- What the series of entities have in common: how many get some of their own, what they are called, and the walk over
-- them. The rest is summed up as `_other`.
local slices = require "veloflux.slices"
local totals = require "veloflux.totals"

local M = {}

--- How many routes, pools, backends and tenants have series of their own, in the order of the configuration.
M.MAX = 1000

--- What the rest is called.
M.OTHER = "_other"

--- The classes of status, as structs count them.
M.CLASSES = { [0] = "1xx", "2xx", "3xx", "4xx", "5xx" }

--- What a name is shown as: those of the default tenant without it.
function M.shown(tenant, name)
  tenant, name = totals.text(tenant), totals.text(name)
  return tenant == "default" and name or tenant .. "/" .. name
end

--- Walks the first entities of a kind, `max` at most: their indexes. Between two of them the loop may turn, and another
-- snapshot may come that has fewer.
function M.each(kind, max)
  local index = -1
  return function()
    slices.pause()
    index = index + 1
    if index < totals.numbers()[kind] and index < (max or math.huge) then return index end
  end
end

return M
