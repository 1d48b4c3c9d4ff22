require "support.library"
local archives = require "support.archive"
local contents = require "veloflux.content"
local doors = require "support.door"
local json = require "veloflux.pdk.json"
local keys = require "veloflux.keys"
local storage = require "veloflux.control.storage"
local transactions = require "veloflux.control.transactions"

local FILE = "pools:\n  - { name: web, backends: [ { address: 127.0.0.1:9001 } ] }\n"
local PASSPHRASE = "correct horse"

describe("a backup", function()
  local door
  before_each(function()
    door = doors.open(FILE)
    door.use_store()
  end)
  after_each(function()
    door.close()
    storage.use(nil)
  end)

  local function restore(bytes, context)
    local result
    local offered = #door.offers
    transactions.restore(bytes, PASSPHRASE, context or {}, function(answer) result = answer end)
    if #door.offers > offered then door.step() end
    return result
  end

  local function create(name)
    return door.apply { { op = "create", kind = "pools", name = name, value = { name = name } } }
  end

  --- An archive of these lines, under the right passphrase.
  local function forge(lines)
    local texts = {}
    for i, line in ipairs(lines) do texts[i] = type(line) == "table" and json.encode(line) or line end
    return archives.of({ passphrase = PASSPHRASE, master = keys.master { data_dir = door.folder } }, texts)
  end

  it("brings back what was there, as one version", function()
    create "a"
    local made = transactions.backup { passphrase = PASSPHRASE, now_ms = 5000 }
    assert.same({ true, 5000, 2, 2, 0 }, { made.ok, made.created_ms, made.version, made.entities, made.tenants })
    door.apply { { op = "delete", kind = "pools", name = "a" } }
    create "b"
    assert.equal(made.size, contents.size(made.content))
    local dry = restore(made.content, { dry_run = true })
    assert.equal(2, #dry.diff)
    assert.is_nil(transactions.find("pools", nil, "a"))
    local result = restore(made.content, { author = "ana" })
    assert.same({ true, 5, 1, 0, 0 },
      { result.ok, result.version, result.restored, #result.skipped, #result.missing })
    assert.is_nil(transactions.find("pools", nil, "b"))
    assert.equal(1000, transactions.find("pools", nil, "a").created_ms)
    assert.same({ "ana", "import", "backup of version 2" }, { door.store.records[5].author,
      door.store.records[5].source, door.store.records[5].reason })
  end)

  it("that says what it cannot mean changes nothing", function()
    local head = { format = 1, version = 3, created_ms = 1 }
    local pool = { kind = "pools", key = "default/a", origin = "api", text = '{"name":"a"}' }
    local function with(changes)
      local copy = {}
      for name, value in pairs(pool) do copy[name] = value end
      for name, value in pairs(changes) do copy[name] = value end
      return copy
    end
    assert.is_true(restore(forge { head, pool, { count = 1 } }, { dry_run = true }).ok)
    for _, lines in ipairs { {}, { "nonsense" }, { head }, { head, pool }, { head, pool, { count = 2 } },
      { { format = 2, version = 3 }, { count = 0 } }, { { format = 1 }, { count = 0 } }, { head, "[", { count = 1 } },
      { head, with { kind = "fruits" }, { count = 1 } }, { head, with { text = 1 }, { count = 1 } },
      { head, with { text = "{" }, { count = 1 } }, { head, with { text = '{"name":"b"}' }, { count = 1 } },
      { head, with { origin = "sky" }, { count = 1 } }, { head, with { created_ms = -1 }, { count = 1 } } } do
      local result = restore(forge(lines))
      assert.same({ false, "invalid" }, { result.ok, result.code }, lines[2] and json.encode(lines[2]))
    end
    assert.same({}, door.offers)
  end)

  it("of another key is named", function()
    local result = restore((forge({ "x" }):gsub("^VFBACK1", "VFBACK2")))
    assert.same({ "invalid", "format" }, { result.code, result.fault })
    assert.equal("wrong_key", restore(archives.of({ passphrase = "another horse" }, {})).fault)
  end)
end)
