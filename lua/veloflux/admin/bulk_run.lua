--- Runs batches of operations, says how far they are, and remembers how they ended: for a day, in the store, so that
-- a batch that control did not live to finish is known as interrupted. The versions that a batch makes have its id in
-- their reason; from them it is told afterwards what of it was applied. Of one that another node is at it is told how
-- far that had come when it last wrote it down.
--
--   running -> completed | rolled_back | cancelled | interrupted
local ffi = require "ffi"
local await = require "veloflux.admin.await"
local cluster = require "veloflux.cluster"
local crypto = require "veloflux.pdk.crypto"
local json = require "veloflux.pdk.json"
local log = require "veloflux.admin.log"
local outcomes = require "veloflux.admin.outcomes"
local query = require "veloflux.admin.query"
local recent = require "veloflux.admin.bulk_recent"
local slices = require "veloflux.slices"
local status = require "veloflux.admin.status"

ffi.cdef [[ uint64_t vf_clock_wall_ms(void); ]]

local M = {}

local BUCKET, DAY_MS = "bulk", 24 * 3600 * 1000
local SLICE = 500 -- operations that are published together when each counts on its own
local PAGE = 1000 -- versions that are looked through at once
local ENDED = { completed = true, rolled_back = true, cancelled = true, interrupted = true }

local under_way = {} -- id -> batch

local function now_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end
local function now() return status.time(now_ms()) end

--- Makes a batch.
-- @param ops of bulk_plan.lua
-- @param options {is_atomic, context = of a transaction, base_version = the one before it}
function M.new(ops, options)
  local batch = { ops = ops, context = options.context, id = crypto.hex_encode(crypto.random_bytes(16)) }
  batch.document = { operation_id = batch.id, status = "running", atomic = options.is_atomic, total = #ops, done = 0,
    succeeded = 0, failed = 0, created_at = now(), results = json.array() }
  batch.base_version = options.base_version
  return batch
end

--- True when it has ended.
function M.has_ended(document) return ENDED[document.status] == true end

--- Returns how many are under way.
function M.count()
  local count = 0
  for _ in pairs(under_way) do count = count + 1 end
  return count
end

-- Remembering -----------------------------------------------------------------------------------------------

