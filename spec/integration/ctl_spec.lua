--- veloflux ctl: the admin API from a terminal, with the real binary at both ends.
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local processes = require "support.process"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local QUIET = { API_USERNAME = false, API_PASSWORD = false, VFX_ADDRESS = false, VFX_CONFIG = false }

local function conf_of(changes)
  local conf = { pools = { { name = "web", algorithm = "ip_hash", backends = { { address = "127.0.0.1:1" },
      { address = "127.0.0.1:2", weight = 0 } } } },
    routes = { { name = "site", path_prefix = "/", pool = "web" },
      { name = "hello", path = "/hello", respond = { body = "hi" } } } }
  for key, value in pairs(changes or {}) do conf[key] = value end
  return conf
end

--- Runs a command on the conf of a server. Returns exit code, standard output and standard error.
local function run(server, ...)
  local args = { ... }
  args[#args + 1], args[#args + 2] = "-c", server.file
  return servers.command({ "ctl", unpack(args) }, { env = QUIET })
end

--- Runs a command that has to succeed. Returns what it writes as JSON, decoded.
local function decoded(server, ...)
  local args = { ... }
  args[#args + 1], args[#args + 2] = "-o", "json"
  local code, out, err = run(server, unpack(args))
  assert.same({ 0, "" }, { code, err })
  return cjson.decode(out)
end

describe("veloflux ctl", function()
  it("asks the instance of the conf over its socket, and writes tables, JSON and YAML", loop.spec(function()
    local server = servers.start { conf = conf_of { admin = { address = "off" } } }
    local code, out, err = run(server, "status")
    assert.same({ 0, "" }, { code, err })
    assert.matches("pool      web, ip_hash: 2 of 2 backends usable", out)
    code, out = run(server, "version", "-o", "json")
    assert.equal(0, code)
    assert.equal("VeloFlux", cjson.decode(out).name)
    code, out = run(server, "info", "-o=yaml")
    assert.equal(2, code, out) -- an option of one letter takes no equals sign
    code, out = run(server, "info", "--output=yaml")
    assert.equal(0, code)
    assert.matches("\nworkers: 1", out)
    code, out = run(server, "health")
    assert.equal(0, code)
    assert.matches("^healthy, up for ", out)
    assert.matches("\nworkers +healthy +1 of 1 workers are ready", out)
    code, out = run(server, "cluster")
    assert.equal(0, code)
    assert.matches("^healthy, version %d+ of the store\nNODE +ROLE +STATUS", out)
    assert.matches("\n%S+ +leader +healthy +%d+ +0 ", out)
    server:stop()
  end))

  it("shows traffic, once when nobody looks", loop.spec(function()
    local server = servers.start { conf = conf_of() }
    assert.equal("hi", clients.get(server.ports.http, "/hello").body)
    local code, out = run(server, "top")
    assert.equal(0, code)
    assert.matches("\nPOOL +BACKEND +STATUS", out)
    assert.matches("\nweb +127%.0%.0%.1:1 ", out)
    code, out = run(server, "top", "-n", "2", "--interval", "0")
    assert.equal(0, code)
    assert.equal(2, select(2, out:gsub("POOL +BACKEND", "")))
    server:stop()
  end))

  it("explains a request", loop.spec(function()
    local server = servers.start { conf = conf_of() }
    local code, out = run(server, "explain", "GET", "http://a.example/x", "--client-ip", "192.0.2.1")
    assert.equal(0, code)
    assert.matches("\nroute    site %(", out)
    assert.matches("\nbackend  127%.0%.0%.1:1: the only one that is eligible", out)
    assert.matches("127%.0%.0%.1:2, unknown, weight 0: its weight is 0", out)
    code, out = run(server, "explain", "GET", "/hello", "-H", "X-A: b", "-o", "json")
    assert.equal(0, code)
    assert.equal("hello", cjson.decode(out).route.route)
    local _, err
    code, _, err = run(server, "explain", "GET", "/%zz")
    assert.equal(1, code)
    assert.matches("^refused %(400%): /url: ", err)
    code = run(server, "explain", "GET", "/", "-H", "nonsense")
    assert.equal(2, code)
    server:stop()
  end))

  it("sets log levels", loop.spec(function()
    local server = servers.start { conf = conf_of() }
    local code, out = run(server, "log-level", "warn", "backend=debug")
    assert.equal(0, code)
    assert.same({ "*          warn", "backend    debug" }, { out:match "\n([^\n]+)\n([^\n]+)" })
    code, out = run(server, "log-level", "--reset", "-o", "json")
    assert.equal(0, code)
    assert.equal("info", cjson.decode(out).level)
    local _, err
    code, _, err = run(server, "log-level", "loud")
    assert.equal(1, code)
    assert.matches("/level: expected debug", err)
    server:stop()
  end))

  it("asks an address, with the credentials that it is given", loop.spec(function()
    local server = servers.start { conf = conf_of { admin = { address = "127.0.0.1:0",
      auth = { username = "root", password = "secret" } } } }
    local address = "127.0.0.1:" .. server.ports.admin
    local env = { API_USERNAME = "root", API_PASSWORD = "secret", VFX_ADDRESS = address }
    local elsewhere = { env = QUIET, cwd = tempdir.new() }
    assert.equal(0, (servers.command({ "ctl", "status" }, { env = env, cwd = elsewhere.cwd })))
    for _, url in ipairs { address, "http://" .. address, "http://" .. address .. "/",
      "unix:" .. server.dir .. "/data/control.sock", server.dir .. "/data/control.sock" } do
      local code, _, err = servers.command({ "ctl", "status", "--address", url, "--user", "root:secret" }, elsewhere)
      assert.same({ 0, "" }, { code, err })
    end
    assert.equal(0, (run(server, "status", "--address", address))) -- those of the conf
    local code, out, err = servers.command({ "ctl", "status", "--address", address, "--user", "root:wrong" }, elsewhere)
    assert.same({ 1, "" }, { code, out })
    assert.matches("^refused %(401%): ", err)
    server:stop()
  end))

  it("exits with 3 when nobody answers, 2 when it is called wrongly", loop.spec(function()
    local none = { env = QUIET, cwd = tempdir.new() }
    local file = none.cwd .. "/v.yaml"
    tempdir.write(file, "admin: { address: off }\n")
    for _, args in ipairs { { "status" }, { "status", "--address", "127.0.0.1:1" },
      { "status", "--address", "nonsense" }, { "status", "--address", "https://127.0.0.1:1" },
      { "status", "--address", none.cwd .. "/none.sock" },
      { "status", "-c", file } } do
      local code, out, err = servers.command({ "ctl", unpack(args) }, none)
      assert.same({ 3, "" }, { code, out }, table.concat(args, " "))
      assert.matches("^veloflux ctl: ", err)
    end
    for _, args in ipairs { {}, { "dance" }, { "status", "now" }, { "status", "-o", "xml" }, { "status", "--loud" },
      { "explain" }, { "explain", "GET" }, { "drain" }, { "top", "-n", "0" }, { "request", "GET", "x" },
      { "completion", "tcsh" } } do
      local code, out, err = servers.command({ "ctl", unpack(args) }, none)
      assert.same({ 2, "" }, { code, out }, table.concat(args, " "))
      assert.matches("veloflux ctl", err)
    end
    local code, out = servers.command({ "ctl", "--help" }, none)
    assert.equal(0, code)
    assert.matches("^usage: veloflux ctl COMMAND", out)
  end))

  it("sends any request", loop.spec(function()
    local server = servers.start { conf = conf_of() }
    local code, out = run(server, "request", "get", "/api/debug/routes?limit=1", "-o", "json")
    assert.equal(0, code)
    assert.equal("hello", cjson.decode(out)[1].name)
    tempdir.write(server.dir .. "/q.yaml", "url: /hello\n")
    code, out = run(server, "request", "POST", "/api/debug/explain", "-f", server.dir .. "/q.yaml")
    assert.equal(0, code)
    assert.matches("\nmatched: true", out)
    code, out = run(server, "request", "GET", "/metrics")
    assert.equal(0, code)
    assert.matches("veloflux_build_info", out)
    assert.equal(0, (run(server, "request", "HEAD", "/api/status")))
    local _, err
    code, _, err = run(server, "request", "GET", "/nowhere")
    assert.equal(1, code)
    assert.matches("^refused %(404%)", err)
    assert.equal(1, (run(server, "request", "POST", "/api/debug/explain", "-f", server.dir .. "/none")))
    server:stop()
  end))

  it("reloads and drains", loop.spec(function()
    local server = servers.start { conf = conf_of() }
    local code, out = run(server, "reload")
    assert.equal(0, code)
    assert.matches("^version %d+: no changes", out)
    server:write_conf(conf_of { routes = 7 })
    local _, err
    code, _, err = run(server, "reload")
    assert.equal(1, code)
    assert.matches("^refused %(422%)", err)
    assert.equal(1, (run(server, "health")))
    server:write_conf(conf_of())
    code, out = run(server, "drain", "--yes")
    assert.equal(0, code)
    assert.matches("^draining, 0 connections", out)
    assert.same({ code = 0, signal = 0 }, server.process:wait_exit())
    assert.equal(3, (run(server, "status")))
  end))

  it("makes, shows, changes and deletes objects of any kind", loop.spec(function()
    local server = servers.start { conf = conf_of() }
    local file = server.dir .. "/object"
    local function with(text, ...)
      tempdir.write(file, text)
      local args = { ... }
      args[#args + 1], args[#args + 2] = "-f", file
      return run(server, unpack(args))
    end
    local code, out, err = with("name: api\nbackends:\n  - address: 127.0.0.1:9\n", "create", "pools")
    assert.same({ 0, "" }, { code, err })
    assert.matches("^created pools api, version %d+$", out)
    code, out = run(server, "list", "pools")
    assert.equal(0, code)
    assert.matches("^NAME +ALGORITHM +STATUS", out)
    assert.matches("\napi +round_robin ", out)
    assert.matches("\nweb +ip_hash .*file$", out)
    assert.equal("api", decoded(server, "list", "pools", "origin=api")[1].name)
    code, out = run(server, "get", "pools", "api")
    assert.equal(0, code)
    assert.matches("\nname: api\n", out)
    code, out = with('{"algorithm":"random"}', "set", "pools", "api", "--dry-run")
    assert.equal(0, code)
    assert.matches("^~ pools default/api\n    /algorithm: .* %-> random\n", out)
    assert.equal(0, (with('{"algorithm":"random"}', "set", "pools", "api")))
    assert.equal("random", decoded(server, "get", "pools", "api").algorithm)
    code, out, err = with("algoritm: random", "set", "pools", "api")
    assert.equal("", out)
    assert.equal(1, code)
    assert.matches("^refused %(400%).*/algoritm", err)
    code, out, err = run(server, "delete", "pools", "web")
    assert.equal("", out)
    assert.equal(1, code)
    assert.matches("^refused %(409%)", err)
    assert.matches("it stands in .*veloflux%.yaml:%d+", err)
    assert.equal(1, (run(server, "delete", "pools", "api", "--if-match", "1")))
    code, out = run(server, "delete", "pools", "api")
    assert.equal(0, code)
    assert.matches("^deleted pools api, version %d+$", out)
    assert.equal(1, (run(server, "get", "pools", "api")))
    assert.same({ run(server, "list", "pools") }, { run(server, "pools", "list") })
    assert.equal("ip_hash", decoded(server, "pools", "get", "web").algorithm)
    assert.equal(1, (run(server, "list", "unicorns")))
    assert.equal(2, (run(server, "get", "pools")))
    assert.equal(2, (run(server, "list", "pools", "nonsense")))
    server:stop()
  end))

  it("drains, disables and weighs backends", loop.spec(function()
    local server = servers.start { conf = conf_of() }
    local id = decoded(server, "list", "backends")[1].id
    for _, case in ipairs { { "drain", "draining" }, { "disable", "disabled" }, { "undrain", "unknown" } } do
      local code, out, err = run(server, "backend", case[1], id)
      assert.same({ 0, "" }, { code, err })
      assert.matches(case[2], out, 1, true)
    end
    local code, out = run(server, "backend", "weight", id, "7", "-o", "json")
    assert.equal(0, code)
    assert.equal(7, cjson.decode(out).effective_weight)
    assert.equal(0, (run(server, "backend", "weight", id)))
    assert.equal(1, (run(server, "backend", "drain", "nobody")))
    assert.equal(2, (run(server, "backend", "dance", id)))
    assert.equal(2, (run(server, "backend", "drain", id, "7")))
    server:stop()
  end))

  it("applies documents, shows differences and versions, and goes back", loop.spec(function()
    local server = servers.start { conf = conf_of() }
    local file = server.dir .. "/more.yaml"
    tempdir.write(file, "routes:\n  - { name: a, path: /a, respond: { body: one } }\n")
    local code, out = run(server, "diff", "-f", file)
    assert.equal(0, code)
    assert.equal("+ routes default/a\nwould change: routes: 1 added", out)
    code, out = run(server, "apply", "-f", file, "--reason", "a new route")
    assert.equal(0, code)
    local first = out:match "^%+ routes default/a\nversion (%d+): routes: 1 added$"
    assert.is_truthy(first, out)
    assert.equal("one", clients.get(server.ports.http, "/a").body)
    tempdir.write(file, "routes:\n  - { name: a, path: /a, respond: { body: two } }\n")
    assert.equal(0, (run(server, "apply", "-f", file)))
    assert.equal("two", clients.get(server.ports.http, "/a").body)
    code, out = run(server, "versions")
    assert.equal(0, code)
    assert.matches("^VERSION +TIME +AUTHOR +SOURCE +SUMMARY +REASON", out)
    assert.matches("\n" .. first .. " .* a new route", out)
    code, out = run(server, "diff", first, tostring(first + 1))
    assert.equal(0, code)
    assert.matches("~ routes default/a\n    /respond/body: one %-> two", out)
    code, out = run(server, "versions", tostring(first + 1))
    assert.equal(0, code)
    assert.matches("/respond/body: one %-> two", out)
    assert.equal(0, (run(server, "rollback", first, "--dry-run")))
    assert.equal("two", clients.get(server.ports.http, "/a").body)
    assert.equal(0, (run(server, "rollback", first)))
    assert.equal("one", clients.get(server.ports.http, "/a").body)
    assert.equal(1, (run(server, "rollback", "9999")))
    code, out = run(server, "export")
    assert.equal(0, code)
    tempdir.write(file, out .. "\n")
    code, out = run(server, "diff", "-f", file, "--replace")
    assert.equal(0, code)
    assert.matches("would change: no changes$", out)
    local err
    tempdir.write(file, "routes:\n  - { name: b, pool: none }\n")
    code, out, err = run(server, "apply", "-f", file)
    assert.same({ 1, "" }, { code, out })
    assert.matches('unknown pool "none"', err)
    server:stop()
  end))

  it("makes, lists, restores and deletes backups, and says what a reload would do", loop.spec(function()
    local server = servers.start { conf = conf_of() }
    assert.equal(0, (run(server, "backups", "make")))
    local made = decoded(server, "backups")[1]
    local code, out = run(server, "backups")
    assert.equal(0, code)
    assert.matches(made.backup_id, out, 1, true)
    assert.equal(0, (run(server, "backups", "restore", made.backup_id, "--dry-run")))
    assert.equal(0, (run(server, "backups", "restore", made.backup_id)))
    assert.equal(0, (run(server, "backups", "delete", made.backup_id)))
    assert.equal(1, (run(server, "backups", "restore", made.backup_id)))
    assert.equal(2, (run(server, "backups", "lose")))
    assert.equal(2, (run(server, "backups", "make", "x")))
    server:write_conf(conf_of { pools = { { name = "web" }, { name = "new" } } })
    code, out = run(server, "reload", "--dry-run")
    assert.equal(0, code)
    assert.matches("would change: pools: 1 added, 1 changed", out, 1, true)
    assert.equal(1, (run(server, "get", "pools", "new")))
    server:stop()
  end))

  it("makes API keys, shows them once, and uses one", loop.spec(function()
    local auth = { username = "admin", password = "hunter2-hunter2" }
    local server = servers.start { conf = conf_of { admin = { address = "127.0.0.1:0", auth = auth } } }
    local file = server.dir .. "/key.yaml"
    tempdir.write(file, "{ name: ci, role: user }\n")
    local code, out = run(server, "create", "apikeys", "-f", file)
    assert.equal(0, code)
    local key = out:match "key: (vfk_%S+)"
    local address = ("127.0.0.1:%d"):format(server.ports.admin)
    local env = { VFX_API_KEY = key, API_USERNAME = false, API_PASSWORD = false, VFX_ADDRESS = false }
    code, out = servers.command({ "ctl", "list", "pools", "--address", address }, { env = env })
    assert.equal(0, code)
    assert.matches("web", out)
    code = servers.command({ "ctl", "delete", "pools", "web", "--address", address }, { env = env })
    assert.equal(1, code)
    assert.equal(0, (run(server, "delete", "apikeys", "ci")))
    code = servers.command({ "ctl", "list", "pools", "--address", address }, { env = env })
    assert.equal(1, code)
    server:stop()
  end))

  it("rotates keys", loop.spec(function()
    local server = servers.start { conf = conf_of() }
    local code, out = run(server, "keys")
    assert.equal(0, code)
    assert.matches("ID +ACTIVE +ORIGIN.*yes +data_dir", out)
    local first = decoded(server, "keys")[1].id
    code, out = run(server, "keys", "rotate")
    assert.equal(0, code)
    assert.matches("sealed anew: 0, version", out)
    assert.equal(1, (run(server, "keys", "retire", first))) -- answers may be sealed with it
    assert.equal(2, (run(server, "keys", "lose")))
    server:stop()
  end))

  it("says what is no address", loop.spec(function()
    for _, address in ipairs { "nonsense", "127.0.0.1:99999", "127.0.0.1:0", "http://127.0.0.1:80/x", "ftp://x:1",
      "http://" } do
      local code, out, err = servers.command({ "ctl", "version", "--address", address }, { env = QUIET })
      assert.same({ address, 3, "" }, { address, code, out })
      assert.matches("^veloflux ctl: not an address: ", err)
    end
  end))

  it("writes nothing that a terminal obeys, and says when its output is not there", loop.spec(function()
    local server = servers.start { conf = conf_of() }
    local file = server.dir .. "/route.json"
    tempdir.write(file, '{"name":"evil","host":"e.example","respond":{"status":200,"body":"\\u001b[31mred\\u009b2J"}}')
    local _, out = run(server, "create", "routes", "-f", file)
    local version = out:match "version (%d+)"
    tempdir.write(file, '{"respond":{"status":200,"body":"\\u001b]0;owned\\u0007"}}')
    for _, command in ipairs { { "set", "routes", "evil", "-f", file, "--dry-run" }, { "versions", version },
      { "get", "routes", "evil" }, { "list", "routes" }, { "get", "pools", "\27[31m" } } do
      local _, text, err = run(server, unpack(command))
      assert.is_nil((text .. err):find "[%z\1-\8\11-\31\127]", table.concat(command, " "))
      assert.is_nil((text .. err):find "\194[\128-\159]", table.concat(command, " "))
    end
    local script = 'exec "$0" ctl export -c "$1" >/dev/full'
    local code, _, err = processes.run("/bin/sh", { "-c", script, servers.binary(), server.file }, { env = QUIET })
    assert.same({ 1, "veloflux: standard output: No space left on device" }, { code, err })
    server:stop()
  end))

  it("only says what would be with --dry-run, whatever the command", loop.spec(function()
    local server = servers.start { conf = conf_of() }
    local file = server.dir .. "/more.yaml"
    tempdir.write(file, "name: more\n")
    local _, out = run(server, "create", "pools", "-f", file, "--probation", "1h")
    local version = out:match "version (%d+)"
    local id = decoded(server, "list", "backends")[1].id
    local kept = decoded(server, "backups", "make").backup_id
    local function state()
      local backups, shown = {}, decoded(server, "list", "backends")
      for i, backup in ipairs(decoded(server, "backups")) do backups[i] = backup.backup_id end
      return { keys = decoded(server, "keys"), levels = decoded(server, "log-level"), drain = shown[1].drain,
        version = decoded(server, "request", "GET", "/api/config").version, backups = backups,
        probation = decoded(server, "versions", version).probation.state }
    end
    local before = state()
    for _, command in ipairs { { "keys", "rotate" }, { "backups", "make" }, { "backups", "delete", kept },
      { "confirm", version }, { "reject", version }, { "delete", "pools", "more" }, { "backend", "drain", id },
      { "set", "pools", "more", "-f", file, "--replace" }, { "log-level", "debug" }, { "drain", "--yes" }, { "reload" },
      { "request", "DELETE", "/api/pools/more" } } do
      command[#command + 1] = "--dry-run"
      local words = table.concat(command, " ")
      local code, text, err = run(server, unpack(command))
      assert.same({ words, 0, "" }, { words, code, err })
      assert.is_true(#text > 0, words)
      assert.is_true(decoded(server, unpack(command)).dry_run, words)
    end
    local _, told = run(server, "reject", version, "--dry-run")
    assert.matches("removed", told)
    assert.is_nil(told:find("!", 1, true)) -- nothing stays
    assert.equal(1, (run(server, "keys", "retire", "beef", "--dry-run")))
    assert.same(before, state())
    local code, err
    code, _, err = run(server, "delete", "pools", "more", "--if-match", "1")
    assert.equal(1, code)
    assert.matches("412", err)
    assert.matches("^null", select(2, run(server, "backups", "delete", kept, "-o", "json")))
    server:stop()
  end))

  it("puts changes on probation, and ends that", loop.spec(function()
    local server = servers.start { conf = conf_of() }
    local file = server.dir .. "/pool.yaml"
    tempdir.write(file, "name: more\n")
    local code, out, err = run(server, "create", "pools", "-f", file, "--probation", "1h")
    assert.same({ 0, "" }, { code, err })
    local version = out:match "version (%d+)"
    code, out = run(server, "versions", version)
    assert.equal(0, code)
    assert.matches("probation: watching until ", out)
    code, out = run(server, "reject", version)
    assert.equal(0, code)
    assert.matches("probation: rolled_back, rejected by local", out)
    assert.equal(1, (run(server, "get", "pools", "more")))
    assert.equal(1, (run(server, "confirm", version)))
    server:stop()
  end))

  it("makes what templates give", loop.spec(function()
    local folder = tempdir.new()
    local server = servers.start { conf = conf_of { tenants = { { name = "acme" } } } }
    local file = folder .. "/template.yaml"
    tempdir.write(file, [[
name: extra
parameters: [ { name: name, required: true }, { name: weights, type: list } ]
entities: { pools: [ { name: "${name}", backends: [ { address: "127.0.0.1:3" } ] } ] }
]])
    assert.equal(0, (run(server, "create", "templates", "-f", file)))
    local code, out, err = run(server, "instantiate", "extra", "name=more", "--dry-run")
    assert.same({ 0, "" }, { code, err })
    assert.matches("+ pools default/more", out, 1, true)
    assert.equal(0, (run(server, "instantiate", "extra", "name=more", "weights=[1, 2]")))
    assert.equal("more", decoded(server, "get", "pools", "more").name)
    code, out, err = run(server, "instantiate", "extra", "name=more")
    assert.equal(1, code)
    assert.same({ "", true }, { out, err:find "already" ~= nil })
    assert.equal(0, (run(server, "instantiate", "extra", "name=more", "--replace")))
    code, out, err = run(server, "instantiate", "extra", "name=more", "--tenant", "acme")
    assert.same({ 0, "" }, { code, err }, out)
    assert.equal("acme", decoded(server, "get", "pools", "more", "--tenant", "acme").tenant_id)
    code, out, err = run(server, "instantiate", "extra", "nam=x", "weights=3")
    assert.same({ 1, "" }, { code, out })
    assert.matches("/parameters/nam: unknown parameter, did you mean name?", err, 1, true)
    assert.matches("/parameters/weights: expected a list", err, 1, true)
    assert.equal(2, (run(server, "instantiate", "extra", "name")))
    assert.equal(1, (run(server, "instantiate", "missing")))
    server:stop()
  end))

  it("completes commands, options and arguments in bash", loop.spec(function()
    local server = servers.start { conf = conf_of { plugins = { { name = "cors" } } } }
    local code, script = servers.command({ "ctl", "completion", "bash" }, { env = QUIET })
    assert.equal(0, code)
    local dir = tempdir.new()
    tempdir.write(dir .. "/script", script .. [[

      complete_it() { COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=(); _veloflux; echo "${COMPREPLY[*]}"; }
      complete_it "$BINARY" ct
      complete_it "$BINARY" sto
      complete_it "$BINARY" ctl expl
      complete_it "$BINARY" ctl status --outp
      complete_it "$BINARY" ctl status -o js
      complete_it "$BINARY" ctl explain P
      complete_it "$BINARY" ctl get po
      complete_it "$BINARY" ctl get pools w
      complete_it "$BINARY" ctl backups r
      complete_it "$BINARY" ctl keys ro
      complete_it "$BINARY" ctl pools g
      complete_it "$BINARY" ctl pools get w
      complete_it "$BINARY" ctl rout
      complete_it "$BINARY" plugin ne
      complete_it "$BINARY" ctl completion z
      complete_it "$BINARY" ctl get plugins glo
      complete_it "$BINARY" ctl get plugins global : co
    ]])
    local process = require "support.process"
    local status, out, err = process.run("/bin/bash", { dir .. "/script" },
      { env = { BINARY = servers.binary(), VFX_CONFIG = server.file, VFX_ADDRESS = false } })
    assert.same({ 0, "" }, { status, err })
    assert.equal("ctl\nstop store\nexplain\n--output\njson\nPOST PUT PATCH\npools\nweb\nrestore\nrotate\nget\nweb\n"
      .. "routes\nnew\nzsh\nglobal:cors\ncors", out)
    server:stop()
  end))

  it("has a script for zsh, too", loop.spec(function()
    local code, script = servers.command({ "ctl", "completion", "zsh" }, { env = QUIET })
    assert.equal(0, code)
    assert.matches("^#compdef veloflux\n", script)
    assert.matches("ctl __complete", script, 1, true)
  end))
end)
