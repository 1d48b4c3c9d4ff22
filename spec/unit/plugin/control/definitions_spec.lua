--- What the loader says of a plugin's files for control.
local library = require "support.library" -- luacheck: ignore 211
local fixture = require "unit.plugin.fixture"
local grammar = require "veloflux.conf.grammar"
local loaders = require "veloflux.plugin.loader"

--- Returns the problems of a plugin w with these files, one in a line.
local function problems_of(sources)
  local loader = loaders.new { fixture.write { w = sources } }
  loader:load_control(grammar.owner)
  local lines = {}
  for i, problem in ipairs(loader.problems) do
    lines[i] = ("%s:%s: %s%s"):format(problem.file:match "[^/]+$", problem.line or "-",
      problem.path ~= "" and problem.path .. ": " or "", problem.message)
  end
  return lines, loader
end

local function one(sources) return problems_of(sources)[1] end

local function api(fields)
  return { api = ("return { { method = 'GET', path = '/api/x', permission = 'user', summary = 'X.', %s } }")
    :format(fields or "handler = function() end") }
end

local function entities(fields)
  return { entities = ("return { { kind = 'widgets', schema = { size = { type = 'integer' }, "
    .. "pool = { type = 'string' }, key = { type = 'string', secret = true } }, %s } }"):format(fields or "") }
end

local function jobs(fields)
  return { jobs = ("return { { name = 'sweep', run = function() end, %s } }"):format(fields) }
end

