--- What TLS costs: handshakes, requests and bulk behind it, idle connections. VeloFlux, nginx and HAProxy (both on
-- OpenSSL) with one certificate, one worker each on the first core, in interleaved rounds. The figure of merit is the
-- worker's CPU time; ratios are to nginx. Environment: ROUNDS (5), SECONDS (2), ONLY as for `make bench`.
--
--     build/deps/bin/luajit spec/bench/tls.lua          run by `make bench`, scenarios `tls-...`
local machine = dofile "spec/bench/machine.lua"

local ROUNDS = tonumber(os.getenv "ROUNDS" or 5)
local SECONDS = tonumber(os.getenv "SECONDS" or 2)
local CLIENT = "build/bench/handshake"
local PORTS = { origin = 19140, veloflux = 19141, nginx = 19142, haproxy = 19143, admin = 19144 }
local PEERS = { "veloflux", "nginx", "haproxy" }
local IDLE, IDLE_GOAL_KIB, IDLE_AIM_KIB = 2000, 25, 14
local WORK = machine.WORK .. "/tls"

local SCENARIOS = {
  { name = "tls-ecdsa", title = "full TLS 1.3, ECDSA P-256", key = "ecdsa", loop = "1.3 full", limit = 0.77,
    aim = 0.57 },
  { name = "tls-resumed", title = "resumed TLS 1.3", key = "ecdsa", loop = "1.3 resumed", limit = 0.83, aim = 0.62 },
  { name = "tls-1.2", title = "full TLS 1.2, ECDSA P-256", key = "ecdsa", loop = "1.2 full", limit = 1, aim = 0.75 },
  { name = "tls-1k", title = "TLS keep-alive 1 KiB", key = "ecdsa", wrk = "-c64", path = "/1024", limit = 0.87,
    aim = 0.77 },
  { name = "tls-1m", title = "TLS 1 MiB answers", key = "ecdsa", wrk = "-c16", path = "/1048576", limit = 0.83,
    aim = 0.65 },
  { name = "h2-1", title = "h2, 1 KiB, 1 stream", key = "ecdsa", h2load = "-c64 -m1", path = "/1024", limit = 0.9,
    aim = 0.75 },
  { name = "h2-100", title = "h2, 1 KiB, 100 streams", key = "ecdsa", h2load = "-c4 -m100", path = "/1024", limit = 0.9,
    aim = 0.75 },
  { name = "tls-rsa", title = "full TLS 1.3, RSA-2048", key = "rsa", loop = "1.3 full", limit = 0.83, aim = 0.66 },
}

--- Makes a key and a certificate, alone and (for HAProxy) in one file.
local function make_certificate(name, algorithm)
  local command = "{ openssl req -x509 -newkey %s -nodes -days 2 -subj /CN=bench.example.com -addext "
    .. "subjectAltName=DNS:bench.example.com -keyout %s/%s.key -out %s/%s.crt && chmod 600 %s/%s.key && "
    .. "cat %s/%s.crt %s/%s.key >%s/%s.pem; }"
  local text = machine.shell(command:gsub("%%s/%%s", function() return WORK .. "/" .. name end):format(algorithm))
  assert(machine.read(WORK .. "/" .. name .. ".pem"), text)
end

local configure = {}

function configure.veloflux(key)
  machine.write(WORK .. "/veloflux.yaml", ([[
workers: 1
data_dir: veloflux-data
log: { level: warn, access: { path: off } }
listeners:
  - name: https
    address: 127.0.0.1:%d
    tls: { certificates: [ { cert: %s.crt, key: %s.key } ] }
admin: { address: 127.0.0.1:%d, auth: { enabled: false } }
pools: [ { name: web, backends: [ { address: 127.0.0.1:%d } ] } ]
routes: [ { name: default, host: "*", path_prefix: /, pool: web } ]
]]):format(PORTS.veloflux, key, key, PORTS.admin, PORTS.origin))
  return ("taskset -c 0 %s run -c %s/veloflux.yaml"):format(machine.BINARY, WORK)
end

