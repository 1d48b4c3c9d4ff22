--- What comes on many connections while the worker looks away: it is received together and sorted, and each gets
-- its own.
local uv = require "luv"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local rig = require "support.rig"

local CLIENTS = 40

-- Sizes of content below and above what a worker receives before it sends.
local function content(i, round)
  local size = ({ 0, 10, 4096, 30000, 70000 })[i % 5 + 1]
  return ("%d/%d:"):format(i, round) .. ("x"):rep(size)
end

-- Connections that have been used, as the worker's are: it waits for what comes on them.
local function connect(server)
  local list = {}
  for i = 1, CLIENTS do
    list[i] = clients.connect(server.ports.http)
    list[i]:request("GET", "/")
    assert.equal(200, list[i]:read_response().status)
  end
  return list
end

local function while_stopped(server, fn)
  local worker = rig.worker(server)
  uv.kill(worker, "sigstop")
  children.eventually("the worker to stand still", function() return children.status(worker, "State"):find "^T" end)
  fn()
  uv.kill(worker, "sigcont")
end

local function assert_content(client, expected)
  local response = assert(client:read_response())
  assert.same({ 200, #expected, true }, { response.status, #response.body, response.body == expected })
end

local function close(list)
  for _, client in ipairs(list) do client:close() end
end

local function content_echo(conn, request) conn:write(origins.response(200, nil, request.body, request.method)) end

describe("requests on many connections at once", function()
  it("are each answered with what is theirs", loop.spec(function()
    local server = rig.start { origins.start(content_echo) }
    local list = connect(server)
    for round = 1, 3 do
      while_stopped(server, function()
        for i, client in ipairs(list) do
          loop.spawn(function() client:request("POST", "/", {}, content(i, round)) end)
        end
      end)
      for i, client in ipairs(list) do assert_content(client, content(i, round)) end
    end
    close(list)
    server:stop()
  end))

  it("keep their content when their heads grow, by more than there is room for", loop.spec(function()
    local function grown(bytes) return { add = { ["X-Long"] = ("g"):rep(bytes) } } end
    for _, bytes in ipairs { 1, 400, 480, 3000 } do
      local server = rig.start({ origins.start(content_echo) },
        { route = { headers = { request = grown(bytes), response = grown(bytes) } } })
      local list = connect(server)
      while_stopped(server, function()
        for i, client in ipairs(list) do
          local one = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"
          client:send(one:format(5, "first") .. one:format(#content(i, 1), content(i, 1))) -- a pipeline
        end
      end)
      for i, client in ipairs(list) do
        assert_content(client, "first")
        assert_content(client, content(i, 1))
      end
      close(list)
      server:stop()
    end
  end))

  it("may be in pieces, several, followed by an end, or by a reset", loop.spec(function()
    local origin = origins.start(content_echo)
    local server = rig.start { origin }
    local list = connect(server)
    while_stopped(server, function()
      for i, client in ipairs(list) do
        local whole = ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n%d"):format(i % 10)
        client:send(i % 4 == 0 and "POST / HTTP/1.1\r\nHo" or whole)
        if i % 4 == 1 then client:request("POST", "/", {}, content(i, 2)) end
        if i % 4 == 2 then client:shutdown() end
        if i % 4 == 3 then client:reset() end
      end
    end)
    for i, client in ipairs(list) do
      if i % 4 == 0 then client:send(("st: a\r\nContent-Length: 1\r\n\r\n%d"):format(i % 10)) end
      if i % 4 ~= 3 then assert_content(client, ("%d"):format(i % 10)) end
      if i % 4 == 1 then assert_content(client, content(i, 2)) end
      if i % 4 == 2 then assert.equal("eof", (client:expect_end())) end
    end
    assert.same({}, origin.faults)
    close(list)
    server:stop()
  end))
end)

describe("answers of many connections at once", function()
  it("each go to who asked", loop.spec(function()
    local gate, is_open = loop.condition(), false
    local origin = origins.start(function(conn, request)
      if request.method == "POST" then gate:wait("the gate", function() return is_open end) end
      content_echo(conn, request)
    end)
    local server = rig.start { origin }
    local list = connect(server)
    for i, client in ipairs(list) do client:request("POST", "/", {}, content(i, 1)) end
    origin:wait_requests(2 * CLIENTS)
    while_stopped(server, function()
      is_open = true
      gate:notify()
      for i = 1, CLIENTS, 8 do list[i]:reset() end
    end)
    for i, client in ipairs(list) do
      if i % 8 ~= 1 then assert_content(client, content(i, 1)) end
    end
    close(list)
    assert.equal(200, clients.get(server.ports.http, "/").status)
    server:stop()
  end))

  it("may end with a reset in the middle", loop.spec(function()
    local gate, is_open = loop.condition(), false
    local origin = origins.start(function(conn, request)
      if request.target == "/" then return conn:write(origins.response(200)) end
      gate:wait("the gate", function() return is_open end)
      conn:write "HTTP/1.1 200 X\r\n\r\nwithout a length"
      conn:reset()
    end)
    local server = rig.start { origin }
    local list = connect(server)
    for _, client in ipairs(list) do client:request("GET", "/cut") end
    origin:wait_requests(2 * CLIENTS)
    while_stopped(server, function()
      is_open = true
      gate:notify()
    end)
    for _, client in ipairs(list) do -- 502, or an answer that is not complete
      local response = client:read_response()
      assert.is_true(response == nil or response.status == 502 or not response.complete)
    end
    close(list)
    server:stop()
  end))
end)

describe("kept connections to backends", function()
  for name, what_comes in pairs {
    ["an end"] = function(conn) conn:shutdown() end,
    ["a reset"] = function(conn) conn:reset() end,
    ["an answer nobody asked for"] = function(conn) conn:write(origins.response(200, nil, "evil")) end,
  } do
    it("are not used any more once there is " .. name, loop.spec(function()
      local origin = origins.start(content_echo)
      local server = rig.start { origin }
      local client = clients.connect(server.ports.http)
      for _ = 1, 2 do
        client:request("POST", "/", {}, "a")
        assert_content(client, "a")
      end
      assert.equal(1, origin.accepted)
      while_stopped(server, function()
        client:request("POST", "/", {}, "b") -- first, and yet
        what_comes(origin.connections[1])
      end)
      assert_content(client, "b")
      assert.equal(2, origin.accepted)
      client:close()
      server:stop()
    end))
  end
end)
