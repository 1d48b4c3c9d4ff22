--- The resources of the admin API, each in a file of its own where it has more to say than its name. Everything else
-- about them follows: rest/ serves them, openapi.lua and the reference describe them.
--
-- A resource is a table:
--   name          of the collection: "pools"; noun: what one is called
--   kind          of the model, and perhaps `field`, the list in it whose elements these are
--   permission    before ":read" and ":write"
--   methods       of a single one, besides GET: set of PUT, PATCH, DELETE
--   order         how lists are sorted: names of fields that tell any two apart
--   fields        list of {name, schema, description, takes}: what an object has besides the fields of its schema.
--                 Those with `takes` may be written, the others are accepted and ignored.
--   quick         map from fields to function(entry): what an entry says without being shown, `tenant_id` besides
--   elements      map from fields that are lists to the resource whose objects are in them
--   forms         where the core serves it: list of {collection = path or nil, single = path or nil}; {names} of
--                 `params`
--   list(t, params)         entries
--   check_filters(t, where, params)  a problem when a list is asked for by what is not there
--   find(t, params)         an entry; or nil, and perhaps a problem
--   show(entry, shown)      adds to what is shown
--   is_per_tenant true: names are unique within a tenant only
--   location(entry, shown)  the path of a new one, when it is not below that of the collection
--   create(t, value, params)                 a transaction; or nil and a problem
--   change(op, entry, value, if_match)       a transaction
--   prepare(value, entry)   changes what came in, or returns a problem
local consumers = require "veloflux.admin.resources.consumers"
local entities = require "veloflux.admin.entities"
local parts = require "veloflux.admin.resources.parts"
local plugins = require "veloflux.admin.resources.plugins"

local entity, with_common, invalid = parts.entity, parts.with_common, parts.invalid

local M = {
  invalid = invalid, not_found = parts.not_found, scope_of = plugins.scope_of,
  pools = require "veloflux.admin.resources.pools",
  backends = require "veloflux.admin.resources.backends",
  routes = require "veloflux.admin.resources.routes",
  consumers = consumers.consumers,
  credentials = consumers.credentials,
  plugins = plugins.resource,
  certificates = require "veloflux.admin.resources.certificates",
}

M.tenants = entity {
  name = "tenants", noun = "tenant", kind = "tenants", permission = "tenants", methods = parts.METHODS, order = "name",
  forms = { { collection = "/api/tenants", single = "/api/tenants/{id}" } },
  fields = with_common {},
}

M.templates = entity {
  name = "templates", noun = "template", kind = "templates", permission = "templates", is_per_tenant = true,
  methods = parts.METHODS, order = "tenant_id,name",
  forms = {}, -- the plugin `config` says where
  fields = with_common {},
}

-- What plugins store --------------------------------------------------------------------------------------

--- Returns the resource of a kind that a plugin stores.
-- @param kind of plugin/control/kinds.lua
function M.of_kind(kind)
  local name = kind.kind
  local resource = entity { name = name, noun = kind.noun, kind = name, permission = name, compiled = kind.compiled,
    is_per_tenant = kind.is_per_tenant, methods = parts.METHODS,
    order = kind.is_per_tenant and "tenant_id,name" or "name", forms = {}, fields = with_common {} }
  if kind.is_per_tenant then return resource end
  resource.prepare = function(value)
    if value.tenant ~= nil and value.tenant ~= "default" then
      return invalid("/tenant_id", ("%s are of no tenant"):format(name))
    end
    value.tenant = nil
  end
  resource.create = function(_, value) return entities.create(name, nil, value, value.name) end
  return resource
end

M.stored = {} -- resources of plugins, in the order of their names

--- Replaces the resources of plugins.
function M.set_stored(list) M.stored = list end

--- Returns a resource by its name, or nil.
function M.find(name)
  for _, list in ipairs { M.ALL, M.stored } do
    for _, resource in ipairs(list) do
      if resource.name == name then return resource end
    end
  end
end

--- Returns all resources, those of plugins behind the others.
function M.all()
  local all = {}
  for _, list in ipairs { M.ALL, M.stored } do
    for _, resource in ipairs(list) do all[#all + 1] = resource end
  end
  return all
end

--- All of them but those of plugins, in the order of the reference.
M.ALL = { M.pools, M.backends, M.routes, M.consumers, M.credentials, M.plugins, M.tenants, M.templates, M.certificates }

return M
