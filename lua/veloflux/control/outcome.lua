--- What is said of a transaction: what it changes, whom that touches, or why it cannot be.
local conf = require "veloflux.conf"
local elements = require "veloflux.control.elements"
local entities = require "veloflux.control.entities"
local json = require "veloflux.pdk.json"
local model_kinds = require "veloflux.model"
local rivals = require "veloflux.control.rivals"
local slices = require "veloflux.slices"
local turns = require "veloflux.control.turns"
local values = require "veloflux.control.values"

local M = {}

local FEW = 4 -- changes for which the routes are not indexed
local MAX_AFFECTED = 1000 -- routes that a dry run names

--- Of several edits of one entity the last counts, and what was before the first.
-- @return list of {kind, key, before, after, entity}: texts or nil
function M.net(edits)
  local by_key, list = {}, {}
  for _, edit in ipairs(edits) do
    slices.pause()
    local of_kind = by_key[edit.kind] or {}
    local known = of_kind[edit.key]
    if not known then
      known = { kind = edit.kind, key = edit.key, before = edit.before }
      by_key[edit.kind], of_kind[edit.key], list[#list + 1] = of_kind, known, known
    end
    known.entity, known.after = edit.entity, edit.entity and edit.entity.json
  end
  local net = {}
  for _, change in ipairs(list) do
    if change.before or change.after then net[#net + 1] = change end
  end
  return net
end

local function action_of(change)
  if not change.before then return "added" end
  return change.after and "changed" or "removed"
end

--- Returns how many entities are added, changed and removed.
function M.counts(net)
  local counts = { added = 0, changed = 0, removed = 0 }
  for _, change in ipairs(net) do
    slices.pause()
    if change.kind ~= "meta" then
      local action = action_of(change)
      counts[action] = counts[action] + 1
    end
  end
  return counts
end

--- Returns the difference field by field.
-- @param net of M.net, or the changes of a version of the store
-- @param most entities that are in it; nil: all
-- @return list of {kind, key, tenant, name, action, changes = {{pointer, before, after}}}
function M.diff(net, unseal, most)
  local diff = {}
  for _, change in ipairs(net) do
    slices.pause()
    if most and #diff == most then break end
    if change.kind ~= "meta" then
      local tenant, name = entities.split_key(change.kind, change.key)
      diff[#diff + 1] = { kind = change.kind, key = change.key, tenant = tenant, name = name,
        action = action_of(change), changes = values.diff(change.before, change.after, unseal) }
    end
  end
  return diff
end

--- Returns a line for people: "routes: 1 added".
function M.summary(net)
  local counts = { node = {} }
  for _, change in ipairs(net) do
    slices.pause()
    if change.kind ~= "meta" then
      counts[change.kind] = counts[change.kind] or { added = {}, changed = {}, removed = {} }
      table.insert(counts[change.kind][action_of(change)], change.key)
    end
  end
  return model_kinds.describe_diff(counts)
end

--- Returns a text as UTF-8: what else is in it, such as half a character at its end, becomes U+FFFD.
local function as_utf8(text) return json.encode(text) and text or json.decode(json.lenient(text)) end

--- Returns the changes as the store takes them.
function M.store_change(net, context, version, now_ms)
  local puts, deletes = {}, {}
  for _, change in ipairs(net) do
    slices.pause()
    if change.entity then
      puts[#puts + 1] = { kind = change.kind, key = change.key, json = change.after,
        created_ms = change.entity.created_ms }
    else
      deletes[#deletes + 1] = { kind = change.kind, key = change.key }
    end
  end
  return { version = version, time_ms = now_ms, author = context.author or "", source = context.source or "api",
    reason = as_utf8(context.reason or ""), request_id = context.request_id or "",
    summary = context.summary or M.summary(net), puts = puts, deletes = deletes, fence = context.fence,
    turn = turns.mine() }
end

local function touches(change, route)
  local kind, key = change.kind, change.key
  if kind == "routes" then return model_kinds.key(kind, route) == key end
  if kind == "pools" then return route._pool ~= nil and model_kinds.key(kind, route._pool) == key end
  if kind == "tenants" then return route.tenant == key end
  local tenant = entities.split_key(kind, key)
  return tenant == nil or route.tenant == tenant -- consumers and instances of plugins
end

--- Returns the keys of the routes whose requests may be served otherwise, and how many there are.
function M.affected_routes(net, models)
  local found, list = {}, {}
  for _, model in ipairs(models) do
    for _, route in ipairs(model.routes) do
      slices.pause()
      local key = model_kinds.key("routes", route)
      for _, change in ipairs(found[key] and {} or net) do
        if touches(change, route) then
          found[key], list[#list + 1] = true, key
          break
        end
      end
    end
  end
  table.sort(list)
  local count = #list
  for i = count, MAX_AFFECTED + 1, -1 do list[i] = nil end
  return list, count
end

local function edit_at(edits, file)
  for _, edit in ipairs(edits) do
    if file == ("api:%s/%s"):format(edit.kind, edit.key) then return edit end
  end
end

--- Says why a model with the edits is none.
-- @return an outcome: {ok = false, code, message, errors}
function M.refusal(problems, edits, code)
  local errors, is_own = {}, false
  for i, problem in ipairs(problems) do
    local edit = edit_at(edits, problem.file)
    is_own = is_own or edit ~= nil
    local op, pointer = edit and edit.op, edit and conf.pointer(problem) or ""
    if edit and edit.places then op, pointer = elements.blame(edit.places, pointer) end
    errors[i] = { op = op, pointer = pointer, detail = edit and problem.message or conf.format(problem),
      rule = problem.rule, file = problem.file, line = problem.line }
  end
  local first = problems[1]
  if not is_own and code == "invalid" and first and first.path ~= "" then
    code = first.rule == "room" and "conflict" or "referenced"
  end
  return { ok = false, code = code, errors = errors,
    message = errors[1] and errors[1].detail or "is not valid" }
end

--- Says why a model with the edits cannot be served; or cannot be now, which is no fault of who asked for it.
function M.unserved(problems, edits, code, is_passing)
  if not is_passing and code ~= "unavailable" then return M.refusal(problems, edits, code) end
  return { ok = false, code = "unavailable", errors = {},
    message = "this cannot be served now: " .. problems[1].message }
end

--- The name of a route and, of one of a conf file, where that says so.
local function named(route)
  if route._file:find "^api:" then return route.name end
  return ("%s (%s:%d)"):format(route.name, route._file, route._line)
end

--- Refuses routes that match just what another one matches. Returns nil when there is none.
function M.rivalry(model, edits)
  local find = #edits > FEW and rivals.finder(model) or function(route) return rivals.of(model, route) end
  for _, edit in ipairs(edits) do
    local rival = edit.kind == "routes" and edit.entity and find(edit.entity.record)
    if rival then
      local message = ("the route %s has the same host, path, methods and conditions"):format(named(rival))
      return { ok = false, code = "conflict", message = message, rival = model_kinds.key("routes", rival),
        errors = { { op = edit.op, pointer = "", detail = message } } }
    end
  end
end

return M
