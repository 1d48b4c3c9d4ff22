--- The examples of docs/plugins/phases.md, in the real binary.
local cjson = require "cjson"
local uv = require "luv"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local plugins = require "support.plugins"

local FOLDER = uv.cwd() .. "/docs/plugins/examples"

--- Runs a spec with one example on the route. `config` may be a function that gives one.
local function example(name, config, run, options)
  return loop.spec(function()
    options = options or {}
    local given = type(config) == "function" and config() or config
    local rig = plugins.start({}, { origin = options.origin, plugins = { { name = name, config = given } },
      conf = { plugin_path = { FOLDER } } })
    run(rig)
    rig.server:stop()
  end)
end

local function answering(fields, body)
  return function(conn, request) conn:write(origins.response(200, fields, body, request.method)) end
end

describe("the example", function()
  it("served-by names the process (init_worker)", example("served-by", { header = "X-By" }, function(rig)
    local by = clients.get(rig.port, "/"):get "x-by"
    assert.matches("^.+/%d+$", by)
    local _, ready = rig.server:wait_log "plugin%.log.*message=\"?ready as ([^\"]+)"
    assert.equal(ready, by)
  end))

  it("blocked-agents refuses clients (configure)", example("blocked-agents", { agents = { "BadBot" } }, function(rig)
    local refused = clients.get(rig.port, "/", { ["User-Agent"] = "badbot/1.0 (x)" })
    assert.equal(403, refused.status)
    assert.equal("not for badbot/1.0 (x)", cjson.decode(refused.body).message)
    assert.equal(200, clients.get(rig.port, "/", { ["User-Agent"] = "curl/8" }).status)
    rig.conf.routes[1].plugins[1].config.agents = { "curl" }
    rig.server:write_conf(rig.conf)
    assert.is_true(rig.server:reload())
    assert.equal(403, clients.get(rig.port, "/", { ["User-Agent"] = "curl/8" }).status)
    assert.equal(200, clients.get(rig.port, "/", { ["User-Agent"] = "badbot/1.0" }).status)
  end))

  it("ask-certificate does without TLS as on any plain connection (certificate)", example("ask-certificate", {},
    function(rig)
      assert.equal("none", plugins.field(clients.get(rig.port, "/"), "X-Client-Certificate"))
    end))

  it("api-version takes the version out of the path (rewrite)", example("api-version", {}, function(rig)
    local answer = clients.get(rig.port, "/v2/orders?a=1")
    assert.equal("/orders?a=1", plugins.seen(answer).target)
    assert.equal("2", plugins.field(answer, "X-Api-Version"))
    answer = clients.get(rig.port, "/orders")
    assert.equal("/orders", plugins.seen(answer).target)
    assert.equal("1", plugins.field(answer, "X-Api-Version"))
  end))

  it("maintenance answers itself (access)", example("maintenance", { retry_after = "2m", key = "let me in" },
    function(rig)
      local answer = clients.get(rig.port, "/")
      assert.equal(503, answer.status)
      assert.equal("120", answer:get "retry-after")
      assert.equal("Back soon.", cjson.decode(answer.body).message)
      assert.equal(503, clients.get(rig.port, "/", { ["X-Maintenance-Key"] = "let me" }).status)
      assert.equal(0, #rig.origin.requests)
      answer = clients.get(rig.port, "/", { ["X-Maintenance-Key"] = "let me in" })
      assert.equal(200, answer.status)
      assert.is_nil(plugins.field(answer, "X-Maintenance-Key"))
    end))

  local tester
  it("pinned-target chooses where to (balancer)", example("pinned-target", function()
    tester = origins.start(answering({}, "for testers"))
    return { target = tester.address }
  end, function(rig)
    assert.equal("for testers", clients.get(rig.port, "/", { ["X-Tester"] = "yes" }).body)
    assert.equal("/", plugins.seen(clients.get(rig.port, "/")).target)
    assert.equal(1, #tester.requests)
  end))

  it("security-headers edits the answer's head (header_filter)", example("security-headers",
    { remove = { "X-Powered-By", "Server" } }, function(rig)
      local answer = clients.get(rig.port, "/")
      assert.equal("nosniff", answer:get "x-content-type-options")
      assert.equal("no-referrer", answer:get "referrer-policy")
      assert.is_nil(answer:get "x-powered-by")
    end, { origin = answering({ ["X-Powered-By"] = "ancient" }, "x") }))

  it("mask-numbers changes the content (body_filter)", example("mask-numbers", {}, function(rig)
    rig.origin.handler = function(conn)
      conn:write "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
      conn:write "b\r\ncard 411111\r\nf\r\n1111111111 1234\r\n"
      conn:write "0\r\n\r\n"
    end
    assert.equal("card ************1111 1234", clients.get(rig.port, "/").body)
    rig.origin.handler = answering({ ["Content-Type"] = "image/png" }, "4111111111111111")
    assert.equal("4111111111111111", clients.get(rig.port, "/").body)
  end))

  it("slow-requests logs them (log)", example("slow-requests", { longer_than = "0s" }, function(rig)
    assert.equal(200, clients.get(rig.port, "/slow?a=1").status)
    local _, line = rig.server:wait_log "(slow%.request.*)"
    assert.matches("method=GET", line)
    assert.matches("status=200", line)
    assert.matches("uri=\"?/slow%?a=1", line)
  end))

  local flags, answer_of_flags
  it("feature-flags asks in the background (timers)", example("feature-flags", function()
    answer_of_flags = '{"beta": true, "old": false, "amber": true}'
    flags = origins.start(function(conn, request) answering({}, answer_of_flags)(conn, request) end)
    return { url = "http://" .. flags.address .. "/flags", interval = "20ms" }
  end, function(rig)
    local function await(wanted)
      for _ = 1, 10000 do -- each turn waits for the next request of the timer
        if plugins.field(clients.get(rig.port, "/"), "X-Flags") == wanted then return end
        flags:wait_requests(#flags.requests + 1)
      end
      error("no flags " .. wanted)
    end
    await "amber,beta"
    answer_of_flags = '{"beta": true}'
    await "beta"
    answer_of_flags = "what?"
    rig.server:wait_log "the flags stay as they are"
    assert.equal("beta", plugins.field(clients.get(rig.port, "/"), "X-Flags"))
  end))
end)
