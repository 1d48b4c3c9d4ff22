--- Configurations for the comparison of plugins: the same work in VeloFlux's plugins, nginx's Lua module and
-- HAProxy's Lua. Work is "none", "small" (spec/bench/plugins/small) or "chain": an API key, a rate limit,
-- header edits and CORS, in VeloFlux with its own plugins, in nginx with code written for just this.
local M = {}

local KEY = "bench-key-0123456789"

--- The request header that the work needs, as wrk's options.
M.OPTIONS = { none = "", small = "-H 'X-User: ana'",
  chain = ("-H 'apikey: %s' -H 'Origin: https://app.example.com'"):format(KEY) }

local CHAIN = ([[
    plugins:
      - { name: key-auth }
      - { name: rate-limiting, config: { hour: 1000000000, policy: local } }
      - name: request-transformer
        config: { remove: { headers: [x-internal] }, add: { headers: ["x-plan:gold", "x-zone:eu"] } }
      - { name: cors, config: { origins: ["https://app.example.com"], credentials: true } }
consumers:
  - { name: bench, credentials: [ { type: key-auth, key: "%s" } ] }
]]):format(KEY)

local PLUGINS = { none = "", small = "    plugins: [ { name: small } ]\n", chain = CHAIN }

--- @param ports {veloflux, admin, origin}
function M.veloflux(ports, folder, work, data_dir)
  return ([[
workers: 1
data_dir: %s
plugin_path: [%s]
log: { level: warn, access: { path: off } }
listeners: [ { name: http, address: 127.0.0.1:%d } ]
admin: { address: 127.0.0.1:%d, auth: { enabled: false } }
pools:
  - { name: web, backends: [ { address: 127.0.0.1:%d } ] }
routes:
  - name: default
    pool: web
%s]]):format(data_dir, folder, ports.veloflux, ports.admin, ports.origin, PLUGINS[work])
end

local NGINX = {
  none = "",
  small = [[
    access_by_lua_block {
      local names = require "bench_names"
      local set = ngx.req.set_header
      set("X-Name", names[ngx.var.http_x_user] or "nobody")
      set("X-Plan", "gold")
    }
    header_filter_by_lua_block { ngx.header["X-Served-By"] = "gateway" }]],
  chain = [[
    access_by_lua_block {
      local keys = require "bench_keys"
      local key = ngx.var.http_apikey
      local consumer = key and keys[key]
      if not consumer then
        ngx.header["WWW-Authenticate"] = 'Key realm="kong"'
        return ngx.exit(401)
      end
      local set = ngx.req.set_header
      set("X-Consumer-ID", consumer.id)
      set("X-Consumer-Username", consumer.name)
      set("X-Credential-Identifier", consumer.id)
      ngx.req.clear_header("X-Anonymous-Consumer")
      local now = ngx.time()
      local window = now - now % 3600
      local count = ngx.shared.limits:incr(consumer.name .. ":" .. window, 1, 0, 3600)
      if count > 1000000000 then return ngx.exit(429) end
      ngx.ctx.remaining, ngx.ctx.reset = 1000000000 - count, window + 3600 - now
      ngx.req.clear_header("X-Internal")
      if not ngx.var.http_x_plan then set("X-Plan", "gold") end
      if not ngx.var.http_x_zone then set("X-Zone", "eu") end
    }
    header_filter_by_lua_block {
      local header, ctx = ngx.header, ngx.ctx
      header["RateLimit-Limit"] = 1000000000
      header["RateLimit-Remaining"] = ctx.remaining
      header["RateLimit-Reset"] = ctx.reset
      header["X-RateLimit-Limit-Hour"] = 1000000000
      header["X-RateLimit-Remaining-Hour"] = ctx.remaining
      if ngx.var.http_origin == "https://app.example.com" then
        header["Access-Control-Allow-Origin"] = "https://app.example.com"
        header["Access-Control-Allow-Credentials"] = "true"
      end
      header["Vary"] = "Origin"
    }]],
}

--- @return the conf, and modules to write beside it: name -> text
function M.nginx(ports, folder, work)
  local modules = { bench_names = 'return { ana = "Ana Maria", bob = "Robert" }\n',
    bench_keys = ('return { ["%s"] = { id = "bench", name = "bench" } }\n'):format(KEY) }
  return ([[
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
worker_processes 1; worker_rlimit_nofile 20000; pid FOLDER/nginx.pid; error_log FOLDER/nginx-error.log; daemon off;
events { worker_connections 19000; }
http {
  lua_package_path "FOLDER/?.lua;/usr/share/lua/5.1/?.lua;;";
  lua_shared_dict limits 10m;
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 0;
  proxy_max_temp_file_size 0;
  client_body_temp_path FOLDER/nginx-body; proxy_temp_path FOLDER/nginx-proxy;
  fastcgi_temp_path FOLDER/nginx-f; uwsgi_temp_path FOLDER/nginx-u; scgi_temp_path FOLDER/nginx-s;
  upstream origin { server 127.0.0.1:ORIGIN; keepalive 256; keepalive_requests 1000000000; }
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Via "1.1 nginx";
  server {
    listen 127.0.0.1:PORT default_server backlog=4096;
    location / {
WORK
      proxy_pass http://origin;
    }
  }
}]]):gsub("%u%u%u%u+", { FOLDER = folder, ORIGIN = tostring(ports.origin), PORT = tostring(ports.nginx),
    WORK = NGINX[work] }), modules
end

local HAPROXY = {
  none = { "", "" },
  small = { "  http-request lua.small\n  http-response lua.served\n", [[
local names = { ana = "Ana Maria", bob = "Robert" }
core.register_action("small", { "http-req" }, function(txn)
  local user = txn.sf:req_hdr("x-user")
  txn.http:req_set_header("X-Name", names[user] or "nobody")
  txn.http:req_set_header("X-Plan", "gold")
end)
core.register_action("served", { "http-res" }, function(txn)
  txn.http:res_set_header("X-Served-By", "gateway")
end)
]] },
}

--- Only for the works "none" and "small".
-- @return the configuration, and the text of its Lua file
function M.haproxy(ports, folder, work)
  local rules, script = HAPROXY[work][1], HAPROXY[work][2]
  return ([[
global
  nbthread 1
  maxconn 9800
  no strict-limits
  tune.maxrewrite 1024
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
%s  default_backend web
backend web
  server origin 127.0.0.1:%d maxconn 10000 pool-max-conn 256
]]):format(script ~= "" and ("  lua-load %s/bench.lua"):format(folder) or "", ports.haproxy, rules, ports.origin),
    script
end

return M
