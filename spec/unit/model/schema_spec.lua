local library = require "support.library" -- luacheck: ignore 211
local document = require "veloflux.model.document"
local s = require "veloflux.model.schema"

--- Reads `text` as a record of `fields`; returns the record or the messages as "line path: message".
local function read(fields, text, env)
  local compiled = s.compile(s.record(fields[1] and { fields = fields } or fields))
  local doc = assert(document.parse(text, "f.yaml"))
  local value, problems = s.read(compiled, doc, function(name) return env and env[name] end)
  if value then return value, compiled end
  local lines = {}
  for i, problem in ipairs(problems) do
    lines[i] = ("%d %s: %s"):format(problem.line, problem.path, problem.message)
  end
  return nil, lines
end

local function message(field, value, env)
  local got, lines = read({ { f = field } }, "f: " .. value .. "\n", env)
  assert.is_nil(got)
  return (lines[1]:gsub("^1 f: ", ""))
end

local function value(field, text, env)
  local record, lines = read({ { f = field } }, "f: " .. text .. "\n", env)
  return assert(record, lines[1]).f
end

describe("scalars", function()
  it("are what the schema says, quoted or not", function()
    assert.equal("1.2", value(s.string {}, "1.2"))
    assert.equal("1.2", value(s.string {}, '"1.2"'))
    assert.equal("off", value(s.string {}, "off"))
    assert.equal("true", value(s.string {}, "true"))
    assert.equal(1.2, value(s.number {}, '"1.2"'))
    assert.equal(80, value(s.integer {}, '"80"'))
    assert.equal(255, value(s.integer {}, "0xff"))
    assert.equal(8, value(s.integer {}, "0o10"))
    assert.equal(-3, value(s.integer {}, "-3"))
    assert.is_true(value(s.boolean {}, "true"))
    assert.is_false(value(s.boolean {}, "False"))
    assert.equal(2000, value(s.duration {}, "2s"))
    assert.equal(math.huge, value(s.duration { off = true }, "off"))
    assert.equal(2048, value(s.size {}, "2k"))
    assert.equal("auto", value(s.integer { words = { "auto" } }, "auto"))
    assert.equal("a", value(s.string { one_of = { "a", "b" } }, "a"))
  end)

  it("say what was expected and what was there", function()
    local cases = {
      { s.integer {}, "x", 'expected an integer, got "x"' },
      { s.integer {}, "1.5", 'expected an integer, got "1.5"' },
      { s.integer {}, "99999999999999999999", 'expected an integer, got "99999999999999999999"' },
      { s.integer { between = { 1, 64 } }, "100", "expected an integer between 1 and 64, got 100" },
      { s.integer { min = 1 }, "0", "expected an integer of at least 1, got 0" },
      { s.integer { gt = 0 }, "0", "expected an integer above 0, got 0" },
      { s.integer { max = 3, words = { "auto" } }, "4", "expected an integer of at most 3 or auto, got 4" },
      { s.number {}, "nan", 'expected a number, got "nan"' },
      { s.boolean {}, "yes", 'expected true or false, got "yes"' },
      { s.duration {}, "10 parsecs", 'expected a duration like 10s, got "10 parsecs"' },
      { s.duration { min = "1ms", max = "60s" }, "90s", "expected a duration between 1ms and 60s, got 90s" },
      { s.size {}, "lots", 'expected a size like 32k, got "lots"' },
      { s.string { one_of = { "round_robin", "random" } }, "rondom",
        'expected one of round_robin or random, got "rondom", did you mean random?' },
      { s.string { len_min = 1, len_max = 3 }, "abcd", 'expected a text of 1 to 3 bytes, got "abcd"' },
      { s.string { match = "^%l+$", expects = "lower case" }, "A", 'expected lower case, got "A"' },
      { s.string {}, "[1]", "expected a text, got a list" },
      { s.string {}, "{a: 1}", "expected a text, got a map" },
      { s.string { custom_validator = function() return nil, "never" end }, "x", "never" },
      { s.integer {}, ("9"):rep(100), 'expected an integer, got "' .. ("9"):rep(60) .. '..."' },
      { s.integer {}, '"a\\nb\\u0001"', 'expected an integer, got "a\\nb\\x01"' },
    }
    for _, case in ipairs(cases) do assert.equal(case[3], message(case[1], case[2])) end
  end)

  it("expand references and never print secrets", function()
    assert.equal("x1", value(s.string {}, "x${A}", { A = "1" }))
    assert.equal(7, value(s.integer {}, "${N:-7}"))
    assert.equal("the environment variable A is not set", message(s.string {}, "${A}"))
    local secret = s.string { secret = true, len_min = 20, expects = "a key" }
    assert.equal("expected a key, got another", message(secret, "hunter2"))
  end)

  it("read secrets from files, however YAML takes the braces", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write "hunter2\n"
    file:close()
    local secret = s.string { secret = true }
    assert.equal("hunter2", value(secret, '"{file:' .. path .. '}"'))
    assert.equal("hunter2", value(secret, "{file:" .. path .. "}"))
    assert.equal("hunter2", value(secret, "{vault://file" .. path .. "}"))
    assert.equal("hunter2", value(s.string { referenceable = true }, "{file:" .. path .. "}"))
    os.remove(path)
    assert.truthy(message(secret, '"{file:' .. path .. '}"'):find("No such file", 1, true))
    assert.equal("{file:/x}", value(s.string {}, '"{file:/x}"'))
  end)

  it("read secrets from the environment, however YAML takes the braces", function()
    local secret = s.string { secret = true }
    local env = { MY_SECRET = "hunter2", MY_OBJECT = '{"key":"inner"}' }
    assert.equal("hunter2", value(secret, '"{vault://env/my-secret}"', env))
    assert.equal("hunter2", value(secret, "{vault://env/my-secret}", env))
    assert.equal("inner", value(secret, "{vault://env/my-object/key}", env))
    assert.equal(7, value(s.integer { referenceable = true }, "{vault://env/n}", { N = "7" }))
    assert.equal("the environment variable MY_SECRET is not set", message(secret, "{vault://env/my-secret}"))
    assert.equal('there is no vault "hcv": expected env or file', message(secret, "{vault://hcv/x}"))
    assert.equal("expected {vault://NAME/RESOURCE}", message(secret, '"{vault://env}"'))
    assert.equal("{vault://env/x}", value(s.string {}, '"{vault://env/x}"'))
  end)

  it("repeat references in exports", function()
    local record, compiled = read({ { f = s.string { secret = true } } }, "f: '{vault://env/x}'\n", { X = "hidden" })
    assert.equal("hidden", record.f)
    local out = require("veloflux.model.json").writer()
    compiled.encode(record, out)
    assert.equal('{"f":"{vault://env/x}"}', table.concat(out))
  end)

  it("repeat those in lists and maps, and show people no others", function()
    local text = s.string { referenceable = true }
    local record, compiled = read({ { list = s.list { elements = text } }, { map = s.map { values = text } },
      { plain = text }, { secrets = s.map { values = s.string { secret = true } } },
      { inner = s.record { fields = { { key = s.string { secret = true } }, { name = text } } } } },
      "{list: [a, '{vault://env/x}'], map: {k: '{vault://env/x}', l: b}, plain: '{vault://env/x}', "
      .. "secrets: {m: '{vault://env/x}', n: clear}, inner: {key: clear, name: '{vault://env/x}'}}", { X = "hidden" })
    assert.same({ "hidden", "hidden", "hidden", "hidden" }, { record.list[2], record.map.k, record.plain,
      record.secrets.m })
    local function seal() return "00" end
    assert.equal('{"inner":{"key":"{sealed:00}","name":"{vault://env/x}"},"list":["a","{vault://env/x}"],'
      .. '"map":{"k":"{vault://env/x}","l":"b"},"plain":"{vault://env/x}",'
      .. '"secrets":{"m":"{vault://env/x}","n":"{sealed:00}"}}', s.encode(compiled, record, seal))
    assert.equal('{"inner":{"key":"(secret)","name":"{vault://env/x}"},"list":["a","{vault://env/x}"],'
      .. '"map":{"k":"{vault://env/x}","l":"b"},"plain":"{vault://env/x}",'
      .. '"secrets":{"m":"(secret)","n":"(secret)"}}', s.show(compiled, record))
    assert.equal('["(secret)","{vault://env/x}"]', s.show(compiled.by_name.list, record.list, nil, true))
    assert.matches('"list":%["a","hidden"%]', s.write(compiled, record))
    assert.matches('"list":%["a","hidden"%]', s.encode_plain(compiled, record))
  end)

  it("write numbers as they are, however large", function()
    local record, compiled = read({ { a = s.number {} }, { b = s.number {} }, { c = s.number {} } },
      "{a: 1e20, b: -1e300, c: 4503599627370497}", {})
    assert.equal('{"a":1e+20,"b":-1.0000000000000001e+300,"c":4503599627370497}', s.write(compiled, record))
  end)
end)

