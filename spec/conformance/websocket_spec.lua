--- RFC 6455, clause by clause (websocket_cases.lua), against a channel of the real binary that sends nothing by itself.
local cjson = require "cjson"
local loop = require "support.loop"
local servers = require "support.server"
local websockets = require "support.websocket"

local PATH = "/api/ws/force-update" -- has no data

local function send(client, case)
  local list = type(case.send) == "table" and case.send or { case.send }
  for _, bytes in ipairs(list) do
    if case.byte_by_byte then
      for i = 1, #bytes do client:send(bytes:sub(i, i)) end
    else
      client:send(bytes)
    end
  end
end

--- Reads frames until there are as many as the case expects. Pongs may overtake texts, so they are kept apart.
local function read(client, case)
  local texts, others = {}, {}
  for _ = 1, #case.get do
    local frame, why = client:read_frame()
    assert.is_truthy(frame, why)
    if frame.opcode == websockets.TEXT then
      texts[#texts + 1] = cjson.decode(frame.data).type
    else
      others[#others + 1] = { frame.opcode, frame.data }
    end
  end
  return texts, others
end

local function play(server, case)
  local client = websockets.open(server.ports.admin, PATH)
  send(client, case)
  local texts, others = read(client, case)
  local expected, rest = {}, {}
  for _, pair in ipairs(case.get) do
    if pair[1] == websockets.TEXT then expected[#expected + 1] = pair[2] else rest[#rest + 1] = pair end
  end
  assert.same(expected, texts)
  assert.same(rest, others)
  if not case.close then return assert.equal(1000, client:close(1000)) end
  local code, _, how = client:expect_close(true)
  assert.equal(case.close, code)
  assert.equal("eof", how)
  client.http:close()
end

describe("WebSocket, RFC 6455", function()
  local shared, server = loop.scope()
  setup(shared:spec(function() server = servers.start { conf = {} } end))
  teardown(shared:closer())

  local seen = {}
  for _, case in ipairs(require "conformance.websocket_cases") do
    local title = ("section %s: %s"):format(case.section, case.name)
    assert(not seen[title], title)
    seen[title] = true
    it(title, loop.spec(function() play(server, case) end))
  end
end)
