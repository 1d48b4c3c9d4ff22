--- What plugins do besides requests, over reloads of their code and outages of those they talk to.
local uv = require "luv"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local process = require "support.process"
local redis_servers = require "unit.pdk.redis_server"
local rig = require "support.rig"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local HANDLER = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }
local VERSION_NAME = "NAME"

local function tell(url, text) return pdk.http.post(url, VERSION_NAME .. " " .. text) end

function Plugin:configure(configs)
  local url, redis = configs[1].url, configs[1].redis
  if self.is_started then return end
  self.is_started = true
  pdk.timer.every({ 0.02, jitter = 0.5 }, function() tell(url, "beat") end)
  if redis then
    pdk.redis.new(redis):subscribe("news", function(message) tell(url, "news " .. message) end,
      { on_state = function(is_connected) tell(url, is_connected and "hears" or "deaf") end })
  end
end

function Plugin:access(conf)
  local q = pdk.queue.get("q", { batch_items = 2, max_delay = 3600 }, function(batch)
    return tell(conf.url, "batch " .. table.concat(batch, "+"))
  end)
  q:push(pdk.request.get_query_arg "item")
  return pdk.response.exit(200, VERSION_NAME)
end
return Plugin
]]
local SCHEMA = [[ return { url = { type = "string" }, redis = { type = "string" } } ]]
local FILE = "plugins/probe/handler.lua"

local function source(name) return (HANDLER:gsub("NAME\"", name .. "\"")) end

local function start(told, redis)
  local config = { url = "http://" .. told.address .. "/", redis = redis }
  return servers.start {
    files = { [FILE] = source "old", ["plugins/probe/schema.lua"] = SCHEMA },
    conf = { plugin_path = { "plugins" }, pools = { { name = "web", backends = { { address = told.address } } } },
      routes = { { name = "site", path_prefix = "/", pool = "web",
        plugins = { { name = "probe", config = config } } } } },
  }
end

-- Awaits that the plugin told `text`, from request `from` on. Returns the number of the request behind it.
local function await_told(told, text, from)
  return told.changed:wait("the plugin to tell " .. text, function()
    for i = from or 1, #told.requests do
      if told.requests[i].body == text then return i + 1 end
    end
  end)
end

describe("plugins in the background", function()
  it("follow a reload of their code: timers end, queues go on", loop.spec(function()
    local told = origins.start()
    local server = start(told)
    await_told(told, "old beat")
    assert.equal("old", clients.get(server.ports.http, "/?item=1").body)
    tempdir.write(server.dir .. "/" .. FILE, source "new")
    assert.is_true(server:reload())
    local behind = await_told(told, "new beat")
    assert.equal("new", clients.get(server.ports.http, "/?item=2").body)
    await_told(told, "new batch 1+2")
    for _ = 1, 5 do behind = await_told(told, "new beat", behind) end
    local last_old = 0
    for i, request in ipairs(told.requests) do
      if request.body == "old beat" then last_old = i end
    end
    local first_new = await_told(told, "new beat")
    assert.is_true(last_old <= first_new + 1, "an old timer went on") -- one run may have been under way
    server:stop()
  end))

  it("hear again when their Redis comes back", loop.spec(function()
    local told = origins.start()
    local redis = redis_servers.start()
    local server = start(told, "redis://127.0.0.1:" .. redis.port)
    await_told(told, "old hears")
    redis.process:kill()
    local behind = await_told(told, "old deaf")
    redis = redis_servers.start { port = redis.port }
    behind = await_told(told, "old hears", behind)
    assert.equal(0, (process.run("/usr/bin/redis-cli", { "-p", tostring(redis.port), "publish", "news", "back" })))
    await_told(told, "old news back", behind)
    server:stop()
  end))

  it("lose a worker and begin again in the next", loop.spec(function()
    local told = origins.start()
    local server = start(told)
    await_told(told, "old beat")
    uv.kill(rig.worker(server), "sigkill")
    server:wait_log("worker.started", (server:wait_log "worker.exited"))
    local behind = #told.requests
    for _ = 1, 3 do behind = await_told(told, "old beat", behind + 1) end
    server:stop()
  end))
end)
