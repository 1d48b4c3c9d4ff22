--- Changes of the configuration, through the one door that all changes go through: they are validated as a whole,
-- stored, and live in all workers of this node when the call returns.
--
--     local result, problem = pdk.transaction.apply({
--       { op = "create", kind = "widgets", name = "left", value = { size = 3 } },
--       { op = "merge", kind = "pools", name = "web", value = { algorithm = "random" } },
--     }, { reason = "a widget for web" })
--     if not result then return problem end        -- in an endpoint: that is the answer
--
-- In an endpoint the author of the version is whoever asks, and `?dry_run=true` is heeded; in a job it is the plugin.
-- What a job of scope `cluster` writes carries the leader's fence: when another node leads by now it is refused.
--
-- May be called in control only: in the functions of api.lua and jobs.lua. It waits.
local control = require "veloflux.runtime.control"
local json = require "veloflux.pdk.json"
local network = require "veloflux.runtime.network"

---@class pdk.transaction
local M = {}

---@class pdk.transaction.operation
---@field op "create"|"put"|"merge"|"replace"|"delete" put: the fields that are there change, pdk.json.null resets one;
--- merge: RFC 7396; replace: the others are reset, too
---@field kind string "pools", "routes", a kind of a plugin, ...
---@field name? string
---@field tenant? string "default" when left out
---@field value? table
---@field if_match? integer the version in which it has to have changed last

---@class pdk.transaction.result
---@field version? integer the version that it made; nil: of a dry run
---@field dry_run boolean
---@field summary string "widgets: 1 added"
---@field diff table[] what changed, by entity and field
---@field warnings string[]
---@field laggards integer workers that do not have it yet
---@field objects table[] of each operation the entity as pdk.model.find gives it; false where it is gone
---@field preview? table of a dry run: what the core's endpoints answer then

local OPS = { create = true, put = true, merge = true, replace = true, delete = true }
local MOST = 10000

local function judge(ops)
  if type(ops) ~= "table" then error("transaction.apply: expected a list of operations", 3) end
  if #ops > MOST then error(("transaction.apply: more than %d operations"):format(MOST), 3) end
  for i, op in ipairs(ops) do
    local place = ("transaction.apply: operation %d: "):format(i)
    if type(op) ~= "table" or not OPS[op.op] then
      error(place .. "op: expected create, put, merge, replace or delete", 3)
    end
    if type(op.kind) ~= "string" then error(place .. "kind: expected a text", 3) end
    if op.op ~= "create" and type(op.name) ~= "string" then error(place .. "name: required", 3) end
    if op.op ~= "delete" and type(op.value) ~= "table" then error(place .. "value: expected a table", 3) end
  end
end

--- Copies what the plugin may change while it waits.
local function copy_of(value)
  if type(value) ~= "table" or value == json.null then return value end
  local copy = json.is_array(value) and json.array {} or {}
  for key, inner in pairs(value) do copy[key] = copy_of(inner) end
  return #copy > 0 and json.array(copy) or copy
end

--- Applies operations as one version: all or none.
---@async
---@param ops pdk.transaction.operation[]
---@param options? { reason?: string, dry_run?: boolean } reason: for the history; dry_run: only say what would change
---@return pdk.transaction.result? result
---@return pdk.problem.document? problem why not: code invalid, not_found, exists, conflict, stale, owned, referenced or
--- unavailable, and errors that point at each wrong field
function M.apply(ops, options)
  local of = control.current "transaction.apply"
  judge(ops)
  local own = {}
  for i, op in ipairs(ops) do
    own[i] = { op = op.op, kind = op.kind, tenant = op.tenant, name = op.name, value = copy_of(op.value),
      if_match = op.if_match }
  end
  options = options or {}
  return control.call("apply", of, network.plugin_name(), own,
    { reason = options.reason and tostring(options.reason):sub(1, 1000), dry_run = options.dry_run == true })
end

return M
