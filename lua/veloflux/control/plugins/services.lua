--- What control does for plugins that ask (runtime/control.lua): the functions behind pdk.model, pdk.transaction and
-- pdk.versions. Each gets what runs first, and may wait.
local admin_entities = require "veloflux.admin.entities"
local await = require "veloflux.admin.await"
local LOGGED = require("veloflux.channels.hub").LOGGED
local entities = require "veloflux.control.entities"
local json = require "veloflux.pdk.json"
local outcomes = require "veloflux.admin.outcomes"
local problem = require "veloflux.admin.problem"
local queue = require "veloflux.control.queue"
local seam = require "veloflux.runtime.control"
local slices = require "veloflux.slices"
local status = require "veloflux.admin.status"
local tasks = require "veloflux.control.plugins.task"
local transactions = require "veloflux.control.transactions"
local view = require "veloflux.model.view"

local M = {}

local function time(ms) return ms and status.time(ms) end

--- Puts secrets where they are shown masked.
-- @param compiled the type of `value`
-- @param into what has the value shown, under `key`
local function reveal(compiled, value, into, key)
  if value == nil then return end
  if compiled.attr.secret then
    into[key] = value
    return
  end
  local shown = into[key]
  if type(value) ~= "table" or type(shown) ~= "table" then return end
  for _, pair in ipairs(compiled.fields or {}) do reveal(pair[2], value[pair[1]], shown, pair[1]) end
  local inner = compiled.element or compiled.value
  for at, own in pairs(inner and value or {}) do reveal(inner, own, shown, at) end
end

--- Returns an entity as the API shows it.
-- @param plugin whose own secrets are shown
local function show(found, kind, plugin)
  local entry = admin_entities.entry_of(kind, found)
  local shown = view.show(entry.compiled, entry.record)
  local stored = queue.world().tools.plugins.kinds[kind]
  if stored and plugin and stored.plugin == plugin then
    for _, pair in ipairs(entry.compiled.fields) do reveal(pair[2], entry.record[pair[1]], shown, pair[1]) end
  end
  shown.tenant, shown.tenant_id = nil, entry.tenant
  shown.name = shown.name or entry.name
  shown.version, shown.origin, shown.source = found.version, found.origin, found.source
  shown.created_at, shown.updated_at = time(found.created_ms), time(found.updated_ms)
  return shown
end

local function is_kind(kind)
  local world = queue.world()
  return world and entities.type_of(kind, world.tools.plugins) ~= nil
end

local function no_kind(kind) seam.refuse(("there are no %s"):format(tostring(kind))) end

-- Model ---------------------------------------------------------------------------------------------

--- Says whether a record has the values that are asked for.
local function is_like(record, wanted)
  for name, value in pairs(wanted or {}) do
    if record[name] ~= value then return false end
  end
  return true
end

--- By the list of a kind: the entities by a field and its value. Lists are replaced when they change.
local indexes = setmetatable({}, { __mode = "k" })

local function index_of(list, field)
  local of_list = indexes[list] or {}
  indexes[list] = of_list
  if not of_list[field] then
    local index = {}
    for _, entity in ipairs(list) do
      local value = entity.record and entity.record[field]
      if value ~= nil then
        index[value] = index[value] or {}
        table.insert(index[value], entity)
      end
    end
    of_list[field] = index
  end
  return of_list[field]
end

--- Returns the first of the wanted fields that the kind has an index of, or nil.
local function indexed_field(kind, wanted)
  local stored = queue.world().tools.plugins.kinds[kind]
  for _, lists in ipairs { stored and stored.indexes or {}, stored and stored.unique or {} } do
    for _, names in ipairs(lists) do
      if wanted and wanted[names[1]] ~= nil then return names[1] end
    end
  end
end

local function candidates_of(kind, wanted)
  local world = queue.world()
  local field = next(world.file[kind] or {}) == nil and indexed_field(kind, wanted)
  if not field then return transactions.list(kind) end
  local list = {}
  for i, entity in ipairs(index_of(entities.sorted(world.set, kind), field)[wanted[field]] or {}) do
    list[i] = { value = entity.record, key = entity.key, version = entity.version, created_ms = entity.created_ms,
      updated_ms = entity.updated_ms, origin = "api" }
  end
  return list
end

--- Returns the tenant to whom all is limited, when a tenant's own user asks; else nil.
function M.limit_of(of) return of.identity and of.identity.tenant end

local function tenant_of(kind, record) return kind == "tenants" and record.name or record.tenant or "default" end

