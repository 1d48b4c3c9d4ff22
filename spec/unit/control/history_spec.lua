local uv = require "luv"
local doors = require "support.door"
local json = require "veloflux.pdk.json"
local slices = require "veloflux.slices"
local storage = require "veloflux.control.storage"
local transactions = require "veloflux.control.transactions"

local FILE = [[
pools:
  - { name: web, backends: [ { address: 127.0.0.1:9001 } ] }
routes:
  - { name: site, pool: web }
]]

local function answer_of(ask, ...)
  local result
  local args = { ... }
  args[#args + 1] = function(answer) result = answer end
  ask(unpack(args))
  return result
end

describe("history", function()
  local door
  before_each(function()
    door = doors.open(FILE)
    door.use_store()
  end)
  after_each(function()
    door.close()
    storage.use(nil)
  end)

  local function create(name, fields)
    local value = { name = name, backends = json.array { { address = "127.0.0.1:9002" } } }
    for key, inner in pairs(fields or {}) do value[key] = inner end
    return door.apply({ { op = "create", kind = "pools", name = name, value = value } }, { author = "ana" })
  end

  local function rollback(number, context)
    local offered = #door.offers
    local result
    transactions.rollback(number, context or {}, function(answer) result = answer end)
    if #door.offers > offered then door.step() end
    return result
  end

  it("lists versions and tells of one", function()
    create "a"
    create "b"
    local list = answer_of(transactions.versions, { limit = 1 })
    assert.equal(3, list.versions[1].version)
    assert.equal(#answer_of(transactions.versions, {}).versions, list.total)
    local one = answer_of(transactions.version, 3)
    assert.equal("ana", one.version.author)
    assert.same({ { kind = "pools", key = "default/b", tenant = "default", name = "b", action = "added",
      changes = one.diff[1].changes } }, one.diff)
    assert.equal("", one.diff[1].changes[1].pointer)
    assert.equal("not_found", answer_of(transactions.version, 99).code)
  end)

  it("compares and tries in slices", function()
    local ops, turns = {}, {}
    for i = 1, 2000 do
      ops[i] = { op = "create", kind = "pools", name = "p" .. i,
        value = { name = "p" .. i, backends = json.array { { address = "127.0.0.1:9002" } } } }
    end
    assert.is_true(door.apply(ops, {}).ok)
    slices.open { turn = function(fn) turns[#turns + 1] = fn end, on_fault = error }
    local pause, calls = slices.pause, 0
    finally(function()
      slices.pause = pause
      slices.open {}
    end)
    function slices.pause() -- there is something to do between two of them, however fast the machine
      calls = calls + 1
      if calls % 500 ~= 0 then return end
      local until_ns = uv.hrtime() + 4e6
      while uv.hrtime() < until_ns do end
      slices.look()
    end
    local function slowly(ask, ...)
      local answered, n = nil, 0
      local args = { ... }
      args[#args + 1] = function(answer) answered = answer end
      ask(unpack(args))
      while turns[1] do
        table.remove(turns, 1)()
        n = n + 1
      end
      return answered, n
    end
    local found, n_compared = slowly(transactions.diff, 1, 2)
    local told, n_told = slowly(transactions.version, 2)
    local tried, n_tried = slowly(transactions.rollback, 1, { dry_run = true })
    assert.same({ 2000, 2000, true }, { #found.diff, #told.diff, tried.ok })
    assert.is_true(n_compared > 0 and n_told > 0 and n_tried > 0)
  end)

  it("undoes a version, but nothing of what control keeps for itself", function()
    local api_keys = require "veloflux.control.api_keys"
    local function ends(ask, ...)
      local offered, result = #door.offers, nil
      local args = { ... }
      args[#args + 1] = function(answer) result = answer end
      ask(unpack(args))
      if #door.offers > offered then door.step() end
      assert.is_true(result.ok, result.message)
      return result
    end
    local made = ends(api_keys.create, { name = "ci", role = "admin", tenant = "default" }, {})
    local revoked = ends(api_keys.revoke, "ci", {})
    local undone = ends(require("veloflux.control.history").revert, revoked.version, {})
    assert.same({ revoked.version, {} }, { undone.version, undone.skipped }) -- there is nothing to undo
    assert.is_nil(api_keys.find "ci")
    assert.is_nil(api_keys.check(made.key, 0))
  end)

  it("goes back as a new version", function()
    create "a"
    door.apply { { op = "put", kind = "pools", name = "a", value = { algorithm = "random" } } }
    create "b"
    local result = rollback(2, { author = "bob" })
    assert.is_true(result.ok, result.message)
    assert.equal(5, result.version)
    assert.equal("round_robin", transactions.find("pools", nil, "a").value.algorithm)
    assert.is_nil(transactions.find("pools", nil, "b"))
    local record = door.store.records[5]
    assert.same({ "rollback", "bob", "back to version 2" }, { record.source, record.author, record.reason })
    assert.equal("not_found", rollback(77).code)
  end)

  it("goes back dry", function()
    create "a"
    create "b"
    local result = rollback(2, { dry_run = true })
    assert.equal("removed", result.diff[1].action)
    assert.is_not_nil(transactions.find("pools", nil, "b"))
  end)

  it("says what is different between versions and what runs", function()
    create "a"
    door.apply { { op = "put", kind = "pools", name = "a", value = { algorithm = "random" } } }
    local result = answer_of(transactions.diff, 2, 3)
    assert.same({ { pointer = "/algorithm", after = "random" } }, result.diff[1].changes)
    assert.equal("pools: 1 changed", result.summary)
    assert.same({}, answer_of(transactions.diff, 3, "running").diff)
    assert.equal("added", answer_of(transactions.diff, 1, "running").diff and "added")
  end)

  it("exports what it imports", function()
    create("a", { algorithm = "random" })
    for _, format in ipairs { "json", "yaml" } do
      local text = transactions.export(format)
      assert.matches('"name":"site"', text)
      door.apply { { op = "put", kind = "pools", name = "a", value = { algorithm = "ip_hash" } } }
      local result
      transactions.import(text, "merge", {}, function(answer) result = answer end)
      door.step()
      assert.is_true(result.ok, result.message)
      assert.same({}, result.skipped)
      assert.equal("random", transactions.find("pools", nil, "a").value.algorithm)
    end
  end)

  it("imports one that replaces, and leaves the file's alone", function()
    create "a"
    local result
    transactions.import("pools: [ { name: b }, { name: web, algorithm: random } ]", "replace", {},
      function(answer) result = answer end)
    door.step()
    assert.is_true(result.ok, result.message)
    assert.same({ { kind = "pools", key = "default/web", source = "conf.yaml:3" } }, result.skipped)
    assert.is_nil(transactions.find("pools", nil, "a"))
    assert.is_not_nil(transactions.find("pools", nil, "b"))
  end)

  it("refuses a document with its pointers and lines", function()
    local result
    local function import(text) transactions.import(text, "merge", {}, function(answer) result = answer end) end
    import "pools:\n  - { name: b, algorithm: x }\n"
    assert.same({ "/pools/0/algorithm", 2 }, { result.errors[1].pointer, result.errors[1].line })
    import "pools:\n  - { name: b }\n  - { name: b }\n"
    assert.equal("invalid", result.code)
    import "routes: [ { name: r, pool: nowhere } ]"
    assert.equal("invalid", result.code)
    assert.same({}, door.offers)
  end)

  it("judges a whole conf file", function()
    local compiler, made = require "veloflux.compiler", nil
    local compile = compiler.compile
    finally(function() compiler.compile = compile end)
    function compiler.compile(...)
      made = compile(...)
      return made
    end
    assert.is_true(transactions.validate("pools: [ { name: b } ]").ok)
    assert.is_nil(made.builder) -- it was given back
    compiler.compile = compile
    local result = transactions.validate("listeners: 3\n")
    assert.equal("/listeners", result.errors[1].pointer)
  end)
end)