describe("records", function()
  local fields = { { name = s.string { required = true } }, { weight = s.integer { default = 100 } },
    { inner = s.record { fields = { { deep = s.boolean { default = true } } } } } }

  it("keep what was said, and have defaults behind", function()
    local record = read(fields, "name: x\n")
    assert.equal(100, record.weight)
    assert.is_nil(rawget(record, "weight"))
    assert.is_nil(record.inner)
    assert.is_true(read(fields, "name: x\ninner: {}\n").inner.deep)
    assert.equal(100, read(fields, "name: x\nweight: null\n").weight)
    assert.equal(100, read(fields, "name: x\nweight:\n").weight)
  end)

  it("note every problem at once, with line and path", function()
    local _, lines = read(fields, "weigth: 1\nweight: x\nweight: 2\ninner:\n  deep: 3\n  what: 4\n")
    assert.same({
      "1 weigth: unknown key, did you mean weight?",
      '2 weight: expected an integer, got "x"',
      "3 weight: duplicate key, first on line 2",
      '5 inner.deep: expected true or false, got "3"',
      "6 inner.what: unknown key, expected one of deep",
      "1 name: required: a text",
    }, lines)
  end)

  it("check fields against each other", function()
    local checked = { fields = { { a = s.integer {} }, { b = s.integer {} }, { c = s.integer {} } },
      entity_checks = { { only_one_of = { "a", "b" } }, { mutually_exclusive = { "b", "c" } } },
      custom_validator = function(record) return record.a ~= 13 or nil, "13 is unlucky", "a" end }
    assert.is_table(read(checked, "a: 1\nc: 2\n"))
    assert.same({ "1 : one of a or b is required" }, select(2, read(checked, "c: 1\n")))
    assert.same({ "2 b: cannot be given together with a" }, select(2, read(checked, "a: 1\nb: 2\n")))
    assert.same({ "1 a: 13 is unlucky" }, select(2, read(checked, "a: 13\n")))
    -- a wrong field was given all the same
    assert.same({ '1 a: expected an integer, got "x"' }, select(2, read(checked, "a: x\n")))
  end)

  it("take fields as a plain map too", function()
    assert.equal(1, read({ fields = { z = s.integer {}, a = s.integer {} } }, "z: 1\n").z)
  end)
end)

