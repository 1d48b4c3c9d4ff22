--- Consumers of the conf in the tables that all workers map: who has which, what a reload changes, who may die.
local ffi = require "ffi"
local uv = require "luv"
local loop = require "support.loop"
require "support.library"
local children = require "support.children"
local clients = require "support.client"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local tables = require "unit.snapshot.table_fixture"

local CONSUMERS, CREDENTIALS = 0, 1

-- Two plugins: one takes a key, the other a name and a password.
local BADGE = [[
local pdk = require "veloflux.pdk"
return { PRIORITY = 2, access = function()
  local key = pdk.request.get_header "x-badge"
  if not key then return end
  local credential, consumer = pdk.client.load_credential("badge", key)
  if not credential then return pdk.response.exit(401) end
  pdk.client.authenticate(consumer, credential)
  if pdk.request.get_header "x-go-on" then return end
  pdk.response.exit(200, consumer.name .. " " .. consumer.groups[1] .. " " .. (credential.note or ""))
end }]]
local BADGE_ENTITIES = [[return { credential = { id = "key", hashed = false, fields = {
  key = { type = "string", required = true }, note = { type = "string" } } } }]]
local LOGIN = [[
local pdk = require "veloflux.pdk"
return { PRIORITY = 1, access = function()
  local name, password = pdk.request.get_header "x-name", pdk.request.get_header "x-password"
  if not name then return end
  local credential, consumer, err = pdk.client.verify_password("login", name, password)
  if err then return pdk.response.exit(503, err) end
  if not credential then return pdk.response.exit(401) end
  pdk.response.exit(200, consumer.name)
end }]]
-- What a consumer may have of its own.
local MARK = [[
local pdk = require "veloflux.pdk"
return { PRIORITY = 1, access = function(_, conf) pdk.response.exit(200, "marked " .. conf.text) end }]]
local MARK_SCHEMA = [[return { text = { type = "string", required = true } }]]
local LOGIN_ENTITIES = [[return { credential = { id = "name", password = "password", fields = {
  name = { type = "string", required = true }, password = { type = "string", required = true } } } }]]

local function consumer(name, key)
  return { name = name, groups = { "gold" }, credentials = { { type = "badge", key = key, note = "of " .. name } } }
end

local function conf_of(consumers, dir)
  return { workers = 2, plugin_path = { dir .. "/plugins" }, consumers = consumers,
    pools = { { name = "web", backends = { { address = "127.0.0.1:9" } } } },
    routes = { { name = "all", respond = { status = 204 }, plugins = { { name = "badge" }, { name = "login" } } } } }
end

-- Starts a server whose plugins know credentials.
local function start(consumers)
  local dir = tempdir.new()
  assert(uv.fs_mkdir(dir .. "/plugins", 493))
  for name, texts in pairs { badge = { BADGE, BADGE_ENTITIES }, login = { LOGIN, LOGIN_ENTITIES } } do
    assert(uv.fs_mkdir(dir .. "/plugins/" .. name, 493))
    tempdir.write(dir .. "/plugins/" .. name .. "/handler.lua", texts[1])
    tempdir.write(dir .. "/plugins/" .. name .. "/entities.lua", texts[2])
  end
  assert(uv.fs_mkdir(dir .. "/plugins/mark", 493))
  tempdir.write(dir .. "/plugins/mark/handler.lua", MARK)
  tempdir.write(dir .. "/plugins/mark/schema.lua", MARK_SCHEMA)
  return servers.start { conf = conf_of(consumers, dir) }, dir
end

