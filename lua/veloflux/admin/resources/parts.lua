--- What the resources have in common: schemas of fields, problems, and what those do whose objects are entities.
local entities = require "veloflux.admin.entities"
local problem = require "veloflux.admin.problem"

local M = {}

--- The methods of single objects, besides GET.
M.METHODS = { PUT = true, PATCH = true, DELETE = true }
-- Schemas of fields.
M.STRING, M.INTEGER, M.NUMBER = { type = "string" }, { type = "integer" }, { type = "number" }
M.STRINGS = { type = "array", items = { type = "string" } }
M.BOOLEAN, M.TIME = { type = "boolean" }, { type = { "string", "null" }, format = "date-time" }

--- What every object has.
M.COMMON = {
  { "id", M.STRING, "What it is called in paths." },
  { "tenant_id", M.STRING, "Whose it is.", takes = true },
  { "version", M.INTEGER, "The version in which it last changed, its ETag." },
  { "created_at", M.TIME, "When it was made." },
  { "updated_at", M.TIME, "When it last changed." },
  { "origin", { type = "string", enum = { "api", "file" } }, "file: it stands in the conf file and is changed there." },
  { "source", M.STRING, "FILE:LINE where it stands, of origin file." },
}

--- Returns COMMON and the lists of fields behind it as one.
function M.with_common(...)
  local all = {}
  for _, list in ipairs { M.COMMON, ... } do
    for _, field in ipairs(list) do all[#all + 1] = field end
  end
  return all
end

--- Returns the problem of a value.
-- @param pointer JSON pointer to it, "": the whole
-- @param detail what was expected
function M.invalid(pointer, detail)
  return problem.new("invalid", ("%s: %s"):format(pointer == "" and "body" or pointer:sub(2), detail),
    { errors = { { pointer = pointer, detail = detail } } })
end

--- Returns the problem that an object is not there.
function M.not_found(noun, name)
  return problem.new("not_found", ("There is no %s %s."):format(noun, name))
end

--- What entries say by themselves, without being shown.
M.BY_NAME = { name = function(entry) return entry.name end }

--- Returns the tenant that the parameters of a request mean.
function M.tenant_of(params) return params.tenant_id or "default" end

--- Makes a resource, as init.lua describes them, whose objects are entities: fills in what all of these do alike.
-- @return it
function M.entity(resource)
  local kind = resource.kind
  resource.list = function(t) return entities.list(t, kind) end
  resource.find = resource.find or function(t, params)
    return entities.find(t, kind, kind ~= "tenants" and M.tenant_of(params) or nil, params.id)
  end
  resource.create = resource.create or function(_, value, params)
    local tenant = kind ~= "tenants" and (value.tenant or M.tenant_of(params)) or nil
    if kind ~= "tenants" then value.tenant = tenant end
    return entities.create(kind, tenant, value, value.name)
  end
  resource.change, resource.quick = entities.change, resource.quick or M.BY_NAME
  return resource
end

--- Makes an object that is an element of a list of an entity: what `create` of a resource returns.
-- @param owner entry whose list it is
-- @param field of the owner
function M.create_element(owner, field, value)
  return entities.change_element("create", owner, field, nil, value), nil,
    { owner = owner, field = field, index = #entities.elements(owner, field) + 1 }
end

return M
