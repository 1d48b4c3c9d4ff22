--- RFC 9113 and RFC 7541, clause by clause (http2_cases.lua), against the real binary: judged by the frames that came
-- back and by what the origin saw.
local cjson = require "cjson"
local h2 = require "support.http2"
local loop = require "support.loop"
local origins = require "support.origin"
local rig = require "support.rig"

local ANSWERS = {
  ["/ten"] = function(conn, request) conn:write(origins.response(200, nil, "0123456789", request.method)) end,
  ["/with-trailers"] = function(conn)
    conn:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-After\r\n\r\n"
      .. "2\r\nok\r\n0\r\nX-After: 1\r\n\r\n")
  end,
  ["/hints"] = function(conn)
    conn:write "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  end,
  ["/hop"] = function(conn)
    conn:write("HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
  end,
}

local function one_of(wanted, value)
  for _, item in ipairs(type(wanted) == "table" and wanted or { wanted }) do
    if item == value then return true end
  end
  return false
end

local function expect_end(client, case)
  local code, how = client:expect_end()
  if case.ends then return end
  assert.is_truthy(code, "no GOAWAY: " .. tostring(how))
  assert.is_true(one_of(case.goaway or case.or_goaway, code), "GOAWAY with " .. code)
end

--- A request is reset, or its connection ends.
local function expect_reset(client, case)
  local answer = client:answer(1)
  if not answer then
    assert.is_truthy(case.or_goaway, "the connection ended")
    assert.is_true(one_of(case.or_goaway, client.goaway and client.goaway.code))
    return "ended"
  end
  if case.or_answered and answer.status == 200 then return "answered" end
  assert.is_true(one_of(case.reset, answer.reset), "RST_STREAM with " .. tostring(answer.reset))
end

local function expect_refused(client, case)
  local answer = client:answer(1)
  if not answer and case.or_goaway then
    assert.is_true(one_of(case.or_goaway, client.goaway and client.goaway.code))
    return "ended"
  end
  assert.is_truthy(answer, "the connection ended")
  local found = answer.status or "reset"
  assert.is_true(one_of(case.refused, found), "got " .. found)
  if found == "reset" then assert.equal(h2.CODES.PROTOCOL_ERROR, answer.reset) end
end

local function expect_answers(client, case)
  for id, status in pairs(type(case.get) == "table" and case.get or { case.get }) do
    local answer, why = client:answer(id)
    assert.is_truthy(answer, why)
    assert.same({ status }, { answer.status, answer.reset })
    if case.body then assert.equal(case.body, answer.body) end
  end
end

local function named(list, name)
  local values = {}
  for _, field in ipairs(list or {}) do
    if field.name:lower() == name then values[#values + 1] = field.value end
  end
  return #values > 0 and table.concat(values, ", ") or nil
end

local function expect_origin(origin, before, wanted)
  local request = origin.requests[before + 1]
  assert.is_truthy(request, "the origin has seen nothing")
  if wanted.method then assert.equal(wanted.method, request.method) end
  if wanted.target then assert.equal(wanted.target, request.target) end
  if wanted.body then assert.equal(wanted.body, request.body) end
  for name, value in pairs(wanted.fields or {}) do assert.equal(value or nil, named(request.fields, name)) end
  for name, value in pairs(wanted.trailers or {}) do assert.equal(value, named(request.trailers, name)) end
end

local function expect_alive(client)
  client:send(h2.headers(9001, h2.get "/alive", { ends = true }), h2.window(9001, 100))
  local answer, why = client:answer(9001)
  assert.is_truthy(answer, "the connection does not go on: " .. tostring(why))
  assert.equal(200, answer.status)
end

local function play(server, origin, case)
  local before = #origin.requests
  local client = h2.open(server.ports.http, { bare = case.bare, settings = case.settings })
  for _, step in ipairs(case.send) do
    if type(step) == "function" then step(client) else client:send(step) end
  end
  local how
  if case.frame then
    local found = client:expect_frame(case.frame[1])
    while found and found.flags ~= case.frame[2] do found = client:expect_frame(case.frame[1]) end
    assert.is_truthy(found, "no such frame")
  end
  if case.get then expect_answers(client, case) end
  if case.reset then how = expect_reset(client, case) end
  if case.refused then how = expect_refused(client, case) end
  if case.check then case.check(client) end
  if case.origin then expect_origin(origin, before, case.origin) end
  if case.goaway and case.or_reset then
    local answer = client:answer(1)
    if answer then assert.is_true(one_of(case.or_reset, answer.reset)) else expect_end(client, case) end
  elseif case.goaway or case.ends then
    expect_end(client, case)
  elseif not (how == "ended" or case.done or case.any) then
    expect_alive(client)
  end
  if case.refused or case.n_origin then
    for i = before + 1, #origin.requests do assert.equal("/alive", origin.requests[i].target) end
  end
  for i = before + 1, #origin.requests do assert.not_equal(case.never, origin.requests[i].target) end
  client:close()
end

describe("HTTP/2", function()
  local shared, server, origin = loop.scope()
  setup(shared:spec(function()
    origin = origins.start(function(conn, request)
      local answer = ANSWERS[request.target]
      if answer then return answer(conn, request) end
      require("support.message").read_body(conn, request)
      conn:write(origins.response(200, nil, cjson.encode(request.method), request.method))
    end)
    server = rig.start({ origin })
  end))
  teardown(shared:closer())

  local seen = {}
  for _, case in ipairs(require "conformance.http2_cases") do
    local title = ("%s: %s"):format(case.section, case.name)
    assert(not seen[title], title)
    seen[title] = true
    it(title, loop.spec(function() play(server, origin, case) end))
  end
end)
