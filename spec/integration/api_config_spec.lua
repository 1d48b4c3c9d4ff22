--- The configuration as a whole through the admin API of the real binary: documents, versions, the way back.
local apis = require "support.api"
local clients = require "support.client"
local loop = require "support.loop"
local servers = require "support.server"

local JSON, YAML = "application/json", "application/yaml"
local server, port

local request = apis.requester(function() return port end)
local is, problem = apis.is, apis.problem

local function spec(conf, body)
  return loop.spec(function()
    server = servers.start { conf = conf }
    port = server.ports.admin
    body()
    server:stop()
  end)
end

describe("GET /api/config", function()
  it("shows what runs, under the version of the system", spec({ pools = { { name = "web" } } }, function()
    local response = request("GET", "/api/config")
    local config = is(response, 200)
    assert.equal(('"%d"'):format(config.version), response:get "etag")
    assert.equal("web", config.pools[1].name)
    assert.same({}, config.pools[1].backends)
    assert.same({}, config.routes)
    assert.equal("127.0.0.1:0", config.global.bind_address)
    assert.equal(304, request("GET", "/api/config", nil, { ["If-None-Match"] = response:get "etag" }).status)
    is(request("POST", "/api/pools", { name = "more" }), 201)
    assert.equal(config.version + 1, is(request("GET", "/api/config"), 200).version)
    problem(request("GET", "/api/config?colour=red"), 400, "invalid")
    problem(request("GET", "/api/config", nil, { Accept = "text/html" }), 406, "not_acceptable")
  end))
end)

describe("documents", function()
  it("come back as they went, in both formats", spec({}, function()
    is(request("POST", "/api/pools", { name = "web", algorithm = "random" }), 201)
    is(request("POST", "/api/routes", { name = "site", host = "a.example.com", pool = "web" }), 201)
    for format, kind in pairs { json = JSON, yaml = YAML } do
      local exported = request("GET", "/api/config/export?format=" .. format)
      assert.equal(200, exported.status)
      assert.equal(kind, exported:get "content-type")
      assert.equal(('attachment; filename="veloflux.%s"'):format(format), exported:get "content-disposition")
      is(request("PUT", "/api/pools/web", { algorithm = "ip_hash" }), 200)
      is(request("POST", "/api/pools", { name = "other" }), 201)
      local fields = { ["Content-Type"] = kind }
      local dry = is(request("POST", "/api/config/import?mode=replace&dry_run=true", exported.body, fields), 200)
      assert.same({ added = 0, updated = 1, removed = 1 }, dry.changes)
      assert.is_true(dry.dry_run)
      is(request("GET", "/api/pools/other"), 200)
      local imported = request("POST", "/api/config/import", exported.body, fields)
      assert.same({ added = 0, updated = 1, removed = 0 }, is(imported, 200).changes)
      assert.equal("imported", imported.json.status)
      assert.equal(tostring(imported.json.version), imported:get "veloflux-version")
      assert.equal("random", is(request("GET", "/api/pools/web"), 200).algorithm)
      is(request("GET", "/api/pools/other"), 200)
      is(request("POST", "/api/config/import?mode=replace", exported.body, fields), 200)
      assert.equal(404, request("GET", "/api/pools/other").status)
    end
  end))

  it("keep stored secrets that come back masked", spec({}, function()
    local consumer = { name = "ann", credentials = { { type = "key-auth", key = "the-key-of-ann" } } }
    is(request("POST", "/api/consumers", consumer), 201)
    local exported = request("GET", "/api/config/export?secrets=masked")
    assert.is_nil(exported.body:find "sealed")
    assert.is_truthy(exported.body:find('"*****"', 1, true))
    local imported = is(request("POST", "/api/config/import", exported.body), 200)
    assert.same({ added = 0, updated = 0, removed = 0 }, imported.changes)
    local changed = exported.body:gsub('"name":"ann"', '"name":"ann","groups":["gold"]')
    assert.equal(1, is(request("POST", "/api/config/import?mode=replace", changed), 200).changes.updated)
    is(request("POST", "/api/routes", { name = "r", path = "/", respond = { status = 200 },
      plugins = { { name = "key-auth" } } }), 201)
    assert.equal(200, clients.get(server.ports.http, "/", { apikey = "the-key-of-ann" }).status)
    is(request("DELETE", "/api/consumers/ann"), 204)
    local refused = problem(request("POST", "/api/config/import", exported.body), 400, "invalid")
    assert.is_truthy(refused.detail:find "credentials.0.key is masked, and there is no stored value to keep")
    problem(request("GET", "/api/config/export?secrets=clear"), 400, "invalid")
  end))

  it("that are not right change nothing", spec({}, function()
    local yaml = { ["Content-Type"] = YAML }
    local import = function(text, fields) return request("POST", "/api/config/import", text, fields or yaml) end
    local refused = problem(import "pools:\n  - { name: a, algorithm: sideways }\n", 400, "invalid")
    assert.equal("/pools/0/algorithm", refused.errors[1].pointer)
    problem(import "pools: [", 400, "invalid")
    problem(import "routes: [ { name: r, pool: nowhere } ]", 400, "invalid")
    problem(import "", 400, "invalid")
    problem(import("pools: []", { ["Content-Type"] = "text/plain" }), 415, "unsupported_media_type")
    problem(request("POST", "/api/config/import?mode=mix", "{}"), 400, "invalid")
    problem(request("GET", "/api/config/export?format=xml"), 400, "invalid")
    assert.same({}, is(request("GET", "/api/pools"), 200))
  end))

  it("leave what stands in the conf file to it", spec({ pools = { { name = "web" } } }, function()
    local text = '{"pools":[{"name":"web","algorithm":"random"}]}'
    local result = is(request("POST", "/api/config/import", text), 200)
    assert.equal("default/web", result.skipped[1].key)
    assert.is_truthy(result.skipped[1].source:find ":%d+$")
    assert.equal("round_robin", is(request("GET", "/api/pools/web"), 200).algorithm)
  end))

  it("are judged without changing anything", spec({}, function()
    local good = is(request("POST", "/api/config/validate", { pools = { { name = "a" } } }), 200)
    assert.same({ valid = true, status = "valid", errors = {}, warnings = {}, findings = {} }, good)
    local bad = is(request("POST", "/api/config/validate", "workers: many\npools: [ { nam: a } ]\n",
      { ["Content-Type"] = YAML }), 200)
    assert.is_false(bad.valid)
    assert.equal("invalid", bad.status)
    assert.equal("/workers", bad.errors[1].path)
    assert.equal(1, bad.errors[1].line)
    problem(request("POST", "/api/config/validate", "{"), 400, "invalid")
    assert.same({}, is(request("GET", "/api/pools"), 200))
  end))
end)

