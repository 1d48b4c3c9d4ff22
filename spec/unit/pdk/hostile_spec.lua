--- Random bytes in place of answers: the clients of plugins return an answer or an error, and are whole afterwards.
local harness = require "unit.pdk.harness"
local loop = require "support.loop"
local peers = require "unit.pdk.peer"
local http = require "veloflux.pdk.http"
local pool = require "veloflux.runtime.stream_pool"
local redis = require "veloflux.pdk.redis"

local ROUNDS = 300

local HTTP = {
  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
  "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /there\r\n\r\nbody",
  "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
}
local REDIS = { "$5\r\nhello\r\n", "*3\r\n:1\r\n$-1\r\n*2\r\n+a\r\n-ERR b\r\n", ":12345\r\n", "-ERR no\r\n", "*0\r\n" }

-- A generator of its own, so that a failure can be repeated.
local seed = 20261127
local function random(n)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return math.floor(seed / 65536) % n + 1
end

local function mutated(text)
  for _ = 1, random(3) do
    local at, kind = random(#text), random(4)
    local byte = string.char(random(256) - 1)
    if kind == 1 then text = text:sub(1, at - 1) .. byte .. text:sub(at + 1) end
    if kind == 2 then text = text:sub(1, at - 1) .. text:sub(at + random(4)) end
    if kind == 3 then text = text:sub(1, at) .. text:sub(at) end
    if kind == 4 then text = text:sub(1, at) end
    if text == "" then text = "\0" end
  end
  return text
end

-- Asks peers that answer with mutations, cut in two at random, and then close or reset.
local function rounds(samples, ask)
  return loop.spec(function()
    local h = harness.new()
    local answers = {}
    local peer = peers.tcp(function(conn, number)
      conn:read_some()
      local text = answers[number]
      local cut = random(#text)
      conn:write(text:sub(1, cut))
      conn:write(text:sub(cut + 1))
      if number % 7 == 0 then conn:reset() end
    end)
    h:run(function()
      for i = 1, ROUNDS do
        answers[i] = mutated(samples[random(#samples)])
        local value, err, code = ask(peer.port)
        pool.close_all()
        if value == nil then assert.same({ "string", "string" }, { type(err), type(code) }, answers[i]) end
        assert.equal(i, peer.accepted)
        assert.equal(0, h.n_held)
      end
    end)
    h:close()
  end)
end

describe("hostile answers", function()
  it("do no harm to the HTTP client", rounds(HTTP, function(port)
    return http.post(("http://127.0.0.1:%d/"):format(port), "x", { timeout = 20 })
  end))

  it("do no harm to streamed answers", rounds(HTTP, function(port)
    local res, err, code = http.post(("http://127.0.0.1:%d/"):format(port), "x", { timeout = 20, stream = true })
    if not res then return nil, err, code end
    local n = 0
    for piece in res.pieces do n = n + #piece end
    res:close()
    return n
  end))

  it("do no harm to the Redis client", rounds(REDIS, function(port)
    return redis.new({ port = port, timeout = 20 }):get "x"
  end))
end)
