--- Batches of changes through the admin API of the real binary.
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local servers = require "support.server"
local uv = require "luv"

local JSON = "application/json"
local server, port

local function request(method, path, body, fields)
  local all = { Accept = JSON }
  if body then all["Content-Type"] = JSON end
  for name, value in pairs(fields or {}) do all[name] = value end
  if type(body) == "table" then body = cjson.encode(body) end
  local response = clients.request(port, method, path, all, body)
  if (response:get "content-type" or ""):find "json" and #response.body > 0 then
    response.json = cjson.decode(response.body)
  end
  return response
end

local function is(response, status)
  assert.equal(status, response.status, response.body:sub(1, 2000))
  return response.json
end

local function problem(response, status, code, pointer)
  local found = is(response, status)
  assert.equal("application/problem+json", response:get "content-type")
  assert.equal(code, found.code, response.body:sub(1, 2000))
  if pointer then assert.equal(pointer, found.errors[1].pointer) end
  return found
end

local function spec(body)
  return loop.spec(function()
    server = servers.start { conf = { pools = { { name = "filed" } } } }
    port = server.ports.admin
    is(request("POST", "/api/pools", { name = "web", backends = { { address = "127.0.0.1:1" } } }), 201)
    body()
    server:stop()
  end)
end

local function route(n) return { name = "r" .. n, host = n .. ".example.com", pool = "web" } end

local function adding(count)
  local operations = {}
  for n = 1, count do operations[n] = { action = "add", data = route(n) } end
  return operations
end

local function count_routes() return tonumber(request("GET", "/api/routes?limit=1"):get "x-total-count") end

local function version() return is(request("GET", "/api/config"), 200).version end

--- Awaits that a batch has ended.
local function ended(place)
  return children.eventually("the end of the batch", function()
    local response = request("GET", place)
    if response.status == 503 then return nil end
    local document = is(response, 200)
    return document.status ~= "pending" and document.status ~= "running" and document
  end)
end

