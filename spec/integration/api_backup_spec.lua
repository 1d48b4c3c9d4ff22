--- Backups through the admin API of the real binary: out of one node, into another, and whatever is wrong with them.
local cjson = require "cjson"
local clients = require "support.client"
local library = require "support.library" -- luacheck: ignore 211
local crypto = require "veloflux.pdk.crypto"
local loop = require "support.loop"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local JSON, BYTES = "application/json", "application/octet-stream"
local PASSPHRASE = "correct horse battery"

local function request(server, method, path, body, fields)
  local all = {}
  if body then all["Content-Type"] = JSON end
  for name, value in pairs(fields or {}) do all[name] = value end
  if type(body) == "table" then body = cjson.encode(body) end
  local response = clients.request(server.ports.admin, method, path, all, body)
  if (response:get "content-type" or ""):find "json" and #response.body > 0 then
    response.json = cjson.decode(response.body)
  end
  return response
end

local function is(response, status)
  assert.equal(status, response.status, response.body)
  return response.json
end

local function restore(server, bytes, passphrase, query)
  return request(server, "POST", "/api/backup/restore" .. (query or ""), bytes,
    { ["Content-Type"] = BYTES, ["VeloFlux-Passphrase"] = passphrase })
end

local function refused(response, fault)
  assert.equal("invalid", is(response, 400).code)
  assert.equal(fault, response.json.fault, response.body)
end

local function bytes_of(server, passphrase)
  local response = request(server, "POST", "/api/backup/create", passphrase and { passphrase = passphrase },
    { Accept = BYTES })
  assert.equal(200, response.status, response.body)
  assert.equal(BYTES, response:get "content-type")
  assert.matches('^attachment; filename="veloflux%-backup%-%d+%-[%d-]+%.vfbackup"$', response:get "content-disposition")
  return response.body
end

local function version_of(server) return is(request(server, "GET", "/api/config"), 200).version end

local function fill(server)
  is(request(server, "POST", "/api/tenants", { name = "acme" }), 201)
  is(request(server, "POST", "/api/pools", { name = "web", algorithm = "random",
    backends = { { address = "127.0.0.1:9001" } } }), 201)
  is(request(server, "POST", "/api/routes", { name = "site", host = "a.example.com", pool = "web" }), 201)
  is(request(server, "POST", "/api/consumers", { name = "ana" }), 201)
  is(request(server, "POST", "/api/consumers/ana/credentials",
    { type = "key-auth", key = "${HOME}-a-long-secret-of-ana" }), 201)
end

