--- Reloads: what can change while traffic goes on, and what a bad one leaves alone.
local loop = require "support.loop"
local children = require "support.children"
local clients = require "support.client"
local origins = require "support.origin"
local servers = require "support.server"
local stream = require "support.stream"
local tempdir = require "support.tempdir"
local traffics = require "support.traffic"
local uv = require "luv"

local function conf_for(origin, changes)
  local conf = {
    workers = 2,
    pools = { { name = "web", backends = { { address = "127.0.0.1:" .. origin.port } } } },
    routes = { { name = "all", pool = "web" } },
    -- long enough for a client between two requests: it is told to close instead of being cut off
    timeouts = { drain = "20s", drain_idle = "20s" },
  }
  for key, value in pairs(changes or {}) do conf[key] = value end
  return conf
end

local function start(changes, args)
  local origin = origins.start()
  local server = servers.start { conf = conf_for(origin, changes), args = args }
  return server, function(next_changes)
    server:write_conf(conf_for(origin, next_changes))
    local from = #server:log_lines() + 1
    server:signal "sighup"
    return server:wait_log("reload%.(%a+)", from)
  end
end

local HTTP = { name = "http", address = "127.0.0.1:0" }

describe("a reload", function()
  it("is live for all workers when it says so", loop.spec(function()
    local server, reload = start()
    reload { routes = { { name = "all", respond = { status = 200, body = "new" } } } }
    for _ = 1, 20 do assert.equal("new", clients.get(server.ports.http, "/").body) end
    server:stop()
  end))

  it("is refused as a whole when the conf is bad, and says why", loop.spec(function()
    local server, reload = start()
    local _, outcome = reload { routes = { { name = "all", pool = "wob" } } }
    assert.equal("rejected", outcome)
    server:wait_log "reload%.rejected.*routes%[0%]%.pool"
    assert.equal(200, clients.get(server.ports.http, "/").status)
    assert.matches("wob", clients.get(server.ports.admin, "/health").body)
    _, outcome = reload()
    assert.equal("done", outcome)
    server:stop()
  end))

  it("is refused when an address cannot be bound", loop.spec(function()
    local server, reload = start()
    local busy = origins.start()
    local _, outcome = reload { listeners = { HTTP, { name = "more", address = "127.0.0.1:" .. busy.port } } }
    assert.equal("rejected", outcome)
    server:wait_log(("listeners%%[1%%]%%.address: 127%%.0%%.0%%.1:%d is in use"):format(busy.port))
    assert.equal(200, clients.get(server.ports.http, "/").status)
    server:stop()
  end))

  it("cannot move the data directory of a running instance", loop.spec(function()
    local server, reload = start()
    local _, outcome = reload { data_dir = "elsewhere" }
    assert.equal("rejected", outcome)
    server:wait_log "data_dir: cannot change while running"
    server:stop()
  end))

  it("opens a listener, and closes one after serving those who waited", loop.spec(function()
    local server, reload = start()
    reload { listeners = { HTTP, { name = "more", address = "127.0.0.1:0" } } }
    assert.equal(200, clients.get(server.ports.more, "/").status)
    local kept = clients.connect(server.ports.more)
    kept:request("GET", "/")
    assert.equal(200, kept:read_response().status)
    reload { listeners = { HTTP } }
    kept:request("GET", "/") -- a connection outlives its listener
    assert.equal(200, kept:read_response().status)
    children.eventually("the closed listener", function()
      local conn = stream.connect(server.ports.more)
      if conn then conn:close() end
      return not conn
    end)
    assert.equal(200, clients.get(server.ports.http, "/").status)
    server:stop()
  end))

  it("takes a listener back that was on its way out", loop.spec(function()
    local two = { HTTP, { name = "more", address = "127.0.0.1:0" } }
    local server, reload = start { listeners = two }
    local port = server.ports.more
    reload { listeners = { HTTP } }
    reload { listeners = two }
    assert.equal(port, server.ports.more)
    for _ = 1, 10 do assert.equal(200, clients.get(port, "/").status) end
    server:stop()
  end))

  it("gives a listener another name without closing its sockets", loop.spec(function()
    local server, reload = start()
    local address = "127.0.0.1:" .. server.ports.http
    reload { listeners = { { name = "fixed", address = address } } }
    local traffic = traffics.start { port = server.ports.fixed, per_connection = 1 }
    reload { listeners = { { name = "renamed", address = address } } }
    traffic:wait_answers(50)
    assert.same({}, traffic:stop())
    server:stop()
  end))

  it("changes the number of workers and loses no connection", loop.spec(function()
    local server, reload = start()
    local traffic = traffics.start { port = server.ports.http, clients = 8, per_connection = 2 }
    for _, workers in ipairs { 4, 1, 3, 2, 1 } do
      local from = #server:log_lines() + 1
      reload { workers = workers }
      traffic:wait_answers(50)
      if workers == 1 then server:wait_log("worker%.exited.*reason=drained", from) end
    end
    traffic:wait_answers(50)
    assert.same({}, traffic:stop())
    children.eventually("one worker", function() return #children.of(server.pid).worker == 1 end)
    server:stop()
  end))

  it("happens once for signals that come in a row", loop.spec(function()
    local server = start()
    for _ = 1, 20 do server:signal "sighup" end
    server:wait_log "reload%.done"
    server:signal "sighup"
    server:wait_log("reload%.done.*version=%d+", #server:log_lines() + 1)
    local last = 0
    for _, line in ipairs(server:log_lines()) do
      last = tonumber(line:match "reload%.done.*version=(%d+)") or last
    end
    assert.is_true(last < 22, "version " .. last)
    server:stop()
  end))

  it("answers the command line with the outcome", loop.spec(function()
    local server = start()
    local ok, said = server:reload()
    assert.is_true(ok, said)
    assert.matches("version 2", said)
    server:write_conf "data_dir: data\npools: 1\n"
    ok, said = server:reload()
    assert.is_false(ok)
    assert.matches("pools", said)
    server:stop()
  end))
end)

describe("run --watch", function()
  it("reloads when the conf file says something else", loop.spec(function()
    local server = start({}, { "--watch" })
    tempdir.replace(server.file, tempdir.read(server.file) .. "\n# a remark changes nothing\n")
    children.pause(700) -- longer than between two looks
    server:write_conf(conf_for(origins.start(), { routes = { { name = "all", respond = { status = 204 } } } }))
    server:wait_log "reload%.done.*version=2"
    assert.equal(204, clients.get(server.ports.http, "/").status)
    server:stop()
  end))

  it("follows the files of an include, and new ones beside them", loop.spec(function()
    local folder = tempdir.new()
    local function respond(name, path)
      tempdir.replace(folder .. "/" .. name, ("routes: [ { name: %s, path: %s, respond: { status: 204 } } ]\n")
        :format(name:match "^%a+", path))
    end
    respond("one.yaml", "/one")
    local server = start({ include = { folder .. "/*.yaml" } }, { "--watch" })
    local function wait_for(version, path) -- a worker without a processor for a second is not waited for by a reload
      server:wait_log("reload%.done.*version=" .. version)
      children.eventually(path, function() return clients.get(server.ports.http, path).status == 204 end)
    end
    assert.equal(204, clients.get(server.ports.http, "/one").status)
    respond("one.yaml", "/uno")
    wait_for(2, "/uno")
    respond("two.yaml", "/two")
    wait_for(3, "/two")
    server:stop()
  end))

  it("publishes once what several files and folders tell of", loop.spec(function()
    local folder = tempdir.new()
    local function respond(path)
      for i = 1, 20 do
        tempdir.replace(("%s/%d.yaml"):format(folder, i),
          ("routes: [ { name: r%d, path: %s/%d, respond: { status: 204 } } ]\n"):format(i, path, i))
      end
    end
    respond "/a"
    local server = start({ include = { folder .. "/*.yaml" } }, { "--watch" })
    for _, path in ipairs { "/b", "/c", "/d" } do
      respond(path)
      children.eventually("the routes", function()
        for i = 1, 20 do
          if clients.get(server.ports.http, path .. "/" .. i).status ~= 204 then return false end
        end
        return true
      end)
    end
    server:stop()
    assert.is_nil(table.concat(server:log_lines(), "\n"):match "[^\n]*reload%.done[^\n]*no changes[^\n]*")
  end))

  it("follows the files of plugins, and keeps what runs when one is broken", loop.spec(function()
    local folder = tempdir.new()
    local function write(file, text) tempdir.replace(("%s/paint/%s"):format(folder, file), text) end
    assert(uv.fs_mkdir(folder .. "/paint", tonumber("755", 8)))
    write("handler.lua", "return { PRIORITY = 1, log = function() end }\n")
    local server = start({ plugin_path = { folder }, plugins = { { name = "paint" } } }, { "--watch" })
    write("handler.lua", "return { PRIORITY = 2, log = function() end }\n")
    server:wait_log "reload%.done.*version=2.*plugins: 1 changed"
    write("handler.lua", "return {\n  PRIORITY = 3\n  log }\n")
    server:wait_log "reload%.rejected.*paint/handler%.lua:3: "
    write("schema.lua", "return {}\n")
    write("handler.lua", "return { PRIORITY = 3, log = function() end }\n")
    server:wait_log "reload%.done.*version=3.*plugins: 1 changed"
    server:stop()
  end))
end)
