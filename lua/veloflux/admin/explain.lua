--- What would become of a request, for the plugin `debug`. The router and the balancers of the snapshot that
-- runs are asked; nothing is sent, and nothing changes.
local explain = require "veloflux.explain"
local json = require "veloflux.pdk.json"
local model_kinds = require "veloflux.model"
local networks = require "veloflux.networks"
local origins = require "veloflux.plugin.origins"
local places = require "veloflux.admin.places"
local problem = require "veloflux.admin.problem"
local resolve = require "veloflux.plugin.resolve"
local schema = require "veloflux.model.schema"
local status = require "veloflux.admin.status"
local totals = require "veloflux.totals"
local traffic = require "veloflux.model.kinds.traffic"
local words = require "veloflux.explain_words"

local M = {}

local text = totals.text

-- The question --------------------------------------------------------------------------------------

local FIELDS = { method = "string", url = "string", headers = "table", client_ip = "string", consumer = "string",
  listener = "string" }

local function fault(errors, pointer, detail) errors[#errors + 1] = { pointer = pointer, detail = detail } end

local function check_fields(body, errors)
  for name, value in pairs(body) do
    if not FIELDS[name] then
      fault(errors, "/" .. name, "unknown field")
    elseif type(value) ~= FIELDS[name] or name == "headers" and json.is_array(value) then
      fault(errors, "/" .. name, FIELDS[name] == "table" and "expected an object" or "expected a text")
    elseif FIELDS[name] == "string" and value:find "%c" then
      fault(errors, "/" .. name, "expected a text without control characters")
    end
  end
  local ip = body.client_ip
  if type(ip) == "string" and (ip:find "/" or not networks.new { ip }) then
    fault(errors, "/client_ip", "expected an IP address")
  end
  if body.url == nil then fault(errors, "/url", "required") end
end

local function headers_of(body, errors)
  local headers = {}
  for name, value in pairs(type(body.headers) == "table" and body.headers or {}) do
    local pointer = "/headers/" .. tostring(name):gsub("~", "~0"):gsub("/", "~1")
    if type(name) ~= "string" or type(value) ~= "string" or value:find "[%z\r\n]" then
      fault(errors, pointer, "expected a text")
    elseif name:find "[^%w!#$%%&'*+.^_`|~-]" then -- RFC 9110 section 5.1
      fault(errors, pointer, "not the name of a header field")
    else
      headers[name:lower()] = value
    end
  end
  return headers
end

--- Reads what was asked. Returns a question, or nil and a problem.
local function read(body)
  local errors = {}
  check_fields(body, errors)
  local headers = headers_of(body, errors)
  if #errors > 0 then
    table.sort(errors, function(a, b) return a.pointer < b.pointer end)
    return nil, problem.new("invalid", errors[1].pointer .. ": " .. errors[1].detail, { errors = errors })
  end
  local host, target = words.split_url(body.url)
  return { method = body.method or "GET", host = host ~= "" and host or headers.host or "", target = target,
    headers = headers, client_ip = body.client_ip or "", consumer = body.consumer, listener = body.listener }
end

-- Routes --------------------------------------------------------------------------------------------

local function rival_of(model, rival, winner)
  local route = model.routes[rival.route]
  local result = { route = route.name, tenant_id = route.tenant, matches = words.describe(route, rival.host_class),
    action = words.action_of(route), client_certificate = words.clients_of(route), source = places.of(route),
    verdict = rival.verdict }
  if rival ~= winner then result.reason = words.why_not(model, winner, rival) end
  return result
end

local function value_of(json_text)
  local value = json.decode(json_text)
  if value == nil then return json_text end -- "(secret)"
  return value
end

--- Writes a chain of plugins with the origin of each setting.
local function chain_of(items, route, consumer)
  local list = json.array()
  for i, shared in ipairs(items or {}) do
    local item = places.item(shared, route, consumer)
    local settings = json.array()
    for k, setting in ipairs(origins.of(item)) do
      settings[k] = { field = setting.field, value = value_of(setting.value), origin = setting.origin }
    end
    list[i] = { name = item.name, as = item.as, priority = item.priority, scope = resolve.SCOPES[item.scope],
      source = item.source, on_error = item.on_error, phases = json.array(item.plugin.phases), settings = settings }
  end
  return list
end

-- Limits --------------------------------------------------------------------------------------------

local function listener_of(node, name)
  if not name and #node.listeners == 1 then return node.listeners[1] end
  for _, listener in ipairs(node.listeners) do
    if listener.name == name then return listener end
  end
end

--- Returns what a time-out or limit is and who says so: the narrowest that says anything.
local function setting_of(owners, block, name)
  for i = #owners, 1, -1 do
    local group = owners[i].record[block]
    local value = group and rawget(group, name)
    if value ~= nil then return value, owners[i].name end
  end
  return owners[1].record[block][name], "default"
end

local function policy_of(node, listener, route)
  local owners = { { name = "node", record = node } }
  if listener then owners[2] = { name = "listener " .. listener.name, record = listener } end
  if route and route._pool then owners[#owners + 1] = { name = "pool " .. route._pool.name, record = route._pool } end
  if route then owners[#owners + 1] = { name = "route " .. route.name, record = route } end
  local result = { timeouts = {}, limits = {} }
  for _, field in ipairs(traffic.POLICY_FIELDS) do
    local block, name = field[1], field[2]
    local value, origin = setting_of(owners, block, name)
    local compiled = model_kinds.node_type.by_name[block].by_name[name]
    result[block][name] = { value = value_of(schema.encode(compiled, value)), origin = origin }
  end
  return result
end

-- Backends ------------------------------------------------------------------------------------------

--- Returns the index of a pool in the snapshot.
local function index_of(model, pool)
  local count = totals.numbers().pools
  local function is_it(i)
    local found = totals.pool(i)
    return text(found.name) == pool.name and text(found.tenant) == pool.tenant
  end
  for i, candidate in ipairs(model.pools) do
    if candidate == pool and i <= count and is_it(i - 1) then return i - 1 end
  end
  for i = 0, count - 1 do
    if is_it(i) then return i end
  end
end

local function why_unusable(backend)
  if backend.weight == 0 then return "its weight is 0" end
  if backend.drain ~= "none" then return "it is " .. backend.drain end
  if backend.status == "ejected" then return backend.reason end
  if not backend.healthy then
    return "its health check fails" .. (backend.reason ~= "" and ": " .. backend.reason or "")
  end
end

--- Lists the backends of a pool. The second value is the sum of the weights of the eligible.
local function candidates(first, count)
  local list, weights, ejected = json.array(), 0, {}
  for i = first, first + count - 1 do
    local backend = status.backend(i, { get = function() return 0 end }, 0)
    local reason = why_unusable(backend)
    local item = { address = backend.address, status = backend.status, eligible = reason == nil, reason = reason,
      weight = backend.weight, configured_weight = backend.configured_weight, drain = backend.drain,
      in_flight = backend.in_flight, response_time_ms = backend.response_time_ms, chosen = false }
    list[#list + 1] = item
    if backend.status == "ejected" and backend.weight > 0 then ejected[#ejected + 1] = item end
    if item.eligible then weights = weights + item.weight end
  end
  if weights > 0 then return list, weights end
  for _, item in ipairs(ejected) do -- passive health never takes a pool down
    item.eligible, item.reason, weights = true, "ejected, but nothing else is left", weights + item.weight
  end
  return list, weights
end

local function cookie_of(headers, name)
  for pair in (headers.cookie or ""):gmatch "[^;]+" do
    local key, value = pair:match "^%s*([^=]*)=(.-)%s*$"
    if key == name then return value end
  end
end

local function parameter_of(target, name)
  for pair in (target:match "%?(.*)$" or ""):gmatch "[^&]+" do
    local key, value = pair:match "^([^=]*)=?(.*)$"
    if key == name then return value end
  end
end

--- Returns what consistent_hash hashes, nil for the address of the client.
local function hash_key(pool, asked, path)
  local on = pool.hash_on
  if on.type == "header" then return asked.headers[on.name:lower()] end
  if on.type == "cookie" then return cookie_of(asked.headers, on.name) end
  if on.type == "query" then return parameter_of(asked.target, on.name) end
  return on.type == "path" and path or nil
end

local DECIDES_ALONE = { round_robin = true, random = true, peak_ewma = true }

--- Says whether one backend has fewer exchanges per weight than all others.
local function is_least_loaded(list, chosen)
  for _, item in ipairs(list) do
    if item ~= chosen and item.eligible and item.in_flight * chosen.weight <= chosen.in_flight * item.weight then
      return false
    end
  end
  return true
end

local function sticky_cookie(pool)
  local sticky = pool.sticky_sessions
  if not sticky then return nil end
  return type(sticky) == "table" and sticky.cookie or "veloflux"
end

--- Says who decides, when it cannot be foretold; or nil.
local function undecided(pool, algorithm, asked, key, eligible)
  local cookie = sticky_cookie(pool)
  if cookie and cookie_of(asked.headers, cookie) then
    return ("the cookie %s may name a backend; it is signed, and only a worker reads it"):format(cookie)
  end
  if eligible == 1 then return nil end
  if DECIDES_ALONE[algorithm] then return algorithm .. " decides in each worker, by what that has sent before" end
  local needs_address = algorithm == "ip_hash" or algorithm == "consistent_hash" and key == nil
  if not needs_address or asked.client_ip ~= "" then return nil end
  return algorithm .. " looks at the client's address: give client_ip"
end

local function choose(found, pool, asked, path)
  local key = found.algorithm == "consistent_hash" and hash_key(pool, asked, path) or nil
  local eligible = 0
  for _, item in ipairs(found.backends) do eligible = eligible + (item.eligible and 1 or 0) end
  if eligible == 0 then return { decided = false, reason = "no backend is eligible: 503" } end
  local reason = undecided(pool, found.algorithm, asked, key, eligible)
  if reason then return { decided = false, reason = reason } end
  local index = explain.backend(totals.state(), totals.snapshot(), found.index, key, asked.client_ip)
  local chosen = index and found.backends[index - found.first + 1]
  if not chosen then return { decided = false, reason = "no backend is eligible: 503" } end
  if found.algorithm == "least_conn" and not is_least_loaded(found.backends, chosen) then
    return { decided = false, reason = "several have equally few exchanges: they take turns in each worker" }
  end
  chosen.chosen = true
  return { decided = true, backend = chosen.address,
    reason = eligible == 1 and "the only one that is eligible" or found.algorithm }
end

local function explain_lost(found, choice)
  for _, item in ipairs(found.backends) do
    if item.eligible and choice.decided and not item.chosen and not item.reason then
      item.reason = found.algorithm .. " prefers " .. choice.backend
    end
  end
end

local function pool_of(model, pool, asked, path)
  local index = index_of(model, pool)
  if not index then return json.null end
  local live = totals.pool(index)
  local found = { index = index, first = live.first_backend, algorithm = status.ALGORITHMS[live.algorithm] }
  local weights
  found.backends, weights = candidates(live.first_backend, live.n_backends)
  for _, item in ipairs(found.backends) do
    item.share = item.eligible and weights > 0 and status.round(100 * item.weight / weights) or 0
  end
  local choice = choose(found, pool, asked, path)
  explain_lost(found, choice)
  return { name = pool.name, tenant_id = pool.tenant, algorithm = found.algorithm, source = places.of(pool),
    sticky_sessions = pool.sticky_sessions and true or false, choice = choice, backends = found.backends }
end

-- The answer ----------------------------------------------------------------------------------------

local function consumer_of(model, name, tenant)
  for _, consumer in ipairs(model.consumers) do
    if consumer.name == name and consumer.tenant == tenant then return consumer end
  end
end

local function invalid(pointer, detail)
  return problem.new("invalid", pointer .. ": " .. detail, { errors = { { pointer = pointer, detail = detail } } })
end

local function outcome_of(answer, winner)
  if winner then return json.null end
  for _, rival in ipairs(answer.rivals) do
    if rival.verdict == "method" then return 405 end
  end
  return 404
end

local function document(model, asked, answer, route, consumer, listener)
  local winner, rivals = words.winner_of(answer), json.array()
  for _, rival in ipairs(answer.rivals) do
    if rival ~= winner then rivals[#rivals + 1] = rival_of(model, rival, winner) end
  end
  local chain = resolve.with_consumer(route and route._chain or not route and model.rest_chain or nil,
    consumer and consumer._items)
  local policy = policy_of(model.node, listener, route)
  return { request = { method = asked.method, host = asked.host, path = answer.path, client_ip = asked.client_ip },
    matched = winner ~= nil, status = outcome_of(answer, winner),
    route = winner and rival_of(model, winner, winner) or json.null, rivals = rivals, plugins = chain_of(chain,
    route, consumer),
    pool = route and route._pool and pool_of(model, route._pool, asked, answer.path) or json.null,
    consumer = consumer and consumer.name or json.null, listener = listener and listener.name or json.null,
    timeouts = policy.timeouts, limits = policy.limits }
end

--- Answers a question.
-- @param body {url, method, headers, client_ip, consumer, listener}: texts, and a map of texts
-- @param current {model, version}: what runs, or nil
-- @return the answer; or nil and a problem
function M.answer(body, current)
  local asked, refused = read(body)
  if not asked then return nil, refused end
  if not current or not totals.has_snapshot() then
    return nil, problem.new("unavailable", "There is no configuration yet.")
  end
  local model = current.model
  local listener = listener_of(model.node, asked.listener)
  if asked.listener and not listener then return nil, invalid("/listener", "there is no listener called so") end
  local answer, reason = explain.ask_running(totals.snapshot(), asked)
  if not answer then return nil, invalid("/url", "refused before a route is chosen: " .. reason) end
  local winner = words.winner_of(answer)
  local route = winner and model.routes[winner.route]
  local consumer = asked.consumer and consumer_of(model, asked.consumer, route and route.tenant or "default")
  if asked.consumer and not consumer then
    return nil, invalid("/consumer", "there is no consumer called so in this tenant")
  end
  local result = document(model, asked, answer, route, consumer, listener)
  result.version = current.version
  return result
end

return M
