--- Connections of pdk.redis go back to others only as they were: a host of the spec stands in for the server.
require "support.library"
local kit = require "veloflux.kit"
local fixture = require "unit.plugin.fixture"

local HANDLER = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }
local red = pdk.redis.new { host = "redis.test" }

local function get(key) return function(conn) return conn:get(key) end end

local PATHS = {
  ["/get"] = function(key) return red:get(key) end,
  ["/with"] = function(key) return (red:with(get(key))) end,
  ["/caught"] = function(key) return (select(2, pcall(red.with, red, get(key)))) end,
  ["/select"] = function() return red:pipeline({ { "select", 3 }, { "GET", "a" } })[2] end,
  ["/watch"] = function() return red:pipeline({ { "WATCH", "a" }, { "GET", "a" } })[2] end,
  ["/both"] = function() return red:pipeline({ { "MULTI" }, { "GET", "a" }, { "EXEC" } })[2] end,
  ["/inside"] = function() return #red:transaction { { "SELECT", "3" }, { "GET", "a" } } end,
  ["/reset"] = function() return (red:with(function(conn) return conn:command "RESET" end)) end,
}

function Plugin:access()
  local value = PATHS[pdk.request.get_path()](pdk.request.get_query_arg "key")
  pdk.response.exit(200, tostring(value))
end

return Plugin
]]

--- Answers GET KEY with the key and the number of the connection; SLOW takes five seconds.
local function server()
  local n_connections = 0
  return kit.wire(function(wire)
    n_connections = n_connections + 1
    local own, is_queued = n_connections, false
    while true do
      local line = wire:read_line()
      if not line then return end
      local words = {}
      for i = 1, tonumber(line:sub(2)) do
        words[i] = wire:read(tonumber(wire:read_line():sub(2)))
        wire:read(2)
      end
      local name = words[1]:upper()
      if words[2] == "slow" then kit.sleep(5) end
      if name == "MULTI" then is_queued = 0 end
      if name == "EXEC" then
        wire:send("*" .. is_queued - 1 .. "\r\n" .. (":1\r\n"):rep(is_queued - 1))
        is_queued = false
      elseif is_queued and is_queued > 0 then
        is_queued = is_queued + 1
        wire:send "+QUEUED\r\n"
      else
        if is_queued then is_queued = 1 end
        wire:send(name == "GET" and ("+%s of %d\r\n"):format(words[2], own) or "+OK\r\n")
      end
    end
  end)
end

describe("connections of pdk.redis", function()
  local gateway

  fixture.served { asks = { handler = HANDLER } }
  before_each(function()
    gateway = kit.start { plugins = { { name = "asks" } }, hosts = { ["redis.test:6379"] = server() } }
  end)

  local function ask(path) return gateway:request({ path = path }).body end

  it("serve the next request", function()
    assert.same({ "a of 1", "b of 1", "c of 1" }, { ask "/get?key=a", ask "/with?key=b", ask "/get?key=c" })
  end)

  it("end with a task that has not read its reply: nobody else reads that", function()
    for i, path in ipairs { "/get?key=slow", "/with?key=slow", "/caught?key=slow" } do
      local pending = gateway:begin { path = path }
      gateway:advance(1)
      pending:abort()
      gateway:settle()
      assert.equal(("mine of %d"):format(i + 1), ask "/with?key=mine", path)
    end
  end)

  it("end when a pipeline leaves them otherwise than they were", function()
    for i, path in ipairs { "/select", "/watch", "/inside", "/reset" } do
      ask(path)
      assert.equal(("b of %d"):format(i + 1), ask "/get?key=b", path)
    end
    ask "/both"
    assert.equal("b of 5", ask "/get?key=b")
  end)
end)
