local ffi = require "ffi"
local fixture = require "unit.conf.fixture"
local plugins = require "unit.plugin.fixture"
local loop = require "support.loop"
local pki = require "support.pki"
local snapshots = require "support.snapshots"
local alignment = require "veloflux.alignment"
local carry = require "veloflux.compiler.carry"
local compiler = require "veloflux.compiler"
local conf = require "veloflux.conf"
local entities = require "veloflux.control.entities"
local explain = require "veloflux.explain"
local json = require "veloflux.pdk.json"
local layout = require "veloflux.compiler.layout"

ffi.cdef [[
int vf_state_create(struct vf_state **state);
int munmap(void *address, size_t length);
int close(int fd);
]]
local C = layout.C

local FILE = [[
workers: 1
plugin_path: [ %s ]
trusted_proxies: [ 10.0.0.0/8 ]
timeouts: { response: %ds }
listeners:
  - { name: http, address: 127.0.0.1:8000 }
  - { name: https, address: 127.0.0.1:8443, tls: { others: true, certificates: [ %s ] } }
  - { name: tcp, address: 127.0.0.1:9000, mode: tcp, pool: file }
pools:
  - { name: file, backends: [ { address: 127.0.0.1:9001 } ] }
routes:
  - { name: file, host: file.test, pool: file }
]]

local FILES = {
  first = { handler = plugins.handler(1000), schema = [[return { text = { type = "string" },
    tags = { type = "map", values = { type = "string" }, merge = "deep" } }]] },
  second = { handler = plugins.handler(1000) },
}

