local cjson = require "cjson"
local kit = require "veloflux.kit"

local function start(config, log_server)
  config.http_endpoint = "http://logs.test:9000/in"
  return kit.start { config = config, hosts = { ["logs.test:9000"] = log_server or function() return 200 end } }
end

describe("http-log", function()
  it("sends what is known of exchanges, in batches, in the background", function()
    local gateway = start { queue = { max_batch_size = 10, max_coalescing_delay = 5 }, headers = { ["X-Token"] = "t" } }
    for i = 1, 3 do assert.equal(0, gateway:request({ path = "/" .. i }).elapsed) end
    assert.same({}, gateway:upstream_requests "logs.test")
    gateway:flush()
    local sent = gateway:upstream_requests "logs.test"
    assert.equal(1, #sent)
    assert.same({ "POST", "/in", "t" }, { sent[1].method, sent[1].path, sent[1].headers["x-token"] })
    local entries = cjson.decode(sent[1].body)
    assert.equal(3, #entries)
    assert.same({ "/2", 200 }, { entries[2].request.uri, entries[2].response.status })
  end)

  it("sends a batch again until the server takes it", function()
    local tries = 0
    local gateway = start({}, function()
      tries = tries + 1
      return tries < 3 and 503 or 200
    end)
    gateway:request {}
    gateway:flush()
    assert.equal(3, tries)
    assert.same({}, gateway:logs "queue.dropped")
  end)

  it("sets members that Lua makes", function()
    local gateway = start { custom_fields_by_lua = { ["request.headers.cookie"] = "return nil",
      team = 'return kong.request.get_header "x-team"', ["a.b"] = "return { pdk.response.get_status() }",
      bad = "local x\nx()" }, custom_fields = { same = "{{ team }}" } }
    gateway:request { headers = { Cookie = "a=b", ["X-Team"] = "blue" } }
    gateway:flush()
    local entry = cjson.decode(gateway:upstream_requests("logs.test")[1].body)
    assert.same({ "blue", "blue", { 200 } }, { entry.team, entry.same, entry.a.b })
    assert.is_nil(entry.request.headers.cookie)
    assert.is_nil(entry.bad)
    assert.matches("^custom_fields_by_lua%.bad: custom_fields_by_lua%.bad:2: ", gateway:logs("plugin.log")[1].message)
  end)

  it("knows Kong's older names of its fields", function()
    local gateway = start { queue_size = 2, flush_timeout = 100, retry_count = 3 }
    for _ = 1, 2 do gateway:request {} end
    gateway:settle()
    assert.equal(2, #cjson.decode(gateway:upstream_requests("logs.test")[1].body))
    assert.same({}, kit.validate { http_endpoint = "https://logs.test/in" })
  end)

  it("gives a batch up in the end, and says so", function()
    local gateway = start({ queue = { max_retry_time = 10 } }, "refuse")
    gateway:request {}
    gateway:flush()
    assert.equal("http-log", gateway:logs("queue.dropped")[1].plugin)
  end)
end)
