--- Plugins in control that are broken on the disk: reloads are refused, and the node starts and goes on without them.
require "support.library"
local uv = require "luv"
local apis = require "support.api"
local children = require "support.children"
local loop = require "support.loop"
local plugins = require "support.plugins"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local GOOD = [[
return { { method = "GET", path = "/api/x", permission = "user", summary = "X.", handler = function()
  return 200, { fine = true } end } }
]]
local ROUTE = { name = "r", path_prefix = "/", respond = { status = 200, body = "fine" } }

describe("a plugin in control that is broken", function()
  it("keeps no node from starting, nor from serving what the binary has in its place", loop.spec(function()
    local folder = plugins.write { x = { api = "return {" }, monitoring = { api = "error 'boom'" } }
    local server = servers.start { conf = { plugin_path = { folder }, routes = { ROUTE } } }
    local api = apis.of(server)
    server:wait_log("plugin%.left_out.*/x/api%.lua", 1)
    server:wait_log("conf%.warning.*boom; the plugin monitoring is left out", 1)
    assert.equal("ready", api.is(api.get "/ready", 200).status)
    api.problem(api.get "/api/x", 404, "not_found")
    local refused = api.problem(api.post "/api/reload", 422, "config_rejected")
    assert.is_true(#refused.errors >= 2)
    local code = servers.command { "check", "-c", server.file }
    assert.equal(1, code)
    tempdir.write(folder .. "/x/api.lua", GOOD)
    uv.fs_unlink(folder .. "/monitoring/api.lua")
    uv.fs_unlink(folder .. "/monitoring/schema.lua")
    api.is(api.post "/api/reload", 200)
    assert.is_true(api.is(api.get "/api/x", 200).fine)
    server:stop()
  end))

  it("keeps no control from going on that has been killed", loop.spec(function()
    local folder = plugins.write { x = { api = GOOD } }
    local server = servers.start { conf = { plugin_path = { folder }, routes = { ROUTE } } }
    local api = apis.of(server)
    api.is(api.post("/api/pools", { name = "kept" }), 201)
    tempdir.write(folder .. "/x/api.lua", "return {")
    uv.kill(children.of(server.pid).control[1], "sigkill")
    server:wait_log "plugin%.left_out.*/x/api%.lua"
    children.eventually("control", function() return api.get("/api/pools/kept").status == 200 end)
    api.is(api.post("/api/pools", { name = "more" }), 201)
    api.problem(api.get "/api/x", 404, "not_found")
    tempdir.write(folder .. "/x/api.lua", GOOD)
    api.is(api.post "/api/reload", 200)
    api.is(api.get "/api/x", 200)
    server:stop()
  end))

  it("is a fault of a conf that names it", loop.spec(function()
    local folder = plugins.write { x = { api = "return {", handler = "function Plugin:access() end" } }
    local file = folder .. "/conf.yaml"
    tempdir.write(file, servers.encode { plugin_path = { folder }, data_dir = folder .. "/data",
      admin = { address = "127.0.0.1:0" }, plugins = { { name = "x" } } })
    local code, out, err = servers.command { "run", "-c", file }
    assert.is_not.equal(0, code)
    assert.matches("x/api.lua:%d+: ", out .. err)
  end))
end)