describe("a backup", function()
  it("comes back on a fresh node", loop.spec(function()
    local one, other = servers.start { conf = {} }, servers.start { conf = {} }
    fill(one)
    local bytes = bytes_of(one, PASSPHRASE)
    assert.is_nil(bytes:find("example.com", 1, true))
    is(request(other, "POST", "/api/pools", { name = "extra" }), 201)
    local before = version_of(other)
    local dry = is(restore(other, bytes, PASSPHRASE, "?dry_run=true"), 200)
    assert.same({ "dry_run", 1 }, { dry.status, dry.changes.removed })
    assert.equal(before, version_of(other))
    local done = is(restore(other, bytes, PASSPHRASE), 200)
    assert.same({ "restored", dry.restored_keys, before + 1 }, { done.status, done.restored_keys, done.version })
    assert.same({}, done.skipped)
    assert.equal(404, request(other, "GET", "/api/pools/extra").status)
    for _, path in ipairs { "/api/pools/web", "/api/routes/site", "/api/consumers/ana" } do
      local was, now = is(request(one, "GET", path), 200), is(request(other, "GET", path), 200)
      for _, object in ipairs { was, now } do
        object.version, object.updated_at = nil, nil
        for _, backend in ipairs(object.backends or {}) do backend.uptime = nil end
      end
      assert.same(was, now)
    end
    local told = is(request(other, "GET", "/api/config/versions/" .. done.version), 200)
    assert.equal("import", told.source)
    assert.matches("^backup of version %d+$", told.reason)
    assert.same({ added = 0, updated = 0, removed = 0 }, is(restore(other, bytes_of(other, PASSPHRASE), PASSPHRASE),
      200).changes) -- its secrets, too, are what they were
    assert.same({ added = 0, updated = 0, removed = 0 }, is(restore(one, bytes_of(other, PASSPHRASE), PASSPHRASE),
      200).changes)
    one:stop()
    other:stop()
  end))

  it("is a document, too, and may lie in the data directory", loop.spec(function()
    local server = servers.start { conf = {} }
    fill(server)
    local made = is(request(server, "GET", "/api/backup/create"), 200)
    assert.same({ "created", true, false, 1 }, { made.status, made.encrypted, made.compressed, made.tenant_count })
    assert.matches("^sha256:%x+$", made.checksum)
    is(request(server, "DELETE", "/api/routes/site"), 204)
    assert.equal(1, is(request(server, "POST", "/api/backup/restore", made), 200).changes.added)
    is(request(server, "GET", "/api/routes/site"), 200)
    made.checksum = made.checksum:sub(1, -2) .. "x"
    assert.equal("/checksum", is(request(server, "POST", "/api/backup/restore", made), 400).errors[1].pointer)
    is(request(server, "DELETE", "/api/routes/site"), 204)
    tempdir.write(server.dir .. "/data/backups/nightly.vfbackup", bytes_of(server))
    is(request(server, "POST", "/api/pools", { name = "extra" }), 201)
    is(request(server, "POST", "/api/backup/restore", { backup_id = "nightly" }), 200)
    assert.equal(404, request(server, "GET", "/api/pools/extra").status)
    is(request(server, "POST", "/api/backup/restore", { backup_id = "weekly" }), 404)
    is(request(server, "POST", "/api/backup/restore", { backup_id = "../nightly" }), 400)
    server:stop()
  end))

  it("that is damaged, cut off or under another key changes nothing", loop.spec(function()
    local server, stranger = servers.start { conf = {} }, servers.start { conf = {} }
    is(request(server, "POST", "/api/pools", { name = "web" }), 201)
    local bytes = bytes_of(server)
    is(request(server, "DELETE", "/api/pools/web"), 204)
    local before = version_of(server)
    for at = 1, #bytes, 7 do
      local broken = bytes:sub(1, at - 1) .. string.char((bytes:byte(at) + 1) % 256) .. bytes:sub(at + 1)
      local fault = is(restore(server, broken), 400).fault
      assert.is_true(fault == "damaged" or fault == "truncated" or fault == "format", fault)
    end
    for length = 1, #bytes - 1, 23 do refused(restore(server, bytes:sub(1, length)), "truncated") end
    refused(restore(stranger, bytes), "wrong_key")
    local locked = bytes_of(server, PASSPHRASE)
    refused(restore(server, locked), "wrong_key")
    refused(restore(server, locked, PASSPHRASE .. "!"), "wrong_key")
    is(restore(server, locked, "short"), 400)
    is(request(server, "POST", "/api/backup/create", { passphrase = "short" }), 400)
    is(request(server, "POST", "/api/backup/create", { password = PASSPHRASE }), 400)
    is(request(server, "POST", "/api/backup/restore", "x", { ["Content-Type"] = "text/plain" }), 415)
    is(request(server, "GET", "/api/backup/create?colour=red"), 400)
    assert.equal(before, version_of(server))
    assert.same({}, is(request(server, "GET", "/api/pools"), 200))
    server:stop()
    stranger:stop()
  end))

  it("is sent once more to who repeats the request", loop.spec(function()
    local server = servers.start { conf = {} }
    local body = ("0123456789"):rep(60000)
    is(request(server, "POST", "/api/routes", { name = "long", host = "a.b", respond = { status = 200, body = body } }),
      201)
    for _, accept in ipairs { BYTES, JSON } do
      local fields = { Accept = accept, ["Idempotency-Key"] = "backup-" .. accept }
      local first = request(server, "POST", "/api/backup/create", nil, fields)
      assert.is_true(#first.body > 600000)
      local again = request(server, "POST", "/api/backup/create", nil, fields)
      assert.equal("true", again:get "idempotency-replayed")
      assert.equal(first:get "content-type", again:get "content-type")
      assert.is_true(first.body == again.body)
    end
    server:stop()
  end))

  it("that is too much for memory is sent, kept and restored all the same", loop.spec(function()
    local one, other = servers.start { conf = {} }, servers.start { conf = {} }
    local templates = {}
    for i = 1, 2000 do
      templates[i] = { name = "t" .. i, description = ("%d "):format(i):rep(150),
        entities = { pools = { { name = "p" } } } }
    end
    is(request(one, "POST", "/api/config/import", { templates = templates }), 200)
    local bytes = bytes_of(one, PASSPHRASE)
    assert.is_true(#bytes > 1024 * 1024)
    local made = is(request(one, "POST", "/api/backup/create", { passphrase = PASSPHRASE }), 200)
    assert.equal("sha256:" .. crypto.hex_encode(crypto.hash("sha256", crypto.base64_decode(made.data))), made.checksum)
    assert.same({ 2000, #crypto.base64_decode(made.data) }, { made.key_count, made.size })
    local kept = is(request(one, "POST", "/api/backups", { passphrase = PASSPHRASE }), 201)
    local path = "/api/backups/" .. kept.backup_id
    local again = request(one, "GET", path, nil, { Accept = BYTES }).body
    assert.equal(kept.checksum, "sha256:" .. crypto.hex_encode(crypto.hash("sha256", again)))
    for _, archive in ipairs { bytes, again } do
      assert.equal(2000, is(restore(other, archive, PASSPHRASE), 200).restored_keys)
      assert.equal(("7 "):rep(150), is(request(other, "GET", "/api/config/templates/t7"), 200).description)
      is(request(other, "DELETE", "/api/config/templates/t7"), 204)
    end
    refused(restore(other, bytes:sub(1, -2), PASSPHRASE), "truncated")
    refused(restore(other, bytes:sub(1, -2) .. "x", PASSPHRASE), "damaged")
    made.passphrase = PASSPHRASE
    assert.equal(1, is(request(other, "POST", "/api/backup/restore", made), 200).changes.added)
    one:stop()
    other:stop()
  end))

  it("leaves what stands in conf files to them", loop.spec(function()
    local one = servers.start { conf = { pools = { { name = "base" } } } }
    is(request(one, "POST", "/api/pools", { name = "web", algorithm = "random" }), 201)
    local bytes = bytes_of(one, PASSPHRASE)
    local other = servers.start { conf = { pools = { { name = "web" } } } }
    local done = is(restore(other, bytes, PASSPHRASE), 200)
    assert.same({ "pools", "default/web" }, { done.skipped[1].kind, done.skipped[1].key })
    assert.matches(":%d+$", done.skipped[1].source)
    assert.equal("default/base", done.missing[1].key)
    assert.matches("default/base", done.warnings[1])
    assert.equal(0, done.restored_keys)
    assert.equal("round_robin", is(request(other, "GET", "/api/pools/web"), 200).algorithm)
    is(request(one, "POST", "/api/routes", { name = "site", pool = "base" }), 201)
    local before = version_of(other)
    local refusal = is(restore(other, bytes_of(one, PASSPHRASE), PASSPHRASE), 400) -- its pool is not there
    assert.equal('routes/default/site: unknown pool "base"', refusal.detail)
    assert.equal(before, version_of(other))
    one:stop()
    other:stop()
  end))

  it("is restored whole or not at all when the node is killed", loop.spec(function()
    local server = servers.start { conf = {} }
    for i = 1, 40 do is(request(server, "POST", "/api/pools", { name = "p" .. i }), 201) end
    local bytes = bytes_of(server, PASSPHRASE)
    local conf = { data_dir = server.dir .. "/data" }
    for round = 0, 3 do
      for i = 1, 40, 2 do request(server, "DELETE", "/api/pools/p" .. i) end
      local client = clients.connect(server.ports.admin)
      client:request("POST", "/api/backup/restore", { ["Content-Type"] = BYTES,
        ["VeloFlux-Passphrase"] = PASSPHRASE }, bytes)
      for _ = 1, round do request(server, "GET", "/health") end -- a little later each time
      server.process:kill()
      client:close()
      server = servers.start { conf = conf }
      local count = #is(request(server, "GET", "/api/pools?limit=100"), 200)
      assert.is_true(count == 20 or count == 40, count)
      is(restore(server, bytes, PASSPHRASE), 200)
      assert.equal(40, #is(request(server, "GET", "/api/pools?limit=100"), 200))
    end
    server:stop()
  end))
end)
