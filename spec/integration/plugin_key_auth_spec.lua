--- key-auth, and what all plugins share that authenticate: header fields for the backend, consumers for anonymous
-- requests, alternatives.
local clients = require "support.client"
local loop = require "support.loop"
local plugins = require "support.plugins"

local CONSUMERS = {
  { name = "ana", custom_id = "a7", groups = { "gold", "staff" }, credentials = {
    { type = "key-auth", key = "ana-key" }, { type = "key-auth", key = "second-key", id = "laptop" },
    { type = "basic-auth", username = "ana", password = "sesame" } } },
  { name = "ben", groups = { "silver" }, credentials = { { type = "key-auth", key = "ben-key" } } },
  { name = "guest" },
  { name = "eve", tenant = "acme", credentials = { { type = "key-auth", key = "eve-key" } } },
}

local TOLD = { "X-Consumer-ID", "X-Consumer-Custom-ID", "X-Consumer-Username", "X-Credential-Identifier",
  "X-Anonymous-Consumer", "X-Consumer-Groups", "X-Authenticated-Groups" }

local function spec_of(list, run, conf)
  return loop.spec(function()
    local all = { consumers = CONSUMERS, tenants = { { name = "acme", hosts = { "acme.test" } } } }
    for name, value in pairs(conf or {}) do all[name] = value end
    local rig = plugins.start({}, { plugins = list, conf = all })
    run(rig)
    rig.server:stop()
  end)
end

local function get(rig, path, fields) return clients.get(rig.port, path, fields) end

local function told(answer)
  local list = {}
  for i, name in ipairs(TOLD) do list[i] = plugins.field(answer, name) or "-" end
  return table.concat(list, " ")
end

