--- Plugins in a running server: phases, answers, waiting, content in both directions.
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local plugins = require "support.plugins"

local function spec_of(sources, run, options)
  return loop.spec(function()
    local rig = plugins.start(sources, options)
    run(rig)
    rig.server:stop()
  end)
end

describe("a plugin", function()
  it("reads the request, changes what the backend gets and what the client gets", spec_of({
    all = { handler = [[
      function Plugin:rewrite() pdk.ctx.shared.order = "rewrite" end
      function Plugin:access(conf)
        local request = pdk.request
        pdk.ctx.plugin.path = request.get_path()
        pdk.service.request.set_header("X-Seen", table.concat({ request.get_method(), request.get_path(),
          request.get_raw_query(), request.get_query_arg "a", request.get_host(), request.get_header "x_name" }, "|"))
        pdk.service.request.clear_header("X-Secret")
        pdk.service.request.add_header("X-Many", "one")
        pdk.service.request.add_header("X-Many", "two")
        pdk.service.request.set_path("/new/" .. conf.suffix)
        pdk.service.request.set_query({ b = { "1", "2 3" }, c = true })
        pdk.response.set_header("X-Early", pdk.ctx.shared.order)
      end
      function Plugin:header_filter()
        pdk.response.set_header("X-Path", pdk.ctx.plugin.path)
        pdk.response.set_header("X-Source", pdk.response.get_source())
        pdk.response.set_status(202)
      end]], schema = 'return { suffix = { type = "string", default = "path" } }' },
  }, function(rig)
    local answer = clients.request(rig.port, "GET", "/old?a=1", { ["X-Name"] = "ana", ["X-Secret"] = "s" })
    assert.equal(202, answer.status)
    assert.equal("GET|/old|a=1|1|localhost|ana", plugins.field(answer, "X-Seen"))
    assert.is_nil(plugins.field(answer, "X-Secret"))
    assert.equal("/new/path?b=1&b=2%203&c", plugins.seen(answer).target)
    assert.equal("/old", answer:get "x-path")
    assert.equal("service", answer:get "x-source")
    assert.equal("rewrite", answer:get "x-early")
  end))

  it("says who asks, and no client names that away", spec_of({
    who = { handler = [[
      function Plugin:access() pdk.service.request.set_header("X-Consumer", "ana") end ]] },
  }, function(rig)
    local answer = clients.request(rig.port, "GET", "/", { Connection = "X-Consumer, X-Own", ["X-Own"] = "1" })
    assert.equal("ana", plugins.field(answer, "X-Consumer"))
    assert.is_nil(plugins.field(answer, "X-Own"))
  end))

  it("answers itself, behind its own pcall too", spec_of({
    stop = { handler = [[
      function Plugin:access()
        if pdk.request.get_path() == "/error" then return pdk.response.error(403) end
        pcall(pdk.response.exit, 418, "short\n", { ["X-Why"] = { "a", "b" }, ["Content-Length"] = "999" })
        error "not reached"
      end
      function Plugin:header_filter() pdk.response.set_header("X-Source", pdk.response.get_source()) end]] },
  }, function(rig)
    local answer = clients.get(rig.port, "/")
    assert.equal(418, answer.status)
    assert.equal("short\n", answer.body)
    assert.equal("text/plain; charset=utf-8", answer:get "content-type")
    assert.equal("exit", answer:get "x-source")
    assert.equal("6", answer:get "content-length")
    answer = clients.request(rig.port, "GET", "/error", { Accept = "text/html" })
    assert.equal(403, answer.status)
    assert.matches("<h1>Error</h1>", answer.body)
    assert.equal(0, #rig.origin.requests)
    assert.equal("stop", rig.server:wait_access_log(2)[1].reason)
  end))

  it("that raises fails its own request with 500, or is passed over", spec_of({
    boom = { handler = [[ function Plugin:access(conf) error "no good" end ]] },
  }, function(rig)
    local answer = clients.get(rig.port, "/")
    assert.equal(500, answer.status)
    assert.matches('"code":"plugin_error"', answer.body)
    local _, line = rig.server:wait_log "(plugin%.failed.*)"
    assert.matches("plugin=boom phase=access route=all request_id=%x+", line)
    assert.matches("handler%.lua:3: no good.*stack traceback", line)
    rig.conf.routes[1].plugins = { { name = "boom", on_error = "continue" } }
    rig.server:write_conf(rig.conf)
    assert.is_true(rig.server:reload())
    assert.equal(200, clients.get(rig.port, "/").status)
    local metrics = clients.get(rig.server.ports.admin, "/metrics").body
    assert.matches('veloflux_plugin_errors_total{plugin="boom",phase="access"} 2', metrics)
  end))

  it("that raises in its body filter breaks off its own answer, whosever it is", spec_of({
    boom = { handler = [[
      function Plugin:access()
        if pdk.request.get_path() == "/exit" then pdk.response.exit(200, "of a plugin") end
      end
      function Plugin:body_filter() error "no good" end]] },
  }, function(rig)
    rig.conf.routes[2] = { name = "fixed", path_prefix = "/fixed", plugins = rig.conf.routes[1].plugins,
      respond = { status = 200, body = "of a route" } }
    rig.server:write_conf(rig.conf)
    assert.is_true(rig.server:reload())
    for _ = 1, 3 do
      for _, path in ipairs { "/exit", "/fixed", "/" } do
        local peer = clients.connect(rig.port)
        peer:request("GET", path)
        local _, text = peer:expect_end()
        assert.is_nil(text:find "of a", path)
        assert.is_nil(text:find "\r\n0\r\n\r\n", path) -- not the end of what is whole
        peer:close()
      end
    end
    assert.equal(1, select(2, table.concat(rig.server:log_lines(), "\n"):gsub("worker%.started", "")))
  end))

  it("that spins is cut off, compiled loops and pcall loops too", spec_of({
    spin = { handler = [[
      local function count(n) local sum = 0 for i = 1, n do sum = sum + i % 7 end return sum end
      local SPINS = {
        ["/loop"] = function() while true do end end,
        ["/compiled"] = function() for _ = 1, 1e9 do count(1e9) end end,
        ["/pcall"] = function() while true do pcall(function() while true do end end) end end,
        ["/ours"] = load("while true do end", "=veloflux.runtime.chain"),
        ["/native"] = loadstring("while true do end", "=[C]"),
      }
      function Plugin:access() SPINS[pdk.request.get_path()]() end]] },
  }, function(rig)
    for _, path in ipairs { "/loop", "/compiled", "/pcall" } do
      assert.equal(500, clients.get(rig.port, path).status, path)
      rig.server:wait_log "handler%.lua:%d+: cut off: it ran for longer than 50 ms without waiting"
    end
    for _, path in ipairs { "/ours", "/native" } do -- whatever its code calls itself
      assert.equal(500, clients.get(rig.port, path).status, path)
    end
    assert.equal(1, select(2, table.concat(rig.server:log_lines(), "\n"):gsub("worker%.started", "")))
  end, { conf = { plugin_limits = { cpu = "50ms" } } }))

  it("is left out for a while after too many errors", spec_of({
    boom = { handler = [[ function Plugin:access() error "no good" end ]] },
  }, function(rig)
    for _ = 1, 3 do assert.equal(500, clients.get(rig.port, "/").status) end
    assert.equal(200, clients.get(rig.port, "/").status)
    rig.server:wait_log "plugin%.tripped.*plugin=boom"
    local metrics = clients.get(rig.server.ports.admin, "/metrics").body
    assert.matches('veloflux_plugin_trips_total{plugin="boom"} 1', metrics)
  end, { conf = { plugin_limits = { trip = { errors = 3, window = "1m", pause = "1h" } } } }))

  it("tells trusted clients how long it took, waiting included", spec_of({
    one = { handler = [[
      function Plugin:access() if pdk.request.get_path() == "/wait" then pdk.timer.sleep(0.05) end end
      function Plugin:header_filter() end ]] },
  }, function(rig)
    local slow = clients.get(rig.port, "/wait", { ["VeloFlux-Debug"] = "1" }):get "server-timing"
    assert.is_true(tonumber(slow:match "^one;desc=access;dur=([%d.]+)") >= 30, slow) -- timers beat every 10 ms
    local metrics = clients.get(rig.server.ports.admin, "/metrics").body
    local sum = metrics:match 'veloflux_plugin_duration_seconds_sum{plugin="one",phase="access"} ([%d.e-]+)'
    assert.is_true(tonumber(sum) >= 0.03, sum)
    local answer = clients.get(rig.port, "/", { ["VeloFlux-Debug"] = "1" })
    assert.matches("^one;desc=access;dur=[%d.]+, one;desc=header_filter;dur=[%d.]+$", answer:get "server-timing")
    assert.is_nil(clients.get(rig.port, "/"):get "server-timing")
  end, { conf = { trusted_proxies = { "127.0.0.1" } } }))
end)

describe("content", function()
  local COLLECT = { handler = [[
    function Plugin:access()
      if pdk.request.get_path() == "/late" then pdk.timer.sleep(0.01) end
      local body, err = pdk.request.get_raw_body()
      pdk.service.request.set_header("X-Length", body and #body or err)
      if body == "replace me" then pdk.service.request.set_raw_body("replaced") end
      if body == "drop me" then pdk.service.request.set_raw_body("") end
    end]] }

  it("of a request is read by a plugin and forwarded all the same", spec_of({ collect = COLLECT }, function(rig)
    for _, path in ipairs { "/", "/late" } do
      local answer = clients.request(rig.port, "POST", path, {}, "hello")
      assert.equal("5", plugins.field(answer, "x-length"))
      assert.equal("hello", plugins.seen(answer).body)
    end
    local chunked = clients.connect(rig.port)
    chunked:send { "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n",
      "2\r\nde\r\n0\r\n\r\n" }
    local answer = chunked:read_response()
    assert.equal("abcde", plugins.seen(answer).body)
    assert.equal("length", plugins.seen(answer).framing)
    assert.equal("replaced", plugins.seen(clients.request(rig.port, "POST", "/", {}, "replace me")).body)
    assert.equal("", plugins.seen(clients.request(rig.port, "POST", "/", {}, "drop me")).body or "")
    assert.equal("0", plugins.field(clients.get(rig.port, "/"), "x-length"))
  end))

  it("that waits for 100 Continue is invited", spec_of({ collect = COLLECT }, function(rig)
    local client = clients.connect(rig.port)
    client:send "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    assert.equal(100, client:read_head().status)
    client:send "hello"
    assert.equal("5", plugins.field(client:read_response(), "x-length"))
  end))

  it("that is larger than plugins may have reaches the backend whole", spec_of({ collect = COLLECT }, function(rig)
    local body = ("x"):rep(5000)
    for _, framing in ipairs { "length", "chunked" } do
      local client = clients.connect(rig.port)
      if framing == "length" then
        client:request("POST", "/", {}, body)
      else
        client:send { "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
          "7d0\r\n" .. body:sub(1, 2000) .. "\r\n", "bb8\r\n" .. body:sub(2001) .. "\r\n0\r\n\r\n" }
      end
      local answer = client:read_response()
      assert.equal("the request body is larger than plugins may have", plugins.field(answer, "x-length"))
      assert.equal(body, plugins.seen(answer).body)
    end
  end, { conf = { plugin_limits = { body = "3000" } } }))

  it("of an answer goes through body_filter piece by piece", spec_of({
    upper = { handler = [[
      function Plugin:body_filter()
        local piece, is_last = pdk.response.get_chunk()
        if pdk.request.get_path() == "/wait" then pdk.timer.sleep(0.002) end
        pdk.response.set_chunk(piece:upper() .. (is_last and "!" or ""))
      end]] },
  }, function(rig)
    rig.origin.handler = function(conn)
      conn:write "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
      conn:write "3\r\ndef\r\n4\r\nghij\r\n"
      conn:write "0\r\n\r\n"
    end
    for _, path in ipairs { "/", "/wait" } do
      local client = clients.connect(rig.port)
      client:request("GET", path)
      assert.equal("ABCDEFGHIJ!", client:read_response().body)
      client:request("GET", path)
      assert.equal("ABCDEFGHIJ!", client:read_response().body)
    end
    rig.origin.handler = function(conn, request)
      conn:write(origins.response(200, {}, "with a length", request.method))
    end
    assert.equal("WITH A LENGTH!", clients.get(rig.port, "/").body)
    assert.is_nil(clients.request(rig.port, "HEAD", "/"):get "content-length")
    local old = clients.connect(rig.port)
    old:send "GET / HTTP/1.0\r\nHost: a\r\n\r\n"
    assert.equal("WITH A LENGTH!", old:read_response().body)
  end))

  it("of an answer is collected, and replaced as a whole", spec_of({
    whole = { handler = [[
      function Plugin:body_filter()
        local body = pdk.response.get_raw_body()
        if body then pdk.response.set_raw_body("[" .. body .. "]") end
      end]] },
  }, function(rig)
    rig.origin.handler = function(conn)
      conn:write "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
      conn:write "3\r\ndef\r\n0\r\n\r\n"
    end
    assert.equal("[abcdef]", clients.get(rig.port, "/").body)
  end))

  it("of an answer is there for header_filter when it was asked for", spec_of({
    buffer = { handler = [[
      function Plugin:access() pdk.service.request.enable_buffering() end
      function Plugin:header_filter()
        if pdk.request.get_path() == "/wait" then pdk.timer.sleep(0.002) end
        local body = pdk.service.response.get_raw_body()
        pdk.response.set_header("X-Length", body and #body or "unknown")
        if body == "abcdef" then pdk.response.set_raw_body("other") end
      end]] },
  }, function(rig)
    local body = "abcdef"
    rig.origin.handler = function(conn)
      conn:write "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      for piece in body:gmatch "..?.?" do conn:write(("%x\r\n%s\r\n"):format(#piece, piece)) end
      conn:write "0\r\n\r\n"
    end
    for _, path in ipairs { "/", "/wait" } do
      body = "abcdef"
      local answer = clients.get(rig.port, path)
      assert.equal("6", answer:get "x-length")
      assert.equal("other", answer.body)
      assert.equal("5", answer:get "content-length")
      body = ("z"):rep(900)
      answer = clients.get(rig.port, path)
      assert.equal("unknown", answer:get "x-length")
      assert.equal(body, answer.body)
    end
  end, { conf = { plugin_limits = { body = "500" } } }))
end)

describe("content that is collected", function()
  local SIZE = { handler = [[
    function Plugin:access() pdk.service.request.enable_buffering() end
    function Plugin:header_filter(conf)
      local size = #(pdk.service.response.get_raw_body() or "")
      if size > 5 then return pdk.response.exit(200, "own") end
      pdk.response.set_header("X-Size", size)
    end
    function Plugin:body_filter()
      if pdk.ctx.plugin.has_waited then return end
      pdk.ctx.plugin.has_waited = true
      pdk.timer.sleep(0.001)
    end]] }

  it("gives way to an answer of our own, whole or not", spec_of({ size = SIZE }, function(rig)
    local client = clients.connect(rig.port)
    for _ = 1, 2 do
      client:request("GET", "/cut")
      local answer = client:read_response()
      assert.same({ 502 }, { answer.status, answer.fault })
      assert.matches('^{.*"code":"upstream_cut".*}\n$', answer.body)
      client:request("GET", "/whole")
      answer = client:read_response()
      assert.same({ 200, "own", {} }, { answer.status, answer.body, answer.trailers })
    end
    client:close()
  end, { origin = function(conn, request)
    if request.target == "/whole" then
      return conn:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        .. "a\r\nhellothere\r\n0\r\nX-Sum: its\r\n\r\n")
    end
    conn:write "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
    conn:close()
  end }))
end)

describe("a plugin that waits", function()
  local WAIT = { handler = [[
    for _, name in ipairs { "rewrite", "access", "header_filter", "log" } do
      Plugin[name] = function()
        pdk.timer.sleep(0.002)
        if name == "header_filter" then pdk.response.set_header("X-Waited", "yes") end
        if name == "log" then pdk.log.event("test.logged", { status = pdk.response.get_status() }) end
      end
    end]] }

  it("holds its exchange and nobody else's, in every phase", spec_of({ wait = WAIT }, function(rig)
    local work = {}
    for i = 1, 20 do
      work[i] = function()
        local client = clients.connect(rig.port)
        for k = 1, 5 do
          client:request("POST", "/" .. k, {}, ("x"):rep(k * 1000))
          local answer = client:read_response()
          assert.equal("yes", answer:get "x-waited")
          assert.equal(k * 1000, #plugins.seen(answer).body)
        end
      end
    end
    clients.together(unpack(work))
    rig.server:wait_log "test%.logged.*status=200"
  end))

  for _, where in ipairs { "header_filter", "body_filter", "header_filter, with the whole content" } do
    it("in " .. where .. " lets a request end that was answered before its end", loop.spec(function()
      local open = loop.condition()
      local gate = origins.start(function(conn)
        open:wait("the gate", function() return open.is_open end)
        conn:write(origins.response(200, nil, ""))
      end)
      local phase, is_whole = where:match "^[%a_]+", where:find "whole" and true or false
      local rig = plugins.start({ wait = { handler = ([[
        function Plugin:access() if %s then pdk.service.request.enable_buffering() end end
        function Plugin:%s()
          if pdk.ctx.plugin.has_waited then return end
          pdk.ctx.plugin.has_waited = true
          pdk.http.get("http://%s/")
        end]]):format(is_whole, phase, gate.address) } }, { origin = function(conn, request)
          conn:write(origins.response(200, nil, "early"))
          origins.read_body(conn, request)
        end })
      rig.origin.eager = false
      local client = clients.connect(rig.port)
      client:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc"
      gate:wait_requests(1)
      client:send "def"
      rig.origin.changed:wait("the end of the request", function() return rig.origin.requests[1].complete end)
      open.is_open = true
      open:notify()
      assert.equal("early", client:read_response("POST").body)
      client:request("GET", "/")
      assert.equal("early", client:read_response().body)
      assert.equal(1, rig.origin.accepted) -- both connections went on
      client:close()
      rig.server:stop()
    end))
  end

  it("holds an answer that is whole, and no time limit of its backend counts any more", loop.spec(function()
    local open = loop.condition()
    local gate = origins.start(function(conn)
      open:wait("the gate", function() return open.is_open end)
      conn:write(origins.response(200, nil, ""))
    end)
    local rig = plugins.start({ wait = { handler = ([[
      function Plugin:body_filter()
        if pdk.ctx.plugin.has_waited then return end
        pdk.ctx.plugin.has_waited = true
        pdk.http.get("http://%s/")
      end]]):format(gate.address) } }, {
        origin = function(conn, request)
          conn:write(origins.response(200, nil, "early"))
          origins.read_body(conn, request)
        end, conf = { timeouts = { response_body = "50ms" } } })
    rig.origin.eager = false
    local client = clients.connect(rig.port)
    client:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc"
    gate:wait_requests(1)
    local conn = rig.origin:wait_connections(1)
    conn.changed:wait("the end of the connection", function() return conn.ended end)
    open.is_open = true
    open:notify()
    local answer = client:read_response "POST"
    assert.same({ 200, "early" }, { answer.status, answer.body })
    client:close()
    rig.server:stop()
  end))

  it("is told when its client goes away", spec_of({
    wait = { handler = [[
      function Plugin:access()
        pdk.log.event("test.asleep")
        local ok, err = pcall(pdk.timer.sleep, 3600)
        pdk.log.event("test.woken", { ok = ok, err = err })
        pdk.timer.sleep(3600)
        pdk.log.event("test.not_reached")
      end]] },
  }, function(rig)
    local client = clients.connect(rig.port)
    client:request("GET", "/")
    rig.server:wait_log "test%.asleep"
    client:reset()
    rig.server:wait_log 'test%.woken.*err="client gone".*ok=false'
    assert.is_nil(table.concat(rig.server:log_lines(), "\n"):find "not_reached")
  end))
end)
