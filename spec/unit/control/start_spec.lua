local doors = require "support.door"
local fixture = require "unit.conf.fixture"
local control = require "veloflux.control"
local link = require "veloflux.control.link"
local queue = require "veloflux.control.queue"
local storage = require "veloflux.control.storage"
local transactions = require "veloflux.control.transactions"

local ffi = require "ffi"

local FILE = "routes:\n  - { name: site, respond: { body: x } }\n"

describe("control starts", function()
  local folder, store, seen, real

  before_each(function()
    folder, store = fixture.folder {}, doors.store()
    seen, real = { offers = {}, commits = {}, log = {}, published = 0 }, {}
    storage.use(function() return store end)
    local fakes = {
      published = function() return seen.published end,
      offer = function(version, fd)
        ffi.C.close(fd)
        table.insert(seen.offers, version)
      end,
      commit = function(version) table.insert(seen.commits, version) end,
      log = function(_, event, message) table.insert(seen.log, event .. " " .. message) end,
      reloading = function() end, set_config = function() end, watch = function() return true end,
      drop = function() return 0 end, give_up = function() seen.has_given_up = true end,
    }
    for name, fake in pairs(fakes) do real[name], link[name] = link[name], fake end
  end)

  after_each(function()
    for name, own in pairs(real) do link[name] = own end
    storage.use(nil)
    fixture.remove(folder)
  end)

  local function start(mode, published, text)
    seen.offers, seen.commits, seen.published = {}, {}, published or 0
    control.start { mode = mode, conf = "conf.yaml", text = "data_dir: " .. folder .. "\n" .. (text or FILE),
      published = published }
  end

  local function step()
    control.on_event("prepared", seen.offers[#seen.offers], "")
    seen.published = seen.commits[#seen.commits]
    control.on_event("published", seen.published, "")
    control.on_event("live", 0, "")
  end

  --- A change that the store takes and nobody publishes: its control is killed.
  local function change_and_die(name)
    local ops = { { op = "create", kind = "routes", value = { name = name, path = "/" .. name,
      respond = { body = name } } } }
    local result
    transactions.apply(ops, {}, function(answer) result = answer end)
    control.on_event("prepared", seen.offers[#seen.offers], "")
    assert.is_nil(result)
  end

  local function routes()
    local names = {}
    for i, route in ipairs(control.current().model.routes) do names[i] = route.name end
    return names
  end

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