function configure.nginx(key)
  local text = [[
worker_processes 1; worker_rlimit_nofile 20000; pid @/nginx.pid; error_log @/nginx-error.log; daemon off;
events { worker_connections 19000; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; proxy_max_temp_file_size 0;
  client_body_temp_path @/nginx-body; proxy_temp_path @/nginx-proxy;
  fastcgi_temp_path @/nginx-f; uwsgi_temp_path @/nginx-u; scgi_temp_path @/nginx-s;
  ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate @/KEY.crt; ssl_certificate_key @/KEY.key;
  upstream origin { server 127.0.0.1:ORIGIN; keepalive 256; keepalive_requests 1000000000; }
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Via "1.1 nginx";
  server { listen 127.0.0.1:PORT ssl http2 backlog=4096; location / { proxy_pass http://origin; } }
}
]]
  machine.write(WORK .. "/nginx.conf", (text:gsub("@", WORK):gsub("KEY", key):gsub("ORIGIN", PORTS.origin)
    :gsub("PORT", PORTS.nginx)))
  return ("taskset -c 0 nginx -c %s/nginx.conf"):format(WORK)
end

function configure.haproxy(key)
  machine.write(WORK .. "/haproxy.cfg", ([[
global
  nbthread 1
  maxconn 9000
  no strict-limits
  tune.maxrewrite 1024
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout connect 3s
  timeout client 600s
  timeout server 60s
  timeout http-keep-alive 600s
  option forwardfor
  http-reuse always
frontend https
  bind 127.0.0.1:%d backlog 4096 ssl crt %s/%s.pem alpn h2,http/1.1
  http-request set-header Via "1.1 haproxy"
  default_backend web
backend web
  server origin 127.0.0.1:%d maxconn 10000 pool-max-conn 256
]]):format(PORTS.haproxy, WORK, key, PORTS.origin))
  return ("taskset -c 0 haproxy -db -f %s/haproxy.cfg"):format(WORK)
end

--- Waits until something answers (bounded).
local function await(port)
  local command = "for i in $(seq 200); do curl -sk -o /dev/null https://127.0.0.1:%d/64 && exit 0; sleep 0.05; "
    .. "done; exit 1"
  assert(os.execute(command:format(port)) == 0, "nothing answers on port " .. port)
end

local function start_peer(peer, key)
  local pid = machine.start(configure[peer](key), peer)
  await(PORTS[peer])
  if peer == "haproxy" then return { pid = pid, worker = pid } end
  local worker = peer == "nginx" and machine.children(pid)[1] or machine.child(pid, "worker")
  return { pid = pid, worker = assert(worker, "no worker of " .. peer) }
end

local function with_peers(key, run)
  local running = {}
  local ok, message = xpcall(function()
    for _, peer in ipairs(PEERS) do running[peer] = start_peer(peer, key) end
    run(running)
  end, debug.traceback)
  for _, process in pairs(running) do machine.stop(process.pid) end
  if not ok then error(message, 0) end
end

--- Drives one peer. Returns how many handshakes or requests there were.
local function drive(peer, scenario)
  if scenario.loop then
    local text = machine.shell(("taskset -c 1 %s loop %d %d %s"):format(CLIENT, PORTS[peer], SECONDS, scenario.loop))
    local count, resumed = text:match "^(%d+) (%d+)"
    assert(count, peer .. ": " .. text)
    local wants = scenario.loop:find "resumed" and count - 1 or 0
    assert(tonumber(resumed) == wants, ("%s resumed %s of %s"):format(peer, resumed, count))
    return tonumber(count)
  end
  if scenario.h2load then
    local text = machine.shell(("taskset -c 1 h2load %s -D %d https://127.0.0.1:%d%s"):format(scenario.h2load, SECONDS,
      PORTS[peer], scenario.path))
    assert(text:find "Application protocol: h2" and text:find " 0 failed", peer .. ": " .. text)
    return tonumber(text:match "(%d+) succeeded")
  end
  local text = machine.shell(("taskset -c 1 wrk -t1 %s -d%d https://127.0.0.1:%d%s"):format(scenario.wrk, SECONDS,
    PORTS[peer], scenario.path))
  assert(not text:find "Non%-2xx" and text:find "requests in", peer .. ": " .. text)
  return tonumber(text:match "(%d+) requests in")
end

local function measure(peer, process, scenario)
  local before = machine.cpu_ns(process.worker)
  local count = drive(peer, scenario)
  return (machine.cpu_ns(process.worker) - before) / 1000 / count, count / SECONDS
end

local function bench(scenario, running)
  local cpu, rate, ratios = {}, {}, {}
  for _, peer in ipairs(PEERS) do cpu[peer], rate[peer] = {}, {} end
  for i = 1, ROUNDS do
    for _, peer in ipairs(PEERS) do cpu[peer][i], rate[peer][i] = measure(peer, running[peer], scenario) end
    ratios[i] = cpu.veloflux[i] / cpu.nginx[i]
  end
  for _, peer in ipairs(PEERS) do
    print(("%-28s %-9s %9.0f/s %9.1f us"):format(peer == "veloflux" and scenario.title or "", peer,
      machine.median(rate[peer]), machine.median(cpu[peer])))
  end
  local ratio = machine.median(ratios)
  print(("%-28s of nginx %.2f, at most %.2f, aim %.2f: %s"):format("", ratio, scenario.limit, scenario.aim,
    ratio <= scenario.limit and "reached" or "MISSED"))
  io.flush()
end

--- Memory of a worker for each connection that has had one request, in KiB.
local function idle_memory(peer, process)
  local before = machine.pss_kib(process.worker)
  local pid = machine.start(("%s idle %d %d"):format(CLIENT, PORTS[peer], IDLE), "idle-" .. peer)
  local log = ("%s/idle-%s.log"):format(machine.WORK, peer)
  machine.shell(("for i in $(seq 600); do grep -q ready %s && break; sleep 0.1; done"):format(log))
  assert((machine.read(log) or ""):find "ready", machine.read(log))
  local grown = machine.pss_kib(process.worker) - before
  machine.stop(pid)
  return grown / IDLE
end

local function bench_idle(running)
  print(("%d idle TLS 1.3 connections, user memory of each:"):format(IDLE))
  local memory = {}
  for _, peer in ipairs(PEERS) do
    memory[peer] = idle_memory(peer, running[peer])
    print(("  %-9s %6.1f KiB"):format(peer, memory[peer]))
  end
  print(("  at most %d KiB, aim %d: %s"):format(IDLE_GOAL_KIB, IDLE_AIM_KIB,
    memory.veloflux <= IDLE_GOAL_KIB and "reached" or "MISSED"))
  io.flush()
end

local wanted = {}
for _, scenario in ipairs(SCENARIOS) do
  if machine.wanted(scenario.name) or machine.wanted(scenario.h2load and "h2" or "tls") then
    wanted[scenario.key] = wanted[scenario.key] or {}
    table.insert(wanted[scenario.key], scenario)
  end
end
local wants_idle = machine.wanted "tls-idle" or machine.wanted "tls"
if wants_idle then wanted.ecdsa = wanted.ecdsa or {} end
if not next(wanted) then return end

machine.shell(("rm -rf %s && mkdir -p %s"):format(WORK, WORK))
make_certificate("ecdsa", "ec -pkeyopt ec_paramgen_curve:P-256")
make_certificate("rsa", "rsa:2048")
local origin = machine.start(("taskset -c 1 %s origin %d"):format(machine.TOOL, PORTS.origin), "tls-origin")
machine.await(PORTS.origin)
local ok, message = xpcall(function()
  print("\nTLS: CPU of the worker per handshake (with one request) or per request")
  for _, key in ipairs { "ecdsa", "rsa" } do
    if wanted[key] then
      with_peers(key, function(running)
        for _, scenario in ipairs(wanted[key]) do bench(scenario, running) end
        if key == "ecdsa" and wants_idle then bench_idle(running) end
      end)
    end
  end
end, debug.traceback)
machine.stop(origin)
if not ok then error(message, 0) end
