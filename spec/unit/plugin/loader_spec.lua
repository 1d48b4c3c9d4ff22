local library = require "support.library" -- luacheck: ignore 211
local fixture = require "unit.plugin.fixture"
local loader = require "veloflux.plugin.loader"

--- Loads the plugin `x` of these files; returns it and the loader, or nil, the problems and the loader.
local function load_files(files)
  local folder = fixture.write { x = files }
  local of = loader.new { folder }
  local plugin, message = of:find "x"
  if plugin then return plugin, of end
  assert.equal("the plugin x cannot be loaded", message)
  local lines = {}
  for i, problem in ipairs(of.problems) do
    assert.equal("x", problem.plugin)
    lines[i] = ("%s:%s: %s%s"):format(problem.file:sub(#folder + 4), problem.line or "-",
      problem.path ~= "" and problem.path .. ": " or "", problem.message)
  end
  return nil, lines, of
end

describe("the loader of plugins", function()
  after_each(fixture.clean)

  it("reads who a plugin is", function()
    local plugin, of = load_files {
      handler = [[
        local pdk = require "veloflux.pdk"
        local get_header = pdk.request.get_header
        local parse = require "veloflux.plugins.x.util.parse"
        local Plugin = { PRIORITY = 910, VERSION = "2.0.0" }
        function Plugin:access(conf) return get_header(parse(conf)) end
        Plugin.log = function() end
        function Plugin:_helper() end
        return Plugin
      ]],
      ["util/parse"] = "return function(conf) return conf.name end",
      schema = 'return { name = { type = "string", required = true } }',
      ["spec/x_spec"] = "error 'not part of it'",
    }
    assert.equal(910, plugin.priority)
    assert.equal("2.0.0", plugin.version)
    assert.same({ "access", "log" }, plugin.phases)
    assert.equal(2 ^ 4 + 2 ^ 8, plugin.mask)
    assert.equal("a map with name", plugin.needs)
    assert.equal("handler", plugin.files[1].name)
    assert.equal("util.parse", plugin.files[2].name)
    assert.equal(2, #plugin.files)
    assert.equal(4, #of.read) -- its folder, handler, schema, util.parse
    assert.equal(plugin, of:find "x")
    assert.equal(plugin, loader.new(of.paths):find "x")
  end)

  it("is another plugin when a file says something else", function()
    local folder = fixture.write { x = { schema = "return {}" } }
    local before = loader.new({ folder }):find "x"
    fixture.write({ x = { schema = "return { a = { type = 'string' } }" } }, folder)
    local after = loader.new({ folder }):find "x"
    assert.not_equal(before, after)
    fixture.write({ x = { handler = fixture.HANDLER .. "-- changed\n" } }, folder)
    assert.not_equal(after, loader.new({ folder }):find "x")
  end)

  it("finds the first of a name, and names what there is", function()
    local first = fixture.write { x = {}, y = { handler = "return { access = function() end }" } }
    local second = fixture.write { x = { handler = "broken" }, ["rate-limiting"] = {} }
    local of = loader.new { first, second }
    assert.equal("1.2.0", of:find("x").version)
    local names = table.concat(of:names(), " ")
    assert.is_truthy(names:find "rate%-limiting.*x y")
    local none, message = of:find "rate-limitting"
    assert.is_nil(none)
    assert.equal('unknown plugin "rate-limitting", did you mean rate-limiting?', message)
    assert.is_truthy(select(2, of:find "../x"):find "^unknown plugin")
    assert.equal(0, of:find("y").priority)
    assert.equal("has no PRIORITY: 0 is taken, it runs after those that have one", of.warnings[1].message)
  end)

  local broken = {
    { "that does not parse", "local x =\nreturn {", "handler.lua:2: unexpected symbol near 'return'" },
    { "that raises", "\nerror 'boom'", "handler.lua:2: boom" },
    { "that raises a table", "error {}", "handler.lua:-: raised an error that is no text" },
    { "that returns nothing", "local x = 1", "handler.lua:-: expected it to return a table, got a boolean" },
    { "that returns a function", "return function() end",
      "handler.lua:-: expected it to return a table, got a function" },
    { "that yields", "coroutine.yield()", "handler.lua:-: yields while it is loaded" },
    { "that spins", "while true do end", "handler.lua:-: does not come to an end" },
    { "without a phase", "return { PRIORITY = 1 }", "handler.lua:-: has no phase: expected one of init_worker, "
      .. "configure, certificate, rewrite, access, balancer, header_filter, body_filter or log" },
    { "with a misspelt phase", "local P = { PRIORITY = 1 }\nfunction P:acess() end\nreturn P",
      "handler.lua:2: acess is no phase, did you mean access?" },
    { "with a phase of later", "local P = { PRIORITY = 1 }\nfunction P:response() end\nreturn P",
      "handler.lua:2: the phase response is not available" },
    { "with a phase that is no function", "return { PRIORITY = 1, access = 5, log = function() end }",
      "handler.lua:-: access: expected a function, got a number" },
    { "with a priority that is no number", "return {\nPRIORITY = 'x', access = function() end }",
      "handler.lua:2: PRIORITY: expected a whole number from -1000000 to 1000000, got a string" },
    { "with a broken priority", "return { PRIORITY = 1.5, access = function() end }",
      "handler.lua:1: PRIORITY: expected a whole number from -1000000 to 1000000, got 1.5" },
    { "with a version that is no text", "return { PRIORITY = 1, VERSION = 1, access = function() end }",
      "handler.lua:1: VERSION: expected a text, got a number" },
    { "that wants ffi", "local x\nlocal ffi = require 'ffi'", "handler.lua:2: ffi is not for plugins: they require"
      .. " veloflux.pdk and their own files, veloflux.plugins.x.FILE" },
    { "that wants another plugin's file", "require 'veloflux.plugins.y.handler'", "handler.lua:1:"
      .. " veloflux.plugins.y.handler is not for plugins: they require veloflux.pdk and their own files,"
      .. " veloflux.plugins.x.FILE" },
    { "that wants a file it has not", "require 'veloflux.plugins.x.none'",
      "handler.lua:1: the plugin x has no file none" },
    { "that requires itself", "require 'veloflux.plugins.x.handler'", "handler.lua:1: handler requires itself" },
    { "that writes to a global", "\nhandler = {}", "handler.lua:2: plugins have no global variables: handler is written"
      .. " to; is a `local` missing?" },
    { "that opens a file", "io.open '/etc/passwd'", "handler.lua:1: attempt to index global 'io' (a nil value)" },
    { "that starts a program", "os.execute 'true'", "handler.lua:1: attempt to call field 'execute' (a nil value)" },
    { "that calls the plugin API", "require('veloflux.pdk').no_such_group.go()",
      "handler.lua:1: pdk.no_such_group.go cannot be called while a plugin is loaded" },
    { "of bytecode", string.dump(function() end), "handler.lua:1: is compiled: plugins are given as source" },
    { "that loads bytecode", "assert(load(string.char(27) .. 'LJ'))",
      "handler.lua:1: attempt to load chunk with wrong mode" },
  }
  for _, case in ipairs(broken) do
    it("refuses a handler " .. case[1], function()
      local plugin, lines = load_files { handler = case[2] }
      assert.is_nil(plugin)
      assert.same({ case[3] }, lines)
    end)
  end

  it("keeps plugins from what is everybody's", function()
    local plugin = load_files { handler = [[
      assert(debug == nil and package == nil and ffi == nil and _G == nil and dofile == nil and getfenv == nil)
      assert(string.dump == nil and os.getenv == nil and getmetatable("") == nil)
      assert(getmetatable(string) == nil and not pcall(setmetatable, "", {}))
      string.find = nil
      assert(load("return 1 + 1")() == 2)
      assert(not pcall(load "leaked = 1"))
      assert(pcall(load("y = 1", "=x", "t", {})))
      return { PRIORITY = 1, access = function() end }
    ]] }
    assert.is_table(plugin)
    assert.is_function(string.find)
  end)

  it("says where a schema is wrong", function()
    local _, lines = load_files { schema = "return {\n  limit = {\n    type = 'integer',\n    defualt = 5,\n  },\n}\n" }
    assert.same({ "schema.lua:4: limit.defualt: unknown attribute defualt, did you mean default?" }, lines)
    _, lines = load_files { schema = "return {\n  a = }" }
    assert.same({ "schema.lua:2: unexpected symbol near '}'" }, lines)
    _, lines = load_files { schema = "return 5" }
    assert.same({ "schema.lua:-: expected it to return a table, got a number" }, lines)
    local plugin = load_files { schema = [[
      local typedefs = require "kong.db.schema.typedefs"
      return { name = "x", fields = { { config = { type = "record", fields = { { port = typedefs.port } } } } } }
    ]] }
    assert.equal("port", plugin.compiled.fields[1][1])
  end)

  it("gives schemas definitions of their own", function()
    local plugin = load_files { schema = [[
      local Schema, typedefs = require "kong.db.schema", require "kong.db.schema.typedefs"
      typedefs.port.default, typedefs.port.between = 5, { 1, 9 }
      local tag = Schema.define { type = "string", len_max = 3 }
      return { port = typedefs.port, tag = tag { default = "a" }, tags = { type = "array", elements = tag } }
    ]] }
    assert.same({ 5, "a" }, { plugin.compiled.by_name.port.default, plugin.compiled.by_name.tag.default })
    plugin = load_files { schema = 'return { port = require("kong.db.schema.typedefs").port }' }
    assert.is_nil(plugin.compiled.by_name.port.default)
  end)

  it("reads what its credentials look like", function()
    local plugin = load_files { entities = [[return { credential = { fields = {
      key = { type = "string", required = true, secret = true } }, id = "key", hashed = true } }]] }
    assert.equal("key", plugin.credential.id)
    assert.is_true(plugin.credential.hashed)
    local _, lines = load_files { entities = "return { credential = { fields = {}, id = 'key' } }" }
    assert.same({ "entities.lua:-: credential.id: expected the name of a required field that is a text" }, lines)
    _, lines = load_files { entities = "return { credential = { field = {} } }" }
    assert.same({ "entities.lua:-: credential.field: unknown key, expected fields, id, hashed or password" }, lines)
    local with_password = [[return { credential = { fields = { name = { type = "string", required = true },
      pass = { type = "string" } }, id = "name", password = "%s" } }]]
    plugin = load_files { entities = with_password:format "pass" }
    assert.equal("pass", plugin.credential.password)
    for _, wrong in ipairs { "name", "other" } do
      _, lines = load_files { entities = with_password:format(wrong) }
      assert.same({ "entities.lua:-: credential.password: expected the name of another field that is a text" }, lines)
    end
    _, lines = load_files { entities = "return { credentials = {} }" }
    assert.same({ "entities.lua:-: unknown key credentials, expected credential" }, lines)
  end)

  it("reads no folder without a plugin and no huge file", function()
    assert.is_nil(loader.new({ fixture.write { other = {} } }):find "file")
    local _, lines = load_files { handler = ("-"):rep(1024 * 1024 + 1) }
    assert.same({ "handler.lua:-: is larger than 1 MiB" }, { lines and lines[1] })
  end)
end)