describe("lists, maps and shapes", function()
  it("read their elements", function()
    assert.same({ 1, 2 }, value(s.list { elements = s.integer {} }, "[1, 2]"))
    assert.same({ a = "x" }, value(s.map { values = s.string {} }, "{a: x}"))
  end)

  it("note what is wrong with which", function()
    local list = s.list { elements = s.integer {}, unique = true, len_min = 1, len_max = 3 }
    local _, lines = read({ { f = list } }, "f:\n  - 1\n  - x\n  - 1\n")
    assert.same({ '3 f[1]: expected an integer, got "x"', "4 f[2]: 1 is already given, on line 2" }, lines)
    assert.equal("expected 1 to 3 elements, got 0", message(list, "[]"))
    assert.equal('expected a list, got "x"', message(list, "x"))
    assert.equal("expected a map, got a list", message(s.map { values = s.string {} }, "[]"))
    local map = s.map { keys = s.string { match = "^%l$", expects = "a letter" }, values = s.integer {} }
    _, lines = read({ { f = map } }, "f: { a: 1, bb: 2, c: x, a: 3 }\n")
    assert.same({ '1 f.bb: expected a letter, got "bb"', '1 f.c: expected an integer, got "x"',
      "1 f.a: duplicate key" }, lines)
  end)

  it("choose by the form of the value", function()
    local map = s.record { fields = { { a = s.integer {} } } }
    local shape = s.shape { default = false, scalar = s.boolean {}, map = map }
    assert.is_true(value(shape, "true"))
    assert.equal(3, value(shape, "{a: 3}").a)
    assert.equal("expected true or false or a map, got a list", message(shape, "[]"))
  end)

  it("refuse what is not built, unless it says nothing", function()
    local field = s.unavailable {}
    assert.equal("not available in this version: f", message(field, "[1]"))
    for _, empty in ipairs { "[]", "{}", "false", "off", '""', "null", "" } do
      assert.is_nil(value(field, empty), empty)
    end
  end)
end)

