--- How soon a change by the admin API is live in all workers: one entity of many, and 1,000 at once. Each answer comes
-- when every worker runs the version. Environment: CHANGES (1000) of each kind, ONLY as for `make bench`.
--
--     build/deps/bin/luajit spec/bench/change.lua        run by `make bench`, scenarios `change`, `bulk`,
--                                                        `lists` and `revoke`
local house = dofile "spec/bench/house.lua"
local machine = dofile "spec/bench/machine.lua"

local CHANGES = tonumber(os.getenv "CHANGES" or 1000)
local BULK, BULK_ROUNDS = 1000, tonumber(os.getenv "ROUNDS" or 5)
local POOLS = 2000
local REVOKED = 50
local GOAL_MS, BULK_GOAL_MS, REVOKE_GOAL_MS = 100, 500, 1000

local CHANGE = {
  { "a route", function(i, routes)
    return ('PATCH /api/routes/%s {"priority":%d}'):format(house.route_name(i * 7919 % routes + 1), i % 100 + 1)
  end },
  { "a pool", function(i)
    return ('PATCH /api/pools/%s {"max_connections":%d}'):format(house.pool_name(i * 7919 % POOLS + 1), i + 10)
  end },
  { "the weight of a backend", function(i)
    return ('PATCH /api/backends/%s/127.0.0.1:19100 {"weight":%d}'):format(house.pool_name(i * 7919 % POOLS + 1),
      i % 900 + 101)
  end },
}

local function verdict(value, goal)
  if not goal then return "" end
  return ("; goal %d ms: %s"):format(goal, value <= goal and "reached" or "MISSED")
end

--- Runs something and says how much processor time control needed for each of `count`.
local function costing(instance, count, work)
  local before = machine.cpu_ns(instance.control)
  work()
  return (machine.cpu_ns(instance.control) - before) / 1e6 / count
end

local function bench_changes(instance, routes, goal)
  for _, kind in ipairs(CHANGE) do
    local lines, taken, statuses = {}, nil, nil
    for i = 1, CHANGES do lines[i] = kind[2](i, routes) end
    local cpu = costing(instance, CHANGES, function() taken, statuses = house.send(lines) end)
    house.expect(statuses, 200)
    print(("  %-24s %d changes: %s; control %.1f ms each%s"):format(kind[1], #taken, house.describe(taken), cpu,
      verdict(machine.quantile(taken, 0.99), goal)))
    io.flush()
  end
end

local function bulk_line(round, routes)
  local operations = {}
  for i = 1, BULK do
    local n = (round * BULK + i) * 7919
    operations[i] = i % 2 == 0 and
      ('{"action":"patch","kind":"routes","id":"%s","data":{"priority":%d}}'):format(
        house.route_name(n % routes + 1), round % 100 + 1) or
      ('{"action":"patch","kind":"backends","id":"127.0.0.1:19100","pool":"%s","data":{"weight":%d}}'):format(
        house.pool_name(n % POOLS + 1), round % 100 + 1)
  end
  return 'POST /api/bulk {"operations":[' .. table.concat(operations, ",") .. "]}"
end

local function bench_bulk(instance, routes, goal)
  local lines, taken, statuses = {}, nil, nil
  for round = 1, BULK_ROUNDS do lines[round] = bulk_line(round, routes) end
  local cpu = costing(instance, BULK_ROUNDS, function() taken, statuses = house.send(lines) end)
  house.expect(statuses, 200)
  print(("  a bulk of %d            %d times: %s; control %.0f ms each%s"):format(BULK, #taken,
    house.describe(taken), cpu, verdict(machine.median(taken), goal)))
  io.flush()
end

--- Whole lists, and how long others wait meanwhile.
local function bench_lists(instance, routes)
  local paths = { "/api/pools", "/api/backends", "/api/routes?limit=500&sort=-priority", "/api/config" }
  if routes <= 10000 then table.insert(paths, 3, "/api/routes?host=h1.example.com") end
  for _, path in ipairs(paths) do
    local before = house.stalls()
    local taken, statuses, cpu
    cpu = costing(instance, BULK_ROUNDS, function()
      local lines = {}
      for i = 1, BULK_ROUNDS do lines[i] = "GET " .. path end
      local others = house.send_meanwhile({ "GET /health" }, { rate = 200, seconds = 2, connections = 1 }, "others")
      taken, statuses = house.send(lines)
      local waits, answered = others()
      house.expect(answered, 200)
      print(("  GET %-40s %s; /health meanwhile %s"):format(path, house.describe(taken), house.describe(waits)))
    end)
    house.expect(statuses, 200)
    print(("    control %.0f ms each, turns above 10 ms: %d"):format(cpu, house.stalls() - before))
    io.flush()
  end
end

local function bench(routes, goal, bulk_goal)
  print(("until all workers run it, of %d routes and %d pools:"):format(routes, POOLS))
  local instance = house.start { routes = routes, pools = POOLS }
  local ok, message = xpcall(function()
    local before, longest = house.stalls()
    print(("  turns of control's loop above 10 ms until it began: %d, the longest %.0f ms"):format(before, longest))
    if machine.wanted "change" then
      bench_changes(instance, routes, goal)
      print(("  and during these changes: %d"):format(house.stalls() - before))
    end
    if machine.wanted "lists" then bench_lists(instance, routes) end
    if machine.wanted "bulk" then bench_bulk(instance, routes, bulk_goal) end
    print(("  control uses %.0f MiB"):format(machine.pss_kib(instance.control) / 1024))
  end, debug.traceback)
  house.stop(instance)
  if not ok then error(message, 0) end
end

--- How soon a consumer whose access is revoked is nobody any more, of many.
local function bench_revoke(consumers)
  local entries = {}
  for i = 1, consumers do
    entries[i] = ('{"name":"c%d","credentials":[{"type":"key-auth","key":"the-key-of-%d"}]}'):format(i, i)
  end
  local instance = house.start { routes = 100, pools = 10 }
  local ok, message = xpcall(function()
    local requests, taken, statuses = {}, nil, nil
    local _, imported = house.ask('POST /api/config/import {"consumers":[' .. table.concat(entries, ",") .. "]}")
    house.expect(imported, 200)
    for i = 1, REVOKED do requests[i] = ("DELETE /api/consumers/c%d"):format(i * 7919 % consumers + 1) end
    local cpu = costing(instance, REVOKED, function() taken, statuses = house.send(requests) end)
    house.expect(statuses, 204)
    print(("until a key is nobody's in all workers, of %d consumers with one each:"):format(consumers))
    print(("  %d revoked: %s; control %.1f ms each%s"):format(#taken, house.describe(taken), cpu,
      verdict(machine.quantile(taken, 0.99), REVOKE_GOAL_MS)))
  end, debug.traceback)
  house.stop(instance)
  if not ok then error(message, 0) end
end

if machine.wanted "revoke" then bench_revoke(100000) end
if not (machine.wanted "change" or machine.wanted "bulk" or machine.wanted "lists") then return end
bench(10000, GOAL_MS, BULK_GOAL_MS)
if not os.getenv "FEW" then bench(100000) end
