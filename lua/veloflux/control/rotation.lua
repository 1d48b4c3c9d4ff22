--- The keys of secrets at rest: which there are, what needs them, and how another one comes into use.
--
-- A rotation makes a new key (when they are in data_dir; else the operator has put one in front), which is written
-- down before anything is sealed with it, and then seals anew what the store has, as one version. A process that is
-- killed between the two leaves both keys, and all is readable; the next rotation goes on from there. The history keeps
-- what was sealed before, so a key is needed as long as it reaches back to then.
local alarms = require "veloflux.control.alarms"
local entities = require "veloflux.control.entities"
local keys = require "veloflux.keys"
local queue = require "veloflux.control.queue"
local slices = require "veloflux.slices"
local storage = require "veloflux.control.storage"

local M = {}

local ANSWERS_MS = 24 * 3600 * 1000 -- how long the answers of Idempotency-Key are kept

local function refused(code, message)
  return { ok = false, code = code, message = message, errors = {} }
end

local function ring_of(world)
  if not world then return nil, refused("unavailable", "nothing is published yet") end
  local ring, problem = keys.ring(world.draft.node)
  if not ring then return nil, refused("unavailable", problem) end
  return ring
end

-- What needs a key --------------------------------------------------------------------------------------------

--- Counts the entities of the store that are sealed with another key than the one in use.
local function count_others(set, active)
  local count = 0
  for kind, list in pairs(set) do
    for _, entity in pairs(kind ~= "lists" and list or {}) do
      for hex in entity.json:gmatch "{sealed:(%x+)}" do
        if not keys.is_sealed_by(hex, active.id) then
          count = count + 1
          break
        end
      end
    end
  end
  return count
end

