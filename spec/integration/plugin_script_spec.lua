--- The plugin script in a running server.
local clients = require "support.client"
local loop = require "support.loop"
local plugins = require "support.plugins"

local function spec_of(config, run, options)
  return loop.spec(function()
    local rig = plugins.shipped({ { name = "script", config = config } }, options)
    run(rig)
    rig.server:stop()
  end)
end

describe("script", function()
  it("runs Lua in every phase", spec_of({
    rewrite = 'pdk.ctx.shared.seen = "rewrite"',
    access = [[
      local seen = pdk.ctx.shared.seen .. " access"
      pdk.service.request.set_header("X-Seen", seen)
      pdk.timer.sleep(0.001)
      if pdk.request.get_path() == "/no" then return pdk.response.exit(418, "no\n") end
    ]],
    header_filter = 'pdk.response.set_header("X-Filter", "yes")',
    body_filter = "local piece = pdk.response.get_chunk() pdk.response.set_chunk(piece:upper())",
    log = 'pdk.log.event("test.logged", { status = pdk.response.get_status() }) -- a comment at the end',
  }, function(rig)
    local answer = clients.get(rig.port, "/")
    assert.matches('"X%-SEEN","REWRITE ACCESS"', answer.body)
    assert.equal("yes", answer:get "x-filter")
    assert.equal(418, clients.get(rig.port, "/no").status)
    rig.server:wait_log "test%.logged.*plugin=script.*status=418"
  end))

  it("leaves the phases out that it has no script for", spec_of({ access = "local x = 1 return x" }, function(rig)
    assert.is_truthy(clients.get(rig.port, "/"):get "content-length")
    plugins.change(rig, { { name = "script", config = { body_filter = "local x" } } })
    assert.is_nil(clients.get(rig.port, "/"):get "content-length")
  end))

  it("keeps what is local around a function that it returns, until its text changes", spec_of({
    access = [[
      local n = 0
      return function(given)
        n = n + 1
        pdk.service.request.set_header("X-N", n .. tostring(given == pdk))
      end]],
  }, function(rig)
    for i = 1, 3 do assert.equal(i .. "true", plugins.field(clients.get(rig.port, "/"), "x-n")) end
    plugins.change(rig, { { name = "script", as = "one", config = { access =
      'pdk.service.request.add_header("X-N", 1)' } }, { name = "script", as = "two", config = { access =
      'pdk.service.request.add_header("X-N", 2)' } } })
    local values = {}
    for _, pair in ipairs(plugins.seen(clients.get(rig.port, "/")).fields) do
      if pair[1] == "X-N" then values[#values + 1] = pair[2] end
    end
    assert.same({ "1", "2" }, values)
  end))

  it("fails its own request when it raises an error", spec_of({ access = "local x\nx()" }, function(rig)
    assert.equal(500, clients.get(rig.port, "/").status)
    rig.server:wait_log "plugin%.failed.*plugin=script phase=access.*script%.access:2: attempt to call"
  end))

  it("is cut off when it does not come to an end", spec_of({ access = "while true do end" }, function(rig)
    assert.equal(500, clients.get(rig.port, "/").status)
    rig.server:wait_log "script%.access:1: cut off"
  end, { conf = { plugin_limits = { cpu = "50ms" } } }))

  it("can do what plugins can, and no more", spec_of({ access = [[
      local names = { "io", "ffi", "debug", "package", "dofile", "loadfile", "getfenv", "setfenv", "_G" }
      local found = {}
      for _, name in ipairs(names) do
        local ok, value = pcall(load, "return " .. name)
        if ok and value and value() ~= nil then found[#found + 1] = name end
      end
      if pcall(require, "ffi") then found[#found + 1] = "require ffi" end
      if pcall(function() leaked = true end) then found[#found + 1] = "globals" end
      if load("\27LJ\2") then found[#found + 1] = "bytecode" end
      pdk.service.request.set_header("X-Found", table.concat(found, " "))
    ]] }, function(rig)
    assert.equal("", plugins.field(clients.get(rig.port, "/"), "x-found"))
  end))

  it("names the line that Lua cannot read", loop.spec(function()
    local function problem(config) return (plugins.problems { name = "script", config = config }) end
    assert.matches("^veloflux%.yaml:1: routes%[0%]%.plugins%[0%]%.config%.access: line 3: '=' expected near 'y' "
      .. "%(plugin script%)", problem { access = "local x = 1\n\nx y" })
    assert.matches("config%.log: line 1: 'end' expected", problem { log = "if true then" })
    assert.matches("config%.access: line 1: unfinished string", problem { access = "x = '" })
    assert.matches("config%.access: line 1: '<eof>' expected near 'end'", problem { access = "end" })
    assert.matches("config%.rewrite: line 1: ", problem { rewrite = "\27LJ\2\0" })
    assert.matches("config: one of rewrite, access, .* is required", problem {})
    assert.equal("", problem { access = "return", log = "-- nothing" })
  end))
end)
