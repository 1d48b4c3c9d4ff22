--- docs/plugins/README.md: what it tells to type, and what it says comes of it.
local cjson = require "cjson"
local uv = require "luv"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local plugins = require "support.plugins"
local process = require "support.process"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local EXAMPLES = uv.cwd() .. "/docs/plugins/examples"

local file = assert(io.open "docs/plugins/README.md")
local page = file:read "*a"
file:close()

--- Returns what the page says that a command prints.
local function shown_for(command)
  local at, stop = page:find("$ " .. command .. "\n", 1, true)
  assert(at, "the page does not show " .. command)
  return (page:sub(stop + 1, page:find("```", stop, true) - 2))
end

--- Runs the binary in `folder`. Returns its output, with which it ended well.
local function run(folder, args)
  local code, out, err = process.run(servers.binary(), args, { cwd = folder })
  assert.same({ 0, "" }, { code, err })
  return (out:gsub("\n$", ""))
end

describe("the guide", function()
  it("begins with a plugin that works", loop.spec(function()
    local folder = tempdir.new()
    assert.equal(shown_for "veloflux plugin new hello", run(folder, { "plugin", "new", "hello" }))
    assert.matches("3 passed, 0 failed", run(folder, { "plugin", "test", "hello" }))
  end))

  it("tests its example", loop.spec(function()
    local out = run(EXAMPLES, { "plugin", "test", "plan" })
    assert.equal(shown_for "veloflux plugin test plan", (out:gsub(" %([%d.]+ s, seed %d+%)", "")))
    assert.matches("^# plan\n", run(EXAMPLES, { "plugin", "docs", "plan" }))
  end))

  it("explains its example", loop.spec(function()
    local command = "check -c plan.yaml --explain GET http://localhost:8000/"
    local args = {}
    for word in command:gmatch "%S+" do args[#args + 1] = word end
    assert.equal(shown_for("veloflux " .. command), run(EXAMPLES, args))
  end))

  it("uses its example", loop.spec(function()
    local rig = plugins.start({}, { plugins = { { name = "plan", config = { plans = { blue = "gold" } } } },
      conf = { plugin_path = { EXAMPLES }, trusted_proxies = { "127.0.0.1" } } })
    local answer = clients.get(rig.port, "/", { ["X-Team"] = "blue", ["VeloFlux-Debug"] = "1" })
    assert.equal("gold", plugins.field(answer, "X-Plan"))
    assert.equal("gold", answer:get "x-plan")
    assert.matches("^plan;desc=access;dur=[%d.]+, plan;desc=header_filter;dur=[%d.]+$", answer:get "server-timing")
    answer = clients.get(rig.port, "/", { ["X-Team"] = "red" })
    assert.equal(403, answer.status)
    assert.equal("no plan for red", cjson.decode(answer.body).message)
    assert.equal("plan", rig.server:wait_access_log(2)[2].reason)
    rig.server:stop()
  end))

  it("combines the plans of wider scopes, and lets a route do without", loop.spec(function()
    local rig = plugins.start({}, { plugins = { { name = "plan", config = { plans = { green = "free" } } } },
      conf = { plugin_path = { EXAMPLES }, plugins = { { name = "plan", config = { plans = { blue = "gold" } } } } } })
    assert.equal("gold", clients.get(rig.port, "/", { ["X-Team"] = "blue" }):get "x-plan")
    assert.equal("free", clients.get(rig.port, "/", { ["X-Team"] = "green" }):get "x-plan")
    rig.conf.routes[1].plugins = { { name = "plan", enabled = false } }
    rig.server:write_conf(rig.conf)
    assert.is_true(rig.server:reload())
    assert.is_nil(clients.get(rig.port, "/", { ["X-Team"] = "blue" }):get "x-plan")
    rig.server:stop()
  end))

  it("has three lines that need no folder", loop.spec(function()
    local lua = 'if pdk.request.get_header "x-beta" then pdk.service.set_upstream "beta" end'
    assert.is_truthy(page:find("config: { access: '" .. lua .. "' }", 1, true))
    local beta = origins.start(function(conn) conn:write(origins.response(200, {}, "beta")) end)
    local rig = plugins.start({}, { plugins = { { name = "script", config = { access = lua } } } })
    rig.conf.pools[2] = { name = "beta", backends = { { address = beta.address } } }
    rig.server:write_conf(rig.conf)
    assert.is_true(rig.server:reload())
    assert.equal("beta", clients.get(rig.port, "/", { ["X-Beta"] = "1" }).body)
    assert.equal("/", plugins.seen(clients.get(rig.port, "/")).target)
    rig.server:stop()
  end))

  it("says what becomes of an instance that fails too often", loop.spec(function()
    local rig = plugins.start({ bad = { handler = 'function Plugin:access() error "no" end' } },
      { conf = { plugin_limits = { trip = { errors = 2, window = "1m", pause = "1h" } } } })
    for _ = 1, 2 do assert.equal(500, clients.get(rig.port, "/").status) end
    assert.equal(200, clients.get(rig.port, "/").status)
    assert.equal("plugin_error", rig.server:wait_access_log(3)[1].reason)
    local metrics = clients.get(rig.server.ports.admin, "/metrics").body
    for _, name in ipairs { "calls", "errors", "yields", "skipped", "trips" } do
      assert.is_truthy(metrics:find(("veloflux_plugin_%s_total{plugin=\"bad\""):format(name), 1, true), name)
    end
    rig.server:stop()
  end))
end)
