--- The access log of a running server: a line for every exchange, well or badly ended, and files that are rotated.
local uv = require "luv"
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local rig = require "support.rig"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local null = cjson.null

local function is_set(value) return value ~= nil and value ~= null and value ~= "" end

-- Waits until a file holds `count` lines; returns them.
local function wait_lines(path, count)
  return children.eventually(("%d lines in %s"):format(count, path), function()
    local lines = {}
    for line in (tempdir.read(path) or ""):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
    return #lines >= count and lines
  end)
end

describe("the access log", function()
  it("tells about an exchange from end to end", loop.spec(function()
    local origin = origins.start()
    local server = rig.start { origin }
    local response = clients.request(server.ports.http, "POST", "/a/b?token=secret&x", { Host = "Site.test" }, "12345")
    local seen = rig.seen(response)
    local entry = server:wait_access_log(1)[1]
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$", entry.time)
    assert.same({
      request_id = seen.get "x-request-id", tenant = "default", listener = "http", client = "127.0.0.1",
      method = "POST", host = "Site.test", path = "/a/b?token=***&***", status = 200, reason = null, route = "site",
      pool = "web", backend = origin.address, upstream_status = 200, tries = 1, bytes_in = 5,
      bytes_out = #response.body, consumer = null,
    }, {
      request_id = entry.request_id, tenant = entry.tenant, listener = entry.listener, client = entry.client,
      method = entry.method, host = entry.host, path = entry.path, status = entry.status, reason = entry.reason,
      route = entry.route, pool = entry.pool, backend = entry.backend, upstream_status = entry.upstream_status,
      tries = entry.tries, bytes_in = entry.bytes_in, bytes_out = entry.bytes_out, consumer = entry.consumer,
    })
    for _, name in ipairs { "duration_ms", "connect_ms", "first_byte_ms" } do
      assert.is_true(entry[name] >= 0 and entry[name] < 10000, name)
    end
    assert.is_true(entry.first_byte_ms <= entry.duration_ms)
    server:stop()
  end))

  it("tells why a request was refused, as the answer does", loop.spec(function()
    local server = rig.start({ origins.start() }, { route = { path_prefix = "/here", methods = { "GET" } } })
    local n_refused = 0
    local function refused(bytes)
      n_refused = n_refused + 1
      local client = clients.connect(server.ports.http)
      client:send(bytes)
      local response = client:read_response()
      client:close()
      return server:wait_access_log(n_refused)[n_refused], cjson.decode(response.body)
    end
    for bytes, expected in pairs {
      ["GET /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n"] = { 404, "no_route" },
      ["PUT /here HTTP/1.1\r\nHost: a\r\n\r\n"] = { 405, "method_not_allowed" },
      ["GET /here HTTP/1.1\r\n\r\n"] = { 400 },
      ["GET /../x HTTP/1.1\r\nHost: a\r\n\r\n"] = { 400 },
      ["POST /here HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"] = { 400 },
      ["rubbish\r\n\r\n"] = { 400 },
    } do
      local entry, problem = refused(bytes)
      assert.same({ expected[1], problem.code, problem.request_id }, { entry.status, entry.reason, entry.request_id })
      if expected[2] then assert.equal(expected[2], entry.reason) end
      assert.is_false(is_set(entry.backend) or is_set(entry.route))
      if expected[1] == 400 then
        local line = server:wait_log("message%.refused .*" .. problem.request_id)
        local fields = servers.parse_log(server:log_lines()[line]).fields
        assert.equal(problem.code, fields.code)
        assert.is_true(is_set(fields.rule) and is_set(fields.section) and fields.offset:find "^%d+$" ~= nil)
      end
    end
    server:stop()
  end))

  it("tells about backends that failed", loop.spec(function()
    local dead, silent = rig.named "dead", origins.start(function(conn) conn:close() end)
    dead:refuse()
    local conf = rig.conf { dead, silent }
    conf.pools[2] = { name = "gone", backends = { { address = dead.address } } }
    conf.routes[2] = { name = "gone", path_prefix = "/gone", pool = "gone" }
    local server = servers.start { conf = conf }
    local unreachable = clients.get(server.ports.http, "/gone")
    local entry = server:wait_access_log(1)[1]
    assert.same({ 502, "backend_unreachable", "gone", "gone", dead.address, 1, rig.code(unreachable) },
      { entry.status, entry.reason, entry.route, entry.pool, entry.backend, entry.tries, "backend_unreachable" })
    assert.is_false(is_set(entry.upstream_status))
    local tries = {}
    for i = 1, 2 do
      assert.equal(502, clients.request(server.ports.http, "POST", "/", nil, "x").status)
      entry = server:wait_access_log(1 + i)[1 + i]
      assert.same({ "upstream_closed", silent.address }, { entry.reason, entry.backend })
      tries[i] = entry.tries
    end
    table.sort(tries)
    assert.same({ 1, 2 }, tries) -- round robin begins with the dead one every other time
    server:stop()
  end))

  it("has a line for each of a connection's requests, in order, with nothing that breaks it", loop.spec(function()
    local server = rig.start { origins.start() }
    local client = clients.connect(server.ports.http)
    for i = 1, 200 do
      client:send("GET /" .. i .. "?%22%0a HTTP/1.1\r\nHost: a\r\nUser-Agent: \"\255\\\r\n\r\n")
    end
    for _ = 1, 200 do client:read_response() end
    client:close()
    for i, entry in ipairs(server:wait_access_log(200)) do assert.equal("/" .. i, entry.path:match "^[^?]*") end
    assert.equal(200, #server:access_log())
    server:stop()
  end))

  it("in combined format is what log analysers read", loop.spec(function()
    local origin = origins.start(function(conn) conn:write(origins.response(200, nil, "hello")) end)
    local access = { path = "stdout", format = "combined", query = true }
    local server = rig.start({ origin }, { conf = { log = { level = "info", format = "text", access = access } } })
    clients.get(server.ports.http, "/x?a=b", { Referer = "http://r/", ["User-Agent"] = 'Tool "1"' })
    server.process.changed:wait("a line", function() return server.process.stdout[1] end)
    assert.matches('^127%.0%.0%.1 %- %- %[%d%d/%a%a%a/%d%d%d%d:%d%d:%d%d:%d%d %+0000%] "GET /x%?a=b HTTP/1%.1" 200 5 '
      .. '"http://r/" "Tool .+1.+"$', server.process.stdout[1])
    server:stop()
  end))

  it("can be off", loop.spec(function()
    local server = rig.start({ origins.start() },
      { conf = { log = { level = "info", format = "text", access = "off" } } })
    assert.equal(200, clients.get(server.ports.http, "/").status)
    server:stop()
    assert.same({}, server.process.stdout)
  end))
end)

describe("an access log file", function()
  local function start(path)
    return rig.start({ origins.start() }, { conf = { workers = 2,
      log = { level = "info", format = "text", access = { path = path, format = "json" } } } })
  end

  it("is opened anew on SIGUSR1, and no line is lost", loop.spec(function()
    local path = tempdir.new() .. "/access.log"
    local server = start(path)
    for i = 1, 20 do clients.get(server.ports.http, "/old" .. i) end
    wait_lines(path, 20)
    assert(uv.fs_rename(path, path .. ".1"))
    server:signal "sigusr1"
    children.eventually("the new file", function() return uv.fs_stat(path) end)
    for i = 1, 40 do clients.get(server.ports.http, "/new" .. i) end -- each worker opens it in its own time
    children.eventually("all lines", function()
      local _, before = (tempdir.read(path .. ".1") or ""):gsub("\n", "")
      local _, after = (tempdir.read(path) or ""):gsub("\n", "")
      return before + after == 60 and after > 0
    end)
    for _, line in ipairs(wait_lines(path, 1)) do assert.matches("^/new", cjson.decode(line).path) end
    server:stop()
  end))

  it("holds everything that was answered when the server stops", loop.spec(function()
    local path = tempdir.new() .. "/access.log"
    local server = start(path)
    for i = 1, 50 do clients.get(server.ports.http, "/" .. i) end
    server:stop()
    assert.equal(50, #wait_lines(path, 50))
  end))
end)
