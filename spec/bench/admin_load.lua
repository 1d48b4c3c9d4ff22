--- What the data plane loses while the admin API is busy: 2,000 reads and 200 durable writes a second, answered by
-- control on one core, while a worker on the other has requests at a steady rate. What it loses is the processor time
-- that it needs besides for the same requests (new snapshots, caches), as a share of its core: a worker at its limit
-- serves so much less. Requests a second would say little where client, origin and control share the other core.
-- Environment: ROUNDS (5), SECONDS (2).
--
--     build/deps/bin/luajit spec/bench/admin_load.lua        run by `make bench`, scenario `admin`
local house = dofile "spec/bench/house.lua"
local machine = dofile "spec/bench/machine.lua"

local ROUNDS, SECONDS = tonumber(os.getenv "ROUNDS" or 5), tonumber(os.getenv "SECONDS" or 2)
local READS, WRITES, CONNECTIONS = 2000, 200, 20
local ROUTES, POOLS = 1000, 200
local RATE = 3000 -- requests a second for the worker
local LIMIT = 0.03 -- share of the throughput that may be lost

local cores = tonumber(machine.shell("nproc"):match "%d+")
local CONTROL_CORE, WORKER_CORE, CLIENT_CORE = 1, 0, cores >= 4 and 2 or 1

local function pin(pid, core) machine.shell(("taskset -a -p -c %d %d"):format(core, pid)) end

local function read_lines()
  local lines = {}
  for i = 1, 200 do
    lines[#lines + 1] = "GET /api/routes/" .. house.route_name(i * 7 % ROUTES + 1)
    lines[#lines + 1] = "GET /api/pools/" .. house.pool_name(i * 7 % POOLS + 1)
    lines[#lines + 1] = ("GET /api/backends/%s/127.0.0.1:19100"):format(house.pool_name(i * 7 % POOLS + 1))
    lines[#lines + 1] = "GET /api/version"
  end
  return lines
end

local function write_lines(round)
  local lines = {}
  for i = 1, WRITES * (SECONDS + 2) do
    lines[i] = ('PATCH /api/routes/%s {"priority":%d}'):format(house.route_name(i * 7 % ROUTES + 1),
      (round * 1000 + i) % 5000 + 1)
  end
  return lines
end

--- Gives the worker requests at a steady rate. Returns the share of its core that it needed, and how many were
-- answered.
local function load(instance)
  local traffic = house.send_meanwhile({ "GET /1024" }, { rate = RATE, seconds = SECONDS, connections = 32 }, "traffic",
    CLIENT_CORE, house.PORT)
  local before, begun = machine.cpu_ns(instance.worker), machine.now_s()
  local taken, statuses = traffic()
  house.expect(statuses, 200)
  return (machine.cpu_ns(instance.worker) - before) / 1e9 / (machine.now_s() - begun), #taken
end

--- The same while the admin API is busy. Also returns answers and the share of its core that control took.
local function load_busy(instance, round)
  local reads = house.send_meanwhile(read_lines(), { rate = READS, seconds = SECONDS + 1, connections = CONNECTIONS },
    "reads", CLIENT_CORE)
  local writes = house.send_meanwhile(write_lines(round), { rate = WRITES, seconds = SECONDS + 1,
    connections = CONNECTIONS }, "writes", CLIENT_CORE)
  local before, begun = machine.cpu_ns(instance.control), machine.now_s()
  local used, answered = load(instance)
  local share = (machine.cpu_ns(instance.control) - before) / 1e9 / (machine.now_s() - begun)
  local read, read_statuses = reads()
  local written, write_statuses = writes()
  house.expect(read_statuses, 200)
  house.expect(write_statuses, 200, 202)
  return { used = used, answered = answered, share = share, read = read, written = written }
end

local function append(list, more)
  for _, value in ipairs(more) do list[#list + 1] = value end
end

local instance = house.start { routes = ROUTES, pools = POOLS, workers = 1 }
local ok, message = xpcall(function()
  for _, child in ipairs(machine.children(instance.pid)) do pin(child, CONTROL_CORE) end
  pin(instance.worker, WORKER_CORE)
  local used, busy_used, losses, shares, read, written = {}, {}, {}, {}, {}, {}
  load(instance)
  for round = 1, ROUNDS do
    local answered, busy
    used[round], answered = load(instance)
    busy = load_busy(instance, round)
    busy_used[round], shares[round] = busy.used, busy.share
    losses[round] = busy.used - used[round] * busy.answered / answered
    append(read, busy.read)
    append(written, busy.written)
  end
  local seconds = ROUNDS * (SECONDS + 1)
  print(("%d admin reads and %d durable writes a second (%d routes), control on one core, a worker on the other:")
    :format(READS, WRITES, ROUTES))
  print(("  answered: %.0f reads/s (%s), %.0f writes/s (%s); control took %.0f %% of its core"):format(#read / seconds,
    house.describe(read), #written / seconds, house.describe(written), machine.median(shares) * 100))
  local loss = machine.median(losses)
  print(("  the worker, %d requests/s: %.1f %% of its core without, %.1f %% with: loses %.1f %%; at most %.0f %%: %s")
    :format(RATE, machine.median(used) * 100, machine.median(busy_used) * 100, loss * 100, LIMIT * 100,
      loss <= LIMIT and "reached" or "MISSED"))
end, debug.traceback)
house.stop(instance)
if not ok then error(message, 0) end
