--- Pages of other sites and the admin API (CORS of the Fetch standard; RFC 6454 for origins): those of the origins that
-- the conf names may read answers and send what changes something, all others may not. What an origin may do besides
-- is up to the credentials that it sends.
local M = {}

local METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
local EXPOSED = "ETag, Location, Link, X-Total-Count, X-Request-Id, VeloFlux-Version, VeloFlux-Laggards, "
  .. "VeloFlux-Lagging-Nodes, Retry-After, Preference-Applied, Idempotency-Replayed, Allow"
local DEFAULT_PORTS = { http = "80", https = "443" }

local origins, max_age_s = {}, 0

--- Returns an origin in the form in which browsers send it.
local function normal(origin)
  origin = origin:lower()
  local scheme, host, port = origin:match "^(https?)://(.-):(%d+)$"
  return scheme and port == DEFAULT_PORTS[scheme] and scheme .. "://" .. host or origin
end

--- Takes over the settings of a configuration.
-- @param settings the record admin.cors
function M.configure(settings)
  origins, max_age_s = {}, math.floor(settings.max_age / 1000)
  for _, origin in ipairs(settings.origins) do origins[normal(origin)] = true end
end

--- Returns the origin of a request when the conf names it, else nil.
function M.origin_of(request)
  local origin = request.headers.origin
  return origin and origins[normal(origin)] and origin or nil
end

--- Answers the question of a browser whether it may send a request; nil: it is none, or of another origin.
function M.preflight(request)
  if request.method ~= "OPTIONS" or not request.headers["access-control-request-method"] then return nil end
  if not M.origin_of(request) then return nil end
  local headers = { "Access-Control-Allow-Methods", METHODS, "Access-Control-Max-Age", tostring(max_age_s) }
  local asked = request.headers["access-control-request-headers"]
  if asked and asked:find "^[%w_, -]+$" then
    headers[#headers + 1], headers[#headers + 2] = "Access-Control-Allow-Headers", asked
  end
  return { status = 204, headers = headers, body = "" }
end

--- Adds to the fields of an answer, {name, value, ...}, what lets a page read it.
-- @return the same list, or another
function M.add(request, headers)
  if not next(origins) then return headers end
  local all = { "Vary", "Origin" }
  local origin = M.origin_of(request)
  if origin then
    for _, text in ipairs { "Access-Control-Allow-Origin", origin, "Access-Control-Expose-Headers", EXPOSED } do
      all[#all + 1] = text
    end
  end
  for _, text in ipairs(headers or {}) do all[#all + 1] = text end
  return all
end

return M
