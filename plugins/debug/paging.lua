--- Parts of long lists: ?limit and ?cursor, X-Total-Count, and Link to the next part.
local pdk = require "veloflux.pdk"

local M = {}

local MAX_ITEMS, MAX_LIMIT = 10000, 500

local PARAMETERS = {
  { "limit", { type = "integer", minimum = 1, maximum = MAX_LIMIT }, "Items of this part; all when left out." },
  { "cursor", { type = "string" }, "Where it begins: what Link said." },
  { "page", { type = "integer", minimum = 1 }, "The number of a part, instead of a cursor." },
  { "sort", { type = "string" }, "Fields, separated by commas; a minus before one turns its order." },
}

local FIELDS = {
  pools = { "name", "tenant_id", "algorithm", "sticky_sessions", "total_backends", "active_backends", "requests",
    "unavailable", "retries", "failovers", "in_flight", "average_ms" },
  backends = { "address", "pool", "tenant_id", "status", "healthy", "drain", "weight", "requests", "errors", "timeouts",
    "connections", "in_flight", "average_ms", "checked" },
  routes = { "name", "tenant_id", "rank", "action", "path", "priority", "requests", "client_errors", "server_errors",
    "average_ms" },
}
local ORDER = { pools = "tenant_id,name", backends = "tenant_id,pool,address", routes = "rank" }

--- Returns the parameters of a list, for the OpenAPI document.
function M.parameters(what)
  local rows = {}
  for i, row in ipairs(PARAMETERS) do rows[i] = row end
  for _, name in ipairs(FIELDS[what]) do
    rows[#rows + 1] = { name, { type = "string" }, ("Only those whose `%s` is this."):format(name) }
  end
  return rows
end

--- Reads a query of nothing but limit and perhaps a cursor that is a number: such a part is all that has to be made.
-- @return both; or nil
local function plain_part(raw)
  local limit, cursor = (raw or ""):match "^limit=(%d+)$", nil
  if not limit then limit, cursor = (raw or ""):match "^limit=(%d+)&cursor=(%d+)$" end
  limit, cursor = tonumber(limit or ""), tonumber(cursor or "0")
  if limit and limit >= 1 and limit <= MAX_LIMIT and cursor < 2 ^ 31 then return limit, cursor end
end

local function refuse(name, detail)
  return pdk.problem.new("invalid", ("%s: %s"):format(name, detail),
    { errors = { { pointer = "?" .. name, detail = detail } } })
end

--- Answers with a part of a list of pdk.state, as it is or as the query orders it.
function M.answer(request, what)
  local limit, cursor = plain_part(request.raw_query)
  local items, total = pdk.state.list(what, cursor or 0, limit or MAX_ITEMS)
  if not limit and total > MAX_ITEMS then
    return refuse("limit", ("needed, without filters and sort: there are %d items"):format(total))
  end
  if not limit and request.raw_query and request.raw_query ~= "" then
    return request.list(items, FIELDS[what], ORDER[what])
  end
  local headers, last = { ["X-Total-Count"] = tostring(total) }, (cursor or 0) + #items
  if limit and last < total then
    headers.Link = ('<%s?limit=%d&cursor=%d>; rel="next"'):format(request.path, limit, last)
  end
  return 200, items, headers
end

return M
