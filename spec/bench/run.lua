--- Benchmarks VeloFlux, nginx and HAProxy in interleaved rounds and prints medians and ratios.
-- Each proxy has one worker pinned to the first core; client and origin share the second. The figure
-- of merit is CPU time of the proxy per request (user + system, from the scheduler's accounting).
-- Environment: ROUNDS (5), SECONDS (2) per measurement, ONLY="1k 64k" scenarios, VF_BINARY, VF_LIBRARY.
local ROUNDS = tonumber(os.getenv "ROUNDS" or 5)
local SECONDS = tonumber(os.getenv "SECONDS" or 2)
local machine = dofile "spec/bench/machine.lua"
local shell, read, write, start, stop = machine.shell, machine.read, machine.write, machine.start, machine.stop
local children, await, cpu_ns, pss_kib = machine.children, machine.await, machine.cpu_ns, machine.pss_kib
local median, wanted = machine.median, machine.wanted
local BINARY, TOOL, WORK = machine.BINARY, machine.TOOL, machine.WORK
local PORTS = { origin = 19100, veloflux = 19101, nginx = 19102, haproxy = 19103, admin = 19104,
  plain = 19105, plain_admin = 19106, relay = 19107 }
local PEERS = { "veloflux", "nginx", "haproxy" }
-- Scenarios with `limit_by_relay` run a fourth that reads nothing of what it forwards: the least that a proxy can cost.
local WITH_RELAY = { "veloflux", "nginx", "haproxy", "relay" }
local function peers_of(scenario) return scenario.limit_by_relay and WITH_RELAY or PEERS end

-- Configurations: the same features for all, no access log, kept upstream connections

local function hosts_and_prefixes(n)
  local routes = {}
  if n == 0 then return routes end
  local hosts = math.max(1, math.floor(math.sqrt(n)))
  for h = 1, hosts do
    for p = 1, math.floor(n / hosts) do
      routes[#routes + 1] = { host = ("h%d.example.com"):format(h), prefix = ("/p%d"):format(p) }
    end
  end
  return routes
end

local configure = {}

function configure.veloflux(routes, extra, workers)
  local lines = {
    "workers: " .. (workers or 1), "data_dir: veloflux-data", "log: { level: warn, access: { path: off } }",
    ("listeners: [ { name: http, address: 127.0.0.1:%d } ]"):format(PORTS.veloflux),
    ("admin: { address: 127.0.0.1:%d, auth: { enabled: false } }"):format(PORTS.admin),
    "pools:", "  - { name: web, backends: [ { address: 127.0.0.1:" .. PORTS.origin .. " } ] }",
    "routes:", '  - { name: default, host: "*", path_prefix: /, pool: web }',
  }
  for i, route in ipairs(routes) do
    lines[#lines + 1] = ("  - { name: r%d, host: %s, path_prefix: %s, pool: web }"):format(i, route.host, route.prefix)
  end
  if extra then
    lines[#lines + 1] = "  - { name: new, host: new.example.com, path_prefix: /, respond: { status: 299, body: new } }"
  end
  write(WORK .. "/veloflux.yaml", table.concat(lines, "\n") .. "\n")
end

function configure.nginx(routes, extra)
  local by_host, order = {}, {}
  for _, route in ipairs(routes) do
    if not by_host[route.host] then
      by_host[route.host] = {}
      order[#order + 1] = route.host
    end
    table.insert(by_host[route.host], ("location %s/ { proxy_pass http://origin; }"):format(route.prefix))
  end
  local servers = {}
  for _, host in ipairs(order) do
    servers[#servers + 1] = ("server { listen 127.0.0.1:%d; server_name %s; %s }"):format(PORTS.nginx, host,
      table.concat(by_host[host], "\n"))
  end
  if extra then
    servers[#servers + 1] = ("server { listen 127.0.0.1:%d; server_name new.example.com; return 299 new; }")
      :format(PORTS.nginx)
  end
  write(WORK .. "/nginx.conf", ([[
worker_processes 1; worker_rlimit_nofile 20000; pid %s/nginx.pid; error_log %s/nginx-error.log; daemon off;
events { worker_connections 19000; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 0;
  server_names_hash_max_size 4096; variables_hash_max_size 2048;
  proxy_max_temp_file_size 0; proxy_request_buffering off;
  client_body_temp_path %s/nginx-body; proxy_temp_path %s/nginx-proxy;
  fastcgi_temp_path %s/nginx-f; uwsgi_temp_path %s/nginx-u; scgi_temp_path %s/nginx-s;
  upstream origin { server 127.0.0.1:%d; keepalive 256; keepalive_requests 1000000000; }
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Via "1.1 nginx";
  server { listen 127.0.0.1:%d default_server backlog=4096; location / { proxy_pass http://origin; } }
  %s
}]]):format(WORK, WORK, WORK, WORK, WORK, WORK, WORK, PORTS.origin, PORTS.nginx, table.concat(servers, "\n")))
end

function configure.haproxy(routes, extra)
  local map = {}
  for _, route in ipairs(routes) do map[#map + 1] = ("%s%s/ web"):format(route.host, route.prefix) end
  write(WORK .. "/routes.map", table.concat(map, "\n") .. "\n")
  write(WORK .. "/haproxy.cfg", ([[
global
  nbthread 1
  maxconn 9800
  no strict-limits
  %s
defaults
  mode http
  timeout connect 3s
  timeout client 600s
  timeout server 60s
  timeout http-keep-alive 600s
  option forwardfor
  http-reuse always
frontend http
  bind 127.0.0.1:%d backlog 4096
  http-request set-header Via "1.1 haproxy"
  %s
  %s
  default_backend web
backend web
  server origin 127.0.0.1:%d maxconn 10000 pool-max-conn 256
]]):format("tune.maxrewrite 1024", PORTS.haproxy,
    extra and 'http-request return status 200 hdr x-new 1 string new if { req.hdr(host) -i new.example.com }' or "",
    #routes > 0 and ("use_backend %%[base,map_beg(%s/routes.map,web)]"):format(WORK) or "", PORTS.origin))
end

-- Processes

local run = {}
local function run_veloflux(port, log)
  local pid = start(("taskset -c 0 %s run -c %s/veloflux.yaml"):format(BINARY, WORK), log)
  await(port)
  return { pid = pid, worker = assert(machine.child(pid, "worker"), "no worker of veloflux") }
end
function run.veloflux() return run_veloflux(PORTS.veloflux, "veloflux") end
function run.plain() return run_veloflux(PORTS.plain, "plain") end
function run.nginx()
  local pid = start(("taskset -c 0 nginx -c %s/nginx.conf"):format(WORK), "nginx")
  await(PORTS.nginx)
  return { pid = pid, worker = children(pid)[1] }
end
function run.haproxy()
  local pid = start(("taskset -c 0 haproxy -db -f %s/haproxy.cfg"):format(WORK), "haproxy")
  await(PORTS.haproxy)
  return { pid = pid, worker = pid }
end
function run.relay()
  local pid = start(("taskset -c 0 build/bench/relay %d %d"):format(PORTS.relay, PORTS.origin), "relay")
  await(PORTS.relay)
  return { pid = pid, worker = pid }
end

--- One run of wrk: its output, the requests answered, and the CPU time that the worker spent.
local function wrk(peer, process, scenario)
  local before = cpu_ns(process.worker)
  local text = shell(("taskset -c 1 wrk -t1 -c%d -d%d --latency %s http://127.0.0.1:%d%s"):format(scenario.connections,
    SECONDS, scenario.options or "", PORTS[peer], scenario.path))
  return text, tonumber(text:match "(%d+) requests in") or 0, cpu_ns(process.worker) - before
end

--- One measurement. Returns requests/s, CPU us per request, p50 and p99 in ms. A run in which a proxy
-- answers nothing at all is noted and repeated, at most twice.
local function load(peer, process, scenario)
  local text, requests, spent
  for _ = 1, 3 do
    text, requests, spent = wrk(peer, process, scenario)
    if requests > 0 then break end
    io.write("  ! ", peer, " answered no request in ", SECONDS, " s\n")
  end
  assert(requests > 0, text)
  local function latency(which)
    local value, unit = text:match(which .. "%%%s+([%d.]+)(%a+)")
    return value and tonumber(value) * (({ us = 0.001, ms = 1, s = 1000 })[unit] or 1) or 0
  end
  assert(not text:find "Non%-2xx", peer .. ": " .. text)
  return { rps = tonumber(text:match "Requests/sec:%s*([%d.]+)"), cpu = spent / 1000 / requests,
    p50 = latency "50", p99 = latency "99" }
end

write(WORK .. "/close.lua", 'wrk.headers["Connection"] = "close"\n')
write(WORK .. "/post.lua", 'wrk.method = "POST"\nwrk.body = string.rep("x", 4096)\n')
-- Ten thousand requests in random order, over all of these hosts and prefixes: wrk does the same for few and many.
local function write_requests(hosts, prefixes)
  write(WORK .. "/routes.lua", ([[
local n, requests, hosts, prefixes = 0, {}, %d, %d
for i = 0, 9999 do
  requests[i + 1] = ("GET /p%%d/1024 HTTP/1.1\r\nHost: h%%d.example.com\r\n\r\n"):format(
    i %% prefixes + 1, math.floor(i / prefixes) %% hosts + 1)
end
for i = #requests, 2, -1 do local j = math.random(i) requests[i], requests[j] = requests[j], requests[i] end
function request() n = n %% #requests + 1 return requests[n] end
]]):format(hosts, prefixes))
end

local SCENARIOS = {
  { name = "1k", title = "1 KiB keep-alive, 64 connections", connections = 64, path = "/1024",
    limit = 0.91, aim = 0.83, limit_by_relay = true },
  { name = "64k", title = "64 KiB answers, 64 connections", connections = 64, path = "/65536",
    limit = 0.80, aim = 0.71 },
  { name = "1m", title = "1 MiB answers, 16 connections", connections = 16, path = "/1048576",
    limit = 0.74, aim = 0.55 },
  { name = "connect", title = "new connection per request", connections = 64, path = "/1024",
    options = "-s " .. WORK .. "/close.lua", limit = 0.95, aim = 0.80 },
  { name = "post", title = "4 KiB POST, 1 KiB answers", connections = 64, path = "/1024",
    options = "-s " .. WORK .. "/post.lua", limit = 0.77, aim = 0.69, limit_by_relay = true },
}

local running = {}
local function start_all(routes)
  for _, peer in ipairs(PEERS) do
    configure[peer](routes)
    running[peer] = run[peer]()
  end
end
local function stop_all()
  for peer, process in pairs(running) do
    stop(process.pid)
    running[peer] = nil
  end
end

--- Runs a scenario in interleaved rounds. Returns medians by peer and the median of the ratios to the
-- better peer of the same round.
local function compare(scenario)
  local samples, ratios, peers = {}, {}, peers_of(scenario)
  for _, peer in ipairs(peers) do samples[peer], ratios[peer] = { rps = {}, cpu = {}, p50 = {}, p99 = {} }, {} end
  for _ = 1, ROUNDS do
    local round = {}
    for _, peer in ipairs(peers) do
      round[peer] = load(peer, running[peer], scenario)
      for key, value in pairs(round[peer]) do table.insert(samples[peer][key], value) end
    end
    for _, peer in ipairs(peers) do
      table.insert(ratios[peer], round[peer].cpu / math.min(round.nginx.cpu, round.haproxy.cpu))
    end
  end
  local result = {}
  for _, peer in ipairs(peers) do
    result[peer] = { ratio = median(ratios[peer]) }
    for key, values in pairs(samples[peer]) do result[peer][key] = median(values) end
  end
  return result
end

local function print_header()
  print(("%-36s %-9s %10s %9s %9s %9s %8s"):format(
    "scenario", "proxy", "requests/s", "cpu us", "p50 ms", "p99 ms", "ratio"))
end

local function print_result(scenario, result)
  for _, peer in ipairs(peers_of(scenario)) do
    local row = result[peer]
    local ratio = (peer == "veloflux" or peer == "relay") and ("%.2f"):format(row.ratio) or ""
    print(("%-36s %-9s %10.0f %9.1f %9.2f %9.2f %8s"):format(peer == "veloflux" and scenario.title or "", peer, row.rps,
      row.cpu, row.p50, row.p99, ratio))
  end
  if scenario.limit then
    print(("%-36s at most %.2f, aim %.2f: %s"):format("", scenario.limit, scenario.aim,
      result.veloflux.ratio <= scenario.limit and "reached" or "MISSED"))
  end
  io.flush()
end

local function bench_requests()
  local list = {}
  for _, scenario in ipairs(SCENARIOS) do
    if wanted(scenario.name) then list[#list + 1] = scenario end
  end
  if #list == 0 then return end
  start_all {}
  running.relay = run.relay()
  print_header()
  for _, scenario in ipairs(list) do print_result(scenario, compare(scenario)) end
  stop_all()
end

local function bench_idle()
  if not wanted "idle" then return end
  local limit = tonumber(shell("ulimit -Hn"):match "%d+") or 20000
  local count = math.min(9500, math.floor(limit / 2) - 500)
  print(("\n%-9s %28s %28s %22s"):format(
    "proxy", "worker at start, KiB", ("with %d idle, KiB"):format(count), "per connection, bytes"))
  for _, peer in ipairs(PEERS) do
    configure[peer] {}
    local process = run[peer]()
    local before = pss_kib(process.worker)
    local client = start(("sh -c 'ulimit -n %d; exec %s idle %d %d'"):format(limit, TOOL, PORTS[peer], count), "idle")
    for _ = 1, 600 do
      if (read(WORK .. "/idle.log") or "") ~= "" then break end
      shell "sleep 0.1"
    end
    local report = read(WORK .. "/idle.log") or ""
    local after = pss_kib(process.worker)
    print(("%-9s %28d %28d %22.0f %s"):format(peer, before, after, (after - before) * 1024 / count,
      report:match "ready" and "" or "! " .. report))
    stop(client)
    stop(process.pid)
  end
end

local function bench_routes()
  if not wanted "routes" then return end
  print "\n10,000 routes (100 hosts x 100 prefixes) against 10:"
  local scripted = { connections = 64, path = "/", options = "-s " .. WORK .. "/routes.lua" }
  local few, many = setmetatable({ title = "10 routes" }, { __index = scripted }),
    setmetatable({ title = "10,000 routes" }, { __index = scripted })
  print_header()
  write_requests(3, 3)
  start_all(hosts_and_prefixes(9))
  local first = compare(few)
  print_result(few, first)
  stop_all()
  write_requests(100, 100)
  start_all(hosts_and_prefixes(10000))
  local second = compare(many)
  print_result(many, second)
  for _, peer in ipairs(PEERS) do
    print(("  %-9s growth %+.1f %%, worker %.1f MiB"):format(peer,
      (second[peer].cpu / first[peer].cpu - 1) * 100, pss_kib(running[peer].worker) / 1024))
  end
  stop_all()
end

local RELOAD = {
  veloflux = function() return ("%s reload -c %s/veloflux.yaml"):format(BINARY, WORK) end,
  nginx = function(process) return "kill -HUP " .. process.pid end,
}

local function bench_reload()
  if not wanted "reload" then return end
  print "\nreload with 10,000 routes: until the new configuration answers, slowest probe, failed probes"
  local routes = hosts_and_prefixes(10000)
  for _, peer in ipairs { "veloflux", "nginx" } do
    local live, slowest, failed = {}, {}, 0
    configure[peer](routes)
    local process = run[peer]()
    for _ = 1, ROUNDS do
      configure[peer](routes, true)
      start(RELOAD[peer](process), "reload")
      local output = shell(("taskset -c 1 %s probe %d new.example.com / 299 10000"):format(TOOL, PORTS[peer]))
      local a, b, c = output:match "([%d.]+) ([%d.]+) (%d+)"
      live[#live + 1], slowest[#slowest + 1], failed = tonumber(a), tonumber(b), failed + tonumber(c)
      configure[peer](routes)
      shell(RELOAD[peer](process) .. "; sleep 0.5")
    end
    print(("  %-9s live after %.0f ms, slowest probe %.1f ms, failed %d"):format(
      peer, median(live), median(slowest), failed))
    stop(process.pid)
  end
end

local origin
local function start_origin(core)
  if origin then stop(origin) end
  origin = start(("taskset -c %d %s origin %d"):format(core, TOOL, PORTS.origin), "origin")
  await(PORTS.origin)
end

local WORKERS_GOAL, WORKERS_CORES = 1.7, 4

--- Starts VeloFlux with so many workers, each with a core, and measures requests/s; client and origin have cores of
-- their own. Also returns how busy the origin was, from 0 to 1: near 1 it was the limit.
local function throughput(workers)
  configure.veloflux({}, nil, workers)
  local pid = start(("taskset -c 0-%d %s run -c %s/veloflux.yaml"):format(workers - 1, BINARY, WORK), "veloflux")
  await(PORTS.veloflux)
  local before = cpu_ns(origin)
  local text = shell(("taskset -c 2 wrk -t1 -c128 -d%d http://127.0.0.1:%d/1024"):format(SECONDS, PORTS.veloflux))
  local busy = (cpu_ns(origin) - before) / (SECONDS * 1e9)
  stop(pid)
  return assert(tonumber(text:match "Requests/sec:%s*([%d.]+)"), text), busy
end

local function bench_workers()
  if not wanted "workers" then return end
  local cores = tonumber(shell("nproc"):match "%d+")
  print "\ntwo workers against one, 1 KiB keep-alive, 128 connections"
  if cores < WORKERS_CORES then
    print(("  needs %d cores (two workers, client, origin); here are %d"):format(WORKERS_CORES, cores))
    return
  end
  start_origin(3)
  local one, two, ratios, busiest = {}, {}, {}, 0
  for i = 1, ROUNDS do
    local busy
    one[i] = throughput(1)
    two[i], busy = throughput(2)
    ratios[i], busiest = two[i] / one[i], math.max(busiest, busy)
  end
  print(("  one %.0f requests/s, two %.0f, ratio %.2f (origin up to %.0f %% busy)"):format(median(one), median(two),
    median(ratios), busiest * 100))
  print(("  at least %.1f: %s"):format(WORKERS_GOAL, median(ratios) >= WORKERS_GOAL and "reached" or "MISSED"))
end

-- Plugins: the same work in three scripting engines

local lua_peers = dofile "spec/bench/lua_peers.lua"
local PLUGINS = WORK:gsub("/build/bench$", "") .. "/spec/bench/plugins"
local PLUGIN_WORK = {
  { name = "plugin", work = "small", title = "small plugin", limit = 0.85, aim = 0.75, peers = { "nginx", "haproxy" } },
  { name = "chain", work = "chain", title = "auth, limit, headers, CORS", limit = 1, aim = 0.9, peers = { "nginx" } },
}
local PLUGIN_COST_US, PLUGIN_COST_AIM_US = 1.5, 0.5 -- of the small plugin, over none

local function start_plugin_peer(peer, work)
  local ports = PORTS
  if peer == "plain" then
    ports = setmetatable({ veloflux = PORTS.plain, admin = PORTS.plain_admin }, { __index = PORTS })
    write(WORK .. "/veloflux.yaml", lua_peers.veloflux(ports, PLUGINS, "none", "plain-data"))
  elseif peer == "veloflux" then
    write(WORK .. "/veloflux.yaml", lua_peers.veloflux(ports, PLUGINS, work, "veloflux-data"))
  elseif peer == "nginx" then
    local conf, modules = lua_peers.nginx(ports, WORK, work)
    write(WORK .. "/nginx.conf", conf)
    for name, text in pairs(modules) do write(("%s/%s.lua"):format(WORK, name), text) end
  else
    local conf, script = lua_peers.haproxy(ports, WORK, work)
    write(WORK .. "/haproxy.cfg", conf)
    write(WORK .. "/bench.lua", script)
  end
  return run[peer]()
end

--- Runs one work in interleaved rounds against the peers, VeloFlux without plugins among them.
local function bench_plugin_work(scenario)
  local peers = { "plain", "veloflux", unpack(scenario.peers) }
  local load_of = { connections = 64, path = "/1024", options = lua_peers.OPTIONS[scenario.work] }
  for _, peer in ipairs(peers) do running[peer] = start_plugin_peer(peer, scenario.work) end
  local cpu, costs, ratios = {}, {}, {}
  for _, peer in ipairs(peers) do cpu[peer] = {} end
  for i = 1, ROUNDS do
    local round = {}
    for _, peer in ipairs(peers) do
      round[peer] = load(peer, running[peer], load_of).cpu
      cpu[peer][i] = round[peer]
    end
    costs[i], ratios[i] = round.veloflux - round.plain, round.veloflux / round.nginx
  end
  for _, peer in ipairs(peers) do
    print(("%-28s %-9s %9.1f us"):format(peer == "plain" and scenario.title or "",
      peer == "plain" and "(none)" or peer, median(cpu[peer])))
    stop(running[peer].pid)
    running[peer] = nil
  end
  local ratio, cost = median(ratios), median(costs)
  print(("%-28s of nginx %.2f, at most %.2f, aim %.2f: %s; costs %.2f us over none%s"):format("", ratio, scenario.limit,
    scenario.aim, ratio <= scenario.limit and "reached" or "MISSED", cost, scenario.work ~= "small" and "" or
    (", at most %.1f, aim %.1f: %s"):format(PLUGIN_COST_US, PLUGIN_COST_AIM_US,
      cost <= PLUGIN_COST_US and "reached" or "MISSED")))
  io.flush()
end

local function bench_plugins()
  for _, scenario in ipairs(PLUGIN_WORK) do
    if wanted(scenario.name) then
      print("\nplugins: CPU per request, 1 KiB keep-alive, 64 connections")
      bench_plugin_work(scenario)
    end
  end
end

local function bench_script(script)
  local command = ("build/deps/bin/luajit spec/bench/%s.lua"):format(script)
  assert(os.execute(command) == 0, command .. " failed")
end

--- Runs measurements of their own, for a scenario.
local function bench_scripts(scenario, scripts)
  if not wanted(scenario) then return end
  print ""
  io.flush()
  for _, script in ipairs(scripts) do bench_script(script) end
end

--- The control plane, each by a script of its own.
local function bench_control()
  if wanted "change" or wanted "bulk" or wanted "lists" or wanted "revoke" then bench_script "change" end
  if wanted "admin" then bench_script "admin_load" end
  if wanted "history" then bench_script "history" end
  if wanted "cluster" then bench_script "cluster" end
  if wanted "channels" then bench_script "channels" end
end

start_origin(1)
local ok, err = xpcall(function()
  bench_requests()
  bench_idle()
  bench_routes()
  bench_reload()
  bench_workers()
  bench_scripts("shared", { "shared", "plugin_memory" })
  bench_plugins()
  bench_scripts("guard", { "guard" })
  bench_control()
  bench_script "tls"
end, debug.traceback)
stop_all()
stop(origin)
if not ok then
  io.stderr:write(err, "\n")
  os.exit(1)
end
