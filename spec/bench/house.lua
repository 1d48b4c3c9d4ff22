--- An instance of VeloFlux with many routes and pools in its store, for benchmarks of its control plane, and its
-- admin API as spec/bench/send.c uses it.
local machine = dofile "spec/bench/machine.lua"

local M = {}

local PORT, ADMIN = 19111, 19112
local SEND = "build/bench/send"
M.PORT, M.ADMIN = PORT, ADMIN

local function pool_name(i) return ("pool-%05d"):format(i) end
local function route_name(i) return ("route-%06d"):format(i) end
M.pool_name, M.route_name = pool_name, route_name

--- Writes a conf file that fills an empty store.
local function configure(folder, options)
  local lines = { "entities: seed", "workers: " .. (options.workers or 2), "data_dir: data",
    "log: { level: warn, access: { path: off } }",
    ("listeners: [ { name: http, address: 127.0.0.1:%d } ]"):format(options.port or PORT),
    ("admin: { address: 127.0.0.1:%d, auth: { password: bench } }"):format(options.admin or ADMIN),
    options.more or "", "pools:" }
  for i = 1, options.pools do
    lines[#lines + 1] = ("  - { name: %s, backends: [ { address: 127.0.0.1:%d }, { address: 127.0.0.2:%d } ] }")
      :format(pool_name(i), options.backend or 19100, options.backend or 19100)
  end
  lines[#lines + 1] = "routes:"
  for i = 1, options.routes do
    lines[#lines + 1] = ("  - { name: %s, host: h%d.example.com, path_prefix: /p%d, pool: %s }"):format(route_name(i),
      i % 1000, i, pool_name(i % options.pools + 1))
  end
  lines[#lines + 1] = '  - { name: any, host: "*", path_prefix: /, pool: ' .. pool_name(1) .. " }"
  machine.write(folder .. "/house.yaml", table.concat(lines, "\n") .. "\n")
end

--- Waits until the instance is ready (bounded).
local function await_ready(admin)
  local command = "for i in $(seq 600); do curl -sf -o /dev/null http://127.0.0.1:%d/ready && exit 0; sleep 0.1; "
    .. "done; exit 1"
  assert(os.execute(command:format(admin)) == 0, "the instance does not become ready")
end

--- Starts an instance.
-- @param options {routes, pools, workers (2), backend = port of all backends, prefix = of the command, such as taskset,
-- name ("house"), port, admin, more = further lines of the conf}
-- @return {pid, control, workers, folder}
function M.start(options)
  local name = options.name or "house"
  local folder = machine.WORK .. "/" .. name
  machine.shell(("rm -rf %s && mkdir -p %s"):format(folder, folder))
  configure(folder, options)
  local house = { folder = folder, pid = machine.start(("%s %s run -c %s/house.yaml"):format(options.prefix or "",
    machine.BINARY, folder), name) }
  await_ready(options.admin or ADMIN)
  house.control = assert(machine.child(house.pid, "control"), "no control process")
  house.worker = assert(machine.child(house.pid, "worker"), "no worker")
  return house
end

function M.stop(house) machine.stop(house.pid) end

--- Reads what send.c printed: lists of milliseconds and of statuses.
local function read_answers(text)
  local taken, statuses = {}, {}
  for status, us in text:gmatch "(%d+) (%d+) %d+\n" do
    taken[#taken + 1] = tonumber(us) / 1000
    statuses[status] = (statuses[status] or 0) + 1
  end
  return taken, statuses
end

--- Sends requests one after the other, or at a rate.
-- @param lines list of "METHOD PATH BODY"
-- @param pace nil, or {rate, seconds, connections}
-- @param admin nil, or the port of another instance than `start` makes by itself
-- @return milliseconds of each answer, and how many there were of each status
function M.send(lines, pace, admin)
  local path = machine.WORK .. "/requests"
  machine.write(path, table.concat(lines, "\n") .. "\n")
  local command = ("%s %d %s"):format(SEND, admin or ADMIN, path)
  if pace then command = ("%s %g %g %d"):format(command, pace.rate, pace.seconds, pace.connections) end
  return read_answers(machine.shell(command))
end

--- Sends one request. Returns what `send` does, and the content of the answer.
function M.ask(line)
  local path = machine.WORK .. "/house/request"
  local method, target, body = line:match "^(%S+) (%S+) ?(.*)$"
  machine.write(path, body)
  local out = machine.shell(("curl -s -u admin:bench -H 'Content-Type: application/json' -X %s --data-binary @%s "
    .. "-w '\n%%{http_code} %%{time_total}' 'http://127.0.0.1:%d%s'"):format(method, path, ADMIN, target))
  local text, status, seconds = out:match "^(.*)\n(%d+) ([%d.]+)$"
  return { tonumber(seconds) * 1000 }, { [status] = 1 }, text
end

--- Waits for the end of a batch (bounded).
function M.await_batch(id)
  for _ = 1, 3000 do
    local _, _, text = M.ask("GET /api/bulk/operations/" .. id)
    local status = text:match '"status":"(%a+)","succeeded"' or text:match '"status":"(completed)"'
    if status == "completed" then return end
    machine.shell "sleep 0.1"
  end
  error("the batch does not end: " .. id)
end

--- The same as `send` in the background: returns a function that waits for the end and gives the same.
-- @param core that the client is pinned to, or nil
-- @param port nil: that of the admin address
function M.send_meanwhile(lines, pace, name, core, port)
  local path = ("%s/%s.requests"):format(machine.WORK, name)
  machine.write(path, table.concat(lines, "\n") .. "\n")
  local pin = core and ("taskset -c %d "):format(core) or ""
  local pid = machine.start(("%s%s %d %s %g %g %d"):format(pin, SEND, port or ADMIN, path, pace.rate, pace.seconds,
    pace.connections), name)
  return function()
    machine.shell(("while kill -0 %d 2>/dev/null; do sleep 0.05; done"):format(pid))
    return read_answers(machine.read(("%s/%s.log"):format(machine.WORK, name)) or "")
  end
end

--- Returns how many turns of control's loop took longer than 10 ms so far, and the longest in milliseconds.
function M.stalls()
  local text = machine.shell(("curl -s http://127.0.0.1:%d/metrics"):format(ADMIN))
  local short = text:match 'control_loop_stall_seconds_bucket{le="0.01"} (%d+)'
  local all = text:match "control_loop_stall_seconds_count (%d+)"
  return tonumber(all) - tonumber(short), tonumber(text:match "control_loop_stall_max_seconds ([%d.e-]+)") * 1000
end

--- Fails unless all answers have one of the statuses.
function M.expect(statuses, ...)
  local allowed = {}
  for _, status in ipairs { ... } do allowed[tostring(status)] = true end
  for status, count in pairs(statuses) do
    assert(allowed[status], ("%d answers had the status %s"):format(count, status))
  end
end

--- Returns "p50 1.2, p99 3.4, max 5.6 ms".
function M.describe(taken)
  return ("p50 %.1f, p99 %.1f, max %.1f ms"):format(machine.quantile(taken, 0.5), machine.quantile(taken, 0.99),
    machine.quantile(taken, 1))
end

return M
