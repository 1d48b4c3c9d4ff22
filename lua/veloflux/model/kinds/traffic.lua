--- Timeouts, limits and header edits: they may stand globally, on a listener, a pool or a route, and
-- the narrowest wins.
local s = require "veloflux.model.schema"

local M = {}

local MAX = "30d"

-- name, default, description; what is decided before a route is chosen cannot be set on one.
local TIMEOUTS = {
  { "client_header", "10s", "The whole head of a request, from its first byte.", early = true },
  { "client_body", "30s", "Between two bytes of a request's body." },
  { "client_idle", "75s", "A keep-alive connection without a request.", early = true },
  { "connect", "3s", "To reach a backend." },
  { "response", "60s", "From the last byte of the request sent to the first byte of the answer." },
  { "response_body", "60s", "Between two bytes of an answer's body." },
  { "tunnel", "1h", "Between two bytes of an upgraded connection, either way." },
  { "upstream_idle", "60s", "An unused connection to a backend." },
  { "total", "off", "The whole exchange." },
  { "drain", "30s", "An exchange in a worker that is being replaced.", early = true },
  { "drain_idle", "5s", "An idle client connection in a worker that is being replaced.", early = true },
  { "drain_long", "1h", "A tunnel or stream in a worker that is being replaced.", early = true },
}

local LIMITS = {
  { "header_bytes", "32k", "Bytes of a head, all fields together.", type = "size", min = "256", max = "1m",
    early = true },
  { "header_count", 100, "Fields of a head.", type = "integer", between = { 1, 10000 }, early = true },
  { "uri_bytes", "8k", "Bytes of a request target.", type = "size", min = "16", max = "1m", early = true },
  { "body_bytes", "off", "Bytes of a request's body.", type = "size", off = true },
}

-- Of the node alone.
local NODE_LIMITS = {
  { connections = s.integer { default = "auto", words = { "auto" }, between = { 1, 10000000 },
    description = "Client connections of one worker; auto: as the descriptor limit allows." } },
  { buffer_memory = s.size { default = "256m", min = "1m",
    description = "Bytes that one worker may hold for slow readers; above it, it reads little at a time." } },
  { upstream_keepalive = s.integer { default = 256, between = { 0, 65535 }, unit = "connections",
    description = "Idle connections kept per backend and worker; the least recently used goes first." } },
}

local function timeout(row, default)
  return { [row[1]] = s.duration { default = default, off = true, min = "1ms", max = MAX, description = row[3] } }
end

local function limit(row, default)
  return { [row[1]] = { type = row.type, default = default, off = row.off, min = row.min, max = row.max,
    between = row.between, description = row[3] } }
end

local function too_early(row)
  return { [row[1]] = { type = "unavailable", hidden = true,
    message = "applies before a route is chosen: set it globally or on a listener" } }
end

local function fields(rows, make, is_global, is_late)
  local list = {}
  for _, row in ipairs(rows) do
    if is_late and row.early then
      list[#list + 1] = too_early(row)
    else
      list[#list + 1] = make(row, is_global and row[2] or nil)
    end
  end
  return list
end

--- The names of all timeouts and limits, in the order of enum vf_snap_policy_field.
M.POLICY_FIELDS = {}
for _, row in ipairs(TIMEOUTS) do M.POLICY_FIELDS[#M.POLICY_FIELDS + 1] = { "timeouts", row[1] } end
for _, row in ipairs(LIMITS) do M.POLICY_FIELDS[#M.POLICY_FIELDS + 1] = { "limits", row[1] } end

local TOKEN = "^[%w!#$%%&'*+.^_`|~-]+$" -- RFC 9110 section 5.6.2

-- Written by the proxy itself, always: framing and what belongs to one connection.
local OWN_FIELDS = { ["content-length"] = true, ["transfer-encoding"] = true, connection = true, upgrade = true,
  ["keep-alive"] = true, te = true, trailer = true, ["proxy-connection"] = true }

local function is_editable(name)
  if not OWN_FIELDS[name:lower()] then return true end
  return nil, ("%s is written by the proxy itself"):format(name)
end

--- A header field's name.
function M.field_name()
  return s.string { match = TOKEN, len_max = 256, expects = "the name of a header field",
    custom_validator = is_editable }
end

-- A field value (RFC 9110 section 5.5): no control characters but tab, no spaces around.
local function is_field_value(text)
  if text:find "[%z\1-\8\10-\31\127]" then return nil, "expected a header value without control characters" end
  if text:find "^[ \t]" or text:find "[ \t]$" then return nil, "expected a header value without spaces around it" end
  return true
end

local function field_value()
  return s.string { len_max = 8192, expects = "a header value", custom_validator = is_field_value }
end

--- Refuses names that differ in case only: which of them should count?
local function no_twins(map)
  local names, seen = {}, {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if seen[name:lower()] then return nil, ("%s and %s are the same header"):format(seen[name:lower()], name) end
    seen[name:lower()] = name
  end
  return true
end

local function edits(what)
  return s.record {
    description = "Edits of " .. what .. ", in the order remove, set, add.",
    fields = {
      { set = s.map { keys = M.field_name(), values = field_value(), default = {}, custom_validator = no_twins,
        description = "Fields that replace those of the same name." } },
      { add = s.map { keys = M.field_name(), default = {}, values = s.shape { scalar = field_value(),
        list = s.list { elements = field_value() } },
        description = "Fields added beside those of the same name; a list adds several." } },
      { remove = s.list { elements = M.field_name(), default = {}, description = "Names of fields to remove." } },
    },
  }
end

function M.headers(default)
  return s.record { default = default, description = "Edits of header fields.", fields = {
    { request = edits "the request that goes to the backend" },
    { response = edits "the answer that goes to the client" },
  } }
end

--- The three blocks as fields of a record.
-- @param level "global" (everything, with defaults), "listener" (all of the policy) or "route" (also
-- pools: what still matters when a route is chosen)
function M.fields(level)
  local is_global, is_late = level == "global", level == "route"
  local limits = fields(LIMITS, limit, is_global, is_late)
  if is_global then
    for _, field in ipairs(NODE_LIMITS) do limits[#limits + 1] = field end
  end
  return {
    { timeouts = s.record { default = is_global and {} or nil, description = "Time limits, each with `off`.",
      fields = fields(TIMEOUTS, timeout, is_global, is_late) } },
    { limits = s.record { default = is_global and {} or nil, description = "Size limits.", fields = limits } },
    { headers = M.headers(is_global and {} or nil) },
  }
end

return M