describe("encoding", function()
  it("is canonical and reads back as the same", function()
    local fields = { { z = s.duration { default = "1s", off = true } }, { a = s.string { default = "q" } },
      { m = s.map { values = s.integer {} } }, { l = s.list { elements = s.size { off = true } } },
      { b = s.boolean { default = false } }, { secret = s.string { secret = true } } }
    local record, compiled = read(fields, 'z: 90s\nm: {y: 1, x: 2}\nl: [1k, off, 3]\na: "${A}$${B} \\" é"\nb: false\n'
      .. "secret: ${S}\n", { A = "1", S = "hunter2" })
    local text = s.encode(compiled, record)
    assert.equal('{"a":"1$${B} \\" é","l":["1k","off","3"],"m":{"x":2,"y":1},"secret":"${S}","z":"90s"}', text)
    local function env(name) return name == "S" and "hunter2" end
    local again = assert(s.read(compiled, document.parse(text, "j"), env))
    assert.equal('1${B} " é', again.a)
    assert.equal("hunter2", again.secret)
    assert.equal(text, s.encode(compiled, again))
  end)
end)

describe("rules beyond a type's own", function()
  it("say what they wanted, under their names", function()
    local cases = {
      { s.string { not_one_of = { "a", "b" } }, "a", 'expected anything but "a" or "b", got "a"', "not_one_of" },
      { s.string { ne = "x" }, "x", 'expected anything but "x"', "ne" },
      { s.integer { eq = 3 }, "4", "expected 3, got 4", "eq" },
      { s.integer { one_of = { 301, 302 } }, "200", "expected one of 301 or 302, got 200", "one_of" },
      { s.string { len_eq = 2 }, "abc", "expected a length of 2, got 3", "len_eq" },
      { s.string { starts_with = "/" }, "a", 'expected a text that begins with /, got "a"', "starts_with" },
      { s.string { not_match = "%d" }, "a1", 'expected a text that does not match %d, got "a1"', "not_match" },
      { s.string { match_none = { { pattern = "//", err = "no empty segments" } } }, "a//b", "no empty segments",
        "match_none" },
      { s.string { match_all = { { pattern = "^a" }, { pattern = "z$" } } }, "ab", 'is not allowed: "ab"',
        "match_all" },
      { s.string { match_any = { patterns = { "^a", "^b" }, err = "a or b" } }, "c", "a or b", "match_any" },
      { s.string { uuid = true }, "12", 'expected a UUID, got "12"', "uuid" },
      { s.list { elements = s.string {}, contains = "x" }, "[a]", 'expected a list with "x"', "contains" },
      { s.list { elements = s.string {}, len_eq = 2 }, "[a]", "expected a length of 2, got 1", "len_eq" },
      { s.list { elements = s.string {}, len_max = 0 }, "[a]", "expected at most 0 elements, got 1", "len_max" },
      { s.integer { between = { 1, 2 } }, "3", "expected an integer between 1 and 2, got 3", "between" },
      { s.integer { min = 1, max = 2 }, "3", "expected an integer between 1 and 2, got 3", "max" },
      { s.integer { gt = 0 }, "0", "expected an integer above 0, got 0", "gt" },
      { s.duration { min = "1s" }, "1ms", "expected a duration of at least 1s, got 1ms", "min" },
      { s.string { len_max = 1 }, "ab", 'expected a text of at most 1 bytes, got "ab"', "len_max" },
      { s.string { secret = true, not_match = "^weak" }, "weakling", "expected another value", "not_match" },
      { s.string { secret = true, one_of = { "a" } }, "hidden", "expected a, got another", "one_of" },
    }
    for _, case in ipairs(cases) do
      local compiled = s.compile(s.record { fields = { { ["a/b"] = s.record { fields = { { f = case[1] } } } } } })
      local doc = assert(document.parse("a/b: { f: " .. case[2] .. " }\n", "f.yaml"))
      local got, problems = s.read(compiled, doc, os.getenv)
      assert.is_nil(got, case[4])
      assert.same({ { file = "f.yaml", line = 1, path = "a/b.f", pointer = "/a~1b/f", message = case[3],
        rule = case[4] } }, problems)
    end
    assert.equal("0b5c2bd5-3f3b-4b6a-9d7e-0a1b2c3d4e5f", value(s.string { uuid = true },
      "0b5c2bd5-3f3b-4b6a-9d7e-0a1b2c3d4e5f"))
    assert.equal("(a|b)+", value(s.string { is_regex = true }, '"(a|b)+"'))
    assert.is_truthy(message(s.string { is_regex = true }, '"(a"'):find "parenthesis")
  end)
end)

