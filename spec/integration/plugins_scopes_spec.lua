--- Instances of plugins on all scopes, in a real server: which run, in which order, with which settings.
local loop = require "support.loop"
local clients = require "support.client"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local uv = require "luv"

local PLUGINS = {
  ["paint/handler.lua"] = [[
    local pdk = require "veloflux.pdk"
    local Plugin = { PRIORITY = 10, VERSION = "1.0.0" }
    function Plugin:header_filter(conf)
      pdk.response.add_header("X-Paint", conf.color .. ":" .. table.concat(conf.tags, ","))
    end
    return Plugin
  ]],
  ["paint/schema.lua"] = [[ return {
    color = { type = "string", default = "red" },
    tags = { type = "array", elements = { type = "string" }, default = {}, merge = "append" },
  } ]],
  ["keys/handler.lua"] = [[
    local pdk = require "veloflux.pdk"
    local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }
    function Plugin:access()
      local key = pdk.request.get_header "apikey"
      local credential, consumer = pdk.client.load_credential("keys", key or "")
      if not credential then return pdk.response.exit(401, "who are you?") end
      pdk.client.authenticate(consumer, credential)
    end
    return Plugin
  ]],
  ["keys/entities.lua"] = [[ return { credential = { id = "key", hashed = true,
    fields = { key = { type = "string", required = true, secret = true } } } } ]],
}

local function write_plugins()
  local folder = tempdir.new()
  for file, text in pairs(PLUGINS) do
    uv.fs_mkdir(folder .. "/" .. file:match "^[^/]+", tonumber("755", 8))
    tempdir.write(folder .. "/" .. file, text)
  end
  return folder
end

local function paint(config, more)
  local instance = { name = "paint", config = config }
  for key, value in pairs(more or {}) do instance[key] = value end
  return instance
end

describe("instances of plugins", function()
  it("of the narrowest scope run, the consumer's once it is known", loop.spec(function()
    local server = servers.start { conf = {
      plugin_path = { write_plugins() },
      plugins = { paint { tags = { "g" } } },
      routes = {
        { name = "plain", respond = { body = "x" } },
        { name = "own", path = "/own", respond = { body = "x" }, plugins = { paint { color = "blue", tags = { "r" } },
          paint({ color = "dark" }, { as = "second", order = { before = { "paint" } } }) } },
        { name = "none", path = "/none", respond = { body = "x" }, plugins = { { name = "paint", enabled = false } } },
        { name = "known", path = "/known", respond = { body = "x" }, plugins = { { name = "keys" } } },
      },
      consumers = { { name = "ana", credentials = { { type = "keys", key = "secret-of-ana" } },
        plugins = { paint { color = "gold", tags = { "c" } } } },
        { name = "bob", credentials = { { type = "keys", key = "secret-of-bob" } },
          plugins = { { name = "paint", enabled = false } } } },
    } }
    local function colors(path, key)
      local answer = clients.get(server.ports.http, path, key and { apikey = key })
      return answer.status, answer:all "x-paint"
    end
    assert.same({ 200, { "red:g" } }, { colors "/" })
    assert.same({ 200, { "dark:", "blue:g,r" } }, { colors "/own" })
    assert.same({ 200, {} }, { colors "/none" })
    assert.same({ 401, { "red:g" } }, { colors "/known" })
    assert.same({ 200, { "gold:g,c" } }, { colors("/known", "secret-of-ana") })
    assert.same({ 200, {} }, { colors("/known", "secret-of-bob") })
    server:stop()
  end))
end)
