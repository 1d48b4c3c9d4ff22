--- The plugin response-transformer in a running server.
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local plugins = require "support.plugins"

--- Runs a spec with a server whose origin answers with {status, fields, body}, which
-- run(rig, answer) is given and may change.
local function spec_of(config, run, options)
  return loop.spec(function()
    local answer = {}
    options = options or {}
    options.origin = function(conn, request)
      local fields = { ("HTTP/1.1 %d X"):format(answer.status or 200) }
      for _, field in ipairs(answer.fields or {}) do fields[#fields + 1] = field end
      fields[#fields + 1] = "Content-Length: " .. #(answer.body or "")
      conn:write(table.concat(fields, "\r\n") .. "\r\n\r\n" .. (request.method ~= "HEAD" and answer.body or ""))
    end
    local rig = plugins.shipped({ { name = "response-transformer", config = config } }, options)
    run(rig, answer)
    rig.server:stop()
  end)
end

local function values_of(answer, name)
  local values = {}
  for _, field in ipairs(answer.fields) do
    if field.name:lower() == name then values[#values + 1] = field.value end
  end
  return values
end

local JSON = { "Content-Type: application/json" }

describe("response-transformer", function()
  it("changes header fields, in its order", spec_of({
    remove = { headers = { "X-Secret" } }, rename = { headers = { "X-Old:X-New", "X-None:X-Not" } },
    replace = { headers = { "X-Present:new", "X-Absent:new" } },
    add = { headers = { "X-Present:added", "X-Added:a:b", "X-Secret:ours" } }, append = { headers = { "X-Many:two" } },
  }, function(rig, answer)
    answer.fields = { "x-secret: 1", "X-Secret: 2", "X-Old: 1", "X-Old: 2", "X-New: 3", "X-Present: 1", "X-Present: 2",
      "X-Many: one" }
    local got = clients.get(rig.port, "/")
    assert.same({ "ours" }, values_of(got, "x-secret"))
    assert.same({ "1", "2" }, values_of(got, "x-new"))
    assert.same({}, values_of(got, "x-old"))
    assert.same({}, values_of(got, "x-not"))
    assert.same({ "new" }, values_of(got, "x-present"))
    assert.same({}, values_of(got, "x-absent"))
    assert.same({ "a:b" }, values_of(got, "x-added"))
    assert.same({ "one", "two" }, values_of(got, "x-many"))
    assert.equal("0", got:get "content-length")
  end))

  it("changes JSON objects", spec_of({
    remove = { json = { "secret" } }, rename = { json = { "old:new" } },
    replace = { json = { "r:true", "none:1" }, json_types = { "boolean" } },
    add = { json = { "n:-1.5", "t:x:y", "keep:no" }, json_types = { "number" } },
    append = { json = { "list:2", "fresh:a" }, json_types = { "number" } },
  }, function(rig, answer)
    answer.fields = { "Content-Type: Application/Problem+JSON; charset=utf-8", 'ETag: "x"', "Content-MD5: x" }
    answer.body = '{"secret":{"a":1},"old":null,"r":1,"keep":12345678901234567,"list":1}'
    local got = clients.get(rig.port, "/")
    assert.same({ new = cjson.null, r = true, n = -1.5, t = "x:y", keep = 12345678901234567, list = { 1, 2 },
      fresh = { "a" } }, cjson.decode(got.body))
    assert.matches('"keep":12345678901234567[,}]', got.body)
    assert.equal('W/"x"', got:get "etag")
    assert.is_nil(got:get "content-md5")
    got = clients.request(rig.port, "HEAD", "/")
    assert.equal(200, got.status)
  end))

  it("leaves alone what is no JSON object", spec_of({ remove = { json = { "a" } } }, function(rig, answer)
    for _, case in ipairs { { '{"a":1' }, { '{"a":1,"a":2}' }, { '[{"a":1}]' }, { "5" }, { "" }, { '{"a":"\255"}' },
      { (("["):rep(5000)) }, { '{"a":1}', "Content-Type: text/plain" }, { '{"a":1}', "Content-Encoding: gzip" } } do
      answer.fields, answer.body = { case[2] or JSON[1] }, case[1]
      if case[2] and case[2]:find "Encoding" then answer.fields[2] = JSON[1] end
      assert.equal(case[1], clients.get(rig.port, "/").body)
    end
    answer.status, answer.fields, answer.body = 206, JSON, '{"a":1}'
    assert.equal('{"a":1}', clients.get(rig.port, "/").body)
    answer.status = 200
    assert.equal("{}", clients.get(rig.port, "/").body)
  end))

  it("lets an answer through that is too large, and says so", spec_of({ remove = { json = { "a" } } },
    function(rig, answer)
      answer.fields, answer.body = JSON, '{"a":"' .. ("x"):rep(100000) .. '"}'
      assert.equal(answer.body, clients.get(rig.port, "/").body)
      rig.server:wait_log "plugin%.log.*plugin=response%-transformer.*left as it is: the response body is larger"
    end, { conf = { plugin_limits = { body = "20k" } } }))

  it("can be for some statuses only", spec_of({
    add = { headers = { "X-A:1" }, json = { "a:1" } }, if_status = { "404", "5xx", "201-203" },
  }, function(rig, answer)
    answer.fields, answer.body = JSON, "{}"
    for status, is_changed in pairs { [200] = false, [201] = true, [203] = true, [404] = true, [405] = false,
      [500] = true, [599] = true } do
      answer.status = status
      local got = clients.get(rig.port, "/")
      assert.equal(is_changed and "1" or nil, got:get "x-a")
      assert.equal(is_changed and '{"a":"1"}' or "{}", got.body)
    end
  end))

  it("changes answers of plugins and of VeloFlux too", loop.spec(function()
    local rig = plugins.start({ stop = { handler = [[
      function Plugin:access() return pdk.response.exit(403, { secret = 1, b = 2 }) end]] } }, { plugins = {
      { name = "stop" }, { name = "response-transformer", config = { remove = { json = { "secret" } },
        add = { headers = { "X-A:1" } } } } } })
    local got = clients.get(rig.port, "/")
    assert.same({ b = 2 }, cjson.decode(got.body))
    assert.equal("1", got:get "x-a")
    rig.server:stop()
  end))

  it("keeps Content-Length and streams when only header fields change", spec_of({ add = { headers = { "X-A:1" } } },
    function(rig, answer)
      answer.fields, answer.body = JSON, '{"a":1}'
      local got = clients.get(rig.port, "/")
      assert.equal("7", got:get "content-length")
      plugins.change(rig, { { name = "response-transformer", config = { add = { json = { "b:1" } } } } })
      got = clients.get(rig.port, "/")
      assert.is_nil(got:get "content-length")
      assert.same({ a = 1, b = "1" }, cjson.decode(got.body))
    end))

  it("stands many fields", spec_of({ remove = { headers = { "x-a" } }, add = { headers = { "X-B:1" } } },
    function(rig, answer)
      answer.fields = {}
      for i = 1, 90 do answer.fields[i] = ("X-A: %d"):format(i) end
      local got = clients.get(rig.port, "/")
      assert.same({}, values_of(got, "x-a"))
      assert.same({ "1" }, values_of(got, "x-b"))
    end))

  it("refuses configurations that cannot work", loop.spec(function()
    for expected, config in pairs {
      ["add%.headers%[0%]: expected NAME:VALUE"] = { add = { headers = { "x" } } },
      ["append%.headers%[0%]: has characters"] = { append = { headers = { "x:a\r\nb: c" } } },
      ["rename%.headers%[0%]: expected the name of a header field"] = { rename = { headers = { "x:" } } },
      ["add%.json: x is no number"] = { add = { json = { "a:x" }, json_types = { "number" } } },
      ["replace%.json: 1 is no boolean"] = { replace = { json = { "a:1" }, json_types = { "boolean" } } },
      ["append%.json_types: has more types"] = { append = { json_types = { "string" } } },
      ["if_status%[0%]: expected a status"] = { if_status = { "2x" } },
      ["if_status%[0%]: expected a status like"] = { if_status = { "500-200" } },
    } do
      assert.matches(expected, (plugins.problems { name = "response-transformer", config = config }))
    end
  end))
end)
