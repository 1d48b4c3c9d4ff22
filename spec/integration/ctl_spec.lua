--- veloflux ctl: the admin API from a terminal, with the real binary at both ends.
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
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

  it("completes commands, options and arguments in bash", loop.spec(function()
    local code, script = servers.command({ "ctl", "completion", "bash" }, { env = QUIET })
    assert.equal(0, code)
    local dir = tempdir.new()
    tempdir.write(dir .. "/script", script .. [[

      complete_it() { COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=(); _veloflux; echo "${COMPREPLY[*]}"; }
      complete_it "$BINARY" ct
      complete_it "$BINARY" ctl expl
      complete_it "$BINARY" ctl status --outp
      complete_it "$BINARY" ctl status -o js
      complete_it "$BINARY" ctl explain P
    ]])
    local process = require "support.process"
    local status, out, err = process.run("/bin/bash", { dir .. "/script" }, { env = { BINARY = servers.binary() } })
    assert.same({ 0, "" }, { status, err })
    assert.equal("ctl\nexplain\n--output\njson\nPOST PUT PATCH", out)
  end))
end)
