--- Where secrets of the configuration are: in workers, not in the supervisor and no more than needed in the checker.
local uv = require "luv"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local memory = require "support.memory"
local origins = require "support.origin"
local pki = require "support.pki"
local process = require "support.process"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local VALUE, CONFIG, NAME = "value_of_a_header_field", "configuration_of_a_plugin", "name_of_a_pool"
local ALL = { "client", "config", "name", "quiet", "site", "value" }
local CHECKER = { "client", "name" } -- health checks show the certificate of this client
local SUPERVISOR = { "name" }

--- Returns the secret number in the file of an elliptic key.
local function secret_of(pair)
  local code, der = process.run("/usr/bin/openssl", { "pkey", "-in", pair.key, "-outform", "der" })
  assert.equal(0, code)
  return assert(der:match("\4\32(" .. ("."):rep(32) .. ")"))
end

describe("a secret of the configuration", function()
  local shared, authority, site, client, quiet, secrets, backend = loop.scope()

  setup(shared:spec(function()
    local dir = tempdir.new()
    authority = pki.authority(dir, "authority")
    site = pki.issue(dir, "site", authority, { names = { "127.0.0.1" } })
    client, quiet = pki.issue(dir, "client", authority), pki.issue(dir, "quiet", authority)
    secrets = { site = secret_of(site), client = secret_of(client), quiet = secret_of(quiet), value = VALUE,
      config = CONFIG, name = NAME }
    local origin = origins.start()
    backend = servers.start { conf = {
      listeners = { { name = "https", address = "127.0.0.1:0",
        tls = { certificates = { site }, client_auth = { ca = authority.cert } } } },
      pools = { { name = "web", backends = { { address = origin.address } } } },
      routes = { { name = "all", pool = "web" } },
    } }
  end))
  teardown(function() shared:close() end)

  local function conf_of()
    local function pool(name, pair, more)
      local made = { name = name, tls = { ca = authority.cert, cert = pair.cert, key = pair.key },
        backends = { { address = "127.0.0.1:" .. backend.ports.https } } }
      for key, value in pairs(more or {}) do made[key] = value end
      return made
    end
    return {
      workers = 1,
      listeners = { { name = "https", address = "127.0.0.1:0", tls = { certificates = { site } } },
        { name = "http", address = "127.0.0.1:0" } },
      pools = { pool(NAME, client, { health_check = { interval = "100ms", path = "/" } }), pool("quiet", quiet) },
      routes = {
        { name = "all", path_prefix = "/", pool = NAME, headers = { request = { set = { ["X-Key"] = VALUE } } } },
        { name = "quiet", path_prefix = "/quiet", pool = "quiet", plugins = { {
          name = "request-transformer", config = { add = { headers = { "X-Key:" .. CONFIG } } } } } },
      },
    }
  end

  --- Looks into all processes of a server of one generation.
  local function look(server)
    local now = children.of(server.pid)
    assert.same(ALL, memory.found(now.worker[1][1], secrets))
    assert.same(CHECKER, memory.found(now.checker[1], secrets))
    assert.same(SUPERVISOR, memory.found(server.pid, secrets))
    return now
  end

  --- Kills the checker and awaits that the next has the configuration.
  local function replace_checker(server, old)
    local seen = #server:log_lines()
    uv.kill(old, "sigkill")
    server:wait_log("checker%.started", seen)
    children.eventually("the snapshot in the next checker", function()
      local pid = children.of(server.pid).checker[1]
      return pid and pid ~= old and memory.found(pid, { name = NAME })[1]
    end)
  end

  it("is in workers, not in supervisor and checker, whatever happens to them", shared:spec(function()
    local server = servers.start { conf = conf_of() }
    server:wait_log("backend%.up.*pool=" .. NAME .. ".*status 200")
    local first = look(server)
    replace_checker(server, first.checker[1])
    look(server)

    local conf = conf_of()
    conf.routes[#conf.routes + 1] = { name = "more", path = "/more", pool = "quiet" }
    server:write_conf(conf)
    assert.is_true(server:reload())
    look(server)

    server:signal "sigusr2"
    server:wait_log "upgrade%.done.*generation=2"
    children.wait_gone(first.worker[1][1])
    children.eventually("one generation", function() return children.of(server.pid).count == 3 end)
    look(server)
    assert.equal(200, clients.get(server.ports.http, "/").status)
    server:stop()
  end))
end)