--- Returns a document as JSON. It may pause: 10,000 results are long.
local function text_of(document)
  local rest = {}
  for name, value in pairs(document) do
    if name ~= "results" then rest[name] = value end
  end
  local results = document.results
  return ('%s,"results":%s}'):format(json.lenient(rest):sub(1, -2), query.encode(results, 1, #results))
end

local function put(context, id, record)
  local store = context.store()
  if not store then return { code = "unavailable" } end
  local text = ('{"base_version":%d,"run":"%s","document":%s,"actions":%s}'):format(record.base_version, cluster.run(),
    text_of(record.document), query.encode(record.actions, 1, #record.actions))
  return (await.call(function(callback) store:put(BUCKET, id, text, DAY_MS, callback) end))
end

--- Writes down how far a batch is. Returns an error of the store, or nil. Yields.
function M.save(context, batch)
  local actions = json.array() -- what is said of operations without a result
  if not M.has_ended(batch.document) then
    for i, op in ipairs(batch.ops) do actions[i] = { op.action, op.shown_kind, op.shown_id } end
  end
  local err = put(context, batch.id, { document = batch.document, base_version = batch.base_version,
    actions = actions })
  return err or recent.note(context.store(), batch.document, batch.context.author)
end

local function result_of(i, op, word, found)
  return { index = i - 1, action = op.action, kind = op.shown_kind, id = op.shown_id, status = word,
    error = found and found.detail, code = found and found.code,
    pointer = found and ("/operations/%d/data%s"):format(i - 1, found.pointer or "") or nil }
end

--- Gives every operation without a result this one.
local function fill(batch, word)
  local results = batch.document.results
  for i, op in ipairs(batch.ops) do results[i] = results[i] or result_of(i, op, word) end
end

local function count(document)
  document.succeeded, document.failed = 0, 0
  for _, result in ipairs(document.results) do
    if result.status == "ok" then document.succeeded = document.succeeded + 1 end
    if result.status == "error" then document.failed = document.failed + 1 end
  end
end

local function finish(batch, word)
  local document = batch.document
  count(document)
  document.status, document.ended_at = word, now()
end

-- Running ---------------------------------------------------------------------------------------------------

--- Returns the context of a transaction of a batch.
local function context_of(batch, index)
  local own = { is_brief = true }
  for name, value in pairs(batch.context) do own[name] = value end
  local tag = "bulk " .. batch.id .. (index and " operation " .. index - 1 or "")
  own.reason = own.reason and ("%s (%s)"):format(own.reason, tag) or tag
  own.check = function()
    if not batch.is_cancelled then return nil end
    return { ok = false, code = "cancelled", message = "cancelled", errors = {} }
  end
  return own
end

local function note_version(document, outcome)
  document.version, document.laggards = outcome.version, outcomes.laggards(outcome)
end

local function run_atomic(context, batch)
  local document = batch.document
  local outcome = await.call(function(callback)
    context.transactions().apply(batch.ops, context_of(batch), callback)
  end)
  batch.outcome, document.done = outcome, document.total
  if outcome.ok then
    note_version(document, outcome)
    document.summary = outcome.summary
    fill(batch, "ok")
    return finish(batch, "completed")
  end
  document.error = outcome.message
  for _, found in ipairs(outcome.errors or {}) do
    if found.op and not document.results[found.op] then
      document.results[found.op] = result_of(found.op, batch.ops[found.op], "error",
        { detail = found.detail, pointer = found.pointer, code = outcome.code })
    end
  end
  fill(batch, "rolled_back")
  finish(batch, outcome.code == "cancelled" and "cancelled" or "rolled_back")
end

local function take_result(batch, i, outcome)
  local document, op = batch.document, batch.ops[i]
  if outcome.ok then
    note_version(document, outcome)
    document.results[i] = result_of(i, op, "ok")
    document.results[i].version = outcome.version
  elseif outcome.code == "cancelled" then
    document.results[i] = result_of(i, op, "cancelled")
  else
    local found = outcome.errors and outcome.errors[1] or {}
    document.results[i] = result_of(i, op, "error", { detail = outcome.message, pointer = found.pointer,
      code = outcome.code })
  end
  document.done = document.done + 1
end

--- Applies some operations, each as a transaction, that are published together. Yields.
local function run_slice(context, batch, first, last)
  local t, left = context.transactions(), last - first + 1
  await.call(function(callback)
    t.together(function()
      for i = first, last do
        t.apply({ batch.ops[i] }, context_of(batch, i), function(outcome)
          take_result(batch, i, outcome)
          left = left - 1
          if left == 0 then callback() end
        end)
      end
    end)
  end)
  count(batch.document)
end

local function run_each(context, batch, on_progress)
  local total = batch.document.total
  for first = 1, total, SLICE do
    if batch.is_cancelled then break end
    local last = math.min(first + SLICE - 1, total)
    run_slice(context, batch, first, last)
    if last < total then on_progress() end
  end
  local is_whole = batch.document.done == total and not batch.document.results[total].status:find "cancelled"
  fill(batch, "cancelled")
  finish(batch, is_whole and "completed" or "cancelled")
end

--- Runs a batch to its end, which `document` tells afterwards. Yields.
-- @param on_progress function, called between slices; it may yield
function M.run(context, batch, on_progress)
  if batch.document.atomic then return run_atomic(context, batch) end
  run_each(context, batch, on_progress or function() end)
end

local function go_on(context, batch)
  local function save()
    local err = M.save(context, batch)
    if err then log.write("warn", "admin.bulk_not_saved", { "id", batch.id, "err", err.message or err.code }) end
  end
  local ok, message = xpcall(function()
    save() -- waits: who asked has the answer before the work begins
    M.run(context, batch, save)
  end, debug.traceback)
  if not ok then
    log.write("error", "admin.lua_error", { "bulk", batch.id, "err", message })
    batch.document.error = "a fault of ours; the log says more"
    fill(batch, "interrupted")
    finish(batch, "interrupted")
  end
  save()
  under_way[batch.id] = nil
end

--- Runs a batch while others go on. The caller has saved it.
function M.start(context, batch)
  under_way[batch.id] = batch
  await.resume(slices.allow(coroutine.create(go_on)), context, batch)
end

--- Cancels a batch. Returns false when it is not under way.
-- @param is_dry true: only says so
function M.cancel(id, is_dry)
  local batch = under_way[id]
  if not batch then return false end
  if not is_dry then batch.is_cancelled = true end
  return true
end

-- Afterwards ------------------------------------------------------------------------------------------------

--- Finds the versions that a batch has made. Yields.
-- @return map from the place of an operation ("whole": all together) to a version; or nil and an error
local function versions_of(context, id, base_version)
  local found, before = {}, nil
  while true do
    local err, list = await.call(function(callback)
      context.store():versions({ before = before, limit = PAGE }, callback)
    end)
    if err then return nil, err end
    for _, record in ipairs(list) do
      if record.version <= base_version then return found end
      local tag = (record.reason or ""):match("bulk " .. id .. "(.*)$")
      if tag then found[tonumber(tag:match "operation (%d+)") or "whole"] = record.version end
    end
    if #list < PAGE then return found end
    before = list[#list].version
  end
end

--- Tells from the versions what became of a batch that was cut off.
local function settle(record, versions)
  local document = record.document
  local results = document.results
  for i, action in ipairs(record.actions) do
    local version = versions.whole or versions[i - 1]
    local known = results[i] and results[i].status
    if not known or version then
      results[i] = { index = i - 1, action = action[1], kind = action[2], id = action[3], version = version,
        status = version and "ok" or "interrupted" }
    end
    if version then document.version = math.max(document.version or 0, version) end
  end
  count(document)
  document.done = document.succeeded + document.failed
  document.status, document.ended_at = versions.whole and "completed" or "interrupted", now()
  if not versions.whole then document.error = "control ended before it was done: what says ok was applied" end
end

--- Returns the batches of a day, without their results; or nil and an error of the store. Yields.
function M.list(context)
  local store = context.store()
  if not store then return nil, { code = "unavailable" } end
  return recent.list(store, status.time(now_ms() - DAY_MS), M.has_ended,
    function(id) return (M.find(context, id)) end)
end

--- Returns how far a batch is, nil, and the node that is at it, if that is another one; nil when there is none by this
-- id; or nil and an error of the store. Yields.
function M.find(context, id)
  if under_way[id] then return under_way[id].document end
  local store = context.store()
  if not store then return nil, { code = "unavailable" } end
  local err, text = await.call(function(callback) store:get(BUCKET, id, callback) end)
  if err or not text then return nil, err end
  if under_way[id] then return under_way[id].document end
  local record = json.decode(text, { pause = slices.look })
  if M.has_ended(record.document) then return record.document end
  local node = cluster.node_of(record.run)
  if node then return record.document, nil, node end
  local versions, failure = versions_of(context, id, record.base_version)
  if not versions then return nil, failure end
  settle(record, versions)
  put(context, id, record)
  return record.document
end

return M
