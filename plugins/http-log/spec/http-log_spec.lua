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

  it("gives a batch up in the end, and says so", function()
    local gateway = start({ queue = { max_retry_time = 10 } }, "refuse")
    gateway:request {}
    gateway:flush()
    assert.equal("http-log", gateway:logs("queue.dropped")[1].plugin)
  end)
end)
