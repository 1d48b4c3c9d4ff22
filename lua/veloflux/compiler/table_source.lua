--- What the tables of consumers and credentials were made of (compiler/tables.lua): whether another model would make
-- the same, or what of them it makes otherwise. Making them takes some microseconds for each consumer, comparing a
-- fraction of that, and nothing for those whose records are the same ones.
local slices = require "veloflux.slices"

local M = {}

--- Notes what tables are made of.
-- @param model with consumers
-- @param options as for tables.stage, and salt_key = of tables.salt_key
function M.of(model, options)
  return { consumers = model.consumers, options = options, salt_key = options.salt_key }
end

local function same_list(a, b)
  if a == b then return true end
  a, b = a or {}, b or {}
  if #a ~= #b then return false end
  for i = 1, #a do
    if a[i] ~= b[i] then return false end
  end
  return true
end

local function same_value(a, b)
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  for key, value in pairs(a) do
    if not same_value(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function plain_of(options, credential) return options.plain and options.plain(credential) or credential end

local function same_kind(a, b) return a.id == b.id and a.hashed == b.hashed and a.password == b.password end

local function same_credentials(a, b, before, after)
  a, b = a or {}, b or {}
  if #a ~= #b then return false end
  for i = 1, #a do
    local one, other = a[i], b[i]
    if one ~= other and (one.type ~= other.type or
      not same_kind(before.options.kind_of(one), after.options.kind_of(other)) or
      not same_value(plain_of(before.options, one), plain_of(after.options, other))) then
      return false
    end
  end
  return true
end

local function chain_of(source, consumer)
  local find = source.options.chain_of
  return find and find(consumer)
end

local function same_consumer(a, b, before, after)
  if chain_of(before, a) ~= chain_of(after, b) then return false end
  if a == b then return true end
  return a.name == b.name and a.tenant == b.tenant and a.custom_id == b.custom_id and same_list(a.groups, b.groups)
    and same_credentials(a.credentials, b.credentials, before, after)
end

local MOST = 10000 -- consumers that differ: beyond, making all anew costs little more

--- Says in what two sources differ: `gone` are consumers of `before` that make nothing any more, `come` those of
-- `after` whose entries are to be put. One that has changed is in both, one whose place has changed may be. It pauses.
-- @param before nil: nobody knows what the tables hold
-- @return {gone, come}; or nil: too much, or what nobody can tell
function M.differences(before, after)
  if not before or before.salt_key ~= after.salt_key then return nil end
  local a, b = before.consumers, after.consumers
  local gone, come, i, j = {}, {}, 1, 1
  while a[i] or b[j] do
    slices.pause()
    local one, other = a[i], b[j]
    local is_one = one and other and one.name == other.name and one.tenant == other.tenant
    if is_one and same_consumer(one, other, before, after) then
      i, j = i + 1, j + 1
    else
      local is_first = one and (not other or one.tenant < other.tenant
        or one.tenant == other.tenant and one.name < other.name)
      if one and (is_one or is_first) then gone[#gone + 1], i = one, i + 1 end
      if other and (is_one or not is_first) then come[#come + 1], j = other, j + 1 end
      if #gone + #come > MOST then return nil end
    end
  end
  return { gone = gone, come = come }
end

--- Says whether two sources make the same tables. It may pause.
function M.same(before, after)
  local differences = M.differences(before, after)
  return differences ~= nil and #differences.gone + #differences.come == 0
end

return M
