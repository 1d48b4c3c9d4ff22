--- Problem documents (RFC 9457), as the admin API answers what it cannot do: for endpoints of plugins (api.lua).
--
--     return pdk.problem.new("not_found", "There is no widget of this name.")
--     local errors = { { pointer = "/size", detail = "is too much" } }
--     return pdk.problem.new("invalid", "size: is too much", { errors = errors })
--
-- May be called anywhere in control; in requests pdk.response.exit answers.
local problems = require "veloflux.admin.problem"

---@class pdk.problem
local M = {}

---@class pdk.problem.document what a handler of an endpoint returns instead of an answer
---@field code string
---@field status integer
---@field detail string
---@field errors { pointer: string, detail: string }[]

--- Makes a problem.
---@param code "invalid"|"forbidden"|"not_found"|"conflict"|"exists"|"referenced"|"stale"|"unavailable"|string the
--- machine code, which says the status: invalid is 400, not_found 404, conflict 409, stale 412, unavailable 503
---@param detail string one sentence for people
---@param extra? { errors?: { pointer: string, detail: string }[], headers?: string[], members?: table } errors: one for
--- each wrong field; headers: name, value, name, value; members: what else the document has
---@return pdk.problem.document
function M.new(code, detail, extra)
  if not problems.codes()[code] then error("problem.new: there is no code " .. tostring(code), 2) end
  if type(detail) ~= "string" then error("problem.new: detail: expected a text", 2) end
  return problems.new(code, detail, extra)
end

--- Says whether a value is a problem, such as functions of pdk.transaction return.
---@param value any
---@return boolean
function M.is(value) return problems.is(value) end

return M