local function forged(fields)
  local all = {}
  for _, name in ipairs(TOLD) do
    all[#all + 1] = { name, "admin" }
    all[#all + 1] = { name:lower():gsub("-", "_"), "admin" }
  end
  for name, value in pairs(fields or {}) do all[#all + 1] = { name, value } end
  return all
end

local function count_forged(answer)
  local count = 0
  for _, pair in ipairs(plugins.seen(answer).fields) do
    if pair[2] == "admin" then count = count + 1 end
  end
  return count
end

describe("key-auth", function()
  it("lets those pass who know a key, in header or query", spec_of({ { name = "key-auth" } }, function(rig)
    local answer = get(rig, "/", { apikey = "ana-key" })
    assert.equal(200, answer.status)
    assert.matches("^ana a7 ana %x+ %- %- %-$", told(answer))
    assert.equal(16, #plugins.field(answer, "X-Credential-Identifier"))
    assert.equal("ana a7 ana laptop - - -", told(get(rig, "/?apikey=second-key")))
    assert.matches("^ben %- ben ", told(get(rig, "/?a=1&%61pikey=ben%2Dkey&b=2")))
    assert.equal("ana-key", plugins.field(answer, "apikey"))
    local lines = rig.server:wait_access_log(3)
    assert.equal("ana", lines[1].consumer)
    assert.equal("ben", lines[3].consumer)
  end))

  it("refuses all others", spec_of({ { name = "key-auth", config = { realm = "here" } } }, function(rig)
    for path, case in pairs {
      ["/"] = { nil, "No API key found in request" },
      ["/?apikey"] = { nil, "No API key found in request" },
      ["/?apikey="] = { nil, "No API key found in request" },
      ["/?apikey=none"] = { nil, "Unauthorized" },
      ["/?apikey=ana-key%00"] = { nil, "Unauthorized" },
      ["/?apikey=eve-key"] = { nil, "Unauthorized" }, -- of another tenant
      ["/?apikey=ana-key&apikey=ana-key"] = { nil, "Duplicate API key found" },
      ["/two"] = { { { "apikey", "ana-key" }, { "ApiKey", "ben-key" } }, "Duplicate API key found" },
      ["/nobody"] = { { apikey = "ANA-KEY" }, "Unauthorized" },
      ["/long"] = { { apikey = ("k"):rep(9000) }, "Unauthorized" },
      ["/odd"] = { { apikey = "\255\254key-auth" }, "Unauthorized" },
    } do
      local answer = get(rig, path, case[1])
      assert.equal(401, answer.status, path)
      assert.matches('"message":"' .. case[2] .. '"', answer.body, 1, true)
      assert.equal('Key realm="here"', answer:get "www-authenticate")
    end
    assert.equal(0, #rig.origin.requests)
  end))

  it("hides keys wherever they are", spec_of({ { name = "key-auth", config = { hide_credentials = true,
    key_names = { "apikey", "X-Key" }, key_in_body = true } } }, function(rig)
    local answer = get(rig, "/p?a=%20&apikey=old&b&x=1&X%2dKey=2", { apikey = "ana-key", x_key = "other" })
    assert.equal(200, answer.status)
    assert.equal("/p?a=%20&b&x=1", plugins.seen(answer).target)
    assert.is_nil(plugins.field(answer, "apikey"))
    assert.is_nil(plugins.field(answer, "x_key"))
    local form = clients.request(rig.port, "POST", "/", { ["Content-Type"] = "application/x-www-form-urlencoded" },
      "a=1&apikey=ben-key&X-Key=3")
    assert.equal("a=1", plugins.seen(form).body)
    local json = clients.request(rig.port, "POST", "/", { ["Content-Type"] = "application/json; charset=utf-8" },
      '{"apikey":"ben-key","list":[]}')
    assert.equal('{"list":[]}', plugins.seen(json).body)
    local given = get(rig, "/", { ["X-Key"] = "ben-key" })
    assert.equal(200, given.status)
  end))

  it("finds keys in contents that it knows, and no others", spec_of({ { name = "key-auth", config = {
    key_in_body = true, key_in_header = false, key_in_query = false } } }, function(rig)
    local function post(kind, body)
      return clients.request(rig.port, "POST", "/", { ["Content-Type"] = kind }, body).status
    end
    assert.equal(200, post("application/json", '{"apikey":"ana-key"}'))
    assert.equal(200, post("application/x-www-form-urlencoded", "apikey=ana-key"))
    for _, body in ipairs { "", "null", "[]", '["ana-key"]', '{"apikey":1}', '{"apikey":["ana-key"]}', '{"apikey":{}}',
      '{"apikey":"ana-key","apikey":"ana-key"}', '{"apikey":null}', "{", ("["):rep(9000), '"ana-key"' } do
      assert.equal(401, post("application/json", body), body)
    end
    assert.equal(401, post("application/x-www-form-urlencoded", "apikey=ana-key&apikey=ana-key"))
    assert.equal(401, post("text/plain", "apikey=ana-key"))
    assert.equal(401, post("multipart/form-data; boundary=b",
      '--b\r\nContent-Disposition: form-data; name="apikey"\r\n\r\nana-key\r\n--b--\r\n'))
    assert.equal(401, get(rig, "/?apikey=ana-key", { apikey = "ana-key" }).status)
  end))

  it("takes away what clients say of themselves", spec_of({ { name = "key-auth", config = { anonymous = "guest",
    run_on_preflight = false } } }, function(rig)
    local answer = get(rig, "/", forged { apikey = "ben-key" })
    assert.equal(0, count_forged(answer))
    assert.equal("ben", plugins.field(answer, "X-Consumer-Username"))
    answer = get(rig, "/", forged())
    assert.equal(0, count_forged(answer))
    assert.equal("guest - guest - true - -", told(answer))
    answer = clients.request(rig.port, "OPTIONS", "/", forged { apikey = "ben-key" })
    assert.equal(200, answer.status)
    assert.equal(0, count_forged(answer))
    assert.equal("- - - - - - -", told(answer))
  end))

  it("fails when the consumer for anonymous requests is not there", spec_of({ { name = "key-auth",
    config = { anonymous = "nobody" } } }, function(rig)
    assert.equal(500, get(rig, "/").status)
    rig.server:wait_log "the consumer for anonymous requests is unknown: nobody"
    assert.equal(200, get(rig, "/", { apikey = "ana-key" }).status)
  end))

  it("lets nobody pass while it is left out after errors", loop.spec(function()
    local rig = plugins.start({ boom = { handler = [[
      Plugin.FAIL_CLOSED = true
      function Plugin:access() error "no good" end]] } }, { conf = { plugin_limits = {
        trip = { errors = 2, window = "1m", pause = "1h" } } } })
    for _ = 1, 2 do assert.equal(500, get(rig, "/").status) end
    rig.server:wait_log "plugin%.tripped.*plugin=boom"
    assert.equal(503, get(rig, "/").status)
    assert.equal(0, #rig.origin.requests)
    rig.server:stop()
  end))
end)

describe("several plugins that authenticate", function()
  local BASIC = "Basic " .. "YW5hOnNlc2FtZQ==" -- ana:sesame

  it("all have to let a request pass", spec_of({ { name = "key-auth" }, { name = "basic-auth" } }, function(rig)
    assert.equal(401, get(rig, "/").status)
    assert.equal(401, get(rig, "/", { apikey = "ana-key" }).status)
    assert.equal(401, get(rig, "/", { Authorization = BASIC }).status)
    assert.equal("ana a7 ana ana - - -", told(get(rig, "/", { apikey = "ben-key", Authorization = BASIC })))
  end))

  local EITHER = { { name = "key-auth", config = { anonymous = "guest" } },
    { name = "basic-auth", config = { anonymous = "guest" } } }

  it("are alternatives with a consumer for anonymous requests", spec_of(EITHER, function(rig)
    assert.equal("guest - guest - true - -", told(get(rig, "/", forged())))
    assert.matches("^ben %- ben %x+ %- %- %-$", told(get(rig, "/", { apikey = "ben-key" })))
    assert.equal("ana a7 ana ana - - -", told(get(rig, "/", { Authorization = BASIC })))
    local both = get(rig, "/", forged { apikey = "ben-key", Authorization = BASIC })
    assert.matches("^ben %- ben %x+ %- %- %-$", told(both))
    assert.equal(0, count_forged(both))
    assert.equal("guest - guest - true - -", told(get(rig, "/", { apikey = "none", Authorization = "Basic eA==" })))
  end))

  local MARK = { mark = { handler = [[
    Plugin.PRIORITY = 10
    function Plugin:access(conf) pdk.service.request.set_header("X-Mark", conf.text) end]],
    schema = 'return { text = { type = "string", required = true } }' } }

  local function marked(name, text)
    for _, consumer in ipairs(CONSUMERS) do
      if consumer.name == name then
        return { name = name, credentials = consumer.credentials, groups = consumer.groups,
          plugins = { { name = "mark", config = { text = text } } } }
      end
    end
  end

  it("run the plugins of whoever was found out in the end", loop.spec(function()
    local rig = plugins.start(MARK, { plugins = EITHER,
      conf = { consumers = { marked("guest", "of guest"), marked("ana", "of ana"), CONSUMERS[2] } } })
    for _ = 1, 3 do
      assert.equal("of guest", plugins.field(get(rig, "/"), "X-Mark"))
      assert.equal("of ana", plugins.field(get(rig, "/", { Authorization = BASIC }), "X-Mark"))
      assert.equal("of ana", plugins.field(get(rig, "/", { apikey = "ana-key" }), "X-Mark"))
      local ben = get(rig, "/", { apikey = "ben-key" })
      assert.equal("ben", plugins.field(ben, "X-Consumer-Username"))
      assert.is_nil(plugins.field(ben, "X-Mark"))
    end
    rig.server:stop()
  end))

  it("leave nothing of the anonymous consumer to those who are known", loop.spec(function()
    local ben = { name = "ben", credentials = { { type = "basic-auth", username = "ben", password = "b" } } }
    local rig = plugins.start(MARK, { plugins = EITHER, conf = { consumers = { marked("guest", "of guest"), ben } } })
    local answer = get(rig, "/", { Authorization = "Basic YmVuOmI=" })
    assert.equal("ben", plugins.field(answer, "X-Consumer-Username"))
    assert.is_nil(plugins.field(answer, "X-Mark"))
    rig.server:stop()
  end))
end)
