--- What the functions that Kong's handlers know mean: arguments, results, errors, phases.
local json = require "veloflux.pdk.json"
local kit = require "veloflux.kit"

local HELPERS = [[
  local function say(...) pdk.log.event("said", { json = pdk.json.encode { values = { ... } } }) end
  local function shown(text) return (text:gsub("[\128-\255]", function(c) return "\\" .. c:byte() end)) end
  local function fails(fn, ...) local ok, err = pcall(fn, ...) return not ok and tostring(err) or false end
]]

--- Runs scripts, by phase, for one request.
-- @param options of kit.start; `request`
-- @return answer, what the scripts have said (lists), the request as the backend has seen it
local function run(scripts, options)
  local config, started = {}, { fuzz = false }
  for name, value in pairs(options or {}) do started[name] = value end
  for phase, text in pairs(scripts) do config[phase] = HELPERS .. text end
  started.plugins, started.request = { { name = "script", config = config } }, nil
  local gateway = kit.start(started)
  local answer = gateway:request(options and options.request or {})
  local said = {}
  for i, line in ipairs(gateway:logs "said") do said[i] = json.decode(line.json).values end
  assert.same({}, gateway:logs "plugin.failed")
  return answer, said, gateway:upstream_requests()[1]
end

--- The same for one script of the phase access; returns what it says first.
local function said_of(text, request, options)
  options = options or {}
  options.request = request
  local _, said = run({ access = text }, options)
  return assert(said[1], "it has said nothing")
end

local function post(content_type, body)
  return { method = "POST", body = body, headers = { ["Content-Type"] = content_type } }
end

describe("the request's path", function()
  it("is normalised, and there as it was sent, too", function()
    assert.same({ "/a/b/A\\195\\169%3A/z", "/a//b/./%41%c3%a9%3a/y/../z", "/a//b/./%41%c3%a9%3a/y/../z?q=//" }, said_of(
      "say(shown(pdk.request.get_path()), pdk.request.get_raw_path(), pdk.request.get_path_with_query())",
      { path = "/a//b/./%41%c3%a9%3a/y/../z?q=//" }))
  end)

  it("is there with its query as it was sent, question mark or not", function()
    for _, path in ipairs { "/", "/?", "/a?", "/?a", "/a?b?c", "/a??", "/a?=" } do
      assert.equal(path, said_of("say(pdk.request.get_path_with_query())", { path = path })[1])
    end
    assert.equal("/a?", said_of("say(pdk.request.get_path_with_query())", { path = "http://example.test/a?" })[1])
  end)

  it("is readable, but for what has a meaning, and for control characters", function()
    local paths = { ["/t/Abc%20123%C3%B8/parent/..//test/./"] = "/t/Abc 123\\195\\184/test/",
      ["/%7e%22%3c%7B%7d%5e"] = '/~"<{}^', ["/%0a%0D%7f%09"] = "/%0A%0D%7F%09",
      ["/%3b%3f%23%5b%40%2a"] = "/%3B%3F%23%5B%40%2A" }
    for path, expected in pairs(paths) do
      local said = said_of("say(shown(pdk.request.get_path()), shown(pdk.request.get_forwarded_path()))",
        { path = path })
      assert.same({ expected, expected }, said)
    end
    local _, said, seen = run({ access = "pdk.service.request.set_path(pdk.request.get_path()) say(1)" },
      { request = { path = "/a%20b%c3%a9" } })
    assert.same({ { 1 } }, said)
    assert.equal("/a%20b%C3%A9", seen.path)
  end)
end)

describe("a query", function()
  it("has texts, true without a value, lists of repeated ones; the first of them for one name", function()
    local said = said_of("local r = pdk.request "
      .. "say(r.get_query(), r.get_query_arg 'bar', r.get_query_arg 'zzz', r.get_query_arg 'blo')",
      { path = "/?foo=hello%20world&bar=baz&zzz&blo=&bar=bla&bar&=nameless" })
    assert.same({ { foo = "hello world", bar = { "baz", "bla", true }, zzz = true, blo = "" }, "baz", true, "" }, said)
    assert.same({ true, true, "truncated" }, said_of([[
      local nameless, missing = pdk.request.get_query_arg "", pdk.request.get_query_arg "x"
      local _, err = pdk.request.get_query(1)
      say(nameless == nil, missing == nil, err)]], { path = "/?a=1&b=2&=x" }))
  end)
end)

