--- The one door: every change of the configuration is a transaction, and this is how it is asked for.
--
-- A transaction is validated, compiled, prepared by all processes, stored and published, one at a time and in the
-- order of asking; what waits meanwhile becomes versions of their own that are published together (queue.lua,
-- flow.lua). Callbacks get one outcome; they may be called before the function that took them returns.
local backup = require "veloflux.control.backup"
local documents = require "veloflux.control.documents"
local history = require "veloflux.control.history"
local probation = require "veloflux.control.probation"
local queue = require "veloflux.control.queue"
local worlds = require "veloflux.control.world"

local M = {}

--- Changes entities.
-- @param ops list of {op, kind, tenant, name, value, if_match}: op is create, put (fields present change, null
-- resets to the default), merge (RFC 7396), replace, upsert (create or replace) or delete; value as pdk.json
-- decodes it, its texts literal; if_match the version that the entity has to have; is_test: it is only read. Of
-- backends also `pool`, of credentials `consumer`: the owner; is_literal: texts of `value` are escaped already
-- @param context {author, source, reason, request_id, dry_run, is_brief, check, fence, probation}: source is "api" when
-- left out; is_brief: without `diff`; check: function that is called when its turn comes, and may return an outcome
-- instead; fence: {name, token} of the lease under which this is done (cluster/leader.lua); probation: nil, or
-- {ms, guard}: the version is watched for a while (probation.lua); if_versions: set of versions, one of which the one
-- before has to be (else stale), or nil
-- @param callback function(outcome): {ok = true, version, published, diff, summary, warnings, laggards, objects},
-- with dry_run also {affected_routes, affected_count}; or {ok = false, code, message, errors = {{op, pointer,
-- detail}}}: code is invalid, not_found, exists, conflict, stale, owned (with source = FILE:LINE), referenced,
-- unavailable or fenced (the lease has passed to another)
M.apply = queue.apply

--- Calls a function that may call `apply` several times: what it asks for waits until it has returned, and is
-- published together, up to 500 transactions at once.
M.together = queue.together

--- Returns all entities of a kind: {value = record, key, version, created_ms, updated_ms, origin = "file" or
-- "api", source = FILE:LINE or nil}, those of the file first.
function M.list(kind)
  local world = queue.world()
  return world and worlds.list(world, kind) or {}
end

--- Returns one of them, or nil.
-- @param tenant nil: the default one; of instances of plugins: of none
function M.find(kind, tenant, name)
  local world = queue.world()
  return world and worlds.find(world, kind, tenant, name)
end

--- Returns why nothing can be stored, or nil.
M.unavailable = queue.unavailable

M.versions, M.version, M.diff, M.rollback = history.versions, history.version, history.diff, history.rollback
M.probation_of, M.confirm, M.reject = probation.status, probation.confirm, probation.reject
M.validate, M.export, M.import = documents.validate, documents.export, documents.import
M.backup, M.restore = backup.create, backup.restore

return M