describe("POST /api/bulk", function()
  it("applies operations on all kinds as one version", spec(function()
    local before = version()
    local result = request("POST", "/api/bulk", { operations = {
      { action = "add", kind = "tenants", data = { name = "acme", hosts = { "a.test" } } },
      { action = "add", kind = "pools", tenant_id = "acme", data = { name = "app" } },
      { action = "add", kind = "backends", tenant_id = "acme", pool = "app", data = { address = "127.0.0.1:2" } },
      { action = "add", kind = "backends", tenant_id = "acme", data = { pool = "app", address = "127.0.0.1:3" } },
      { action = "update", kind = "backends", tenant_id = "acme", pool = "app", id = "127.0.0.1:3",
        data = { weight = 7 } },
      { action = "delete", kind = "backends", tenant_id = "acme", pool = "app", id = "127.0.0.1:2" },
      { action = "add", kind = "routes", data = { tenant_id = "acme", name = "a", host = "a.test", pool = "app" } },
      { action = "patch", kind = "routes", tenant_id = "acme", id = "a", data = { priority = 4 } },
      { action = "add", kind = "consumers", data = { name = "ana" } },
      { action = "add", kind = "plugins", data = { name = "cors" } },
      { action = "update", kind = "plugins", id = "global:cors", data = { enabled = false } },
      { action = "update", kind = "backends", id = "127.0.0.1:1", data = { weight = 9 } },
      { action = "test", kind = "pools", data = { name = "never" } },
      { action = "test", kind = "pools", id = "web" },
    } })
    local document = is(result, 200)
    assert.same({ "completed", 14, 14, 0, before + 1 },
      { document.status, document.total, document.succeeded, document.failed, document.version })
    assert.same({ index = 0, action = "add", kind = "tenants", id = "acme", status = "ok" }, document.results[1])
    assert.equal(before + 1, version())
    assert.equal(tostring(before + 1), result:get "veloflux-version")
    local pool = is(request("GET", "/api/pools/app?tenant_id=acme"), 200)
    assert.same({ 1, "127.0.0.1:3", 7 }, { #pool.backends, pool.backends[1].address, pool.backends[1].weight })
    assert.equal(4, is(request("GET", "/api/routes/a?tenant_id=acme"), 200).priority)
    assert.is_false(is(request("GET", "/api/plugins/global:cors"), 200).enabled)
    assert.equal(9, is(request("GET", "/api/pools/web"), 200).backends[1].weight)
    assert.equal(404, request("GET", "/api/pools/never").status)
    assert.same(document.results, is(request("GET", "/api/bulk/operations/" .. document.operation_id), 200).results)
  end))

  it("takes back what was shown, and holds to if_match", spec(function()
    is(request("POST", "/api/routes", route(1)), 201)
    local shown = request("GET", "/api/routes/r1")
    local first = is(shown, 200).version
    local function update(if_match)
      local form = '{"operations":[{"action":"update","id":"r1","if_match":%d,"data":%s}]}'
      return request("POST", "/api/bulk/routes", form:format(if_match, shown.body))
    end
    is(update(first), 200)
    assert.equal(first, is(request("GET", "/api/routes/r1"), 200).version)
    assert.equal("stale", problem(update(first - 1), 409, "rolled_back").cause)
  end))

  it("leaves nothing of a batch in which one operation fails", spec(function()
    local before, operations = version(), adding(1000)
    operations[501].data.colour = "red"
    local refused = problem(request("POST", "/api/bulk/routes", { operations = operations }), 409, "rolled_back",
      "/operations/500/data/colour")
    assert.equal(500, refused.errors[1].index)
    local kept = is(request("GET", "/api/bulk/operations/" .. refused.operation_id), 200)
    assert.same({ "rolled_back", 1, "error" }, { kept.status, kept.failed, kept.results[501].status })
    assert.same({ "error", "rolled_back", 1000 },
      { refused.results[501].status, refused.results[500].status, #refused.results })
    operations[501].data.colour, operations[501].data.pool = nil, "nowhere"
    refused = problem(request("POST", "/api/bulk/routes", { operations = operations }), 409, "rolled_back",
      "/operations/500/data/pool")
    assert.equal(1, refused.failed)
    operations[501] = { action = "add", data = route(7) }
    problem(request("POST", "/api/bulk/routes", { operations = operations }), 409, "rolled_back")
    operations[501] = { action = "add", data = { name = "other", host = "7.example.com", pool = "web" } }
    assert.equal("conflict", problem(request("POST", "/api/bulk/routes", { operations = operations }), 409,
      "rolled_back").cause)
    assert.equal(0, count_routes())
    assert.equal(before, version())
    local owned = problem(request("POST", "/api/bulk/pools", { operations = {
      { action = "delete", id = "filed" } } }), 409, "rolled_back")
    assert.is_truthy(owned.source:find ":%d+$")
  end))

  it("applies what can be with atomic: false", spec(function()
    local operations = adding(600)
    operations[5].data.colour = nil
    operations[101] = { action = "add", data = { name = "lost", pool = "nowhere" } }
    operations[102] = { action = "delete", id = "nobody" }
    operations[103] = { action = "update", id = "r1", data = { priority = 3 } }
    local document = is(request("POST", "/api/bulk/routes", { operations = operations, atomic = false }), 207)
    assert.same({ "completed", 598, 2 }, { document.status, document.succeeded, document.failed })
    assert.same({ "error", "error", "ok" }, { document.results[101].status, document.results[102].status,
      document.results[103].status })
    assert.equal("not_found", document.results[102].code)
    assert.equal("/operations/100/data/pool", document.results[101].pointer)
    assert.equal(597, count_routes())
    assert.equal(3, is(request("GET", "/api/routes/r1"), 200).priority)
  end))

  it("only says what would change in a dry run", spec(function()
    local dry = is(request("POST", "/api/bulk/routes?dry_run=true", { operations = adding(3) }), 200)
    assert.same({ true, 3, 3, 3 }, { dry.dry_run, #dry.diff, dry.affected_count, dry.total })
    is(request("POST", "/api/bulk/routes", { operations = adding(3), dry_run = true }), 200)
    problem(request("POST", "/api/bulk/routes", { operations = adding(3), dry_run = true, atomic = false }), 400,
      "invalid", "/atomic")
    problem(request("POST", "/api/bulk/routes", { operations = { { action = "delete", id = "r" } }, dry_run = true }),
      409, "rolled_back")
    assert.equal(0, count_routes())
  end))

  it("refuses what is no batch", spec(function()
    local function refused(body, pointer, path)
      return problem(request("POST", path or "/api/bulk/routes", body), 400, "invalid", pointer)
    end
    refused('{"operations":[]}', "/operations")
    refused('{}', "/operations")
    refused('{"operations":{}}', "/operations")
    refused('{"operations":[1]}', "/operations/0")
    refused('{"operations":[{"action":"add","data":{}}],"colour":1}', "/colour")
    refused('{"operations":[{"action":"add","data":{}}],"atomic":"yes"}', "/atomic")
    refused({ operations = { { action = "paint" } } }, "/operations/0/action")
    local operation = { action = "add", colour = 1, ["a/b"] = 2,
      data = { name = "lenient", path = "/x", pool = "web" } }
    local body = { operations = { operation }, colour = 1, ["a/b"] = 2 }
    assert.equal("/colour", refused(body, "/a~1b").errors[2].pointer)
    body.colour, body["a/b"] = nil, nil
    assert.equal("/operations/0/colour", refused(body, "/operations/0/a~1b").errors[2].pointer)
    body.colour, operation.data.colour = 1, 1
    is(request("POST", "/api/bulk/routes", body, { Prefer = "handling=lenient" }), 200)
    is(request("DELETE", "/api/routes/lenient"), 204)
    refused({ operations = { { action = "add", kind = "pools", data = { name = "p" } } } }, "/operations/0/kind")
    refused({ operations = { { action = "add", data = { name = "p" } } } }, "/operations/0/kind", "/api/bulk")
    refused({ operations = { { action = "add", kind = "colours", data = { name = "p" } } } }, "/operations/0/kind",
      "/api/bulk")
    refused({ operations = { { action = "delete", id = "a" }, { action = "delete" } } }, "/operations/1/id")
    refused({ operations = { { action = "update", id = "a" } } }, "/operations/0/data")
    refused({ operations = { { action = "add", data = { name = 1 } } } }, "/operations/0/data/name")
    refused({ operations = { { action = "delete", id = "a", if_match = "x" } } }, "/operations/0/if_match")
    refused({ operations = { { action = "add", kind = "plugins", data = { name = "cors", pool = "web",
      route = "a" } } } }, nil, "/api/bulk")
    refused({ operations = { { action = "delete", kind = "plugins", id = "cors" } } }, "/operations/0/id", "/api/bulk")
    refused({ operations = { { action = "add", kind = "credentials", data = { type = "key-auth", key = "k" } } } },
      "/operations/0/consumer", "/api/bulk")
    refused('{"operations":[' .. ('{"action":"delete","id":"a"},'):rep(10000) .. '{"action":"delete","id":"a"}]}',
      "/operations")
    problem(request("POST", "/api/bulk", "[]", { ["Content-Type"] = "text/plain" }), 415, "unsupported_media_type")
    assert.equal(413, request("POST", "/api/bulk", '{"a":"' .. ("a"):rep(8 * 1024 * 1024) .. '"}').status)
    for _, id in ipairs { "abc", ("0"):rep(32) } do
      problem(request("GET", "/api/bulk/operations/" .. id), 404, "not_found")
      problem(request("DELETE", "/api/bulk/operations/" .. id), 404, "not_found")
    end
  end))

  it("takes elements of others: backends, credentials, instances of plugins", spec(function()
    local operations = {
      { action = "add", kind = "consumers", data = { name = "ana" } },
      { action = "add", kind = "credentials", consumer = "ana", data = { type = "key-auth", key = "first" } },
      { action = "add", kind = "credentials", data = { type = "key-auth", key = "second", consumer = "ana" } },
      { action = "add", kind = "backends", pool = "web", data = { address = "127.0.0.1:2" } },
      { action = "update", kind = "backends", pool = "web", id = "127.0.0.1:2", data = { weight = 7 } },
      { action = "delete", kind = "backends", pool = "web", id = "127.0.0.1:1" },
      { action = "add", kind = "backends", pool = "web", data = { address = "127.0.0.1:3" } },
      { action = "add", kind = "plugins", data = { name = "cors", pool = "web", config = { max_age = 60 } } },
      { action = "add", kind = "plugins", data = { name = "cors", as = "other", pool = "web" } },
      { action = "patch", kind = "plugins", id = "pool:default:web:cors", data = { enabled = false } },
      { action = "delete", kind = "plugins", id = "pool:default:web:cors:other" },
      { action = "add", kind = "plugins", data = { name = "cors", consumer = "ana" } },
    }
    local before = version()
    local document = is(request("POST", "/api/bulk", { operations = operations }), 200)
    assert.same({ 12, 12, before + 1 }, { document.total, document.succeeded, document.version })
    local pool = is(request("GET", "/api/pools/web"), 200)
    assert.same({ "127.0.0.1:2", 7 }, { pool.backends[1].address, pool.backends[1].weight })
    assert.equal("127.0.0.1:3", pool.backends[2].address)
    assert.same({ 1, "cors", false, 60 }, { #pool.plugins, pool.plugins[1].name, pool.plugins[1].enabled,
      pool.plugins[1].config.max_age })
    assert.equal("consumer:default:ana:cors", is(request("GET", "/api/plugins/consumer:default:ana:cors"), 200).id)
    local credentials = is(request("GET", "/api/consumers/ana/credentials"), 200)
    assert.equal(2, #credentials)
    is(request("POST", "/api/bulk", { operations = { { action = "delete", kind = "credentials", consumer = "ana",
      id = credentials[1].credential_id } } }), 200)
    assert.equal(1, #is(request("GET", "/api/consumers/ana/credentials"), 200))
  end))

  it("says which of those that go to one list is wrong", spec(function()
    local operations = {}
    for n = 1, 20 do operations[n] = { action = "add", pool = "web", data = { address = "127.0.0.1:" .. n + 100 } } end
    operations[13].data.weight = "heavy"
    problem(request("POST", "/api/bulk/backends", { operations = operations }), 409, "rolled_back",
      "/operations/12/data/weight")
    operations[13].data.weight = 3
    operations[17].data.address = "127.0.0.1:102"
    problem(request("POST", "/api/bulk/backends", { operations = operations }), 409, "rolled_back",
      "/operations/16/data/address")
    operations[17] = { action = "delete", pool = "web", id = "127.0.0.1:999" }
    assert.equal("not_found", problem(request("POST", "/api/bulk/backends", { operations = operations }), 409,
      "rolled_back", "/operations/16/data").cause)
  end))

  it("takes all other kinds that there are", spec(function()
    local operations = {
      { action = "add", kind = "tenants", data = { name = "acme", hosts = { "acme.example.com" } } },
      { action = "add", kind = "templates", data = { name = "t", entities = { pools = { { name = "p" } } } } },
      { action = "add", kind = "plugins", data = { name = "cors" } },
      { action = "add", kind = "plugins", tenant_id = "acme", data = { name = "cors" } },
      { action = "replace", kind = "plugins", id = "tenant:acme:cors", data = { enabled = false } },
      { action = "delete", kind = "plugins", id = "global:cors" },
    }
    is(request("POST", "/api/bulk", { operations = operations }), 200)
    assert.equal("t", is(request("GET", "/api/templates/t"), 200).name)
    assert.is_false(is(request("GET", "/api/plugins/tenant:acme:cors"), 200).enabled)
    local kinds = {}
    local paths = is(request("GET", "/api/openapi.json"), 200).paths
    local schema = paths["/api/bulk"].post.requestBody.content[JSON].schema.properties.operations.items
    for _, kind in ipairs(schema.properties.kind.enum) do kinds[kind] = true end
    for path in pairs(paths) do
      local kind = path:match "^/api/(%w+)$"
      local single = kind and paths[path].post and paths[path .. "/{id}"]
      if single and single.put then assert.is_true(kinds[kind], path) end
    end
  end))

  it("lists what there was", spec(function()
    assert.same({}, is(request("GET", "/api/bulk/operations"), 200))
    local first = is(request("POST", "/api/bulk/routes", { operations = adding(2) }), 200)
    local second = request("POST", "/api/bulk/routes", { operations = { { action = "delete", id = "r1" } } },
      { Prefer = "respond-async" })
    is(second, 202)
    ended(second:get "location")
    local response = request("GET", "/api/bulk/operations")
    local list = is(response, 200)
    assert.equal("2", response:get "x-total-count")
    local by_id = {}
    for _, document in ipairs(list) do by_id[document.operation_id] = document end
    assert.equal("completed", by_id[first.operation_id].status)
    assert.equal(2, by_id[first.operation_id].succeeded)
    assert.is_nil(by_id[first.operation_id].results)
    assert.equal("completed", by_id[second.json.operation_id].status)
    assert.equal("anonymous", list[1].author)
    assert.equal(1, #is(request("GET", "/api/bulk/operations?total=1"), 200))
    assert.equal(1, #is(request("GET", "/api/bulk/operations?limit=1&sort=total"), 200))
    problem(request("GET", "/api/bulk/operations?colour=red"), 400, "invalid")
    local victim = children.of(server.pid).control[1]
    local from = #server:log_lines() + 1
    assert(uv.kill(victim, "sigkill"))
    server:wait_log("control%.started", from)
    port = server.ports.admin
    children.eventually("the list", function()
      local ok, again = pcall(request, "GET", "/api/bulk/operations")
      return ok and again.status == 200 and #again.json == 2
    end)
  end))

  it("honours Idempotency-Key", spec(function()
    local key = { ["Idempotency-Key"] = "once" }
    local first = request("POST", "/api/bulk/routes", { operations = adding(2) }, key)
    is(first, 200)
    local second = request("POST", "/api/bulk/routes", { operations = adding(2) }, key)
    assert.same(first.json, is(second, 200))
    assert.equal("true", second:get "idempotency-replayed")
    problem(request("POST", "/api/bulk/routes", { operations = adding(3) }, key), 422, "key_reused")
    assert.equal(2, count_routes())
  end))
end)

describe("a batch that goes on after its answer", function()
  it("is what a client asked for", spec(function()
    local answer = request("POST", "/api/bulk/routes", { operations = adding(3) }, { Prefer = "respond-async" })
    is(answer, 202)
    assert.equal("respond-async", answer:get "preference-applied")
    local document = ended(answer:get "location")
    assert.same({ "completed", 3, 3 }, { document.status, document.done, document.succeeded })
    assert.is_truthy(document.ended_at)
    assert.equal(3, count_routes())
    problem(request("DELETE", answer:get "location"), 409, "conflict")
    local failing = request("POST", "/api/bulk/routes", { operations = adding(3) }, { Prefer = "respond-async" })
    document = ended((is(failing, 202) and failing:get "location"))
    assert.same({ "rolled_back", "error", 1 }, { document.status, document.results[1].status, document.failed })
  end))

  it("is large: 10,000 routes, one version", spec(function()
    local before = version()
    local answer = request("POST", "/api/bulk/routes", { operations = adding(10000) })
    is(answer, 202)
    local document = ended(answer:get "location")
    assert.same({ "completed", 10000, before + 1 }, { document.status, document.succeeded, document.version })
    assert.equal(10000, count_routes())
    assert.equal(before + 1, version())
  end))

  it("is cancelled", spec(function()
    local answer, cancelled
    for _ = 1, 5 do -- a machine may be so slow that it ends first
      answer = request("POST", "/api/bulk/routes", { operations = adding(4000), atomic = false })
      is(answer, 202)
      cancelled = request("DELETE", answer:get "location")
      if cancelled.status == 202 then break end
      assert.equal("completed", ended(answer:get "location").status)
      local all = {}
      for n = 1, 4000 do all[n] = { action = "delete", id = "r" .. n } end
      local gone = request("POST", "/api/bulk/routes", { operations = all })
      assert.equal("completed", ended((is(gone, 202) and gone:get "location")).status)
    end
    is(cancelled, 202)
    local document = ended(answer:get "location")
    assert.equal("cancelled", document.status)
    assert.is_true(document.succeeded < 4000)
    assert.equal(4000, #document.results)
    assert.equal(document.succeeded, count_routes())
  end))

  for _, is_atomic in ipairs { true, false } do
    it("tells what became of it when control is killed, atomic: " .. tostring(is_atomic), spec(function()
      local answer = request("POST", "/api/bulk/routes", { operations = adding(3000), atomic = is_atomic })
      is(answer, 202)
      local victim = children.of(server.pid).control[1]
      local from = #server:log_lines() + 1
      assert(uv.kill(victim, "sigkill"))
      server:wait_log("control%.exited.*pid=" .. victim, from)
      server:wait_log("control%.started", from)
      port = server.ports.admin
      local document = ended(answer:get "location")
      assert.equal(document.succeeded, count_routes())
      if is_atomic then
        assert.is_truthy(document.status == "interrupted" and document.succeeded == 0
          or document.status == "completed" and document.succeeded == 3000, document.status)
      else
        assert.is_truthy(document.status == "interrupted" or document.succeeded == 3000, document.status)
      end
      assert.equal(3000, #document.results)
    end))
  end
end)
