--- What is known of an exchange, as a table for log shippers: pdk.log.serialize.
local client = require "veloflux.pdk.client"
local query = require "veloflux.runtime.query"
local router = require "veloflux.pdk.router"
local task = require "veloflux.runtime.task"
local view = require "veloflux.runtime.view"

local M = {}

local PLAIN = { ["nil"] = true, string = true, number = true, boolean = true }

-- What plugins have set -----------------------------------------------------------------------------

local function is_loggable(value, above)
  if PLAIN[type(value)] then return true end
  if type(value) ~= "table" or above[value] then return false end
  above[value] = true
  for key, inner in pairs(value) do
    if not PLAIN[type(key)] or not is_loggable(inner, above) then return false end
  end
  above[value] = nil
  return true
end

--- Returns the table that the last step of a path is in, and that step; nil when replace finds none; nil and a
-- message when something else stands in the way.
local function place_of(root, change)
  local at, last = root, nil
  for step in change.key:gmatch "[^.]+" do
    if last then
      if at[last] == nil and change.mode == "replace" then return nil end
      if at[last] == nil then at[last] = {} end
      at = at[last]
      if type(at) ~= "table" then return nil, ("%q: %s is no table"):format(change.key, last) end
    end
    last = step
  end
  return at, last
end

--- Returns nil, or what is wrong with a change.
local function apply(root, change)
  if not is_loggable(change.value, {}) then
    return ("%q: expected a string, number, boolean or a table of them, without cycles"):format(change.key)
  end
  local at, last = place_of(root, change)
  if not at then return last end
  local is_there = at[last] ~= nil
  if change.mode == "set" or (change.mode == "replace") == is_there then at[last] = change.value end
end

-- What there is -------------------------------------------------------------------------------------

local function ms_between(from, to)
  if from == 0 or to < from then return -1 end
  return math.floor(tonumber(to - from) / 1e4 + 0.5) / 100
end

local HIDDEN = { authorization = true, ["proxy-authorization"] = true, cookie = true, ["set-cookie"] = true }

local function shown_fields(side)
  local fields = view.fields(side, 1000)
  for name in pairs(fields) do
    if HIDDEN[name] then fields[name] = "REDACTED" end
  end
  return fields
end

-- Who was tried: {ip, port}, `state` "failed" where another one was tried next.
local function tries()
  local list = view.tries()
  for i, address in ipairs(list) do
    local host, port = address:match "^%[?(.-)%]?:(%d+)$"
    list[i] = { ip = host or address, port = tonumber(port), state = i < #list and "failed" or nil }
  end
  return list
end

--- Returns a table that plugins may change: entities are shared.
local function copy_of(value)
  if type(value) ~= "table" then return value end
  local copy = {}
  for key, inner in pairs(value) do copy[key] = copy_of(inner) end
  return copy
end

local function request_of(request)
  local host, target = view.text(request.host) or "", view.text(request.target) or ""
  local entry = { id = view.text(request.request_id), method = view.text(request.method), uri = target,
    headers = shown_fields(view.REQUEST), querystring = query.decode(view.text(request.query), 100) }
  local name = host:match "^(%[.-%])" or host:match "^[^:]*"
  entry.url = ("%s://%s:%d%s"):format(request.is_tls ~= 0 and "https" or "http", name, request.listener_port, target)
  if request.is_tls ~= 0 then
    local tls = client.tls.get_info()
    entry.tls = { version = tls.version, cipher = tls.cipher, client_verify = client.tls.get_client_verify() }
  end
  return entry
end

local function latencies_of(answer)
  local taken = { request = ms_between(answer.start_ns, answer.now_ns),
    proxy = ms_between(answer.sent_ns, answer.first_byte_ns),
    connect = ms_between(answer.connect_ns, answer.connected_ns) }
  taken.receive = ms_between(answer.first_byte_ns, answer.now_ns)
  taken.gateway = taken.proxy >= 0 and math.max(taken.request - taken.proxy, 0) or taken.request
  taken.kong = taken.receive >= 0 and math.max(taken.gateway - taken.receive, 0) or taken.gateway
  taken.receive = math.max(taken.receive, 0)
  return taken
end

--- As pdk.response.get_source.
local function source_of(answer)
  if answer.is_plugins ~= 0 then return "exit" end
  return answer.is_local ~= 0 and "error" or "service"
end

local function add_identity(entry, values)
  local consumer, credential = values.consumer, values.credential
  if consumer then
    entry.consumer = { id = consumer.id or consumer.name, username = consumer.username or consumer.name,
      custom_id = consumer.custom_id }
  end
  if credential then
    entry.authenticated_entity = { id = credential.id or values.credential_identifier,
      consumer_id = consumer and (consumer.id or consumer.name) }
  end
end

--- Makes the entry of the exchange that runs.
-- @return table, or nil and what is wrong with a value that a plugin has set
function M.make()
  local request, answer = view.request(), view.response()
  local entry = { started_at = tonumber(request.start_wall_ms), client_ip = view.text(request.client_ip),
    request = request_of(request) }
  entry.request.size = tonumber(answer.bytes_in)
  entry.response = { status = tonumber(answer.status), size = tonumber(answer.bytes_out),
    headers = shown_fields(view.RESPONSE) }
  entry.upstream_status = answer.upstream_status ~= 0 and tostring(answer.upstream_status) or ""
  entry.latencies, entry.reason = latencies_of(answer), view.text(answer.reason)
  entry.route, entry.service = copy_of(router.get_route()), copy_of(router.get_service())
  local pool = view.text(answer.pool)
  entry.pool, entry.backend = pool ~= "" and pool or nil, view.text(answer.backend)
  entry.tenant, entry.tries = view.text(answer.route_tenant), tries()
  entry.upstream_uri = view.text_of(view.UPSTREAM_URI)
  if answer.status ~= 0 then entry.source = source_of(answer) end
  local values = task.values[task.run.context] or {}
  add_identity(entry, values)
  for _, change in ipairs(values.serialize or {}) do
    local problem = apply(entry, change)
    if problem then return nil, problem end
  end
  return entry
end

return M
