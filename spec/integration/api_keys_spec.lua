--- The keys of secrets at rest on the real binary: where they come from, and their rotation.
local apis = require "support.api"
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local uv = require "luv"

local server

local request = apis.requester(function() return server.ports.admin end)
local is = apis.is

local ROUTES = { { name = "site", path = "/", respond = { status = 200 }, plugins = { { name = "key-auth" } } } }

local function conf_of(changes)
  local conf = { routes = ROUTES }
  for name, value in pairs(changes or {}) do conf[name] = value end
  return conf
end

local function add_consumer(name)
  local credentials = { { type = "key-auth", key = "key-of-" .. name } }
  is(request("POST", "/api/consumers", { name = name, credentials = credentials }), 201)
end

local function status_of(name) return clients.get(server.ports.http, "/", { apikey = "key-of-" .. name }).status end


describe("/api/keys", function()
  it("shows the key in use, and never a key", loop.spec(function()
    server = servers.start { conf = conf_of() }
    local keys = is(request("GET", "/api/keys"), 200)
    assert.equal(1, #keys)
    assert.same({ true, "data_dir", { "in_use" } }, { keys[1].active, keys[1].origin, keys[1].needed_by })
    assert.equal(8, #keys[1].id)
    is(request("GET", "/api/keys?colour=red"), 400)
    is(request("DELETE", "/api/keys/" .. keys[1].id), 409)
    is(request("DELETE", "/api/keys/beef"), 404)
    is(request("POST", "/api/keys/rotate", { generate = 1 }), 400)
    is(request("POST", "/api/keys/rotate", { a = 1 }), 400)
    server:stop()
  end))

  it("rotates: everything goes on to be readable, in the history and in backups, too", loop.spec(function()
    local admin = { address = "127.0.0.1:0", auth = { enabled = false, password = "in-clear-in-the-conf" } }
    server = servers.start { conf = conf_of { admin = admin } }
    add_consumer "ann"
    local backup = is(request("POST", "/api/backup/create"), 200)
    local before = tempdir.read(server.dir .. "/data/last-model.json")
    local first = is(request("GET", "/api/keys"), 200)[1].id
    local version = is(request("GET", "/api/config"), 200).version
    local rotated = is(request("POST", "/api/keys/rotate"), 200)
    assert.same({ "rotated", 1, version + 1 }, { rotated.status, rotated.resealed, rotated.version })
    assert.same({ true, first }, { rotated.keys[1].active, rotated.keys[2].id })
    assert.same({ "history", "answers" }, rotated.keys[2].needed_by)
    assert.equal(200, status_of "ann")
    assert.is_nil(tempdir.read(server.dir .. "/data/last-model.json"):find("{sealed:" .. first, 1, true))
    assert.is_truthy(before:find("{sealed:" .. first, 1, true))
    is(request("DELETE", "/api/consumers/ann"), 204)
    is(request("POST", ("/api/config/versions/%d/rollback"):format(version), {}), 200)
    assert.equal(200, status_of "ann")
    is(request("DELETE", "/api/consumers/ann"), 204)
    is(request("POST", "/api/backup/restore", backup), 200)
    assert.equal(200, status_of "ann")
    assert.is_nil(cjson.encode(is(request("GET", "/api/config/versions/" .. rotated.version), 200)):find "key%-of")
    server:stop()
  end))

  it("survives kill -9 at any point of a rotation", loop.spec(function()
    server = servers.start { conf = conf_of() }
    add_consumer "ann"
    for round = 1, 5 do
      local from = #server:log_lines() + 1
      local pid = children.of(server.pid).control[1]
      local path = server.dir .. "/data/master.key"
      local seen = tempdir.read(path)
      local connection = clients.connect(server.ports.admin)
      connection:send("POST /api/keys/rotate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
      if round % 4 > 0 then -- 0: at once
        children.eventually("the new key", function() return tempdir.read(path) ~= seen end)
        if round % 4 > 1 then children.pause((round % 4) * 3) end
      end
      uv.kill(pid, "sigkill")
      connection.stream:close()
      server:wait_log("control.exit", from)
      children.eventually("control", function()
        local again = children.of(server.pid).control[1]
        return again and again ~= pid and request("GET", "/api/config").status == 200
      end)
      assert.equal(200, status_of "ann")
      assert.equal("ann", is(request("GET", "/api/consumers/ann"), 200).name)
    end
    is(request("POST", "/api/keys/rotate", { generate = false }), 200)
    for i, key in ipairs(is(request("GET", "/api/keys"), 200)) do
      assert.equal(i == 1, key.active)
      if i > 1 then assert.is_number(key.until_version) end
    end
    add_consumer "bob"
    assert.equal(200, status_of "bob")
    server:stop()
  end, { timeout = 120000 }))
  it("survives kill -9 of all processes in a rotation", loop.spec(function()
    local dir = tempdir.new()
    for round = 1, 3 do
      server = servers.start { conf = conf_of { data_dir = dir } }
      if round == 1 then add_consumer "ann" end
      assert.equal(200, status_of "ann")
      local seen = tempdir.read(dir .. "/master.key")
      local connection = clients.connect(server.ports.admin)
      connection:send "POST /api/keys/rotate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
      if round < 3 then
        children.eventually("the new key", function() return tempdir.read(dir .. "/master.key") ~= seen end)
      end
      if round == 2 then children.pause(5) end
      local pids = server.process:children()
      pids[#pids + 1] = server.pid
      for _, pid in ipairs(pids) do uv.kill(pid, "sigstop") end
      server.process:kill()
      server.process:wait_exit()
      connection.stream:close()
    end
    server = servers.start { conf = conf_of { data_dir = dir } }
    assert.equal(200, status_of "ann")
    is(request("POST", "/api/keys/rotate"), 200)
    assert.equal(200, status_of "ann")
    server:stop()
  end))
end)

describe("master_key", function()
  local HEX = ("0123456789abcdef"):rep(4)

  local function refused(setting, files)
    local dir = tempdir.new()
    for name, text in pairs(files or {}) do tempdir.write(dir .. "/" .. name, text) end
    tempdir.write(dir .. "/veloflux.yaml", servers.encode(conf_of { master_key = setting }))
    local code, _, err = servers.command({ "run", "-c", dir .. "/veloflux.yaml" }, {})
    assert.not_equal(0, code)
    return err
  end

  it("comes from a file, a variable or a command", loop.spec(function()
    local file = tempdir.new() .. "/own.key"
    tempdir.write(file, HEX .. "\n")
    assert(uv.fs_chmod(file, tonumber("600", 8)))
    for origin, setting in pairs { file = { file = file }, env = { env = "SPEC_MASTER" },
      command = { command = "echo " .. HEX } } do
      server = servers.start { conf = conf_of { master_key = setting }, env = { SPEC_MASTER = HEX } }
      local keys = is(request("GET", "/api/keys"), 200)
      assert.same({ 1, origin }, { #keys, keys[1].origin })
      add_consumer "ann"
      is(request("POST", "/api/keys/rotate"), 200)
      is(request("POST", "/api/keys/rotate", { generate = true }), 409)
      assert.is_nil(uv.fs_stat(server.dir .. "/data/master.key"))
      local pid = children.of(server.pid).control[1]
      uv.kill(pid, "sigkill")
      children.eventually("control", function()
        local again = children.of(server.pid).control[1]
        return again and again ~= pid and request("GET", "/api/config").status == 200
      end)
      assert.equal("ann", is(request("GET", "/api/consumers/ann"), 200).name)
      server:stop()
    end
  end))

  it("that changes at a reload opens what the one before has sealed", loop.spec(function()
    server = servers.start { conf = conf_of() }
    add_consumer "ann"
    server:write_conf(conf_of { master_key = { command = { "echo", HEX } } })
    assert.is_true(server:reload())
    local keys = is(request("GET", "/api/keys"), 200)
    assert.same({ "command", "data_dir" }, { keys[1].origin, keys[2].origin })
    assert.equal(1, is(request("POST", "/api/keys/rotate"), 200).resealed)
    assert.equal(200, status_of "ann")
    server:write_conf(conf_of { master_key = { command = "echo not-a-key-at-all" } })
    local ok, said = server:reload()
    assert.is_false(ok)
    assert.is_truthy(said:find("master_key: master_key.command: its output is no key", 1, true), said)
    assert.is_nil(said:find("not-a-key-at-all", 1, true))
    assert.equal(200, status_of "ann")
    server:stop()
  end))

  it("that is wrong is named, and nothing starts", loop.spec(function()
    assert.is_truthy(refused({ file = "k" }, { k = HEX }):find "others may read it")
    assert.is_truthy(refused({ file = "none" }):find "none: cannot be read")
    assert.is_truthy(refused({ env = "NO_SUCH_VARIABLE" }):find "NO_SUCH_VARIABLE is not set")
    assert.is_truthy(refused({ command = "exit 7" }):find "exit code 7")
    assert.is_truthy(refused({ command = "sleep 1000", timeout = "100ms" }):find "longer than 100 ms")
    assert.is_truthy(refused({ file = "a", env = "B" }):find "master_key")
    assert.is_truthy(refused("short"):find "at least 16 bytes")
  end))
end)
