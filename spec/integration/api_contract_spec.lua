--- The contract of the admin API, one table over every resource of the real binary: what each takes, answers and
-- refuses.
local apis = require "support.api"
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local servers = require "support.server"

local null = cjson.null

-- Each resource: its collection, what makes one, a change of it, and what has to be there before.
--   id            the field that names one in paths
--   body(n)       the nth object to make
--   change        fields of a PUT, and the values that are there afterwards
--   wrong         a field and a value of the wrong type
--   required      fields without which there is none
--   filter(n)     a parameter that finds the nth alone
--   replaceable   PUT and PATCH are there
local POOL = { "/api/pools", { name = "base", backends = { { address = "127.0.0.1:1" } } } }
local CONSUMER = { "/api/consumers", { name = "ana" } }

local RESOURCES = {
  { path = "/api/pools", id = "id", replaceable = true, required = { "name" },
    body = function(n) return { name = "pool-" .. n, algorithm = "least_conn" } end,
    change = { algorithm = "random" }, reset = { algorithm = "round_robin" }, wrong = { algorithm = { "random" } },
    filter = function(n) return "name", "pool-" .. n end },
  { path = "/api/backends", id = "id", replaceable = true, required = { "address" }, before = { POOL }, there = 1,
    body = function(n) return { pool = "base", address = "127.0.0.1:" .. 1000 + n, weight = 5 } end,
    change = { weight = 7 }, reset = { weight = 100 }, wrong = { weight = "heavy" },
    filter = function(n) return "address", "127.0.0.1:" .. 1000 + n end },
  { path = "/api/pools/base/backends", single = "/api/backends/base", id = "address", replaceable = true,
    required = { "address" }, before = { POOL }, there = 1,
    body = function(n) return { address = "127.0.0.1:" .. 1000 + n, weight = 5 } end,
    change = { weight = 7 }, reset = { weight = 100 }, wrong = { weight = {} },
    filter = function(n) return "address", "127.0.0.1:" .. 1000 + n end },
  { path = "/api/routes", id = "id", replaceable = true, required = { "pool" }, before = { POOL },
    body = function(n) return { name = "route-" .. n, host = n .. ".example.com", pool = "base", priority = 1 } end,
    change = { priority = 2 }, reset = { priority = 0 }, wrong = { priority = "high" },
    filter = function(n) return "host", n .. ".example.com" end },
  { path = "/api/consumers", id = "id", replaceable = true, required = { "name" },
    body = function(n) return { name = "consumer-" .. n, groups = { "gold" } } end,
    change = { groups = { "silver" } }, reset = { groups = {} }, reset_body = { groups = null },
    wrong = { groups = "gold" },
    filter = function(n) return "name", "consumer-" .. n end },
  { path = "/api/consumers/ana/credentials", id = "credential_id", before = { CONSUMER }, required = { "type" },
    body = function(n) return { type = "key-auth", key = "secret-key-" .. n } end, wrong = { key = {} },
    secret = "key" },
  { path = "/api/plugins", id = "id", replaceable = true, required = { "name" }, before = { POOL },
    body = function(n) return { name = "cors", as = "cors-" .. n, pool = "base" } end,
    change = { enabled = false }, reset = { enabled = true }, wrong = { enabled = "maybe" },
    filter = function(n) return "as", "cors-" .. n end },
  { path = "/api/tenants", id = "id", replaceable = true, required = { "name" }, there = 1,
    body = function(n) return { name = "tenant-" .. n, active = true } end,
    change = { active = false }, reset = { active = true }, wrong = { active = "maybe" },
    filter = function(n) return "name", "tenant-" .. n end },
  { path = "/api/templates", id = "id", replaceable = true, required = { "name", "entities" },
    body = function(n)
      return { name = "template-" .. n, description = "of " .. n, entities = { pools = { { name = "made-" .. n } } } }
    end,
    change = { description = "changed" }, reset = { description = "" }, wrong = { description = { "x" } },
    filter = function(n) return "name", "template-" .. n end },
}
for _, resource in ipairs(RESOURCES) do -- the same under an older name
  if resource.path == "/api/templates" then
    local alias = {}
    for name, value in pairs(resource) do alias[name] = value end
    alias.path = "/api/config/templates"
    RESOURCES[#RESOURCES + 1] = alias
    break
  end
end
local ELSEWHERE = { ["/api/certificates"] = "api_certificates_spec.lua",
  ["/api/pools/{pool_name}/backends"] = "/api/pools/base/backends",
  ["/api/consumers/{consumer}/credentials"] = "/api/consumers/ana/credentials" }

local JSON = "application/json"
local server, port

local function escape(text)
  return (text:gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local request = apis.requester(function() return port end, { Accept = JSON }, true)
local is = apis.is

local function problem(response, status, code, pointer)
  assert.equal(status, response.status, response.body)
  assert.equal("application/problem+json", response:get "content-type")
  assert.equal(code, response.json.code, response.body)
  assert.equal(status, response.json.status)
  assert.equal(response.json.detail, response.json.error)
  for _, field in ipairs { "type", "title", "detail", "instance", "request_id" } do
    assert.equal("string", type(response.json[field]), field)
  end
  if pointer then
    local pointers = {}
    for _, found in ipairs(response.json.errors or {}) do pointers[#pointers + 1] = found.pointer end
    assert.is_truthy((" " .. table.concat(pointers, " ") .. " "):find(" " .. pointer .. " ", 1, true), response.body)
  end
  return response.json
end

local function with(body, changes)
  local all = {}
  for name, value in pairs(body) do all[name] = value end
  for name, value in pairs(changes) do all[name] = value end
  return all
end

local function single_of(resource, object)
  return (resource.single or resource.path) .. "/" .. escape(object[resource.id])
end

local function make(resource, n) return is(request("POST", resource.path, resource.body(n)), 201) end

local function start(resource, conf)
  server = servers.start { conf = conf or {} }
  port = server.ports.admin
  for _, before in ipairs(resource.before or {}) do is(request("POST", before[1], before[2]), 201) end
end

local function spec(resource, body)
  return loop.spec(function()
    start(resource)
    body()
    server:stop()
  end)
end

for _, resource in ipairs(RESOURCES) do
  describe("the admin API of " .. resource.path, function()
    it("creates, shows, lists and deletes", spec(resource, function()
      assert.same(resource.there or 0, #is(request("GET", resource.path), 200))
      local created = request("POST", resource.path, resource.body(1))
      is(created, 201)
      local object, path = created.json, single_of(resource, created.json)
      assert.is_truthy(tonumber(created:get "veloflux-version"))
      assert.equal(('"%d"'):format(object.version), created:get "etag")
      assert.equal("default", resource.path == "/api/tenants" and "default" or object.tenant_id)
      assert.is_truthy(object.created_at:match "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$")
      local read = request("GET", path)
      is(read, 200)
      assert.equal(created:get "etag", read:get "etag")
      assert.equal(object.id, read.json.id)
      is(request("GET", created:get "location"), 200)
      assert.equal(304, request("GET", path, nil, { ["If-None-Match"] = read:get "etag" }).status)
      local list = request("GET", resource.path)
      assert.equal((resource.there or 0) + 1, #is(list, 200))
      assert.equal(tostring(#list.json), list:get "x-total-count")
      if resource.secret then
        assert.equal(resource.body(1)[resource.secret], object[resource.secret])
        assert.equal("*****", read.json[resource.secret])
        assert.is_nil(list.body:find(resource.body(1)[resource.secret], 1, true))
      end
      local deleted = request("DELETE", path)
      is(deleted, 204)
      assert.is_truthy(tonumber(deleted:get "veloflux-version"))
      problem(request("GET", path), 404, "not_found")
      problem(request("DELETE", path), 404, "not_found")
    end))

    it("pages, sorts and filters", spec(resource, function()
      for n = 1, 5 do make(resource, n) end
      local whole = is(request("GET", resource.path), 200)
      local seen, path, pages = {}, resource.path .. "?limit=2", 0
      while path do
        local page = request("GET", path)
        for _, object in ipairs(is(page, 200)) do seen[#seen + 1] = object[resource.id] end
        assert.is_true(#page.json <= 2)
        assert.equal(tostring(#whole), page:get "x-total-count")
        path, pages = (page:get "link" or ""):match '^<(.-)>; rel="next"$', pages + 1
        assert.is_true(pages <= 5)
      end
      assert.equal(#whole, #seen)
      for i, object in ipairs(whole) do assert.equal(object[resource.id], seen[i]) end
      local last = is(request("GET", resource.path .. "?page=2&limit=4"), 200)
      assert.equal(#whole - 4, #last)
      local turned = is(request("GET", resource.path .. "?sort=-" .. resource.id), 200)
      local straight = is(request("GET", resource.path .. "?sort=" .. resource.id), 200)
      assert.equal(straight[1][resource.id], turned[#turned][resource.id])
      if resource.filter then
        local name, value = resource.filter(3)
        local found = request("GET", ("%s?%s=%s"):format(resource.path, name, escape(value)))
        assert.equal(1, #is(found, 200))
        assert.equal("1", found:get "x-total-count")
      end
      problem(request("GET", resource.path .. "?colour=red"), 400, "invalid")
      problem(request("GET", resource.path .. "?limit=501"), 400, "invalid")
      problem(request("GET", resource.path .. "?limit=0"), 400, "invalid")
      problem(request("GET", resource.path .. "?limit=2&cursor=abc"), 400, "invalid")
      problem(request("GET", resource.path .. "?sort=colour"), 400, "invalid")
      problem(request("GET", resource.path .. "?sort=%zz"), 400, "invalid")
    end))

    it("refuses bodies that are not right", spec(resource, function()
      local post = function(body, fields) return request("POST", resource.path, body, fields) end
      problem(post(with(resource.body(1), { colour = "red" })), 400, "invalid", "/colour")
      problem(post(with(resource.body(1), resource.wrong)), 400, "invalid", "/" .. next(resource.wrong))
      for _, name in ipairs(resource.required) do
        local body = resource.body(1)
        body[name] = nil
        local refused = post(body)
        assert.equal(400, refused.status, refused.body)
      end
      problem(post "[]", 400, "invalid")
      problem(post "", 400, "invalid")
      problem(post '{"name":', 400, "invalid")
      problem(post '{"name":"a","name":"b"}', 400, "invalid")
      problem(post '{"name":"\255"}', 400, "invalid")
      problem(post('{"name":' .. ("["):rep(2000) .. ("]"):rep(2000) .. "}"), 400, "invalid")
      problem(post(resource.body(1), { ["Content-Type"] = "text/plain" }), 415, "unsupported_media_type")
      problem(post(resource.body(1), { ["Content-Encoding"] = "br" }), 415, "unsupported_media_type")
      problem(post(resource.body(1), { Accept = "text/html" }), 406, "not_acceptable")
      assert.equal(413, post('{"name":"' .. ("a"):rep(2 * 1024 * 1024) .. '"}').status)
      problem(request("GET", resource.path, nil, { Accept = "image/png" }), 406, "not_acceptable")
      local wrong = request("PATCH", resource.path, {})
      problem(wrong, 405, "method_not_allowed")
      assert.is_truthy(wrong:get "allow":find "GET")
      assert.equal(resource.there or 0, #is(request("GET", resource.path), 200))
    end))

    it("only says what would change in a dry run", spec(resource, function()
      local dry = request("POST", resource.path .. "?dry_run=true", resource.body(1))
      is(dry, 200)
      assert.is_true(dry.json.dry_run)
      assert.equal(1, #dry.json.diff)
      assert.equal(resource.there or 0, #is(request("GET", resource.path), 200))
      local path = single_of(resource, make(resource, 1))
      dry = request("DELETE", path .. "?dry_run=true")
      assert.is_true(is(dry, 200).dry_run)
      is(request("GET", path), 200)
      problem(request("POST", resource.path .. "?dry_run=perhaps", resource.body(2)), 400, "invalid")
      problem(request("POST", resource.path .. "?dry_run=true", with(resource.body(2), { colour = 1 })), 400, "invalid")
    end))

    it("refuses what is there already", spec(resource, function()
      make(resource, 1)
      local again = request("POST", resource.path, resource.body(1))
      assert.is_truthy(again.status == 409 or resource.secret and again.status == 400, again.body)
      assert.equal("application/problem+json", again:get "content-type")
    end))

    it("honours Idempotency-Key", spec(resource, function()
      local key = { ["Idempotency-Key"] = "once-1" }
      local first = request("POST", resource.path, resource.body(1), key)
      is(first, 201)
      local second = request("POST", resource.path, resource.body(1), key)
      is(second, 201)
      assert.same(first.json, second.json)
      assert.equal(first:get "location", second:get "location")
      assert.equal("true", second:get "idempotency-replayed")
      assert.equal((resource.there or 0) + 1, #is(request("GET", resource.path), 200))
      problem(request("POST", resource.path, resource.body(2), key), 422, "key_reused")
      local long = { ["Idempotency-Key"] = ("x"):rep(256) }
      problem(request("POST", resource.path, resource.body(2), long), 400, "invalid")
    end))

    if resource.replaceable then
      it("changes, patches and replaces", spec(resource, function()
        local object = make(resource, 1)
        local path, field = single_of(resource, object), next(resource.change)
        local changed = request("PUT", path, resource.change)
        is(changed, 200)
        assert.same(resource.change[field], changed.json[field])
        assert.is_true(changed.json.version > object.version)
        assert.equal(('"%d"'):format(changed.json.version), changed:get "etag")
        for name, value in pairs(resource.body(1)) do
          if name ~= field then assert.same(value, changed.json[name], name) end
        end
        assert.same(resource.reset[field], is(request("PUT", path, { [field] = null }), 200)[field])
        assert.same(resource.change[field], is(request("PATCH", path, resource.change), 200)[field])
        assert.same(resource.reset[field], is(request("PATCH", path, { [field] = null }), 200)[field])
        is(request("PUT", path, resource.change), 200)
        local back = request("GET", path)
        is(back, 200)
        local same = request("PUT", path, back.body) -- what GET gave can be sent back
        is(same, 200)
        assert.equal(back.json.version, same.json.version)
        local whole = with(resource.body(1), {})
        whole[field] = nil
        assert.same(resource.reset[field], is(request("PUT", path .. "?mode=replace", whole), 200)[field])
        problem(request("PUT", path .. "?mode=other", resource.change), 400, "invalid")
        problem(request("PUT", path, with(resource.change, { colour = 1 })), 400, "invalid", "/colour")
        problem(request("PUT", path, resource.wrong), 400, "invalid", "/" .. next(resource.wrong))
        is(request("PATCH", path, resource.change, { ["Content-Type"] = JSON }), 200) -- a merge patch is JSON
        for _, media in ipairs { "application/json-patch+json", "text/plain", "application/vnd.x+json" } do
          problem(request("PATCH", path, resource.change, { ["Content-Type"] = media }), 415, "unsupported_media_type")
        end
        problem(request("PUT", path .. "x", resource.change), 404, "not_found")
        problem(request("POST", path, {}), 405, "method_not_allowed")
      end))

      it("honours If-Match", spec(resource, function()
        local object = make(resource, 1)
        local path = single_of(resource, object)
        local tag = ('"%d"'):format(object.version)
        is(request("PUT", path, resource.change, { ["If-Match"] = tag }), 200)
        problem(request("PUT", path, resource.reset, { ["If-Match"] = tag }), 412, "stale")
        problem(request("PATCH", path, resource.reset, { ["If-Match"] = tag }), 412, "stale")
        problem(request("DELETE", path, nil, { ["If-Match"] = tag }), 412, "stale")
        is(request("PUT", path, resource.reset_body or resource.reset, { ["If-Match"] = "*" }), 200)
        local current = request("GET", path):get "etag"
        is(request("DELETE", path, nil, { ["If-Match"] = '"1", ' .. current }), 204)
      end))

      it("takes unknown fields from those who ask to be lenient", spec(resource, function()
        local fields = { Prefer = "handling=lenient" }
        local made = request("POST", resource.path, with(resource.body(1), { colour = "red" }), fields)
        is(made, 201)
        assert.equal("handling=lenient", made:get "preference-applied")
        is(request("PUT", single_of(resource, made.json), with(resource.change, { colour = 1 }), fields), 200)
      end))
    end
  end)
end

describe("the admin API", function()
  it("has a row here for every resource that it declares", loop.spec(function()
    start {}
    local rows = {}
    for _, resource in ipairs(RESOURCES) do rows[resource.path] = true end
    for path, operations in pairs(is(request("GET", "/api/openapi.json"), 200).paths) do
      local created = operations.post and operations.post.responses["201"]
      local is_resource = created and operations.get and operations.post.responses["422"]
      if is_resource then assert.is_truthy(rows[path] or ELSEWHERE[path], path) end
    end
    server:stop()
  end))

  it("asks for authentication wherever a permission is needed", loop.spec(function()
    server = servers.start { conf = { admin = { address = "127.0.0.1:0", auth = { password = "correct horse" } } } }
    port = server.ports.admin
    local document, count = is(request("GET", "/api/openapi.json"), 200), 0
    for path, operations in pairs(document.paths) do
      for method, operation in pairs(operations) do
        if operation["x-permission"] and path ~= "/metrics" then -- open unless it is closed
          problem(request(method:upper(), (path:gsub("[{}]", ""))), 401, "unauthorized")
          count = count + 1
        end
      end
    end
    assert.is_true(count > 60)
    server:stop()
  end))

  it("has a default tenant that can be changed, and stays", loop.spec(function()
    start {}
    is(request("PUT", "/api/tenants/default", { active = false }), 200)
    assert.is_false(is(request("GET", "/api/tenants/default"), 200).active)
    is(request("PATCH", "/api/tenants/default", { active = true }), 200)
    assert.equal(1, #is(request("GET", "/api/tenants"), 200))
    server:stop()
  end))

  it("keeps what others refer to", loop.spec(function()
    start { before = { POOL } }
    is(request("POST", "/api/routes", { host = "a.example.com", pool = "base" }), 201)
    local refused = problem(request("DELETE", "/api/pools/base"), 409, "referenced")
    assert.is_truthy(refused.detail:find "base")
    problem(request("POST", "/api/routes", { host = "b.example.com", pool = "nowhere" }), 400, "invalid", "/pool")
    is(request("POST", "/api/tenants", { name = "acme", hosts = { "acme.example.com" } }), 201)
    is(request("POST", "/api/pools", { name = "theirs", tenant_id = "acme" }), 201)
    assert.equal(409, request("DELETE", "/api/tenants/acme").status)
    server:stop()
  end))

  it("names the rival of a route", loop.spec(function()
    start { before = { POOL } }
    local route = { host = "a.example.com", path_prefix = "/x", pool = "base" }
    local first = is(request("POST", "/api/routes", route), 201)
    local refused = problem(request("POST", "/api/routes", route), 409, "conflict")
    assert.is_truthy(refused.detail:find(first.id, 1, true))
    is(request("POST", "/api/routes", { host = "a.example.com", path_prefix = "/y", pool = "base" }), 201)
    problem(request("GET", "/api/routes/a.example.com"), 409, "conflict")
    server:stop()
  end))

  it("refuses changes of what stands in the conf file, and says where", loop.spec(function()
    start({}, { pools = { { name = "web", backends = { { address = "127.0.0.1:1" } } } },
      routes = { { name = "site", pool = "web" } } })
    local pool = request("GET", "/api/pools/web")
    assert.equal("file", is(pool, 200).origin)
    assert.is_truthy(pool.json.source:find ":%d+$")
    local refused = problem(request("PUT", "/api/pools/web", { algorithm = "random" }), 409, "owned")
    assert.is_truthy(refused.detail:find "veloflux%.yaml:%d+")
    problem(request("DELETE", "/api/routes/site"), 409, "owned")
    problem(request("POST", "/api/backends", { pool = "web", address = "127.0.0.1:2" }), 409, "owned")
    is(request("POST", "/api/pools", { name = "more" }), 201)
    is(request("POST", "/api/routes", { name = "also", host = "b.example.com", pool = "web" }), 201)
    server:stop()
  end))

  it("takes effect at once", loop.spec(function()
    start { before = { POOL } }
    is(request("POST", "/api/routes", { name = "hello", host = "*", respond = { status = 200, body = "hello" } }), 201)
    assert.equal("hello", clients.get(server.ports.http, "/").body)
    is(request("PUT", "/api/routes/hello", { respond = { status = 200, body = "changed" } }), 200)
    assert.equal("changed", clients.get(server.ports.http, "/").body)
    is(request("DELETE", "/api/routes/hello"), 204)
    assert.equal(404, clients.get(server.ports.http, "/").status)
    server:stop()
  end))

  it("shows live figures, and takes them back unread", loop.spec(function()
    start { before = { POOL } }
    is(request("POST", "/api/routes", { name = "all", host = "*", pool = "base" }), 201)
    clients.get(server.ports.http, "/")
    local pool = request("GET", "/api/pools/base")
    assert.equal(1, is(pool, 200).total_backends)
    assert.equal("base", pool.json.backends[1].pool)
    assert.equal("number", type(pool.json.requests))
    is(request("PUT", "/api/pools/base?mode=replace", pool.body), 200)
    assert.equal(1, #is(request("GET", "/api/backends?pool=base"), 200))
    problem(request("GET", "/api/pools/nowhere/backends"), 404, "not_found")
    server:stop()
  end))

  it("keeps a secret that comes back masked", loop.spec(function()
    start { before = { CONSUMER } }
    local path = "/api/consumers/ana"
    local made = is(request("POST", path .. "/credentials", { type = "key-auth" }), 201)
    assert.is_true(#made.key >= 40)
    local basic = { type = "basic-auth", username = "ana", password = "open sesame" }
    is(request("POST", path .. "/credentials", basic), 201)
    local consumer = request("GET", path)
    assert.is_nil(consumer.body:find("sesame", 1, true))
    is(request("PUT", path, (consumer.body:gsub('"groups":%[%]', '"groups":["gold"]'))), 200)
    assert.same({ "gold" }, is(request("GET", path), 200).groups)
    local list = is(request("GET", path .. "/credentials"), 200)
    assert.equal(2, #list)
    local found = false
    for _, credential in ipairs(list) do found = found or credential.credential_id == made.credential_id end
    assert.is_true(found) -- the id is that of the key: the key is the same
    server:stop()
  end))

  it("keeps tenants apart", loop.spec(function()
    start { before = { POOL } }
    is(request("POST", "/api/tenants", { name = "acme", hosts = { "acme.example.com" } }), 201)
    is(request("POST", "/api/pools", { name = "base", tenant_id = "acme" }), 201)
    local consumer = request("POST", "/api/consumers?tenant_id=acme", { name = "bob" })
    assert.equal("acme", is(consumer, 201).tenant_id)
    assert.equal("acme", is(request("GET", consumer:get "location"), 200).tenant_id)
    local key = request("POST", "/api/consumers/bob/credentials?tenant_id=acme", { type = "key-auth", key = "k-1" })
    is(key, 201)
    is(request("DELETE", key:get "location"), 204)
    problem(request("GET", "/api/consumers/bob"), 404, "not_found")
    assert.equal("acme", is(request("GET", "/api/pools/base?tenant_id=acme"), 200).tenant_id)
    assert.equal("default", is(request("GET", "/api/pools/base"), 200).tenant_id)
    assert.equal(2, #is(request("GET", "/api/pools"), 200))
    assert.equal(1, #is(request("GET", "/api/pools?tenant_id=acme"), 200))
    problem(request("PUT", "/api/pools/base", { tenant_id = "acme" }), 400, "invalid", "/tenant_id")
    is(request("DELETE", "/api/pools/base?tenant_id=acme"), 204)
    is(request("GET", "/api/pools/base"), 200)
    server:stop()
  end))

  it("has instances of plugins in every scope", loop.spec(function()
    start { before = { POOL, CONSUMER } }
    is(request("POST", "/api/tenants", { name = "acme", hosts = { "acme.example.com" } }), 201)
    is(request("POST", "/api/routes", { name = "site", pool = "base" }), 201)
    local made = {}
    for id, body in pairs {
      ["global:cors"] = { name = "cors" },
      ["global:cors:strict"] = { name = "cors", as = "strict" },
      ["tenant:acme:cors"] = { name = "cors", scope = "tenant", tenant_id = "acme" },
      ["pool:default:base:cors"] = { name = "cors", pool = "base" },
      ["route:default:site:cors"] = { name = "cors", scope = "route", route = "site" },
      ["consumer:default:ana:rate-limiting"] = { name = "rate-limiting", consumer = "ana", config = { minute = 5 } },
    } do
      local plugin = request("POST", "/api/plugins", body)
      assert.equal(id, is(plugin, 201).id)
      assert.equal(id:match "^%w+", plugin.json.scope)
      made[#made + 1] = id
    end
    assert.equal(#made, #is(request("GET", "/api/plugins"), 200))
    assert.equal(1, #is(request("GET", "/api/plugins?scope=route"), 200))
    for _, id in ipairs(made) do
      local path = "/api/plugins/" .. escape(id)
      assert.is_false(is(request("PATCH", path, { enabled = false }), 200).enabled)
      local config = id:find "rate" and { config = { minute = 7 } } or {}
      assert.is_true(is(request("PUT", path .. "?mode=replace", config), 200).enabled)
      problem(request("PUT", path, { scope = "tenants" }), 400, "invalid", "/scope")
      assert.equal(id, is(request("GET", "/api/plugins/" .. id), 200).id)
      is(request("DELETE", path), 204)
      problem(request("GET", path), 404, "not_found")
    end
    problem(request("POST", "/api/plugins", { name = "cors", pool = "base", route = "site" }), 400, "invalid")
    problem(request("POST", "/api/plugins", { name = "cors", scope = "tenant" }), 400, "invalid", "/tenant_id")
    problem(request("POST", "/api/plugins", { name = "cors", scope = "pool" }), 400, "invalid", "/pool")
    problem(request("POST", "/api/plugins", { name = "cors", pool = "nowhere" }), 404, "not_found")
    problem(request("POST", "/api/plugins", { name = "nonsense" }), 400, "invalid", "/name")
    local wrong = { name = "cors", config = { colour = 1 } }
    problem(request("POST", "/api/plugins", wrong), 400, "invalid", "/config/colour")
    server:stop()
  end))

  it("drains, disables and weighs at run time, through reloads", loop.spec(function()
    local origin = origins.start()
    start({}, { pools = { { name = "web", backends = { { address = "127.0.0.1:" .. origin.port } } } },
      routes = { { name = "site", host = "*", pool = "web" } } })
    local id = is(request("GET", "/api/backends"), 200)[1].id
    local function status() return clients.get(server.ports.http, "/").status end
    assert.equal(200, status())
    local drained = is(request("POST", "/api/backends/" .. id .. "/drain"), 200)
    assert.equal("draining", drained.status)
    assert.equal(503, status())
    assert.is_true(server:reload())
    assert.equal("draining", is(request("GET", "/api/backends/" .. id), 200).drain)
    assert.equal("none", is(request("POST", "/api/backends/" .. id .. "/undrain", {}), 200).drain)
    assert.equal(200, status())
    assert.equal("disabled", is(request("POST", "/api/pools/web/drain", { mode = "disable" }), 200).backends[1].drain)
    assert.equal(503, status())
    is(request("POST", "/api/pools/web/undrain"), 200)
    assert.equal(7, is(request("POST", "/api/backends/" .. id .. "/weight", { weight = 7 }), 200).effective_weight)
    assert.equal(100, is(request("POST", "/api/backends/" .. id .. "/weight", { weight = null }), 200).effective_weight)
    local tag = request("GET", "/api/backends/" .. id):get "etag"
    for action, body in pairs { weight = { weight = 5 }, drain = {}, undrain = {} } do
      local path = ("/api/backends/%s/%s?dry_run=true"):format(id, action)
      problem(request("POST", path, body, { ["If-Match"] = '"0"' }), 412, "stale")
      is(request("POST", path, body, { ["If-Match"] = tag }), 200)
    end
    problem(request("POST", "/api/pools/web/drain", {}, { ["If-Match"] = '"0"' }), 412, "stale")
    problem(request("POST", "/api/backends/" .. id .. "/weight", { weight = "much" }), 400, "invalid", "/weight")
    problem(request("POST", "/api/backends/" .. id .. "/drain", { mode = "slowly" }), 400, "invalid", "/mode")
    problem(request("POST", "/api/backends/" .. id .. "/drain", { colour = 1 }), 400, "invalid", "/colour")
    problem(request("POST", "/api/backends/0123456789abcdef/drain"), 404, "not_found")
    problem(request("POST", "/api/pools/nowhere/drain"), 404, "not_found")
    server:stop()
  end))

  it("answers 304, schemas, plugins and listeners", loop.spec(function()
    start {}
    for _, kind in ipairs { "pools", "backends", "routes", "consumers", "credentials", "plugins", "tenants" } do
      local schema = request("GET", "/api/schemas/" .. kind)
      assert.equal("application/schema+json", schema:get "content-type")
      assert.equal("object", is(schema, 200).type)
    end
    problem(request("GET", "/api/schemas/colours"), 404, "not_found")
    local plugins = is(request("GET", "/api/plugins/available"), 200)
    assert.is_true(#plugins >= 5)
    assert.equal("object", plugins[1].config_schema.type)
    assert.equal("http", is(request("GET", "/api/listeners"), 200)[1].name)
    server:stop()
  end))
end)