--- Says why a key is still needed: a list of words, empty when it is not.
-- @param has_history true when the store has the version from which nothing new needs the key
local function needs(key, is_active, others, has_history, now_ms)
  if is_active then return { "in_use" } end
  local reasons = {}
  if others > 0 then reasons[#reasons + 1] = "entities" end
  if not key.until_version then
    reasons[#reasons + 1] = "not_rotated"
  elseif has_history then
    reasons[#reasons + 1] = "history"
  end
  if key.at_ms and now_ms < key.at_ms + ANSWERS_MS then reasons[#reasons + 1] = "answers" end
  return reasons
end

--- Asks the store which versions it has. Calls back with a set of those that it has, or nil and an outcome.
local function known_versions(numbers, callback)
  local store, known, left = storage.current(), {}, #numbers
  if not store then return callback(nil, refused("unavailable", "the store is not available")) end
  if left == 0 then return callback(known) end
  local failure
  for _, number in ipairs(numbers) do
    store:version(number, function(err, record)
      known[number], left, failure = record ~= nil, left - 1, failure or err
      if left > 0 then return end
      if failure then return callback(nil, refused("unavailable", failure.message or failure.code)) end
      callback(known)
    end)
  end
end

--- Lists the keys, the one in use first.
-- @param callback function({ok = true, keys = list of {id, is_active, origin, until_version, at_ms, needed_by}}), or
-- an outcome that says why not
function M.list(now_ms, callback)
  local world = queue.world()
  local ring, failure = ring_of(world)
  if not ring then return callback(failure) end
  local numbers = {}
  for _, key in ipairs(ring.keys) do numbers[#numbers + 1] = key.until_version end
  known_versions(numbers, function(known, problem)
    if not known then return callback(problem) end
    local others, list = count_others(world.set, ring.keys[1]), {}
    for i, key in ipairs(ring.keys) do
      list[i] = { id = key.id, is_active = i == 1, origin = key.origin, until_version = key.until_version,
        at_ms = key.at_ms, needed_by = needs(key, i == 1, others, known[key.until_version], now_ms) }
    end
    callback { ok = true, keys = list }
  end)
end

-- Rotation ----------------------------------------------------------------------------------------------------

--- Returns a text with its secrets sealed by the key in use, or nil when one of them cannot be opened.
local function sealed_anew(text, active, seal, unseal)
  local is_open = true
  local result = text:gsub("{sealed:(%x+)}", function(hex)
    if keys.is_sealed_by(hex, active.id) then return nil end
    local plain = unseal(hex)
    is_open = is_open and plain ~= nil
    return plain and "{sealed:" .. seal(plain) .. "}"
  end)
  return is_open and result or nil
end

--- The edits that seal anew what the store has.
local function edits_of(base, active)
  local edits, places = {}, {}
  for kind, list in pairs(base.set) do
    for key, entity in pairs(kind ~= "lists" and list or {}) do
      slices.pause()
      local text = sealed_anew(entity.json, active, base.seal, base.unseal)
      if not text then
        return nil, refused("conflict", ("%s %s is sealed with a key that is not there"):format(kind, key))
      end
      if text ~= entity.json then
        local copy = {}
        for name, value in pairs(entity) do copy[name] = value end
        copy.row, copy.json, copy.version, copy.updated_ms = nil, text, base.version, base.now_ms
        edits[#edits + 1] = { kind = kind, key = key, before = entity.json, entity = copy }
        if entities.type_of(kind, base.tools.plugins) then places[#places + 1] = { kind = kind, key = key } end
      end
    end
  end
  return { set = entities.with(base.set, edits), edits = edits, keys = places, extra = { resealed = #edits } }
end

--- Says why a rotation cannot be: an outcome, or nil.
local function refusal(ring, options)
  if queue.unavailable() then return refused("unavailable", "the store is not available: " .. queue.unavailable()) end
  if ring.setting and options.generate then
    return refused("conflict", ("the key comes from the %s of master_key: put another in front of it there"):format(
      ring.keys[1].origin))
  end
  if storage.is_shared() and options.generate ~= false and not ring.setting then
    return refused("conflict", "nodes share this store: give each of them the new key first, then rotate with "
      .. "generate: false")
  end
end

--- Says whether a rotation makes a key.
local function makes_key(ring, options) return not ring.setting and options.generate ~= false end

--- Takes the key into use that is to be. Returns nil, or an outcome that says why not.
local function take(ring, options)
  local failure = refusal(ring, options)
  if failure then return failure end
  if makes_key(ring, options) then
    local ok, problem = keys.generate(ring)
    if not ok then return refused("unavailable", problem) end
  end
  queue.world().draft.canonical_text = nil -- the last model is sealed anew, too
end

local function reseal(ring, options, context, callback)
  queue.transform(function(base) return edits_of(base, ring.keys[1]) end, context, function(result)
    if result.ok then
      local ok, problem = keys.outdate(ring, result.version, options.now_ms)
      if not ok then result = refused("unavailable", problem) end
    end
    callback(result)
  end)
end

local function rotate(ring, options, context, callback)
  queue.enqueue(function(done)
    local failure = take(ring, options)
    if failure then callback(failure) else reseal(ring, options, context, callback) end
    done()
  end)
end

--- Takes another key into use and seals everything with it.
-- @param options {generate = false: no new key is made, now_ms}
-- @param context, callback as for transactions.apply; the outcome has `resealed`: how many entities were sealed anew
function M.rotate(options, context, callback)
  local ring, failure = ring_of(queue.world())
  if not ring then return callback(failure) end
  keys.refresh(queue.world().draft.node, alarms, function(problem)
    if problem then return callback(refused("unavailable", problem)) end
    rotate(ring, options, context, callback)
  end)
end

--- Says what a rotation would do; nothing changes.
-- @param options as for `rotate`
-- @param callback function({ok = true, generates = a key would be made, active = the id of the key that would be in
-- use, nil of one that is yet to be made}), or an outcome that says why it would be refused
function M.preview(options, callback)
  local world = queue.world()
  local _, failure = ring_of(world)
  if failure then return callback(failure) end
  keys.look(world.draft.node, alarms, function(ring, problem)
    if not ring then return callback(refused("unavailable", problem)) end
    local generates = makes_key(ring, options)
    callback(refusal(ring, options) or { ok = true, generates = generates,
      active = not generates and ring.keys[1].id or nil })
  end)
end

--- Counts the entities that a rotation would seal anew. May pause.
-- @param active of `preview`
-- @return how many; or nil and an outcome that says why it would be refused
function M.count_resealed(active)
  local world, count = queue.world(), 0
  local _, unseal = keys.sealer(world.draft.node)
  for kind, list in pairs(world.set) do
    for key, entity in pairs(kind ~= "lists" and list or {}) do
      slices.pause()
      local is_other = false
      for hex in entity.json:gmatch "{sealed:(%x+)}" do
        if not active or not keys.is_sealed_by(hex, active) then
          if not unseal(hex) then
            return nil, refused("conflict", ("%s %s is sealed with a key that is not there"):format(kind, key))
          end
          is_other = true
        end
      end
      if is_other then count = count + 1 end
    end
  end
  return count
end

--- Forgets a key that nothing needs any more.
-- @param is_dry true: only says whether it would
-- @param callback function({ok = true} or an outcome that says why not)
function M.retire(id, now_ms, is_dry, callback)
  M.list(now_ms, function(result)
    if not result.ok then return callback(result) end
    local ring = ring_of(queue.world())
    for _, key in ipairs(result.keys) do
      if key.id == id then
        if #key.needed_by > 0 then
          return callback(refused("conflict", ("the key %s is still needed: %s"):format(id,
            table.concat(key.needed_by, ", "))))
        end
        if key.origin ~= "data_dir" then
          return callback(refused("conflict", ("the key %s comes from the %s of master_key: take it out there")
            :format(id, key.origin)))
        end
        if is_dry then return callback { ok = true } end
        local ok, problem = keys.forget(ring, id)
        return callback(ok and { ok = true } or refused("unavailable", problem))
      end
    end
    callback(refused("not_found", ("there is no key %s"):format(id)))
  end)
end

return M