-- The memfds of a name that a process has mapped: a list of inode numbers in ascending order.
local function mapped(pid, name)
  local found, seen = {}, {}
  for inode in (tempdir.read(("/proc/%d/maps"):format(pid)) or ""):gmatch(" (%d+) +/memfd:" .. name) do
    if not seen[inode] then found[#found + 1] = tonumber(inode) end
    seen[inode] = true
  end
  table.sort(found)
  return found
end

local READ_ONLY, READ_WRITE = 0, 2

-- Opens the tables that the supervisor keeps: kind -> table, as a worker would, or control with READ_WRITE.
local function kept(server, mode)
  local generations, deltas = {}, {}
  local folder = ("/proc/%d/fd"):format(server.pid)
  local scan = assert(uv.fs_scandir(folder))
  for fd in function() return uv.fs_scandir_next(scan) end do
    local path = uv.fs_readlink(folder .. "/" .. fd) or ""
    local list = path:find("memfd:veloflux%-table") and generations or path:find "memfd:veloflux%-delta" and deltas
    if list then list[#list + 1] = ffi.C.open(folder .. "/" .. fd, list == deltas and mode or READ_ONLY) end
  end
  local found = {}
  for _, generation in ipairs(generations) do
    for _, delta in ipairs(deltas) do
      local opened = tables.open(generation, delta) -- nil when the two do not belong together
      if opened then found[tables.lib.vf_table_kind(opened)] = opened end
    end
  end
  tables.close(unpack(generations))
  tables.close(unpack(deltas))
  return found
end

local function find(server, kind, key)
  local opened = kept(server)[kind]
  return opened and tables.get(opened, key)
end

local function badge(server, key) return find(server, CREDENTIALS, "badge\0default\0" .. key) end

-- All workers have mapped the same, which is what this process reads. One that has less is on its way out.
local function assert_same_in_workers(server)
  local by_slot, first = children.of(server.pid).worker, nil
  for _, pids in pairs(by_slot) do
    for _, pid in ipairs(pids) do
      local seen = { mapped(pid, "veloflux%-table"), mapped(pid, "veloflux%-delta") }
      if #seen[1] < 2 or #seen[2] < 2 then
        children.wait_gone(pid)
      else
        assert.same({ 2, 2 }, { #seen[1], #seen[2] })
        assert.same(first or seen, seen)
        first = first or seen
      end
    end
  end
  return assert(first, "no worker has tables")
end

local function figure(server, name, table_name)
  local text = clients.get(server.ports.admin, "/metrics").body
  return tonumber(text:match(("veloflux_table_%s{table=\"%s\"} (%%d+)"):format(name, table_name)))
end

-- What a client with a badge is told: the body, or the status when it is refused.
local function ask(server, key)
  local response = clients.get(server.ports.http, "/", { ["X-Badge"] = key })
  return response.status == 200 and response.body or response.status
end

local function log_in(server, name, password)
  local response = clients.get(server.ports.http, "/", { ["X-Name"] = name, ["X-Password"] = password })
  return response.status == 200 and response.body or response.status
end

local function user(name, password)
  return { name = "person-" .. name, credentials = { { type = "login", name = name, password = password } } }
end

describe("plugins", function()
  it("look credentials up, and find none that was revoked", loop.spec(function()
    local server, dir = start { consumer("ana", "a-1"), consumer("ben", "b-1") }
    assert.same({ "ana gold of ana", "ben gold of ben", 401 },
      { ask(server, "a-1"), ask(server, "b-1"), ask(server, "c-1") })
    assert.equal(204, clients.get(server.ports.http, "/").status)
    server:write_conf(conf_of({ consumer("ben", "b-1"), consumer("ana", "a-2") }, dir))
    assert.is_true((server:reload()))
    for _ = 1, 8 do -- whichever worker takes the connection
      assert.same({ 401, "ana gold of ana", "ben gold of ben" },
        { ask(server, "a-1"), ask(server, "a-2"), ask(server, "b-1") })
    end
    server:stop()
  end))

  it("of a consumer run once it is known", loop.spec(function()
    local function of_ana(text)
      local ana = consumer("ana", "a-1")
      ana.plugins = { { name = "mark", config = { text = text } } }
      return ana
    end
    local server, dir = start { of_ana "one", consumer("ben", "b-1") }
    local function go_on(key) return clients.get(server.ports.http, "/", { ["X-Badge"] = key, ["X-Go-On"] = "1" }) end
    assert.equal("marked one", go_on("a-1").body)
    assert.equal(204, go_on("b-1").status)
    assert.equal(204, clients.get(server.ports.http, "/").status)
    server:write_conf(conf_of({ of_ana "two", consumer("ben", "b-1") }, dir))
    assert.is_true((server:reload()))
    for _ = 1, 8 do assert.equal("marked two", go_on("a-1").body) end
    server:stop()
  end))

  it("look them up while control is dead", loop.spec(function()
    local server = start { consumer("ana", "a-1") }
    assert(uv.kill(children.of(server.pid).control[1], "sigkill"))
    assert.equal("ana gold of ana", ask(server, "a-1"))
    assert(uv.kill(children.of(server.pid).worker[1][1], "sigkill"))
    for _ = 1, 8 do assert.equal("ana gold of ana", ask(server, "a-1")) end
    server:wait_log("worker%.started.*slot=1", (server:wait_log "worker%.exited"))
    for _ = 1, 8 do assert.equal("ana gold of ana", ask(server, "a-1")) end
    server:stop()
  end))

  it("compare passwords, plain ones and hashes", loop.spec(function()
    local crypto = require "veloflux.pdk.crypto"
    local hashed = assert(crypto.password_hash "open sesame")
    local server, dir = start { user("ana", "plain"), user("ben", hashed) }
    for _ = 1, 2 do
      assert.same({ "person-ana", 401, 401 },
        { log_in(server, "ana", "plain"), log_in(server, "ana", "Plain"), log_in(server, "eve", "plain") })
      assert.same({ "person-ben", 401, 401 },
        { log_in(server, "ben", "open sesame"), log_in(server, "ben", "closed"), log_in(server, "ben", hashed) })
    end
    server:write_conf(conf_of({ user("ana", "new"), user("ben", assert(crypto.password_hash "new")) }, dir))
    assert.is_true((server:reload()))
    for _ = 1, 4 do
      assert.same({ 401, "person-ana", 401, "person-ben" }, { log_in(server, "ana", "plain"),
        log_in(server, "ana", "new"),
        log_in(server, "ben", "open sesame"), log_in(server, "ben", "new") })
    end
    server:stop()
  end))

  it("lose no request when clients go away while passwords are compared", loop.spec(function()
    local hashed = assert(require("veloflux.pdk.crypto").password_hash "open sesame")
    local server = start { user("ben", hashed) }
    for _ = 1, 6 do
      local client = clients.connect(server.ports.http)
      client:request("GET", "/", { ["X-Name"] = "ben", ["X-Password"] = "wrong" })
      client:close()
    end
    assert.equal("person-ben", log_in(server, "ben", "open sesame"))
    server:stop()
  end))
end)

describe("the tables of consumers", function()
  it("are in every worker, for reading alone", loop.spec(function()
    local server = start { consumer("ana", "a-1"), consumer("ben", "b-1") }
    local first = assert_same_in_workers(server)
    assert.equal('{"consumer":"ana","note":"of ana"}', badge(server, "a-1"))
    assert.equal('{"groups":["gold"],"name":"ben","tenant":"default"}', find(server, CONSUMERS, "c\0default\0ben"))
    assert.is_nil(badge(server, "c-1"))
    assert.equal(3, figure(server, "entries", "credentials")) -- and the type
    local worker = children.of(server.pid).worker[1][1]
    for mode in tempdir.read(("/proc/%d/maps"):format(worker)):gmatch " (%S+) %S+ %S+ %d+ +/memfd:veloflux%-delta" do
      assert.equal("r--s", mode)
    end
    assert.is_true(#first[1] == 2)
    server:stop()
  end))

  it("are not there without consumers", loop.spec(function()
    local server = start(nil)
    assert.same({}, kept(server))
    assert.is_nil(figure(server, "entries", "consumers"))
    server:stop()
  end))

  it("lose what a reload revokes at once, and are not made anew for it", loop.spec(function()
    local server, dir = start { consumer("ana", "a-1"), consumer("ben", "b-1") }
    local before = assert_same_in_workers(server)
    local credentials = kept(server)[CREDENTIALS] -- as a worker has it: mapped before
    assert.is_string(tables.get(credentials, "badge\0default\0a-1"))
    server:write_conf(conf_of({ consumer("ana", "a-2"), consumer("ben", "b-1") }, dir))
    assert.is_true((server:reload()))
    assert.is_nil(tables.get(credentials, "badge\0default\0a-1"))
    assert.is_string(tables.get(credentials, "badge\0default\0a-2"))
    assert.same(before, assert_same_in_workers(server))
    assert.equal(2, figure(server, "sequence", "credentials"))
    assert.equal(1, figure(server, "sequence", "consumers"))
    assert.is_true((server:reload())) -- nothing has changed
    assert.equal(2, figure(server, "sequence", "credentials"))
    server:stop()
  end))

  it("stay as they are when a reload is refused", loop.spec(function()
    local server, dir = start { consumer("ana", "a-1") }
    local conf = conf_of({ consumer("ana", "a-2") }, dir)
    conf.routes[1].pool = "nowhere"
    server:write_conf(conf)
    assert.is_false((server:reload()))
    conf = conf_of({ consumer("ana", "a-2") }, dir)
    conf.data_dir = "elsewhere" -- found by the supervisor
    server:write_conf(conf)
    assert.is_false((server:reload()))
    assert.is_string(badge(server, "a-1"))
    assert.is_nil(badge(server, "a-2"))
    assert.equal(1, figure(server, "sequence", "credentials"))
    server:stop()
  end))

  it("are made anew when much changes, and all workers have them before the new version", loop.spec(function()
    local server, dir = start { consumer("ana", "a-1") }
    local before, list = assert_same_in_workers(server), {}
    for i = 1, 1500 do
      list[i] = consumer("c" .. i, ("k%d-"):format(i) .. ("x"):rep(1400))
    end
    server:write_conf(conf_of(list, dir))
    assert.is_true((server:reload()))
    local after = assert_same_in_workers(server)
    assert.not_same(before, after)
    assert.equal(1501, figure(server, "entries", "credentials"))
    assert.is_string(badge(server, "k7-" .. ("x"):rep(1400)))
    assert.is_nil(badge(server, "a-1"))
    server:stop()
  end))

  it("outlive control and workers", loop.spec(function()
    local server, dir = start { consumer("ana", "a-1") }
    local before = assert_same_in_workers(server)
    server:write_conf(conf_of({ consumer("ana", "a-2") }, dir))
    assert.is_true((server:reload()))
    local victims = children.of(server.pid)
    assert(uv.kill(victims.control[1], "sigkill"))
    assert(uv.kill(victims.worker[1][1], "sigkill"))
    local at = server:wait_log("worker%.exited.*pid=" .. victims.worker[1][1])
    assert.is_string(badge(server, "a-2"))
    server:wait_log("worker%.started.*slot=1", at)
    server:wait_log("control%.started", at)
    assert.same(before, assert_same_in_workers(server))
    assert.equal(2, figure(server, "sequence", "credentials")) -- found as they should be
    server:write_conf(conf_of({ consumer("ana", "a-3") }, dir))
    assert.is_true((server:reload()))
    assert.is_nil(badge(server, "a-2"))
    assert.is_string(badge(server, "a-3"))
    assert.same(before, assert_same_in_workers(server))
    server:stop()
  end))

  it("are repaired by the control that replaces one which died before it had said all", loop.spec(function()
    local server = start { consumer("ana", "a-1") }
    local key = "badge\0default\0a-2"
    assert.equal(0, tables.change(kept(server, READ_WRITE)[CREDENTIALS], { { key, "{}" } }))
    assert.equal("{}", badge(server, "a-2"))
    assert(uv.kill(children.of(server.pid).control[1], "sigkill"))
    server:wait_log("control%.started", (server:wait_log "control%.exited"))
    children.eventually("the repair", function() return not badge(server, "a-2") end)
    assert.is_string(badge(server, "a-1"))
    server:stop()
  end))

  it("outlive an upgrade, for both generations", loop.spec(function()
    local server, dir = start { consumer("ana", "a-1") }
    local before = assert_same_in_workers(server)
    server:signal "sigusr2"
    server:wait_log "upgrade%.done.*generation=2"
    assert.same(before, assert_same_in_workers(server))
    children.eventually("one generation", function() return children.of(server.pid).count == 4 end)
    server:write_conf(conf_of({ consumer("ana", "a-2") }, dir))
    assert.is_true((server:reload()))
    assert.is_nil(badge(server, "a-1"))
    assert.is_string(badge(server, "a-2"))
    assert.same(before, assert_same_in_workers(server))
    server:stop()
  end))
end)
