--- Changes on probation (control/probation.lua): `?probation=30s` of a write, and how one is shown.
-- What endpoints say `takes_probation` get it read here, so that they need not know of it: `request.probation`.
local await = require "veloflux.admin.await"
local document = require "veloflux.model.document"
local duration = require "veloflux.model.duration"
local encoding = require "veloflux.pdk.encoding"
local guard = require "veloflux.model.kinds.guard"
local json = require "veloflux.pdk.json"
local query = require "veloflux.admin.query"
local schema = require "veloflux.model.schema"
local status = require "veloflux.admin.status"

local M = {}

local NAME = "probation"
local SHORTEST, LONGEST = duration.parse(guard.DURATION.min), duration.parse(guard.DURATION.max)

--- What a record of model/kinds/guard.lua says, as control/guard.lua wants it.
local function plain(record)
  return { error_rate = record.error_rate, latency = record.latency == math.huge and 0 or record.latency,
    latency_floor_ms = record.latency_floor, statistic = record.statistic, min_requests = record.min_requests }
end

local function put_scalar(value) return json.encode { value }:sub(2, -2) end

--- Reads the thresholds behind the duration: "error_rate=1,latency=off". Those that are not said are the node's.
local function read_guard(text, settings)
  local members = {}
  for pair in text:gmatch "[^,]+" do
    local name, value = pair:match "^([%w_]+)=(.+)$"
    if not name then return nil, "expected a duration and thresholds: 30s,error_rate=5,min_requests=20" end
    members[#members + 1] = put_scalar(name) .. ":" .. (tonumber(value) and value or put_scalar(value))
  end
  local doc, problem = document.parse("{" .. table.concat(members, ",") .. "}", NAME)
  local record, problems
  if doc then record, problems = schema.read(guard.compiled, doc, function() end) end
  problem = problem or problems and problems[1]
  if problem then return nil, (problem.path ~= "" and problem.path .. ": " or "") .. problem.message end
  local result = plain(settings)
  local own = plain(record)
  for _, pair in ipairs(guard.FIELDS) do
    local name = next(pair)
    local plain_name = name == "latency_floor" and "latency_floor_ms" or name
    if rawget(record, name) ~= nil then result[plain_name] = own[plain_name] end
  end
  return result
end

--- Reads what `probation` says. Returns {ms, guard}, false for off; or nil and what is wrong.
function M.parse(text, settings)
  local first, rest_text = text:match "^([^,]*),?(.*)$"
  if first == "off" and rest_text == "" then return false end
  local ms = duration.parse(first)
  if not ms or ms < SHORTEST or ms > LONGEST then
    local least, most = guard.DURATION.min, guard.DURATION.max
    return nil, ("expected off, or a duration between %s and %s like 30s"):format(least, most)
  end
  local found, problem = read_guard(rest_text, settings)
  if not found then return nil, problem end
  return { ms = ms, guard = found }
end

--- Takes the parameter out of a query. Returns its value (nil: it is not there) and the rest.
local function split(text)
  local found, left = nil, {}
  for pair in text:gmatch "[^&]+" do
    local value = pair:match("^" .. NAME .. "=(.*)$") or pair == NAME and ""
    if value then found = value else left[#left + 1] = pair end
  end
  return found, table.concat(left, "&")
end

--- Reads the probation of a request to an endpoint that takes one.
-- @param settings the record admin.probation
-- @return nil; or a problem
function M.take(request, endpoint, settings)
  if not endpoint.takes_probation then return nil end
  local text, left = split(request.query or "")
  if text then
    text = encoding.url_decode(text, true)
    request.query = left
    local found, problem = M.parse(text or "?", settings)
    if found == nil then return query.wrong(NAME, problem) end
    request.probation = found or nil
  elseif settings.default ~= math.huge then
    request.probation = { ms = settings.default, guard = plain(settings), is_default = true }
  end
end

M.PARAMETER = { NAME, { type = "string" }, "Watch the version for so long, such as `30s`, and take it back when the "
  .. "traffic gets worse; thresholds may follow: `30s,error_rate=1,min_requests=50`. `off`: do not." }

-- How one is shown ------------------------------------------------------------------------------------------

--- Returns the probation of a version as it is shown, or nil. Yields.
function M.shown(context, version)
  local found = await.call(function(callback) context.transactions().probation_of(version, callback) end)
  if not found then return nil end
  local function time(ms) return ms and status.time(ms) or nil end
  return { state = found.state, started_at = time(found.begun_ms), ["until"] = time(found.until_ms),
    ended_at = time(found.ended_ms), reason = found.reason, rollback = found.rollback, guard = found.guard,
    routes = found.routes, before = found.before, since = found.since }
end

return M
