--- Control as it starts, on a link and a store that are tables: what the supervisor would say is said by the spec.
local doors = require "support.door"
local fixture = require "unit.conf.fixture"
local control = require "veloflux.control"
local ffi = require "ffi"
local link = require "veloflux.control.link"
local storage = require "veloflux.control.storage"
local totals = require "veloflux.totals"
local transactions = require "veloflux.control.transactions"

local M = {}

--- Returns a house: {folder, store, seen = {offers, commits, log, published, has_given_up}, start, step, routes,
-- create}.
-- `close` takes it down.
function M.open()
  local house = { folder = fixture.folder {}, store = doors.store() }
  local seen, real = { offers = {}, commits = {}, log = {}, published = 0 }, {}
  house.seen = seen
  storage.use(function() return house.store end)
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
  local node = totals.node
  totals.node = function() return { is_stopping = 0, n_ready = 1, started_wall_ms = 1000 } end
  for name, fake in pairs(fakes) do real[name], link[name] = link[name], fake end

  --- Starts control in a mode of src/control/control.c, with `text` as the conf.
  function house.start(mode, published, text)
    seen.offers, seen.commits, seen.published = {}, {}, published or 0
    control.start { mode = mode, conf = "conf.yaml", text = "data_dir: " .. house.folder .. "\n" .. text,
      published = published }
  end

  --- What was offered last is prepared, committed and live.
  function house.step()
    control.on_event("prepared", seen.offers[#seen.offers], "")
    seen.published = seen.commits[#seen.commits]
    control.on_event("published", seen.published, "")
    control.on_event("live", 0, "")
  end

  --- Returns the names of the routes of what is published.
  function house.routes()
    local names = {}
    for i, route in ipairs(control.current().model.routes) do names[i] = route.name end
    return names
  end

  --- Asks for a route. The outcome comes into the table that is returned.
  function house.create(name)
    local told = {}
    transactions.apply({ { op = "create", kind = "routes", value = { name = name, path = "/" .. name,
      respond = { body = name } } } }, {}, function(outcome) told.outcome = outcome end)
    return told
  end

  function house.close()
    for name, own in pairs(real) do link[name] = own end
    totals.node = node
    storage.use(nil)
    fixture.remove(house.folder)
  end

  return house
end

return M
