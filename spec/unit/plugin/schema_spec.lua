local library = require "support.library" -- luacheck: ignore 211
local document = require "veloflux.model.document"
local plugin_schema = require "veloflux.plugin.schema"
local schema = require "veloflux.model.schema"
local typedefs = require "veloflux.plugin.typedefs"

--- Returns the JSON of a configuration given as YAML, or the messages as "path: message".
local function configure(raw, text)
  local made, problems = plugin_schema.make(raw)
  assert.is_nil(problems and problems[1] and problems[1].path .. ": " .. problems[1].message)
  local doc = assert(document.parse(text or "{}", "conf.yaml"))
  local value, wrong = schema.read(made.compiled, doc, function() end)
  if value then return schema.write(made.compiled, value) end
  local lines = {}
  for i, problem in ipairs(wrong) do lines[i] = problem.path .. ": " .. problem.message end
  return lines
end

local function problems_of(raw)
  local made, problems = plugin_schema.make(raw)
  assert.is_nil(made)
  local lines = {}
  for i, problem in ipairs(problems) do lines[i] = problem.path .. ": " .. problem.message end
  return lines
end

describe("a plugin's schema", function()
  it("is a map of fields, whose defaults are filled in", function()
    local raw = {
      limit = { type = "integer", required = true, gt = 0 },
      window = { type = "duration", default = "1m" },
      by = { type = "string", one_of = { "ip", "header" }, default = "ip" },
      hosts = { type = "set", elements = typedefs.host, default = { "a.example" } },
      redis = { type = "record", required = true, fields = {
        port = typedefs.port { default = 6379 }, host = typedefs.host } },
      tags = { type = "map", values = { type = "string" }, default = { b = "${x}", a = "1" } },
      off = { type = "size", off = true, default = "off" },
      flag = { type = "boolean", default = false },
    }
    assert.equal('{"by":"ip","flag":false,"hosts":["a.example"],"limit":5,"off":false,"redis":{"port":6379},'
      .. '"tags":{"a":"1","b":"${x}"},"window":60000}', configure(raw, "limit: 5"))
    assert.same({ "limit: required: an integer above 0" }, configure(raw))
    assert.same({ 'by: expected one of ip or header, got "iq", did you mean ip?',
      "limit: expected an integer above 0, got 0", "redis.port: expected an integer between 0 and 65535, got 70000",
      "hosts[1]: expected a host name or an IP address", "hosts[2]: a is already given, on line 1",
      "windw: unknown key, did you mean window?" },
      configure(raw, "{ by: iq, limit: 0, redis: { port: 70000 }, hosts: [a, '-b/', a], windw: 1s }"))
  end)

  it("of a gateway that wraps its fields loads too", function()
    local raw = { name = "key-auth", fields = {
      { consumer = typedefs.no_consumer }, { protocols = typedefs.protocols_http },
      { config = { type = "record", fields = {
        { key_names = { type = "array", required = true, elements = typedefs.header_name, default = { "apikey" } } },
        { hide_credentials = { type = "boolean", required = true, default = false } },
        { anonymous = { type = "string" } },
        { realm = { type = "string", len_min = 0 } },
      }, entity_checks = { { at_least_one_of = { "anonymous", "realm" } } } } } },
      entity_checks = { { mutually_exclusive = { "config.anonymous", "config.realm" } } } }
    assert.equal('{"anonymous":"x","hide_credentials":false,"key_names":["apikey"]}', configure(raw, "anonymous: x"))
    assert.same({ ": one of anonymous or realm is required" }, configure(raw))
    assert.same({ "realm: cannot be given together with anonymous" }, configure(raw, "{ realm: '', anonymous: b }"))
    assert.same({ "anonymous: expected a text, got \"\"" }, configure(raw, "{ anonymous: '' }"))
    assert.same({ consumer = true }, plugin_schema.make(raw).refuses)
  end)

  it("judges with its author's functions, who see plain tables", function()
    local seen
    local raw = {
      even = { type = "integer", custom_validator = function(n) return n % 2 == 0, "expected an even number" end },
      list = { type = "array", elements = { type = "duration" }, custom_validator = function(list)
        seen = list
        error "boom"
      end },
      bad = { type = "string", custom_validator = function() return nil, { "first" } end },
    }
    local got = configure(raw, "{ even: 3, list: [1s], bad: x }")
    assert.equal("bad: first", got[3])
    assert.equal("even: expected an even number", got[1])
    assert.is_truthy(got[2]:find "^list: custom_validator raised an error: .*boom$")
    assert.same({ 1000 }, seen)
    assert.same({ "a: custom_validator raised an error: does not come to an end" }, configure({
      a = { type = "string", custom_validator = function() while true do end end } }, "a: x"))
    assert.same({ "a: wrong" }, configure({ name = "x", fields = { { config = { type = "record", fields = {
      { a = { type = "integer", default = 1 } }, { b = { type = "integer", default = 2 } } }, entity_checks = { {
        custom_entity_check = { field_sources = { "a" }, fn = function(conf)
          return conf.a < conf.b, "wrong", "a"
        end } } } } } } }, "a: 3"))
  end)

  it("knows what Kong's schemas say beside the configuration, and of what is stored", function()
    local seen
    local raw = { name = "x", fields = { { config = { type = "record", fields = {
        { a = { type = "string", examples = { "b" }, immutable = true, unique = true, indexed = true, legacy = true } },
        { b = { type = "string" } }, { c = { type = "string" } },
        { at = { type = "integer", timestamp = true, nilable = true } } } } } },
      entity_checks = {
        { mutually_exclusive_sets = { set1 = { "config.a" }, set2 = { "config.b", "config.c" } } },
        { custom_entity_check = { field_sources = { "config" }, run_with_missing_fields = true, fn = function(entity)
          seen = { entity.config.a or false, entity.a or false }
          return entity.config.a ~= "bad", "is bad", "a"
        end } } } }
    assert.same({ "a: is bad" }, configure(raw, "{ a: bad, at: 1 }"))
    assert.same({ "bad", "bad" }, seen)
    assert.same({ "c: cannot be given together with a" }, configure(raw, "{ a: x, c: y }"))
    assert.equal('{"b":"x","c":"y"}', configure(raw, "{ b: x, c: y }"))
    assert.same({ "at: expected an integer above 0, got 0" }, configure(raw, "at: 0"))
  end)

  it("that is wrong says where and why", function()
    assert.same({ ": expected a table of fields, got a string" }, problems_of "x")
    assert.same({ "a.type: required: expected one of string, integer, number, boolean, duration, size, address, "
      .. "network, array, set, map or record" }, problems_of { a = {} })
    local cases = {
      { { type = "strin" }, "a.type: unknown type strin, did you mean string?" },
      { { type = "string", defualt = "x" }, "a.defualt: unknown attribute defualt, did you mean default?" },
      { { type = "string", required = 1 }, "a.required: expected a boolean" },
      { { type = "integer", default = "x" }, 'a.default: expected an integer, got "x"' },
      { { type = "integer", default = 0, gt = 0 }, "a.default: expected an integer above 0, got 0" },
      { { type = "string", default = 5 }, "a.default: expected a text, got a number" },
      { { type = "string", default = print }, "a.default: expected a value, got a function" },
      { { type = "string", default = "c", one_of = { "a", "b" } },
        'a.default: expected one of a or b, got "c", did you mean a?' },
      { { type = "array" }, "a.elements: required: what the elements are" },
      { { type = "array", elements = { type = "x" } }, "a.elements.type: unknown type x, expected one of string, "
        .. "integer, number, boolean, duration, size, address, network, array, set, map or record" },
      { { type = "array", elements = { type = "integer" }, default = { 1, "b" } },
        'a.default.[1]: expected an integer, got "b"' },
      { { type = "map" }, "a.values: required: what the values are" },
      { { type = "string", match = "[" }, "a.match: malformed pattern (missing ']')" },
      { { type = "string", match = "^abc[" }, "a.match: malformed pattern (missing ']')" },
      { { type = "string", match_none = { { pattern = "a(b" } } }, "a.match_none: expected a list of {pattern, err}" },
      { { type = "integer", between = { 5, 1 } }, "a: its lower bound is above the upper one" },
      { { type = "duration", min = "soon" }, "a.min: is no bound of this type" },
      { { type = "string", merge = "deep" }, "a.merge: does not go with the type string" },
      { { type = "array", elements = { type = "string" }, merge = "deep" }, "a.merge: expected append" },
      { { type = "record", fields = { b = { type = "map", values = { type = "string" }, merge = "deep" } } },
        "a.b.merge: goes with the fields of the configuration itself" },
      { { type = "record" }, nil },
      { { type = "record", fields = {}, entity_checks = { { only_one = {} } } },
        "a.entity_checks: unknown entity check only_one" },
      { { type = "record", fields = {}, entity_checks = { { only_one_of = { "b" } } } },
        "a.entity_checks.only_one_of: there is no field b" },
      { { type = "record", fields = { { b = { type = "string" } }, { b = { type = "string" } } } },
        "a.b: is defined twice" },
      { { type = "record", fields = { { b = { type = "string" } } }, default = { b = 5, c = 1 } },
        "a.default.c: unknown key, did you mean b?" },
      { 5, "a: expected the attributes of a field" },
    }
    for _, case in ipairs(cases) do
      if case[2] then assert.same({ case[2] }, problems_of { a = case[1] }) end
    end
    assert.same({ "fields: required: config, which is a record" }, problems_of { name = "x", fields = { { a = {} } } })
    local deep = { type = "string" }
    for _ = 1, 20 do deep = { type = "array", elements = deep } end
    assert.is_truthy(problems_of({ a = deep })[1]:find "is nested too deeply$")
    local endless = { type = "array" }
    endless.elements = endless
    assert.is_truthy(problems_of({ a = endless })[1]:find "is nested too deeply$")
  end)

  it("knows what has to be given and what is merged", function()
    local made = assert(plugin_schema.make { b = { type = "string", required = true },
      a = { type = "integer", required = true }, c = { type = "string", required = true, default = "x" },
      d = { type = "map", values = { type = "string" }, merge = "deep" } })
    assert.equal("a map with a and b", made.needs)
    assert.same({ d = "deep" }, made.merge)
    assert.is_nil(plugin_schema.make({}).needs)
  end)

  it("seals what it calls encrypted or secret", function()
    local made = assert(plugin_schema.make { key = { type = "string", encrypted = true } })
    local doc = assert(document.parse("key: abc\n", "conf.yaml"))
    local value = assert(schema.read(made.compiled, doc, function() end))
    assert.equal('{"key":"{sealed:ABC}"}', schema.encode(made.compiled, value, string.upper))
  end)
end)

describe("typedefs", function()
  local cases = {
    { "url", "https://user@example.com:80/a?b", "ftp://x" }, { "host", "'[::1]'", "a b" },
    { "ip", "::1", "10.0.0.0/8" },
    { "ip_or_cidr", "10.0.0.1/8", "10.0.0.1/33" }, { "cidr_v4", "10.0.0.0/8", "fd00::/8" }, { "port", "80", "-1" },
    { "header_name", "X-A", "X A" }, { "path", "/a", "a" }, { "timeout", "1000", "-1" },
    { "http_method", "GET", "get" },
    { "uuid", "0b5c2bd5-3f3b-4b6a-9d7e-0a1b2c3d4e5f", "0b5c2bd5" }, { "tag", "a-b", "'a,b'" },
    { "pem_certificate", "'-----BEGIN CERTIFICATE-----x-----END CERTIFICATE-----'", "x" },
    { "key", "'-----BEGIN RSA PRIVATE KEY-----x-----END RSA PRIVATE KEY-----'", "x" },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      assert.is_string(configure({ v = typedefs[case[1]] }, "v: " .. case[2]))
      assert.is_table(configure({ v = typedefs[case[1]] }, "v: " .. case[3]))
    end)
  end
end)