--- Numbers by a seed: a run that fails is run again.
local function dice(seed)
  local state = seed
  local function roll(n)
    state = (state * 1103515245 + 12345) % 2147483648
    return math.floor(state / 65536) % n + 1
  end
  return roll, function(list) return list[roll(#list)] end
end

describe("the alignment of lists", function()
  local roll = dice(11)

  it("divides a list into runs that make it again", function()
    for _ = 1, 400 do
      local old, new, pool = {}, {}, {}
      for i = 1, 40 do pool[i] = { i } end
      for i = 1, 40 do
        if roll(4) > 1 then old[#old + 1] = roll(9) > 1 and pool[i] end
        local what = roll(12)
        if what > 2 then new[#new + 1] = pool[i] elseif what == 1 then new[#new + 1] = { "new" } end
      end
      if roll(3) == 1 then table.insert(new, 1, table.remove(new, roll(#new))) end
      local made, kept, runs = {}, {}, alignment.runs(new, old)
      for k = 1, #runs, 3 do
        assert.equal(#made + 1, runs[k])
        for i = 0, runs[k + 2] - 1 do
          local at = runs[k + 1] > 0 and runs[k + 1] + i
          assert.is_true(not at or not kept[at])
          if at then kept[at] = true end
          made[#made + 1] = at and old[at] or new[runs[k] + i]
        end
      end
      assert.equal(#new, #made)
      local is_old, n_both, n_kept = {}, 0, 0
      for _, one in ipairs(old) do is_old[one] = true end
      for i, one in ipairs(new) do
        assert.equal(one, made[i])
        if is_old[one] then n_both = n_both + 1 end
      end
      for _ in pairs(kept) do n_kept = n_kept + 1 end
      assert.is_true(n_kept >= n_both - 20) -- some may be missed, next to one that was moved
    end
  end)
end)

describe("what is carried over from one snapshot to the next", function()
  local path, state, state_fd, certificates
  local folder = fixture.folder {}

  setup(function()
    certificates = {}
    loop.run(function()
      for i, name in ipairs { "one", "two" } do
        local made = pki.self_signed(folder, name, { names = { name .. ".test", "a.acme.test" } })
        certificates[i] = { cert = pki.read(made.cert), key = pki.read(made.key) }
      end
    end)
  end)
  teardown(function() fixture.remove(folder) end)

  before_each(function()
    path = plugins.write(FILES)
    local out = ffi.new "struct vf_state *[1]"
    state_fd = C.vf_state_create(out)
    state = out[0]
  end)
  after_each(function()
    plugins.clean()
    C.munmap(state, ffi.cast("uint64_t *", state)[2])
    C.close(state_fd)
  end)

  local function read_conf(response_s, own)
    local text = ("data_dir: %s\n"):format(folder) .. FILE:format(path, response_s, own or "")
    local draft = conf.read { source = { text = text, name = "conf.yaml", dir = folder }, env = {} }
    assert.same({}, draft.problems)
    return draft
  end

  local function tools_of(draft) return { plugins = draft.plugins, unseal = function(text) return text end } end

  --- Makes a random value of a kind.
  -- @param asks true: some routes want certificates of clients
  local function random_values(roll, choose, asks)
    local function maybe(n, value) return roll(n) == 1 and value or nil end
    local function instances(n)
      if roll(n) > 1 then return nil end
      local config = { text = "t" .. roll(3), tags = { ["k" .. roll(2)] = "v" } }
      local list = json.array { { name = "first", config = config } }
      if roll(2) == 1 then list[2] = { name = "second", enabled = roll(3) > 1 } end
      return list
    end
    local function headers(n)
      return maybe(n, { request = { set = { ["X-Key"] = "secret-" .. roll(1000) .. "-end" } },
        response = roll(2) == 1 and { remove = json.array { "Server" } } or nil })
    end
    local function tenant() return choose { "default", "default", "acme" } end
    local function condition(i) return ("secret-%d-end"):format(i + roll(1000)) end
    local make = {}
    function make.tenants()
      return { name = choose { "acme", "acme", "other" }, active = roll(3) > 1,
        hosts = json.array { "a.acme.test", maybe(2, "b.acme.test") }, plugins = instances(4) }
    end
    function make.pools()
      local value = { name = "p" .. roll(8), tenant = tenant(), algorithm = choose { "round_robin", "least_conn" },
        max_connections = maybe(2, roll(50)), headers = headers(4), plugins = instances(6), backends = json.array {},
        timeouts = maybe(4, { connect = roll(9) .. "s" }), tls = maybe(5, { verify = false, name = "n" .. roll(3) }),
        health_check = maybe(3, { path = "/h" .. roll(3) }), sticky_sessions = maybe(4, true) }
      if value.tenant == "default" then value.shared = roll(2) == 1 end
      for i = 1, roll(3) do
        value.backends[i] = { address = ("127.0.0.%d:90%02d"):format(i, roll(40)), weight = roll(200) }
      end
      return value
    end
    function make.routes()
      local value = { name = "r" .. roll(25), tenant = tenant(), priority = maybe(3, roll(5)), headers = headers(4),
        plugins = instances(5), timeouts = maybe(5, { response = roll(9) .. "s" }),
        methods = maybe(4, json.array { "GET", "POST" }) }
      value.match = maybe(4, { headers = { ["x-" .. roll(3)] = condition(1) }, query = { q = { present = true } } })
      local own = { mode = "optional", ca = certificates[roll(2)].cert }
      value.client_certificate = asks and (maybe(6, "require") or maybe(6, own)) or nil
      value.host = value.tenant == "acme" and maybe(2, "a.acme.test") or choose { "x.test", "*.y.test", nil }
      local kind = choose { "path", "path_prefix", "path_prefix", "path_regex" }
      value[kind] = "/a" .. roll(5) .. choose { "", "/b", "/b/c" }
      if roll(5) == 1 then
        value.respond = { status = 200, body = "body" .. roll(9) }
      elseif roll(6) == 1 then
        value.redirect = { to = "https://x.test/", status = 302 }
      else
        value.pool = "p" .. roll(8)
      end
      return value
    end
    function make.consumers() return { name = "c" .. roll(3), tenant = tenant(), plugins = instances(2) } end
    function make.plugins()
      return { name = choose { "first", "second" }, tenant = maybe(2, "acme"), enabled = roll(3) > 1,
        config = roll(2) == 1 and { } or nil }
    end
    function make.certificates()
      local own = choose(certificates)
      return { name = "cert" .. roll(3), tenant = maybe(3, "acme"), cert = own.cert, key = own.key }
    end
    return make
  end

  --- Returns the edits of one transaction, or nil: a value was none.
  local function random_edits(roll, choose, set, tools, asks)
    local make, edits = random_values(roll, choose, asks), {}
    local kinds = { "routes", "routes", "routes", "routes", "pools", "pools", "pools", "tenants", "consumers",
      "plugins", "certificates" }
    for i = 1, roll(4) == 1 and roll(6) or 1 do
      local kind = choose(kinds)
      local sorted = entities.sorted(set, kind)
      if roll(4) == 1 and #sorted > 0 then
        edits[i] = { kind = kind, key = choose(sorted).key }
      else
        local value = make[kind]()
        local key, text = entities.key_of(kind, value.tenant, value.name), json.encode(value)
        local record, problems = entities.read(kind, key, text, tools, true)
        if not record then error(conf.format(problems[1]) .. " in " .. text) end
        record._key, record._file = key, ("api:%s/%s"):format(kind, key)
        edits[i] = { kind = kind, key = key, entity = { kind = kind, key = key, record = record, json = text } }
      end
    end
    return edits
  end

  --- What a model makes, the long way: of a conf file that was read anew, and entities that were read anew.
  local function compile_anew(response_s, set, version)
    local draft, fresh = read_conf(response_s), {}
    for kind, of_kind in pairs(set) do
      for key, entity in pairs(kind ~= "lists" and of_kind or {}) do
        local record = entities.read(kind, key, entity.json, tools_of(draft), true)
        record._key, record._file = key, ("api:%s/%s"):format(kind, key)
        fresh[#fresh + 1] = { kind = kind, key = key, entity = { kind = kind, key = key, record = record,
          json = entity.json } }
      end
    end
    local records = entities.records(entities.with(entities.new(), fresh), draft.plugins)
    local model, problems = conf.complete(draft, records)
    local lines = {}
    for i, problem in ipairs(problems) do lines[i] = conf.format(problem) end
    if not model then return nil, lines end
    return assert(compiler.compile(model, { version = version, state = state })), model
  end

  local function secrets_of(set)
    local known = {}
    for kind, of_kind in pairs(set) do
      for _, entity in pairs(kind ~= "lists" and of_kind or {}) do
        for secret in entity.json:gmatch "secret%-%d+%-end" do known[secret] = true end
      end
    end
    return known
  end

  local function expect_alike(compiled, model, set, response_s, version, where)
    local anew, other = compile_anew(response_s, set, version)
    assert(anew, where .. ": good when it is made of something else only")
    local expected, found = snapshots.lines(anew), snapshots.lines(compiled)
    for i = 1, math.max(#expected, #found) do
      if expected[i] ~= found[i] then
        error(("%s:\nexpected %s\nfound    %s"):format(where, tostring(expected[i]), tostring(found[i])))
      end
    end
    local warnings = explain.warnings(other, anew)
    assert.same(warnings, (explain.warnings(model, compiled)), where)
    local known = secrets_of(set)
    for secret in snapshots.bytes(compiled):gmatch "secret%-%d+%-end" do
      assert.is_true(known[secret], where .. ": holds " .. secret .. ", which is gone")
    end
  end

  --- Goes through random transactions, each upon the last good one. Returns how many were good.
  local function run(seed, steps)
    local roll, choose = dice(seed)
    local response_s, draft = 5, read_conf(5)
    local set, good = entities.new(), 0
    local model = assert(conf.complete(draft, entities.records(set, draft.plugins)))
    local compiled = assert(compiler.compile(model, { version = 1, state = state }))
    for step = 2, steps do
      local where = ("seed %d, step %d"):format(seed, step)
      if roll(40) == 1 then -- a reload
        response_s = response_s + 1
        draft = read_conf(response_s)
        set = assert(entities.with_plugins(set, tools_of(draft)))
        model = assert(conf.complete(draft, entities.records(set, draft.plugins)))
        compiled = assert(compiler.compile(model, { version = step, state = state, base = compiled }))
        compiler.sweep(compiled, state)
      end
      local next_set = entities.with(set, random_edits(roll, choose, set, tools_of(draft), seed % 2 == 0))
      local next_model, problems = conf.recombine(draft, entities.records(next_set, draft.plugins), model)
      if not next_model then
        local lines = {}
        for i, problem in ipairs(problems) do lines[i] = conf.format(problem) end
        local anew, expected = compile_anew(response_s, next_set, step)
        assert.is_nil(anew, where .. ": refused, and good when it is made anew: " .. lines[1])
        assert.same(expected, lines, where)
      else
        local next_compiled = assert(compiler.compile(next_model, { version = step, state = state, base = compiled }))
        assert.is_nil(next_compiled.mended, where)
        expect_alike(next_compiled, next_model, next_set, response_s, step, where)
        if roll(8) > 1 then -- else the store refuses it
          compiler.give_back(compiled)
          set, model, compiled, good = next_set, next_model, next_compiled, good + 1
          compiler.sweep(compiled, state)
        else
          compiler.give_back(next_compiled)
        end
      end
    end
    return good
  end

  for _, seed in ipairs { 1, 2, 3, 4 } do
    it("is what a compilation of everything makes, seed " .. seed, function()
      assert.is_true(run(seed, 60) > 15)
    end)
  end

  it("is left alone when it is at fault: all is compiled, and that is said", function()
    local draft = read_conf(5)
    local model = assert(conf.complete(draft, entities.records(entities.new(), draft.plugins)))
    local base = assert(compiler.compile(model, { version = 1, state = state }))
    local new = carry.new
    finally(function() carry.new = new end)
    local function compile_with(fault)
      carry.new = fault
      local compiled = assert(compiler.compile(model, { version = 2, state = state, base = base }))
      assert.same(snapshots.lines(assert(compiler.compile(model, { version = 2, state = state }))),
        snapshots.lines(compiled))
      return compiled.mended
    end
    assert.matches("cannot be carried", compile_with(function()
      error("records cannot be carried over: error -22", 0)
    end))
    assert.matches("^route 0: ", compile_with(function(...)
      local carried = new(...)
      C.vf_carry_map(carried.handle, C.VF_SNAP_TENANTS)[0] = 5 -- there is one
      return carried
    end))
    assert.equal(1, base.n_holders)
  end)
end)
