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

local function path_of(route)
  if route.path then return "=" .. route.path end
  if route.path_regex then return "~" .. route.path_regex end
  local prefix = (route.path_prefix or "/"):gsub("/+$", "") -- /api/ matches what /api does
  return "^" .. prefix
end

--- Returns the whole condition of a route as a text; the record keeps it.
local function condition_of(route)
  local known = rawget(route, "_condition")
  if known then return known end
  local _, hosts = hosts_of(route)
  local match = rawget(route, "match")
  local text = table.concat({ route.tenant, table.concat(sorted(hosts or { "*" }, string.lower), ","), path_of(route),
    table.concat(sorted(route.methods), ","), tostring(route.priority),
    match and schema.encode(MATCH_TYPE, match) or json.quote "" }, "\0")
  route._condition = text
  return text
end

--- Returns a function like `M.of` for many routes of one model.
function M.finder(whole)
  local by_condition = {}
  for _, route in ipairs(whole.routes) do
    slices.pause()
    local condition = condition_of(route)
    local list = by_condition[condition]
    if list then list[#list + 1] = route else by_condition[condition] = { route } end
  end
  return function(route)
    for _, other in ipairs(by_condition[condition_of(route)] or {}) do
      if other.name ~= route.name then return other end
    end
  end
end

--- Returns another route with the same condition, or nil.
function M.of(whole, route)
  local condition = condition_of(route)
  for _, other in ipairs(whole.routes) do
    slices.pause()
    if other.name ~= route.name and condition_of(other) == condition then return other end
  end
end

return M
