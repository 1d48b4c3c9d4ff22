--- The harness itself: its readers are strict, its failures fail, its handles close.
local loop = require "support.loop"
local clients = require "support.client"
local cjson = require "cjson"
local message = require "support.message"
local origins = require "support.origin"
local process = require "support.process"
local stream = require "support.stream"

-- Answers any request with `bytes`, then closes; returns what a strict client makes of it.
local function read_answer(bytes, method)
  local origin = origins.start(function(conn)
    conn:write(bytes)
    conn:close()
  end)
  local client = clients.connect(origin.port)
  client:request(method or "GET", "/")
  return client:read_response(method)
end

describe("the harness", function()
  it("carries a request and its answer", loop.spec(function()
    local origin = origins.start()
    local response = clients.request(origin.port, "POST", "/x?y", { ["X-A"] = "1" }, "body")
    assert.equal(200, response.status)
    local seen = cjson.decode(response.body)
    assert.same({ "POST", "/x?y", "body", "length" }, { seen.method, seen.target, seen.body, seen.framing })
    assert.equal(1, #origin.requests)
    assert.same({}, origin.faults)
  end))

  it("answers pipelined requests on one connection in order", loop.spec(function()
    local origin = origins.start()
    local client = clients.connect(origin.port)
    client:send { "GET /1 HTTP/1.1\r\nHo", "st: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n" }
    assert.equal("/1", cjson.decode(client:read_response().body).target)
    local second = cjson.decode(client:read_response().body)
    assert.same({ "/2", 1, 2 }, { second.target, second.connection, second.request })
  end))

  it("reads chunked bodies with extensions and trailers", loop.spec(function()
    local response = read_answer(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")
    assert.is_true(response.complete)
    assert.equal("abc", response.body)
    assert.equal("1", response:trailer "x-t")
    assert.equal(";a=b", response.chunks[1].extension)
  end))

  it("collects interim responses and knows answers without a body", loop.spec(function()
    local response = read_answer("HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
      "HEAD")
    assert.equal(103, response.interim[1].status)
    assert.same({ "", true }, { response.body, response.complete })
  end))

  it("says when a body is cut short", loop.spec(function()
    local response = read_answer "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"
    assert.same({ false, "abc", "cut short by eof" }, { response.complete or false, response.body, response.fault })
  end))

  for _, bytes in ipairs {
    "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n folded: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
  } do
    it(("calls %q malformed"):format(bytes), loop.spec(function()
      local response, fault = read_answer(bytes)
      assert.is_nil(response)
      assert.matches("^malformed", fault)
    end))
  end

  it("tells a reset from an end of file", loop.spec(function()
    local origin = origins.start(function(conn) conn:reset() end)
    local client = clients.connect(origin.port)
    client:request("GET", "/")
    assert.equal("reset", (client:expect_end()))
  end))

  it("lets an origin hold back a body by not reading", loop.spec(function()
    local origin = origins.start(function(conn, request)
      conn:pause()
      conn:resume()
      message.read_body(conn, request)
      conn:write(origins.response(204))
    end, { eager = false })
    local conn = stream.connect(origin.port)
    conn:write "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    origin:wait_requests(1)
    conn:write "abc"
    conn:read_until "\r\n\r\n"
    assert.equal("abc", origin.requests[1].body)
  end))

  it("fails a run whose coroutine fails", function()
    assert.error_matches(function()
      loop.run(function() loop.spawn(error, "on purpose") end)
    end, "on purpose")
  end)

  it("ends a run that waits for ever, and names what it awaits", function()
    local ok, failure = pcall(loop.run, function()
      loop.condition():wait("Godot", function() end)
    end, { timeout_ms = 20 })
    assert.is_false(ok)
    assert.matches("waiting for Godot", failure)
  end)

  it("runs programs", loop.spec(function()
    local code, out, err = process.run("/bin/sh", { "-c", "echo out; echo err >&2; exit 3" })
    assert.same({ 3, "out", "err" }, { code, out, err })
  end))

  it("ends programs with their scope", function()
    local child
    loop.run(function()
      child = process.spawn("/bin/sh", { "-c", "echo up; exec sleep 1000" })
      child:wait_line(child.stdout, "up")
    end)
    assert.equal(9, child.exited.signal)
  end)
end)
