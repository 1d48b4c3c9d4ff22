--- Items: instances of plugins as control resolves them into chains (plugin/chain.lua). Besides what chains need, an
-- item has
--   plugin      of the loader
--   scope       enum vf_snap_scope, and `tenant`
--   record      its configuration as the schema has read it; nil when nothing was said
--   json        the same, complete, for those who use it
--   own_json    what was said of the fields that are merged, or nil
--   meta        what a worker needs to resolve it again, with those of a consumer (JSON)
--   layers      the items that it is made of, the widest first; itself when nothing was merged
--   source      FILE:LINE
local json = require "veloflux.model.json"
local merge = require "veloflux.plugin.merge"
local merge_modes = require "veloflux.plugin.merge_modes"
local plugin_kind = require "veloflux.model.kinds.plugin"
local schema = require "veloflux.model.schema"

local M = {}

local function names_text(list)
  local parts = {}
  for i, name in ipairs(list) do parts[i] = json.quote(name) end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function modes_text(plugin)
  plugin.modes_json = plugin.modes_json or merge_modes.text(plugin.modes)
  return plugin.modes_json
end

local function meta_of(item)
  local order, parts = item.order, {}
  parts[1] = '"enabled":' .. tostring(item.enabled)
  if next(item.merge) then parts[#parts + 1] = '"merge":' .. modes_text(item.plugin) end
  if order.before[1] or order.after[1] then
    parts[#parts + 1] = ('"order":{"after":%s,"before":%s}'):format(names_text(order.after), names_text(order.before))
  end
  if item.own_json then parts[#parts + 1] = '"own":' .. item.own_json end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- Instance -> {json, own_json}. Records do not change, and those of the store are the same from one version to the
-- next: only what is new is written.
local texts = setmetatable({}, { __mode = "k" })

local function texts_of(instance, plugin)
  local known = texts[instance]
  if not known then
    local config = instance.config
    known = { config and schema.write(plugin.compiled, config) or "{}",
      merge_modes.said(plugin.modes, plugin.compiled, config) }
    texts[instance] = known
  end
  return known[1], known[2]
end

local numbers, n_numbers = setmetatable({}, { __mode = "k" }), 0

--- Returns a number that no other instance has.
function M.number_of(instance)
  if not numbers[instance] then
    n_numbers = n_numbers + 1
    numbers[instance] = n_numbers
  end
  return numbers[instance]
end

--- Makes the item of an instance.
function M.of(instance, scope, tenant)
  local plugin = plugin_kind.plugin_of(instance)
  local item = { name = instance.name, as = instance.as or instance.name, priority = plugin.priority,
    enabled = instance.enabled, order = instance.order, on_error = instance.on_error, merge = plugin.modes,
    plugin = plugin, scope = scope, tenant = tenant, record = instance.config, instance = instance,
    source = ("%s:%d"):format(instance._file, instance._line) }
  item.json, item.own_json = texts_of(instance, plugin)
  item.meta = meta_of(item)
  item.layers = { item }
  return item
end

--- Everything about an instance that makes a difference, as a text.
function M.text_of(instance)
  local order = rawget(instance, "order")
  local config, own = texts_of(instance, plugin_kind.plugin_of(instance))
  return table.concat({ instance.name, instance.as or "", instance.on_error, instance.enabled and "" or "off",
    config, own or "", order and names_text(order.before) .. names_text(order.after) or "" }, "\0")
end

--- What an item says of its place among others, as a text; nil when it says nothing.
function M.order_of(item)
  local order = item.order
  if not (order.before[1] or order.after[1]) then return nil end
  return names_text(order.before) .. names_text(order.after)
end

--- Returns the record that two items make together; the narrow one's, where nothing is to be merged.
function M.merged_record(wide, narrow)
  local own = narrow.record or wide.record
  local record = setmetatable({}, getmetatable(own))
  for key, value in pairs(narrow.record or {}) do
    if type(key) == "string" then record[key] = value end -- not how secrets were written
  end
  for field, mode in pairs(narrow.merge) do
    local before, said = wide.record and rawget(wide.record, field), rawget(record, field)
    if before ~= nil then
      record[field] = said == nil and before or merge.value(mode, before, said, said)
    end
  end
  return record
end

--- Returns an item of that record in the place of `narrow`, which it was made of together with `wide`.
function M.merged(wide, narrow, record)
  local item, plugin = {}, narrow.plugin
  for key, value in pairs(narrow) do item[key] = value end
  item.record = record
  item.json = schema.write(plugin.compiled, record)
  item.own_json = merge_modes.said(plugin.modes, plugin.compiled, record)
  item.meta = meta_of(item)
  item.layers = {}
  for i, layer in ipairs(wide.layers) do item.layers[i] = layer end
  table.insert(item.layers, narrow)
  return item
end

return M
