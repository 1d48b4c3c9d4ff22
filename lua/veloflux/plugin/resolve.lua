--- The chains of a model: for every route, the instances of plugins that run for it.
--
-- Leaves in the model:
--   route._chain           a chain, or nil: the route has no plugins
--   model.rest_chain       the chain of requests that no route takes, or nil
--   consumer._items        the consumer's own items, unresolved; nil when it has none
-- A chain is a list of items of plugin/chain.lua, each with {plugin, scope, tenant, on_error, source, json,
-- meta, layers}; routes whose lists say the same share one, so 10,000 routes cost little more than their
-- own lists.
local chain = require "veloflux.plugin.chain"
local document = require "veloflux.model.document"
local json = require "veloflux.model.json"
local plugin_kind = require "veloflux.model.kinds.plugin"
local schema = require "veloflux.model.schema"
local suggest = require "veloflux.model.suggest"
local annotate = require("veloflux.model").annotate

local M = {}

--- The names of the scopes: enum vf_snap_scope of snapshot/layout.h, from 0.
M.SCOPES = { [0] = "global", "tenant", "pool", "route", "consumer" }
local GLOBAL, TENANT, POOL, ROUTE, CONSUMER = 0, 1, 2, 3, 4

local NOTHING = { id = 0, items = {} }

local Resolver = {}
Resolver.__index = Resolver

-- Items ---------------------------------------------------------------------------------------------

local function names_text(list)
  local parts = {}
  for i, name in ipairs(list) do parts[i] = json.quote(name) end
  return "[" .. table.concat(parts, ",") .. "]"
end

