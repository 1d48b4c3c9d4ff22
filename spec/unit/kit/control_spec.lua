--- What the kit has of control, under busted: endpoints, entities, jobs and channels of a plugin.
require "support.library"
local kit = require "veloflux.kit"
local fixture = require "unit.plugin.fixture"

local API = [[
local pdk = require "veloflux.pdk"
local function answer(request)
  return 200, { who = request.identity and request.identity.name, body = request.body, query = request.query,
    name = request.params.name, tenant = request.identity and request.identity.tenant }
end
local function fetch()
  local reply, err = pdk.http.request "http://api.test/things"
  if not reply then return pdk.problem.new("unavailable", err) end
  return reply.status, { body = reply.body }
end
local function wait(request)
  pdk.timer.sleep(request.query.seconds)
  return 200, "waited"
end
local function rows(request)
  local writer = pdk.document.writer()
  for i = 1, request.query.count do writer:write(("row %d "):format(i):rep(100) .. "\n") end
  local document, problem = writer:finish()
  if not document then return problem end
  return 200, document, { ["Content-Type"] = "text/plain" }
end
local COUNT = { count = { type = "integer", required = true } }
local function spin() while true do local _ = {} end end
local Q = { seconds = { type = "number", required = true } }
return {
  { method = "POST", path = "/api/boxes/{name}/open", permission = "boxes:open", summary = "Opens.", handler = answer,
    request = { turns = { type = "integer", required = true, min = 1 } } },
  { method = "GET", path = "/api/open", permission = "none", summary = "Open.", handler = answer },
  { method = "GET", path = "/api/own", permission = "user", of_tenant = true, summary = "Own.", handler = answer },
  { method = "GET", path = "/api/fetch", permission = "admin", summary = "Fetches.", handler = fetch },
  { method = "GET", path = "/api/wait", permission = "admin", summary = "Waits.", timeout = "10s", query = Q,
    handler = wait },
  { method = "GET", path = "/api/rows", permission = "admin", summary = "Rows.", response_type = "text/plain",
    query = COUNT, handler = rows },
  { method = "GET", path = "/api/raise", permission = "admin", summary = "Raises.",
    handler = function() error "no box" end },
  { method = "GET", path = "/api/spin", permission = "admin", summary = "Spins.", handler = spin },
}
]]

local ENTITIES = [[
return { { kind = "boxes", noun = "box", version = 2,
  schema = { size = { type = "integer", required = true, between = { 1, 9 } }, lid = { type = "string" } },
  migrations = { [2] = function(record)
    if record.size == 0 then error "a box without size" end
    record.size = record.size or record.width
    record.width = nil
  end } } }
]]