function seam.services.list(of, plugin, kind, options)
  if not is_kind(kind) then no_kind(kind) end
  local list, limit = json.array {}, M.limit_of(of)
  for _, found in ipairs(candidates_of(kind, options.where)) do
    slices.pause()
    local record = found.value
    local is_wanted = not options.tenant or kind == "tenants" or (record.tenant or "default") == options.tenant
    is_wanted = is_wanted and (not limit or tenant_of(kind, record) == limit)
    if is_wanted and is_like(record, options.where) then list[#list + 1] = show(found, kind, plugin) end
  end
  return list
end

function seam.services.find(of, plugin, kind, name, tenant)
  if not is_kind(kind) then no_kind(kind) end
  local limit = M.limit_of(of)
  tenant = tenant or limit or kind ~= "plugins" and "default" or nil
  local found = transactions.find(kind, kind ~= "tenants" and tenant or nil, name)
  if not found or limit and tenant_of(kind, found.value) ~= limit then return nil end
  return show(found, kind, plugin)
end

-- Transactions --------------------------------------------------------------------------------------

local MAX_REASON = 1000

--- Returns who changes something.
function M.author_of(of, plugin) return of.identity and of.identity.name or "plugin:" .. plugin end

--- Returns the context of a transaction: who changes something and why, and what the request says of it.
function M.context_of(of, plugin, options)
  local request = of.request
  local reason = options.reason or request and request.headers["x-change-reason"]
  return { author = M.author_of(of, plugin), source = of.source or "api",
    reason = reason and reason:sub(1, MAX_REASON), request_id = request and request.request_id,
    probation = request and request.probation, dry_run = options.dry_run or of.dry_run or false,
    fence = of.fence and of.fence(), if_versions = of.if_versions }
end

--- What a plugin gets of an outcome.
local function told(of, outcome, ops, plugin)
  if outcome.dry_run then
    return { dry_run = true, summary = outcome.summary, objects = {}, preview = outcomes.dry(outcome, {}).json }
  end
  of.version, of.laggards = outcome.version, math.max(of.laggards or 0, outcomes.laggards(outcome))
  local objects = {}
  for i, found in ipairs(outcome.objects or {}) do
    local is_there = found and ops[i] and ops[i].op ~= "delete" and is_kind(ops[i].kind)
    objects[i] = is_there and show(found, ops[i].kind, plugin) or false
  end
  return { version = outcome.version, summary = outcome.summary, diff = outcomes.diff(outcome.diff or {}),
    warnings = json.array(outcome.warnings or {}), laggards = outcomes.laggards(outcome), objects = objects,
    dry_run = false }
end

--- Says whether an operation means another tenant than this.
local function is_foreign(op, tenant)
  local own = type(op.value) == "table" and op.value.tenant or nil
  return op.kind == "tenants" or op.tenant and op.tenant ~= tenant or own and own ~= json.null and own ~= tenant
end

--- What a tenant's own user may change is the tenant's. Returns a problem, or nil.
function M.keep_within(limit, ops)
  for i, op in ipairs(limit and ops or {}) do
    if is_foreign(op, limit) then
      return problem.new("not_found", "There is nothing of this kind and tenant.",
        { errors = { { op = i, pointer = "/tenant", detail = "is another tenant's" } } })
    end
    op.tenant = limit
  end
end

--- Refuses what a job of the leader asks for once the lease under which it began is lost. Returns a problem, or nil.
function M.refuse_deposed(of)
  if not of.is_fenced or of.fence() then return nil end
  return problem.new("unavailable", "This node is not the leader any more: another runs the job now.")
end

function seam.services.apply(of, plugin, ops, options)
  local foreign = M.keep_within(M.limit_of(of), ops) or M.refuse_deposed(of)
  if foreign then return nil, foreign end
  local outcome = await.call(function(callback)
    transactions.apply(ops, M.context_of(of, plugin, options), callback)
  end)
  outcome = outcomes.within(outcome, M.limit_of(of))
  if not outcome.ok then return nil, outcomes.refused(outcome) end
  return told(of, outcome, ops, plugin)
end

-- Versions: see configuration.lua ---------------------------------------------------------------------

function seam.services.current()
  local world = queue.world()
  return world and world.version or 0
end

-- Channels ------------------------------------------------------------------------------------------

--- What the core gives a function of a channel, as the plugin sees it: its time is not the plugin's.
local function untimed_context(context)
  if type(context) ~= "table" or rawget(context, "reason") == nil or not getmetatable(context) then return context end
  return setmetatable({}, { __metatable = false, __index = function(_, name)
    local value = context[name]
    if type(value) ~= "function" then return value end
    return function(...) return seam.untimed(value, ...) end
  end })
end

--- A fault that is logged is counted by the hub, too.
local function returned(ok, ...)
  if ok then return ... end
  error(LOGGED, 0)
end

--- Returns the definition of a channel whose functions run as the plugin's: within its limits, counted, and logged
-- with its name.
function M.channel_of(plugin, definition)
  local function wrap(value)
    if type(value) == "function" then
      return function(first, ...) return returned(tasks.call_now(plugin, value, untimed_context(first), ...)) end
    elseif type(value) ~= "table" or getmetatable(value) then
      return value
    end
    local copy = {}
    for name, inner in pairs(value) do copy[name] = wrap(inner) end
    return copy
  end
  return wrap(definition)
end

return M
