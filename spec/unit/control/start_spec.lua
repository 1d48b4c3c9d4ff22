local starts = require "support.starts" -- first: it loads the library
local control = require "veloflux.control"
local queue = require "veloflux.control.queue"
local transactions = require "veloflux.control.transactions"

local FILE = "routes:\n  - { name: site, respond: { body: x } }\n"

describe("control starts", function()
  local house, folder, store, seen

  before_each(function()
    house = starts.open()
    folder, store, seen = house.folder, house.store, house.seen
  end)

  after_each(function() house.close() end)

  local function start(mode, published, text) house.start(mode, published, text or FILE) end

  local function step() house.step() end

  --- A change that the store takes and nobody publishes: its control is killed.
  local function change_and_die(name)
    local told = house.create(name)
    control.on_event("prepared", seen.offers[#seen.offers], "")
    assert.is_nil(told.outcome)
  end

  local function routes() return house.routes() end

  it("with the version after the store's", function()
    start "fresh"
    step()
    assert.same({ 1 }, seen.commits)
    assert.equal("file", store.records[1].source)
    start "fresh"
    step()
    assert.same({ 2 }, seen.commits)
    assert.equal(2, store.version_now)
  end)

  it("again, and publishes what its predecessor had stored", function()
    start "fresh"
    step()
    change_and_die "late"
    assert.equal(2, store.version_now)
    start("resume", 1)
    assert.same({ 2 }, seen.offers)
    step()
    assert.same({ "site", "late" }, routes())
    assert.equal(2, store.version_now)
    assert.equal(2, transactions.find("routes", nil, "late").version)
  end)

  it("again, and does not give up when a process cannot serve that for now", function()
    start "fresh"
    step()
    change_and_die "late"
    start("resume", 1)
    for _ = 1, 2 do control.on_event("unable", 2, "worker: not enough memory") end
    assert.same({ 2, 2, 2 }, seen.offers)
    step()
    assert.same({ "site", "late" }, routes())
  end)

  it("again, and publishes it also when it was not written down", function()
    start "fresh"
    step()
    change_and_die "late"
    os.remove(folder .. "/last-model.json")
    start("resume", 1)
    step()
    assert.same({ "site", "late" }, routes())
  end)

  it("again in step: at once, without an offer", function()
    start "fresh"
    step()
    change_and_die "a"
    seen.published = 2
    control.on_event("published", 2, "")
    control.on_event("live", 0, "")
    start("resume", 2)
    assert.same({}, seen.offers)
    assert.same({ "site", "a" }, routes())
    assert.equal("api", transactions.find("routes", nil, "a").origin)
    assert.equal("file", transactions.find("routes", nil, "site").origin)
    assert.is_nil(transactions.unavailable())
  end)

  it("anew after an upgrade, as a version of its own", function()
    start "fresh"
    step()
    start("recompile", 1)
    assert.same({ 2 }, seen.offers)
    step()
    assert.equal("upgrade", store.records[2].reason)
  end)

  it("without its store, with what it served last and under the same version", function()
    start "fresh"
    step()
    change_and_die "a"
    store.failure = { code = "unavailable", message = "locked" }
    start "fresh"
    assert.same({ 2 }, seen.offers)
    step()
    assert.same({ "site", "a" }, routes())
    assert.equal("locked", transactions.unavailable())
    store.failure = nil
    local result
    transactions.apply({ { op = "delete", kind = "routes", name = "a" } }, {}, function(answer) result = answer end)
    step()
    assert.is_true(result.ok, result.message)
    assert.equal(3, store.version_now)
  end)

  it("without its store, and the numbers go on when it is back", function()
    start "fresh"
    step()
    store.failure = { code = "unavailable", message = "locked" }
    start("recompile", 1)
    step()
    assert.same({ 2 }, seen.commits)
    assert.equal(1, store.version_now)
    store.failure = nil
    local result
    control.reload(function(answer) result = answer end)
    step()
    assert.is_true(result.ok)
    assert.equal(3, store.version_now)
    assert.equal("published without the store", store.records[2].summary)
  end)

  it("and a reload is tried again when a process cannot serve it for now", function()
    start "fresh"
    step()
    local result
    control.reload(function(answer) result = answer end)
    for _ = 1, 2 do control.on_event("unable", 2, "worker: not enough memory") end
    assert.is_nil(result)
    step()
    assert.is_true(result.ok)
    control.reload(function(answer) result = answer end)
    for _ = 1, 4 do control.on_event("unable", 3, "worker: not enough memory") end
    assert.same({ false, true }, { result.ok, result.is_passing })
    assert.matches("not enough memory", result.lines[1])
    control.reload(function(answer) result = answer end)
    control.on_event("refused", 3, "worker: no such plugin")
    assert.same({ false }, { result.ok, result.is_passing })
  end)

  it("with a seed that is sown once", function()
    start("fresh", nil, "entities: seed\n" .. FILE)
    step()
    assert.equal("seed", store.records[1].source)
    assert.equal("api", transactions.find("routes", nil, "site").origin)
    start("fresh", nil, "entities: seed\nroutes:\n  - { name: other, respond: { body: x } }\n")
    step()
    assert.same({ "site" }, routes())
    assert.equal("file", store.records[2].source)
    assert.matches("the API owns the entities", table.concat(seen.log, "\n"))
  end)

  it("not, when the file is no good", function()
    local written = {}
    local stderr = io.stderr
    io.stderr = { write = function(_, ...) table.insert(written, table.concat { ... }) end } -- luacheck: ignore
    start("fresh", nil, "routes: 3\n")
    io.stderr = stderr -- luacheck: ignore
    assert.is_true(seen.has_given_up)
    assert.matches("conf.yaml:2: routes", table.concat(written))
    assert.is_nil(queue.world())
  end)
end)
