--- The versions of the configuration: what was changed when, by whom and why, and the way back.
--
--     for _, version in ipairs(pdk.versions.list { limit = 10 }) do print(version.version, version.summary) end
--
-- May be called in control only: in the functions of api.lua and jobs.lua. All but `current` wait for the store.
local control = require "veloflux.runtime.control"
local network = require "veloflux.runtime.network"

---@class pdk.versions
local M = {}

---@class pdk.versions.version
---@field version integer
---@field time string RFC 3339
---@field author string
---@field source string "api", "file", "job", ...
---@field reason string
---@field request_id string
---@field summary string
---@field diff? table[] by entity and field; of `get`

local MOST = 500

local function expect_number(value, name)
  if type(value) ~= "number" or value % 1 ~= 0 or value < 0 then
    error(name .. ": expected the number of a version", 3)
  end
end

--- Returns the version that is published.
---@async
---@return integer
function M.current()
  control.current "versions.current"
  return control.call "current"
end

--- Lists versions, the newest first.
---@async
---@param options? { before?: integer, limit?: integer } limit: at most 500, 50 when left out
---@return pdk.versions.version[]? list
---@return pdk.problem.document? problem
---@return integer? total how many versions there are
function M.list(options)
  local of = control.current "versions.list"
  options = options or {}
  local limit = options.limit or 50
  if type(limit) ~= "number" or limit < 1 or limit > MOST or limit % 1 ~= 0 then
    error(("versions.list: limit: expected a whole number from 1 to %d"):format(MOST), 2)
  end
  if options.before then expect_number(options.before, "versions.list: before") end
  return control.call("versions", of, network.plugin_name(), { before = options.before, limit = limit })
end

--- Returns one version and what it changed.
---@async
---@param number integer
---@return pdk.versions.version? version
---@return pdk.problem.document? problem not_found: there is none
function M.get(number)
  local of = control.current "versions.get"
  expect_number(number, "versions.get")
  return control.call("version", of, network.plugin_name(), number)
end

--- Says what is different between two versions.
---@async
---@param from integer|"running"|"file" running: what is published; file: what a reload would publish
---@param to integer|"running"|"file"
---@return { from: any, to: any, summary: string, diff: table[] }? diff
---@return pdk.problem.document? problem
function M.diff(from, to)
  local of = control.current "versions.diff"
  for _, what in ipairs { from, to } do
    if what ~= "running" and what ~= "file" then expect_number(what, "versions.diff") end
  end
  return control.call("diff", of, network.plugin_name(), from, to)
end

--- Brings back what the store had in a version, as a new version.
---@async
---@param number integer
---@param options? { reason?: string, dry_run?: boolean }
---@return pdk.transaction.result? result with `skipped`: what stands in the conf file now
---@return pdk.problem.document? problem
function M.rollback(number, options)
  local of = control.current "versions.rollback"
  expect_number(number, "versions.rollback")
  options = options or {}
  return control.call("rollback", of, network.plugin_name(), number,
    { reason = options.reason and tostring(options.reason):sub(1, 1000), dry_run = options.dry_run == true })
end

--- Ends the probation of a version (`?probation` of the admin API): it stays. `?dry_run=true` of an endpoint that takes
--- it is heeded, and answered as dry runs are.
---@async
---@param number integer
---@return { version: integer, probation: table }? ended
---@return pdk.problem.document? problem conflict: it is not on probation
function M.confirm(number)
  local of = control.current "versions.confirm"
  expect_number(number, "versions.confirm")
  return control.call("confirm", of, network.plugin_name(), number)
end

--- Ends the probation of a version: what it changed is taken back now, by a new version. A dry run says what that is.
---@async
---@param number integer
---@return { version: integer, probation: table }? ended
---@return pdk.problem.document? problem conflict: it is not on probation
function M.reject(number)
  local of = control.current "versions.reject"
  expect_number(number, "versions.reject")
  return control.call("reject", of, network.plugin_name(), number)
end

return M
