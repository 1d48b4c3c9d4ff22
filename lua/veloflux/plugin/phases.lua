--- The phases that a plugin's handler may have: enum vf_phase of src/snapshot/layout_plugins.h, and the names
-- that gateway authors know them by.
local suggest = require "veloflux.model.suggest"

local M = {}

--- The names in the order of the enum; the first is number 0.
M.NAMES = { "init_worker", "configure", "certificate", "rewrite", "access", "balancer", "header_filter", "body_filter",
  "log" }

--- Name to number.
M.NUMBERS = {}
for i, name in ipairs(M.NAMES) do M.NUMBERS[name] = i - 1 end

--- Names that are taken for later.
M.RESERVED = { response = true, preread = true }

--- Returns the phase that `name`, which is none, is probably meant to be; or nil.
function M.meant(name)
  if M.NUMBERS[name] or name:find "^_" then return nil end
  local nearest = suggest.nearest(name, M.NAMES)
  if not nearest then return nil end
  local distance = suggest.distance(name:lower(), nearest)
  return distance <= (#nearest >= 6 and 2 or 1) and nearest or nil
end

return M
