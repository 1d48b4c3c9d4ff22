--- Timeouts, limits and header edits as policies and field operations.
local bit = require "bit"
local layout = require "veloflux.compiler.layout"
local sink = require "veloflux.compiler.sink"
local sorted = require "veloflux.sorted"
local FIELDS = require("veloflux.model.kinds.traffic").POLICY_FIELDS

local C, NONE, u64 = layout.C, layout.NONE, sink.u64
local REMOVE, SET, ADD = C.VF_FIELD_REMOVE, C.VF_FIELD_SET, C.VF_FIELD_ADD
assert(#FIELDS == C.VF_POLICY_FIELDS, "the schema and snapshot/layout.h list different limits")

local M = {}

local function has(owner)
  return rawget(owner, "timeouts") ~= nil or rawget(owner, "limits") ~= nil
end

local function value_of(owners, block, name)
  for i = #owners, 1, -1 do -- the narrowest first
    local group = owners[i][block]
    local value = group and rawget(group, name)
    if value ~= nil then return value end
  end
end

local function fill(policy, owners, defaults)
  local set = 0ULL
  for i, field in ipairs(FIELDS) do
    local block, name = field[1], field[2]
    local value = value_of(owners, block, name)
    if value == nil and defaults then value = defaults[block][name] end
    if value ~= nil then
      policy.value[i - 1] = u64(value)
      set = bit.bor(set, bit.lshift(1ULL, i - 1))
    end
  end
  policy.set = set
end

--- Writes a complete policy: what the last owner (a listener or a pool) says, else those before it, else the node.
function M.complete(to, node, ...)
  local policy, index = to:add(C.VF_SNAP_POLICIES)
  fill(policy, { node, ... }, node)
  return index
end

--- The same for a pool, whose like share it.
-- @param shared table: caches the index of those that say nothing
function M.complete_pool(to, node, pool, shared)
  if has(pool) then return M.complete(to, node, pool) end
  shared.plain = shared.plain or M.complete(to, node, pool)
  return shared.plain
end

--- Writes what a pool and a route override. Returns its index, or NONE when they override nothing.
-- @param pool record or nil
-- @param shared table: caches the index of a pool whose routes add nothing
function M.overrides(to, pool, route, shared)
  local pool_has, route_has = pool and has(pool), has(route)
  if not pool_has and not route_has then return NONE end
  if not route_has and shared[pool] then return shared[pool] end
  local policy, index = to:add(C.VF_SNAP_POLICIES)
  fill(policy, pool_has and { pool, route } or { route })
  if not route_has then shared[pool] = index end
  return index
end

local function append(list, kind, name, value)
  list[#list + 1] = { kind, name, value }
end

--- Appends the edits of one record {set, add, remove} to a list of {kind, name, value}.
local function collect(list, edits)
  for _, name in ipairs(edits.remove) do append(list, REMOVE, name, "") end
  for _, name in ipairs(sorted.names(edits.set)) do append(list, SET, name, edits.set[name]) end
  for _, name in ipairs(sorted.names(edits.add)) do
    local values = edits.add[name]
    for _, value in ipairs(type(values) == "table" and values or { values }) do append(list, ADD, name, value) end
  end
end

local function write(to, owners, direction, out)
  local list = {}
  for _, owner in ipairs(owners) do
    local edits = owner.headers and owner.headers[direction]
    if edits then collect(list, edits) end
  end
  out.first, out.count = 0, #list
  for i, op in ipairs(list) do
    local record, index = to:add(C.VF_SNAP_FIELD_OPS)
    if i == 1 then out.first = index end
    record.kind = op[1]
    to:text(op[2], record.name)
    to:secret(op[3], record.value)
  end
end

--- Writes the edits of the owners (records with `headers`), in order, to `out`: struct vf_snap_edits.
function M.edits(to, owners, out)
  write(to, owners, "request", out.request)
  write(to, owners, "response", out.response)
end

return M
