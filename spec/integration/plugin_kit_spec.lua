--- veloflux plugin new, test, docs and list, with the real binary.
local loop = require "support.loop"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local function run(...) return servers.command { "plugin", ... } end

local HANDLER = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }
function Plugin:access(conf)
  local what = pdk.request.get_header "x-do"
  if what == "raise" then error "boom" end
  if what == "spin" then while true do local _ = {} end end
  if what == "leak" then assert(pdk.socket.tcp():connect("db.test", 1)) end
  if what == "kit" then return pdk.response.exit(200, tostring(pcall(require, "veloflux.kit"))) end
  if what == "ffi" then return pdk.response.exit(200, tostring(pcall(require, "ffi"))) end
end
return Plugin
]]

--- Writes the plugin `mine` with a spec of this body; returns its folder.
local function plugin(body, files)
  local folder = tempdir.new() .. "/mine"
  tempdir.write(folder .. "/handler.lua", HANDLER)
  for path, text in pairs(files or {}) do tempdir.write(folder .. "/" .. path, text) end
  if body then
    tempdir.write(folder .. "/spec/mine_spec.lua", [[
local kit = require "veloflux.kit"
local function ask(gateway, what) return gateway:request { headers = { ["X-Do"] = what } } end
describe("mine", function()
]] .. body .. "\nend)\n")
  end
  return folder
end

local function spec(name, body) return ("  it(%q, function()\n%s\n  end)\n"):format(name, body) end

describe("veloflux plugin new", function()
  it("makes a plugin whose specs pass at once", loop.spec(function()
    local dir = tempdir.new()
    local code, out, err = run("new", "my-plugin", "--dir", dir .. "/plugins")
    assert.same({ 0, "" }, { code, err })
    local folder = dir .. "/plugins/my-plugin"
    for _, file in ipairs { "handler.lua", "schema.lua", "README.md", "spec/my-plugin_spec.lua" } do
      assert.matches("created " .. folder .. "/" .. file, out, 1, true)
      assert.is_string(tempdir.read(folder .. "/" .. file))
    end
    code, out, err = run("test", folder)
    assert.same({ 0, "" }, { code, err })
    assert.matches("\n3 passed, 0 failed, 0 pending %(", out)
    code, out = run("docs", folder)
    assert.equal(0, code)
    assert.matches("^# my%-plugin\n", out)
    code, out = run("docs", folder, "--json-schema")
    assert.equal(0, code)
    assert.matches('"$schema":"https://json-schema.org/draft/2020-12/schema"', out, 1, true)
  end))

  it("makes one for control", loop.spec(function()
    local dir = tempdir.new()
    local code, out, err = run("new", "my-2nd", "--control", "--dir", dir)
    assert.same({ 0, "" }, { code, err })
    for _, file in ipairs { "entities.lua", "api.lua", "README.md", "spec/my-2nd_spec.lua" } do
      assert.matches("created " .. dir .. "/my-2nd/" .. file, out, 1, true)
      assert.is_nil(tempdir.read(dir .. "/my-2nd/" .. file):find "NAME" or nil)
    end
    code, out, err = run("test", dir .. "/my-2nd")
    assert.same({ 0, "" }, { code, err })
    assert.matches("\n3 passed, 0 failed, 0 pending %(", out)
  end))

  it("refuses names that are none, are shipped, or are there", loop.spec(function()
    local dir = tempdir.new()
    for _, name in ipairs { "My", "1st", "a_b", "a--b", "a-", "../a", "a/b", "", ("a"):rep(65) } do
      local code, out, err = run("new", name, "--dir", dir)
      assert.same({ 1, "" }, { code, out })
      assert.matches("^veloflux plugin new: ", err)
    end
    assert.matches("small letters, digits and single dashes", select(3, run("new", "a_b", "--dir", dir)))
    local shipped = select(2, run "list"):match "\n(%S+)"
    if shipped then assert.matches("is shipped", select(3, run("new", shipped, "--dir", dir))) end
    run("new", "twice", "--dir", dir)
    tempdir.write(dir .. "/twice/handler.lua", "-- mine")
    local code, _, err = run("new", "twice", "--dir", dir)
    assert.equal(1, code)
    assert.matches("twice is there already; nothing was changed", err)
    assert.equal("-- mine", tempdir.read(dir .. "/twice/handler.lua"))
    assert.matches("expected one NAME", select(3, run "new"))
  end))
end)

describe("veloflux plugin test", function()
  it("fails readably when a spec does", loop.spec(function()
    local folder = plugin(spec("passes", "assert.equal(200, ask(kit.start(), 'x').status)")
      .. spec("compares", "local answer = ask(kit.start(), 'raise')\nassert.equal(200, answer.status)"))
    local code, out = run("test", folder, "--seed", "7")
    assert.equal(1, code)
    assert.matches("ok      mine > passes\n", out, 1, true)
    assert.matches("FAILED  mine > compares\n    expected equal values\n    expected  200\n    got       500\n", out, 1,
      true)
    assert.matches("mine/spec/mine_spec.lua:%d+: in function", out)
    assert.matches("the gateway has logged:\n      error plugin.failed [^\n]*handler.lua:5: boom", out)
    assert.matches("again: veloflux plugin test " .. folder .. " --seed 7 --filter 'mine > compares'", out, 1, true)
    assert.matches("\n1 passed, 1 failed, 0 pending %(", out)
    code, out = run("test", folder, "--filter", "mine > passes")
    assert.equal(0, code)
    assert.matches("\n1 passed, 0 failed, 0 pending %(", out)
    local err
    code, out, err = run("test", folder, "--filter", "nothing")
    assert.same({ 1, "" }, { code, out })
    assert.matches('no spec has "nothing" in its name', err, 1, true)
  end))

  it("fails when the plugin raises, spins or leaves a socket open and nobody has looked", loop.spec(function()
    local folder = plugin(spec("raises", "assert.equal(500, ask(kit.start(), 'raise').status)")
      .. spec("spins", "assert.equal(500, ask(kit.start(), 'spin').status)")
      .. spec("leaks", [[
        local gateway = kit.start { hosts = { ["db.test"] = kit.wire(function(wire) wire:receive() end) } }
        assert.equal(200, ask(gateway, "leak").status)]])
      .. spec("looks", [[
        local gateway = kit.start()
        ask(gateway, "raise")
        assert.equal(1, #gateway:logs "plugin.failed")]]))
    local code, out = run("test", folder)
    assert.equal(1, code)
    assert.matches("FAILED  mine > raises\n    the plugin has failed, and the spec has not looked at ", out, 1, true)
    assert.matches("gateway:logs%(%):\n    error plugin.failed [^\n]*boom", out)
    assert.matches("FAILED  mine > spins\n[^\n]*\n[^\n]*cut off", out)
    assert.matches("FAILED  mine > leaks\n[^\n]*\n    warn socket.left_open plugin=mine", out)
    assert.matches("ok      mine > looks", out, 1, true)
    assert.matches("\n1 passed, 3 failed", out)
  end))

  it("plays the same again with the same seed", loop.spec(function()
    local folder = plugin(spec("cuts", [[
      local seen = {}
      local gateway = kit.start { hosts = {}, upstream = kit.wire(function(wire)
        while true do
          local text = wire:receive()
          if not text then return end
          seen[#seen + 1] = text:gsub("\r\n", "/")
          if text:find "z" then wire:send "HTTP/1.1 204 No Content\r\n\r\n" end
        end
      end) }
      gateway:request { method = "POST", body = ("abcdefghi"):rep(9) .. "z" }
      print(table.concat(seen, "|"))]]))
    local function cuts(seed) return (select(2, run("test", folder, "--seed", seed)):match "^(.-)\n") end
    local first = cuts "1"
    assert.matches("z$", first)
    assert.equal(first, cuts "1")
    local others = {}
    for seed = 2, 6 do others[#others + 1] = cuts(tostring(seed)) ~= first and seed or nil end
    assert.is_true(#others > 0)
  end))

  it("keeps the kit out of the reach of plugins", loop.spec(function()
    local folder = plugin(spec("kit", "assert.matches('^false', ask(kit.start(), 'kit').body)")
      .. spec("ffi", "assert.matches('^false', ask(kit.start(), 'ffi').body)"))
    assert.equal(0, (run("test", folder)))
  end))

  it("says what is wrong with specs that cannot be read, and goes on", loop.spec(function()
    local folder = plugin(spec("passes", ""), { ["spec/broken_spec.lua"] = "describe(",
      ["spec/raises_spec.lua"] = "error 'x'" })
    local code, out = run("test", folder)
    assert.equal(1, code)
    local path = folder .. "/spec/broken_spec.lua"
    assert.matches("FAILED  " .. path .. "\n    " .. path .. ":1: ", out, 1, true)
    assert.matches("\n1 passed, 2 failed", out)
  end))

  it("says what is wrong with a folder", loop.spec(function()
    local code, _, err = run("test", "/nonexistent")
    assert.equal(1, code)
    assert.matches("/nonexistent: no such folder", err)
    assert.matches("is not the folder of a plugin: there is no handler.lua", select(3, run("test", tempdir.new())))
    assert.matches("there is no spec/*_spec.lua", select(3, run("test", plugin())), 1, true)
    local broken = plugin(nil, { ["handler.lua"] = "local x = \nreturn {}",
      ["schema.lua"] = "return { a = { type = 'strin' } }" })
    code, _, err = run("test", broken)
    assert.equal(1, code)
    assert.matches(broken .. "/handler.lua:2: ", err, 1, true)
    assert.matches("mine/schema.lua:1: a.*did you mean string", err)
    assert.matches("mine: 2 problems", err)
    assert.matches("--seed expects a whole number", select(3, run("test", broken, "--seed", "x")), 1, true)
    assert.matches("usage: veloflux plugin new NAME", select(3, run "dance"), 1, true)
    assert.equal(0, (run "--help"))
  end))
end)

describe("veloflux plugin list", function()
  it("tells of the plugins there are, and from where", loop.spec(function()
    local folder = plugin()
    local conf = tempdir.new() .. "/v.yaml"
    tempdir.write(conf, ("plugin_path: [ %q ]\n"):format(folder:match "^(.*)/"))
    local code, out = run("list", "-c", conf)
    assert.equal(0, code)
    assert.matches("^NAME +VERSION +PRIORITY +PHASES +FROM\n", out)
    assert.matches("mine +1.0.0 +1000 +access +" .. folder:gsub("%p", "%%%0"), out)
    tempdir.write(folder .. "/handler.lua", "return 1")
    local err
    code, out, err = run("list", "-c", conf)
    assert.equal(1, code)
    assert.matches("mine +- +- +broken: the plugin mine cannot be loaded", out)
    assert.matches("expected it to return a table, got a number", err)
  end))
end)
