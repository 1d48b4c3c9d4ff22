--- The chains of a model: for every route, the instances of plugins that run for it.
--
-- Leaves in the model:
--   route._chain           a chain, or nil: the route has no plugins
--   model.rest_chain       the chain of requests that no route takes, or nil
--   consumer._items        the consumer's own items, unresolved; nil when it has none
-- A chain is a list of items (plugin/items.lua); routes whose lists say the same share one, so 10,000 routes cost
-- little more than their own lists.
local chain = require "veloflux.plugin.chain"
local consumer_chains = require "veloflux.plugin.consumer_chains"
local items_of = require "veloflux.plugin.items"
local judge = require "veloflux.plugin.judge"
local plugin_kind = require "veloflux.model.kinds.plugin"
local slices = require "veloflux.slices"
local suggest = require "veloflux.model.suggest"
local annotate = require("veloflux.model").annotate

local M = {}

M.SCOPES = judge.SCOPES
local GLOBAL, TENANT, POOL, ROUTE, CONSUMER = 0, 1, 2, 3, 4

local NOTHING = { id = 0, items = {} }

local Resolver = {}
Resolver.__index = Resolver

-- Lists ---------------------------------------------------------------------------------------------

--- Returns what stands for a list of instances: {list, scope, tenant, id}, where equal lists share the id.
-- Its items are made when a chain is, and most lists find theirs done.
function Resolver:handle(list, scope, tenant)
  if not list or #list == 0 then return NOTHING end
  local known = self.by_list[list]
  if known then return known end
  local parts = { tostring(scope), tenant or "" }
  for _, instance in ipairs(list) do parts[#parts + 1] = items_of.text_of(instance) end
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
  for i, instance in ipairs(handle.list) do items[i] = items_of.of(instance, handle.scope, handle.tenant) end
  handle.items = items
  self.made[#self.made + 1] = items
  return items
end

-- Chains --------------------------------------------------------------------------------------------

--- Notes a problem of an instance, at its place in the conf. Of one rule that a field breaks together with many others
-- the first is noted.
function Resolver:note(item, field, message, rule)
  local key = item.source .. field .. (rule or message)
  if self.noted[key] then return end
  self.noted[key] = true
  table.insert(self.problems, { file = item.instance._file, line = item.instance._line, plugin = item.name,
    path = self:path_of(item) .. field, message = message, rule = rule })
end

--- As chain.combine, with the values as the schema knows them; the result is judged.
function Resolver:combine(wide, narrow)
  local record, problems = judge.judge(wide, narrow)
  self:note_merged(narrow, problems)
  return items_of.merged(wide, narrow, record)
end

--- Notes what is wrong with a configuration that was merged.
function Resolver:note_merged(item, problems)
  for _, problem in ipairs(problems) do
    self:note(item, ".config" .. (problem.field and "." .. problem.field or ""), problem.message, problem.rule)
  end
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

--- What two lists of items that are alike have in common, as a text: whose instances they are, and at which scope.
local function text_of_items(items)
  local parts = {}
  for _, item in ipairs(items) do
    for _, layer in ipairs(item.layers) do
      parts[#parts + 1] = ("%d %d %s"):format(items_of.number_of(layer.instance), layer.scope, layer.tenant or "")
    end
    parts[#parts + 1] = ""
  end
  return table.concat(parts, "\0")
end

--- Returns the list of the model before that is alike, or this one: a route whose chain is the same table did not
-- change.
function Resolver:known(items)
  if not items then return nil end
  local text = text_of_items(items)
  local known = self.lists[text] or self.earlier[text] or items
  self.lists[text] = known
  return known
end

function Resolver:resolve(lists, combine)
  combine = combine or function(wide, narrow) return self:combine(wide, narrow) end
  local items, circle = chain.resolve(lists, combine)
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
    found = self:known(self:resolve { self:items(global), self:items(tenant), self:items(pool), self:items(route) })
      or false
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

--- Finds the chain of the route at a position.
function Resolver:route(i)
  local global, route, chain_found = self.global, self.model.routes[i], nil
  local own, pool = rawget(route, "plugins"), rawget(route, "_pool")
  local pool_list = pool and rawget(pool, "plugins")
  local tenant = self.of_tenant[route.tenant]
  if own or pool_list or global ~= NOTHING or tenant ~= NOTHING then
    chain_found = self:chain_of(global, tenant, pool_list and self:handle(pool_list, POOL, pool.tenant) or NOTHING,
      own and self:handle(own, ROUTE, route.tenant) or NOTHING)
  end
  annotate(self.model, "routes", i, "_chain", chain_found)
  self.has_chains = self.has_chains or own ~= nil or pool_list ~= nil or chain_found ~= nil
end

--- Says that no route of the model before had plugins, and that nothing but a route has any now.
function Resolver:is_plain(before)
  if not before or before.has_chains or self.global ~= NOTHING then return false end
  for _, handle in pairs(self.of_tenant) do
    if handle ~= NOTHING then return false end
  end
  for _, pool in ipairs(self.model.pools) do
    if rawget(pool, "plugins") then return false end
  end
  return true
end

function Resolver:routes(news)
  if self:is_plain(news.before) then
    for _, i in ipairs(news.positions.routes) do self:route(i) end
  else
    for i = 1, #self.model.routes do
      slices.pause()
      self:route(i)
    end
  end
  self.model.has_chains = self.has_chains or false
end

--- What a consumer changes has to fit every chain of its tenant.
function Resolver:consumers()
  local meeting = consumer_chains.new(self.model, self)
  for position, consumer in ipairs(self.model.consumers) do
    local handle = self:handle(rawget(consumer, "plugins"), CONSUMER, consumer.tenant)
    if handle ~= NOTHING then
      local items = self:known(self:items(handle))
      annotate(self.model, "consumers", position, "_items", items)
      meeting:check(items, consumer.tenant)
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
  local self = setmetatable({ note = nothing, warn = nothing, ties = {}, noted = {} }, Resolver)
  return self:resolve { of_route or {}, items }
end

--- Resolves all chains of a model. Appends to `problems` and to model.warnings.
-- @param places as for model/check.lua
-- @param news model/news.lua
function M.run(model, places, problems, news)
  local self = setmetatable({ model = model, places = places, problems = problems, by_list = {}, made = {}, ids = {},
    n_ids = 0, chains = {}, noted = {}, ties = {}, lists = {}, earlier = news.before and news.before.lists or {} },
    Resolver)
  model.lists = self.lists
  self:read_root()
  model.rest_chain = self:chain_of(self.global, NOTHING, NOTHING, NOTHING)
  self:routes(news)
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