local JOBS = [[
local pdk = require "veloflux.pdk"
local function grow()
  local ops = {}
  for _, box in ipairs(pdk.model.list "boxes") do
    ops[#ops + 1] = { op = "merge", kind = "boxes", name = box.name, value = { size = box.size + 1 } }
  end
  local _, problem = pdk.transaction.apply(ops)
  if problem then pdk.log.warn(problem.code) end
end
return {
  { name = "grow", at = "04:30", scope = "cluster", run = grow },
  { name = "fail", every = "365d", run = function() error "no luck" end },
  { name = "sleep", every = "365d", timeout = "5s", run = function() pdk.timer.sleep(60) end },
}
]]

local CHANNELS = [[
local pdk = require "veloflux.pdk"
return { { path = "/api/ws/boxes", permission = "user", type = "boxes", summary = "The boxes.", watch =
  pdk.versions.current, frame = function() return pdk.json.array(pdk.model.list "boxes") end,
  messages = { lift = { permission = "user", fields = { high = { type = "integer" } },
    handle = function(_, message) return { high = message.high } end } } } }
]]

local HANDLER = [[
local Plugin = { PRIORITY = 1, VERSION = "1.0.0" }
function Plugin:access() while true do local _ = {} end end
return Plugin
]]

local MERGE = "application/merge-patch+json"

describe("the control of a kit", function()
  local options

  before_each(function()
    options = { control = true, hosts = { ["api.test:80"] = function() return { status = 201, body = "things" } end } }
    kit.paths = { fixture.write { boxes = { api = API, entities = ENTITIES, jobs = JOBS, channels = CHANNELS,
      handler = HANDLER } } }
    kit.plugin = "boxes"
  end)
  after_each(function()
    kit.stop()
    kit.plugin, kit.paths = nil, {}
    fixture.clean()
  end)

  local function start(more)
    for name, value in pairs(more or {}) do options[name] = value end
    return kit.start(options)
  end

  local function post(gateway, box) return gateway:call { method = "POST", path = "/api/boxes", body = box } end

  it("gives endpoints what control gives them", function()
    local gateway = start()
    local answer = gateway:call { method = "POST", path = "/api/boxes/a%20b/open", body = { turns = 3 },
      identity = { name = "ana", permissions = { "boxes:open" } } }
    assert.equal(200, answer.status)
    assert.same({ who = "ana", body = { turns = 3 }, query = {}, name = "a b" }, answer.body)
    assert.equal("application/json", answer.headers["content-type"])
    assert.matches('"who":"ana"', answer.text, 1, true)
    assert.same({}, gateway:call({ path = "/api/open", identity = false }).body.query)
  end)

  it("has documents, long ones too", function()
    local gateway = start()
    for _, count in ipairs { 0, 3, 1000 } do
      local answer = gateway:call { path = "/api/rows?count=" .. count, headers = { Accept = "*/*" } }
      assert.equal(200, answer.status, answer.text)
      local _, lines = answer.text:gsub("\n", "\n")
      assert.equal(count, lines)
    end
  end)

  it("lets in whom control lets in", function()
    local gateway = start()
    local function status(identity, path, method, body)
      local answer = gateway:call { method = method or "POST", path = path or "/api/boxes/a/open",
        body = body or method ~= "GET" and { turns = 1 } or nil, identity = identity }
      return answer.status, answer.body.code
    end
    assert.same({ 401, "unauthorized" }, { status(false) })
    assert.same({ 403, "forbidden" }, { status { permissions = { "boxes:shut" } } })
    assert.same({ 403, "forbidden" }, { status { role = "user" } })
    assert.equal(200, status { role = "admin" })
    assert.equal(200, status(nil))
    assert.same({ 400, "invalid" }, { status(nil, nil, "POST", { turns = 0 }) })
    assert.same({ 405, "method_not_allowed" }, { status(nil, "/api/boxes/a/open", "GET") })
    assert.same({ 404, "not_found" }, { status(nil, "/api/boxes/a/shut", "GET") })
    assert.same({ 400, "invalid" }, { status(nil, "/api/own?x=y", "GET") })
    local own = gateway:call { path = "/api/own", identity = { name = "ben", role = "user", tenant = "acme" } }
    assert.same({ 200, "acme" }, { own.status, own.body.tenant })
    assert.equal(403, status({ tenant = "acme" }, "/api/fetch", "GET"))
    local text = gateway:call { method = "POST", path = "/api/boxes/a/open", body = "turns=1",
      headers = { ["Content-Type"] = "text/plain" } }
    assert.equal(415, text.status)
  end)

  it("lets endpoints call hosts of the spec, and wait without taking time", function()
    local gateway = start()
    local answer = gateway:call { path = "/api/fetch" }
    assert.same({ 201, { body = "things" } }, { answer.status, answer.body })
    assert.equal("/things", gateway:upstream_requests("api.test")[1].path)
    assert.same({ 200, "waited" }, { gateway:call({ path = "/api/wait?seconds=9" }).status,
      gateway:call({ path = "/api/wait?seconds=9" }).body })
    assert.equal(503, gateway:call({ path = "/api/wait?seconds=11" }).status)
    assert.equal("GET /api/wait", gateway:logs("plugin.late")[1].what)
  end)

  it("bounds and logs what control bounds and logs", function()
    local gateway = start { config = {}, conf = { plugin_limits = { cpu = "20ms" } } }
    assert.equal(500, gateway:call({ path = "/api/raise" }).status)
    assert.matches("no box", gateway:logs("plugin.failed")[1].error)
    assert.equal(500, gateway:call({ path = "/api/spin" }).status)
    assert.matches("cut off: it ran for longer than 20 ms", gateway:logs("plugin.failed")[2].error)
    assert.equal(500, gateway:request({}).status) -- a worker's plugin is bounded as well
    assert.matches("cut off: it ran for longer than 20 ms", gateway:logs("plugin.failed")[3].error)
    assert.equal(500, gateway:call({ path = "/api/spin" }).status)
  end)

  it("has entities, stored in memory", function()
    local gateway = start()
    assert.equal(201, post(gateway, { name = "a", size = 3 }).status)
    local refused = post(gateway, { name = "b", size = 10 })
    assert.same({ 400, "/size" }, { refused.status, refused.body.errors[1].pointer })
    local version = gateway:call({ path = "/api/boxes/a" }).headers["etag"]
    local merged = gateway:call { method = "PATCH", path = "/api/boxes/a", body = { size = 4 },
      headers = { ["If-Match"] = version, ["Content-Type"] = MERGE } }
    assert.same({ 200, 4 }, { merged.status, merged.body.size })
    assert.equal(412, gateway:call({ method = "PATCH", path = "/api/boxes/a", body = { size = 4 },
      headers = { ["If-Match"] = version, ["Content-Type"] = MERGE } }).status)
    local versions = gateway:call({ path = "/api/config/versions" }).body
    assert.same({ "boxes: 1 changed", "admin" }, { versions[1].summary, versions[1].author })
    assert.equal(204, gateway:call({ method = "DELETE", path = "/api/boxes/a" }).status)
    assert.equal(404, gateway:call({ path = "/api/boxes/a" }).status)
    local used = start()
    assert.equal(404, used:call({ path = "/api/boxes/a" }).status)
  end)

  it("changes what workers serve", function()
    local gateway = start()
    assert.equal(200, gateway:request({ path = "/new", host = "new.test" }).status) -- the route of the kit
    local made = gateway:call { method = "POST", path = "/api/routes", body = { name = "new", host = "new.test",
      respond = { status = 201, body = "made" } } }
    assert.equal(201, made.status, made.text)
    local answer = gateway:request { path = "/new", host = "new.test" }
    assert.same({ 201, "made" }, { answer.status, answer.body })
  end)

  it("brings what older versions have left to the version of now", function()
    local gateway = start { stored = { boxes = { { record = { name = "old", width = 5 } },
      { version = 2, record = { name = "new", size = 6 } }, { record = { name = "bad", size = 0 } } } } }
    assert.equal(5, gateway:call({ path = "/api/boxes/old" }).body.size)
    assert.equal(6, gateway:call({ path = "/api/boxes/new" }).body.size)
    assert.equal(404, gateway:call({ path = "/api/boxes/bad" }).status)
  end)

  it("runs jobs: now, and when they are due", function()
    local gateway = start()
    post(gateway, { name = "a", size = 1 })
    assert.equal("done", gateway:run_job "grow")
    assert.equal(2, gateway:call({ path = "/api/boxes/a" }).body.size)
    kit.advance(24 * 3600)
    assert.equal(3, gateway:call({ path = "/api/boxes/a" }).body.size)
    assert.equal("failed", gateway:run_job "fail")
    assert.matches("no luck", gateway:logs("plugin.failed")[1].error)
    local before = kit.now()
    assert.equal("late", gateway:run_job "sleep")
    assert.near(5, kit.now() - before, 1)
    local list = gateway:jobs()
    assert.same({ "fail", "grow", "sleep" }, { list[1].name, list[2].name, list[3].name })
    assert.same({ 1, 2, "late" }, { list[1].errors, list[2].runs, list[3].last_result })
    assert.error_matches(function() gateway:run_job "shrink" end, "run_job: boxes has no job shrink")
  end)

  it("says who leads", function()
    local gateway = start()
    post(gateway, { name = "a", size = 1 })
    gateway:lead(false) -- what this node does not know yet the store does
    assert.equal("done", gateway:run_job "grow")
    assert.equal("unavailable", gateway:logs("plugin.log")[1].message)
    assert.equal(1, gateway:call({ path = "/api/boxes/a" }).body.size)
    kit.advance(60)
    assert.equal("skipped", gateway:run_job "grow")
    gateway:lead(true)
    kit.advance(60)
    assert.equal("done", gateway:run_job "grow")
    assert.equal(2, gateway:call({ path = "/api/boxes/a" }).body.size)
  end)

  it("has clients of channels", function()
    local gateway = start()
    local follower = assert(gateway:follow { path = "/api/ws/boxes", identity = { role = "user" } })
    assert.same({}, follower:next().data)
    assert.same({}, follower:pending())
    post(gateway, { name = "a", size = 1 })
    local frame = follower:next()
    assert.same({ "boxes", "boxes", "a" }, { frame.type, frame.channel, frame.data[1].name })
    follower:send { type = "lift", high = 7 }
    frame = follower:next()
    assert.same({ "lift", { high = 7 } }, { frame.type, frame.data })
    follower:send "no JSON"
    assert.equal("error", follower:next().type)
    follower:close()
    local none, refused = gateway:follow { path = "/api/ws/boxes", identity = false }
    assert.same({ nil, 401 }, { none, refused.status })
    local fresh = assert(gateway:follow { path = "/api/ws/boxes" })
    for _ = 1, 100 do fresh:send { type = "lift" } end
    repeat until not fresh:next()
    assert.equal(1008, fresh.closed.code)
  end)

  it("is there when it is asked for", function()
    local gateway = kit.start {}
    assert.error_matches(function() gateway:call { path = "/" } end, "gateway:call: this gateway has no control")
    gateway = start()
    assert.error_matches(function() gateway:reload {} end, "changes go through gateway:call")
    assert.error_matches(function() start { conf = { pools = { { name = "" } } } } end, "pools")
    kit.stop()
    assert.error_matches(function() gateway:call { path = "/" } end, "this gateway has ended")
  end)
end)
