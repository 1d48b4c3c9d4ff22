--- Backups that are kept, the schedule, what a reload would do, and a history that is cut: on the real binary.
local apis = require "support.api"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local servers = require "support.server"
local uv = require "luv"

local server

local request = apis.requester(function() return server.ports.admin end)
local is = apis.is

describe("/api/backups", function()
  it("keeps, lists, gives back and deletes", loop.spec(function()
    server = servers.start { conf = {} }
    assert.same({}, is(request("GET", "/api/backups"), 200))
    is(request("POST", "/api/pools", { name = "web" }), 201)
    local made = request("POST", "/api/backups", { passphrase = "correct horse" })
    local first = is(made, 201)
    assert.equal("/api/backups/" .. first.backup_id, made:get "location")
    assert.same({ "stored", "api", "passphrase", 2, 1 }, { first.status, first.origin, first.encrypted_with,
      first.version, first.key_count })
    local second = is(request("POST", "/api/backups"), 201)
    local list = request("GET", "/api/backups?sort=size")
    assert.equal(2, #is(list, 200))
    assert.equal("2", list:get "x-total-count")
    assert.equal(1, #is(request("GET", "/api/backups?encrypted_with=master"), 200))
    assert.same(first, is(request("GET", made:get "location"), 200))
    local bytes = request("GET", made:get "location", nil, { Accept = "application/octet-stream" })
    assert.equal(200, bytes.status)
    assert.equal(first.size, #bytes.body)
    is(request("DELETE", "/api/pools/web"), 204)
    is(request("POST", "/api/backup/restore", { backup_id = second.backup_id }), 200)
    is(request("GET", "/api/pools/web"), 200)
    is(request("DELETE", made:get "location"), 204)
    is(request("DELETE", made:get "location"), 404)
    is(request("GET", "/api/backups/no..thing"), 404)
    is(request("POST", "/api/backups", { passphrase = "short" }), 400)
    is(request("POST", "/api/backups", { colour = "red" }), 400)
    is(request("GET", "/api/backups?colour=red"), 400)
    is(request("GET", "/api/backups/" .. second.backup_id, nil, { Accept = "text/html" }), 406)
    server:stop()
  end))

  it("are made by the schedule, so many are kept, and a restart knows of them", loop.spec(function()
    server = servers.start { conf = { backups = { every = "1s", keep = 2 } } }
    local from = 1
    for _ = 1, 3 do from = server:wait_log("backup.stored", from) + 1 end
    server:wait_log "backup.deleted"
    local list = children.eventually("no more than are kept", function() -- another may have been made just now
      local found = is(request("GET", "/api/backups?status=stored"), 200)
      return #found <= 2 and found
    end)
    assert.equal("schedule", list[1].origin)
    local next_one = is(request("GET", "/api/backups?status=scheduled"), 200)
    assert.equal(1, #next_one)
    assert.is_string(next_one[1].scheduled_at)
    local metrics = clients.get(server.ports.admin, "/metrics").body
    assert.is_true(tonumber(metrics:match "\nveloflux_backups_total (%d+)") >= 3)
    server:stop()
  end))

  it("have settings that are checked", loop.spec(function()
    for setting, expected in pairs { [{ every = "1s", at = "03:00" }] = "every", [{ at = "3 am" }] = "expected a time",
      [{ at = "24:00" }] = "expected a time", [{ passphrase = "short" }] = "backups.passphrase" } do
      local dir = require("support.tempdir").new()
      require("support.tempdir").write(dir .. "/c.yaml", servers.encode { backups = setting })
      local code, out, err = servers.command { "check", "-c", dir .. "/c.yaml" }
      assert.equal(1, code)
      assert.is_truthy((out .. err):find(expected, 1, true), out .. err)
    end
  end))
end)

describe("what /api/backup/create answers", function()
  it("stays for a while, to be restored by its name", loop.spec(function()
    server = servers.start { conf = {} }
    is(request("POST", "/api/pools", { name = "web" }), 201)
    local first = is(request("POST", "/api/backup/create"), 200)
    is(request("DELETE", "/api/pools/web"), 204)
    local listed = is(request("GET", "/api/backups"), 200)
    assert.same({ 1, first.backup_id, "sent", first.checksum },
      { #listed, listed[1].backup_id, listed[1].origin, listed[1].checksum })
    assert.equal("restored", is(request("POST", "/api/backup/restore", { backup_id = first.backup_id }), 200).status)
    is(request("GET", "/api/pools/web"), 200)
    local seen = { [first.backup_id] = true }
    for _ = 1, 5 do
      local made = is(request("GET", "/api/backup/create"), 200)
      assert.is_nil(seen[made.backup_id])
      seen[made.backup_id] = true
    end
    assert.equal(5, #is(request("GET", "/api/backups"), 200))
    server:stop()
  end))
end)

describe("POST /api/reload?dry_run=true", function()
  it("says what a reload would do, and does nothing", loop.spec(function()
    server = servers.start { conf = { pools = { { name = "web" } } } }
    local version = is(request("GET", "/api/config"), 200).version
    server:write_conf { pools = { { name = "web" }, { name = "more" } } }
    local dry = is(request("POST", "/api/reload?dry_run=true"), 200)
    assert.same({ "dry_run", true, version }, { dry.status, dry.dry_run, dry.version })
    assert.same({ "more" }, dry.diff.pools.added)
    assert.equal("pools: 1 added", dry.summary)
    is(request("GET", "/api/pools/more"), 404)
    server:write_conf { pools = { { nam = "web" } } }
    local refused = is(request("POST", "/api/reload?dry_run=true"), 422)
    assert.is_truthy(refused.detail:find "did you mean name")
    assert.is_true(is(request("GET", "/api/status/health"), 200).components.config.ok)
    is(request("POST", "/api/reload?dry=true"), 400)
    server:write_conf { pools = { { name = "web" }, { name = "more" } } }
    assert.equal("reloaded", is(request("POST", "/api/reload?dry_run=false"), 200).status)
    is(request("GET", "/api/pools/more"), 200)
    server:stop()
  end))
end)

describe("the history", function()
  it("is cut to what the conf keeps, and goes on to be read", loop.spec(function()
    server = servers.start { conf = { store = { history = { versions = 5 } } } }
    for i = 1, 9 do is(request("POST", "/api/pools", { name = "p" .. i }), 201) end
    local newest = is(request("GET", "/api/config"), 200).version
    children.eventually("the history", function()
      return request("GET", "/api/config/versions/" .. newest - 5).status == 404
    end)
    local versions = is(request("GET", "/api/config/versions"), 200)
    assert.equal(5, #versions)
    is(request("POST", ("/api/config/versions/%d/rollback"):format(newest - 4), {}), 200)
    is(request("GET", "/api/pools/p9"), 404)
    is(request("GET", "/api/pools/p5"), 200)
    is(request("POST", ("/api/config/versions/%d/rollback"):format(newest - 5), {}), 404)
    uv.kill(children.of(server.pid).control[1], "sigkill")
    server:wait_log "control.exited"
    children.eventually("control", function() return request("GET", "/api/config").status == 200 end)
    is(request("GET", "/api/pools/p5"), 200)
    server:stop()
  end))
end)