describe("content", function()
  local GET = "local body, err, kind = pdk.request.get_body() say(body or false, err or false, kind or false)"

  it("is decoded as its type says, which is the third result", function()
    assert.same({ { a = { 1, 2 }, b = { c = true } }, false, "application/json" },
      said_of(GET, post("Application/JSON; charset=utf-8", '{"a":[1,2],"b":{"c":true}}')))
    assert.same({ { a = { "1", "2" }, b = true, c = "x y" }, false, "application/x-www-form-urlencoded" },
      said_of(GET, post("application/x-www-form-urlencoded", "a=1&b&a=2&c=x+y")))
    assert.same({ { a = "1", f = "l1\r\nl2" }, false, "multipart/form-data" }, said_of(GET, post(
      "multipart/form-data; boundary=xx", '--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
      .. '--xx\r\nContent-Disposition: form-data; name="f"; filename="q"\r\n\r\nl1\r\nl2\r\n--xx--\r\n')))
  end)

  it("says what it is not", function()
    assert.same({ false, "missing content type", false }, said_of(GET, { method = "POST", body = "x" }))
    assert.same({ false, "unsupported content type 'text/plain; a=b'", "text/plain" },
      said_of(GET, post("text/plain; a=b", "x")))
    assert.same({ false, "invalid json body", "application/json" }, said_of(GET, post("application/json", '"text"')))
    assert.same({ false, "invalid json body", "application/json" }, said_of(GET, post("application/json", '{"a":')))
    for kind in pairs { ["application/json-patch"] = true, ["application/vnd.x+json"] = true } do
      assert.same({ { 1 }, false, "application/json" }, said_of(GET, post(kind, "[1]")))
    end
    assert.same({ "" }, said_of("say(pdk.request.get_raw_body())"))
  end)

  it("is written in each form, with the type as it was given", function()
    local cases = {
      { '{ a = 1 }, "application/json; charset=utf-8"', "application/json; charset=utf-8", '{"a":1}' },
      { '{ foo = "hello world", bar = { "baz", "bla", true }, zzz = true, blo = "", no = false }, '
        .. '"application/x-www-form-urlencoded"', "application/x-www-form-urlencoded",
        "bar=baz&bar=bla&bar&blo=&foo=hello%20world&zzz" },
      { '{ b = 2, ["a\\"b"] = "1" }, "multipart/form-data; boundary=zz"', "multipart/form-data; boundary=zz",
        '--zz\r\nContent-Disposition: form-data; name="a%22b"\r\n\r\n1\r\n'
        .. '--zz\r\nContent-Disposition: form-data; name="b"\r\n\r\n2\r\n--zz--\r\n' },
    }
    for _, case in ipairs(cases) do
      local _, said, seen = run({ access = ("say(pdk.service.request.set_body(%s))"):format(case[1]) },
        { request = { method = "POST", body = "x" } })
      assert.same({ { true }, case[2], case[3] }, { said[1], seen.headers["content-type"], seen.body })
    end
  end)

  it("gets a delimiter that is not in it", function()
    for _, kind in ipairs { "multipart/form-data", "multipart/form-data; boundary=zz" } do
      local _, _, seen = run({ access = ('pdk.service.request.set_body({ a = "--zz" }, "%s")'):format(kind) },
        { request = { method = "POST", body = "x" } })
      local boundary = seen.headers["content-type"]:match "^multipart/form%-data; boundary=(%x+)$"
      assert.equal(("--%s\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n--zz\r\n--%s--\r\n"):format(boundary,
        boundary), seen.body)
    end
  end)

  it("is not written as what it cannot be", function()
    local said = said_of([[
      local set = pdk.service.request.set_body
      local _, missing = set {}
      local _, unsupported = set({}, "text/plain")
      say(missing, unsupported, fails(set, "x"), fails(set, {}, 1), fails(set, { "x" }, "multipart/form-data"),
        fails(set, { a = {} }, "multipart/form-data"), fails(set, { "x" }, "application/x-www-form-urlencoded"))]],
      { method = "POST", body = "x" })
    assert.same({ "content type was neither explicitly given as an argument or received as a header",
      "unsupported content type 'text/plain'" }, { said[1], said[2] })
    for i, wanted in ipairs { "expected a table", "expected a string", "string keys", "field a", "string keys" } do
      assert.matches(wanted, said[i + 2])
    end
  end)
end)

