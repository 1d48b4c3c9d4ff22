--- Large and slow content: back pressure, flat memory, ends in the middle.
local uv = require "luv"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local rig = require "support.rig"

local MEGABYTE = 1024 * 1024
local PIECE = ("0123456789abcdef"):rep(4096) -- 64 KiB

-- Megabytes that the worker has in memory.
local function resident(server)
  return tonumber(children.status(rig.worker(server), "VmRSS"):match "%d+") / 1024
end

-- Sends `total` bytes in pieces, so that only one is in the runner's memory; `each` is called with the bytes so far.
local function send_pieces(conn, total, each)
  local sent = 0
  while sent < total do
    if not conn:write(PIECE) then return sent end
    sent = sent + #PIECE
    if each then each(sent) end
  end
  return sent
end

-- Reads `total` bytes, throwing them away; stops to look every `step` bytes.
local function take(conn, total, step, look)
  local taken, mark = 0, step
  while taken < total do
    local data = conn:read_some "content"
    if not data then return taken end
    conn.log = {}
    taken = taken + #data
    if taken >= mark then
      mark = mark + step
      look(taken)
    end
  end
  return taken
end

-- Makes the reader stop for a moment every now and then; the most memory seen then goes to seen.peak.
local function slow_look(server, conn, seen)
  return function()
    conn:pause()
    children.pause(20)
    seen.peak = math.max(seen.peak or 0, resident(server))
    conn:resume()
  end
end