--- Returns the values of the merge fields that were said, as JSON, or nil.
local function own_text(plugin, config)
  local parts, names = {}, {}
  for field in pairs(plugin.merge) do names[#names + 1] = field end
  table.sort(names)
  for _, field in ipairs(names) do
    local value = config and rawget(config, field)
    if value ~= nil then
      parts[#parts + 1] = json.quote(field) .. ":" .. schema.write(plugin.compiled.by_name[field], value)
    end
  end
  return #parts > 0 and "{" .. table.concat(parts, ",") .. "}" or nil
end

local function merge_text(merge)
  local names, parts = {}, {}
  for field in pairs(merge) do names[#names + 1] = field end
  table.sort(names)
  for i, field in ipairs(names) do parts[i] = json.quote(field) .. ":" .. json.quote(merge[field]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- What a worker needs to resolve the item again, with those of a consumer.
local function meta_of(item)
  local order, parts = item.order, {}
  parts[1] = '"enabled":' .. tostring(item.enabled)
  if next(item.plugin.merge) then parts[#parts + 1] = '"merge":' .. merge_text(item.plugin.merge) end
  if order.before[1] or order.after[1] then
    parts[#parts + 1] = ('"order":{"after":%s,"before":%s}'):format(names_text(order.after), names_text(order.before))
  end
  if item.own_json then parts[#parts + 1] = '"own":' .. item.own_json end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function make_item(instance, scope, tenant)
  local plugin = plugin_kind.plugin_of(instance)
  local item = { name = instance.name, as = instance.as or instance.name, priority = plugin.priority,
    enabled = instance.enabled, order = instance.order, on_error = instance.on_error, merge = plugin.merge,
    plugin = plugin, scope = scope, tenant = tenant, record = instance.config, instance = instance,
    source = ("%s:%d"):format(instance._file, instance._line) }
  item.json = instance.config and schema.write(plugin.compiled, instance.config) or "{}"
  item.own_json = next(plugin.merge) and own_text(plugin, instance.config) or nil
  item.meta = meta_of(item)
  item.layers = { item }
  return item
end

--- Everything about an instance that makes a difference, as a text.
local function text_of(instance)
  local plugin, order = plugin_kind.plugin_of(instance), rawget(instance, "order")
  local json_text = instance.config and schema.write(plugin.compiled, instance.config) or ""
  return table.concat({ instance.name, instance.as or "", instance.on_error, instance.enabled and "" or "off",
    json_text, next(plugin.merge) and own_text(plugin, instance.config) or "",
    order and names_text(order.before) .. names_text(order.after) or "" }, "\0")
end

--- Returns what stands for a list of instances: {list, scope, tenant, id}, where equal lists share the id.
-- Its items are made when a chain is, and most lists find theirs done.
function Resolver:handle(list, scope, tenant)
  if not list or #list == 0 then return NOTHING end
  local known = self.by_list[list]
  if known then return known end
  local parts = { tostring(scope), tenant or "" }
  for _, instance in ipairs(list) do parts[#parts + 1] = text_of(instance) end
  local text = table.concat(parts, "\1")
  local id = self.ids[text]
  if not id then
    self.n_ids = self.n_ids + 1
    id = self.n_ids
    self.ids[text] = id
  end
  local handle = { list = list, scope = scope, tenant = tenant, id = id }
  self.by_list[list] = handle
  return handle
end

--- Returns the items of a handle.
function Resolver:items(handle)
  if handle.items then return handle.items end
  local items = {}
  for i, instance in ipairs(handle.list) do items[i] = make_item(instance, handle.scope, handle.tenant) end
  handle.items = items
  self.made[#self.made + 1] = items
  return items
end

-- Merging -------------------------------------------------------------------------------------------

local function merged_value(compiled, mode, wide, narrow)
  if mode == "append" then
    local list, seen = {}, {}
    local is_set = compiled.attr.type == "set" or compiled.attr.unique
    for _, part in ipairs { wide, narrow } do
      for _, value in ipairs(part) do
        if not (is_set and seen[value]) then list[#list + 1] = value end
        seen[value] = true
      end
    end
    return list
  end
  local merged = setmetatable({}, getmetatable(narrow))
  for key, value in pairs(wide) do merged[key] = value end
  for key, value in pairs(narrow) do
    local before = merged[key]
    local is_inner = type(before) == "table" and type(value) == "table" and value[1] == nil and before[1] == nil
    merged[key] = is_inner and type(key) == "string" and merged_value(compiled, "deep", before, value) or value
  end
  return merged
end

--- Reads a merged configuration as if it had been written so: each part was good, the whole may not be.
function Resolver:judge(plugin, record, item)
  local text = schema.encode(plugin.compiled, record)
  local doc = assert(document.parse(text, "merged"))
  local value, problems = schema.read(plugin.compiled, doc, function() end)
  for _, problem in ipairs(problems) do
    self:note(item, ".config" .. (problem.path ~= "" and "." .. problem.path or ""),
      ("together with those of wider scopes: %s (plugin %s)"):format(problem.message, plugin.name))
  end
  return value or record
end

--- As chain.combine, with the values as the schema knows them; the result is judged.
function Resolver:combine(wide, narrow)
  local item, plugin = {}, narrow.plugin
  for key, value in pairs(narrow) do item[key] = value end
  local record = setmetatable({}, getmetatable(narrow.record or wide.record))
  for key, value in pairs(narrow.record or {}) do record[key] = value end
  for field, mode in pairs(plugin.merge) do
    local before, own = wide.record and rawget(wide.record, field), rawget(record, field)
    if before ~= nil then
      local compiled = plugin.compiled.by_name[field]
      record[field] = own == nil and before or merged_value(compiled, mode, before, own)
    end
  end
  item.record = self:judge(plugin, record, narrow)
  item.json = schema.write(plugin.compiled, item.record)
  item.layers = { narrow }
  for i, layer in ipairs(wide.layers) do table.insert(item.layers, i, layer) end
  return item
end

-- Chains --------------------------------------------------------------------------------------------

--- Notes a problem of an instance, at its place in the conf.
function Resolver:note(item, field, message)
  local key = item.source .. field .. message
  if self.noted[key] then return end
  self.noted[key] = true
  table.insert(self.problems, { file = item.instance._file, line = item.instance._line, plugin = item.name,
    path = self:path_of(item) .. field, message = message })
end

function Resolver:warn(item, message)
  local key = item.source .. message
  if self.noted[key] then return end
  self.noted[key] = true
  table.insert(self.model.warnings, { file = item.instance._file, line = item.instance._line,
    path = self:path_of(item), message = message })
end

--- Says of every instance which entity has it, at which place.
local function index_instances(model)
  local found = {}
  for _, kind in ipairs { "plugins", "tenants", "pools", "routes", "consumers" } do
    for i, entity in ipairs(model[kind]) do
      if kind == "plugins" then found[entity] = { kind, i } end
      for nth, instance in ipairs(kind ~= "plugins" and rawget(entity, "plugins") or {}) do
        found[instance] = { kind, i, nth }
      end
    end
  end
  return found
end

--- Returns the path of an instance: plugins[0], routes[3].plugins[1].
function Resolver:path_of(item)
  self.index = self.index or index_instances(self.model)
  local kind, position, nth = unpack(self.index[item.instance])
  local _, _, path = self.places(kind, position, nth and "plugins" or "name")
  return nth and ("%s[%d]"):format(path, nth - 1) or (path:gsub("%.name$", ""))
end

local function labels(items)
  local names = {}
  for i, item in ipairs(items) do names[i] = plugin_kind.label(item.instance) end
  return names
end

--- Ties are broken by name, which hardly anybody means.
function Resolver:warn_of_ties(items)
  for i = 2, #items do
    local first, second = items[i - 1], items[i]
    local is_told = second.order.before[1] or second.order.after[1] or first.order.before[1] or first.order.after[1]
    local pair = first.name .. " " .. second.name
    if first.priority == second.priority and first.name ~= second.name and not is_told and not self.ties[pair] then
      self.ties[pair] = true -- of thousands of routes, the first
      self:warn(second, ("%s and %s have the same priority, %d: they run in the order of their names"):format(
        first.name, second.name, first.priority))
    end
  end
end

--- Said of the narrowest instance: without it the rest was good.
function Resolver:note_circle(circle)
  local narrowest = circle[1]
  for _, item in ipairs(circle) do
    if item.scope > narrowest.scope then narrowest = item end
  end
  local names = labels(circle)
  table.sort(names)
  self:note(narrowest, ".order", ("%s run before one another in a circle"):format(table.concat(names, ", ")))
end

function Resolver:resolve(lists)
  local items, circle = chain.resolve(lists, function(wide, narrow) return self:combine(wide, narrow) end)
  if not items then return self:note_circle(circle) end
  if #items == 0 then return nil end
  self:warn_of_ties(items)
  return items
end

--- Returns the chain of handles from wide to narrow, the same for equal lists; nil when there is none.
function Resolver:chain_of(global, tenant, pool, route)
  if global == NOTHING and tenant == NOTHING and pool == NOTHING and route == NOTHING then return nil end
  local level = self.chains
  for _, id in ipairs { global.id, tenant.id, pool.id } do
    local inner = level[id]
    if not inner then
      inner = {}
      level[id] = inner
    end
    level = inner
  end
  local found = level[route.id]
  if found == nil then
    found = self:resolve { self:items(global), self:items(tenant), self:items(pool), self:items(route) } or false
    level[route.id] = found
  end
  return found or nil
end

--- Sorts the instances at the root by whose they are.
function Resolver:read_root()
  local global, of_tenant = {}, {}
  for _, tenant in ipairs(self.model.tenants) do
    local list = {}
    for _, instance in ipairs(tenant.plugins) do list[#list + 1] = instance end
    of_tenant[tenant.name] = list
  end
  for _, instance in ipairs(self.model.plugins) do
    table.insert(instance.tenant and of_tenant[instance.tenant] or global, instance)
  end
  self.global = self:handle(global, GLOBAL)
  self.of_tenant = {}
  for name, list in pairs(of_tenant) do self.of_tenant[name] = self:handle(list, TENANT, name) end
end

function Resolver:routes()
  local global, of_tenant = self.global, self.of_tenant
  local routes = self.model.routes
  for i = 1, #routes do
    local route, chain_found = routes[i], nil
    local own, pool = rawget(route, "plugins"), route._pool
    local pool_list = pool and rawget(pool, "plugins")
    local tenant = of_tenant[route.tenant]
    if own or pool_list or global ~= NOTHING or tenant ~= NOTHING then
      chain_found = self:chain_of(global, tenant, pool_list and self:handle(pool_list, POOL, pool.tenant) or NOTHING,
        own and self:handle(own, ROUTE, route.tenant) or NOTHING)
    end
    annotate(routes, i, "_chain", chain_found)
  end
end

--- What a consumer changes has to fit every chain of its tenant.
function Resolver:consumers()
  for position, consumer in ipairs(self.model.consumers) do
    local handle = self:handle(rawget(consumer, "plugins"), CONSUMER, consumer.tenant)
    if handle ~= NOTHING then
      local items = self:items(handle)
      annotate(self.model.consumers, position, "_items", items)
      local tried = {}
      if self.model.rest_chain then self:resolve { self.model.rest_chain, items } end
      for _, route in ipairs(self.model.routes) do
        local of_route = route._chain
        if route.tenant == consumer.tenant and of_route and not tried[of_route] then
          tried[of_route] = true
          self:resolve { of_route, items }
        end
      end
    end
  end
end

-- What deserves a warning ---------------------------------------------------------------------------

--- Every item that there is, disabled ones too; of equal lists those of one.
function Resolver:each_item(visit)
  for _, items in ipairs(self.made) do
    for _, item in ipairs(items) do visit(item) end
  end
end

function Resolver:warn_of_names()
  local known, names = {}, {}
  self:each_item(function(item) known[item.name], known[item.as] = true, true end)
  for name in pairs(known) do names[#names + 1] = name end
  table.sort(names)
  self:each_item(function(item)
    for _, where in ipairs { "before", "after" } do
      for _, name in ipairs(item.order[where]) do
        local nearest = not known[name] and suggest.nearest(name, names)
        if not known[name] then
          self:warn(item, ("order.%s names %s, and no plugin is called so%s"):format(where, name,
            nearest and (": did you mean %s?"):format(nearest) or ""))
        end
      end
    end
  end)
end

--- Certificates are chosen before there is a route.
function Resolver:warn_of_phases()
  self:each_item(function(item)
    local phases = item.plugin.phases
    if item.scope ~= GLOBAL and #phases == 1 and phases[1] == "certificate" then
      self:warn(item, ("%s never runs here: its one phase, certificate, comes before the route is known"):format(
        item.name))
    end
  end)
end

--- Returns the chain that runs once the consumer of a request is known. The model has been through `run`.
-- @param of_route a chain, or nil
-- @param items consumer._items, or nil
function M.with_consumer(of_route, items)
  if not items then return of_route end
  local function nothing() end -- what is to be said of it was said by `run`
  local self = setmetatable({ note = nothing, warn = nothing, ties = {} }, Resolver)
  return self:resolve { of_route or {}, items }
end

--- Resolves all chains of a model. Appends to `problems` and to model.warnings.
-- @param places as for model/check.lua
function M.run(model, places, problems)
  local self = setmetatable({ model = model, places = places, problems = problems, by_list = {}, made = {}, ids = {},
    n_ids = 0, chains = {}, noted = {}, ties = {} }, Resolver)
  self:read_root()
  model.rest_chain = self:chain_of(self.global, NOTHING, NOTHING, NOTHING)
  self:routes()
  self:consumers()
  self:warn_of_names()
  self:warn_of_phases()
  table.sort(model.warnings, function(a, b)
    if a.file ~= b.file then return a.file < b.file end
    if (a.line or 0) ~= (b.line or 0) then return (a.line or 0) < (b.line or 0) end
    return a.message < b.message
  end)
end

return M
