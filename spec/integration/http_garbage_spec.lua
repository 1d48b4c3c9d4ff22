--- What clients should never send, in every mixture, and connections that end anywhere within it: everything
-- still works afterwards and no process was replaced. Pieces are chosen by fixed seeds.
local loop = require "support.loop"
local servers = require "support.server"
local origins = require "support.origin"
local clients = require "support.client"

local PIECES = {
  "GET / HTTP/1.1\r\n", "POST /x HTTP/1.1\r\n", "HEAD / HTTP/1.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "Host: a\r\n", "\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n",
  "0\r\n\r\n", "ffffffffffffffff\r\n", "Connection: close\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n",
  "Expect: 100-continue\r\n", "\n", "\r", " ", "\0",
  "\255\254", "X: " .. ("a"):rep(5000) .. "\r\n", "GET /" .. ("b"):rep(9000), "\22\3\1\2\0\1\0", ("z"):rep(70000),
}
local WORKS = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

local function mixture(seed)
  math.randomseed(seed)
  local parts = {}
  for i = 1, math.random(14) do
    local piece = PIECES[math.random(#PIECES)]
    parts[i] = math.random() < 0.2 and piece:sub(1, math.random(#piece)) or piece
  end
  return table.concat(parts), math.random(3)
end

--- Sends one mixture and ends the connection in one of three ways.
local function annoy(port, seed)
  local client = clients.connect(port)
  local bytes, ending = mixture(seed)
  client.stream:post(bytes)
  if ending == 1 then
    client:reset()
  elseif ending == 2 then
    client:close()
  else
    client:shutdown()
    client.stream:read_rest()
    client:close()
  end
end

local function metric(server, name)
  local text = clients.get(server.ports.admin, "/metrics").body
  local sum = 0
  for value in text:gmatch("\n" .. name .. "[%s{][^\n]-([%d.]+)%f[\n]") do sum = sum + tonumber(value) end
  return sum
end

describe("garbage from clients", function()
  it("harms nobody", loop.spec(function()
    local origin = origins.start()
    local server = servers.start { conf = {
      timeouts = { client_header = "200ms", client_body = "200ms" },
      pools = { { name = "web", backends = { { address = origin.address } } } },
      routes = { { name = "all", host = "*", path_prefix = "/", pool = "web" } },
    } }
    for round = 0, 29 do
      local group = {}
      for i = 1, 8 do group[i] = function() annoy(server.ports.http, round * 8 + i) end end
      clients.together(unpack(group))
      local client = clients.connect(server.ports.http)
      client:send(WORKS)
      assert.equal(200, client:read_response().status)
      client:close()
    end
    assert.equal(0, metric(server, "veloflux_restarts_total"))
    server:stop()
  end))
end)
