local kit = require "veloflux.kit"

local CONSUMERS = {
  { name = "ana", custom_id = "a7", credentials = { { type = "key-auth", key = "ana-key", id = "laptop" } } },
  { name = "guest" },
}

local function start(config)
  return kit.start { config = config, consumers = CONSUMERS,
    upstream = function(request) return request.headers["x-consumer-username"] or "nobody" end }
end

describe("key-auth", function()
  it("lets those pass who know a key, and tells the backend who they are", function()
    local gateway = start {}
    assert.equal("ana", gateway:request({ headers = { apikey = "ana-key" } }).body)
    assert.equal("ana", gateway:request({ path = "/?apikey=ana-key" }).body)
    local headers = gateway:upstream_requests()[1].headers
    assert.equal("a7", headers["x-consumer-custom-id"])
    assert.equal("laptop", headers["x-credential-identifier"])
    assert.is_nil(headers["x-anonymous-consumer"])
  end)

  it("refuses all others", function()
    local gateway = start { realm = "here" }
    for path, message in pairs { ["/"] = "No API key found in request", ["/?apikey=x"] = "Unauthorized",
      ["/?apikey=ana-key&apikey=x"] = "Duplicate API key found" } do
      local answer = gateway:request { path = path }
      assert.equal(401, answer.status)
      assert.matches(message, answer.body, 1, true)
      assert.equal('Key realm="here"', answer.headers["www-authenticate"])
    end
    assert.equal(0, #gateway:upstream_requests())
  end)

  it("hides keys, in contents that come in pieces, too", function()
    local gateway = start { hide_credentials = true, key_in_body = true }
    gateway:request { path = "/?a=1&apikey=ana-key", headers = { apikey = "ana-key" } }
    local seen = gateway:upstream_requests()[1]
    assert.equal("/?a=1", seen.path)
    assert.is_nil(seen.headers.apikey)
    local body = '{"apikey":"ana-key","text":"' .. ("x"):rep(5000) .. '"}'
    local answer = gateway:request { method = "POST", headers = { ["Content-Type"] = "application/json" }, body = body }
    assert.equal("ana", answer.body)
    assert.equal('{"text":"' .. ("x"):rep(5000) .. '"}', gateway:upstream_requests()[2].body)
  end)

  it("reads keys from the content of a request, however it comes", function()
    local gateway = start { key_in_body = true }
    local answer = gateway:request { method = "POST", body = "a=b&apikey=ana-key&c=d",
      headers = { ["Content-Type"] = "application/x-www-form-urlencoded" } }
    assert.equal("ana", answer.body)
    assert.equal("a=b&apikey=ana-key&c=d", gateway:upstream_requests()[1].body)
  end)

  it("takes keys out of a content and leaves the rest as it was", function()
    local gateway = start { key_in_body = true, hide_credentials = true, key_names = { "apikey", "other" } }
    local function sent(kind, body)
      gateway:request { method = "POST", body = body, headers = { ["Content-Type"] = kind } }
      local seen = gateway:upstream_requests()
      return seen[#seen].body, seen[#seen].headers["content-type"]
    end
    local form = { "z=1", "api%6bey=ana-key", "b=%zz+%20", "other=mine", "z=2", "c" }
    local rest = { form[1], form[3], form[5], form[6] }
    for i = 1, 1200 do
      form[#form + 1] = ("f%d=%d"):format(i, i)
      rest[#rest + 1] = form[#form]
    end
    assert.equal(table.concat(rest, "&"), (sent("application/x-www-form-urlencoded", table.concat(form, "&"))))
    local body, kind = sent("application/json; charset=utf-8", '{"apikey":"ana-key","id":12345678901234567890}')
    assert.same({ '{"id":12345678901234567890}', "application/json; charset=utf-8" }, { body, kind })
    body = sent("application/json", '{"apikey":"ana-key","list":[],"none":null,"other":1}')
    assert.is_true(body == '{"list":[],"none":null}' or body == '{"none":null,"list":[]}', body)
  end)

  it("lets those go on as another who have none, when told so", function()
    local gateway = start { anonymous = "guest" }
    assert.equal("guest", gateway:request({ headers = { ["X-Consumer-Username"] = "ana" } }).body)
    assert.equal("true", gateway:upstream_requests()[1].headers["x-anonymous-consumer"])
  end)

  it("says what its configuration may be", function()
    assert.equal(0, #kit.validate { key_names = { "X-Key" } })
    for _, config in ipairs { { key_names = kit.list {} }, { key_names = { "a b" } }, { realm = 'a"b' },
      { key_in_header = false, key_in_query = false }, { key_name = "x" } } do
      assert.is_true(#kit.validate(config) > 0)
    end
  end)
end)
