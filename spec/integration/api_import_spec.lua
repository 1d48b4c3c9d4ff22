--- Much content for the admin API of the real binary: it goes to a file, is read on a thread and taken in slices, so
-- that others are answered meanwhile; and where it ends.
local cjson = require "cjson"
local ffi = require "ffi"
local clients = require "support.client"
local loop = require "support.loop"
local servers = require "support.server"
local tempdir = require "support.tempdir"

ffi.cdef [[
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int umount(const char *target);
]]

local MIB = 1024 * 1024
local LIMIT = 64 * MIB
local FIELDS = { ["Content-Type"] = "application/json" }

--- Returns a document of so many routes, each with a text of so many bytes.
local function document(routes, bytes)
  local pieces, text = {}, ("x"):rep(bytes)
  for i = 1, routes do
    pieces[i] = ('{"name":"r%d","path":"/r%d","respond":{"status":200,"body":"%s%d"}}'):format(i, i, text, i)
  end
  return '{"routes":[' .. table.concat(pieces, ",") .. "]}"
end

local function copy(fields)
  local all = {}
  for name, value in pairs(FIELDS) do all[name] = value end
  for name, value in pairs(fields or {}) do all[name] = value end
  return all
end

--- Sends a head and perhaps a part of the content; returns the client.
local function begin(port, path, bytes, part, fields)
  local client = clients.connect(port)
  local all = copy(fields)
  all["Content-Length"] = bytes
  client:request("POST", path, all)
  if part then client:send(part) end
  return client
end

local function problem(response, status, code)
  assert.equal(status, response.status, response.body)
  assert.equal(code, cjson.decode(response.body).code)
end

local function import(port, body, path)
  local response = clients.request(port, "POST", path or "/api/config/import", copy(), body)
  response.json = cjson.decode(response.body)
  return response
end

describe("an import", function()
  it("of 50 MB is taken while others are answered", loop.spec(function()
    local server = servers.start { conf = {} }
    local port = server.ports.admin
    local body, is_sent, response, answers = document(2500, 20 * 1024), false, nil, 0
    assert.is_true(#body > 50e6)
    local changed = loop.condition()
    clients.together(function()
      local client = clients.connect(port)
      client:request("POST", "/api/config/import", copy(), body)
      is_sent = true
      changed:notify()
      response = client:read_response "POST"
      client:close()
    end, function()
      changed:wait("the content to be sent", function() return is_sent end)
      local other = clients.connect(port)
      while not response do
        other:request("GET", "/health")
        local answered = other:read_response()
        assert.equal(200, answered.status, answered.body .. table.concat(server:log_lines(), "\n"))
        if not response then answers = answers + 1 end
      end
      other:close()
    end)
    assert.equal(200, response.status, response.body:sub(1, 1000))
    local json = cjson.decode(response.body)
    assert.same({ added = 2500, updated = 0, removed = 0 }, json.changes)
    assert.equal(1000, #json.diff) -- of all that changed, the first
    assert.is_true(answers >= 20, answers .. " answers")
    assert.matches("^x+2499$", clients.get(server.ports.http, "/r2499").body)
    server:stop()
  end))

  it("in chunks comes whole, and more than a little is the same as a little", loop.spec(function()
    local server = servers.start { conf = {} }
    local port = server.ports.admin
    local body = document(200, 10 * 1024)
    local fields = copy { ["Transfer-Encoding"] = "chunked", ["Idempotency-Key"] = "k" }
    for turn = 1, 2 do
      local client = clients.connect(port)
      client:request("POST", "/api/config/import", fields)
      for first = 1, #body, 100000 do
        local piece = body:sub(first, first + 99999)
        client:send(("%x\r\n%s\r\n"):format(#piece, piece))
      end
      client:send "0\r\n\r\n"
      local response = client:read_response "POST"
      client:close()
      assert.equal(200, response.status, response.body:sub(1, 500))
      assert.equal(200, cjson.decode(response.body).changes.added)
      assert.equal(turn == 2 and "true" or nil, response:get "idempotency-replayed")
    end
    assert.equal("key_reused", cjson.decode(clients.request(port, "POST", "/api/config/import",
      copy { ["Idempotency-Key"] = "k" }, document(200, 10 * 1024 + 1)).body).code)
    assert.is_true(import(port, body, "/api/config/validate").json.valid)
    local wrong = body:sub(1, -2) .. ',"pools":[{"name":"p","colour":1}]}'
    local refused = import(port, wrong)
    problem(refused, 400, "invalid")
    assert.equal("/pools/0/colour", refused.json.errors[1].pointer)
    refused = import(port, body:sub(1, -3))
    problem(refused, 400, "invalid")
    refused = import(port, wrong, "/api/config/validate")
    assert.is_false(refused.json.valid)
    server:stop()
  end))

  it("has a limit, which is lower for those who do not say who they are", loop.spec(function()
    local server = servers.start { conf = { admin = { address = "127.0.0.1:0", auth = { password = "secret" } } } }
    local port = server.ports.admin
    local named = { Authorization = "Basic YWRtaW46c2VjcmV0" }
    for path, limit in pairs { ["/api/config/import"] = LIMIT, ["/api/config/validate"] = LIMIT,
      ["/api/backup/restore"] = LIMIT, ["/api/bulk"] = 8 * MIB, ["/api/pools"] = MIB, ["/none"] = MIB } do
      local client = begin(port, path, limit + 1, nil, named)
      problem(client:read_response "POST", 413, "body_too_large")
      assert.equal("eof", client:expect_end())
      client = begin(port, path, MIB + 1)
      problem(client:read_response "POST", 413, "body_too_large")
      client:close()
    end
    server:stop()
  end))

  it("waits its turn when several are under way", loop.spec(function()
    local server = servers.start { conf = {} }
    local port, under_way = server.ports.admin, {}
    local body = document(20, 100 * 1024)
    for i = 1, 4 do under_way[i] = begin(port, "/api/config/import?dry_run=true", #body, body:sub(1, MIB)) end
    assert.equal(200, clients.get(port, "/health").status)
    local client = begin(port, "/api/config/import", #body)
    problem(client:read_response "POST", 503, "unavailable")
    client:close()
    under_way[1]:reset()
    under_way[2]:send(body:sub(MIB + 1))
    assert.equal(200, under_way[2]:read_response("POST").status)
    assert.equal(200, import(port, body).status)
    for i = 2, 4 do under_way[i]:close() end
    server:stop()
  end))

  it("that the disk has no room for is refused, and nothing changes", loop.spec(function()
    local disk = tempdir.new()
    if ffi.C.mount("tmpfs", disk, "tmpfs", 0, "size=6m") ~= 0 then
      pending "mounting a small disk takes root"
      return
    end
    loop.defer(function() ffi.C.umount(disk) end)
    local server = servers.start { conf = { data_dir = disk } }
    local port = server.ports.admin
    local body = document(800, 10 * 1024)
    local client = clients.connect(port)
    client:request("POST", "/api/config/import", copy(), body)
    problem(client:read_response "POST", 507, "insufficient_storage")
    client:close()
    assert.same({}, cjson.decode(clients.get(port, "/api/routes").body))
    assert.equal(200, import(port, document(10, 100)).status)
    server:stop()
  end))
end)
