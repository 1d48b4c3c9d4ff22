--- Lists that plugins answer, with filters, sorting and pages as the lists of the core have them.
local queries = require "veloflux.admin.query"
local seam = require "veloflux.runtime.control"

local M = {}

local function answer(request, items, names, order)
  local fields = {}
  for _, name in ipairs(names) do fields[name] = true end
  return queries.list(request, items, fields, order)
end

--- Returns what a handler returns: status, body and headers; or a problem.
-- @param request of the router
-- @param items list of tables
-- @param names of the fields by which they are filtered and sorted
-- @param order the default one, such as "-created_at,id"; it tells any two apart
function M.answer(request, items, names, order)
  local result = seam.untimed(answer, request, items, names, order)
  if result.code then return result end
  local headers = { "Content-Type", "application/json", "X-Content-Type-Options", "nosniff" }
  for _, text in ipairs(result.headers or {}) do headers[#headers + 1] = text end
  return result.status or 200, result.json_text, headers
end

return M
