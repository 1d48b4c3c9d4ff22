--- The plugin request-transformer in a running server.
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local plugins = require "support.plugins"

local JSON, FORM = { ["Content-Type"] = "application/json" }, { ["Content-Type"] = "application/x-www-form-urlencoded" }

--- Runs a spec with a server whose route has the plugin with that configuration.
local function spec_of(config, run, options)
  return loop.spec(function()
    local rig = plugins.shipped({ { name = "request-transformer", config = config } }, options)
    run(rig)
    rig.server:stop()
  end)
end

local function values_of(answer, name)
  local values = {}
  for _, pair in ipairs(plugins.seen(answer).fields) do
    if pair[1]:lower() == name then values[#values + 1] = pair[2] end
  end
  return values
end

describe("request-transformer", function()
  it("changes header fields, in its order", spec_of({
    remove = { headers = { "X-Secret", "x_other" } }, rename = { headers = { "X-Old:X-New", "X-None:X-Not" } },
    replace = { headers = { "X-Present:new", "X-Absent:new", "Host:backend.example" } },
    add = { headers = { "X-Present:added", "X-Added:a:b", "X-Secret:ours" } },
    append = { headers = { "X-Many:three" } },
  }, function(rig)
    local answer = clients.request(rig.port, "GET", "/", {
      { "X-Secret", "theirs" }, { "x-SECRET", "again" },
      { "X-Other", "1" }, { "X-Old", "1" }, { "X-Old", "2" }, { "X-New", "old" }, { "X-Present", "a" },
      { "X-Present", "b" }, { "X-Many", "one" }, { "X-Many", "two" },
    })
    assert.same({ "ours" }, values_of(answer, "x-secret"))
    assert.same({}, values_of(answer, "x-other"))
    assert.same({}, values_of(answer, "x-old"))
    assert.same({ "1", "2" }, values_of(answer, "x-new"))
    assert.same({}, values_of(answer, "x-not"))
    assert.same({ "new" }, values_of(answer, "x-present"))
    assert.same({}, values_of(answer, "x-absent"))
    assert.same({ "a:b" }, values_of(answer, "x-added"))
    assert.same({ "one", "two", "three" }, values_of(answer, "x-many"))
    assert.same({ "backend.example" }, values_of(answer, "host"))
  end))

  it("changes the query and leaves the rest of it as it is", spec_of({
    remove = { querystring = { "secret" } }, rename = { querystring = { "old:new" } },
    replace = { querystring = { "r:x y" } }, add = { querystring = { "a:1", "r:2" } },
    append = { querystring = { "m:3" } },
  }, function(rig)
    local function target(path) return plugins.seen(clients.get(rig.port, path)).target end
    assert.equal("/?a=1&r=2&m=3", target "/")
    assert.equal("/p?z=%41&x=+&new=7&r=x%20y&m=1&a=1&m=3", target "/p?z=%41&&x=+&secret=1&s%65cret=2&old=7&r=1&m=1&r=2")
    assert.equal("/p?a=%zz&r=2&m=3", target "/p?a=%zz")
  end))

  it("changes JSON bodies", spec_of({
    remove = { body = { "secret" } }, rename = { body = { "old:new" } }, replace = { body = { "r:2" } },
    add = { body = { "a:$(query_params.q)" } }, append = { body = { "m:3" } },
  }, function(rig)
    local function send(body, fields)
      return plugins.seen(clients.request(rig.port, "POST", "/?q=%22%7D%0D%0A", fields or JSON, body))
    end
    local seen = send '{"secret":1,"old":1,"r":[],"m":[1],"keep":[null]}'
    assert.same({ new = 1, r = "2", a = '"}\r\n', m = { 1, "3" }, keep = { cjson.null } }, cjson.decode(seen.body))
    assert.equal("length", seen.framing)
    assert.same({ a = '"}\r\n', m = { "3" } }, cjson.decode(send("", { ["Content-Type"] = "application/json" }).body))
    assert.equal("secret", send("secret", { ["Content-Type"] = "text/plain" }).body)
    for _, body in ipairs { '{"secret":1', '[{"secret":1}]', '{"secret":1,"secret":2}', "5", '{"a":"\255"}' } do
      assert.equal(body, send(body).body)
    end
    local zipped = { ["Content-Type"] = "application/json", ["Content-Encoding"] = "gzip" }
    assert.equal('{"secret":1}', send('{"secret":1}', zipped).body)
  end))

  it("changes forms", spec_of({
    remove = { body = { "secret" } }, rename = { body = { "old:new" } }, add = { body = { "a:$(headers.x-a)" } },
  }, function(rig)
    local fields = { ["Content-Type"] = FORM["Content-Type"], ["X-A"] = "1&b=2" }
    local seen = plugins.seen(clients.request(rig.port, "POST", "/", fields, "s%65cret=1&old=+%2B&x"))
    assert.equal("new=+%2B&x&a=1%26b%3D2", seen.body)
    local kind = "multipart/form-data; boundary=x"
    local part = '--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    local body = part:format("secret", "1") .. part:format("old", "2") .. "--x--\r\n"
    seen = plugins.seen(clients.request(rig.port, "POST", "/", { ["Content-Type"] = kind, ["X-A"] = "3" }, body))
    assert.equal(part:format("new", "2") .. part:format("a", "3") .. "--x--\r\n", seen.body)
  end))

  it("can refuse bodies that it cannot read", spec_of({ remove = { body = { "secret" } }, invalid_body = "reject" },
    function(rig)
      for _, body in ipairs { '{"secret":1', '{"secret":1,"secret":2}', "[]" } do
        assert.equal(400, clients.request(rig.port, "POST", "/", JSON, body).status)
      end
      assert.equal(400, clients.request(rig.port, "POST", "/", FORM, ("a&"):rep(10001)).status)
      assert.equal(200, clients.request(rig.port, "POST", "/", JSON, "{}").status)
      assert.equal(200, clients.request(rig.port, "POST", "/", { ["Content-Type"] = "text/plain" }, "x").status)
      assert.equal(2, #rig.origin.requests)
    end))

  it("refuses bodies that are too large to be changed", spec_of({ remove = { body = { "secret" } } }, function(rig)
    local body = '{"secret":"' .. ("x"):rep(2000) .. '"}'
    assert.equal(413, clients.request(rig.port, "POST", "/", JSON, body).status)
    assert.equal(200, clients.request(rig.port, "POST", "/", { ["Content-Type"] = "text/plain" }, body).status)
  end, { conf = { plugin_limits = { body = "1000" } } }))

  it("changes path and method", spec_of({
    http_method = "GET", replace = { uri = "/users/$(headers.x-user or 'none')/$(uri_captures.rest)" },
  }, function(rig)
    local function seen(method, path, user, body)
      return plugins.seen(clients.request(rig.port, method, path, { ["X-User"] = user }, body))
    end
    local got = seen("POST", "/v1/a/b?q=1", "ana", "")
    assert.equal("GET", got.method)
    assert.equal("/users/ana/a/b?q=1", got.target)
    assert.equal("/users/none/", seen("GET", "/v1/").target)
    assert.equal("/users/%2F..%2F..%2Fadmin%3Fx%23/x", seen("GET", "/v1/x", "/../../admin?x#").target)
    local answer = clients.request(rig.port, "GET", "/v1/x", { ["X-User"] = ".." })
    assert.equal(400, answer.status)
    answer = clients.request(rig.port, "HEAD", "/v1/x", {})
    assert.equal(200, answer.status)
    assert.equal("HEAD", rig.origin.requests[#rig.origin.requests].method)
  end, { conf = { routes = { { name = "all", pool = "web", path_regex = "^/v1/(?<rest>.*)$", plugins = { {
    name = "request-transformer", config = { http_method = "GET",
      replace = { uri = "/users/$(headers.x-user or 'none')/$(uri_captures.rest)" } } } } } } } }))

  it("puts the form of a request that becomes GET into its query", spec_of({ http_method = "GET" }, function(rig)
    local answer = clients.request(rig.port, "POST", "/p?a=1", FORM, "b=2&c=%20&d=\r\n#")
    assert.equal("/p?a=1&b=2&c=%20&d=%0D%0A%23", plugins.seen(answer).target)
    assert.equal("/p?b=2", plugins.seen(clients.request(rig.port, "POST", "/p", FORM, "b=2")).target)
    assert.equal("/p", plugins.seen(clients.request(rig.port, "POST", "/p", JSON, '{"b":2}')).target)
  end))

  it("shows values as they came, on one line", spec_of({
    remove = { headers = { "X-Name" } },
    add = { headers = { "X-Copy:$(headers.x-name)", "X-Query:<$(query_params.q)>", "X-Arg:$(query_params.a or 'd')",
      "X-Last:$(query_params.q)" } },
  }, function(rig)
    local answer = clients.get(rig.port, "/?q=a%0D%0AX-Evil:%201%00&a", { ["X-Name"] = "ana" })
    assert.equal("ana", plugins.field(answer, "x-copy"))
    assert.is_nil(plugins.field(answer, "x-name"))
    assert.equal("<a%0D%0AX-Evil: 1%00>", plugins.field(answer, "x-query"))
    assert.is_nil(plugins.field(answer, "x-evil"))
    assert.equal("", plugins.field(answer, "x-arg"))
    assert.equal("padded", plugins.field(clients.get(rig.port, "/?q=%20%09padded+"), "x-last"))
  end))

  it("answers 400 when the host would not be one", spec_of({ replace = { headers = { "Host:$(query_params.h)" } } },
    function(rig)
      assert.equal("a.example", plugins.field(clients.get(rig.port, "/?h=a.example"), "host"))
      for _, host in ipairs { "a%20b", "", "a%0d%0ab", "a/b", "%ff" } do
        assert.equal(400, clients.get(rig.port, "/?h=" .. host).status, host)
      end
    end))

  it("stands many fields and arguments", spec_of({
    remove = { headers = { "x-a" }, querystring = { "a" } }, add = { headers = { "X-B:1" }, querystring = { "b:1" } },
  }, function(rig)
    local fields = {}
    for i = 1, 90 do fields[i] = { i % 2 == 0 and "X-A" or "x-a", tostring(i) } end
    local answer = clients.request(rig.port, "GET", "/?" .. ("a&"):rep(2000), fields)
    assert.equal("/?b=1", plugins.seen(answer).target)
    assert.is_nil(plugins.field(answer, "x-a"))
  end))

  it("takes what other plugins have left for it", loop.spec(function()
    local rig = plugins.start({ first = { handler = [[
      function Plugin:access()
        pdk.ctx.shared.user = { name = "ana", tags = { "x" } }
        pdk.service.request.set_raw_query("c=1")
      end]] } }, { plugins = { { name = "first" }, { name = "request-transformer", config = {
        add = { headers = { "X-User:$(shared.user.name)", "X-Tag:$(shared.user.tags[1])", "X-None:$(shared.user)" },
          querystring = { "d:2" } } } } } })
    local answer = clients.get(rig.port, "/?b=1")
    assert.equal("ana", plugins.field(answer, "x-user"))
    assert.equal("x", plugins.field(answer, "x-tag"))
    assert.equal("", plugins.field(answer, "x-none"))
    assert.equal("/?c=1&d=2", plugins.seen(answer).target)
    rig.server:stop()
  end))

  it("refuses configurations that cannot work", loop.spec(function()
    for expected, config in pairs {
      ["add%.headers%[0%]: expected NAME:VALUE"] = { add = { headers = { "x-a" } } },
      ["remove%.headers%[1%]: expected the name of a header field"] = { remove = { headers = { "a", "x a" } } },
      ["append%.headers%[0%]: the host can be replaced, and nothing else"] = { append = { headers = { "HOST:a" } } },
      ["replace%.headers%[0%]: os is not known"] = { replace = { headers = { "x:$(os.exit())" } } },
      ["add%.headers%[0%]: has characters"] = { add = { headers = { "x:a\nb" } } },
      ["rename%.querystring%[0%]: expected OLD:NEW"] = { rename = { querystring = { "a:" } } },
      ["http_method"] = { http_method = "HEAD" },
      ["replace%.uri: expected a path that begins with /"] = { replace = { uri = "x" } },
      ["add%.body%[0%]: expected headers.NAME"] = { add = { body = { "a:$((function() end)())" } } },
    } do
      assert.matches(expected, (plugins.problems { name = "request-transformer", config = config }))
    end
  end))
end)
