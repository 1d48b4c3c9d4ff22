--- Batches: up to 10,000 operations on entities, as one transaction or each as one of its own. Long ones go on in the
-- background; their progress outlives control.
--
--     local document, problem = pdk.bulk.submit(request.body, { in_background = true })
--
-- May be called in control only: in the functions of api.lua and jobs.lua. All functions wait.
local control = require "veloflux.runtime.control"
local network = require "veloflux.runtime.network"

---@class pdk.bulk
local M = {}

---@class pdk.bulk.batch
---@field operation_id string
---@field status "running"|"completed"|"rolled_back"|"cancelled"|"interrupted"
---@field atomic boolean
---@field total integer
---@field done integer
---@field succeeded integer
---@field failed integer
---@field version? integer that it made
---@field results table[] of each operation

--- Applies a batch.
---@async
---@param body string|pdk.document.content JSON: {operations, atomic, dry_run}, as POST /api/bulk takes it
---@param options? { kind?: string, tenant?: string, dry_run?: boolean, in_background?: boolean } kind, tenant: of
--- operations that say none; in_background: answer before it has ended, as is done with more than 1,000 operations
---@return pdk.bulk.batch? batch of a dry run: what would change
---@return pdk.problem.document? problem nothing was applied
---@return "ended"|"under_way"|"dry_run"|nil how
function M.submit(body, options)
  local of = control.current "bulk.submit"
  options = options or {}
  return control.call("bulk_submit", of, network.plugin_name(), body, { kind = options.kind, tenant = options.tenant,
    dry_run = options.dry_run == true, in_background = options.in_background == true })
end

local function expect_id(id, name)
  if type(id) ~= "string" then error(name .. ": expected the id of a batch", 3) end
end

--- Returns a batch of the last day.
---@async
---@param id string
---@return pdk.bulk.batch? batch
---@return pdk.problem.document? problem not_found, or unavailable
function M.get(id)
  control.current "bulk.get"
  expect_id(id, "bulk.get")
  return control.call("bulk_get", id)
end

--- Lists the batches of the last day, without their results.
---@async
---@return pdk.bulk.batch[]? list
---@return pdk.problem.document? problem
function M.list()
  control.current "bulk.list"
  return control.call "bulk_list"
end

--- Cancels a batch that is under way: what is not applied yet is not, and one that is atomic is rolled back.
--- `?dry_run=true` of an endpoint that takes it is heeded: the batch goes on.
---@async
---@param id string
---@return pdk.bulk.batch? batch
---@return pdk.problem.document? problem conflict: it has ended
function M.cancel(id)
  local of = control.current "bulk.cancel"
  expect_id(id, "bulk.cancel")
  return control.call("bulk_cancel", of, id)
end

return M
