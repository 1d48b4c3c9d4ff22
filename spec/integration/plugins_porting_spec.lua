--- Handlers written for Kong, in the real binary with one line changed; and one for APISIX, ported by hand. They
-- are those that docs/plugins/porting.md shows.
local cjson = require "cjson"
local uv = require "luv"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local plugins = require "support.plugins"

local FOLDER = "docs/plugins/porting"
local THEIRS, OURS = "local kong = kong\n", 'local kong = require "veloflux.pdk"\n'

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

--- Reads a handler of Kong's and changes its one line.
local function ported(name)
  local handler = read(("%s/kong/%s/handler.lua"):format(FOLDER, name))
  assert(handler:sub(1, #THEIRS) == THEIRS and not handler:find("veloflux", 1, true))
  return { [name] = { handler = OURS .. handler:sub(#THEIRS + 1),
    schema = read(("%s/kong/%s/schema.lua"):format(FOLDER, name)) } }
end

local function spec_of(name, config, run, options)
  return loop.spec(function()
    options = options or {}
    options.plugins = { { name = name, config = config } }
    local rig = plugins.start(ported(name), options)
    run(rig)
    rig.server:stop()
  end)
end

describe("a handler of Kong's, one line changed,", function()
  it("gives requests an id", spec_of("trace-id", { echo_downstream = true, generator = "counter" }, function(rig)
    local answer = clients.get(rig.port, "/")
    local id = answer:get "x-trace-id"
    assert.matches("^%x+%-%x+%-%x+%-%x+%-%x+#1$", id)
    assert.equal(id, plugins.field(answer, "X-Trace-Id"))
    answer = clients.get(rig.port, "/", { ["X-Trace-Id"] = "mine" })
    assert.equal("mine", answer:get "x-trace-id")
    assert.equal("mine", plugins.field(answer, "X-Trace-Id"))
  end))

  it("closes a route", spec_of("closed", { retry_after = 5, except = true }, function(rig)
    local answer = clients.get(rig.port, "/a?b=1")
    assert.equal(503, answer.status)
    assert.equal("5", answer:get "retry-after")
    assert.equal("GET /a?b=1 is closed", cjson.decode(answer.body).message)
    rig.server:wait_log "plugin%.log.*severity=notice.*closed: all"
    rig.conf.routes[1].plugins[1].config = { status_code = 410, body = "gone\n" }
    rig.server:write_conf(rig.conf)
    assert.is_true(rig.server:reload())
    answer = clients.get(rig.port, "/")
    assert.equal(410, answer.status)
    assert.equal("gone\n", answer.body)
    assert.equal("text/plain", answer:get "content-type")
    rig.conf.trusted_proxies = { "127.0.0.1" }
    rig.conf.routes[1].plugins[1].config = { except = true }
    rig.server:write_conf(rig.conf)
    assert.is_true(rig.server:reload())
    assert.equal(200, clients.get(rig.port, "/").status)
  end))

  it("knows consumers", spec_of("team-auth", {}, function(rig)
    local answer = clients.get(rig.port, "/")
    assert.equal(401, answer.status)
    assert.equal('Team realm="gateway"', answer:get "www-authenticate")
    assert.equal("No team in the request", cjson.decode(answer.body).message)
    assert.equal(401, clients.get(rig.port, "/", { ["X-Team"] = "green" }).status)
    answer = clients.get(rig.port, "/", { ["X-Team"] = "blue" })
    assert.equal(200, answer.status)
    assert.equal("blue", plugins.field(answer, "X-Consumer-Username"))
    assert.equal("17", plugins.field(answer, "X-Consumer-Custom-Id"))
    assert.is_nil(plugins.field(answer, "X-Team"))
  end, { conf = { consumers = { { name = "blue", custom_id = "17" } } } }))

  it("changes content both ways", spec_of("redact", { names = { "password" } }, function(rig)
    local answer = clients.request(rig.port, "POST", "/", { ["Content-Type"] = "application/json" },
      '{"user":{"password":"x"},"list":[]}')
    assert.equal('{"user":{"password":"***"},"list":[]}', plugins.seen(answer).body:gsub('^{"list":%[%],(.*)}$',
      '{%1,"list":[]}'))
    rig.origin.handler = function(conn)
      conn:write(origins.response(200, { ["Content-Type"] = "application/json" }, '{"password":"secret"}'))
    end
    assert.equal('{"password":"***"}', clients.get(rig.port, "/").body)
  end))
end)

describe("a plugin of APISIX's, ported,", function()
  it("does what it did", loop.spec(function()
    local rig = plugins.start({}, { plugins = { { name = "tag-requests", config = { tag = "blue",
      refuse = { "BadBot" } } } }, conf = { plugin_path = { uv.cwd() .. "/" .. FOLDER .. "/ported" } } })
    local answer = clients.get(rig.port, "/a?debug=1")
    assert.equal("blue", plugins.field(answer, "X-Tag"))
    assert.equal("blue /a?debug=1", answer:get "x-tagged")
    rig.server:wait_log "debug asked for: /a"
    answer = clients.get(rig.port, "/a", { ["User-Agent"] = "BadBot" })
    assert.equal(403, answer.status)
    assert.equal("refused: 127.0.0.1", cjson.decode(answer.body).message)
    rig.server:stop()
  end))
end)