describe("fields of the request", function()
  it("stay what the client has sent and plugins have set, once it is forwarded, too", function()
    local headers = { ["X-A"] = "1", ["X-Gone"] = "1", ["X-Hop"] = "1", Connection = "x-hop",
      ["X-Request-Id"] = "mine" }
    local later = [[
      local h = pdk.request.get_headers()
      say(h.host, h["x-a"], h["x-hop"], h["x-mine"], h["content-length"], h["x-gone"] == nil, h["x-request-id"],
        h.via == nil, h["x-forwarded-for"] == nil)]]
    local _, said, seen = run({ access = 'pdk.service.request.set_header("X-Mine", 2) '
      .. 'pdk.service.request.clear_header("x_gone")', header_filter = later, log = later },
      { request = { method = "POST", body = "abc", headers = headers } })
    for _, values in ipairs(said) do
      assert.same({ "example.test", "1", "1", "2", "3", true, "mine", true, true }, values)
    end
    assert.equal(2, #said)
    assert.is_nil(seen.headers["x-hop"])
    assert.equal("198.51.100.1", seen.headers["x-forwarded-for"])
  end)

  it("have the Host that a plugin has set; it is sent once", function()
    local _, said, seen = run { access = 'pdk.service.request.set_header("Host", "b.test:81")',
      log = 'say(pdk.request.get_header "host", pdk.request.get_host())' }
    assert.same({ "b.test:81", "example.test" }, said[1])
    local hosts = 0
    for _, field in ipairs(seen.fields) do
      if (field.name or field[1]):lower() == "host" then hosts = hosts + 1 end
    end
    assert.same({ "b.test:81", 1 }, { seen.headers.host, hosts })
  end)

  it("have an authority in gRPC alone", function()
    local SET = 'local ok, err = pdk.service.request.set_header(":authority", "b.test") say(ok == nil, err or false)'
    local _, said, seen = run { access = SET }
    assert.same({ { true, "cannot set :authority pseudo-header on non-grpc requests" }, "example.test" },
      { said[1], seen.headers.host })
    _, said, seen = run({ access = SET }, { request = post("application/grpc", "x") })
    assert.same({ { true, false }, "b.test" }, { said[1], seen.headers.host })
  end)

  it("have the Host of the target, unless a plugin sets another behind that", function()
    local function host_of(text)
      local answer = run({ access = text }, { hosts = { ["other.test:81"] = function(request)
        return request.headers.host
      end } })
      return answer.body
    end
    local SET = 'pdk.service.set_target("other.test", 81) '
    assert.equal("other.test", host_of(SET))
    assert.equal("other.test", host_of('pdk.service.request.set_header("Host", "a.test") ' .. SET))
    assert.equal("b.test", host_of(SET .. 'pdk.service.request.set_header("Host", "b.test")'))
  end)

  it("are set all or none", function()
    local _, said, seen = run { access = 'say(fails(pdk.service.request.set_headers, { ["X-A"] = "1", ["X-B"] = say }))'
      .. 'pdk.service.request.set_headers { ["X-C"] = { "1", "2" }, ["X-D"] = true, ["X-E"] = 3 }' }
    assert.matches('header "X%-B": expected a string', said[1][1])
    assert.is_nil(seen.headers["x-a"])
    assert.same({ { "1", "2" }, "true", "3" }, { seen.headers["x-c"], seen.headers["x-d"], seen.headers["x-e"] })
  end)
end)

describe("addresses behind a proxy that is trusted", function()
  local function client(forwarded)
    return said_of([[say(pdk.client.get_ip(), pdk.client.get_port(), pdk.client.get_forwarded_ip(),
      pdk.client.get_forwarded_port(), pdk.client.get_protocol(), pdk.client.get_protocol(true))]],
      { headers = { ["X-Forwarded-For"] = forwarded, ["X-Forwarded-Port"] = "443", ["X-Forwarded-Proto"] = "https" },
        port = 40000 }, { conf = { trusted_proxies = { "198.51.100.1" } } })
  end

  it("may have ports", function()
    for forwarded, expected in pairs { ["192.0.2.1"] = { "192.0.2.1", 40000 },
      ["192.0.2.1:5678"] = { "192.0.2.1", 5678 }, ["[2001:db8::1]:5678"] = { "2001:db8::1", 5678 },
      ["[2001:db8::1]"] = { "2001:db8::1", 40000 }, ["2001:db8::1"] = { "2001:db8::1", 40000 },
      ["192.0.2.1:x"] = { "198.51.100.1", 40000 }, ["192.0.2.1:99999"] = { "198.51.100.1", 40000 },
      ["[2001:db8::1]x"] = { "198.51.100.1", 40000 }, [":"] = { "198.51.100.1", 40000 } } do
      assert.same({ "198.51.100.1", 40000, expected[1], expected[2], "http", "https" }, client(forwarded), forwarded)
    end
  end)
end)

describe("what a trusted proxy has forwarded", function()
  local function forwarded(headers)
    return said_of([[local r = pdk.request
      say(r.get_forwarded_scheme(), r.get_forwarded_host(), r.get_forwarded_port(), r.get_forwarded_path(),
        r.get_forwarded_prefix() or false)]], { headers = headers, path = "/a//b" },
      { conf = { trusted_proxies = { "198.51.100.1" } } })
  end

  it("is believed as far as it makes sense", function()
    assert.same({ "http", "example.test", 8000, "/a/b", false }, forwarded {})
    assert.same({ "https", "shop.test", 8443, "/x%20y?z", "/p?q" }, forwarded { ["X-Forwarded-Proto"] = "HTTPS",
      ["X-Forwarded-Host"] = "me:pw@Shop.Test:8443", ["X-Forwarded-Path"] = "/x%20y?z",
        ["X-Forwarded-Prefix"] = "/p?q" })
    for _, port in ipairs { "0", "65536", "0x50", "80.5", "-1", "1e3", "x", "" } do
      assert.equal(8000, forwarded({ ["X-Forwarded-Port"] = port })[3], port)
      assert.equal(8000, forwarded({ ["X-Forwarded-Host"] = "h:" .. port })[3], port)
    end
    assert.equal(65535, forwarded({ ["X-Forwarded-Port"] = "65535", ["X-Forwarded-Host"] = "h:1" })[3])
    assert.same({ "[::1]", 81 }, { select(2, unpack(forwarded { ["X-Forwarded-Host"] = "[::1]:81" }, 1, 3)) })
  end)
end)

describe("fields of the answer", function()
  it("have dashes where plugins write underscores", function()
    local answer = run({ access = 'pdk.response.set_header("x_early", { "a", "b" })', header_filter = [[
      pdk.response.add_header("x_up", "2") pdk.response.clear_header("x_gone")
      say(fails(pdk.response.set_headers, { ["X-A"] = "1", ["X-B"] = say }))]] },
      { upstream = function() return { headers = { ["X-Up"] = "1", ["X-Gone"] = "1" } } end })
    assert.same({ { "a", "b" }, { "1", "2" } }, { answer.headers["x-early"], answer.headers["x-up"] })
    assert.is_nil(answer.headers["x-gone"])
    assert.is_nil(answer.headers["x-a"])
    answer = run { access = 'pdk.response.exit(401, nil, { www_authenticate = "Basic" })' }
    assert.equal("Basic", answer.headers["www-authenticate"])
  end)

  it("say how long it is, unless a filter may change that", function()
    local SAY_LENGTH = 'say(pdk.response.get_header "content_length", pdk.response.get_headers()["content-length"], '
      .. 'pdk.response.get_source())'
    local _, said = run({ header_filter = SAY_LENGTH, log = SAY_LENGTH }, { upstream = function() return "1234" end })
    assert.same({ { "4", "4", "service" }, { "4", "4", "service" } }, said)
    _, said = run { access = 'pdk.response.exit(200, "123")', header_filter = SAY_LENGTH }
    assert.same({ { "3", "3", "exit" } }, said)
    _, said = run({ header_filter = SAY_LENGTH, body_filter = 'pdk.response.set_chunk("")',
      log = 'say(pdk.response.get_header "content-length" == nil)' }, { upstream = function() return "1234" end })
    assert.same({ { "4", "4", "service" }, { true } }, said)
    _, said = run({ header_filter = 'say(pdk.response.get_header "content-length" == nil)' },
      { upstream = function() return { chunked = true, body = "1234" } end })
    assert.same({ { true } }, said)
  end)
end)

describe("an answer of the plugin's", function()
  it("needs a status, content and fields of the right types", function()
    local said = said_of([[
      local exit, problem = pdk.response.exit, pdk.response.error
      say(fails(exit, "x"), fails(exit, 99), fails(exit, 600), fails(exit, 200, 1), fails(exit, 200, "x", "y"),
        fails(exit, 200, "x", { "y" }), fails(problem, 200), fails(problem, 404, 1), fails(problem, 404, "x", 1))]])
    for i, wanted in ipairs { "status", "status", "status", "as body", "table of headers", "string keys", "400 to 599",
      "as message", "table of headers" } do
      assert.matches(wanted == "400 to 599" and "between 400 and 599" or wanted, said[i])
    end
  end)

  it("is an error in the form of its Content-Type, or that the client accepts", function()
    local function answer_of(arguments, accept)
      return run({ access = ("pdk.response.error(%s)"):format(arguments) },
        { request = { headers = { Accept = accept } } })
    end
    local answer = answer_of('403, "no", { ["content-type"] = "text/plain", ["X-A"] = 1 }', "application/json")
    local id = answer.headers["x-request-id"] or answer.body:match "request_id: (%S+)"
    assert.same({ 403, ("no\nrequest_id: %s\n"):format(id), "text/plain", "1" }, { answer.status, answer.body,
      answer.headers["content-type"], answer.headers["x-a"] })
    answer = answer_of('418, "a<b"', "text/plain;q=0.3, application/xml")
    assert.matches("^<%?xml.*<message>a&lt;b</message><requestid>%S+</requestid></error>", answer.body)
    assert.matches('"message":"Not found"', answer_of("404", "*/*").body)
    for accept, kind in pairs { ["text/*"] = "text/plain", ["text/html"] = "text/html", ["*/*"] = "application/json",
      ["TEXT/HTML;q=0.1, text/*;q=0.2"] = "text/plain", ["application/*"] = "application/json", ["image/png"] =
      "application/json", ["text/xml, application/xml;q=0.1"] = "application/xml" } do
      assert.equal(kind .. "; charset=utf-8", answer_of("404", accept).headers["content-type"])
    end
    assert.matches('"message":{"a":1}', answer_of("400, { a = 1 }").body)
    assert.matches('<p>{&quot;a&quot;:1}%.</p><p>request_id: %S+</p>', answer_of("400, { a = 1 }", "text/html").body)
    assert.matches('"message":"The upstream server responded with 499"', answer_of("499").body)
    assert.matches('"message":"Conflict"', answer_of('409, nil, { ["Content-Type"] = "application/vnd.x+json" }').body)
  end)

  it("has a status of gRPC for who asks in gRPC", function()
    local function grpc(text)
      local answer = run({ access = text }, { request = post("application/grpc+proto", "") })
      return { answer.status, answer.headers["grpc-status"], answer.headers["grpc-message"],
        answer.headers["content-type"], answer.body }
    end
    assert.same({ 200, "8", "100 %25 used", "application/grpc", "" },
      grpc 'pdk.response.exit(429, { message = "100 % used" })')
    assert.same({ 200, "7", "no", "application/grpc", "" }, grpc 'pdk.response.exit(403, "no")')
    assert.same({ 200, "5", "Not found", "application/grpc", "" }, grpc "pdk.response.error(404)")
    assert.same({ 200, "9", "mine", "application/grpc", "" },
      grpc 'pdk.response.exit(400, "x", { ["grpc-status"] = 9, ["Grpc-Message"] = "mine" })')
    assert.same({ 200, "0", "OK", "application/grpc", "" }, grpc "pdk.response.exit(204)")
    assert.same({ 200, "7", "PermissionDenied", "application/grpc", "" }, grpc "pdk.response.exit(403)")
    assert.same({ 200, "3", "InvalidArgument", "application/grpc", "" }, grpc "pdk.response.exit(418, { a = 1 })")
    assert.same({ 200, nil, nil, "application/grpc", "frame" },
      grpc 'pdk.response.exit(200, "frame", { ["Content-Type"] = "application/grpc" })')
  end)
end)

describe("an answer without content", function()
  local function empty(status)
    return function() return { status = status or 200, headers = { ["X-Empty"] = "1" }, body = "" } end
  end

  it("goes through the body filter, which may give it some", function()
    local FILL = 'local body = pdk.response.get_raw_body() say(body, select(2, pdk.response.get_chunk())) '
      .. 'if body then pdk.response.set_raw_body("filled") end'
    for _, case in ipairs { { empty() }, { empty(404) }, { nil, "pdk.response.exit(403)" },
      { nil, "pdk.timer.sleep(1) pdk.response.exit(302, nil, { Location = '/' })" } } do
      local answer, said = run({ access = case[2], body_filter = FILL }, { upstream = case[1] })
      assert.same({ "filled", { { "", true } } }, { answer.body, said })
    end
    local answer, said = run({ body_filter = "pdk.timer.sleep(1) " .. FILL }, { upstream = empty() })
    assert.same({ "filled", { { "", true } } }, { answer.body, said })
  end)

  it("has none after HEAD, nor with 204 and 304", function()
    for _, case in ipairs { { 200, "HEAD" }, { 204, "GET" }, { 304, "GET" } } do
      local answer, said = run({ body_filter = 'say "run"' }, { upstream = empty(case[1]),
        request = { method = case[2] } })
      assert.same({ case[1], "", {} }, { answer.status, answer.body, said })
    end
  end)

  it("is a whole one, too", function()
    local answer, said = run({ access = "pdk.service.request.enable_buffering()",
      header_filter = 'say(pdk.service.response.get_raw_body()) pdk.response.set_raw_body("made")' },
      { upstream = empty() })
    assert.same({ "made", "4", { { "" } } }, { answer.body, answer.headers["content-length"], said })
  end)
end)

describe("plugins that collect the same content", function()
  it("see what those before them have made of it", function()
    local function script(name, body_filter)
      return { name = "script", as = name, config = { body_filter = body_filter } }
    end
    local gateway = kit.start { plugins = {
      script("a", "pdk.response.get_raw_body()"),
      script("b", [[local piece, is_last = pdk.response.get_chunk()
        if is_last then pdk.response.set_chunk(piece .. "!") end]]),
      script("c", [[local body = pdk.response.get_raw_body()
        if body then pdk.response.set_raw_body("<" .. body .. ">") end]]),
    }, upstream = function() return { body = { "one ", "two" } } end }
    assert.equal("<one two!>", gateway:request({}).body)
  end)
end)

describe("the backend's answer", function()
  it("is decoded as its type says", function()
    local function body_of(arguments, content_type, body)
      local _, said = run({ access = "pdk.service.request.enable_buffering()", header_filter =
        ("local body, err, kind = pdk.service.response.get_body(%s) say(body or false, err or false, kind or false)")
        :format(arguments) }, { upstream = function()
          return { headers = { ["Content-Type"] = content_type }, body = body }
        end })
      return said[1]
    end
    assert.same({ { a = 1 }, false, "application/json" }, body_of("", "application/json", '{"a":1}'))
    assert.same({ false, "invalid json body", "application/json" }, body_of("", "application/json", "1"))
    assert.same({ { a = "1" }, false, "application/x-www-form-urlencoded" },
      body_of('"application/x-www-form-urlencoded", 1', "text/plain", "a=1&b=2"))
    assert.same({ { a = "1" }, false, "multipart/form-data" }, body_of("", "multipart/form-data; boundary=x",
      '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--'))
    assert.same({ false, "unsupported content type 'text/plain'", "text/plain" }, body_of("", "text/plain", "x"))
    assert.same({ false, "missing content type", false }, body_of("", nil, "x"))
  end)
end)

describe("a consumer that a plugin has made", function()
  it("is one for those behind it", function()
    local gateway = kit.start { plugins = {
      { name = "script", config = { access = 'pdk.client.authenticate({ id = tonumber(pdk.request.get_header "x-id"), '
        .. 'username = "eve" }, { id = 5 })' } },
      { name = "rate-limiting", config = { hour = 1 } },
      { name = "rate-limiting", as = "credential", config = { hour = 3, limit_by = "credential" } },
    } }
    local function ask(id) return gateway:request({ headers = { ["X-Id"] = id } }).status end
    assert.same({ 200, 429, 200, 429 }, { ask "1", ask "1", ask "2", ask "3" })
  end)
end)

describe("what log.serialize returns", function()
  it("has the request, the answer and who has asked", function()
    local _, said = run({ access = 'local c = pdk.client.load_consumer "ana" pdk.client.authenticate(c, { id = "c1" })',
      log = "local e = pdk.log.serialize() e.latencies, e.started_at = nil say(e)" },
      { request = { path = "/a?b=1&c", headers = { Authorization = "secret", Cookie = "x" } },
        consumers = { { name = "ana", custom_id = "7" } }, upstream = function() return "body" end })
    local entry = said[1][1]
    assert.same({ host = "example.test", authorization = "REDACTED", cookie = "REDACTED" }, entry.request.headers)
    assert.same({ "/a?b=1&c", "http://example.test:8000/a?b=1&c", "GET", { b = "1", c = true } },
      { entry.request.uri, entry.request.url, entry.request.method, entry.request.querystring })
    local response = entry.response
    assert.same({ 200, 4, "4" }, { response.status, response.size, response.headers["content-length"] })
    assert.same({ "route", { "/" }, { id = "upstream" }, "upstream", "http", "upstream", "service", "200" },
      { entry.route.id, entry.route.paths, entry.route.service, entry.service.name, entry.service.protocol, entry.pool,
        entry.source, entry.upstream_status })
    assert.same({ { id = "ana", username = "ana", custom_id = "7" }, { id = "c1", consumer_id = "ana" } },
      { entry.consumer, entry.authenticated_entity })
  end)

  it("tells how long each part took, and that no backend has answered", function()
    local LATENCIES = "local e = pdk.log.serialize() say(e.latencies, e.upstream_status, e.upstream_uri)"
    local _, said = run({ access = "pdk.timer.sleep(0.1)", log = LATENCIES },
      { upstream = function() return { delay = 0.2, body = { "a", "b" }, interval = 0.3 } end })
    local taken = said[1][1]
    assert.is_true(taken.kong >= 100 and taken.kong < 200, taken.kong)
    assert.is_true(taken.proxy >= 200 and taken.proxy < 300, taken.proxy)
    assert.is_true(taken.receive >= 300 and taken.request >= 600, taken.receive)
    _, said = run { access = "pdk.timer.sleep(0.1) pdk.response.exit(403)", log = LATENCIES }
    taken = said[1][1]
    assert.same({ -1, 0, taken.request, "" }, { taken.proxy, taken.receive, taken.kong, said[1][2] })
  end)

  it("is changed under dotted paths", function()
    local _, said = run { access = [[
      local set = pdk.log.set_serialize_value
      set("my.new", { value = 1 }) set("my.new.value", 2) set("request.method", "X", { mode = "add" })
      set("request.method", "Y", { mode = "replace" }) set("not.there.yet", 1, { mode = "replace" })
      set("request.uri", nil) set("added.here", true, { mode = "add" })
      say(fails(set, 1, 2), fails(set, "a", 1, { mode = "other" }))]],
      log = "local e = pdk.log.serialize() "
        .. "say(e.my, e.request.method, e['not'] == nil, e.request.uri == nil, e.added)" }
    assert.matches("expected a string as key", said[1][1])
    assert.matches('expected "set", "add" or "replace"', said[1][2])
    assert.same({ { new = { value = 2 } }, "Y", true, true, { here = true } }, said[2])
  end)

  it("is not there when a value cannot be logged", function()
    local function problem_of(text)
      local _, said = run { access = text, log = "say(fails(pdk.log.serialize))" }
      return said[1][1]
    end
    assert.matches('"request.method.x": method is no table',
      problem_of 'pdk.log.set_serialize_value("request.method.x", 1)')
    assert.matches('"f": expected a string', problem_of 'pdk.log.set_serialize_value("f", say)')
    assert.matches('"t": expected a string', problem_of 'local t = {} t.t = { t } pdk.log.set_serialize_value("t", t)')
  end)
end)

describe("spans", function()
  it("have parents: the active one, a given one, the caller's", function()
    assert.same({ true, true, true, true, ("a"):rep(32), ("b"):rep(16), false, false }, said_of [[
      local tracing = pdk.tracing
      local root = tracing.start_span("root", { trace_id = ("a"):rep(32), parent_id = ("b"):rep(16),
        should_sample = false })
      tracing.set_active_span(root)
      local child = tracing.start_span "child"
      tracing.set_active_span(nil)
      local other = tracing.start_span("other", { parent = child })
      say(child.parent_id == root.span_id, other.parent_id == child.span_id, other.trace_id == root.trace_id,
        tracing.active_span() == nil, root.trace_id, root.parent_id, root.should_sample, other.should_sample)]])
  end)

  it("refuse what they are not", function()
    local said = said_of [[
      local start = pdk.tracing.start_span
      local span = start "x"
      say(fails(start, ""), fails(start, "x", 1), fails(start, "x", { attributes = 1 }),
        fails(start, "x", { parent = {} }), fails(span.set_attribute, span, 1, "x"),
        fails(span.add_event, span, 1), fails(span.set_status, span, "x"),
        fails(span.finish, span, 1), fails(pdk.tracing.set_active_span, {}))]]
    assert.equal(9, #said)
    for _, problem in ipairs(said) do assert.is_string(problem) end
  end)
end)

describe("the id of an instance", function()
  it("is a UUID for each place where it stands, the same each time", function()
    local function ids(options)
      local config = { access = HELPERS .. "say(pdk.plugin.get_id(), pdk.plugin.get_name())" }
      options.plugins = { { name = "script", config = config }, { name = "script", as = "two", config = config } }
      local gateway, said = kit.start(options), {}
      gateway:request {}
      for i, line in ipairs(gateway:logs "said") do said[i] = json.decode(line.json).values end
      return said
    end
    local first, again = ids {}, ids {}
    assert.same(first, again)
    assert.same({ "script", "script/two" }, { first[1][2], first[2][2] })
    for _, each in ipairs(first) do
      assert.matches("^%x%x%x%x%x%x%x%x%-%x%x%x%x%-8%x%x%x%-8%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$", each[1])
    end
    assert.is_not.equal(first[1][1], first[2][1])
    assert.is_not.equal(first[1][1], ids({ route = { name = "other" } })[1][1])
  end)
end)

describe("functions in the wrong phase", function()
  it("raise, and say where they may be called", function()
    local said = said_of [[
      say(fails(pdk.client.tls.request_client_certificate), fails(pdk.client.tls.disable_session_reuse),
        fails(pdk.response.get_status), fails(pdk.service.response.get_status))]]
    for i, names in ipairs { "certificate", "certificate", "header_filter, body_filter, log",
      "header_filter, body_filter, log" } do
      assert.matches("cannot be called in the access phase, only in: " .. names .. "$", said[i])
    end
  end)
end)

describe("coroutines of the plugin's own", function()
  it("yield, and what runs the handler does not", function()
    local answer, said = run { access = [[
      local count = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)
      local inner = coroutine.create(function() pdk.response.exit(200, "inner") end)
      say(count(), count(), fails(coroutine.yield, 1), select(2, coroutine.resume(inner)))]] }
    assert.same({ 200, "" }, { answer.status, answer.body })
    assert.same({ 1, 2 }, { said[1][1], said[1][2] })
    assert.matches("attempt to yield from outside a coroutine of the plugin's own", said[1][3])
    assert.matches("response.exit: not possible inside a coroutine of the plugin's own", said[1][4])
  end)
end)

describe("numbers that are none", function()
  it("are refused", function()
    local said = said_of [[
      local nan = 0 / 0
      say(fails(pdk.service.set_timeouts, nan, 1, 1), fails(pdk.service.set_timeouts, 1.5, 1, 1),
        fails(pdk.request.get_query, nan), fails(pdk.request.get_headers, nan), fails(pdk.response.exit, nan),
        fails(pdk.response.set_status, nan), fails(pdk.service.set_retries, nan), fails(pdk.timer.sleep, nan))]]
    assert.equal(8, #said)
    for _, problem in ipairs(said) do assert.is_string(problem) end
  end)
end)

describe("the route", function()
  local SAY = [[local route = pdk.router.get_route()
    say(route.name, route.paths, route.protocols, route.path_regex or false, route.strip_path, route.service,
      pdk.request.get_forwarded_prefix() or false)]]

  it("is what the conf says, its path a prefix or an expression", function()
    assert.same({ "route", { "/a" }, { "http", "https" }, false, true, { id = "upstream" }, "/a" },
      said_of(SAY, { path = "/a/b" }, { route = { path_prefix = "/a", strip_prefix = true } }))
    assert.same({ "route", { "~^/(?<id>b)" }, { "http", "https" }, "^/(?<id>b)", false, { id = "upstream" }, false },
      said_of(SAY, { path = "/b" }, { route = { path_regex = "^/(?<id>b)" } }))
  end)

  it("has captures, with and without names", function()
    local SAY_CAPTURES = [[local captures = pdk.request.get_uri_captures()
      say(captures.named, { captures.unnamed[1], captures.unnamed[2] }, captures.unnamed[0] or false)]]
    assert.same({ { id = "12" }, { "12", "xy" }, "/u/12/xy" }, said_of(SAY_CAPTURES, { path = "/u/12/xy" },
      { route = { path_regex = "^/u/(?<id>\\d+)/(\\w+)" } }))
    assert.same({ {}, {}, false }, said_of(SAY_CAPTURES, { path = "/u/12" }, { route = { path_regex = "^/u" } }))
  end)

  it("says what else it asks for", function()
    local said = said_of("local r = pdk.router.get_route() say(r.methods, r.headers, r.regex_priority, r.hosts)",
      { method = "POST", headers = { ["X-A"] = "1", ["X-B"] = "x", ["X-C"] = "" } }, { route = { priority = 5,
        methods = { "POST", "BREW" }, host = "example.test",
        match = { headers = { ["X-A"] = "1", ["X-B"] = { regex = "^x" }, ["X-C"] = { present = true },
          ["X-D"] = { present = false } } } } })
    assert.same({ { "POST", "BREW" }, { ["x-a"] = { "1" }, ["x-b"] = { "~*^x" }, ["x-c"] = { "~*.*" } }, 5,
      { "example.test" } }, said)
  end)

  it("names its own pool, also when another one was chosen", function()
    local backends = { { address = "127.0.0.1:1" } }
    local conf = { pools = { { name = "upstream", backends = backends }, { name = "other", backends = backends } } }
    local said = said_of([[assert(pdk.service.set_upstream "other")
      say(pdk.router.get_route().service.id, pdk.router.get_service().id, pdk.log.serialize().route.service.id)]],
      nil, { conf = conf })
    assert.same({ "upstream", "upstream", "upstream" }, said)
  end)
end)

describe("the service", function()
  local function service(pool, text)
    return said_of(text or "say(pdk.router.get_service())", nil, { pool = pool })[1]
  end

  it("is the pool that the route names, with its protocol and times", function()
    local plain = service()
    assert.same({ "upstream", "upstream", "upstream", "http", "default", true, 3 },
      { plain.id, plain.name, plain.host, plain.protocol, plain.tenant, plain.enabled, plain.retries })
    assert.is_number(plain.port)
    assert.is_nil(plain.tls_verify)
    local other = service { tls = { verify = false, depth = 2 },
      timeouts = { connect = "2s", client_body = "3s", response = "4s" } }
    assert.same({ "https", false, 2, 2000, 3000, 4000 }, { other.protocol, other.tls_verify, other.tls_verify_depth,
      other.connect_timeout, other.write_timeout, other.read_timeout })
  end)

  it("is of gRPC where HTTP/2 is spoken always", function()
    assert.equal("grpc", service({ protocol = "h2" }).protocol)
    assert.equal("grpcs", service({ protocol = "h2", tls = true }).protocol)
    assert.equal("https", service({ protocol = "auto", tls = true }).protocol)
  end)
end)

describe("units of memory", function()
  it("are of either case", function()
    local said = said_of [[
      local function vm(...) return pdk.node.get_memory_stats(...).workers_lua_vms[1].http_allocated_gc end
      say(vm(), vm "B", vm "k", vm("M", 0), fails(vm, "x"))]]
    assert.is_number(said[1])
    assert.is_number(said[2])
    assert.matches("^%d+%.%d%d KiB$", said[3])
    assert.matches("^%d+ MiB$", said[4])
    assert.matches('expected "b", "k", "m" or "g"', said[5])
  end)
end)
