--- How soon a change at one of three nodes is live at all of them: 10,000 routes and 2,000 pools in a Redis of its own,
-- all on this machine. Each answer comes when all nodes have said that they serve the version, which is looked at
-- every 10 ms. Environment: CHANGES (100).
--
--     build/deps/bin/luajit spec/bench/cluster.lua       run by `make bench`, scenario `cluster`
local house = dofile "spec/bench/house.lua"
local machine = dofile "spec/bench/machine.lua"

local CHANGES = tonumber(os.getenv "CHANGES" or 100)
local ROUTES, POOLS, NODES, GOAL_MS = 10000, 2000, 3, 300
local REDIS, FIRST_PORT = 19120, 19121

local function start_redis()
  local folder = machine.WORK .. "/redis"
  machine.shell(("rm -rf %s && mkdir -p %s"):format(folder, folder))
  local pid = machine.start(("redis-server --port %d --bind 127.0.0.1 --save '' --appendonly yes --dir %s"):format(
    REDIS, folder), "redis")
  local ping = "for i in $(seq 100); do redis-cli -p %d ping >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1"
  assert(os.execute(ping:format(REDIS)) == 0, "redis-server does not answer")
  return pid
end

local function start_node(i)
  return house.start { name = "node" .. i, routes = ROUTES, pools = POOLS, workers = 1, port = FIRST_PORT + 2 * i,
    admin = FIRST_PORT + 2 * i + 1,
    more = ('master_key: "the same for all nodes of it"\nstore: { driver: redis, url: "redis://127.0.0.1:%d" }'):format(
      REDIS) }
end

local function bench(nodes)
  local lines = {}
  for i = 1, CHANGES do
    lines[i] = ('PATCH /api/routes/%s?wait=cluster {"priority":%d}'):format(house.route_name(i * 7919 % ROUTES + 1),
      i % 100 + 1)
  end
  local before = {}
  for i, node in ipairs(nodes) do before[i] = machine.cpu_ns(node.control) end
  local taken, statuses = house.send(lines, nil, FIRST_PORT + 3)
  house.expect(statuses, 200)
  local costs = {}
  for i, node in ipairs(nodes) do
    costs[i] = ("%.1f"):format((machine.cpu_ns(node.control) - before[i]) / 1e6 / CHANGES)
  end
  local p99 = machine.quantile(taken, 0.99)
  print(("until %d nodes serve it, of %d routes and %d pools: %d changes: %s; control of each node %s ms; "
    .. "goal %d ms: %s"):format(NODES, ROUTES, POOLS, #taken, house.describe(taken), table.concat(costs, ", "), GOAL_MS,
    p99 <= GOAL_MS and "reached" or "MISSED"))
end

local redis, nodes = start_redis(), {}
local ok, message = xpcall(function()
  for i = 1, NODES do nodes[i] = start_node(i) end
  bench(nodes)
end, debug.traceback)
for _, node in ipairs(nodes) do house.stop(node) end
machine.stop(redis)
if not ok then error(message, 0) end
