local fixture = require "unit.conf.fixture"
local conf = require "veloflux.conf"
local model = require "veloflux.model"

describe("a conf file", function()
  it("becomes a model with defaults", function()
    local loaded = fixture.model(fixture.site())
    assert.equal("http", loaded.node.listeners[1].name)
    assert.equal(8000, loaded.node.listeners[1].address.port)
    assert.equal("auto", loaded.node.workers)
    assert.equal("/etc/data", loaded.node.data_dir)
    assert.equal(10000, loaded.node.timeouts.client_header)
    assert.equal(math.huge, loaded.node.timeouts.total)
    assert.equal(32768, loaded.node.limits.header_bytes)
    assert.equal("127.0.0.1:8080", loaded.node.admin.address.text)
    assert.is_true(loaded.node.admin.auth.enabled)
    assert.equal("round_robin", loaded.pools[1].algorithm)
    assert.equal(100, loaded.pools[1].backends[2].weight)
    assert.equal(loaded.pools[1], loaded.routes[1]._pool)
    assert.equal("conf.yaml", loaded.routes[1]._file)
    assert.equal(9, loaded.routes[1]._line)
    assert.equal("default", loaded.tenants[1].name)
  end)

  it("may be empty, or JSON", function()
    assert.same({}, fixture.model("").routes)
    assert.same({}, fixture.model("# nothing\n").pools)
    assert.equal("x", fixture.model('{"routes":[{"name":"x","respond":{"body":"hi"}}]}').routes[1].name)
  end)

  it("takes paths relative to its folder", function()
    local node = fixture.model "data_dir: state\npid_file: ../run/x.pid\nlog: { access: { path: ./a/../log } }\n".node
    assert.equal("/etc/veloflux/state", node.data_dir)
    assert.equal("/etc/run/x.pid", node.pid_file)
    assert.equal("/etc/veloflux/log", node.log.access.path)
    assert.equal("stdout", fixture.model("").node.log.access.path)
  end)

  it("expands the environment inside scalars, never structure", function()
    local loaded = fixture.model([[
listeners: [ { name: http, address: "127.0.0.1:${PORT:-8000}" } ]
workers: ${WORKERS}
routes: [ { name: a, respond: { body: "${INJECT} $${X}" } } ]
]], { WORKERS = "3", INJECT = "x }, { name: b" })
    assert.equal(8000, loaded.node.listeners[1].address.port)
    assert.equal(3, loaded.node.workers)
    assert.equal(1, #loaded.routes)
    assert.equal("x }, { name: b ${X}", loaded.routes[1].respond.body)
  end)

  it("lets the environment win over admin", function()
    local node = fixture.model("admin: { address: 127.0.0.1:1, auth: { username: a } }", { API_ADDRESS = "0.0.0.0:9",
      API_AUTH_ENABLED = "true", API_USERNAME = "b", API_PASSWORD = "c", VF_MASTER_KEY = ("k"):rep(16) }).node
    assert.equal("0.0.0.0:9", node.admin.address.text)
    assert.equal("b", node.admin.auth.username)
    assert.equal("c", node.admin.auth.password)
    assert.equal(("k"):rep(16), node.master_key)
    assert.equal("127.0.0.1:8080", fixture.model("").node.admin.address.text) -- defaults stay clean
    assert.same({ 'environment: API_ADDRESS: expected HOST:PORT, got no port in "x"',
      "environment: API_AUTH_ENABLED: expected true or false" },
      fixture.problems("", { API_ADDRESS = "x", API_AUTH_ENABLED = "maybe" }))
  end)

  it("gives the node settings of a file with errors when asked leniently", function()
    local function lenient(text)
      return conf.load { source = { text = text, name = "c", dir = "/etc/veloflux" }, env = {}, lenient = true }
    end
    local loaded, problems = lenient "data_dir: /var/lib/vf\nworkers: many\n"
    assert.equal("/var/lib/vf", loaded.node.data_dir)
    assert.equal(1, #problems)
    loaded, problems = lenient "data_dir: /var/lib/vf # here\nroutes: [\n"
    assert.equal("/var/lib/vf", loaded.node.data_dir)
    assert.equal(1, #problems)
    assert.equal("/etc/data", lenient("a: [").node.data_dir)
  end)

  it("says why a file cannot be read", function()
    local function problem(path)
      local loaded, problems = conf.load { source = { path = path }, env = {} }
      assert.is_nil(loaded)
      return conf.format(problems[1])
    end
    assert.equal("/nonexistent/x.yaml: No such file or directory", problem "/nonexistent/x.yaml")
    assert.equal("/tmp: is a folder", problem "/tmp")
  end)
end)

describe("include", function()
  local folder
  after_each(function() fixture.remove(folder) end)

  local function load(files)
    folder = fixture.folder(files)
    local loaded, problems = conf.load { source = { path = folder .. "/main.yaml" }, env = {} }
    local lines = {}
    for i, problem in ipairs(problems) do lines[i] = conf.format(problem):gsub(folder:gsub("%p", "%%%0"), "DIR") end
    return loaded, lines
  end

  it("appends entities in byte order of the files", function()
    local loaded, lines = load {
      ["main.yaml"] = "include: [conf.d/*.yaml, extra.yaml]\nroutes: [ { name: m, pool: p } ]\n",
      ["conf.d/b.yaml"] = "routes: [ { name: b, path: /b, pool: p } ]\n",
      ["conf.d/a.yaml"] = "pools: [ { name: p } ]\n",
      ["extra.yaml"] = "\nroutes:\n  - { name: e, path: /e, pool: p }\n",
    }
    assert.same({}, lines)
    local names = {}
    for i, route in ipairs(loaded.routes) do names[i] = route.name end
    assert.same({ "m", "b", "e" }, names)
    assert.equal(folder .. "/extra.yaml", loaded.routes[3]._file)
    assert.equal(3, loaded.routes[3]._line)
    assert.equal(4, #loaded.files)
  end)

  it("notes problems in the file where they are", function()
    local _, lines = load {
      ["main.yaml"] = "include: [conf.d/*.yaml, missing.yaml, none/*.yaml]\n",
      ["conf.d/a.yaml"] = "workers: 3\nroutes:\n  - { name: a, pool: q }\n  - 5\n  - { name: a, pool: p }\n",
      ["conf.d/b.yaml"] = "pools: [\n",
    }
    assert.same({
      "DIR/main.yaml:1: include[1]: no such file",
      "DIR/conf.d/a.yaml:1: workers: unknown key, "
        .. "expected one of tenants, pools, routes, certificates, consumers, plugins or templates",
      'DIR/conf.d/a.yaml:3: routes[0].pool: unknown pool "q"',
      'DIR/conf.d/a.yaml:4: routes[1]: expected a map, got "5"',
      "DIR/conf.d/a.yaml:5: routes[2].name: the name a is already taken, in DIR/conf.d/a.yaml:3",
      'DIR/conf.d/a.yaml:5: routes[2].pool: unknown pool "p"',
      "DIR/conf.d/b.yaml:2: did not find expected node content while parsing a flow node that begins on line 2",
    }, lines)
  end)
end)

describe("the difference of two models", function()
  local function diff(old, new)
    return model.diff(old and fixture.model(old), fixture.model(new))
  end

  it("names what was added, changed and removed", function()
    local result = diff(fixture.site(), [[
listeners:
  - { name: http, address: 127.0.0.1:8000 }
workers: 2
pools:
  - { name: web, backends: [ { address: 127.0.0.1:9001 } ] }
  - { name: api }
routes:
  - { name: other, pool: web }
]])
    assert.same({ added = { "api" }, changed = { "web" }, removed = {} }, result.pools)
    assert.same({ added = { "other" }, changed = {}, removed = { "site" } }, result.routes)
    assert.same({ "workers" }, result.node)
    assert.equal("pools: 1 added, 1 changed; routes: 1 added, 1 removed; node: workers", model.describe_diff(result))
  end)

  it("finds none in another order, in written-out defaults, in other lines", function()
    local result = diff(fixture.site(), [[
# moved
workers: auto
routes:
  - { pool: web, name: site, path_prefix: /, host: "*", priority: 0 }
listeners:
  - { name: http, address: 127.0.0.1:8000 }
pools:
  - name: web
    algorithm: round_robin
    backends:
      - { address: 127.0.0.1:9001, weight: 100 }
      - { address: 127.0.0.1:9002 }
]])
    assert.equal("no changes", model.describe_diff(result))
  end)

  it("takes everything as added when there was nothing", function()
    local result = diff(nil, fixture.site())
    assert.same({ "site" }, result.routes.added)
    assert.same({ "default" }, result.tenants.added)
  end)
end)

describe("finding data_dir", function()
  local folder
  after_each(function() fixture.remove(folder) end)

  it("needs no good file", function()
    local cases = { ["data_dir: state\nworkers: many\n"] = "DIR/conf/state", ["data_dir: '/x/y'\nroutes: [\n"] = "/x/y",
      [""] = "DIR/data", ["- a\n"] = "DIR/data", ["data_dir: [ x ]\n"] = "DIR/data",
      ["data_dir: ${VF_SPEC_UNSET:-s}\n"] = "DIR/conf/s" }
    folder = fixture.folder {}
    for text, expected in pairs(cases) do
      fixture.remove(folder)
      folder = fixture.folder { ["conf/v.yaml"] = text }
      assert.equal((expected:gsub("DIR", folder)), conf.data_dir(folder .. "/conf/v.yaml"), text)
    end
    local found, problem = conf.data_dir(folder .. "/none.yaml")
    assert.is_nil(found)
    assert.equal("No such file or directory", problem.message)
  end)
end)
