local fixture = require "unit.conf.fixture"
local plugins = require "unit.plugin.fixture"
local arguments = require "veloflux.cli.arguments"
local check = require "veloflux.cli.check"
local loop = require "support.loop"
local pki = require "support.pki"
local tempdir = require "support.tempdir"

--- Runs the command; returns status, output lines, error lines.
local function run(...)
  local out, err = {}, {}
  local function to(list) return function(line) list[#list + 1] = line end end
  local status = check.run({ ... }, to(out), to(err))
  return status, out, err
end

describe("arguments", function()
  local options = {
    ["-c"] = { name = "c", values = 1, expects = "a file" },
    ["--two"] = { name = "two", values = 2, expects = "two" },
    ["-m"] = { name = "m", values = 1, many = true, expects = "x" },
    ["-f"] = { name = "f", values = 0 },
  }

  it("are taken apart", function()
    assert.same({ "rest", c = "x", two = { "1", "2" }, m = { "a", "b" }, f = true },
      arguments.parse({ "-c", "x", "rest", "--two=1", "2", "-m", "a", "-f", "-m", "b" }, options))
    assert.same({ c = "y" }, arguments.parse({ "-c", "x", "-c", "y" }, options))
  end)

  it("are refused", function()
    assert.equal("-c expects a file", select(2, arguments.parse({ "-c" }, options)))
    assert.equal("--two expects two", select(2, arguments.parse({ "--two", "1" }, options)))
    assert.equal("unknown option --x", select(2, arguments.parse({ "--x" }, options)))
  end)
end)

describe("veloflux check", function()
  local folder, path
  local function write(text)
    folder = fixture.folder { ["v.yaml"] = text }
    path = folder .. "/v.yaml"
  end
  after_each(function()
    if folder then fixture.remove(folder) end
    folder = nil
  end)

  it("says that a file is good, and what it holds", function()
    write(fixture.site())
    local status, out, err = run("-c", path)
    assert.equal(0, status)
    assert.same({}, err)
    assert.same({ path .. ": ok (1 listener, 1 route, 1 pool, 2 backends)" }, out)
  end)

  it("prints every problem and fails", function()
    write "pools:\n  - name: web\n    algoritm: x\nroutes: [ { name: a, pool: wep } ]\n"
    local status, out, err = run("--config", path)
    assert.equal(1, status)
    assert.same({}, out)
    assert.same({ path .. ":3: pools[0].algoritm: unknown key, did you mean algorithm?",
      path .. ':4: routes[0].pool: unknown pool "wep", did you mean web?', path .. ": 2 problems" }, err)
  end)

  it("says that there is no file, and what it does not know", function()
    assert.equal(1, (run("-c", "/nonexistent/v.yaml")))
    assert.same({ 1, {}, { "veloflux check: unknown option --nope" } }, { run "--nope" })
    assert.same({ 1, {}, { "veloflux check: unexpected argument x" } }, { run "x" })
  end)

  it("warns of routes that never answer", function()
    write(fixture.site "  - { name: late, path_prefix: /, priority: -1, pool: web }\n")
    local status, _, err = run("-c", path)
    assert.equal(0, status)
    assert.same({ path .. ":10: warning: the route late never answers: the route site (" .. path
      .. ":9) matches first [shadowed_route]" }, err)
  end)

  it("explains which route answers and why the others do not", function()
    write(fixture.site [[
  - { name: api, host: a.com, path_prefix: /api, pool: web }
  - { name: v1, host: a.com, path_prefix: /api/v1, methods: [ POST ], pool: web }
  - { name: low, host: a.com, path: /api/v1, priority: -5, redirect: /x }
  - { name: tag, host: "*.com", path_prefix: /api, match: { headers: { X: y } }, respond: { status: 204 } }
]])
    local status, out = run("-c", path, "--explain", "GET", "http://A.com/api/./v1?x=1")
    assert.equal(0, status)
    for i, line in ipairs(out) do out[i] = line:gsub(path:gsub("%p", "%%%0"), "F") end
    assert.same({
      "request  GET A.com /api/v1",
      "route    api (F:10)",
      "matches  exact host, path_prefix /api",
      "action   pool web",
      "pool     web, round_robin: 127.0.0.1:9001, 127.0.0.1:9002",
      "rival    v1 (F:11): exact host, path_prefix /api/v1, methods POST; loses: not for this method",
      "rival    low (F:12): exact host, path /api/v1, priority -5; loses: lower priority",
      "rival    tag (F:13): wildcard host, path_prefix /api, match; loses: a condition of match does not hold",
      "rival    site (F:9): any host, path_prefix /; loses: the exact host goes before",
    }, out)
  end)

  it("explains which certificates of clients a route wants", loop.spec(function()
    local dir = tempdir.new()
    local authority, other = pki.authority(dir, "partners"), pki.authority(dir, "others")
    local both = pki.bundle(dir .. "/both.crt", authority.cert, other.cert)
    local crl = pki.revoke(authority, pki.issue(dir, "late", authority))
    local routes = [[
  - { name: own, path: /own, pool: web, client_certificate: { ca: %s, crl: %s, depth: 1, forward: true } }
  - { name: listeners, path: /listeners, pool: web, client_certificate: require }
]]
    write(fixture.site(routes:format(both, crl)))
    local _, out = run("-c", path, "--explain", "GET", "/own")
    assert.equal("clients  require: of CN=partners and 1 more, not revoked, depth 1, shown to backends", out[5])
    _, out = run("-c", path, "--explain", "GET", "/listeners")
    assert.equal("clients  require: good for the listener", out[5])
    _, out = run("-c", path, "--explain", "GET", "/")
    assert.is_nil(out[5]:find "^clients")
  end))

  it("explains which plugins run and where their settings come from", function()
    local plugin_path = plugins.write {
      auth = { handler = plugins.handler(1000, "access") }, paint = { handler = plugins.handler(5, "log") },
      limit = { handler = plugins.handler(5), schema = [[return { n = { type = "integer", default = 5 },
        token = { type = "string", secret = true },
        tags = { type = "map", values = { type = "string" }, merge = "deep" },
        store = { type = "record", fields = { key = { type = "string", secret = true } } },
        list = { type = "array", elements = { type = "string" } } }]] } }
    write(fixture.site [[
  - { name: api, path: /api, pool: web, plugins: [
      { name: limit, as: tight, on_error: continue, config: { token: hidden, tags: { b: c },
        store: { key: hidden } } } ] }
plugins: [ { name: auth }, { name: paint }, { name: limit, as: tight, config: { n: 7, tags: { a: b } } } ]
plugin_path: [ ]] .. plugin_path .. " ]\n")
    local status, out, err = run("-c", path, "--explain", "GET", "/api")
    assert.same({}, err)
    assert.equal(0, status)
    for i, line in ipairs(out) do out[i] = line:gsub(path:gsub("%p", "%%%0"), "F") end
    assert.same({
      "plugins  1. auth (priority 1000, global F:13): access",
      "         2. limit as tight (priority 5, route F:11, on_error continue): access",
      "            n: 5  (default)",
      '            store: {"key":"(secret)"}  (route F:11)',
      '            tags: {"a":"b","b":"c"}  (global F:13 and route F:11)',
      "            token: (secret)  (route F:11)",
      "         3. paint (priority 5, global F:13): log",
    }, { out[6], out[7], out[8], out[9], out[10], out[11], out[12] })
    local _, _, warnings = run("-c", path)
    assert.same({ "F:13: warning: plugins[1]: limit and paint have the same priority, 5: they run in the order of "
      .. "their names" }, { (warnings[1]:gsub(path:gsub("%p", "%%%0"), "F")) })
    plugins.clean()
  end)

  it("warns of plugins that never run", function()
    local plugin_path = plugins.write { paint = {} }
    write(fixture.site "  - { name: late, path_prefix: /, priority: -1, pool: web, plugins: [ { name: paint } ] }\n"
      .. "plugin_path: [ " .. plugin_path .. " ]\n")
    local _, _, err = run("-c", path)
    assert.same({ path .. ":10: warning: the route late never answers, and its plugins never run: paint: the route "
      .. "site (" .. path .. ":9) matches first [shadowed_route]" }, err)
    plugins.clean()
  end)

  it("explains with header fields, without a winner, and refused requests", function()
    write [[
routes:
  - { name: tag, path_prefix: /api, match: { headers: { X: y } }, respond: { status: 204 } }
]]
    local _, out = run("-c", path, "--explain", "GET", "/api", "-H", "X: y")
    assert.equal("action   answer 204", out[4])
    _, out = run("-c", path, "--explain", "GET", "/api")
    assert.equal("route    none of those that match the path: see below", out[2])
    assert.truthy(out[3]:find("loses: a condition of match does not hold", 1, true))
    _, out = run("-c", path, "--explain", "GET", "/other")
    assert.equal("route    none: 404", out[2])
    local status, _, err = run("-c", path, "--explain", "GET", "/a/../../b")
    assert.equal(1, status)
    assert.truthy(err[1]:find("refused before a route is chosen", 1, true))
    assert.equal(1, (run("-c", path, "--explain", "GET", "/", "-H", "nonsense")))
  end)
end)
