require "support.library"
local handshake = require "veloflux.admin.handshake"
local websockets = require "support.websocket"

--- A request as the router has it: names in small letters.
local function request(fields, extra)
  local headers = {}
  for name, value in pairs(websockets.fields(fields)) do headers[name:lower()] = value end
  local whole = { method = "GET", path = "/api/ws/x", query = "", body = "", headers = headers, http_minor = 1 }
  for name, value in pairs(extra or {}) do whole[name] = value end
  return whole
end

local function refused(...)
  local asked, problem = handshake.judge(request(...))
  assert.is_nil(asked)
  return problem
end

describe("the handshake of a channel", function()
  it("takes a good one, and computes the accept field of RFC 6455 section 1.3", function()
    local asked = handshake.judge(request())
    assert.same({ accept = websockets.ACCEPT }, asked)
    asked = handshake.judge(request({ Upgrade = "h2c, WebSocket", Connection = "keep-alive, UPGRADE" },
      { query = "since=12" }))
    assert.equal(12, asked.since)
  end)

  it("chooses the subprotocol that it knows, and finds a token among the others", function()
    local asked = request { ["Sec-WebSocket-Protocol"] = "chat, VeloFlux, bearer.abc.def" }
    assert.equal("veloflux", handshake.judge(asked).protocol)
    assert.equal("abc.def", handshake.token_of(asked))
    asked = request { ["Sec-WebSocket-Protocol"] = "chat,xbearer.abc" }
    assert.is_nil(handshake.judge(asked).protocol)
    assert.is_nil(handshake.token_of(asked))
    assert.is_nil(handshake.token_of(request()))
  end)

  it("answers 426 to what asks for no WebSocket of version 13", function()
    for _, case in ipairs { { { Upgrade = false } }, { { Upgrade = "h2c" } }, { { Connection = false } },
      { { Connection = "close" } }, { { ["Sec-WebSocket-Version"] = "8" } }, { { ["Sec-WebSocket-Version"] = false } },
      { { ["Sec-WebSocket-Version"] = "13, 8" } }, { {}, { http_minor = 0 } }, { {}, { method = "HEAD" } } } do
      local problem = refused(case[1], case[2])
      assert.equal(426, problem.status)
      assert.same({ "Upgrade", "websocket", "Sec-WebSocket-Version", "13" }, problem.headers)
    end
  end)

  it("answers 400 to bad keys, content and parameters", function()
    for _, key in ipairs { false, "", "x", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA=", ("A"):rep(24),
      "????????????????????????" } do
      assert.equal(400, refused({ ["Sec-WebSocket-Key"] = key }).status)
    end
    assert.equal(400, refused({}, { body = "x" }).status)
    for _, query in ipairs { "since=", "since=x", "since=-1", "since=1.5", "since=1&since=2", "sense=1",
      "token=a&token=b", "since=" .. ("9"):rep(16) } do
      assert.equal(400, refused({}, { query = query }).status, query)
    end
  end)
end)
