--- The plugin http-log in a running server, with origins that take its entries.
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local plugins = require "support.plugins"

local function ok(conn, request)
  conn:write(origins.response(200, {}, "ok", request.method))
end

--- Runs a spec with a server and an origin that takes entries.
local function spec_of(config, run, options)
  return loop.spec(function()
    local sink = origins.start(ok, { name = "sink" })
    config.http_endpoint = "http://" .. (config.user or "") .. sink.address .. "/in?x=1"
    local own = {}
    for name, value in pairs(config) do own[name] = name ~= "user" and value or nil end
    local rig = plugins.shipped({ { name = "http-log", config = own } }, options)
    run(rig, sink, own)
    assert.same({}, sink.faults)
  end)
end

--- Returns the entries of all requests that have arrived whole.
local function entries_of(sink)
  local entries = {}
  for _, request in ipairs(sink.requests) do
    if request.body and request.complete then
      local value = cjson.decode(request.body)
      for _, entry in ipairs(value[1] and value or { value }) do entries[#entries + 1] = entry end
    end
  end
  return entries
end

local function wait_entries(sink, count)
  return sink.changed:wait(count .. " entries", function()
    local entries = entries_of(sink)
    return #entries >= count and entries
  end)
end

describe("http-log", function()
  it("sends each exchange as an object", spec_of({ headers = { ["X-Token"] = "t" }, method = "PUT", user = "a%3A:b@" },
    function(rig, sink)
      clients.request(rig.port, "POST", "/p?q=1", { Cookie = "c", ["X-A"] = "1" }, "hello")
      local request = sink:wait_requests(1)
      local entry = wait_entries(sink, 1)[1]
      assert.equal("PUT /in?x=1", request.method .. " " .. request.target)
      assert.equal("application/json", request:get "content-type")
      assert.equal("t", request:get "x-token")
      assert.equal("Basic YTo6Yg==", request:get "authorization")
      assert.equal("POST", entry.request.method)
      assert.equal("/p?q=1", entry.request.uri)
      assert.equal("1", entry.request.querystring.q)
      assert.equal("REDACTED", entry.request.headers.cookie)
      assert.equal(200, entry.response.status)
      assert.equal("all", entry.route.name)
      assert.equal("127.0.0.1", entry.client_ip)
      rig.server:stop()
    end))

  it("sends batches as arrays, when they are full or time is up", spec_of({
    queue = { max_batch_size = 5, max_coalescing_delay = 0.05 },
  }, function(rig, sink)
    for i = 1, 12 do clients.get(rig.port, "/" .. i) end
    local entries, seen = wait_entries(sink, 12), {}
    for _, request in ipairs(sink.requests) do
      assert.matches("^%[", request.body)
      assert.is_true(#cjson.decode(request.body) <= 5)
    end
    for _, entry in ipairs(entries) do seen[#seen + 1] = entry.request.uri end
    assert.same({ "/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9", "/10", "/11", "/12" }, seen)
    rig.server:stop()
  end))

  it("sends again what did not arrive, and loses nothing by a reload or by the end", spec_of({
    queue = { max_batch_size = 2, max_coalescing_delay = 0.01, max_retry_delay = 0.02 },
  }, function(rig, sink, config)
    local refused = 0
    sink.handler = function(conn, request)
      refused = refused + 1
      conn:write(origins.response(refused % 2 == 0 and 500 or 429, {}, "no", request.method))
    end
    for i = 1, 6 do clients.get(rig.port, "/" .. i) end
    sink.changed:wait("three attempts", function() return refused >= 3 end)
    config.headers = { ["X-New"] = "1" }
    plugins.change(rig, { { name = "http-log", config = config } })
    clients.get(rig.port, "/7")
    local taken, seen = {}, {}
    sink.handler = function(conn, request)
      taken[#taken + 1] = request
      ok(conn, request)
    end
    rig.server:stop() -- drains
    for _, entry in ipairs(entries_of { requests = taken }) do seen[entry.request.uri] = true end
    for i = 1, 7 do assert.is_true(seen["/" .. i], "/" .. i) end
    assert.is_nil(table.concat(rig.server:log_lines(), "\n"):find("queue.dropped", 1, true))
  end))

  it("says what is lost when nothing can be sent", spec_of({
    queue = { max_entries = 3, max_retry_time = 0, max_coalescing_delay = 0.01 },
  }, function(rig, sink)
    sink:refuse()
    for i = 1, 5 do assert.equal(200, clients.get(rig.port, "/" .. i).status) end
    rig.server:wait_log "queue%.dropped.*plugin=http%-log.*queue=%x+ items=%d+"
    local PREFIX = "veloflux_plugin_queue_"
    local function counted(pattern)
      return children.eventually(pattern, function()
        return clients.get(rig.server.ports.admin, "/metrics").body:match(PREFIX .. pattern)
      end)
    end
    counted 'items_total{plugin="http%-log",as="http%-log",event="pushed"} 5'
    counted 'items_total{plugin="http%-log",as="http%-log",event="given_up"} [1-5]'
    counted 'failures_total{plugin="http%-log",as="http%-log"} [1-5]'
    rig.server:stop()
  end))

  it("keeps routes with other settings apart", loop.spec(function()
    local sinks, routes = {}, {}
    for i = 1, 2 do
      sinks[i] = origins.start(ok, { name = "sink" .. i })
      routes[i] = { name = "r" .. i, path_prefix = "/" .. i, respond = { status = 204 }, plugins = { {
        name = "http-log", config = { http_endpoint = "http://" .. sinks[i].address } } } }
    end
    local rig = plugins.shipped({}, { conf = { routes = routes } })
    for _ = 1, 3 do
      for i = 1, 2 do clients.get(rig.port, "/" .. i) end
    end
    for i = 1, 2 do
      for _, entry in ipairs(wait_entries(sinks[i], 3)) do assert.equal("/" .. i, entry.request.uri) end
      assert.equal(3, #sinks[i].requests)
    end
    rig.server:stop()
  end))

  it("sets members of entries from templates, and takes some out", spec_of({ custom_fields = {
    ["request.team"] = '{{ request.headers.x-team | default "none" }}', constant = "a\"b", client_ip = "",
    ["request.headers.x-key"] = "", ["none.at.all"] = "", ["deep.a.b"] = "{{ request.method | lower }}",
    ["request.method"] = "{{ deep.a.b }}-",
  } }, function(rig, sink)
    clients.get(rig.port, "/", { ["X-Team"] = '"}{{ x }}', ["X-Key"] = "secret" })
    local entry = wait_entries(sink, 1)[1]
    assert.equal('"}{{ x }}', entry.request.team)
    assert.equal('a"b', entry.constant)
    assert.is_nil(entry.client_ip)
    assert.is_nil(entry.request.headers["x-key"])
    assert.is_nil(entry.none)
    assert.equal("get", entry.deep.a.b)
    assert.equal("-", entry.request.method)
    assert.is_nil(sink.requests[1].body:find("secret", 1, true))
    rig.server:stop()
  end))

  it("writes whatever clients send as JSON", spec_of({}, function(rig, sink)
    local client = clients.connect(rig.port)
    local fields = { { "X-Bytes", "\255\192\128\237\160\128" }, { "X-Quote", '"\\' }, { "x-quote", "" } }
    for i = 1, 80 do fields[#fields + 1] = { "X-Many", ("x"):rep(i) } end
    client:request("GET", "/%ff%0d%0a?a=%ff&a&=&%22", fields)
    assert.equal(200, client:read_response().status)
    local entry = wait_entries(sink, 1)[1]
    assert.equal(80, #entry.request.headers["x-many"])
    assert.same({ '"\\', "" }, entry.request.headers["x-quote"])
    assert.is_nil(sink.requests[1].body:find "[\192\193\245-\255]")
    rig.server:stop()
  end))

  it("refuses configurations that cannot work", loop.spec(function()
    local URL = "http://127.0.0.1:1/"
    for expected, config in pairs {
      ["http_endpoint: expected http or https, got ftp"] = { http_endpoint = "ftp://a.example/" },
      ["http_endpoint: expected a URL"] = { http_endpoint = "a.example" },
      ["http_endpoint: has a space"] = { http_endpoint = "http://a/ b" },
      ["Content%-Type is set by the plugin itself"] = { http_endpoint = URL, headers = { ["Content-Type"] = "a" } },
      ["has characters that a header field cannot have"] = { http_endpoint = URL, headers = { a = "b\nc: d" } },
      ["exclude each other"] = { http_endpoint = "http://a:b@c/", headers = { authorization = "x" } },
      ["custom_fields.*bad template"] = { http_endpoint = URL, custom_fields = { a = "{{ os.exit() }}" } },
      ["expected names joined by dots"] = { http_endpoint = URL, custom_fields = { ["a..b"] = "x" } },
      ["queue%.max_batch_size"] = { http_endpoint = URL, queue = { max_batch_size = 0 } },
      ["custom_fields_by_lua%.a: line 2: "] = { http_endpoint = URL, custom_fields_by_lua = { a = "\nreturn return" } },
    } do
      assert.matches(expected, (plugins.problems { name = "http-log", config = config }))
    end
  end))
end)