describe("50 MB", function()
  local TOTAL = 50 * MEGABYTE

  -- Sanitizers keep freed memory for a while.
  local BOUND = os.getenv "VF_SAN" and 300 or 12

  for framing, head in pairs {
    ["with a length"] = "Content-Length: " .. TOTAL, -- goes through a pipe
    ["until the end"] = "Connection: close",
  } do
    it("go to a slow reader " .. framing .. ", with flat memory", loop.spec(function()
      local origin = origins.start(function(conn)
        conn:write("HTTP/1.1 200 OK\r\n" .. head .. "\r\n\r\n")
        send_pieces(conn, TOTAL)
        if framing == "until the end" then conn:close() end
      end)
      local server = rig.start { origin }
      local before, seen = resident(server), {}
      local client = clients.connect(server.ports.http, { receive_buffer = 65536 })
      client:send "GET / HTTP/1.0\r\nHost: a\r\n\r\n"
      assert.equal(200, client:read_head().status)
      local taken = take(client.stream, TOTAL, 5 * MEGABYTE, slow_look(server, client.stream, seen))
      assert.equal(TOTAL, taken)
      assert.is_true(seen.peak - before < BOUND, ("%d MB more than before"):format(seen.peak - before))
      client:close()
      server:stop()
    end))
  end

  it("come from a client to a slow backend, with flat memory", loop.spec(function()
    local server
    local taken, seen = nil, {}
    local origin = origins.start(function(conn, request)
      taken = take(conn, request.length, 5 * MEGABYTE, slow_look(server, conn, seen))
      request.body, request.complete = "", true
      conn:write(origins.response(200, nil, "thanks"))
    end, { eager = false })
    server = rig.start { origin }
    local before = resident(server)
    local client = clients.connect(server.ports.http)
    client:send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " .. TOTAL .. "\r\n\r\n")
    send_pieces(client.stream, TOTAL)
    assert.equal("thanks", client:read_response("POST").body)
    assert.equal(TOTAL, taken)
    assert.is_true(seen.peak - before < BOUND, ("%d MB more than before"):format(seen.peak - before))
    client:close()
    server:stop()
  end))

  it("arrive whole in chunks, both ways at once", loop.spec(function()
    local origin = origins.start(function(conn, request)
      conn:write "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      local mirrored = 0
      while true do
        local line = conn:read_until "\r\n"
        local size = tonumber(line:sub(1, -3), 16)
        local data = conn:read_exact(size + 2)
        conn.log = {}
        conn:write(line .. data)
        mirrored = mirrored + size
        if size == 0 then break end
      end
      request.body, request.complete, request.mirrored = "", true, mirrored
    end, { eager = false })
    local server = rig.start { origin }
    local client = clients.connect(server.ports.http)
    client:send "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    local total, response = 5 * MEGABYTE, nil
    clients.together(function()
      for _ = 1, total / #PIECE do client:send(("%x\r\n"):format(#PIECE) .. PIECE .. "\r\n") end
      client:send "0\r\n\r\n"
    end, function() response = client:read_response "POST" end)
    assert.same({ true, total }, { response.complete, #response.body })
    assert.is_true(response.body == PIECE:rep(total / #PIECE))
    client:close()
    server:stop()
  end))
end)

describe("many at once", function()
  it("are served: 100 clients that read and write slowly", loop.spec(function()
    local origin = origins.start(function(conn, request)
      conn:write(origins.response(200, nil, request.body .. PIECE:rep(4)))
    end)
    local server = rig.start { origin }
    local tasks = {}
    for i = 1, 100 do
      tasks[i] = function()
        local client = clients.connect(server.ports.http, { paused = true, receive_buffer = 4096 })
        client:send(("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n"))
        for piece = 1, 3 do
          children.pause(i % 7)
          client:send(tostring(piece):rep(10000))
        end
        client.stream:resume()
        local response = client:read_response "POST"
        assert.same({ 200, true, 30000 + 4 * #PIECE }, { response.status, response.complete, #response.body })
        assert.equal(("1"):rep(10000) .. ("2"):rep(10000) .. ("3"):rep(10000), response.body:sub(1, 30000))
        client:close()
      end
    end
    clients.together(unpack(tasks))
    server:stop()
  end))

  it("leave others alone: a reader that stands still", loop.spec(function()
    local origin = origins.start(function(conn, request)
      if request.target == "/quick" then return conn:write(origins.response(200, nil, "quick")) end
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: " .. 20 * MEGABYTE .. "\r\n\r\n")
      send_pieces(conn, 20 * MEGABYTE)
    end)
    local server = rig.start { origin }
    local still = clients.connect(server.ports.http, { paused = true, receive_buffer = 4096 })
    still:request("GET", "/large")
    for _ = 1, 20 do assert.equal("quick", clients.get(server.ports.http, "/quick").body) end
    still.stream:resume()
    assert.is_true(still:read_response().complete)
    still:close()
    server:stop()
  end))
end)

describe("small messages of many clients at once", function()
  -- Each asks one after the other, with content that nobody else sends, and ends its side with the last.
  local function converse(port, number)
    return function()
      local client = clients.connect(port)
      for i = 1, 12 do
        local content = ("%d.%d "):format(number, i):rep(1 + (number * 131 + i * 977) % 900)
        client:request("POST", "/", nil, content)
        if i == 12 then client:shutdown() end
        local response = client:read_response "POST"
        assert.equal(content, rig.seen(response).body)
      end
      assert.equal("eof", (client:expect_end()))
      client:close()
    end
  end

  it("are not mixed up, and everybody gets the last answer", loop.spec(function()
    local server = rig.start { origins.start() }
    local conversations = {}
    for number = 1, 40 do conversations[number] = converse(server.ports.http, number) end
    clients.together(unpack(conversations))
    server:stop()
  end))

  it("are answered by the proxy itself although the clients have ended their side", loop.spec(function()
    local answer = { status = 200, body = "here" }
    local server = rig.start({ origins.start() }, { conf = { routes = { { name = "here", respond = answer } } } })
    local asking = {}
    for number = 1, 20 do
      asking[number] = clients.connect(server.ports.http)
      asking[number]:request("GET", "/")
      assert.equal("here", asking[number]:read_response().body)
    end
    uv.kill(rig.worker(server), "sigstop") -- it finds request and end together
    for _, client in ipairs(asking) do
      client:request("GET", "/")
      client:shutdown()
    end
    uv.kill(rig.worker(server), "sigcont")
    for _, client in ipairs(asking) do
      assert.equal("here", client:read_response().body)
      assert.equal("eof", (client:expect_end()))
      client:close()
    end
    server:stop()
  end))
end)
