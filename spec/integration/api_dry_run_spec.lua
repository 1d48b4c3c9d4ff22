--- `?dry_run=true` of every write of the admin API: it says what would happen, and nothing does.
local apis = require "support.api"
local loop = require "support.loop"
local servers = require "support.server"

local server

local request = apis.requester(function() return server.ports.admin end, nil, true)
local is, problem = apis.is, apis.problem

local HARMLESS = { -- change nothing, whatever they are asked
  ["POST /api/config/validate"] = true, ["POST /api/debug/explain"] = true,
}

local function spec(body)
  return loop.spec(function()
    server = servers.start { conf = {} }
    body()
    server:stop()
  end)
end

local function dry(method, path, body)
  local told = is(request(method, path .. "?dry_run=true", body), 200)
  assert.is_true(told.dry_run, path)
  return told
end

local function version() return is(request("GET", "/api/config"), 200).version end

describe("a dry run", function()
  it("can be had of every write", spec(function()
    local paths = is(request("GET", "/api/openapi.json"), 200).paths
    local count = 0
    for path, operations in pairs(paths) do
      for method, operation in pairs(operations) do
        local name = method:upper() .. " " .. path
        local takes = false
        for _, parameter in ipairs(operation.parameters or {}) do takes = takes or parameter.name == "dry_run" end
        if method ~= "get" and not HARMLESS[name] then
          assert.is_true(takes, name)
          count = count + 1
        end
      end
    end
    assert.is_true(count > 60)
    local made = paths["/api/backup/create"].post.responses["200"].content -- what can be tried has its other forms, too
    assert.same({ true, true }, { made["application/octet-stream"] ~= nil, made["application/json"] ~= nil })
  end))

  it("is none when it is said twice, one way and the other", spec(function()
    is(request("POST", "/api/pools", { name = "web" }), 201)
    for _, path in ipairs { "/api/pools/web", "/api/debug/log-level", "/api/keys/beef" } do
      problem(request("DELETE", path .. "?dry_run=true&dry_run=false"), 400, "invalid")
    end
    is(request("GET", "/api/pools/web"), 200)
  end))

  it("of log levels shows those that would be in force", spec(function()
    local path = "/api/debug/log-level"
    local before = is(request("GET", path), 200)
    local told = dry("PUT", path, { level = "warn", subsystems = { worker = "debug" } })
    assert.same({ "warn", { worker = "debug" } }, { told.level, told.subsystems })
    assert.same(before, is(request("GET", path), 200))
    is(request("PUT", path, { level = "warn" }), 200)
    assert.equal("info", dry("DELETE", path).level)
    assert.equal("warn", is(request("GET", path), 200).level)
    problem(request("PUT", path .. "?dry_run=true", { level = "loud" }), 400, "invalid", "/level")
  end))

  it("of channels pauses and pushes nothing", spec(function()
    local told = dry("POST", "/api/ws/control", { action = "pause", type = "health" })
    assert.is_true(told.paused.health)
    assert.is_false(told.paused.status)
    local after = is(request("POST", "/api/ws/control", { action = "resume", type = "status" }), 200)
    assert.is_false(after.paused.health)
    assert.equal(0, dry("POST", "/api/ws/force-update", { type = "all" }).clients)
    local wrong = request("POST", "/api/ws/control?dry_run=true", { action = "stop", type = "all" })
    problem(wrong, 400, "invalid", "/action")
  end))

  it("of keys makes, seals and forgets none", spec(function()
    local credentials = { { type = "key-auth", key = "key-of-ann" } }
    is(request("POST", "/api/consumers", { name = "ann", credentials = credentials }), 201)
    local keys, at = is(request("GET", "/api/keys"), 200), version()
    local told = dry("POST", "/api/keys/rotate")
    assert.same({ 1, "added", keys }, { told.resealed, told.diff[1].action, told.keys })
    assert.equal(0, dry("POST", "/api/keys/rotate", { generate = false }).resealed)
    assert.same(keys, is(request("GET", "/api/keys"), 200))
    assert.equal(at, version())
    problem(request("DELETE", "/api/keys/" .. keys[1].id .. "?dry_run=true"), 409, "conflict")
    problem(request("DELETE", "/api/keys/beef?dry_run=true"), 404, "not_found")
  end))

  it("of backups keeps and deletes none", spec(function()
    is(request("POST", "/api/pools", { name = "web" }), 201)
    for _, path in ipairs { "/api/backups", "/api/backup/create" } do
      local made = dry("POST", path, { passphrase = "correct horse" }).diff[1].changes[1].after
      assert.same({ 1, "passphrase" }, { made.key_count, made.encrypted_with })
      assert.is_true(made.size > 0)
      problem(request("POST", path .. "?dry_run=true", { passphrase = "short" }), 400, "invalid", "/passphrase")
    end
    assert.same({}, is(request("GET", "/api/backups"), 200))
    local kept = is(request("POST", "/api/backups"), 201)
    local path = "/api/backups/" .. kept.backup_id
    assert.equal(kept.backup_id, dry("DELETE", path).diff[1].name)
    is(request("GET", path), 200)
    problem(request("DELETE", "/api/backups/none?dry_run=true"), 404, "not_found")
  end))

  it("of a version on probation leaves it there", spec(function()
    local made = request("POST", "/api/pools?probation=1h", { name = "web" })
    is(made, 201)
    local path = "/api/config/versions/" .. made:get "veloflux-version"
    assert.equal("confirmed", dry("POST", path .. "/confirm").diff[1].changes[1].after)
    assert.same({ "removed", "web" }, { dry("POST", path .. "/reject").diff[1].action,
      dry("POST", path .. "/reject").diff[1].name })
    assert.equal("watching", is(request("GET", path), 200).probation.state)
    is(request("GET", "/api/pools/web"), 200)
    is(request("POST", path .. "/confirm"), 200)
    problem(request("POST", path .. "/reject?dry_run=true"), 409, "conflict")
  end))
end)

describe("log levels", function()
  local path = "/api/debug/log-level"

  it("that PUT and PATCH do not name stay; null takes one back", spec(function()
    local function now()
      local shown = is(request("GET", path), 200)
      return { shown.level, shown.subsystems }
    end
    is(request("PUT", path, { level = "warn", subsystems = { worker = "debug" } }), 200)
    is(request("PUT", path, { subsystems = { admin = "error" } }), 200)
    assert.same({ "warn", { admin = "error" } }, now())
    is(request("PATCH", path, '{"subsystems":{"worker":"debug"}}'), 200)
    assert.same({ "warn", { admin = "error", worker = "debug" } }, now())
    is(request("PATCH", path, '{"level":null,"subsystems":{"admin":null}}'), 200)
    assert.same({ "info", { worker = "debug" } }, now())
    is(request("PUT", path .. "?mode=replace", { level = "error" }), 200)
    assert.same({ "error", {} }, now())
    is(request("PUT", path, { level = "warn", colour = 1 }, { Prefer = "handling=lenient" }), 200)
    problem(request("PUT", path, { colour = 1 }), 400, "invalid", "/colour")
    problem(request("PATCH", path, { level = "info" }, { ["Content-Type"] = "text/plain" }), 415,
      "unsupported_media_type")
    is(request("DELETE", path), 200)
    assert.same({ "info", {} }, now())
  end))
end)
