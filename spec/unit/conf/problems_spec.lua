--- Every kind of problem with its exact text and line.
local fixture = require "unit.conf.fixture"

--- Each case: a name, a conf text, and all problems that it must give.
local CASES = {
  { "the issue's example", "pools:\n  - name: web\n    algoritm: random\n",
    { "conf.yaml:3: pools[0].algoritm: unknown key, did you mean algorithm?" } },
  { "a typo at the top", "listners: []\n", { "conf.yaml:1: listners: unknown key, did you mean listeners?" } },
  { "no map", "- a\n", { "conf.yaml:1: expected a map of settings, got a list" } },
  { "broken YAML", "pools:\n  - name: web\n   x: 1\n",
    { "conf.yaml:3: did not find expected '-' indicator while parsing a block collection that begins on line 2" } },
  { "duplicate keys", "workers: 1\nuser: ''\nworkers: 2\n",
    { "conf.yaml:3: workers: duplicate key, first on line 1" } },
  { "a dangling reference", "pools: [ { name: web } ]\nroutes:\n  - name: a\n    pool: wep\n",
    { 'conf.yaml:4: routes[0].pool: unknown pool "wep", did you mean web?' } },
  { "duplicate names", "pools:\n  - { name: a }\n  - { name: b }\n  - { name: a }\n",
    { "conf.yaml:4: pools[2].name: the name a is already taken, in conf.yaml:2" } },
  { "duplicate listeners", "listeners:\n  - { name: a, address: ':1' }\n  - { name: a, address: ':2' }\n",
    { "conf.yaml:3: listeners[1].name: the name a is already taken, on line 2" } },
  { "colliding addresses", "listeners:\n  - { name: a, address: 127.0.0.1:80 }\n  - { name: b, address: 0.0.0.0:80 }\n",
    { "conf.yaml:3: listeners[1].address: 0.0.0.0:80 collides with 127.0.0.1:80 of listeners[0]" } },
  { "an address of the admin", "listeners:\n  - { name: a, address: ':8080' }\n",
    { "conf.yaml:1: admin.address: 127.0.0.1:8080 collides with :8080 of listeners[0]" } },
  { "the name of the admin", "listeners: [ { name: admin, address: ':1' } ]\n",
    { "conf.yaml:1: listeners[0].name: admin is the name of the admin address" } },
  { "bad addresses", "pools:\n  - name: p\n    backends:\n      - { address: 1.2.3.4 }\n      - { address: a:0 }\n",
    { 'conf.yaml:4: pools[0].backends[0].address: expected HOST:PORT, got no port in "1.2.3.4"',
      "conf.yaml:5: pools[0].backends[1].address: expected a port between 1 and 65535, got 0" } },
  { "a backend twice", "pools:\n  - name: p\n    backends:\n      - { address: a:1 }\n      - { address: a:1 }\n",
    { "conf.yaml:5: pools[0].backends[1]: a:1 is already given, on line 4" } },
  { "values out of range", "workers: 65\ntimeouts: { connect: 0s }\nlimits: { header_count: 0, header_bytes: 2m }\n",
    { "conf.yaml:1: workers: expected an integer between 1 and 64 or auto, got 65",
      "conf.yaml:2: timeouts.connect: expected a duration between 1ms and 30d or off, got 0s",
      "conf.yaml:3: limits.header_count: expected an integer between 1 and 10000, got 0",
      "conf.yaml:3: limits.header_bytes: expected a size between 256 and 1m, got 2m" } },
  { "an open admin address", "admin:\n  address: 0.0.0.0:8080\n  auth: { enabled: false }\n",
    { "conf.yaml:3: admin.auth.enabled: authentication is off although other machines reach 0.0.0.0:8080: turn it on, "
      .. "or allow that with admin.insecure: true" } },
  { "channels open to strangers", "admin:\n  address: 0.0.0.0:8080\n  websocket:\n    anonymous: true\n",
    { "conf.yaml:4: admin.websocket.anonymous: everybody who reaches 0.0.0.0:8080 could follow the channels: allow "
      .. "that with admin.insecure: true" } },
  { "unknown accounts", "user: no-such-user\n", { 'conf.yaml:1: user: unknown user "no-such-user"' } },
  { "a lease that one heartbeat may lose", "cluster: { heartbeat: 2s, lease: 3s }\n",
    { "conf.yaml:1: cluster.lease: has to be at least two heartbeats long" } },
  { "ids of nodes that are none, and times out of bounds", "cluster: { node_id: 'a b', heartbeat: 1ms }\n",
    { 'conf.yaml:1: cluster.node_id: expected a name of letters, digits, dots, dashes and underscores, got "a b"',
      "conf.yaml:1: cluster.heartbeat: expected a duration between 100ms and 1m, got 1ms" } },
  { "a group without user", "group: daemon\n", { "conf.yaml:1: group: has no meaning without user" } },
  { "a Redis that is nowhere", "store: { driver: redis }\n",
    { "conf.yaml:1: store: driver redis needs one of url, sentinel or cluster" } },
  { "settings of the other driver", "store: { url: 'redis://a' }\n",
    { "conf.yaml:1: store.url: goes with driver: redis only" } },
  { "a file in Redis", "store: { driver: redis, url: 'redis://a', path: x }\n",
    { "conf.yaml:1: store.path: goes with driver: sqlite only" } },
  { "two places", "store: { driver: redis, url: 'redis://a', cluster: [ 'b:1' ] }\n",
    { "conf.yaml:1: store.cluster: cannot be given together with url" } },
  { "TLS to Redis", "store: { driver: redis, url: 'rediss://a', tls: { ca: none.pem } }\n",
    { "conf.yaml:1: store.tls.ca: /etc/veloflux/none.pem: No such file or directory" } },
  { "URLs that are none", "store: { driver: redis, url: 'redis://u:secret@' }\n",
    { "conf.yaml:1: store.url: it names no host" } },
  { "Sentinels", [[
store:
  driver: redis
  sentinel: { addresses: [ "a:b" ] }
  prefix: "{x}"
  timeout: 1ms
]], { "conf.yaml:3: store.sentinel.addresses[0]: it names no host",
      "conf.yaml:3: store.sentinel.master: required: the name of a master",
      'conf.yaml:4: store.prefix: expected letters, digits, dots, colons, dashes and underscores, got "{x}"',
      "conf.yaml:5: store.timeout: expected a duration between 100ms and 60s, got 1ms" } },
  { "certificates that are not there", [[
listeners: [ { name: a, address: ':1', tls: { certificates: [ site ], alpn: [ h3 ], min_version: 1.1 } } ]
certificates: [ { cert: /no/such/file, key: /no/such/key } ]
]], { 'conf.yaml:1: listeners[0].tls.alpn[0]: expected h2 or http/1.1, got "h3", did you mean h2?',
      'conf.yaml:1: listeners[0].tls.min_version: expected one of 1.2 or 1.3, got "1.1", did you mean 1.2?',
      'conf.yaml:1: listeners[0].tls.certificates[0]: unknown certificate "site"',
      "conf.yaml:2: certificates[0].cert: /no/such/file: No such file or directory",
      "conf.yaml:2: certificates[0].key: /no/such/key: No such file or directory",
      "conf.yaml:2: certificates[0].name: required: a name of letters, digits, dots, dashes and underscores" } },
  { "plugins that are not there", [[
plugin_path: [ /no/such/folder ]
plugins: [ { name: no-such-plugin, enabld: false } ]
pools: [ { name: p, plugins: [ { name: ../x }, { config: {} }, cors ] } ]
routes: [ { name: r, respond: {}, plugins: { name: cors } } ]
consumers: [ { name: c, credentials: [ { type: no-such-plugin, key: x } ] } ]
plugin_limits: { cpu: 1us, trip: { errors: 0 } }
]], { 'conf.yaml:2: plugins[0].name: unknown plugin "no-such-plugin"',
      "conf.yaml:2: plugins[0].enabld: unknown key, did you mean enabled?",
      'conf.yaml:3: pools[0].plugins[0].name: unknown plugin "../x"',
      "conf.yaml:3: pools[0].plugins[1].name: required: a text",
      'conf.yaml:3: pools[0].plugins[2]: expected an instance of a plugin: a map with its name, got "cors"',
      "conf.yaml:4: routes[0].plugins: expected a list, got a map",
      'conf.yaml:5: consumers[0].credentials[0].type: unknown plugin "no-such-plugin"',
      'conf.yaml:6: plugin_limits.cpu: expected a duration like 10s or off, got "1us"',
      "conf.yaml:6: plugin_limits.trip.errors: expected an integer between 1 and 1000000 or off, got 0" } },
  { "features that are not asked for", [[
listeners: [ { name: a, address: ':1', tls: } ]
consumers: []
certificates: []
plugins: []
plugin_path: []
store: { driver: sqlite, path: veloflux.db }
]], {} },
  { "routes with too much or too little", [[
pools: [ { name: p } ]
routes:
  - { name: a }
  - { name: b, pool: p, redirect: /x }
  - { name: c, pool: p, host: a, hosts: [ b ] }
  - { name: d, pool: p, path: /x, path_prefix: /y }
  - { name: e, pool: p, path: /x, strip_prefix: true }
  - { name: f, pool: p, strip_prefix: true, rewrite: /x }
  - { name: g, respond: {}, rewrite: /x }
]], { "conf.yaml:3: routes[0]: one of pool, redirect or respond is required",
      "conf.yaml:4: routes[1].redirect: cannot be given together with pool",
      "conf.yaml:5: routes[2].hosts: cannot be given together with host",
      "conf.yaml:6: routes[3].path_prefix: cannot be given together with path",
      "conf.yaml:7: routes[4].strip_prefix: goes with path_prefix only",
      "conf.yaml:8: routes[5].rewrite: cannot be given together with strip_prefix",
      "conf.yaml:9: routes[6].rewrite: has no meaning without a pool" } },
  { "paths that no request has", [[
pools: [ { name: p } ]
routes:
  - { name: a, pool: p, path: x }
  - { name: b, pool: p, path: /a/../b }
  - { name: c, pool: p, path_prefix: /%41 }
  - { name: d, pool: p, path: "/a?b" }
  - { name: e, pool: p, path: /a%2fb }
  - { name: f, pool: p, path: /../x }
  - { name: g, pool: p, path_regex: "(" }
]], { "conf.yaml:3: routes[0].path: expected a path that begins with /",
      "conf.yaml:4: routes[1].path: is matched against normalised paths: write /b",
      "conf.yaml:5: routes[2].path_prefix: is matched against normalised paths: write /A",
      "conf.yaml:6: routes[3].path: expected a path without ? and #: conditions on the query stand in match",
      "conf.yaml:7: routes[4].path: has an encoded slash or backslash, which is refused in requests",
      "conf.yaml:8: routes[5].path: climbs above the root",
      "conf.yaml:9: routes[6].path_regex: missing closing parenthesis at byte 1" } },
  { "hosts of checks", [[
pools: [ { name: p, health_check: { host: "*.a.com" }, backends: [ { address: "a:1", health_check: { host: "a:1" } }]}]
]], { "conf.yaml:1: pools[0].health_check.host: expected a host, without a port or *",
      "conf.yaml:1: pools[0].backends[0].health_check.host: expected a host, without a port or *" } },
  { "hosts", [[
pools: [ { name: p } ]
routes:
  - { name: a, pool: p, host: "a.example.com:80" }
  - { name: b, pool: p, host: "a.*.com" }
  - { name: c, pool: p, hosts: [ a, A ] }
  - { name: d, pool: p, hosts: [] }
]], { "conf.yaml:3: routes[0].host: expected a host without a port",
      "conf.yaml:4: routes[1].host: expected a host like a.example.com, *.example.com or *",
      "conf.yaml:5: routes[2].hosts[1]: a is already given, on line 5",
      "conf.yaml:6: routes[3].hosts: expected at least 1 element, got 0" } },
  { "methods and conditions", [[
routes:
  - { name: a, respond: {}, methods: [ GET, get ] }
  - { name: b, respond: {}, match: { headers: { X: { regex: "[" } }, query: { q: { present: true, regex: x } } } }
]], { "conf.yaml:2: routes[0].methods[1]: expected an HTTP method, got get, did you mean GET?",
      "conf.yaml:3: routes[1].match.headers.X.regex: missing terminating ] for character class at byte 1",
      "conf.yaml:3: routes[1].match.query.q.present: cannot be given together with regex" } },
  { "header edits", [[
headers:
  request: { set: { Content-Length: 1, "a b": 2, X: "a\nb", Y: " z" }, remove: [ Connection ] }
  response: { set: { A: 1, a: 2 }, add: { L: [ x, "" ] } }
]], { "conf.yaml:2: headers.request.set.Content-Length: Content-Length is written by the proxy itself",
      'conf.yaml:2: headers.request.set.a b: expected the name of a header field, got "a b"',
      "conf.yaml:2: headers.request.set.X: expected a header value without control characters",
      "conf.yaml:2: headers.request.set.Y: expected a header value without spaces around it",
      "conf.yaml:2: headers.request.remove[0]: Connection is written by the proxy itself",
      "conf.yaml:3: headers.response.set: A and a are the same header" } },
  { "settings that come too early",
    "pools:\n  - { name: p, timeouts: { client_header: 1s }, limits: { uri_bytes: 1k } }\n",
    { "conf.yaml:2: pools[0].timeouts.client_header: applies before a route is chosen: "
        .. "set it globally or on a listener",
      "conf.yaml:2: pools[0].limits.uri_bytes: applies before a route is chosen: "
        .. "set it globally or on a listener" } },
  { "pools", [[
pools:
  - { name: a, algorithm: leastconn }
  - { name: b, hash_on: { type: header } }
  - { name: c, hash_on: { type: ip, name: x } }
  - { name: d, sticky_sessions: { ttl: forever } }
  - { name: e, health_check: { type: udp, expected_status: [ 200, "3xx" ], interval: 1ms } }
  - { name: f, proxy_protocol: v3, max_connections: 0 }
  - { name: "" }
  - {}
]], { "conf.yaml:2: pools[0].algorithm: expected one of round_robin, weighted_round_robin, least_conn, "
        .. 'least_connections, random, ip_hash, consistent_hash or peak_ewma, got "leastconn", '
        .. "did you mean least_conn?",
      "conf.yaml:3: pools[1].hash_on.name: required: the name of the header",
      "conf.yaml:4: pools[2].hash_on.name: has no meaning with type ip",
      'conf.yaml:5: pools[3].sticky_sessions.ttl: expected a duration like 10s or off, got "forever"',
      'conf.yaml:6: pools[4].health_check.type: expected one of http or tcp, got "udp"',
      "conf.yaml:6: pools[4].health_check.expected_status[1]: expected a status between 100 and 599 or a range "
        .. "like 200-299",
      "conf.yaml:6: pools[4].health_check.interval: expected a duration between 100ms and 1h, got 1ms",
      'conf.yaml:7: pools[5].proxy_protocol: expected one of off, v1 or v2, got "v3", did you mean v1?',
      "conf.yaml:7: pools[5].max_connections: expected an integer between 1 and 1000000 or off, got 0",
      'conf.yaml:8: pools[6].name: expected a name of letters, digits, dots, dashes and underscores, got ""',
      "conf.yaml:9: pools[7].name: required: a name of letters, digits, dots, dashes and underscores" } },
  { "listeners that pass connections on", [[
pools: [ { name: web }, { name: safe, tls: true } ]
listeners:
  - { name: a, address: ":1", pool: web }
  - { name: b, address: ":2", names: [ { hosts: [ a.test ], pool: web } ] }
  - { name: c, address: ":3", mode: tcp }
  - { name: d, address: ":4", mode: tcp, pool: wob }
  - { name: e, address: ":5", mode: tcp, pool: web, names: [ { hosts: [ a.test ], pool: web } ] }
  - { name: f, address: ":6", mode: tls_passthrough }
  - { name: g, address: ":7", mode: tls_passthrough, pool: safe }
  - { name: h, address: ":8", mode: tls_passthrough, pool: web, tls: {} }
  - { name: i, address: ":9", mode: tcp, pool: web, redirect_https: 443 }
  - { name: j, address: ":10", mode: tcp, pool: web, headers: { request: { remove: [ A ] } } }
  - name: k
    address: ":11"
    mode: tls_passthrough
    names:
      - { hosts: [ a.test, "*.b.test" ], pool: web }
      - { hosts: [ A.test ], pool: web }
  - name: l
    address: ":12"
    mode: tls_passthrough
    names:
      - { hosts: [ a.test ], pool: sage }
      - { hosts: [ "*", 192.0.2.1, "a..b", "[::1]" ], pool: web }
      - { hosts: [ b.test ] }
      - { hosts: [], pool: web }
  - { name: m, address: ":13", mode: udp }
  - { name: n, address: ":14", mode: tcp, pool: safe }
]], { "conf.yaml:3: listeners[0].pool: goes with mode tcp or tls_passthrough; with http, routes say which pool",
      "conf.yaml:4: listeners[1].names: goes with mode tls_passthrough",
      "conf.yaml:5: listeners[2].pool: required with mode tcp",
      'conf.yaml:6: listeners[3].pool: unknown pool "wob", did you mean web?',
      "conf.yaml:7: listeners[4].names: goes with mode tls_passthrough",
      "conf.yaml:8: listeners[5].names: required with mode tls_passthrough: pool, names or both",
      "conf.yaml:9: listeners[6].pool: the pool safe has tls: what clients encrypt would be encrypted once more",
      "conf.yaml:10: listeners[7].tls: goes with mode http: with tls_passthrough connections are passed on as they are",
      "conf.yaml:11: listeners[8].redirect_https: goes with mode http: with tcp connections are passed on as they are",
      "conf.yaml:12: listeners[9].headers: goes with mode http: with tcp connections are passed on as they are",
      "conf.yaml:17: listeners[10].names: A.test stands in names[0] already",
      'conf.yaml:23: listeners[11].names[0].pool: unknown pool "sage", did you mean safe?',
      "conf.yaml:24: listeners[11].names[1].hosts[0]: what no name takes goes to `pool` of the listener",
      "conf.yaml:24: listeners[11].names[1].hosts[1]: clients do not ask for addresses by name",
      "conf.yaml:24: listeners[11].names[1].hosts[2]: expected a host like a.example.com or *.example.com",
      "conf.yaml:24: listeners[11].names[1].hosts[3]: clients do not ask for addresses by name",
      "conf.yaml:25: listeners[11].names[2].pool: required: the name of one of the pools",
      "conf.yaml:26: listeners[11].names[3].hosts: expected 1 to 1024 elements, got 0",
      'conf.yaml:27: listeners[12].mode: expected one of http, tcp or tls_passthrough, got "udp"' } },
  { "the environment", "workers: ${NOPE}\nuser: ${1}\nlog: { level: '${L:-loud}' }\n",
    { "conf.yaml:1: workers: the environment variable NOPE is not set",
      "conf.yaml:2: user: expected ${NAME} or ${NAME:-default}, got ${1}",
      'conf.yaml:3: log.level: expected one of debug, info, warn or error, got "loud"' } },
}

