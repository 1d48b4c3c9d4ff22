--- What a broken plugin cannot do, and how code and configurations change while requests are under way.
local uv = require "luv"
local children = require "support.children"
local clients = require "support.client"
local h2 = require "support.http2"
local loop = require "support.loop"
local origins = require "support.origin"
local plugins = require "support.plugins"
local traffics = require "support.traffic"

local PATIENCE = { timeout_ms = 10 * loop.WATCHDOG_MS } -- hundreds of reloads each

local function spec_of(sources, run, options)
  return loop.spec(function()
    local rig = plugins.start(sources, options)
    run(rig)
    rig.server:stop()
  end, PATIENCE)
end

local function worker(rig)
  local slot = (children.of(rig.server.pid).worker or {})[1]
  return slot and slot[1]
end

local function reload(rig)
  rig.server:write_conf(rig.conf)
  return rig.server:reload()
end

local function metric(rig, pattern)
  return tonumber(clients.get(rig.server.ports.admin, "/metrics").body:match(pattern .. " (%S+)"))
end

describe("a plugin that hangs", function()
  it("in C costs its worker once, and is left out after that", spec_of({
    hang = { handler = [[
      function Plugin:access() -- a pattern that takes for ever, inside one call of C
        if pdk.request.get_path() == "/hang" then (("a"):rep(40)):find(("a*"):rep(40) .. "b") end
        pdk.response.set_header("X-Ran", "yes")
      end]] },
  }, function(rig)
    assert.equal("yes", clients.get(rig.port, "/"):get "x-ran")
    local before = worker(rig)
    local client = clients.connect(rig.port)
    client:request("GET", "/hang")
    rig.server:wait_log "plugin%.tripped.*no heartbeat"
    rig.server:wait_log("worker%.started.*slot=1", 1)
    children.eventually("another worker", function() return worker(rig) and worker(rig) ~= before end)
    local answer
    children.eventually("answers without the plugin", function()
      local ok, response = pcall(clients.get, rig.port, "/hang")
      answer = ok and response
      return answer and answer.status == 200
    end)
    assert.is_nil(answer:get "x-ran")
    assert.is_true(metric(rig, 'veloflux_plugin_skipped_total{plugin="hang",phase="access"}') >= 1)
  end))

  it("in memory gets an error, and the worker goes on", spec_of({
    eat = { handler = [[
      function Plugin:access()
        if pdk.request.get_path() ~= "/eat" then return end
        local list = {}
        for i = 1, 1e9 do list[i] = ("x"):rep(1000) .. i end
      end]] },
  }, function(rig)
    for _ = 1, 3 do
      assert.equal(500, clients.get(rig.port, "/eat").status)
      assert.equal(200, clients.get(rig.port, "/").status)
    end
    rig.server:wait_log "plugin%.failed.*not enough memory"
    assert.is_nil(table.concat(rig.server:log_lines(), "\n"):find "worker%.exited")
  end, { conf = { plugin_limits = { memory = "32m", cpu = "10s" } } }))

  it("in memory may hold on to the last byte, and the worker goes on", spec_of({
    squeeze = { handler = [[
      local keep, n, size = {}, 0, 0
      for i = 1, 100000 do keep[i] = false end
      local function fill()
        while true do n = n + 1; keep[n] = ("x"):rep(size) .. n end
      end
      local function nothing() end
      local after = pdk.timer.after
      function Plugin:access()
        local squeezed = pdk.request.get_path() == "/squeeze"
        for power = squeezed and 19 or 0, 1, -1 do
          size = 2 ^ power
          pcall(fill)
        end
        for _ = 1, 6 do pcall(after, 1000, nothing) end
        for i = 1, n do keep[i] = false end
        n = 0
      end]] },
  }, function(rig)
    for _, path in ipairs { "/squeeze", "/", "/squeeze", "/" } do
      local status = clients.get(rig.port, path).status
      assert.is_true(status == 200 or status == 500)
    end
    assert.is_nil(table.concat(rig.server:log_lines(), "\n"):find "worker%.exited")
  end, { conf = { plugin_limits = { memory = "32m", cpu = "10s" } } }))

  it("in memory, all of which is in use, does not have it collected for each request", spec_of({
    hoard = { handler = [[
      local keep, spare, canary = {}, {}, setmetatable({}, { __mode = "v" })
      for i = 1, 100 do spare[i] = {} end
      canary[1], spare.more = spare[100], false
      local n_calls, n_collected = 0, 0
      function Plugin:access()
        n_calls = n_calls + 1
        if n_calls == 1 then
          for i = 1, 1e9 do keep[i] = { i } end
        elseif n_calls > 51 then
          keep = nil -- which is collected soon
          return pdk.response.exit(200, tostring(n_collected))
        end
        if n_calls > 2 and canary[1] == nil then n_collected = n_collected + 1 end
        canary[1], spare[n_calls] = spare[n_calls], nil
        for i = 1, 1000 do spare.more = { i } end
      end]] },
  }, function(rig)
    assert.equal(500, clients.get(rig.port, "/").status)
    local began_s = uv.hrtime() / 1e9
    for _ = 1, 50 do clients.get(rig.port, "/") end
    local n_collected
    children.eventually("memory for the count", function()
      n_collected = tonumber(clients.get(rig.port, "/").body)
      return n_collected
    end)
    local seconds = uv.hrtime() / 1e9 - began_s -- about one in each is what there may be
    assert.is_true(n_collected < 30 + seconds, ("%d collections in %.1f s"):format(n_collected, seconds))
  end, { conf = { plugin_limits = { memory = "32m", cpu = "10s", trip = { errors = "off" } } } }))

  it("in memory may hold more than a new limit allows: it gets an error, and the worker goes on", spec_of({
    hoard = { handler = [[
      local keep = {}
      function Plugin:access()
        local wanted = pdk.request.get_path() == "/hoard" and 60 or 0
        for i = 1, wanted do keep[i] = ("x"):rep(1000000) .. i end
        local more = {}
        for i = 1, 10000 do more[i] = {} end
      end]] },
  }, function(rig)
    assert.equal(200, clients.get(rig.port, "/hoard").status)
    local before = worker(rig)
    rig.conf.plugin_limits.memory = "16m"
    assert.is_true((reload(rig)))
    assert.equal(500, clients.get(rig.port, "/").status)
    rig.server:wait_log "plugin%.failed.*not enough memory"
    assert.equal(before, worker(rig))
  end, { conf = { plugin_limits = { memory = "256m", cpu = "10s" } } }))
end)

