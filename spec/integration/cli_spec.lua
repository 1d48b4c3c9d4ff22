--- The commands of the real binary: exit codes, what goes where.
local loop = require "support.loop"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local GOOD = [[
data_dir: data
log: { format: text }
listeners: [ { name: http, address: 127.0.0.1:0 } ]
admin: { address: off }
routes: [ { name: a, respond: { body: hi } } ]
]]

describe("veloflux", function()
  it("says what it can do when it is asked for something else", loop.spec(function()
    local code, out, err = servers.command {}
    assert.equal(1, code)
    assert.equal("", out)
    assert.matches("usage: veloflux run", err)
    code, out, err = servers.command { "dance" }
    assert.same({ 1, "" }, { code, out })
    assert.matches("dance", err)
    code, out = servers.command { "--help" }
    assert.equal(0, code)
    assert.matches("usage: veloflux run", out)
  end))

  it("says its version", loop.spec(function()
    local code, out = servers.command { "version" }
    assert.equal(0, code)
    assert.matches("^veloflux %d+%.%d+%.%d+", out)
  end))
end)

describe("veloflux check", function()
  it("takes the file from -c, --config, VFX_CONFIG or conf/veloflux.yaml", loop.spec(function()
    local dir = tempdir.new()
    local file = dir .. "/a.yaml"
    tempdir.write(file, GOOD)
    local expected = ": ok (1 listener, 1 route, 0 pools, 0 backends)"
    local none = { env = { VFX_CONFIG = false } }
    for _, option in ipairs { { "-c", file }, { "--config", file }, { "--config=" .. file } } do
      local args = { "check", unpack(option) }
      assert.same({ 0, file .. expected, "" }, { servers.command(args, none) })
    end
    assert.same({ 0, file .. expected, "" }, { servers.command({ "check" }, { env = { VFX_CONFIG = file } }) })
    assert.same({ 0, file .. expected, "" },
      { servers.command({ "check", "-c", file }, { env = { VFX_CONFIG = "/nonexistent" } }) })
    local code, _, err = servers.command({ "check" }, { env = { VFX_CONFIG = false }, cwd = dir })
    assert.equal(1, code)
    assert.matches("^conf/veloflux.yaml: No such file or directory", err)
  end))

  it("prints every problem on standard error and exits with 1", loop.spec(function()
    local file = tempdir.new() .. "/a.yaml"
    tempdir.write(file, "pools:\n  - name: web\n    algoritm: random\nroutes: [ { name: r, pool: w } ]\n")
    local code, out, err = servers.command { "check", "-c", file }
    assert.equal(1, code)
    assert.equal("", out)
    assert.equal(file .. ":3: pools[0].algoritm: unknown key, did you mean algorithm?\n" .. file
      .. ':4: routes[0].pool: unknown pool "w"\n' .. file .. ": 2 problems", err)
  end))

  it("reads secrets from files relative to the folder of the conf file", loop.spec(function()
    local dir = tempdir.new()
    tempdir.write(dir .. "/a.yaml", 'admin: { address: "127.0.0.1:1", auth: { password: "{file:password}" } }\n')
    local code, _, err = servers.command { "check", "-c", dir .. "/a.yaml" }
    assert.equal(1, code)
    assert.matches("auth.password: " .. dir .. "/password: No such file or directory", err, 1, true)
    tempdir.write(dir .. "/password", "correct horse\n")
    assert.equal(0, (servers.command { "check", "-c", dir .. "/a.yaml" }))
  end))

  it("sees the environment", loop.spec(function()
    local file = tempdir.new() .. "/a.yaml"
    tempdir.write(file, "workers: ${VF_SPEC_WORKERS}\n")
    assert.equal(0, (servers.command({ "check", "-c", file }, { env = { VF_SPEC_WORKERS = "2" } })))
    local code, _, err = servers.command({ "check", "-c", file }, { env = { VF_SPEC_WORKERS = false } })
    assert.equal(1, code)
    assert.matches(":1: workers: the environment variable VF_SPEC_WORKERS is not set", err)
  end))

  it("says how it is used, as all commands do, and what it does not know", loop.spec(function()
    for _, name in ipairs { "run", "check", "proxy", "reload", "status", "stop" } do
      local code, out, err = servers.command { name, "--help" }
      assert.same({ 0, "" }, { code, err })
      assert.matches("^usage: veloflux run", out)
      code, out, err = servers.command { name, "--bogus" }
      assert.same({ 1, "" }, { code, out })
      assert.matches(("^veloflux %s: unknown option %%-%%-bogus"):format(name), err)
    end
    local code, _, err = servers.command { "run", "-c" }
    assert.equal(1, code)
    assert.matches("^veloflux run: a value is missing behind %-c", err)
  end))

  it("touches nothing: no data_dir appears", loop.spec(function()
    local dir = tempdir.new()
    tempdir.write(dir .. "/a.yaml", GOOD)
    assert.equal(0, (servers.command { "check", "-c", dir .. "/a.yaml" }))
    assert.is_nil((tempdir.read(dir .. "/data/master.key")))
  end))
end)

describe("reload, status and stop", function()
  it("say that nothing runs", loop.spec(function()
    local dir = tempdir.new()
    tempdir.write(dir .. "/a.yaml", GOOD)
    for _, name in ipairs { "reload", "status", "stop" } do
      local code, _, err = servers.command { name, "-c", dir .. "/a.yaml" }
      assert.equal(1, code)
      assert.equal(("veloflux %s: no instance is running (data_dir %s/data)"):format(name, dir), err)
    end
    tempdir.write(dir .. "/a.yaml", "\0\1")
    local _, _, said = servers.command { "reload", "-c", dir .. "/a.yaml" }
    assert.matches("no instance is running %(data_dir .*/data, the default: .*/a.yaml says nothing else%)", said)
    local code, _, err = servers.command { "stop", "-c", dir .. "/none.yaml" }
    assert.equal(1, code)
    assert.matches("none.yaml: No such file or directory", err)
  end))

  it("find the instance of the conf, reload it, and stop it", loop.spec(function()
    local server = servers.start { conf = GOOD:gsub("data_dir: data", "data_dir: d") }
    local code, out, err = servers.command { "status", "-c", server.file }
    assert.same({ 0, "" }, { code, err })
    assert.matches("is running, process " .. server.pid, out, 1, true)
    assert.matches("config    version 1, loaded", out, 1, true)
    assert.matches("listener  http 127.0.0.1", out, 1, true)

    server:write_conf((GOOD:gsub("data_dir: data", "data_dir: d"):gsub("body: hi", "body: ho")))
    assert.same({ 0, "version 2: routes: 1 changed", "" }, { servers.command { "reload", "-c", server.file } })

    server:write_conf "data_dir: d\nroutes:\n  - { name: a, pool: nope }\n" -- stop must work with a broken file too
    code, out, err = servers.command { "reload", "-c", server.file }
    assert.same({ 1, "" }, { code, out })
    assert.equal(server.file .. ':3: routes[0].pool: unknown pool "nope"\nveloflux reload: refused, nothing changed',
      err)
    code, out = servers.command { "status", "-c", server.file }
    assert.equal(0, code)
    assert.matches("the last reload was refused: " .. server.file .. ":3", out, 1, true)

    assert.same({ 0, ("process %d has stopped"):format(server.pid), "" },
      { servers.command { "stop", "-c", server.file } })
    assert.equal(0, server.process:wait_exit().code)
  end))
end)
