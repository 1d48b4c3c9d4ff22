--- The plugin that docs/plugins/control.md builds, a stranger's to the binary: an entity, endpoints, a job.
local cjson = require "cjson"
local uv = require "luv"
local apis = require "support.api"
local children = require "support.children"
local loop = require "support.loop"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local websockets = require "support.websocket"

local EXAMPLES = uv.cwd() .. "/docs/plugins/examples"

local function conf_of(more)
  local conf = { plugin_path = { EXAMPLES }, pools = { { name = "filed" } } }
  for name, value in pairs(more or {}) do conf[name] = value end
  return conf
end

local function spec(body, more)
  return loop.spec(function()
    local server = servers.start { conf = conf_of(more) }
    body(apis.of(server), server)
    server:stop()
  end)
end

local function notice(fields)
  local value = { name = "disk", text = "A disk is full." }
  for name, own in pairs(fields or {}) do value[name] = own end
  return value
end

describe("the plugin of the guide", function()
  it("passes its specs", loop.spec(function()
    local code, out, err = servers.command { "plugin", "test", EXAMPLES .. "/notices" }
    assert.same({ 0, "" }, { code, err })
    assert.matches("\n4 passed, 0 failed, 0 pending %(", out)
  end))
end)

describe("the kind of a plugin", function()
  it("is at /api/KIND with the usual verbs", spec(function(api)
    local made = api.is(api.post("/api/notices", notice { severity = "warning" }), 201)
    assert.same({ "disk", "default", "warning", "api" }, { made.id, made.tenant_id, made.severity, made.origin })
    local shown = api.get "/api/notices/disk"
    assert.equal(('"%d"'):format(made.version), shown:get "etag")
    assert.equal("1", api.get("/api/notices?severity=warning"):get "x-total-count")
    assert.equal("0", api.get("/api/notices?severity=info"):get "x-total-count")
    api.is(api.patch("/api/notices/disk", { text = "Two are." }, { ["If-Match"] = shown:get "etag" }), 200)
    api.problem(api.patch("/api/notices/disk", { text = "x" }, { ["If-Match"] = shown:get "etag" }), 412, "stale")
    local dry = api.is(api.put("/api/notices/disk?dry_run=true", { severity = cjson.null }), 200)
    assert.equal("notices: 1 changed", dry.summary)
    assert.equal("info", api.is(api.put("/api/notices/disk", { severity = cjson.null }), 200).severity)
    api.is(api.delete "/api/notices/disk", 204)
    api.problem(api.get "/api/notices/disk", 404, "not_found")
  end))

  it("is judged by its schema", spec(function(api)
    api.problem(api.post("/api/notices", { name = "a" }), 400, "invalid", "/text")
    api.problem(api.post("/api/notices", notice { severity = "loud" }), 400, "invalid", "/severity")
    api.problem(api.post("/api/notices", notice { colour = "red" }), 400, "invalid", "/colour")
    api.problem(api.post("/api/notices", notice { pool = "none" }), 400, "invalid", "/pool")
    api.problem(api.post("/api/notices", notice { tenant_id = "none" }), 400, "invalid")
    api.is(api.post("/api/notices", notice()), 201)
    api.problem(api.post("/api/notices", notice()), 409, "exists")
    api.problem(api.post("/api/notices", notice { name = "other" }), 400, "invalid", "/text")
    local schema = api.is(api.get "/api/schemas/notices", 200)
    assert.same({ "text", "name" }, { schema.required[2], schema.required[1] })
    assert.equal(500, schema.properties.text.maxLength)
  end))

  it("keeps what its fields refer to from being deleted", spec(function(api)
    api.is(api.post("/api/pools", { name = "web" }), 201)
    api.is(api.post("/api/notices", notice { pool = "web" }), 201)
    local refused = api.problem(api.delete "/api/pools/web", 409, "referenced")
    assert.matches('notices/default/disk: pool: still refers to the pool "web"', refused.detail)
    api.is(api.delete "/api/notices/disk", 204)
    api.is(api.delete "/api/pools/web", 204)
  end))

  it("belongs to tenants", spec(function(api)
    api.is(api.post("/api/tenants", { name = "acme" }), 201)
    api.is(api.post("/api/notices", notice { tenant_id = "acme" }), 201)
    api.is(api.post("/api/notices", notice()), 201)
    assert.equal("acme", api.is(api.get "/api/notices/disk?tenant_id=acme", 200).tenant_id)
    api.problem(api.delete "/api/tenants/acme", 409, "referenced")
    api.is(api.delete "/api/notices/disk?tenant_id=acme", 204)
    api.is(api.delete "/api/tenants/acme", 204)
  end))

  it("stands in conf files, which own what they have", spec(function(api, server)
    local filed = api.is(api.get "/api/notices/filed", 200)
    assert.same({ "file", "warning" }, { filed.origin, filed.severity })
    assert.matches("veloflux.yaml:%d+$", filed.source)
    api.problem(api.patch("/api/notices/filed", { text = "x" }), 409, "owned")
    server:write_conf(conf_of { notices = { { name = "filed", text = "Stands here.", pool = "nowhere" } } })
    local done, said = server:reload()
    assert.is_false(done)
    assert.matches('veloflux.yaml:%d+: notices%[0%].pool: unknown pool "nowhere"', said)
    server:write_conf(conf_of())
    assert.is_true(server:reload())
    api.problem(api.get "/api/notices/filed", 404, "not_found")
  end, { notices = { { name = "filed", text = "Stands here.", severity = "warning", pool = "filed" } } }))

  it("is in exports, imports, bulk requests, backups, versions, differences and rollbacks", spec(function(api)
    local before = api.is(api.get "/api/config", 200).version
    api.is(api.post("/api/bulk", { operations = {
      { action = "add", kind = "notices", data = notice() },
      { action = "add", kind = "notices", data = notice { name = "net", text = "The network is slow." } },
      { action = "patch", kind = "notices", id = "net", data = { severity = "warning" } } } }), 200)
    local export = api.is(api.get "/api/config/export?format=json", 200)
    assert.equal(2, #export.notices)
    local archive = api.is(api.post "/api/backup/create", 200)
    local versions = api.is(api.get "/api/config/versions", 200)
    assert.equal("notices: 2 added", versions[1].summary)
    local diff = api.is(api.get(("/api/config/diff?from=%d&to=%d"):format(before, versions[1].version)), 200)
    assert.same({ "notices", "added" }, { diff.diff[1].kind, diff.diff[1].action })
    api.is(api.post(("/api/config/versions/%d/rollback"):format(before)), 200)
    api.problem(api.get "/api/notices/net", 404, "not_found")
    api.is(api.post("/api/config/import?mode=merge", { notices = export.notices }), 200)
    assert.equal("warning", api.is(api.get "/api/notices/net", 200).severity)
    api.is(api.delete "/api/notices/net", 204)
    assert.equal(1, api.is(api.post("/api/backup/restore", archive), 200).changes.added)
    assert.equal("warning", api.is(api.get "/api/notices/net", 200).severity)
  end))

  it("is kept when the plugin goes, and returns with it", loop.spec(function()
    local folder = tempdir.new()
    local server = servers.start { conf = conf_of() }
    local api = apis.of(server)
    api.is(api.post("/api/notices", notice()), 201)
    local version = api.is(api.get "/api/config", 200).version
    server:write_conf(conf_of { plugin_path = { folder } })
    local done, said = server:reload()
    assert.is_true(done)
    assert.matches("1 notices of a plugin that is not installed: they are kept, and return with it", said)
    api.problem(api.get "/api/notices/disk", 404, "not_found")
    api.problem(api.post "/api/notices/disk/extend", 404, "not_found")
    api.is(api.post("/api/pools", { name = "web" }), 201)
    api.is(api.post(("/api/config/versions/%d/rollback"):format(version)), 200)
    server:write_conf(conf_of())
    assert.is_true(server:reload())
    assert.equal("A disk is full.", api.is(api.get "/api/notices/disk", 200).text)
    server:stop()
  end))

  it("outlives the process", loop.spec(function()
    local server = servers.start { conf = conf_of() }
    local api = apis.of(server)
    api.is(api.post("/api/notices", notice()), 201)
    server:stop()
    local again = servers.start { conf = conf_of { data_dir = server.dir .. "/data" } }
    assert.equal("A disk is full.", apis.of(again).is(apis.of(again).get "/api/notices/disk", 200).text)
    again:stop()
  end))
end)

describe("the endpoint of a plugin", function()
  it("changes things through the one door", spec(function(api)
    local made = api.is(api.post("/api/notices", notice()), 201)
    local dry = api.is(api.post("/api/notices/disk/extend?dry_run=true", { minutes = 5 }), 200)
    assert.same({ true, "notices: 1 changed" }, { dry.dry_run, dry.summary })
    assert.equal(made.version, api.is(api.get "/api/notices/disk", 200).version)
    local answer = api.post("/api/notices/disk/extend", { minutes = 5, reason = "not done yet" })
    local extended = api.is(answer, 200)
    assert.equal(tostring(extended.version), answer:get "veloflux-version")
    assert.is_true(extended.until_ms > 0)
    local version = api.is(api.get "/api/config/versions", 200)[1]
    assert.same({ "anonymous", "not done yet" }, { version.author, version.reason })
    api.problem(api.post("/api/notices/none/extend", { minutes = 5 }), 404, "not_found")
    api.problem(api.post("/api/notices/disk/extend", { minutes = 0 }), 400, "invalid", "/minutes")
    assert.same({ info = 1, warning = 0 }, api.is(api.get "/api/notices-count", 200))
    assert.same({ info = 0, warning = 0 }, api.is(api.get "/api/notices-count?pool=filed", 200))
  end))
end)

describe("the job of a plugin", function()
  it("does its work, and says how that went", spec(function(api)
    api.is(api.post("/api/notices", notice { until_ms = 1000 }), 201)
    api.is(api.post("/api/notices", notice { name = "later", text = "x", until_ms = 9e14 }), 201)
    children.eventually("the notice to go", function() return api.get("/api/notices/disk").status == 404 end)
    api.is(api.get "/api/notices/later", 200)
    local version = api.is(api.get "/api/config/versions", 200)[1]
    assert.same({ "plugin:notices", "job", "their time is over" }, { version.author, version.source, version.reason })
    local job = children.eventually("the job to be told of", function()
      for _, found in ipairs(api.is(api.get "/api/jobs", 200)) do
        if found.plugin == "notices" and found.runs > 0 then return found end
      end
    end)
    assert.same({ "expire", "every 1s", "cluster", "ok", 0 },
      { job.name, job.schedule, job.scope, job.last_result, job.errors })
    assert.matches("^%d+%-%d+%-%d+T", job.next_run)
    local metrics = api.get("/metrics").body
    assert.matches('veloflux_job_runs_total{plugin="notices",job="expire"} %d+', metrics)
    assert.matches('veloflux_plugin_calls_total{plugin="notices",phase="control"} %d+', metrics)
  end))
end)

describe("the channel of a plugin", function()
  it("sends what there is, and again when it changes", spec(function(api, server)
    api.is(api.post("/api/notices", notice()), 201)
    local client = websockets.open(server.ports.admin, "/api/ws/notices")
    local first = client:read_json()
    assert.same({ "notices", { { name = "disk", text = "A disk is full.", severity = "info" } } },
      { first.type, first.data })
    api.is(api.post("/api/notices", notice { name = "net", text = "The network is slow.", severity = "warning" }), 201)
    local next_one = client:read_json()
    while #next_one.data < 2 do next_one = client:read_json() end
    assert.equal("net", next_one.data[1].name)
    assert.is_table(api.is(api.get "/api/openapi.json", 200).paths["/api/ws/notices"])
    server:write_conf(conf_of { plugin_path = { tempdir.new() } })
    assert.is_true(server:reload())
    assert.equal(1001, (client:expect_close()))
  end))
end)
