--- The pools that listeners pass connections on to: they are there, and make sense.
local suggest = require "veloflux.model.suggest"

local M = {}

--- Calls visit(pool_name, path, record) for each pool that a listener names; path begins with "listeners[".
local function each(listener, position, visit)
  local base = ("listeners[%d]"):format(position - 1)
  local names = rawget(listener, "names") or {}
  if rawget(listener, "pool") then visit(listener.pool, base .. ".pool", listener) end
  for i, entry in ipairs(names) do
    if entry.pool then visit(entry.pool, ("%s.names[%d].pool"):format(base, i - 1), entry) end
  end
end

local function judge(listener, name, pools)
  local pool = pools[name]
  if not pool then
    local known = {}
    for each_name in pairs(pools) do known[#known + 1] = each_name end
    table.sort(known)
    local nearest = suggest.nearest(name, known)
    return ('unknown pool "%s"%s'):format(name, nearest and (", did you mean %s?"):format(nearest) or "")
  end
  if listener.mode == "tls_passthrough" and pool.tls then
    return ("the pool %s has tls: what clients encrypt would be encrypted once more"):format(name)
  end
end

--- Returns which listener leads to each pool: pool name -> name of the first one.
function M.leading(model)
  local first_of = {}
  for i, listener in ipairs(model.node.listeners) do
    each(listener, i, function(name) first_of[name] = first_of[name] or listener.name end)
  end
  return first_of
end

--- Checks the listeners of a model. Appends to `problems`.
-- @param pools name -> pool, of the default tenant
function M.run(model, pools, problems)
  for i, listener in ipairs(model.node.listeners) do
    each(listener, i, function(name, path, record)
      local message = judge(listener, name, pools)
      if message then
        problems[#problems + 1] = { file = record._file or listener._file, line = record._line or listener._line,
          path = path, message = message }
      end
    end)
  end
end

return M
