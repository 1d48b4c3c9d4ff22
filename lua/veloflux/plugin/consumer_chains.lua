--- What consumers' own instances become together with the chains of their tenant. Workers resolve and merge that when
-- a consumer is known; here it is judged, so that nothing is used that was not found good when it was saved.
--
-- 10,000 consumers and 1,000 chains are 10 million meetings: they are not gone through. What can go wrong depends on
-- less: the order on what instances are called and want, a merged configuration on the two that it is made of. Each
-- that is different is judged once, and what was good is remembered as long as the plugin is the same.
local items_of = require "veloflux.plugin.items"
local judge = require "veloflux.plugin.judge"
local merge_modes = require "veloflux.plugin.merge_modes"

local M = {}

--- How many merged configurations of one plugin are judged for one version. Beyond that it is refused.
M.MOST_JUDGED = 50000
local MOST_REMEMBERED = 200000 -- pairs of one plugin

local Meeting = {}
Meeting.__index = Meeting

local function said_by(item) return item.json .. "\0" .. (item.own_json or "") end

local function key_of(item) return item.name .. "\0" .. item.as end

-- What is known of a plugin ------------------------------------------------------------------------

--- Returns what was found good: {numbers = wide -> number, sets = text of numbers -> narrow -> true, pairs = wide ->
-- narrow -> true}.
local function memory_of(plugin)
  local memory = plugin.merged_well
  if not memory or memory.n > MOST_REMEMBERED then
    memory = { numbers = {}, n_numbers = 0, sets = {}, pairs = {}, n = 0 }
    plugin.merged_well = memory
  end
  return memory
end

local function number_of(memory, said)
  local number = memory.numbers[said]
  if not number then
    number = memory.n_numbers + 1
    memory.numbers[said], memory.n_numbers = number, number
  end
  return number
end

local function remember(memory, map, key, narrow)
  map[key] = map[key] or {}
  map[key][narrow] = true
  memory.n = memory.n + 1
end

-- Chains of a tenant -------------------------------------------------------------------------------

local function add_wide(tenant, item)
  local key = key_of(item)
  local wides = tenant.wides[key] or { list = {}, has = {}, longest = {} }
  tenant.wides[key] = wides
  local said = said_by(item)
  if not wides.has[said] then
    wides.has[said] = true
    table.insert(wides.list, item)
  end
end

--- What matters of a list for its order: two texts, whether anybody wants to stand elsewhere or not.
local function signature_of(items)
  local parts, has_order = {}, false
  for i, item in ipairs(items) do
    local order = items_of.order_of(item)
    has_order = has_order or order ~= nil
    parts[i] = table.concat({ item.name, item.as, item.enabled and "" or "off", order or "" }, "\0")
  end
  return table.concat(parts, "\1"), has_order
end

local function add_chain(tenant, items)
  if not items or tenant.has[items] then return end
  tenant.has[items] = true
  for _, item in ipairs(items) do
    if next(item.merge) and (not item.plugin.limits or next(item.plugin.limits)) then add_wide(tenant, item) end
  end
  local signature = signature_of(items)
  if not tenant.by_signature[signature] then
    tenant.by_signature[signature] = items
    table.insert(tenant.signatures, { text = signature, items = items })
  end
end

--- Sorts the chains of a model by tenant. What no route takes is of the default tenant.
local function tenants_of(model)
  local tenants = {}
  local function of(name)
    tenants[name] = tenants[name] or { has = {}, wides = {}, signatures = {}, by_signature = {}, tried = {} }
    return tenants[name]
  end
  add_chain(of "default", model.rest_chain)
  for _, route in ipairs(model.routes) do add_chain(of(route.tenant), route._chain) end
  return tenants
end

-- Meetings -----------------------------------------------------------------------------------------

--- Makes what judges the consumers of a model.
-- @param model whose routes have their chains
-- @param resolver of plugin/resolve.lua: notes what is wrong
function M.new(model, resolver)
  return setmetatable({ model = model, resolver = resolver, n_judged = {} }, Meeting)
end

local function narrow_one(_, narrow) return narrow end

--- Resolves lists that were not seen together yet, for the sake of their order.
function Meeting:check_order(tenant, items)
  local signature = signature_of(items)
  if tenant.tried[signature] then return end
  tenant.tried[signature] = true
  for _, of_routes in ipairs(tenant.signatures) do
    self.resolver:resolve({ of_routes.items, items }, narrow_one)
  end
end

--- Judges one pair. Returns false when there are too many.
function Meeting:judge(wide, narrow, said, memory)
  local plugin = narrow.plugin
  local n = (self.n_judged[plugin] or 0) + 1
  self.n_judged[plugin] = n
  if n > M.MOST_JUDGED then return false end
  local _, problems = judge.judge(wide, narrow)
  if #problems > 0 then
    self.resolver:note_merged(narrow, problems)
  else
    remember(memory, memory.pairs, said_by(wide), said)
  end
  return true
end

function Meeting:note_too_many(item)
  local fields = {}
  for field in pairs(item.merge) do fields[#fields + 1] = field end
  table.sort(fields)
  self.resolver:note(item, ".config", ("consumers' configurations and those of wider scopes make more than %d "
    .. "different ones when %s is merged: say fewer different ones (plugin %s)"):format(M.MOST_JUDGED,
    table.concat(fields, ", "), item.name), "merge")
end

local function length_of(item, field)
  local said = item.record and rawget(item.record, field)
  return said and merge_modes.length(said) or 0
end

--- Where the rules speak of lengths alone: says whether the longest that an item may meet leaves it room.
local function has_room(item, wides)
  if not item.plugin.limits then return false end
  for field, most in pairs(item.plugin.limits) do
    if not wides.longest[field] then
      wides.longest[field] = 0
      for _, wide in ipairs(wides.list) do
        wides.longest[field] = math.max(wides.longest[field], length_of(wide, field))
      end
    end
    if length_of(item, field) + wides.longest[field] > most then return false end
  end
  return true
end

--- Returns the text that stands for a set of wide items.
local function text_of_set(wides, memory)
  local numbers = {}
  for i, wide in ipairs(wides.list) do numbers[i] = number_of(memory, said_by(wide)) end
  table.sort(numbers)
  return table.concat(numbers, " ")
end

--- Judges what an item becomes together with each that it may meet.
function Meeting:check_merges(item, wides)
  if has_room(item, wides) then return end
  local memory, said = memory_of(item.plugin), said_by(item)
  if wides.memory ~= memory then wides.memory, wides.text = memory, text_of_set(wides, memory) end
  local set = memory.sets[wides.text]
  if set and set[said] then return end
  local found = #self.resolver.problems
  for _, wide in ipairs(wides.list) do
    local good = memory.pairs[said_by(wide)]
    local may_go_on = good and good[said] or self:judge(wide, item, said, memory)
    if not may_go_on then return self:note_too_many(item) end
  end
  if #self.resolver.problems == found then remember(memory, memory.sets, wides.text, said) end
end

--- Judges what the items of a consumer become together with the chains of its tenant.
function Meeting:check(items, tenant_name)
  self.tenants = self.tenants or tenants_of(self.model) -- most models have no such consumers
  local tenant = self.tenants[tenant_name]
  if not tenant then return end
  self:check_order(tenant, items)
  for _, item in ipairs(items) do
    local wides = item.enabled and tenant.wides[key_of(item)]
    if wides then self:check_merges(item, wides) end
  end
end

return M
