--- Whether reads of what is configured now slow down with what was before: the same reads with some versions of history
-- and with 10,000 more. Environment: VERSIONS (10000), READS (2000) of each.
--
--     build/deps/bin/luajit spec/bench/history.lua        run by `make bench`, scenario `history`
local house = dofile "spec/bench/house.lua"
local machine = dofile "spec/bench/machine.lua"

local VERSIONS, READS = tonumber(os.getenv "VERSIONS" or 10000), tonumber(os.getenv "READS" or 2000)
local ROUTES, POOLS, BATCH = 1000, 200, 5000

local KINDS = {
  { "a route", function(i) return "GET /api/routes/" .. house.route_name(i % ROUTES + 1) end },
  { "a pool with its backends", function(i) return "GET /api/pools/" .. house.pool_name(i % POOLS + 1) end },
  { "a page of 100 routes", function() return "GET /api/routes?limit=100" end, 20 },
  { "the newest 50 versions", function() return "GET /api/config/versions?limit=50" end, 4 },
}

--- Reads each kind. Returns lists of milliseconds and of control's processor time.
local function read_all(instance)
  local results = {}
  for k, kind in ipairs(KINDS) do
    local lines = {}
    for i = 1, READS / (kind[3] or 1) do lines[i] = kind[2](i) end
    house.send(lines) -- so that both times everything has run before
    local before = machine.cpu_ns(instance.control)
    local taken, statuses = house.send(lines)
    house.expect(statuses, 200)
    results[k] = { taken = taken, cpu = (machine.cpu_ns(instance.control) - before) / 1000 / #lines }
  end
  return results
end

--- Makes versions: batches of which each operation is one.
local function make_versions(count)
  local begun = machine.now_s()
  for first = 1, count, BATCH do
    local operations = {}
    for i = first, math.min(first + BATCH - 1, count) do
      operations[#operations + 1] = ('{"action":"patch","id":"%s","data":{"priority":%d}}'):format(
        house.route_name(i % ROUTES + 1), i)
    end
    local _, statuses, bodies = house.ask(('POST /api/bulk/routes {"atomic":false,"operations":[%s]}'):format(
      table.concat(operations, ",")))
    house.expect(statuses, 202)
    house.await_batch(bodies:match '"operation_id":"(%x+)"')
  end
  return machine.now_s() - begun
end

local instance = house.start { routes = ROUTES, pools = POOLS, workers = 1 }
local ok, message = xpcall(function()
  local before = read_all(instance)
  local seconds = make_versions(VERSIONS)
  local after = read_all(instance)
  print(("reads of %d routes and %d pools, before and after %d versions (made in %.1f s):"):format(ROUTES, POOLS,
    VERSIONS, seconds))
  for k, kind in ipairs(KINDS) do
    local a, b = before[k], after[k]
    print(("  %-26s p50 %.2f and %.2f ms, p99 %.2f and %.2f ms; control %.0f and %.0f us each"):format(kind[1],
      machine.median(a.taken), machine.median(b.taken), machine.quantile(a.taken, 0.99),
      machine.quantile(b.taken, 0.99), a.cpu, b.cpu))
  end
  print(("  the store's file has %.1f MB"):format(tonumber(machine.shell(("du -bc %s/data/*.db* | tail -1")
    :format(instance.folder)):match "%d+") / 1e6))
end, debug.traceback)
house.stop(instance)
if not ok then error(message, 0) end
