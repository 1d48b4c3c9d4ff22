--- What a route matches and does, and why one goes before another, in words. For `check` and the admin API.
local x509 = require "veloflux.x509"

local M = {}

--- Says what becomes of the requests of a route.
function M.action_of(route)
  if route.pool then return "pool " .. route.pool end
  local redirect = route.redirect
  if redirect then
    local is_record = type(redirect) == "table"
    return ("redirect %d to %s"):format(is_record and redirect.status or 301, is_record and redirect.to or redirect)
  end
  return ("answer %d"):format(route.respond.status)
end

--- Says what a route wants of the certificates of clients; nil: nothing.
function M.clients_of(route)
  local wanted = route.client_certificate
  if wanted == "optional" then return nil end
  if wanted == "require" then return "require: good for the listener" end
  local found = x509.certificates(wanted.ca)
  local more = found.n > 1 and (" and %d more"):format(found.n - 1) or ""
  return ("%s: of %s%s%s, depth %d%s"):format(wanted.mode, found.subject, more, wanted.crl and ", not revoked" or "",
    wanted.depth, wanted.forward and ", shown to backends" or "")
end

function M.path_of(route)
  if route.path then return "path " .. route.path end
  if route.path_regex then return "path_regex " .. route.path_regex end
  return "path_prefix " .. (route.path_prefix or "/")
end

--- Says what a route matches.
-- @param host_class of explain.ask
function M.describe(route, host_class)
  local parts = { host_class, M.path_of(route) }
  if #route.methods > 0 then parts[#parts + 1] = "methods " .. table.concat(route.methods, " ") end
  if route.match then parts[#parts + 1] = "match" end
  if route.priority ~= 0 then parts[#parts + 1] = "priority " .. route.priority end
  return table.concat(parts, ", ")
end

local CLASS_RANKS = { ["exact host"] = 1, ["wildcard host"] = 2, ["any host"] = 3 }

local function kind_of(route)
  return route.path and 1 or route.path_regex and 2 or 3
end

local function count_of(map)
  local n = 0
  for _ in pairs(map) do n = n + 1 end
  return n
end

local function conditions_of(route)
  local n = #route.methods > 0 and 1 or 0
  return n + (route.match and count_of(route.match.headers) + count_of(route.match.query) or 0)
end

--- Says by which rule the winner goes before a route that matches as well.
local function why_later(winner, route, winner_class, class)
  if CLASS_RANKS[class] > CLASS_RANKS[winner_class] then return ("the %s goes before"):format(winner_class) end
  if route.priority ~= winner.priority then return "lower priority" end
  if kind_of(route) ~= kind_of(winner) then return "exact paths go before patterns, patterns before prefixes" end
  local prefix, winning = route.path_prefix or "/", winner.path_prefix or "/"
  if kind_of(route) == 3 and #prefix ~= #winning then return "shorter prefix" end
  if conditions_of(route) ~= conditions_of(winner) then return "fewer conditions" end
  return "its name comes later"
end

local REASONS = { method = "not for this method", condition = "a condition of match does not hold" }

--- Returns the rival that wins, or nil.
-- @param answer of explain.ask
function M.winner_of(answer)
  for _, rival in ipairs(answer.rivals) do
    if rival.verdict == "wins" then return rival end
  end
end

--- Says why a rival does not answer.
-- @param winner the rival that does; nil when none does
function M.why_not(model, winner, rival)
  return REASONS[rival.verdict] or why_later(model.routes[winner.route], model.routes[rival.route], winner.host_class,
    rival.host_class)
end

--- Splits a URL (or a path, for routes of any host) into host and target.
function M.split_url(url)
  local host, target = url:match "^%a[%w+.-]*://([^/?#]*)([^#]*)"
  if not host then host, target = "", url end
  if not target:find "^/" then target = "/" .. target end
  return host, target
end

return M