local TENANTS = {
  { "hosts of two tenants", [[
tenants:
  - { name: acme, hosts: [ a.example.com ] }
  - { name: bolt, hosts: [ A.example.com ] }
]], { "conf.yaml:3: tenants[1].hosts: the host A.example.com belongs to the tenant acme" } },
  { "every host", "tenants:\n  - { name: acme, hosts: [ '*' ] }\n",
    { "conf.yaml:2: tenants[0].hosts[0]: * belongs to the default tenant" } },
  { "a tenant twice", "tenants:\n  - { name: acme }\n  - { name: acme }\n",
    { "conf.yaml:3: tenants[1].name: the name acme is already taken, on line 2" } },
  { "unknown tenants", "tenants: [ { name: acme } ]\nroutes:\n  - { name: a, tenant: acmee, respond: {} }\n",
    { 'conf.yaml:3: routes[0].tenant: unknown tenant "acmee", did you mean acme?' } },
  { "the host of another", [[
tenants:
  - { name: acme, hosts: [ a.example.com, "*.acme.com" ] }
  - { name: bolt, hosts: [ x.acme.com ] }
  - { name: bare }
routes:
  - { name: a, tenant: acme, respond: {} }
  - { name: b, tenant: acme, host: b.acme.com, respond: {} }
  - { name: c, tenant: acme, host: x.acme.com, respond: {} }
  - { name: d, tenant: acme, host: "*", respond: {} }
  - { name: e, host: a.example.com, respond: {} }
  - { name: f, tenant: bare, respond: {} }
  - { name: g, respond: {} }
]], { "conf.yaml:8: routes[2].host: the host x.acme.com belongs to the tenant bolt",
      "conf.yaml:9: routes[3].host: the host * belongs to the tenant default",
      "conf.yaml:10: routes[4].host: the host a.example.com belongs to the tenant acme",
      "conf.yaml:11: routes[5].tenant: the tenant bare has no hosts: the route would answer for none" } },
  { "pools of others", [[
tenants:
  - { name: acme, hosts: [ a.example.com ] }
pools:
  - { name: open, shared: true }
  - { name: closed }
  - { name: own, tenant: acme }
  - { name: wrong, tenant: acme, shared: true }
routes:
  - { name: a, tenant: acme, pool: open }
  - { name: b, tenant: acme, pool: closed }
  - { name: c, tenant: acme, pool: own }
  - { name: d, pool: own }
]], { "conf.yaml:7: pools[3].shared: only pools of the default tenant can be shared",
      "conf.yaml:10: routes[1].pool: the pool closed of the default tenant is not shared",
      'conf.yaml:12: routes[3].pool: unknown pool "own"' } },
  { "names of two tenants", [[
tenants: [ { name: acme, hosts: [ a.example.com ] } ]
pools: [ { name: p }, { name: p, tenant: acme } ]
routes: [ { name: r, pool: p }, { name: r, tenant: acme, pool: p } ]
]], {} },
}

local function run(cases)
  for _, case in ipairs(cases) do
    it("names " .. case[1], function()
      local lines = fixture.problems(case[2])
      for i, line in ipairs(lines) do lines[i] = line end
      assert.same(case[3], lines)
    end)
  end
end

describe("problems of a conf file", function() run(CASES) end)
describe("problems of tenants", function() run(TENANTS) end)

it("gives a tenant's route its own pool and a shared one", function()
  local model = fixture.model [[
tenants: [ { name: acme, hosts: [ a.example.com ] } ]
pools: [ { name: p, shared: true }, { name: q, shared: true }, { name: p, tenant: acme } ]
routes: [ { name: r, tenant: acme, pool: p }, { name: s, tenant: acme, pool: q } ]
]]
  assert.equal("acme", model.routes[1]._pool.tenant)
  assert.equal("default", model.routes[2]._pool.tenant)
end)