describe("Idempotency-Key", function()
  it("is honoured on every POST", spec({}, function()
    local key = { ["Idempotency-Key"] = "once" }
    local first = is(request("POST", "/api/reload", nil, key), 200)
    assert.same(first, is(request("POST", "/api/reload", nil, key), 200))
    assert.equal(first.version + 1, is(request("POST", "/api/reload"), 200).version)
    local pools, ways = { name = "web" }, {}
    clients.together(function() ways[1] = request("POST", "/api/pools", pools, key) end,
      function() ways[2] = request("POST", "/api/pools", pools, key) end)
    local codes = { ways[1].status, ways[2].status }
    table.sort(codes)
    assert.equal(201, codes[1]) -- the other one waited for it, or was told that it is under way
    assert.is_true(codes[2] == 201 or codes[2] == 409)
    assert.equal(1, #is(request("GET", "/api/pools"), 200))
  end))
end)

describe("a document that is empty", function()
  it("is refused: nobody means by it that everything goes", spec({}, function()
    is(request("POST", "/api/pools", { name = "web" }), 201)
    for _, text in ipairs { " \n", "null", "# nothing", "---\n", "~" } do
      for _, mode in ipairs { "merge", "replace" } do
        local answer = request("POST", "/api/config/import?mode=" .. mode, text, { ["Content-Type"] = YAML })
        problem(answer, 400, "invalid", "")
      end
    end
    is(request("GET", "/api/pools/web"), 200)
    is(request("POST", "/api/config/import?mode=replace", "{}"), 200)
    is(request("GET", "/api/pools/web"), 404)
  end))
end)

describe("a change of many entities", function()
  it("may depend on the version of the system", spec({}, function()
    is(request("POST", "/api/templates", { name = "plan", entities = { pools = { { name = "made" } } } }), 201)
    local tag = request("GET", "/api/config"):get "etag"
    local version = tonumber(tag:match "%d+")
    is(request("POST", "/api/pools", { name = "web" }), 201)
    local batch = { operations = { { action = "add", kind = "pools", data = { name = "more" } } } }
    local rollback = ("/api/config/versions/%d/rollback"):format(version)
    for path, body in pairs { ["/api/config/import"] = { pools = { { name = "more" } } }, ["/api/bulk"] = batch,
      ["/api/config/templates/plan/apply"] = {}, [rollback] = {} } do
      for _, query in ipairs { "?dry_run=true", "" } do
        local refused = request("POST", path .. query, body, { ["If-Match"] = tag })
        assert.matches(tostring(version + 1), problem(refused, 412, "stale").detail)
        is(request("POST", path .. query, body, { ["If-Match"] = 'W/"' .. version + 1 .. '"' }), 412)
      end
      assert.equal(1, #is(request("GET", "/api/pools"), 200))
    end
    batch.atomic = false
    problem(request("POST", "/api/bulk", batch, { ["If-Match"] = tag }), 400, "invalid", "/atomic")
    local now = request("GET", "/api/config"):get "etag"
    is(request("POST", "/api/config/import", { pools = { { name = "more" } } }, { ["If-Match"] = tag .. ", " .. now }),
      200)
    is(request("POST", "/api/config/import", { pools = { { name = "most" } } }, { ["If-Match"] = "*" }), 200)
  end))
end)

describe("versions", function()
  it("tell who changed what, and lead back", spec({}, function()
    local made = request("POST", "/api/pools", { name = "web" }, { ["X-Change-Reason"] = "we need it" })
    is(made, 201)
    local first = tonumber(made:get "veloflux-version")
    is(request("PUT", "/api/pools/web", { algorithm = "random" }), 200)
    is(request("POST", "/api/pools", { name = "more" }), 201)
    local list = is(request("GET", "/api/config/versions"), 200)
    assert.equal(first + 2, list[1].version)
    local one = is(request("GET", "/api/config/versions/" .. first), 200)
    assert.same({ "api", "we need it", "anonymous", "added" },
      { one.source, one.reason, one.author, one.diff[1].action })
    assert.is_truthy(one.time:match "^%d%d%d%d%-%d%d%-%d%dT")
    assert.equal(made:get "x-request-id", one.request_id)
    local total = tostring(#list)
    assert.equal(total, request("GET", "/api/config/versions"):get "x-total-count")
    assert.equal(total, request("GET", "/api/config/versions?limit=1&cursor=" .. first):get "x-total-count")
    local pages, path = 0, "/api/config/versions?limit=1"
    while path do
      local page = request("GET", path)
      assert.equal(1, #is(page, 200))
      path, pages = (page:get "link" or ""):match "^<(.-)>", pages + 1
    end
    assert.equal(#list, pages)
    local difference = is(request("GET", ("/api/config/diff?from=%d&to=%d"):format(first, first + 1)), 200)
    assert.same({ pointer = "/algorithm", after = "random" }, difference.diff[1].changes[1])
    assert.same({}, is(request("GET", "/api/config/diff?to=running&from=" .. first + 2), 200).diff)
    is(request("GET", "/api/config/diff"), 200)
    local back = "/api/config/versions/" .. first .. "/rollback"
    assert.equal(1, is(request("POST", back .. "?dry_run=true"), 200).changes.removed)
    is(request("GET", "/api/pools/more"), 200)
    local rolled = request("POST", back, { reason = "too much" })
    assert.equal("rolled_back", is(rolled, 200).status)
    assert.equal(first + 3, rolled.json.version)
    assert.equal(404, request("GET", "/api/pools/more").status)
    assert.equal("round_robin", is(request("GET", "/api/pools/web"), 200).algorithm)
    local last = is(request("GET", "/api/config/versions/" .. first + 3), 200)
    assert.same({ "rollback", "too much" }, { last.source, last.reason })
  end))

  it("have a reason that is UTF-8, whatever was sent", spec({}, function()
    local reason = { ["X-Change-Reason"] = "caf\233" }
    is(request("POST", "/api/pools", { name = "bare" }, reason), 201)
    local path, seen = "/api/config/versions?sort=-reason&limit=1", {}
    while path do
      local response = request("GET", path)
      seen[#seen + 1] = is(response, 200)[1].reason
      path = (response:get "link" or ""):match "<(.-)>"
    end
    assert.equal(tonumber(request("GET", "/api/config/versions?limit=1"):get "x-total-count"), #seen)
    assert.is_truthy(table.concat(seen, " "):find("caf\239\191\189", 1, true)) -- U+FFFD
  end))

  it("that are not there are said to be so", spec({}, function()
    for _, name in ipairs { "999", "0", "abc", "9007199254740992", "99999999999999999999" } do
      problem(request("GET", "/api/config/versions/" .. name), 404, "not_found")
      problem(request("POST", "/api/config/versions/" .. name .. "/rollback"), 404, "not_found")
    end
    problem(request("GET", "/api/config/diff?from=999"), 404, "not_found")
    problem(request("GET", "/api/config/diff?from=yesterday"), 400, "invalid")
    problem(request("GET", "/api/config/diff?from=9007199254740992"), 400, "invalid")
    problem(request("GET", "/api/config/versions?limit=1&cursor=9007199254740993"), 400, "invalid")
    problem(request("GET", "/api/config/versions?limit=0"), 400, "invalid")
    problem(request("POST", "/api/config/versions/1/rollback", { colour = 1 }), 400, "invalid")
  end))
end)
