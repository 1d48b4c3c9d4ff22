local doors = require "support.door"
local compiler = require "veloflux.compiler"
local layout = require "veloflux.compiler.layout"
local flow = require "veloflux.control.flow"
local json = require "veloflux.pdk.json"
local queue = require "veloflux.control.queue"
local transactions = require "veloflux.control.transactions"

local FILE = [[
pools:
  - { name: web, backends: [ { address: 127.0.0.1:9001 } ] }
routes:
  - { name: site, pool: web }
]]

local function pool(name, fields)
  local value = { name = name, backends = json.array { { address = "127.0.0.1:9002" } } }
  for key, inner in pairs(fields or {}) do value[key] = inner end
  return { op = "create", kind = "pools", name = name, value = value }
end

local function route(name, fields)
  local value = { name = name, path = "/" .. name, pool = "web" }
  for key, inner in pairs(fields or {}) do value[key] = inner end
  return { op = "create", kind = "routes", name = name, value = value }
end

describe("transactions", function()
  local door
  before_each(function() door = doors.open(FILE) end)
  after_each(function() door.close() end)

  it("make an entity, stored and live under the next version", function()
    local result = door.apply({ pool "api" }, { author = "ana", reason = "more", request_id = "r1" })
    assert.is_true(result.ok, result.message)
    assert.equal(2, result.version)
    assert.same({ 2 }, door.commits)
    assert.equal("pools: 1 added", result.summary)
    local record = door.store.records[2]
    assert.same({ "ana", "api", "more", "r1" }, { record.author, record.source, record.reason, record.request_id })
    local found = transactions.find("pools", "default", "api")
    assert.equal("api", found.origin)
    assert.equal(2, found.version)
    assert.equal(found.value, result.objects[1].value)
    assert.equal("127.0.0.1:9002", flow.current().model.pools[2].backends[1].address.text)
  end)

  it("make an entity of the tenant that they say", function()
    assert.is_true(door.apply({ { op = "create", kind = "tenants", name = "acme", value = {} } }, {}).ok)
    local unnamed = { op = "create", kind = "pools", tenant = "acme", value = { name = "own" } }
    local result = door.apply({ unnamed }, {})
    assert.is_true(result.ok, result.message)
    assert.is_table(transactions.find("pools", "acme", "own"))
    assert.is_nil(transactions.find("pools", "default", "own"))
    unnamed.value = { name = "more", tenant = "default" }
    result = door.apply({ unnamed }, {})
    assert.same({ "invalid", "/tenant" }, { result.code, result.errors[1].pointer })
    assert.is_nil(transactions.find("pools", "default", "more"))
  end)

  it("are together one publication, and may be called off before their turn", function()
    local results, is_off = {}, true
    transactions.together(function()
      for i, name in ipairs { "a", "b", "c" } do
        local context = { is_brief = true }
        if name == "b" then
          context.check = function() return is_off and { ok = false, code = "cancelled", errors = {} } or nil end
        end
        transactions.apply({ pool(name) }, context, function(result) results[i] = result end)
      end
      assert.same({}, results)
    end)
    door.step()
    assert.same({ 2, 3 }, { results[1].version, results[3].version })
    assert.same({ 3, 3 }, { results[1].published, results[3].published })
    assert.same({}, results[1].diff)
    assert.equal("cancelled", results[2].code)
    assert.is_nil(transactions.find("pools", "default", "b"))
  end)

  it("may be called off until they are offered to the processes", function()
    local asked, result = 0, nil
    local function is_off()
      asked = asked + 1
      return asked == 2 and { ok = false, code = "cancelled", errors = {} } or nil
    end
    transactions.apply({ pool "a" }, { check = is_off }, function(answer) result = answer end)
    assert.equal("cancelled", result.code)
    assert.same({}, door.commits)
    assert.is_nil(transactions.find("pools", "default", "a"))
    assert.is_true(door.apply({ pool "a" }).ok)
  end)

  it("read what is only tested", function()
    local test = pool "api"
    test.is_test = true
    local result = door.apply { test }
    assert.is_true(result.ok, result.message)
    assert.is_nil(transactions.find("pools", "default", "api"))
    test.value.algorithm = "sideways"
    assert.equal("invalid", door.apply({ test }).code)
  end)

  it("find rivals among many routes", function()
    local ops = {}
    for i = 1, 10 do ops[i] = route("r" .. i) end
    ops[8].value.path = "/r3"
    local result = door.apply(ops)
    assert.same({ "conflict", "default/r8", 3 }, { result.code, result.rival, result.errors[1].op })
    ops[8].value.path = "/r8"
    assert.is_true(door.apply(ops).ok)
  end)

  it("say field by field what a change changed", function()
    door.apply { pool "api" }
    local result = door.apply { { op = "put", kind = "pools", name = "api", value = { algorithm = "least_conn" } } }
    assert.is_true(result.ok, result.message)
    assert.same({ { kind = "pools", key = "default/api", tenant = "default", name = "api", action = "changed",
      changes = { { pointer = "/algorithm", after = "least_conn" } } } }, result.diff)
    result = door.apply { { op = "put", kind = "pools", name = "api", value = { algorithm = json.null } } }
    assert.same({ { pointer = "/algorithm", before = "least_conn" } }, result.diff[1].changes)
  end)

  it("merge, put and replace differently", function()
    door.apply { pool("api", { timeouts = { connect = "1s", response = "2s" }, algorithm = "random" }) }
    door.apply { { op = "merge", kind = "pools", name = "api", value = { timeouts = { connect = "5s" } } } }
    local value = transactions.find("pools", nil, "api").value
    assert.same({ 5000, 2000 }, { value.timeouts.connect, value.timeouts.response })
    door.apply { { op = "put", kind = "pools", name = "api", value = { timeouts = { connect = "6s" } } } }
    value = transactions.find("pools", nil, "api").value
    assert.is_nil(rawget(value.timeouts, "response"))
    assert.equal("random", value.algorithm)
    door.apply { { op = "replace", kind = "pools", name = "api", value = {} } }
    value = transactions.find("pools", nil, "api").value
    assert.equal("round_robin", value.algorithm)
    assert.equal(0, #value.backends)
  end)

  it("refuse what the schema refuses, with a pointer", function()
    local result = door.apply { pool("api", { algorithm = "rando", backends = json.array { { weight = -1 } } }) }
    assert.equal("invalid", result.code)
    local pointers = {}
    for i, problem in ipairs(result.errors) do
      assert.equal(1, problem.op)
      pointers[i] = problem.pointer
    end
    table.sort(pointers)
    assert.same({ "/algorithm", "/backends/0/address", "/backends/0/weight" }, pointers)
    assert.same({}, door.offers)
  end)

  it("leave the file's entities to the file", function()
    local result = door.apply { { op = "put", kind = "pools", name = "web", value = { algorithm = "random" } } }
    assert.equal("owned", result.code)
    assert.equal("conf.yaml:3", result.source)
    assert.equal("owned", door.apply({ pool "web" }).code)
    assert.equal("owned", door.apply({ { op = "delete", kind = "routes", name = "site" } }).code)
  end)

  it("refuse what exists, what does not, and what has changed", function()
    door.apply { pool "api" }
    assert.equal("exists", door.apply({ pool "api" }).code)
    assert.equal("not_found", door.apply({ { op = "delete", kind = "pools", name = "nope" } }).code)
    assert.equal("not_found", door.apply({ { op = "create", kind = "spoons", value = {} } }).code)
    local change = { op = "put", kind = "pools", name = "api", value = { algorithm = "random" }, if_match = 2 }
    assert.is_true(door.apply({ change }).ok)
    assert.equal("stale", door.apply({ change }).code)
  end)

  it("refuse to take away what others need", function()
    door.apply { pool "api", route("a", { pool = "api" }) }
    local result = door.apply { { op = "delete", kind = "pools", name = "api" } }
    assert.equal("referenced", result.code)
    assert.matches("default/a", result.message)
    assert.is_true(door.apply({ { op = "delete", kind = "routes", name = "a" },
      { op = "delete", kind = "pools", name = "api" } }).ok)
  end)

  it("refuse a reference to nothing, at its field", function()
    local result = door.apply { route("a", { pool = "wob" }) }
    assert.equal("invalid", result.code)
    assert.same({ op = 1, pointer = "/pool", detail = 'unknown pool "wob", did you mean web?' },
      { op = result.errors[1].op, pointer = result.errors[1].pointer, detail = result.errors[1].detail })
  end)

  it("refuse a route that another one shadows exactly", function()
    door.apply { route "a" }
    local result = door.apply { route("b", { path = "/a" }) }
    assert.equal("conflict", result.code)
    assert.equal("default/a", result.rival)
  end)

  it("publish nothing when nothing changes", function()
    door.apply { pool "api" }
    local result = door.apply { { op = "put", kind = "pools", name = "api", value = { algorithm = "round_robin" } } }
    assert.is_true(result.ok)
    assert.equal(2, result.version)
    assert.same({ 2 }, door.offers)
  end)

  it("that wait become versions of their own and are published once", function()
    local answers = {}
    for i = 1, 5 do
      transactions.apply({ pool("p" .. i) }, { author = "a" .. i }, function(result) answers[i] = result end)
    end
    door.step()
    door.step()
    assert.same({ 2, 6 }, door.commits)
    for i = 1, 5 do
      assert.is_true(answers[i].ok)
      assert.equal(i + 1, answers[i].version)
      assert.equal("a" .. i, door.store.records[i + 1].author)
      assert.equal(i + 1, transactions.find("pools", nil, "p" .. i).version)
    end
  end)

  it("that wait are tried alone when they are not good together", function()
    local answers = {}
    local function apply(ops) transactions.apply(ops, {}, function(result) answers[#answers + 1] = result end) end
    apply { pool "first" }
    apply { pool "good" }
    apply { route("bad", { pool = "missing" }) }
    apply { pool "better" }
    for _ = 1, 3 do door.step() end
    assert.equal(4, #answers)
    assert.is_not_nil(transactions.find("pools", nil, "good"))
    assert.is_not_nil(transactions.find("pools", nil, "better"))
    assert.is_nil(transactions.find("routes", nil, "bad"))
    local refused = {}
    for _, answer in ipairs(answers) do if not answer.ok then refused[#refused + 1] = answer.code end end
    assert.same({ "invalid" }, refused)
  end)

  it("change nothing when a process cannot serve them", function()
    local result
    transactions.apply({ pool "api" }, {}, function(answer) result = answer end)
    flow.refused(2, "no memory")
    assert.equal("invalid", result.code)
    assert.matches("no memory", result.message)
    assert.is_nil(transactions.find("pools", nil, "api"))
    assert.equal(1, flow.current().version)
    assert.is_true(door.apply({ pool "api" }).ok)
  end)

  it("are tried again when a process cannot serve them for now", function()
    local result
    transactions.apply({ pool "api" }, {}, function(answer) result = answer end)
    flow.refused(2, "worker: not enough memory", true)
    flow.refused(2, "worker: not enough memory", true)
    assert.is_nil(result)
    assert.same({ 2, 2, 2 }, door.offers)
    door.step()
    assert.same({ true, 2 }, { result.ok, result.version })
    assert.is_not_nil(transactions.find("pools", nil, "api"))
  end)

  it("are unavailable when that goes on, and no fault of who asks", function()
    local memfd, fails = compiler.memfd, 2
    finally(function() compiler.memfd = memfd end)
    function compiler.memfd(compiled)
      fails = fails - 1
      if fails < 0 then return memfd(compiled) end
      return nil, "memfd: error 12"
    end
    assert.is_true(door.apply({ pool "one" }).ok)
    fails = 100
    local result = door.apply { pool "two" }
    assert.same({ "unavailable", "this cannot be served now: memfd: error 12" }, { result.code, result.message })
    fails, result = 0, nil
    transactions.apply({ pool "two" }, {}, function(answer) result = answer end)
    for _ = 1, 4 do flow.refused(3, "worker: not enough memory", true) end
    assert.same({ "unavailable", "this cannot be served now: worker: not enough memory" },
      { result.code, result.message })
    assert.is_nil(transactions.find("pools", nil, "two"))
    assert.is_true(door.apply({ pool "two" }).ok)
  end)

  it("are in conflict with what there is when that leaves no room", function()
    local slots = layout.SLOTS.pools
    local room = slots.room
    finally(function() slots.room = room end)
    slots.room = 2
    assert.is_true(door.apply({ pool "one" }).ok)
    local result = door.apply { pool "two" }
    assert.same({ "conflict", "conf.yaml: pools: expected at most 2, got 3" }, { result.code, result.message })
  end)

  it("change nothing when the store does not take them", function()
    door.store.failure = { code = "io", message = "disk full" }
    local result
    transactions.apply({ pool "api" }, {}, function(answer) result = answer end)
    door.prepare()
    assert.equal("unavailable", result.code)
    assert.same({}, door.commits)
    assert.is_nil(transactions.find("pools", nil, "api"))
    door.store.failure = nil
    assert.is_true(door.apply({ pool "api" }).ok)
  end)

  it("publish what the store took when it fails half way", function()
    local answers = {}
    for i = 1, 3 do transactions.apply({ pool("p" .. i) }, {}, function(result) answers[i] = result end) end
    door.step()
    door.store.holds = true
    door.prepare()
    local held = door.store.held
    door.store.held = {}
    held[1]()
    door.store.failure = { code = "io", message = "disk full" }
    held[2]()
    assert.equal("unavailable", answers[3].code)
    door.step()
    assert.is_true(answers[2].ok)
    assert.same({ 2, 3 }, door.commits)
    assert.is_nil(transactions.find("pools", nil, "p3"))
  end)

  it("answer unavailable while the store is out of reach, and go on afterwards", function()
    queue.adopt(queue.world(), "locked")
    assert.equal("unavailable", door.apply({ pool "api" }).code)
    door.set_again = queue.world().set
    assert.is_true(door.apply({ pool "api" }).ok)
  end)

  it("go on after a fault of ours, which is answered and logged", function()
    local real = flow.offer
    flow.offer = function() error "broken" end -- luacheck: ignore
    local result = door.apply { pool "api" }
    flow.offer = real -- luacheck: ignore
    assert.equal("unavailable", result.code)
    assert.matches("broken", table.concat(door.log, "\n"))
    assert.is_true(door.apply({ pool "api" }).ok)
    local ok
    transactions.apply({ pool "more" }, {}, function() error "theirs" end)
    door.step()
    transactions.apply({ pool "after" }, {}, function(answer) ok = answer.ok end)
    door.step()
    assert.is_true(ok)
  end)

  it("change a backend as part of its pool", function()
    door.apply { pool "api" }
    local result = door.apply { { op = "create", kind = "backends", pool = "api",
      value = { address = "127.0.0.1:9003" } } }
    assert.is_true(result.ok, result.message)
    assert.equal("/backends/1", result.diff[1].changes[1].pointer)
    assert.equal("exists", door.apply({ { op = "create", kind = "backends", pool = "api",
      value = { address = "127.0.0.1:9003" } } }).code)
    local wrong = door.apply { { op = "put", kind = "backends", pool = "api", name = "127.0.0.1:9003",
      value = { weight = -1 } } }
    assert.equal("/weight", wrong.errors[1].pointer)
    assert.is_true(door.apply({ { op = "put", kind = "backends", pool = "api", name = "127.0.0.1:9003",
      value = { weight = 5 } } }).ok)
    assert.equal(5, transactions.find("pools", nil, "api").value.backends[2].weight)
    assert.is_true(door.apply({ { op = "delete", kind = "backends", pool = "api", name = "127.0.0.1:9002" } }).ok)
    assert.equal(1, #transactions.find("pools", nil, "api").value.backends)
    assert.equal("not_found", door.apply({ { op = "delete", kind = "backends", pool = "api", name = "x:1" } }).code)
  end)

  it("take texts as they are: nothing of the environment comes in", function()
    door.apply { route("a", { pool = json.null, respond = { body = "${HOME} $${X}" } }) }
    assert.equal("${HOME} $${X}", transactions.find("routes", nil, "a").value.respond.body)
    door.apply { { op = "put", kind = "routes", name = "a", value = { priority = 3 } } }
    assert.equal("${HOME} $${X}", transactions.find("routes", nil, "a").value.respond.body)
  end)

  describe("tried dry", function()
    it("say what would change and whom it touches, and change nothing", function()
      door.apply { pool "api", route("a", { pool = "api" }), route "b" }
      local before = door.store.version_now
      local result = door.apply({ { op = "put", kind = "pools", name = "api", value = { algorithm = "random" } } },
        { dry_run = true })
      assert.is_true(result.ok, result.message)
      assert.is_true(result.dry_run)
      assert.same({ "default/a" }, result.affected_routes)
      assert.same({ { pointer = "/algorithm", after = "random" } }, result.diff[1].changes)
      assert.equal(before, door.store.version_now)
      assert.equal(1, #door.offers)
      assert.equal("round_robin", transactions.find("pools", nil, "api").value.algorithm)
      assert.equal("invalid", door.apply({ route("c", { pool = "no" }) }, { dry_run = true }).code)
    end)
  end)

  it("seal the secrets in the store and mask them in differences", function()
    door.close()
    door = doors.open(FILE .. "plugins: [ { name: key-auth } ]\n")
    local result = door.apply { { op = "create", kind = "consumers", value = { name = "ana",
      credentials = json.array { { type = "key-auth", key = "s3cret-of-ana-123" } } } } }
    assert.is_true(result.ok, result.message)
    local stored = door.store.kinds.consumers["default/ana"].json
    assert.is_nil(stored:find("s3cret", 1, true))
    assert.matches("{sealed:", stored)
    result = door.apply { { op = "merge", kind = "consumers", name = "ana",
      value = { groups = json.array { "gold" } } } }
    assert.same({ { pointer = "/groups", after = { "gold" } } }, result.diff[1].changes)
    result = door.apply { { op = "merge", kind = "consumers", name = "ana", value = { credentials = json.array {
      { type = "key-auth", key = "another-secret-456" } } } } }
    assert.same({ { pointer = "/credentials/0/key", before = "*****", after = "*****" } }, result.diff[1].changes)
    result = door.apply { { op = "merge", kind = "consumers", name = "ana", value = { credentials = json.array {
      { type = "key-auth", key = "*****" } } } } }
    assert.same({}, result.diff)
  end)

  it("never take the mask of a secret for the secret", function()
    local function credentials(...) return { name = "ana", credentials = json.array { ... } } end
    local function refused(op)
      local result = door.apply { op }
      assert.same({ "invalid", 1 }, { result.code, result.errors[1].op })
      assert.equal("is masked, and there is no stored value to keep", result.message)
      return result.errors[1].pointer
    end
    local masked = { type = "basic-auth", username = "b", password = "*****" }
    local create = { op = "create", kind = "consumers", name = "ana", value = credentials(masked) }
    assert.equal("/credentials/0/password", refused(create))
    create.value = credentials({ type = "key-auth", key = "first-secret-1" },
      { type = "basic-auth", username = "a", password = "second-secret-2" })
    assert.is_true(door.apply({ create }).ok)
    local merge = { op = "merge", kind = "consumers", name = "ana", value = credentials(masked) } -- another user's
    assert.equal("/credentials/0/password", refused(merge))
    masked.username = "a" -- has moved to the front
    local result = door.apply { merge }
    assert.is_true(result.ok, result.message)
    local kept = transactions.find("consumers", "default", "ana").value.credentials
    assert.same({ 1, "second-secret-2" }, { #kept, kept[1].password })
    assert.equal("/key", refused { op = "create", kind = "credentials", consumer = "ana",
      value = { type = "key-auth", key = "*****" } })
  end)
end)
