--- Warnings with codes: of check, dry runs and validation, on the real binary.
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local server

local function request(method, path, body)
  local response = clients.request(server.ports.admin, method, path, body and { ["Content-Type"] = "application/json" },
    body and cjson.encode(body))
  assert.is_true(response.status < 300, response.body)
  return cjson.decode(response.body)
end

local function codes_of(findings)
  local codes = {}
  for i, found in ipairs(findings) do codes[i] = found.code end
  table.sort(codes)
  return codes
end

local SHADOWED = { { name = "all", path_prefix = "/", respond = { status = 200 } },
  { name = "late", path_prefix = "/", methods = { "GET" }, priority = -1, respond = { status = 200 } } }

describe("what is allowed but hardly meant", function()
  it("is said by check", loop.spec(function()
    local dir = tempdir.new()
    tempdir.write(dir .. "/c.yaml", servers.encode { routes = SHADOWED,
      admin = { address = "0.0.0.0:0", insecure = true, auth = { enabled = false } } })
    local code, _, err = servers.command { "check", "-c", dir .. "/c.yaml" }
    assert.equal(0, code)
    assert.matches("%[shadowed_route%]", err)
    assert.matches("%[admin_open%]", err)
  end))

  it("is said by validation and dry runs", loop.spec(function()
    server = servers.start { conf = { master_key = { command = "printf %064d 7" } } }
    local judged = request("POST", "/api/config/validate", { routes = SHADOWED,
      consumers = { { name = "ann", credentials = { { type = "key-auth", key = "in-clear-here" } } } },
      master_key = { command = "touch " .. server.dir .. "/pwned" } })
    assert.same({ "plain_secret", "shadowed_route" }, codes_of(judged.findings))
    assert.is_nil(tempdir.read(server.dir .. "/pwned"))
    request("POST", "/api/routes", SHADOWED[1])
    local dry = request("POST", "/api/routes?dry_run=true", SHADOWED[2])
    assert.same({ "shadowed_route" }, codes_of(dry.findings))
    assert.equal(1, #dry.warnings)
    request("POST", "/api/pools", { name = "empty" })
    dry = request("POST", "/api/routes?dry_run=true", { name = "e", path = "/e", pool = "empty" })
    assert.same({ "pool_without_backends" }, codes_of(dry.findings))
    local document = { routes = { { name = "e", path = "/e", pool = "empty" } } }
    dry = request("POST", "/api/config/import?dry_run=true", document)
    assert.same({ "pool_without_backends" }, codes_of(dry.findings))
    server:stop()
  end))

  it("is said of pools of which nobody is healthy", loop.spec(function()
    server = servers.start { conf = {
      pools = { { name = "down", backends = { { address = "127.0.0.1:1" } },
        health_check = { type = "tcp", interval = "100ms", timeout = "100ms", fall = 1 } } } } }
    children.eventually("the end of the backend", function()
      return request("GET", "/api/pools/down").active_backends == 0
    end)
    local dry = request("POST", "/api/routes?dry_run=true", { name = "r", path = "/r", pool = "down" })
    assert.same({ "pool_without_healthy_backends" }, codes_of(dry.findings))
    server:stop()
  end))
end)
