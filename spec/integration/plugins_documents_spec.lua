--- Documents: content of plugins in control that is too much for memory, written piece by piece and sent as clients
-- take it.
require "support.library"
local apis = require "support.api"
local children = require "support.children"
local clients = require "support.client"
local encoding = require "veloflux.pdk.encoding"
local loop = require "support.loop"
local plugins = require "support.plugins"
local servers = require "support.server"

local ROW, ROWS = ("0123456789abcdef"):rep(4096), 256 -- 64 KiB each, 16 MiB in all

local API = [[
local pdk = require "veloflux.pdk"
local state = {}
local function get(path, handler, more)
  local endpoint = { method = "GET", path = path, permission = "user", summary = "X.", handler = handler,
    response_type = "text/csv" }
  for name, value in pairs(more or {}) do endpoint[name] = value end
  return endpoint
end
local function rows(count)
  local writer = pdk.document.writer()
  for i = 1, count do
    local ok, problem = writer:write(("0123456789abcdef"):rep(4096))
    if not ok then return nil, problem end
    if i % 16 == 0 then pdk.timer.sleep(0) end
  end
  return writer:finish()
end
return {
  get("/api/rows", function(request)
    local document, problem = rows(request.query.count)
    if not document then return problem end
    return 200, document, { ["Content-Type"] = "text/csv", ["X-Size"] = document:size() }
  end, { query = { count = { type = "integer", default = 256 } } }),
  get("/api/left", function()
    local count = 0
    for i = 1, 10 do count = count + (rows(10) and 1 or 0) end -- nobody sends these
    return 200, tostring(count)
  end),
  get("/api/one-left", function()
    state.left = rows(10)
    return 200, tostring(state.left:size())
  end),
  get("/api/later", function()
    local ok, message = pcall(state.left.text, state.left)
    return 200, tostring(message)
  end),
  get("/api/wrong", function()
    local _, first = pcall(function() pdk.document.writer():write(5) end)
    local _, second = pcall(function() pdk.document.writer():append({}) end)
    local _, third = pcall(function() rows(1):read(-1, 5) end)
    return 200, first .. "\n" .. second .. "\n" .. third
  end),
  { method = "POST", path = "/api/turned", permission = "user", summary = "X.", request_type = "text/plain",
    max_body = "64m", response_type = "text/plain", handler = function(request)
      local body = request.body
      local writer = pdk.document.writer()
      writer:write(body:read(0, 4) .. " " .. body:size() .. " " .. body:read(body:size() - 2, 100) .. "\n")
      writer:append(body, "base64")
      writer:append "\n"
      local document, problem = writer:finish()
      if not document then return problem end
      return 200, document
    end },
}
]]

local function spec(body)
  return loop.spec(function()
    local server = servers.start { conf = { plugin_path = { plugins.write { x = { api = API } } },
      plugin_limits = { memory = "16m" } } }
    body(apis.of(server), server.ports.admin, server)
    server:stop()
  end)
end

--- Asks for the rows, and reads no more than the head of the answer.
local function begin(port, more)
  local client = clients.connect(port)
  client:send("GET /api/rows HTTP/1.1\r\nHost: x\r\n\r\n" .. (more or ""))
  local head = client:read_head "GET"
  client.stream:pause()
  return client, head
end

describe("a document", function()
  it("is sent whole, and no plugin has it in memory", spec(function(api, port)
    local answer = api.get("/api/rows", { Accept = "*/*" })
    assert.same({ 200, "text/csv", tostring(ROWS * #ROW), tostring(ROWS * #ROW) },
      { answer.status, answer:get "content-type", answer:get "x-size", answer:get "content-length" })
    assert.is_true(answer.body == ROW:rep(ROWS))
    local short = api.get("/api/rows?count=1", { Accept = "*/*" })
    assert.is_true(short.body == ROW)
    assert.equal("0", api.get("/api/rows?count=0", { Accept = "*/*" }):get "content-length")
    local head = clients.request(port, "HEAD", "/api/rows")
    assert.same({ 200, tostring(ROWS * #ROW), "" }, { head.status, head:get "content-length", head.body })
  end))

  it("waits for a client that reads slowly; the next request on its connection is answered", spec(function(api, port)
    local client, head = begin(port, "GET /api/version HTTP/1.1\r\nHost: x\r\n\r\n")
    api.is(api.get "/api/version", 200)
    client.stream:resume()
    client:read_body(head)
    assert.is_true(head.body == ROW:rep(ROWS))
    assert.equal(200, client:read_response("GET").status)
    client:close()
  end))

  it("gives its place back when the client goes, and has only so many", spec(function(api, port)
    local slow = {}
    for i = 1, 4 do slow[i] = begin(port) end
    local refused = api.problem(api.get("/api/rows", { Accept = "*/*" }), 503, "unavailable")
    assert.equal("Other requests with much content are under way; try again.", refused.detail)
    assert.equal(200, api.get("/api/rows?count=2", { Accept = "*/*" }).status) -- in memory
    for i = 1, 4 do slow[i]:reset() end
    children.eventually("the places", function()
      local client, head = begin(port)
      client:close()
      return head.status == 200
    end)
  end))

  it("goes with the run that has made it", spec(function(api)
    local any = { Accept = "*/*" }
    for _ = 1, 2 do assert.equal("4", api.get("/api/left", any).body) end -- the fifth has no place
    for _ = 1, 6 do assert.equal(tostring(10 * #ROW), api.get("/api/one-left", any).body) end
    assert.matches("the document is gone: it was sent, or what made it is over", api.get("/api/later", any).body)
    local wrong = api.get("/api/wrong", any).body
    assert.matches("write: expected a text, got a number\n", wrong)
    assert.matches("expected a text or a document, such as the body of a request\n", wrong)
    assert.matches("read: expected where to begin, from 0", wrong)
  end))

  it("is what a request brings, too", spec(function(api)
    for _, count in ipairs { 1, 100 } do
      local body = ROW:rep(count) .. "!"
      local answer = api.post("/api/turned", body, { ["Content-Type"] = "text/plain", Accept = "*/*" })
      assert.equal(200, answer.status, answer.body)
      local line, rest = answer.body:match "^(.-)\n(.*)\n$"
      assert.equal(("0123 %d f!"):format(#body), line)
      assert.is_true(encoding.base64_decode(rest) == body)
    end
  end))
end)