describe("the files of a plugin for control", function()
  after_each(fixture.clean)

  it("are read, and their plugin needs no handler", function()
    local lines, loader = problems_of { api = api().api, entities = entities().entities,
      jobs = jobs("every = '5s', jitter = 0.1").jobs }
    assert.same({}, lines)
    local plugin = loader.control[#loader.control]
    assert.same({ "GET", "/api/x" }, { plugin.control.endpoints[1].method, plugin.control.endpoints[1].path })
    assert.equal("every 5s", plugin.control.jobs[1].schedule.text)
    assert.equal("widget", loader.kinds.widgets.noun)
    assert.is_truthy(table.concat(loader.kind_names, " "):find "widgets")
  end)

  it("have to be Lua that comes to an end and returns a table", function()
    assert.matches("^api.lua:1: ", one { api = "return {" })
    assert.matches("^api.lua:1: boom$", one { api = "error 'boom'" })
    assert.equal("jobs.lua:-: does not come to an end", one { jobs = "while true do end" })
    assert.equal("api.lua:-: expected it to return a table, got a number", one { api = "return 5" })
    assert.equal("api.lua:-: [1]: expected a table, got a string", one { api = "return { 'x' }" })
    assert.equal("jobs.lua:-: unknown key name: expected a list of definitions", one { jobs = "return { name = 1 }" })
  end)

  it("say what is wrong with an endpoint", function()
    assert.equal("api.lua:-: [1].handler: required", one(api ""))
    assert.equal("api.lua:1: [1].handlr: unknown key, did you mean handler?", one(api "handlr = 1"))
    assert.equal("api.lua:1: [1].handler: expected a function, got a number", one(api "handler = 1"))
    local function with(name, value)
      return one { api = ("local d = { method = 'GET', path = '/api/x', permission = 'user', summary = 'X.',"
        .. " handler = function() end }\nd.%s = %s\nreturn { d }"):format(name, value) }
    end
    assert.equal("api.lua:1: [1].method: expected GET, POST, PUT, PATCH or DELETE", with("method", "'FETCH'"))
    assert.equal("api.lua:1: [1].path: expected a path such as /api/widgets/{name}", with("path", "'api'"))
    assert.equal("api.lua:1: [1].path: {a} is there twice", with("path", "'/api/{a}/{a}'"))
    assert.matches("expected letters, digits and . _ ~ %-, or {name}, between slashes, got a b$",
      with("path", "'/api/a b'"))
    assert.matches("%[1%].permission: expected none, user, admin or one of its own", with("permission", "'Admin'"))
    assert.equal("api.lua:2: [1].request: GET has no body", with("request", "{}"))
    assert.equal("api.lua:2: [1].request: GET has no body", with("request", "'object'"))
    assert.equal("api.lua:2: [1].request: expected a schema, or object: a JSON object that the handler judges",
      with("method, d.request", "'POST', 'any'"))
    assert.equal('api.lua:2: [1].timeout: expected a duration such as "30s", or seconds', with("timeout", "'soon'"))
    assert.matches("^api.lua:2: %[1%].query.n.type: ", with("query", "{ n = { type = 'intger' } }"))
    assert.equal("api.lua:-: GET /api/x: is defined twice",
      one { api = "local d = { method = 'GET', path = '/api/x', permission = 'user', summary = 'X.',"
        .. " handler = function() end }\nreturn { d, d }" })
  end)

  it("serve kinds at further paths", function()
    local function at(fields) return { entities = entities().entities, api = "return { { " .. fields .. " } }" } end
    local lines, loader = problems_of(at "kind = 'widgets', path = '/api/shop/widgets'")
    assert.same({}, lines)
    assert.same({ { kind = "widgets", path = "/api/shop/widgets" } },
      loader.control[#loader.control].control.collections)
    assert.same({}, problems_of(at "kind = 'consumers', path = '/api/people'"))
    assert.equal("api.lua:1: [1].kind: expected a kind of this plugin, or one of tenants, certificates, pools, routes, "
      .. "consumers, plugins, templates", one(at "kind = 'gadgets', path = '/api/x'"))
    assert.equal("api.lua:1: [1].path: expected a path without names, such as /api/workshop/widgets",
      one(at "kind = 'widgets', path = '/api/{x}/widgets'"))
    assert.equal("api.lua:-: [1].path: required", one(at "kind = 'widgets'"))
    assert.equal("api.lua:1: [1].handler: unknown key, expected one of kind, path",
      one(at "kind = 'widgets', path = '/api/x', handler = 1"))
    assert.equal("api.lua:1: /api/x: is defined twice",
      one(at "kind = 'widgets', path = '/api/x' }, { kind = 'pools', path = '/api/x'"))
  end)

  it("say what is wrong with a kind", function()
    assert.equal("entities.lua:1: [1].unique: [1]: expected the name of a field with a single value",
      one(entities "unique = { 'weight' }"))
    assert.equal("entities.lua:1: [1].indexes: [1]: key is a secret", one(entities "indexes = { 'key' }"))
    assert.equal("entities.lua:1: widgets.references.pool: there is no kind swimming to refer to",
      one(entities "references = { pool = 'swimming' }"))
    assert.equal("entities.lua:1: [1].references: size: expected the name of a field that is a text, or a list of "
      .. "texts", one(entities "references = { size = 'pools' }"))
    assert.equal("entities.lua:1: [1].migrations: [3]: there is no such version, the newest is 2",
      one(entities "version = 2, migrations = { [3] = function() end }"))
    assert.equal("entities.lua:1: the kind pools is taken, by VeloFlux itself",
      one { entities = "return { { kind = 'pools', schema = {} } }" })
    assert.equal("entities.lua:1: [1].schema: version: the name is taken",
      one { entities = "return { { kind = 'w', schema = { version = { type = 'string' } } } }" })
    assert.equal("entities.lua:1: [1].kind: expected a name of small letters, digits, dashes and underscores",
      one { entities = "return { { kind = 'My Things', schema = {} } }" })
  end)

  it("are left out by a loader that forgives, until somebody names their plugin", function()
    local function load(sources)
      local loader = loaders.new({ fixture.write(sources) }, true)
      loader:load_control(grammar.owner)
      local names = {}
      for _, plugin in ipairs(loader.control) do names[plugin.name] = plugin end
      return loader, names
    end
    local loader, names = load { w = { api = "return {", entities = entities().entities }, x = api(),
      monitoring = { api = "error 'boom'" }, y = { entities = entities().entities },
      z = { entities = entities().entities } }
    assert.same({}, loader.problems)
    assert.is_nil(names.w)
    assert.is_table(names.x)
    assert.is_nil(names.monitoring.folder) -- the binary's own
    assert.equal("y", loader.kinds.widgets.plugin)
    assert.is_nil(names.z) -- whose kind is taken
    assert.equal("plugin_left_out", loader.warnings[1].code)
    assert.matches("boom; the plugin monitoring is left out$", loader.warnings[1].message)
    for _ = 1, 2 do assert.is_nil(loader:find "w") end
    assert.equal(1, #loader.problems)
    assert.matches("api.lua$", loader.problems[1].file)
  end)

  it("say what is wrong with a job", function()
    assert.equal("jobs.lua:-: [1].every: expected either every or at", one(jobs ""))
    assert.equal("jobs.lua:1: [1].every: expected at least 100ms", one(jobs "every = '1ms'"))
    assert.equal("jobs.lua:1: [1].scope: expected node or cluster", one(jobs "every = 5, scope = 'planet'"))
    assert.equal("jobs.lua:1: [1].at: 25:00 is no time of the day", one(jobs "at = '25:00'"))
    assert.equal("jobs.lua:1: [1].jitter: goes with every", one(jobs "at = '05:00', jitter = 1"))
  end)
end)
