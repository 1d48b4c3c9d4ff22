--- Parts of long lists: ?limit and ?cursor, X-Total-Count, and Link to the next part.
local pdk = require "veloflux.pdk"

local M = {}

local MAX_ITEMS, MAX_LIMIT = 10000, 500

M.QUERY = {
  limit = { type = "integer", between = { 1, MAX_LIMIT }, order = 1, description = "Items of this part." },
  cursor = { type = "integer", min = 0, order = 2, description = "Where it begins: what Link said." },
}

local function refuse(name, detail)
  return pdk.problem.new("invalid", ("%s: %s"):format(name, detail),
    { errors = { { pointer = "?" .. name, detail = detail } } })
end

--- Answers with a part of a list of pdk.state.
function M.answer(request, what)
  local limit, cursor = request.query.limit, request.query.cursor
  if cursor and not limit then return refuse("cursor", "goes with limit") end
  local items, total = pdk.state.list(what, cursor or 0, limit or MAX_ITEMS)
  if not limit and total > MAX_ITEMS then return refuse("limit", ("needed, there are %d items"):format(total)) end
  local headers, last = { ["X-Total-Count"] = tostring(total) }, (cursor or 0) + #items
  if limit and last < total then
    headers.Link = ('<%s?limit=%d&cursor=%d>; rel="next"'):format(request.path, limit, last)
  end
  return 200, items, headers
end

return M