describe("a handler that is wrong", function()
  local WRONG = {
    ["/phase"] = { "pdk.response.get_status()", "response%.get_status cannot be called in the access phase" },
    ["/name"] = { "pdk.service.request.set_header('a b', 'c')", "is not a valid name of a header field" },
    ["/value"] = { "pdk.service.request.set_header('a', 'b\\r\\nc: d')", "has characters that are not allowed there" },
    ["/path"] = { "pdk.service.request.set_path('x')", "expected a path that begins with /" },
    ["/query"] = { "pdk.service.request.set_raw_query('a b')", "has characters that are not allowed there" },
    ["/status"] = { "pdk.response.exit(42)", "status 42" },
    ["/global"] = { "undeclared = 1", "plugins have no global variables" },
    ["/type"] = { "pdk.request.get_header(nil)", "expected a string" },
    ["/object"] = { "error({})", "an error that is not a text", "" },
    ["/ctx"] = { "pdk.ctx.mine = 1", "write to pdk%.ctx%.shared" },
    ["/yield"] = { "coroutine.wrap(function() pdk.timer.sleep(1) end)()", "inside a coroutine of the plugin's own" },
    ["/stack"] = { "local function f() return 1 + f() end f()", "stack overflow", "" },
  }
  local branches = {}
  for path, case in pairs(WRONG) do
    branches[#branches + 1] = ("if path == %q then %s end"):format(path, case[1])
  end

  it("gets a message that says what is wrong", spec_of({
    wrong = { handler = "function Plugin:access() local path = pdk.request.get_path()\n" ..
      table.concat(branches, "\n") .. "\nend" },
  }, function(rig)
    for path, case in pairs(WRONG) do
      local from = #rig.server:log_lines() + 1
      assert.equal(500, clients.get(rig.port, path).status, path)
      local _, line = rig.server:wait_log("(plugin%.failed.*)", from)
      assert.matches((case[3] or "handler%.lua:%d+.*") .. case[2], line)
    end
  end))

  it("fails its request when it calls itself through functions of C, and the worker goes on", spec_of({
    deep = { handler = [[
      local deep = {}
      function deep.gsub() return (("x"):gsub("x", deep.gsub)) end
      function deep.sort() table.sort({ 1, 2, 3 }, deep.sort) end
      function deep.coroutine()
        local is_ok, why = coroutine.resume(coroutine.create(deep.coroutine))
        if not is_ok then error(why, 0) end
      end
      function Plugin:access()
        local call = deep[pdk.request.get_path():sub(2)]
        if call then call() end
      end]] },
  }, function(rig)
    local before = worker(rig)
    for _, path in ipairs { "/gsub", "/sort", "/coroutine", "/gsub" } do
      local from = #rig.server:log_lines() + 1
      assert.equal(500, clients.get(rig.port, path).status, path)
      rig.server:wait_log("plugin%.failed.*plugin=deep.*" .. (path == "/coroutine" and "" or "stack overflow"), from)
    end
    assert.equal(200, clients.get(rig.port, "/").status)
    assert.equal(before, worker(rig))
  end, { conf = { plugin_limits = { cpu = "10s" } } }))

  it("fails its request when it yields to nobody, and no other", spec_of({
    strays = { handler = [[
      function Plugin:access()
        if pdk.request.get_path() == "/stray" then coroutine.yield() end
        if pdk.request.get_path() == "/waits" then coroutine.yield(1) end
        pdk.response.set_header("X-Passed", "1")
      end]] },
  }, function(rig)
    for _ = 1, 3 do
      assert.equal(500, clients.get(rig.port, "/stray").status)
      assert.equal(500, clients.get(rig.port, "/waits").status)
      local response = clients.get(rig.port, "/")
      assert.equal(200, response.status)
      assert.equal("1", response:get "X-Passed")
    end
    rig.server:wait_log "plugin%.failed.*plugin=strays.*handler%.lua:4: attempt to yield from outside a coroutine"
  end))

  it("fails only its own requests, after a hundred of which the others are still answered", spec_of({
    fails = { handler = [[
      function Plugin:access()
        for i = 1, 5 do
          if pdk.request.get_path() == "/fail" and i == 3 then error("at " .. i) end
        end
        pdk.response.set_header("X-Passed", "1")
      end]] },
  }, function(rig)
    for _ = 1, 100 do
      assert.equal(500, clients.get(rig.port, "/fail").status)
      assert.equal("1", clients.get(rig.port, "/"):get "X-Passed")
    end
  end, { conf = { plugin_limits = { trip = { errors = "off" } } } }))

  it("at load time refuses the configuration and changes nothing", spec_of({
    good = { handler = [[ function Plugin:access() pdk.response.set_header("X-Good", "1") end ]] },
  }, function(rig)
    local cases = {
      syntax = { "function Plugin:access( end", "handler%.lua:3" },
      raises = { "error 'at load'\nfunction Plugin:access() end", "at load" },
      requires = { "local ffi = require 'ffi'\nfunction Plugin:access() end", "ffi is not for plugins" },
      others = { "local x = require 'veloflux.plugins.good.handler'\nfunction Plugin:access() end", "not for plugins" },
      typo = { "function Plugin:acess() end", "access" },
    }
    for name, case in pairs(cases) do
      plugins.write({ [name] = { handler = case[1] } }, rig.folder)
      rig.conf.routes[1].plugins = { { name = "good" }, { name = name } }
      local ok, output = reload(rig)
      assert.is_false(ok, name)
      assert.matches(case[2], output)
      assert.equal("1", clients.get(rig.port, "/"):get "x-good")
    end
  end))

  it("in init_worker or configure is logged, and requests go on", spec_of({
    start = { handler = [[
      function Plugin:init_worker() error "init is broken" end
      function Plugin:configure(configs) error("configure is broken, " .. #configs) end
      function Plugin:access() end]] },
  }, function(rig)
    rig.server:wait_log "plugin%.failed.*phase=init_worker.*init is broken"
    rig.server:wait_log "plugin%.failed.*phase=configure.*configure is broken, 1"
    assert.equal(200, clients.get(rig.port, "/").status)
  end))
end)

describe("a reload", function()
  local function version_of(n)
    return { handler = ([[
      local version, loaded = %d, {}
      function Plugin:init_worker() loaded.init = true end
      function Plugin:configure(configs) loaded.greeting = configs[1].greeting end
      function Plugin:access(conf)
        if pdk.request.get_path() == "/slow" then pdk.timer.sleep(0.05) end
        pdk.response.set_header("X-Version", version)
        pdk.response.set_header("X-Greeting", tostring(loaded.greeting) .. conf.greeting .. tostring(loaded.init))
      end]]):format(n), schema = [[return { greeting = { type = "string", default = "hi" } }]] }
  end

  it("brings new code to all workers at once; requests under way finish on the old", spec_of({
    code = version_of(1),
  }, function(rig)
    assert.equal("1", clients.get(rig.port, "/"):get "x-version")
    local slow = clients.connect(rig.port)
    slow:request("GET", "/slow")
    plugins.write({ code = version_of(2) }, rig.folder)
    assert.is_true(reload(rig))
    for _ = 1, 20 do
      local answer = clients.get(rig.port, "/")
      assert.equal("2", answer:get "x-version")
      assert.equal("hihitrue", answer:get "x-greeting")
    end
    assert.matches("[12]", slow:read_response():get "x-version")
    rig.conf.routes[1].plugins[1].config = { greeting = "hey" }
    assert.is_true(reload(rig))
    children.eventually("configure", function() return clients.get(rig.port, "/"):get "x-greeting" == "heyheytrue" end)
  end, { conf = { workers = 2 } }))

  it("is seen in what handlers are told of their route", spec_of({
    route = { handler = [[
      function Plugin:access()
        local methods = pdk.router.get_route().methods
        pdk.response.set_header("X-Methods", methods and table.concat(methods, " ") or "all")
      end]] },
  }, function(rig)
    assert.equal("all", clients.get(rig.port, "/"):get "x-methods")
    for _, methods in ipairs { { "GET" }, { "GET", "PUT" }, { "GET", "PROPFIND", "BREW", "X-COPY" } } do
      rig.conf.routes[1].methods = methods
      assert.is_true(reload(rig))
      local wanted = table.concat(methods, " ")
      children.eventually(wanted, function() return clients.get(rig.port, "/"):get "x-methods" == wanted end)
      assert.equal(wanted, clients.get(rig.port, "/"):get "x-methods")
    end
  end))

  it("finds heads of HTTP/2 that are not whole: they run through the plugins of their route, as it is then", spec_of({
    shut = { handler = [[ function Plugin:access() return pdk.response.exit(401, "shut") end ]] },
    open = { handler = [[ function Plugin:access() return pdk.response.exit(200, "open") end ]] },
  }, function(rig)
    local client = h2.open(rig.port)
    local function begin(id, path)
      client:send(h2.headers(id, h2.get(path), { open = true, ends = true }), h2.continuation(id, ""))
      assert.equal(401, clients.get(rig.port, "/").status) -- the worker has seen it by then
    end
    local function finish(id)
      client:send(h2.continuation(id, "", true))
      local answer = client:answer(id)
      return answer.status .. " " .. answer.body
    end
    begin(1, "/")
    local shut = rig.conf.routes[1]
    rig.conf.routes = { { name = "open", path_prefix = "/open", pool = "web", plugins = { { name = "open" } } }, shut }
    assert.is_true((reload(rig)))
    assert.equal("401 shut", finish(1))
    begin(3, "/open")
    rig.conf.routes = { shut }
    assert.is_true((reload(rig)))
    assert.equal("401 shut", finish(3))
    client:close()
  end, { plugins = { { name = "shut" } } }))

  it("500 times, with new code each time, fails no request and keeps memory flat", spec_of({
    code = version_of(0),
  }, function(rig)
    local traffic = traffics.start { port = rig.port, clients = 4 }
    local function resident() return tonumber(children.status(worker(rig), "VmRSS"):match "%d+") end
    local early
    for i = 1, 500 do
      plugins.write({ code = version_of(i) }, rig.folder)
      local from = #rig.server:log_lines() + 1
      rig.server:signal "sighup"
      local _, outcome = rig.server:wait_log("reload%.(%a+)", from)
      assert.equal("done", outcome)
      if i == 200 then early = resident() end
    end
    local late = resident()
    traffic:wait_answers(20)
    assert.same({}, traffic:stop())
    assert.is_true(late < early + (os.getenv "VF_SAN" and 100000 or 4096), ("%d KiB, then %d KiB"):format(early, late))
    assert.equal("500", clients.get(rig.port, "/"):get "x-version")
  end))
end)

describe("where a request goes", function()
  it("can be another pool, another host, with other timeouts", loop.spec(function()
    local other = origins.start(nil, { name = "other" })
    local silent = origins.start(function(conn) conn:read_some "nothing" end)
    local rig = plugins.start({
      to = { handler = [[
        function Plugin:access(conf)
          local path = pdk.request.get_path()
          if path == "/pool" then assert(pdk.service.set_upstream "second") end
          if path == "/nopool" then pdk.response.exit(200, tostring(select(2, pdk.service.set_upstream "none"))) end
          if path == "/target" then pdk.service.set_target("127.0.0.1", conf.port) end
          if path == "/name" then pdk.service.set_target("localhost", conf.port) end
          if path == "/refused" then pdk.service.set_target("127.0.0.1", conf.refused) end
          if path == "/retry" then
            pdk.service.set_target("127.0.0.1", conf.refused)
            pdk.service.set_target_retry_callback(function() pdk.service.set_target("127.0.0.1", conf.port) end)
          end
          if path == "/timeout" then
            pdk.service.set_target("127.0.0.1", conf.silent)
            pdk.service.set_timeouts(1000, 1000, 50)
          end
        end]], schema = [[return { port = { type = "integer" }, refused = { type = "integer" },
          silent = { type = "integer" } }]] },
    }, { plugins = {} })
    local refused = origins.start()
    refused:close()
    rig.conf.pools[2] = { name = "second", backends = { { address = other.address } } }
    rig.conf.routes[1].plugins = { { name = "to",
      config = { port = other.port, refused = refused.port, silent = silent.port } } }
    assert.is_true(reload(rig))
    assert.equal("origin", plugins.seen(clients.get(rig.port, "/")).origin)
    for _, path in ipairs { "/pool", "/target", "/name", "/retry", "/target" } do
      assert.equal("other", plugins.seen(clients.get(rig.port, path)).origin, path)
    end
    assert.matches('could not find a pool called "none"', clients.get(rig.port, "/nopool").body)
    assert.equal(502, clients.get(rig.port, "/refused").status)
    assert.equal(504, clients.get(rig.port, "/timeout").status)
    local log = rig.server:wait_access_log(9)
    assert.equal(other.address, log[3].backend)
    rig.server:stop()
  end, PATIENCE))

  it("can be decided anew for each try in the balancer phase", loop.spec(function()
    local refused = origins.start()
    refused:close()
    local rig = plugins.start({
      balance = { handler = [[
        function Plugin:balancer(conf)
          local tries = (pdk.ctx.plugin.tries or 0) + 1
          pdk.ctx.plugin.tries = tries
          pdk.timer.sleep(0.001)
          pdk.service.set_target("127.0.0.1", tries < 3 and conf.refused or conf.good)
        end
        function Plugin:header_filter() pdk.response.set_header("X-Tries", pdk.ctx.plugin.tries) end]],
        schema = [[return { good = { type = "integer" }, refused = { type = "integer" } }]] },
    }, { plugins = {} })
    rig.conf.routes[1].plugins = { { name = "balance", config = { good = rig.origin.port, refused = refused.port } } }
    assert.is_true(reload(rig))
    local client = clients.connect(rig.port)
    for _ = 1, 3 do
      client:request("POST", "/", {}, "content")
      local answer = client:read_response()
      assert.equal("3", answer:get "x-tries")
      assert.equal("content", plugins.seen(answer).body)
    end
    rig.server:stop()
  end, PATIENCE))
end)

describe("addresses that plugins name", function()
  it("may be thousands: those that nobody needs are forgotten, one that is waited for is not", spec_of({
    aim = { handler = [[
      function Plugin:access()
        local n = tonumber(pdk.request.get_path():match "^/n/(%d+)")
        if n then return pdk.service.set_target(("127.1.%d.%d"):format(n / 250, n % 250 + 1), 1) end
        pdk.service.set_target("nowhere.invalid", 80)
      end
      function Plugin:balancer() -- once the name has come to nothing
        if pdk.ctx.plugin.is_next then pdk.service.set_target("127.0.0.1", 1) end
        pdk.ctx.plugin.is_next = pdk.request.get_path() == "/name"
      end]] },
  }, function(rig)
    local client = clients.connect(rig.port)
    local function expect_failures(n) for _ = 1, n do assert.equal(502, client:read_response().status) end end
    for first = 1, 4095, 45 do -- with the name they are as many as are remembered
      local requests = {}
      for n = first, first + 44 do requests[#requests + 1] = ("GET /n/%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(n) end
      client:send(table.concat(requests))
      expect_failures(45)
    end
    for _ = 1, 2 do
      client:request("GET", "/name")
      expect_failures(1)
    end
    client:close()
  end, { zone = {} }))
end)

describe("routes without a plugin", function()
  it("and requests without a route: the log phase sees what global plugins should see", spec_of({
    log = { handler = [[
      function Plugin:header_filter() pdk.response.set_header("X-Global", pdk.response.get_source()) end
      function Plugin:log()
        pdk.log.event("test.seen", { status = pdk.response.get_status(), path = pdk.request.get_path() })
      end]] },
  }, function(rig)
    rig.conf.plugins = { { name = "log" } }
    rig.conf.routes = { { name = "all", host = "a.example", pool = "web" } }
    assert.is_true(reload(rig))
    assert.equal("error", clients.get(rig.port, "/none"):get "x-global")
    rig.server:wait_log "test%.seen.*path=/none.*status=404"
    assert.equal("service", clients.request(rig.port, "GET", "/some", { Host = "a.example" }):get "x-global")
    rig.server:wait_log "test%.seen.*path=/some.*status=200"
  end))
end)