describe("checks between fields", function()
  local function judge(checks, text, fields)
    return read({ fields = fields or { { a = s.string {} }, { b = s.string {} }, { c = s.integer { default = 5 } },
      { r = s.record { fields = { { x = s.string {} }, { y = s.string {} } } } } }, entity_checks = checks }, text)
  end

  local b_with_tls = { if_field = "a", if_match = { eq = "tls" }, then_field = "b", then_match = { required = true } }
  local cases = {
    { { mutually_required = { "a", "b" } }, "{ a: x }", "1 b: required: a, b go together" },
    { { mutually_required = { "a", "c" } }, "{ a: x }" },
    { { distinct = { "a", "b" } }, "{ a: x, b: x }", "1 b: expected another value than that of a" },
    { { distinct = { "a", "b" } }, "{ a: x, b: y }" },
    { { at_least_one_of = { "a", "r.x" } }, "{ r: { y: 1 } }", "1 : one of a or r.x is required" },
    { { at_least_one_of = { "a", "r.x" } }, "{ r: { x: 1 } }" },
    { { at_least_one_of = { "a", "c" } }, "{}" }, -- c has a default
    { { mutually_exclusive = { "a", "r.x" } }, "a: x\nr:\n  x: y", "3 r.x: cannot be given together with a" },
    { { conditional = b_with_tls }, "{ a: tls }", "1 b: required: a value, as a is tls" },
    { { conditional = b_with_tls }, "{ a: tcp }" },
    { { conditional = { if_field = "c", if_match = { gt = 3 }, then_field = "a", then_match = { one_of = { "x" } },
      then_err = "with that c, a is x" } }, "{ a: y }", "1 a: with that c, a is x" },
    { { conditional_at_least_one_of = { if_field = "a", if_match = { ne = "none" },
      then_at_least_one_of = { "b", "r.x" } } },
      "{ a: x }", "1 : one of b or r.x is required, as a is x" },
    { { custom_entity_check = { field_sources = { "a" }, fn = function() return nil, "never" end } }, "{ a: x }",
      "1 : never" },
    { { custom_entity_check = { field_sources = { "c" }, fn = function() return nil, "never" end } }, "{ c: x }",
      '1 c: expected an integer, got "x"' }, -- a wrong source is said once
  }
  for i, case in ipairs(cases) do
    it(next(case[1]) .. " " .. i, function()
      local got, lines = judge({ case[1] }, case[2] .. "\n")
      if case[3] then assert.same({ case[3] }, lines) else assert.is_table(got) end
    end)
  end

  it("are refused when nobody knows them", function()
    local ok, err = pcall(judge, { { no_such = { "a" } } }, "{}\n")
    assert.is_false(ok)
    assert.equal("unknown entity check no_such", err)
  end)
end)

