--- What is shown of resources: single objects, and lists that are filtered, sorted and cut into pages.
local json = require "veloflux.pdk.json"
local query = require "veloflux.admin.query"
local schemas = require "veloflux.admin.schemas"
local status = require "veloflux.admin.status"
local tags = require "veloflux.admin.rest.tags"
local targets = require "veloflux.admin.rest.targets"
local view = require "veloflux.model.view"

local M = {}

--- Returns an object as it is shown.
function M.show(resource, entry)
  local shown = view.show(entry.compiled, entry.record)
  shown.tenant_id, shown.tenant = entry.tenant, nil
  shown.id = shown.id or entry.name
  shown.version, shown.origin, shown.source = entry.version, entry.origin, entry.source
  shown.created_at = entry.created_ms and status.time(entry.created_ms) or json.null
  shown.updated_at = entry.updated_ms and status.time(entry.updated_ms) or json.null
  if resource.show then resource.show(entry, shown) end
  return shown
end

--- The paths by which lists of a resource are filtered and sorted: its scalar fields.
local function add_paths(paths, prefix, compiled, depth)
  compiled = compiled and compiled.general or compiled
  for _, pair in ipairs(compiled and compiled.fields or {}) do
    local name, field = prefix .. pair[1], pair[2]
    local attr = field.attr
    if not attr.secret and attr.type ~= "unavailable" and attr.type ~= "opaque" and attr.type ~= "tree" then
      if not field.fields and not field.value and name ~= "tenant" then paths[name] = true end
      local inner = field.fields and field or field.forms and field.forms.map
      if inner and depth > 0 then add_paths(paths, name .. ".", inner, depth - 1) end
    end
  end
end

--- Returns the set of paths by which lists of a resource may be filtered and sorted.
function M.paths(resource)
  if resource.paths then return resource.paths end
  local paths = {}
  add_paths(paths, "", schemas.type_of(resource), 2)
  for _, field in ipairs(resource.fields) do paths[field[1]] = true end
  resource.paths = paths
  return paths
end

-- An object of a list that is shown when something is asked of it that its entry does not say by itself: a page of
-- a long list should not cost the whole.
local Lazy = {}

local function shown_of(item)
  local shown = rawget(item, "_shown")
  if not shown then
    shown = M.show(rawget(item, "_resource"), rawget(item, "_entry"))
    item._shown = shown
  end
  return shown
end

function Lazy.__index(item, field)
  local entry, quick = rawget(item, "_entry"), rawget(item, "_resource").quick
  if field == "tenant_id" and quick then return entry.tenant end
  if quick and quick[field] then return quick[field](entry) end
  return shown_of(item)[field]
end

local PAGING = { limit = true, cursor = true, page = true, sort = true }

--- What a tenant may see of a list.
local function only_of(entries, tenant)
  local own = {}
  for _, entry in ipairs(entries) do
    if entry.tenant == tenant then own[#own + 1] = entry end
  end
  return own
end

--- Answers with a list.
function M.list(resource, context, request)
  local where, params = targets.read(request, PAGING, M.paths(resource))
  if not where then return params end
  local bad = resource.check_filters and resource.check_filters(context.transactions(), where, params)
  if bad then return bad end
  local entries
  entries, bad = resource.list(context.transactions(), where)
  if not entries then return bad end
  if where.only then entries = only_of(entries, where.only) end
  local shown = {}
  for i, entry in ipairs(entries) do shown[i] = setmetatable({ _entry = entry, _resource = resource }, Lazy) end
  return query.answer(request, params, shown, M.paths(resource), resource.order, shown_of)
end

--- Answers with one object.
function M.get(resource, context, request)
  local where, bad = targets.read(request)
  if not where then return bad end
  local entry
  entry, bad = targets.entry(resource, context, where)
  if not entry then return bad end
  local tag = tags.of(entry)
  if tags.has(request.headers["if-none-match"] or "", tag, true) then
    return { status = 304, headers = { "ETag", tag }, body = "" }
  end
  return { json = M.show(resource, entry), headers = { "ETag", tag } }
end

return M
