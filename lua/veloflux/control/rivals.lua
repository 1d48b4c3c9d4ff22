--- Routes of a tenant that match the same requests: of two, the second would never answer.
local json = require "veloflux.model.json"
local model = require "veloflux.model"
local schema = require "veloflux.model.schema"
local slices = require "veloflux.slices"
local hosts_of = require("veloflux.model.check").hosts_of

local M = {}

local MATCH_TYPE = model.types.routes.by_name.match

local function sorted(list, change)
  local copy = {}
  for i, value in ipairs(list) do copy[i] = change and change(value) or value end
  table.sort(copy)
  return copy
end

local SLASH = 47

--- Returns what kind of path a route has, and the path. Of thousands of routes hardly one needs a new text for that.
local function path_of(route)
  if route.path then return "=", route.path end
  if route.path_regex then return "~", route.path_regex end
  local prefix = route.path_prefix or "/"
  if prefix:byte(-1) == SLASH then prefix = prefix:gsub("/+$", "") end -- /api/ matches what /api does
  return "^", prefix
end

--- Returns the whole condition of a route as a text.
local function condition_of(route)
  local _, hosts = hosts_of(route)
  local match = rawget(route, "match")
  local kind, path = path_of(route)
  return table.concat({ route.tenant, table.concat(sorted(hosts or { "*" }, string.lower), ","), kind .. path,
    table.concat(sorted(route.methods), ","), tostring(route.priority),
    match and schema.encode(MATCH_TYPE, match) or json.quote "" }, "\0")
end

local function first_other(list, route)
  for _, other in ipairs(list or {}) do
    if other.name ~= route.name then return other end
  end
end

local function by_condition(list)
  local index = {}
  for _, route in ipairs(list) do
    slices.pause()
    local condition = condition_of(route)
    local same = index[condition]
    if same then same[#same + 1] = route else index[condition] = { route } end
  end
  return index
end

--- Returns a function like `M.of` for many routes of one model. Conditions are asked of those alone whose path others
-- have, too.
function M.finder(whole)
  local by_kind, indexes = { ["="] = {}, ["~"] = {}, ["^"] = {} }, {}
  for _, route in ipairs(whole.routes) do
    slices.pause()
    local kind, path = path_of(route)
    local list = by_kind[kind][path]
    if list then list[#list + 1] = route else by_kind[kind][path] = { route } end
  end
  return function(route)
    local kind, path = path_of(route)
    local list = by_kind[kind][path]
    if not list or #list == 1 and list[1].name == route.name then return nil end
    indexes[list] = indexes[list] or by_condition(list)
    return first_other(indexes[list][condition_of(route)], route)
  end
end

--- Says whether two routes may be for the same hosts: of thousands for one host each nearly all are not.
local function may_share_hosts(a, b)
  local one, other = rawget(a, "host"), rawget(b, "host")
  if not one or not other or one == other then return true end
  return #one == #other and one:lower() == other:lower()
end

--- Returns another route with the same condition, or nil.
function M.of(whole, route)
  local kind, path = path_of(route)
  local condition = condition_of(route)
  for _, other in ipairs(whole.routes) do
    slices.pause()
    local other_kind, other_path = path_of(other)
    if other_path == path and other_kind == kind and other.name ~= route.name and may_share_hosts(route, other)
      and condition_of(other) == condition then
      return other
    end
  end
end

return M
