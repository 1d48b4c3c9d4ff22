--- Whether configurations that were merged are good: each part is, the whole may not be. One is read as if it had been
-- written so.
local document = require "veloflux.model.document"
local items = require "veloflux.plugin.items"
local schema = require "veloflux.model.schema"

local M = {}

--- The names of the scopes: enum vf_snap_scope of snapshot/layout_plugins.h, from 0.
M.SCOPES = { [0] = "global", "tenant", "pool", "route", "consumer" }

local function nobody() end

--- Reads a merged record.
-- @return the record as read, or nil; and a list of problems {path, pointer, message, rule}
local function read(plugin, record)
  local doc = assert(document.parse(schema.encode_plain(plugin.compiled, record), "merged"))
  return schema.read(plugin.compiled, doc, nobody)
end

--- Says who of the wider scopes has said something about a field: "global conf.yaml:2 and route conf.yaml:9".
-- @param field nil: about any that is merged
local function origins_of(wide, field)
  local names = {}
  for _, layer in ipairs(wide.layers) do
    local has_said = false
    for name in pairs(field and { [field] = true } or wide.merge) do
      has_said = has_said or layer.record ~= nil and rawget(layer.record, name) ~= nil
    end
    if has_said then names[#names + 1] = ("%s %s"):format(M.SCOPES[layer.scope], layer.source) end
  end
  return #names > 0 and table.concat(names, " and ") or "those of wider scopes"
end

--- Names the field of a problem; places inside of it are other ones than anybody wrote.
local function located(wide, plugin, problem)
  local field = problem.path:match "^[^.%[]+"
  local inner = problem.path ~= field and problem.path .. ": " or ""
  return { field = field, rule = problem.rule, message = ("together with %s: %s%s (plugin %s)"):format(
    origins_of(wide, field and wide.merge[field] and field), inner, problem.message, plugin.name) }
end

--- Judges what two items make together.
-- @return the merged record, complete; and a list of problems {field, rule, message}, empty when it is good
function M.judge(wide, narrow)
  local plugin = narrow.plugin
  local record = items.merged_record(wide, narrow)
  if plugin.limits and next(plugin.limits) == nil then return record, {} end
  local value, found = read(plugin, record)
  local problems = {}
  for i, problem in ipairs(found) do problems[i] = located(wide, plugin, problem) end
  return value or record, problems
end

return M