describe("records", function()
  it("take shorthands, which do not replace what is said", function()
    local definition = { fields = { { status = s.integer {} }, { wait = s.duration {} } }, shorthand_fields = {
      { wait_s = { type = "integer", deprecated = "use wait", func = function(n) return { wait = n .. "s" } end } } } }
    assert.equal(3000, read(definition, "wait_s: 3\n").wait)
    assert.equal(1000, read(definition, "wait_s: 3\nwait: 1s\n").wait)
    local _, lines = read(definition, "wait_s: x\n")
    assert.same({ '1 wait_s: expected an integer, got "x"' }, lines)
  end)

  it("take several shorthands for the same record, before and behind what is said", function()
    local function meaning(name)
      return function(said) return { redis = { [name] = said } } end
    end
    local definition = { fields = { { redis = s.record { default = {}, fields = {
        { host = s.string {} }, { port = s.integer { default = 6379 } }, { database = s.integer {} } } } } },
      shorthand_fields = { { redis_host = { type = "string", func = meaning "host" } },
        { redis_port = { type = "integer", func = meaning "port" } },
        { redis_database = { type = "integer", func = meaning "database" } },
        { ignored = { type = "integer", func = function() return {} end } } } }
    local redis = read(definition, "redis_host: a\nignored: 1\nredis_port: 1\n").redis
    assert.same({ "a", 1 }, { redis.host, redis.port })
    redis = read(definition, "redis_host: a\nredis: { host: b }\nredis_database: 2\n").redis
    assert.same({ "b", 6379, 2 }, { redis.host, redis.port, redis.database })
    assert.equal(6379, read(definition, "ignored: 1\n").redis.port)
  end)

  it("note the use of what is deprecated", function()
    local reader = require "veloflux.model.reader"
    local compiled = s.compile(s.record { fields = { { old = s.string { deprecated = "use new" } } } })
    local where = reader.new(os.getenv)
    where:open(assert(document.parse("\nold: x\n", "f.yaml")), "/")
    assert.equal("x", compiled.read(where, 0).old)
    assert.same({ { file = "f.yaml", line = 2, path = "old", pointer = "/old", message = "is deprecated: use new" } },
      where.warnings)
  end)

  it("are written complete for those who use them", function()
    local compiled = s.compile(s.record { fields = {
      a = s.duration { default = "2s" }, b = s.size { off = true },
      c = s.list { elements = s.network {}, default = {} }, d = s.address {}, e = s.map { values = s.integer {} },
      f = s.record { default = {}, fields = { { g = s.boolean { default = true } }, { h = s.string {} } } },
      i = s.string { secret = true },
      j = s.shape { scalar = s.string {}, list = s.list { elements = s.string {} } } } })
    local function write(text)
      local doc = assert(document.parse(text, "f.yaml"))
      return s.write(compiled, assert(s.read(compiled, doc, function() return "env" end)))
    end
    assert.equal('{"a":2000,"c":[],"f":{"g":true}}', write "{}\n")
    local written = '{"a":1,"b":false,"c":["10.0.0.0/8"],"d":{"host":"x.internal","port":80,"text":"x.internal:80"},'
      .. '"e":{"k":1,"l":2},"f":{"g":false,"h":"${x}"},"i":"env","j":["v"]}'
    assert.equal(written, write("{ a: 1ms, b: off, c: [10.0.0.0/8], d: 'x.internal:80', e: { l: 2, k: 1 }, "
      .. "f: { g: false, h: '$${x}' }, i: '${S}', j: [v] }\n"))
  end)

  it("of several kinds are told apart by a field", function()
    local kinds = {}
    for _, name in ipairs { "circle", "square" } do
      kinds[name] = s.compile(s.record { fields = { { kind = s.string {} }, { [name == "circle" and "r" or "side"] =
        s.integer { required = true } } } })
    end
    local general = s.record { fields = { { kind = s.string { required = true } } } }
    local field = s.list { elements = s.variant { tag = "kind", general = general, choose = function(_, text)
      return kinds[text], ("unknown kind %q"):format(text)
    end } }
    local got, compiled = read({ { f = field } }, "f: [ { kind: circle, r: 2 }, { side: 3, kind: square } ]\n")
    assert.equal(2, got.f[1].r)
    assert.equal(3, got.f[2].side)
    assert.equal('{"f":[{"kind":"circle","r":2},{"kind":"square","side":3}]}', s.encode(compiled, got))
    local _, lines = read({ { f = field } }, "f:\n- { kind: cube }\n- { r: 1 }\n- { kind: circle }\n- x\n")
    assert.same({ '2 f[0].kind: unknown kind "cube"', "3 f[1].r: unknown key, expected one of kind",
      "3 f[1].kind: required: a text", "4 f[2].r: required: an integer", '5 f[3]: expected a map, got "x"' }, lines)
  end)

  it("are written as they were read, however many there are", function()
    local field = s.list { elements = s.record { fields = { { names = s.list { elements = s.string() } } } } }
    for _, n in ipairs { 99, 100, 101, 250, 1000 } do
      local elements = {}
      for i = 1, n do elements[i] = ('{"names":["a%d","b"]}'):format(i) end
      local text = '{"f":[' .. table.concat(elements, ",") .. "]}"
      local got, compiled = read({ { f = field } }, text)
      assert.equal(text, s.encode(compiled, got))
    end
    local names = {}
    for i = 1, 350 do names[i] = ('"n%d"'):format(i) end
    local text = ('{"f":[{"names":[%s]},{"names":["x"]}]}'):format(table.concat(names, ","))
    local got, compiled = read({ { f = field } }, text)
    assert.equal(text, s.encode(compiled, got))
  end)
end)
