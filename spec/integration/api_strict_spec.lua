--- Bodies of the admin API are strict: a value of another JSON type is refused with a pointer to it, also where a
-- plugin says what may stand there; what the conf file is forgiven stays forgiven there.
local apis = require "support.api"
local loop = require "support.loop"
local servers = require "support.server"

local server

local request = apis.requester(function() return server.ports.admin end, nil, true)
local is, problem = apis.is, apis.problem

local function spec(conf, body)
  return loop.spec(function()
    server = servers.start { conf = conf, env = { LIMIT = "7", FAULT = "false" } }
    body()
    server:stop()
  end)
end

local function limit(config) return { name = "rate-limiting", config = config } end

describe("the configuration of a plugin", function()
  it("is judged by the JSON types of its values", spec({}, function()
    is(request("POST", "/api/pools", { name = "web" }), 201)
    for pointer, config in pairs { minute = { minute = "5" }, fault_tolerant = { minute = 5, fault_tolerant = "true" },
      header_name = { minute = 5, limit_by = "header", header_name = 1 } } do
      problem(request("POST", "/api/plugins", limit(config)), 400, "invalid", "/config/" .. pointer)
      local pool = { name = "other", plugins = { limit(config) } }
      problem(request("POST", "/api/pools", pool), 400, "invalid", "/plugins/0/config/" .. pointer)
      local batch = { operations = { { action = "add", kind = "plugins", data = limit(config) } } }
      problem(request("POST", "/api/bulk", batch), 400, "invalid", "/operations/0/data/config/" .. pointer)
    end
    local path = "/api/plugins/" .. is(request("POST", "/api/plugins", limit { minute = 5 }), 201).id
    problem(request("PUT", path, { config = { minute = "5" } }), 400, "invalid", "/config/minute")
    problem(request("PATCH", path, { config = { minute = "5" } }), 400, "invalid", "/config/minute")
    is(request("PATCH", path, { config = { minute = 6 } }), 200)
  end))

  it("may stand as a text, with variables, in the conf file and in documents", spec({
    plugins = { limit { minute = "${LIMIT}", fault_tolerant = "${FAULT}" } } }, function()
      local plugin = is(request("GET", "/api/plugins"), 200)[1]
      assert.same({ 7, false }, { plugin.config.minute, plugin.config.fault_tolerant })
      local document = "plugins:\n- {name: rate-limiting, as: other, config: {minute: '8'}}\n"
      is(request("POST", "/api/config/import", document, { ["Content-Type"] = "application/yaml" }), 200)
    end))

  it("of a credential is judged alike", spec({}, function()
    is(request("POST", "/api/consumers", { name = "ann" }), 201)
    problem(request("POST", "/api/consumers/ann/credentials", { type = "key-auth", key = 12345678 }), 400, "invalid",
      "/key")
    local consumer = { name = "bob", credentials = { { type = "key-auth", key = true } } }
    problem(request("POST", "/api/consumers", consumer), 400, "invalid", "/credentials/0/key")
  end))
end)

describe("fields that nobody knows", function()
  it("are refused as null too, which a merge would forget", spec({}, function()
    is(request("POST", "/api/pools", { name = "web" }), 201)
    is(request("POST", "/api/consumers", { name = "ann" }), 201)
    local id = is(request("POST", "/api/plugins", { name = "cors" }), 201).id
    for _, row in ipairs { { "PUT", "/api/pools/web", '{"colour":null}', "/colour" },
      { "PATCH", "/api/pools/web", '{"colour":null}', "/colour" },
      { "PATCH", "/api/pools/web", '{"health_check":{"colour":null}}', "/health_check/colour" },
      { "POST", "/api/pools", '{"name":"other","colour":null}', "/colour" },
      { "POST", "/api/consumers/ann/credentials", '{"type":"key-auth","colour":null}', "/colour" },
      { "POST", "/api/plugins", '{"name":"cors","as":"b","colour":null}', "/colour" },
      { "PATCH", "/api/plugins/" .. id, '{"config":{"colour":null}}', "/config/colour" } } do
      problem(request(row[1], row[2], row[3]), 400, "invalid", row[4])
      local answer = request(row[1], row[2], row[3], { Prefer = "handling=lenient" })
      assert.is_true(answer.status == 200 or answer.status == 201, row[3] .. answer.body)
    end
    is(request("POST", "/api/pools", '{"name":"third","algorithm":null,"tenant":null,"id":null}'), 201)
    is(request("POST", "/api/plugins", '{"name":"cors","as":"c","scope":null,"config":null}'), 201)
    is(request("PUT", "/api/plugins/" .. id, '{"config":null,"order":null}'), 200)
  end))

  it("are forgotten everywhere when the client prefers it", spec({}, function()
    is(request("POST", "/api/templates", { name = "plan", entities = { pools = { { name = "made" } } } }), 201)
    is(request("POST", "/api/pools", { name = "web", backends = { { address = "127.0.0.1:1" } } }), 201)
    local id = is(request("GET", "/api/backends"), 200)[1].id
    for path, body in pairs { ["/api/backends/" .. id .. "/drain"] = {}, ["/api/backends/" .. id .. "/undrain"] = {},
      ["/api/backends/" .. id .. "/weight"] = { weight = 5 }, ["/api/pools/web/drain"] = {},
      ["/api/config/templates/plan/apply?dry_run=true"] = {},
      ["/api/ws/control"] = { action = "resume", type = "all" }, ["/api/ws/force-update"] = { type = "all" },
      ["/api/system/drain?dry_run=true"] = {}, ["/api/keys/rotate?dry_run=true"] = {},
      ["/api/apikeys?dry_run=true"] = { name = "ann" }, ["/api/backups?dry_run=true"] = {} } do
      body.colour = "red"
      problem(request("POST", path, body), 400, "invalid", "/colour")
      is(request("POST", path, body, { Prefer = "handling=lenient" }), 200)
    end
  end))
end)
