--- Thousands of routes on the real binary: their snapshots are finished on a thread, while others are answered, other
-- changes wait, dry runs compile beside them, and control is killed in the middle.
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local uv = require "luv"

local MANY = 22000 -- more than compiler/init.lua finishes on the loop's own thread

local function call(server, method, path, body)
  local response = clients.request(server.ports.admin, method, path,
    body and { ["Content-Type"] = "application/json" }, body and cjson.encode(body))
  if #response.body > 0 then response.json = cjson.decode(response.body) end
  return response
end

--- Asks until there is an answer: control may be dead for a moment.
local function persist(server, method, path, body)
  local response
  children.eventually("an answer to " .. path, function()
    local ok, result = pcall(call, server, method, path, body)
    response = ok and result.status ~= 503 and result or nil
    return response
  end)
  return response
end

local function name_of(i) return ("r%05d"):format(i) end

local function route(i, body)
  return { name = name_of(i), host = ("h%d.test"):format(i % 100), path_prefix = "/p" .. i,
    respond = { status = 200, body = body or "first" } }
end

local function start(folder)
  local routes = {}
  for i = 1, MANY do routes[i] = route(i) end
  return servers.start { conf = { entities = "seed", data_dir = folder, routes = routes } }
end

local function served(server, i)
  return clients.request(server.ports.http, "GET", "/p" .. i, { Host = ("h%d.test"):format(i % 100) }).body
end

describe("thousands of routes", function()
  it("change one by one, with dry runs beside, while others are answered", loop.spec(function()
    local server = start(tempdir.new())
    local n_left = 3
    local function writer(first)
      return function()
        for k = 0, 3 do
          local i = first + k * 1000
          local response = call(server, "PATCH", "/api/routes/" .. name_of(i),
            { respond = { status = 200, body = "changed " .. i } })
          assert.equal(200, response.status, response.body)
          assert.equal("changed " .. i, served(server, i)) -- answered means live
        end
        n_left = n_left - 1
      end
    end
    local function trier()
      for k = 1, 4 do
        local text = ("tried %d"):format(k):rep(100) -- texts that no snapshot shall have
        local response = call(server, "PATCH", "/api/routes/" .. name_of(k) .. "?dry_run=true",
          { respond = { status = 200, body = text } })
        assert.equal(200, response.status, response.body)
        assert.equal("first", served(server, k))
      end
      n_left = n_left - 1
    end
    local function asker()
      repeat assert.equal(200, clients.get(server.ports.admin, "/health").status) until n_left == 0
    end
    clients.together(writer(11), writer(5012), trier, asker)
    local response = call(server, "DELETE", "/api/routes/" .. name_of(MANY))
    assert.equal(204, response.status, response.body)
    assert.are_not.equal("first", served(server, MANY))
    response = call(server, "POST", "/api/routes", route(MANY, "again"))
    assert.equal(201, response.status, response.body)
    assert.equal("again", served(server, MANY))
    server:stop()
  end))

  it("outlive control, killed while changes are under way", loop.spec(function()
    local folder = tempdir.new()
    local server = start(folder)
    local n_acknowledged, is_done = 0, false
    local function writer()
      for i = 1, 12 do
        local response = persist(server, "PATCH", "/api/routes/" .. name_of(i * 100),
          { respond = { status = 200, body = "changed" } })
        assert.equal(200, response.status, response.body)
        n_acknowledged = n_acknowledged + 1
      end
      is_done = true
    end
    local function killer()
      for round = 1, 2 do
        children.eventually("some changes", function() return is_done or n_acknowledged >= round * 3 end)
        if is_done then return end
        local from = #server:log_lines() + 1
        assert(uv.kill(children.of(server.pid).control[1], "sigkill"))
        server:wait_log("control%.started", from)
      end
    end
    clients.together(writer, killer)
    for i = 1, 13 do
      assert.equal(i <= 12 and "changed" or "first", served(server, i * 100))
      local shown = persist(server, "GET", "/api/routes/" .. name_of(i * 100)).json
      assert.equal(i <= 12 and "changed" or "first", shown.respond.body)
    end
    server:stop()
  end))
end)

describe("control that takes long to begin", function()
  it("is asked meanwhile whether it lives", loop.spec(function()
    local folder = tempdir.new()
    local gate = folder .. "/gate"
    local key = ("[ ! -p %s ] || head -c 1 %s >/dev/null; printf %%064d 7"):format(gate, gate)
    local server = servers.start { conf = { master_key = { command = key, timeout = "1m" }, data_dir = folder,
      routes = { route(1) } } }
    assert.equal(0, os.execute("mkfifo " .. gate))
    local from, is_known = #server:log_lines() + 1, false
    assert(uv.kill(children.of(server.pid).control[1], "sigkill"))
    server:wait_log("control%.started", from) -- and it waits for its key
    local function one() -- waits until control knows what is published
      assert.equal("r00001", persist(server, "GET", "/api/routes/" .. name_of(1)).json.name)
      is_known = true
    end
    local function other()
      for _, path in ipairs { "/health", "/ready", "/health" } do
        assert.equal(200, clients.get(server.ports.admin, path).status)
        assert.is_false(is_known)
      end
      local fd = assert(uv.fs_open(gate, "r+", 0)) -- does not wait, as it reads, too
      assert(uv.fs_write(fd, "x"))
      children.eventually("an answer", function() return is_known end)
      uv.fs_close(fd)
    end
    clients.together(one, other)
    server:stop()
  end))
end)
