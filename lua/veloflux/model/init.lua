--- The model: the node settings and the entities, each kind defined once by a schema.
-- A model is a table:
--   node      the record of kinds/node.lua
--   tenants, certificates, pools, routes, consumers, templates   lists of records; `default` is always the first
--             tenant
--   plugins   instances of plugins (model/kinds/plugin.lua) for everything, or for a tenant
--   rest_chain, and `_chain` of routes: which instances run where, see plugin/resolve.lua
--   warnings  what is allowed but should not stay so: list of {file, line, path, message, code}
--   lint      the same, of model/lint.lua
--   source    what it was read from, for messages
--   origin    stands for the conf file as it was read: models of the same one have the same node settings and plugins
-- Records are those of model/schema.lua: only what was said, defaults behind. Besides its fields an
-- entity has `_file` and `_line`: where it stands.
local schema = require "veloflux.model.schema"

local M = {}

--- The kinds of entities, in the order in which references need them.
M.KINDS = { "tenants", "certificates", "pools", "routes", "consumers", "plugins", "templates" }

--- The kinds of the model, and those that plugins store.
-- @param plugins of plugin/loader.lua, or nil
function M.kinds_of(plugins)
  if not plugins or #plugins.kind_names == 0 then return M.KINDS end
  local all = {}
  for _, list in ipairs { M.KINDS, plugins.kind_names } do
    for _, kind in ipairs(list) do all[#all + 1] = kind end
  end
  return all
end

--- The compiled schemas by kind.
M.types = {
  tenants = schema.compile(require "veloflux.model.kinds.tenant"),
  certificates = schema.compile(require("veloflux.model.kinds.certificate").type),
  pools = schema.compile(require "veloflux.model.kinds.pool"),
  routes = schema.compile(require "veloflux.model.kinds.route"),
  consumers = schema.compile(require "veloflux.model.kinds.consumer"),
  templates = schema.compile(require "veloflux.model.kinds.template"),
}
M.node_type = schema.compile(require "veloflux.model.kinds.node")

--- Returns the key that identifies an entity within its kind: TENANT/NAME, tenants by NAME, instances of
-- plugins by NAME, NAME:AS or TENANT/NAME.
function M.key(kind, entity)
  if kind == "tenants" then return entity.name end
  if kind == "plugins" then
    local as = entity.as
    local name = as and as ~= entity.name and entity.name .. ":" .. as or entity.name
    return entity.tenant and entity.tenant .. "/" .. name or name
  end
  return (entity.tenant or "default") .. "/" .. entity.name -- some kinds of plugins are of no tenant
end

local same

--- Compares records field by field; a default that is written out is no difference.
local function same_record(a, b, names)
  for i = 1, #names do
    local x, y = a[names[i]], b[names[i]]
    if x ~= y and not same(x, y) then return false end
  end
  return true
end

local function says_no_more(a, b)
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  return true
end

--- Says whether two values of the model are equal.
function M.same(a, b) return same(a, b) end

function same(a, b)
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  local metatable = getmetatable(a)
  if metatable ~= getmetatable(b) then return false end
  if metatable and metatable.names then return same_record(a, b, metatable.names) end
  return says_no_more(a, b) and says_no_more(b, a)
end

--- Sets what a check has found out about the entity at `position` of the list of a kind: on a copy when an earlier
-- model has the record too.
function M.annotate(model, kind, position, field, value)
  local list = model[kind]
  local record = list[position]
  if rawget(record, field) == value then return record end
  if rawget(record, "_is_shared") then
    local copy = setmetatable({}, getmetatable(record))
    for key, inner in pairs(record) do copy[key] = inner end
    copy._is_shared = nil
    list[position], record = copy, copy
    model.copies = model.copies or {}
    table.insert(model.copies, copy)
  end
  record[field] = value
  return record
end

--- From here on the records of a model are not changed any more. Those that a model before has are shared already, but
-- for copies that were made of them.
-- @param news model/news.lua
function M.share(model, news)
  for _, kind in ipairs { "routes", "consumers" } do
    for _, i in ipairs(news.positions[kind]) do model[kind][i]._is_shared = true end
  end
  for _, copy in ipairs(model.copies or {}) do copy._is_shared = true end
  model.copies = nil
end

local function by_key(kind, list)
  local map = {}
  for _, entity in ipairs(list) do map[M.key(kind, entity)] = entity end
  return map
end

--- Names as people know them: those of the default tenant without it.
local function shown(key)
  return (key:gsub("^default/", ""))
end

--- Leaves out the entities that stand at the same position under the same name and say the same: in
-- a reload these are nearly all, and need no index.
local function without_unchanged(old, new)
  local old_rest, new_rest = {}, {}
  for i = 1, math.max(#old, #new) do
    local before, after = old[i], new[i]
    if not (before and after and before.name == after.name and same(before, after)) then
      table.insert(old_rest, before)
      table.insert(new_rest, after)
    end
  end
  return old_rest, new_rest
end

local function diff_kind(kind, old, new)
  old, new = without_unchanged(old, new)
  local before, after = by_key(kind, old), by_key(kind, new)
  local result = { added = {}, changed = {}, removed = {} }
  for _, entity in ipairs(new) do
    local key = M.key(kind, entity)
    local earlier = before[key]
    if not earlier then
      table.insert(result.added, shown(key))
    elseif not same(earlier, entity) then
      table.insert(result.changed, shown(key))
    end
  end
  for _, entity in ipairs(old) do
    local key = M.key(kind, entity)
    if not after[key] then table.insert(result.removed, shown(key)) end
  end
  return result
end

--- Returns the kinds of two models, those that plugins store in the order of their names.
local function with_stored(old, new)
  local all, seen, names = {}, {}, {}
  for i, kind in ipairs(M.KINDS) do all[i] = kind end
  for _, model in ipairs { new, old } do
    for _, kind in ipairs(model.stored_kinds or {}) do
      if not seen[kind] then names[#names + 1], seen[kind] = kind, true end
    end
  end
  table.sort(names)
  for _, kind in ipairs(names) do all[#all + 1] = kind end
  return all
end

--- Says what changes from one model to another.
-- @param old model or nil
-- @return table: for each kind {added, changed, removed} as lists of names, and `node`: a list of the
-- node settings that changed
function M.diff(old, new)
  local result = { node = {} }
  for _, kind in ipairs(with_stored(old, new)) do
    result[kind] = diff_kind(kind, old and old[kind] or {}, new[kind] or {})
  end
  for _, pair in ipairs(M.node_type.fields) do
    local name = pair[1]
    if not same(old and old.node[name], new.node[name]) then table.insert(result.node, name) end
  end
  return result
end

local function count(text, number, verb)
  if number > 0 then text[#text + 1] = ("%d %s"):format(number, verb) end
end

local PLACES = {}
for i, kind in ipairs(M.KINDS) do PLACES[kind] = i end

--- Writes a difference for people: "routes: 1 added, 2 changed; node: limits", or "no changes".
function M.describe_diff(diff)
  local parts, kinds = {}, {}
  for kind in pairs(diff) do
    if kind ~= "node" then kinds[#kinds + 1] = kind end
  end
  table.sort(kinds, function(a, b)
    local first, second = PLACES[a] or math.huge, PLACES[b] or math.huge
    if first ~= second then return first < second end
    return a < b
  end)
  for _, kind in ipairs(kinds) do
    local counts = {}
    for _, verb in ipairs { "added", "changed", "removed" } do count(counts, #diff[kind][verb], verb) end
    if #counts > 0 then parts[#parts + 1] = kind .. ": " .. table.concat(counts, ", ") end
  end
  if #diff.node > 0 then parts[#parts + 1] = "node: " .. table.concat(diff.node, ", ") end
  return #parts > 0 and table.concat(parts, "; ") or "no changes"
end

return M
