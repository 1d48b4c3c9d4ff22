--- Plays one conformance case and judges it by what the origin and the client really saw.
--
-- One server and one origin serve all cases. A case has a client connection of its own, and when it ends the origin
-- retires its connections, so that no case meets what another left behind.
local cjson = require "cjson"
local clients = require "support.client"
local message = require "support.message"
local origins = require "support.origin"

local M = {}
local Run = {}
Run.__index = Run

local PROBE = "GET /probe HTTP/1.1\r\nHost: a\r\n\r\n"
local HOP_BY_HOP = { "keep-alive", "proxy-connection" }

local function contains(list, value)
  for _, item in ipairs(list) do
    if item == value then return true end
  end
  return false
end

local function quoted(value)
  if type(value) == "string" then return ("%q"):format(#value > 400 and value:sub(1, 400) .. "..." or value) end
  return type(value) == "table" and cjson.encode(value) or tostring(value)
end

-- The transcript that goes with a failed expectation.
local function transcript(run)
  local lines = { "the client received " .. quoted(run.client and run.client.stream:received() or "") }
  for i, request in ipairs(run.requests) do
    lines[#lines + 1] = ("request %d at the origin: %s, body %s %s"):format(i, quoted(request.head),
      quoted(request.body),
      request.fault or "")
  end
  return table.concat(lines, "\n")
end

local function expect(run, condition, format, ...)
  if condition then return end
  local args = { ... }
  for i = 1, select("#", ...) do args[i] = quoted(args[i]) end
  error(format:format(unpack(args)) .. "\n" .. transcript(run), 0)
end

-- A field expectation is a string (the only value), a list (all values in order), or false (absent).
local function expect_fields(run, who, seen, fields)
  for name, wanted in pairs(fields or {}) do
    local values = seen:all(name)
    if wanted == false then
      expect(run, #values == 0, "%s: field %s should be absent, got %s", who, name, values)
    elseif type(wanted) == "function" then
      expect(run, wanted(values), "%s: field %s is not as it should be: %s", who, name, values)
    else
      local list = type(wanted) == "table" and wanted or { wanted }
      expect(run, cjson.encode(list) == cjson.encode(values), "%s: field %s: expected %s, got %s", who, name, list,
        values)
    end
  end
end

-- The order of the names in `order` among the fields of a message, as sent.
local function expect_order(run, who, seen, order)
  if not order then return end
  local found = {}
  for _, field in ipairs(seen.fields) do
    if contains(order, field.name) then found[#found + 1] = field.name end
  end
  expect(run, cjson.encode(found) == cjson.encode(order), "%s: fields in order %s, got %s", who, order, found)
end

local function expect_trailers(run, who, seen, trailers)
  for name, wanted in pairs(trailers or {}) do
    local value = seen:trailer(name)
    expect(run, value == (wanted or nil), "%s: trailer %s: expected %s, got %s", who, name, wanted, value)
  end
end

-- The fields that the proxy adds to every request.
local function expect_own_fields(run, request, who)
  expect(run, (request:get "via" or ""):find "1%.[01] veloflux$", "%s: Via is %s", who, request:get "via")
  expect(run, (request:get "x-forwarded-for" or ""):find "127%.0%.0%.1$", "%s: X-Forwarded-For is %s", who,
    request:get "x-forwarded-for")
  expect(run, request:get "x-forwarded-proto" == "http", "%s: X-Forwarded-Proto is %s", who,
    request:all "x-forwarded-proto")
  expect(run, #request:all "x-request-id" == 1, "%s: X-Request-Id is %s", who, request:all "x-request-id")
end

-- What holds for every request that reaches an origin, whatever the case is about.
local function expect_sound_request(run, request)
  local who = "the origin"
  expect(run, request.version == "1.1", "%s: expected HTTP/1.1, got %s", who, request.start_line)
  expect(run, #request:all "host" == 1, "%s: expected one Host, got %s", who, request:all "host")
  if not run.is_foreign then expect_own_fields(run, request, who) end
  for _, name in ipairs(HOP_BY_HOP) do
    expect(run, not request:get(name), "%s: hop-by-hop field %s", who, name)
  end
end

local function expect_request(run, request, wanted)
  local who = "the origin"
  expect(run, not wanted.line or wanted.line == request.start_line, "%s: expected %s, got %s", who, wanted.line,
    request.start_line)
  expect(run, not wanted.body or wanted.body == request.body, "%s: expected body %s, got %s", who, wanted.body,
    request.body)
  expect(run, not wanted.framing or wanted.framing == request.framing, "%s: expected framing %s, got %s", who,
    wanted.framing, request.framing)
  expect(run, not wanted.connection or wanted.connection == request.connection - run.first_connection,
    "%s: expected connection %s, got %s", who, wanted.connection, request.connection - run.first_connection)
  expect(run, request.complete or wanted.whole ~= nil, "%s: incomplete request: %s", who, request.fault)
  expect_fields(run, who, request, wanted.fields)
  expect_order(run, who, request, wanted.order)
  expect_trailers(run, who, request, wanted.trailers)
end

-- origin_sees is one expectation, or a list of them, one per request.
local function judge_origin(run, wanted, default_count)
  expect(run, #run.origin.faults == 0, "the origin was sent malformed requests: %s", run.origin.faults)
  wanted = wanted or { requests = default_count }
  local list = wanted[1] and wanted or { wanted }
  if wanted.whole == false then
    expect(run, #run.requests <= 1, "the origin saw %s requests", #run.requests)
    expect(run, not (run.requests[1] and run.requests[1].complete), "the origin saw a complete request")
  elseif not contains(type(wanted.requests) == "table" and wanted.requests or {}, #run.requests) then
    expect(run, #run.requests == (wanted.requests or #list), "expected %s requests at the origin, got %s",
      wanted.requests or #list, #run.requests)
  end
  for i, request in ipairs(run.requests) do
    expect_sound_request(run, request)
    if list[i] then expect_request(run, request, list[i]) end
  end
end

local function judge_problem(run, response)
  if run.is_foreign then return end
  local kind = response:get "content-type" or ""
  expect(run, kind:find "^application/problem%+json", "expected a problem document, got Content-Type %s", kind)
  expect(run, response:get "date", "an answer of the proxy has no Date")
  if response.body == "" then return end -- HEAD
  local ok, problem = pcall(cjson.decode, response.body)
  expect(run, ok, "the problem document is not JSON: %s", response.body)
  expect(run, problem.status == response.status, "the problem document says status %s", problem.status)
  for _, member in ipairs { "type", "title", "code", "request_id" } do
    expect(run, type(problem[member]) == "string" and problem[member] ~= "", "the problem has no %s", member)
  end
end

-- Which problem documents a case demands: `problem = true` means its last response.
local function judge_response(run, response, wanted, is_problem)
  local who = "the client"
  local statuses = type(wanted.status) == "table" and wanted.status or { wanted.status }
  expect(run, #statuses == 0 or contains(statuses, response.status), "expected status %s, got %s", wanted.status,
    response.status)
  expect(run, response.version == "1.1", "%s: expected HTTP/1.1, got %s", who, response.start_line)
  expect(run, not response:get "proxy-connection", "%s: Proxy-Connection in the answer", who)
  local truncated = wanted.truncated == true or (wanted.truncated == "or 502" and response.status ~= 502)
  expect(run, wanted.truncated == "maybe" or (not response.complete) == truncated, "%s: complete is %s (%s)", who,
    response.complete or false,
    response.fault)
  expect(run, not response.fault or not response.fault:find "^malformed", "%s: %s", who, response.fault)
  expect(run, not wanted.body or wanted.body == response.body, "%s: expected body %s, got %s", who, wanted.body,
    response.body)
  expect(run, not wanted.framing or wanted.framing == response.framing, "%s: expected framing %s, got %s", who,
    wanted.framing, response.framing)
  expect_fields(run, who, response, wanted.fields)
  expect_order(run, who, response, wanted.order)
  expect_trailers(run, who, response, wanted.trailers)
  expect(run, not wanted.check or wanted.check(response), "%s: the answer fails the case's own check", who)
  if wanted.interim then
    local statuses_seen = {}
    for i, interim in ipairs(response.interim) do statuses_seen[i] = interim.status end
    expect(run, cjson.encode(statuses_seen) == cjson.encode(wanted.interim), "expected interim responses %s, got %s",
      wanted.interim, statuses_seen)
    expect_fields(run, who, response.interim[1] or response, wanted.interim_fields)
  end
  if is_problem then judge_problem(run, response) end
end

local function judge_connection(run, wanted)
  local last = run.responses[#run.responses]
  if wanted == "close" then
    local ended, rest = run.client:expect_end()
    expect(run, rest == "", "bytes after the last response: %s", rest)
    local announced = not last or run.is_http10 or run.has_half_closed or last.framing == "close" or not last.complete
      or (last:get "connection" or ""):lower():find "close"
    expect(run, announced, "closed (%s) without Connection: close", ended)
  elseif wanted == "end" then -- of a tunnel
    local _, rest = run.client:expect_end()
    expect(run, rest == "", "bytes after the last of the tunnel: %s", rest)
  elseif wanted == "keep" then
    run.client:send(PROBE)
    local response, fault = run.client:read_response()
    expect(run, response and response.body == "probe", "the connection does not go on: %s", fault or response.head)
    run.client:close()
  else
    run.client:close()
  end
end

--- Reads the next response of the case (a step of a client's script).
function Run:read_response()
  local index = #self.responses + 1
  local wanted = self.wanted[index] or {}
  local response, fault = self.client:read_response(wanted.method or self.method)
  expect(self, response, "no response %s: %s", index, fault)
  for _, interim in ipairs(response.interim) do self.interim[#self.interim + 1] = interim end
  response.interim, self.interim = self.interim, {} -- those that steps have read come first
  self.responses[index] = response
end

--- Waits until the origin has the head of `count` requests of this case.
function Run:wait_origin(count)
  self.origin.changed:wait(("request %d at the origin"):format(count), function() return self.requests[count] end)
end

local function play_origin(script, conn, request)
  if script == nil then
    message.read_body(conn, request)
    if request.complete then conn:write(origins.response(200, nil, "ok", request.method)) end
    return
  end
  local steps = type(script) == "table" and script or { script }
  local reads_itself = false
  for _, step in ipairs(steps) do reads_itself = reads_itself or step == require "conformance.case".read_body end
  if not reads_itself then message.read_body(conn, request) end
  for _, step in ipairs(steps) do
    if type(step) == "string" then conn:write(step) else step(conn, request) end
  end
end

-- The origin's handler during a case. Probes are answered on the side and not part of what it saw.
local function handler_of(run)
  return function(conn, request)
    if request.target == "/probe" then
      return conn:write(origins.response(200, nil, "probe"))
    end
    run.requests[#run.requests + 1] = request
    run.origin.changed:notify()
    local script = run.case.origin
    if run.case.origins then script = run.case.origins[#run.requests] end
    play_origin(script, conn, request)
  end
end

-- The expectations of all responses: `responses`, or one made of status and client_sees.
local function wanted_responses(want)
  if want.responses then return want.responses end
  if want.no_response then return {} end
  local one = { status = want.status }
  for key, value in pairs(want.client_sees or {}) do one[key] = value end
  return { one }
end

local function play_client(run)
  local send = run.case.send
  for _, item in ipairs(type(send) == "table" and send or { send }) do
    if type(item) == "string" then run.client:send(item) else item(run) end
  end
  if run.client.stream.closed then return false end
  while #run.responses < #run.wanted do run:read_response() end
  return true
end

-- All bytes that the client sends in a case.
local function bytes_of(send)
  if type(send) == "string" then return send end
  local parts = {}
  for _, item in ipairs(send) do
    if type(item) == "string" then parts[#parts + 1] = item end
  end
  return table.concat(parts)
end

-- A case that failed by watchdog leaves connections behind.
local function drop_leftovers(origin)
  for index, conn in pairs(origin.connections) do
    conn:reset()
    origin.connections[index] = nil
  end
end

--- Plays and judges one case; raises when it does not hold. Runs in a coroutine of support.loop.
-- @param target table: ports (map from listener name), origin (support.origin, eager = false), server (support.server;
--   nil: another proxy, of which neither our own fields nor problem documents are expected)
-- @param case table, see README.md
function M.play(target, case)
  local want, bytes = case.expect, bytes_of(case.send)
  drop_leftovers(target.origin)
  local run = setmetatable({
    case = case, origin = target.origin, is_foreign = not target.server, requests = {}, responses = {}, interim = {},
    wanted = wanted_responses(want),
    method = bytes:match "^%s*(%u+) ", is_http10 = bytes:find("HTTP/1.0\r\n", 1, true) ~= nil,
    first_connection = target.origin.accepted,
  }, Run)
  target.origin.requests, target.origin.faults = {}, {}
  target.origin.handler = handler_of(run)
  run.client = clients.connect(assert(target.ports[case.listener or "http"], "no such listener"))
  local ok, failure = pcall(function()
    if play_client(run) then
      for i, response in ipairs(run.responses) do
        judge_response(run, response, run.wanted[i], want.problem and i == #run.responses)
      end
      judge_connection(run, want.connection)
    end
  end)
  run.client:close()
  target.origin:retire_connections()
  if not ok then error(failure, 0) end
  judge_origin(run, want.origin_sees, #run.responses)
end

return M
