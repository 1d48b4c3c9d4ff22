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

--- Returns what of the changes can concern a route: sets of keys of routes, pools and tenants, and `all` for what
-- concerns every tenant. A document may change as many entities as there are routes.
local function index_of(net)
  local index = { routes = {}, pools = {}, tenants = {} }
  for _, change in ipairs(net) do
    slices.pause()
    local kind, key = change.kind, change.key
    if index[kind] then
      index[kind][key] = true
    else -- consumers and instances of plugins
      local tenant = entities.split_key(kind, key)
      if tenant then index.tenants[tenant] = true else index.all = true end
    end
  end
  return index
end

local function touches(index, route, key)
  return index.all or index.routes[key] or index.tenants[route.tenant]
    or route._pool ~= nil and index.pools[model_kinds.key("pools", route._pool)]
end

--- Returns the keys of the routes whose requests may be served otherwise, and how many there are.
function M.affected_routes(net, models)
  local index, found, list = index_of(net), {}, {}
  for _, model in ipairs(models) do
    for _, route in ipairs(model.routes) do
      slices.pause()
      local key = model_kinds.key("routes", route)
      if not found[key] and touches(index, route, key) then found[key], list[#list + 1] = true, key end
    end
  end
  table.sort(list)
  local count = #list
  for i = count, MAX_AFFECTED + 1, -1 do list[i] = nil end
  return list, count
end

local FEW_PROBLEMS = 16

--- Returns a function from the place that a problem names to the edit that made it.
local function finder_of(edits, problems)
  local by_file = {}
  local function name_of(edit) return ("api:%s/%s"):format(edit.kind, edit.key) end
  if #problems <= FEW_PROBLEMS then
    return function(file)
      for _, edit in ipairs(edits) do
        if file == name_of(edit) then return edit end
      end
    end
  end
  for _, edit in ipairs(edits) do
    local name = name_of(edit)
    by_file[name] = by_file[name] or edit
  end
  return function(file) return file and by_file[file] end
end

--- Says where something that is to go is still in use; another name is of no help there.
local function in_use(problem)
  local noun, name = problem.message:match '^unknown ([%a ]+) ("[^"]*")'
  return conf.format { file = problem.file, line = problem.line, path = problem.path,
    message = noun and ("still refers to the %s %s"):format(noun, name) or problem.message }
end

--- Says why a model with the edits is none.
-- @return an outcome: {ok = false, code, message, errors}
function M.refusal(problems, edits, code)
  local errors, is_own, edit_at = {}, false, finder_of(edits, problems)
  for i, problem in ipairs(problems) do
    local edit = edit_at(problem.file)
    is_own = is_own or edit ~= nil
    local op, pointer = edit and edit.op, edit and conf.pointer(problem) or ""
    if edit and edit.places then op, pointer = elements.blame(edit.places, pointer) end
    errors[i] = { op = op, pointer = pointer, detail = edit and problem.message or conf.format(problem),
      rule = problem.rule, file = problem.file, line = problem.line }
  end
  local first = problems[1]
  if not is_own and code == "invalid" and first and first.path ~= "" then
    code = first.rule == "room" and "conflict" or "referenced"
    for i, problem in ipairs(code == "referenced" and problems or {}) do errors[i].detail = in_use(problem) end
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
