--- Which object a request means, and whether whoever asks may know of it.
local encoding = require "veloflux.pdk.encoding"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local resources = require "veloflux.admin.resources"

local M = {}

local COMMON_PARAMETERS = { tenant_id = true }

local function known_parameters(...)
  local known = {}
  for _, set in ipairs { COMMON_PARAMETERS, ... } do
    for name in pairs(set) do known[name] = true end
  end
  return known
end

--- Returns the parameters of path and query that say which object is meant: those of the path by name, `tenant_id`, and
-- `only`, the tenant whose objects alone the asker may see, if any; or nil and a problem. The other parameters of the
-- query (query.parse) come second.
-- @param ... sets of the parameters that the query may have besides
function M.read(request, ...)
  local params, names = query.parse(request.query)
  if not params then return nil, names end
  local bad = query.unknown(names, known_parameters(...))
  if bad then return nil, bad end
  local where = {}
  for name, value in pairs(request.params) do
    where[name] = encoding.url_decode(value)
    if not where[name] or not query.is_text(where[name]) then
      return nil, problem.new("not_found", "There is nothing at this path.")
    end
  end
  where.tenant_id = params.tenant_id and params.tenant_id[#params.tenant_id]
  local own = request.identity and request.identity.tenant
  if own and where.tenant_id and where.tenant_id ~= own then
    return nil, resources.not_found("tenant", where.tenant_id)
  end
  where.tenant_id, where.only = own or where.tenant_id, own
  return where, params
end

--- Finds the object that parameters name.
-- @return its entry, or nil and a problem
function M.entry(resource, context, where)
  local entry, bad = resource.find(context.transactions(), where)
  if entry and where.only and entry.tenant ~= where.only then entry = nil end
  if entry then return entry end
  return nil, bad or resources.not_found(resource.noun, where.id)
end

--- Finds the object that a request names.
-- @param known set of the parameters that its query may have besides; none when nil
-- @return its entry and the query (query.parse), or nil and a problem
function M.find(resource, context, request, known)
  local where, params = M.read(request, known or {})
  if not where then return nil, params end
  local entry, bad = M.entry(resource, context, where)
  if not entry then return nil, bad end
  return entry, params
end

return M
