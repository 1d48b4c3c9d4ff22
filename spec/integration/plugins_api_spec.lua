--- Functions of the plugin API where they could go wrong: called where there is no request, in timers and while
-- code is loaded.
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local plugins = require "support.plugins"
local servers = require "support.server"
local origins = require "support.origin"

local function spec_of(sources, run, options)
  return loop.spec(function()
    local rig = plugins.start(sources, options)
    run(rig)
    rig.server:stop()
  end)
end

describe("the plugin API", function()
  it("refuses what concerns a request outside of one", spec_of({
    probe = { handler = [[
      local REQUEST = { "client.tenant", "request.get_body", "request.get_raw_body", "request.get_header",
        "response.get_header", "service.response.get_body", "log.serialize", "log.set_serialize_value",
        "router.get_route", "ip.is_trusted" }
      local function call(path)
        local at = pdk
        for name in path:gmatch "[^.]+" do at = at[name] end
        return pcall(at, "x", "y")
      end
      function Plugin:access()
        pdk.timer.after(0, function()
          for _, name in ipairs(REQUEST) do
            local ok, err = call(name)
            pdk.log.event("test.called", { name = name, ok = ok, err = err })
          end
        end)
      end]] },
  }, function(rig)
    assert.equal(200, clients.get(rig.port, "/").status)
    for _, name in ipairs { "client.tenant", "request.get_body", "request.get_raw_body", "request.get_header",
      "response.get_header", "service.response.get_body", "log.serialize", "log.set_serialize_value",
      "router.get_route", "ip.is_trusted" } do
      local message = name .. " cannot be called in the timer phase"
      rig.server:wait_log("test%.called.*err=\".-" .. message:gsub("%.", "%%.") .. ".*name=" .. name:gsub("%.", "%%."))
    end
    assert.equal(200, clients.get(rig.port, "/").status)
  end))

  it("refuses code that looks for a request while it is loaded", loop.spec(function()
    local folder = plugins.write { early = { handler = "local shared = pdk.ctx.shared" } }
    local origin = origins.start()
    local conf = { plugin_path = { folder },
      pools = { { name = "web", backends = { { address = origin.address } } } },
      routes = { { name = "all", pool = "web" } } }
    local server = servers.start { conf = conf }
    conf.routes[1].plugins = { { name = "early" } }
    server:write_conf(conf)
    local ok, output = server:reload()
    assert.is_falsy(ok)
    assert.matches("ctx cannot be called while the plugin's code is loaded", output)
    plugins.write({ early = { handler = "pdk.request.get_path()" } }, folder)
    ok, output = server:reload()
    assert.is_falsy(ok)
    assert.matches("request%.get_path cannot be called while the plugin's code is loaded, only in: rewrite", output)
    assert.equal(200, clients.get(server.ports.http, "/").status)
    server:stop()
  end))

  it("measures spans, which end after they began", spec_of({
    trace = { handler = [[
      function Plugin:access()
        local outer = pdk.tracing.start_span("outer", { attributes = { who = "ana" } })
        pdk.tracing.set_active_span(outer)
        for i = 1, 50 do
          local inner = pdk.tracing.start_span("inner " .. i)
          inner:add_event "seen"
          inner:finish()
        end
        outer:record_error "oh"
        outer:set_status(2)
        outer:finish()
      end
      function Plugin:log()
        local count, wrong, outer = 0, 0, nil
        pdk.tracing.process_span(function(span)
          count = count + 1
          if span.end_time_ns < span.start_time_ns then wrong = wrong + 1 end
          if span.name == "outer" then outer = span end
          if span.name ~= "outer" and (span.parent_id ~= outer.span_id or span.trace_id ~= outer.trace_id) then
            wrong = wrong + 1
          end
        end)
        pdk.log.event("test.spans", { count = count, wrong = wrong, trace = outer.trace_id, status = outer.status,
          active = tostring(pdk.tracing.active_span()) })
      end]] },
  }, function(rig)
    assert.equal(200, clients.get(rig.port, "/").status)
    local _, line = rig.server:wait_log "(test%.spans.*)"
    assert.matches("active=nil count=51 status=2 trace=" .. ("%x"):rep(32) .. " wrong=0", line)
  end))

  it("tells log shippers about an exchange", spec_of({
    ship = { handler = [[
      function Plugin:access() pdk.log.set_serialize_value("custom.answer", 42) end
      function Plugin:log() pdk.log.event("test.entry", { json = pdk.json.encode(pdk.log.serialize()) }) end]] },
  }, function(rig)
    assert.equal(200, clients.get(rig.port, "/a?b=1", { Authorization = "Basic secret" }).status)
    local _, text = rig.server:wait_log 'test%.entry.*json="(.*)"$'
    local entry = cjson.decode((text:gsub("\\(.)", "%1")))
    assert.equal(42, entry.custom.answer)
    assert.equal("REDACTED", entry.request.headers.authorization)
    assert.equal("/a?b=1", entry.request.uri)
    assert.equal("1", entry.request.querystring.b)
    assert.equal("all", entry.route.name)
    assert.equal(200, entry.response.status)
    local host, port = rig.origin.address:match "^(.*):(%d+)$"
    assert.same({ { ip = host, port = tonumber(port) } }, entry.tries)
    assert.equal("/a?b=1", entry.upstream_uri)
  end))

  it("tells them who was tried", loop.spec(function()
    local nobody = origins.start()
    nobody:close()
    local rig = plugins.start { ship = { handler = [[
      function Plugin:log() pdk.log.event("test.tries", { json = pdk.json.encode(pdk.log.serialize().tries) }) end
    ]] } }
    rig.conf.pools[1].backends = { { address = nobody.address }, { address = rig.origin.address } }
    rig.server:write_conf(rig.conf)
    assert.is_true((rig.server:reload()))
    for _ = 1, 2 do assert.equal(200, clients.get(rig.port, "/").status) end
    local _, text = rig.server:wait_log 'test%.tries.*json="(.*failed.*)"$'
    local tries = cjson.decode((text:gsub("\\(.)", "%1")))
    assert.same({ { ip = "127.0.0.1", port = nobody.port, state = "failed" },
      { ip = "127.0.0.1", port = rig.origin.port } }, tries)
    rig.server:stop()
  end))
end)
