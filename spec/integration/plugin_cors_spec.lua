--- The plugin cors in a running server.
local clients = require "support.client"
local loop = require "support.loop"
local plugins = require "support.plugins"

local FIELDS = { "origin", "credentials", "methods", "headers", "private-network" }

--- Returns the fields of an answer that are about origins: {origin = ..., vary = ...}.
local function cors_of(answer)
  local found = { vary = answer:get "vary", expose = answer:get "access-control-expose-headers",
    age = answer:get "access-control-max-age" }
  for _, name in ipairs(FIELDS) do found[name] = answer:get("access-control-allow-" .. name) end
  return found
end

local function spec_of(config, run, options)
  return loop.spec(function()
    local rig = plugins.shipped({ { name = "cors", config = config } }, options)
    local function get(origin) return cors_of(clients.get(rig.port, "/", { Origin = origin })) end
    local function preflight(fields)
      fields.Origin = fields.Origin or "https://a.example"
      fields["Access-Control-Request-Method"] = fields["Access-Control-Request-Method"] or "PUT"
      local answer = clients.request(rig.port, "OPTIONS", "/", fields)
      return cors_of(answer), answer
    end
    run(rig, get, preflight)
    rig.server:stop()
  end)
end

--- An origin server that says something of origins itself.
local function own_fields(conn)
  conn:write("HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://backend.example\r\nVary: Accept-Encoding\r\n"
    .. "Access-Control-Allow-Credentials: true\r\nContent-Length: 0\r\n\r\n")
end

describe("cors", function()
  it("allows everybody, if nothing is said", spec_of({}, function(rig, get, preflight)
    assert.same({ origin = "*" }, get "https://a.example")
    assert.same({ origin = "*" }, get(nil))
    local found, answer = preflight { ["Access-Control-Request-Headers"] = "x-a, x-b" }
    assert.same({ origin = "*", methods = "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT",
      headers = "x-a, x-b" }, found)
    assert.equal(200, answer.status)
    assert.equal("", answer.body)
    assert.equal(2, #rig.origin.requests)
    assert.equal(200, clients.request(rig.port, "OPTIONS", "/", { Origin = "https://a.example" }).status)
    assert.equal(200, clients.request(rig.port, "OPTIONS", "/",
      { ["Access-Control-Request-Method"] = "GET" }).status)
    assert.equal(4, #rig.origin.requests) -- those were no preflights
  end))

  it("allows the origins that it is told, and says that answers vary", spec_of({
    origins = { "https://a.example", [[https://.*\.b\.example]] }, methods = { "GET", "PUT" },
    headers = { "X-A", "X-B" }, exposed_headers = { "X-C" }, credentials = true, max_age = 3600, private_network = true,
  }, function(_, get, preflight)
    for _, origin in ipairs { "https://a.example", "https://x.b.example" } do
      assert.same({ origin = origin, credentials = "true", expose = "X-C", vary = "Origin" }, get(origin))
    end
    for _, origin in ipairs { "https://evil.example", "null", "https://a.example.evil.example", "" } do
      assert.same({ expose = "X-C", vary = "Origin" }, get(origin))
    end
    assert.same({ expose = "X-C", vary = "Origin" }, get(nil))
    local allowed = { origin = "https://a.example", credentials = "true", methods = "GET,PUT", headers = "X-A,X-B",
      age = "3600", vary = "Origin" }
    assert.same(allowed, (preflight { ["Access-Control-Request-Headers"] = "x-z" }))
    allowed["private-network"] = "true"
    assert.same(allowed, (preflight { ["Access-Control-Request-Private-Network"] = "true" }))
    assert.same({ vary = "Origin" }, (preflight { Origin = "https://evil.example" }))
  end))

  it("tells the only origin to everybody", spec_of({ origins = { "https://a.example" } }, function(_, get)
    assert.same({ origin = "https://a.example", vary = "Origin" }, get "https://evil.example")
    assert.same({ origin = "https://a.example", vary = "Origin" }, get(nil))
  end))

  it("names the origin when everybody may send credentials", spec_of({ credentials = true }, function(_, get)
    assert.same({ origin = "https://a.example", credentials = "true", vary = "Origin" }, get "https://a.example")
    assert.same({ origin = "*", vary = "Origin" }, get(nil))
  end))

  it("can leave requests without an origin alone", spec_of({ allow_origin_absent = false }, function(_, get)
    assert.same({ vary = "Origin" }, get(nil))
    assert.same({ origin = "*", vary = "Origin" }, get "https://a.example")
  end))

  it("counts, not what the backend says", spec_of({ origins = { "https://a.example", "https://b.example" } },
    function(rig, get)
      assert.same({ origin = "https://a.example", vary = "Accept-Encoding, Origin" }, get "https://a.example")
      local answer = clients.get(rig.port, "/", { Origin = "https://backend.example" })
      assert.is_nil(answer:get "access-control-allow-origin")
      assert.is_nil(answer:get "access-control-allow-credentials")
    end, { origin = own_fields }))

  it("can leave preflights to the backend", spec_of({ preflight_continue = true }, function(rig, _, preflight)
    local found = preflight {}
    assert.equal("https://backend.example", found.origin)
    assert.equal("true", found.credentials)
    assert.equal(1, #rig.origin.requests)
  end, { origin = own_fields }))

  it("answers preflights before others ask who it is, whose answers have the fields too", loop.spec(function()
    local rig = plugins.start({ stop = { handler = [[
      function Plugin:access() return pdk.response.exit(401, { message = "who?" }) end]] } }, { plugins = {
      { name = "stop" }, { name = "cors", config = { origins = { "https://a.example", "https://b.example" } } } } })
    local fields = { Origin = "https://b.example", ["Access-Control-Request-Method"] = "GET" }
    assert.equal(200, clients.request(rig.port, "OPTIONS", "/", fields).status)
    local answer = clients.get(rig.port, "/", fields)
    assert.equal(401, answer.status)
    assert.equal("https://b.example", answer:get "access-control-allow-origin")
    rig.server:stop()
  end))

  it("stands whatever is sent as an origin", spec_of({ origins = { "https://(a+)+\\.example" }, credentials = true },
    function(rig, get)
      assert.equal("https://aa.example", get("https://aa.example").origin)
      for _, origin in ipairs { "https://" .. ("a"):rep(3000), "\255\254", "https://b.example\t", "://", "https://",
        "https://:443", "[", "https://a.example, https://aa.example" } do
        assert.is_nil(get(origin).origin)
      end
      local answer = clients.request(rig.port, "GET", "/", { { "Origin", "https://evil.example" },
        { "Origin", "https://a.example" } })
      assert.is_nil(answer:get "access-control-allow-origin") -- of two, the first
    end))

  it("refuses configurations that cannot work", loop.spec(function()
    for expected, config in pairs {
      ["origins%[1%]: bad pattern"] = { origins = { "*", "*.example.com" } },
      ["methods%[0%]"] = { methods = { "get" } },
      ["headers%[0%]: expected the name of a header field"] = { headers = { "a b" } },
      ["exposed_headers%[0%]: expected the name of a header field"] = { exposed_headers = { "a\r\nb" } },
      ["max_age"] = { max_age = -1 },
    } do
      assert.matches(expected, (plugins.problems { name = "cors", config = config }))
    end
  end))
end)
