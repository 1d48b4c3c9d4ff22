--- From what a request brings to what the model takes: read-only fields are left out, secrets that come back masked are
-- put in again, the tenant is found, and with `Prefer: handling=lenient` unknown fields are forgotten.
local bodies = require "veloflux.admin.body"
local entities = require "veloflux.admin.entities"
local json = require "veloflux.pdk.json"
local problem = require "veloflux.admin.problem"
local queue = require "veloflux.control.queue"
local resources = require "veloflux.admin.resources"
local schemas = require "veloflux.admin.schemas"
local tenant_guard = require "veloflux.admin.tenant_guard"
local values = require "veloflux.control.values"
local view = require "veloflux.model.view"

local M = {}

--- What objects are known by has to be text; elsewhere the model takes what a conf file may say.
local function check_names(value)
  for _, name in ipairs { "name", "as", "tenant", "tenant_id", "address", "pool", "route", "consumer", "scope" } do
    local own = value[name]
    if own ~= nil and own ~= json.null and type(own) ~= "string" then
      return resources.invalid("/" .. name, "expected a text")
    end
  end
end

--- Fields that are shown but not written are accepted and ignored; `tenant_id` is the tenant.
local function take_fields(resource, value, entry, where)
  local compiled = schemas.type_of(resource)
  for _, field in ipairs(resource.fields) do
    local name = field[1]
    if not field.takes and not (compiled.by_name and compiled.by_name[name]) then value[name] = nil end
  end
  for _, name in ipairs { "tenant", "tenant_id" } do
    if value[name] == json.null then value[name] = nil end
    if value[name] == "" then return resources.invalid("/" .. name, "expected the name of a tenant") end
  end
  local tenant = value.tenant_id
  value.tenant_id = nil
  if entry then
    tenant = tenant or value.tenant
    if tenant ~= nil and tenant ~= entry.tenant and resource.name ~= "tenants" then
      return resources.invalid("/tenant_id", "cannot be changed")
    end
    value.tenant = nil
    return nil
  end
  if tenant and value.tenant and tenant ~= value.tenant then
    return resources.invalid("/tenant", "is another than tenant_id")
  end
  if resource.name ~= "tenants" then value.tenant = tenant or value.tenant or where.tenant_id end
end

--- Says whether objects of a resource have a field besides those of their type.
local function has_field(resource, name)
  if name == "tenant" or name == "tenant_id" then return true end
  for _, field in ipairs(resource.fields) do
    if field[1] == name then return true end
  end
  return false
end

local function plugins()
  local world = queue.world()
  return world and world.tools.plugins
end

--- Null stands for the default: in a new object it is as if the field were not there.
local function drop_nulls(resource, value)
  local by_name = view.type_of(schemas.judged_by(resource), value, plugins()).by_name
  for name, own in pairs(value) do
    if own == json.null and (by_name[name] or has_field(resource, name)) then value[name] = nil end
  end
end

--- The type by which a value is judged, as far down as plugins have a say.
local function judged_by(resource, compiled)
  return compiled == schemas.type_of(resource) and schemas.judged_by(resource) or compiled
end

local function refuse_mistyped(resource, compiled, value, is_lenient)
  local errors = {}
  for _, fault in ipairs(view.mistyped(judged_by(resource, compiled), value, plugins())) do
    local is_known = fault.rule == "unknown" and (is_lenient or has_field(resource, fault.pointer:sub(2)))
    if not is_known then errors[#errors + 1] = fault end
  end
  if #errors == 0 then return nil end
  table.sort(errors, function(a, b) return a.pointer < b.pointer end)
  return problem.new("invalid", ("%s: %s"):format(errors[1].pointer:sub(2), errors[1].detail), { errors = errors })
end

--- Makes of what came in what the model takes.
-- @param entry of what it changes (nil: it makes one); with is_pending: of what is not there yet
-- @return it, or nil and a problem
function M.prepare(resource, request, raw, entry, where)
  local value = values.literal(raw)
  local is_lenient = bodies.prefers(request, "handling=lenient")
  if not entry then drop_nulls(resource, value) end
  local bad = check_names(value) or take_fields(resource, value, entry, where)
  if not bad and resource.prepare then bad = resource.prepare(value, entry) end
  if bad then return nil, bad end
  local compiled = entry and entry.compiled or schemas.type_of(resource)
  view.take(compiled, value)
  bad = refuse_mistyped(resource, compiled, value, is_lenient)
    or where.only and tenant_guard.refuse_files(judged_by(resource, compiled), value, plugins()) or nil
  if bad then return nil, bad end
  if is_lenient then
    local kept = {}
    for _, field in ipairs(resource.fields) do
      if field.takes then kept[field[1]] = value[field[1]] end
    end
    local tenant = value.tenant
    view.strip(judged_by(resource, compiled), value, plugins())
    value.tenant = tenant
    for name, own in pairs(kept) do value[name] = own end
  end
  if entry and not entry.is_pending then view.unmask(value, entities.open(entry)) end
  return value
end

return M
