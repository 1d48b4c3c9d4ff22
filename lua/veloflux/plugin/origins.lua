--- Where the settings of a chain come from: for people who ask why.
local cjson = require "cjson"
local resolve = require "veloflux.plugin.resolve"
local schema = require "veloflux.model.schema"

local M = {}

--- Writes what a field is, as people may see it. What the narrowest layer says replaces the others, so how it was
-- written there is known; of what was merged it is not.
local function shown(item, field, compiled)
  if compiled.attr.secret then return "(secret)" end
  local is_merged = item.merge[field] and #item.layers > 1
  local record = not is_merged and item.layers[#item.layers].record or item.record
  return schema.show(compiled, record and record[field], record and schema.raw_of(record, field), is_merged)
end

--- Says where each field of an item's configuration comes from.
-- @return list of {field, value (JSON, with "(secret)" for secrets), origin}: origin is "default" or a text such as
-- "route conf.yaml:12", for merged fields several
function M.of(item)
  local list, values = {}, cjson.decode(item.json)
  for _, pair in ipairs(item.plugin.compiled.fields) do
    local field, from = pair[1], {}
    for i = #item.layers, 1, -1 do
      local layer = item.layers[i]
      if layer.record and rawget(layer.record, field) ~= nil then
        table.insert(from, 1, ("%s %s"):format(resolve.SCOPES[layer.scope], layer.source))
        if not item.merge[field] then break end
      elseif i == #item.layers and not item.merge[field] then
        break -- the narrowest replaces, with its default
      end
    end
    if values[field] ~= nil then
      list[#list + 1] = { field = field, origin = #from > 0 and table.concat(from, " and ") or "default",
        value = shown(item, field, pair[2]) }
    end
  end
  return list
end

return M
