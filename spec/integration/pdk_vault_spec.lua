--- References to secrets in the real binary: in a plugin's configuration, and at run time.
local loop = require "support.loop"
local scripted = require "support.scripted"
local servers = require "support.server"
local tempdir = require "support.tempdir"

describe("references to secrets", function()
  it("are resolved in configurations, and by plugins as far as the environment goes", loop.spec(function()
    local server = scripted.start { env = { SPEC_SECRET = "hidden" },
      config = { value = "{vault://env/spec-secret}" } }
    local connection = server:connect()
    assert.same({ "hidden", "hidden" },
      connection:run [[ return conf.value, (pdk.vault.get "{vault://env/spec-secret}") ]])
    assert.matches("^files are not read in a worker",
      connection:run [[ return pdk.vault.get "{file:/etc/hostname}" ]][2])
    server:stop()
  end))

  it("follow their file at a reload", loop.spec(function()
    local path = tempdir.new() .. "/secret"
    tempdir.write(path, "first\n")
    local server = scripted.start { config = { value = "{vault://file" .. path .. "}" } }
    assert.same({ "first" }, server:connect():run [[ return conf.value ]])
    tempdir.write(path, "second\n")
    assert.same({ "first" }, server:connect():run [[ return conf.value ]])
    assert.is_true((server:reload()))
    assert.same({ "second" }, server:connect():run [[ return conf.value ]])
    server:stop()
  end))

  it("are problems of the configuration when they lead nowhere", loop.spec(function()
    local dir = tempdir.new()
    tempdir.write(dir .. "/plugins/probe/handler.lua", "return { PRIORITY = 1, access = function() end }")
    tempdir.write(dir .. "/plugins/probe/schema.lua", "return { value = { type = 'string', referenceable = true } }")
    tempdir.write(dir .. "/veloflux.yaml", servers.encode { plugin_path = { "plugins" }, routes = { { name = "site",
      respond = { body = "x" }, plugins = { { name = "probe", config = { value = "{vault://env/spec-none}" } } } } } })
    local code, out, err = servers.command { "check", "-c", dir .. "/veloflux.yaml" }
    assert.equal(1, code)
    local wanted = "routes[0].plugins[0].config.value: the environment variable SPEC_NONE is not set"
    assert.is_truthy((out .. err):find(wanted, 1, true), out .. err)
  end))
end)
