local ffi = require "ffi"
local fixture = require "unit.conf.fixture"
local compiler = require "veloflux.compiler"
local layout = require "veloflux.compiler.layout"
local sink = require "veloflux.compiler.sink"
local explain = require "veloflux.explain"
local C = layout.C

ffi.cdef "int close(int fd);"

local OFF = layout.OFF

--- Wraps a compiled conf: records by section, texts.
local function snapshot(text, env)
  local model = fixture.model(text, env)
  local compiled = assert(compiler.compile(model, { version = 7 }))
  local header = ffi.cast("const struct vf_snap_header *", compiled.data)
  local bytes = ffi.cast("const char *", compiled.data)
  local self = { compiled = compiled, header = header, model = model, settings = header.settings }
  function self.records(section, name)
    local extent = header.sections[C["VF_SNAP_" .. section]]
    return ffi.cast("const struct vf_snap_" .. name .. " *", bytes + extent.offset), extent.count
  end
  function self.text(place) return ffi.string(bytes + place.offset, place.len) end
  return self
end

local function ops(snap, list)
  local records = snap.records("FIELD_OPS", "field_op")
  local result = {}
  for i = 0, list.count - 1 do
    local op = records[list.first + i]
    result[i + 1] = ("%d %s=%s"):format(op.kind, snap.text(op.name), snap.text(op.value))
  end
  return result
end

describe("the compiler", function()
  it("writes settings", function()
    local snap = snapshot [[
data_dir: /var/lib/vf
pid_file: /run/vf.pid
workers: 3
log: { level: warn, format: json, access: { path: /var/log/a.log, format: combined, query: true } }
limits: { connections: 500, buffer_memory: 1m, upstream_keepalive: 9 }
trusted_proxies: [ 10.0.0.0/8, "2001:db8::/32" ]
]]
    local settings = snap.settings
    assert.equal(7, tonumber(snap.header.version))
    assert.equal(3, settings.workers)
    assert.equal(0, settings.change_user)
    assert.same({ 2, 2, C.VF_ACCESS_COMBINED, 1 },
      { settings.log_level, settings.log_format, settings.access_format, settings.access_query })
    assert.equal("/var/log/a.log", snap.text(settings.access_path))
    assert.equal("/var/lib/vf", snap.text(settings.data_dir))
    assert.equal("/run/vf.pid", snap.text(settings.pid_file))
    assert.same({ 500, 1048576, 9 },
      { tonumber(settings.connections), tonumber(settings.buffer_memory), tonumber(settings.upstream_keepalive) })
    local networks, count = snap.records("NETWORKS", "network")
    assert.equal(2, count)
    assert.same({ C.VF_FAMILY_IPV4, 8, 10 },
      { networks[0].address.family, networks[0].prefix_bits, networks[0].address.ip[0] })
    assert.same({ C.VF_FAMILY_IPV6, 32, 0x20 },
      { networks[1].address.family, networks[1].prefix_bits, networks[1].address.ip[0] })
  end)

  it("takes auto and off for what they are", function()
    local settings = snapshot("").settings
    assert.is_true(settings.workers >= 1)
    assert.equal(OFF, settings.connections)
  end)

  it("runs the children as the user of the conf", function()
    local settings = snapshot("user: root\n").settings
    assert.same({ 1, 0, 0 }, { settings.change_user, settings.uid, settings.gid })
  end)

  it("writes listeners with complete policies, and the admin address", function()
    local snap = snapshot [[
timeouts: { client_idle: 5s, total: off }
headers: { response: { set: { Server: vf }, remove: [ X-Powered-By ] } }
listeners:
  - { name: a, address: 127.0.0.1:8000 }
  - name: b
    address: "[::1]:9000"
    proxy_protocol: true
    timeouts: { client_idle: 1s }
    limits: { body_bytes: 1k }
    headers: { response: { add: { X-B: [ "1", "2" ] } } }
]]
    local listeners, count = snap.records("LISTENERS", "listener")
    local policies = snap.records("POLICIES", "policy")
    assert.equal(3, count)
    local a, b, admin = listeners[0], listeners[1], listeners[2]
    assert.same({ "a", "b", "admin" }, { snap.text(a.name), snap.text(b.name), snap.text(admin.name) })
    assert.same({ 0, 0, C.VF_LISTENER_ADMIN }, { a.kind, b.kind, admin.kind })
    assert.same({ 8000, 9000, 8080 }, { a.address.port, b.address.port, admin.address.port })
    assert.same({ 0, 1 }, { a.proxy_protocol, b.proxy_protocol })
    assert.equal("[::1]:9000", snap.text(b.address_text))
    local all = 2 ^ tonumber(C.VF_POLICY_FIELDS) - 1
    for i = 0, 2 do assert.equal(all, tonumber(policies[listeners[i].policy].set)) end
    local function value(listener, field) return policies[listener.policy].value[C["VF_POLICY_" .. field]] end
    assert.equal(5000, tonumber(value(a, "CLIENT_IDLE_MS")))
    assert.equal(1000, tonumber(value(b, "CLIENT_IDLE_MS")))
    assert.equal(OFF, value(a, "TOTAL_MS"))
    assert.equal(OFF, value(a, "BODY_BYTES"))
    assert.equal(1024, tonumber(value(b, "BODY_BYTES")))
    assert.equal(30000, tonumber(value(b, "DRAIN_MS")))
    assert.equal(32768, tonumber(value(a, "HEADER_BYTES")))
    assert.same({ "0 X-Powered-By=", "1 Server=vf", "2 X-B=1", "2 X-B=2" }, ops(snap, b.edits.response))
    assert.equal(0, admin.edits.response.count)
    assert.equal(2, select(2, snapshot("admin: { address: off }\nlisteners:\n  - { name: a, address: 127.0.0.1:1 }\n"
      .. "  - { name: b, address: 127.0.0.1:2 }\n").records("LISTENERS", "listener")))
  end)

  it("writes where listeners pass connections on to", function()
    local snap = snapshot [[
timeouts: { tunnel: 5s, connect: 1s }
pools:
  - { name: web, timeouts: { tunnel: 9s } }
  - { name: other }
listeners:
  - { name: a, address: 127.0.0.1:8000 }
  - { name: b, address: 127.0.0.1:8001, mode: tcp, pool: other, timeouts: { connect: 2s } }
  - name: c
    address: 127.0.0.1:8002
    mode: tls_passthrough
    pool: other
    names: [ { hosts: [ b.test, "*.A.test" ], pool: web }, { hosts: [ a.test ], pool: other } ]
]]
    local listeners = snap.records("LISTENERS", "listener")
    local destinations, count = snap.records("DESTINATIONS", "destination")
    local policies = snap.records("POLICIES", "policy")
    local function shown(listener)
      local list = {}
      for i = 0, listener.destinations.count - 1 do
        local record = destinations[listener.destinations.first + i]
        local policy = policies[record.policy]
        list[i + 1] = ("%s %d %d %d"):format(snap.text(record.name), record.pool,
          tonumber(policy.value[C.VF_POLICY_CONNECT_MS]), tonumber(policy.value[C.VF_POLICY_TUNNEL_MS]))
      end
      return list
    end
    assert.equal(5, count)
    assert.same({ C.VF_LISTENER_HTTP, C.VF_LISTENER_TCP, C.VF_LISTENER_TLS_PASSTHROUGH },
      { listeners[0].mode, listeners[1].mode, listeners[2].mode })
    assert.same({}, shown(listeners[0]))
    assert.same({ " 1 2000 5000" }, shown(listeners[1]))
    assert.same({ " 1 1000 5000", "*.a.test 0 1000 9000", "a.test 1 1000 5000", "b.test 0 1000 9000" },
      shown(listeners[2]))
  end)

  it("writes pools, backends and health checks", function()
    local snap = snapshot [[
pools:
  - name: web
    algorithm: weighted_round_robin
    health_check: { path: /up, interval: 1s, timeout: 500ms, expected_status: [ 200, "300-399" ], rise: 4, fall: 5 }
    sticky_sessions: { cookie: s, ttl: 2h }
    via: { response: true }
    backends:
      - { address: 127.0.0.1:9001 }
      - { address: app.internal:9002, weight: 0, health_check: { path: /other, host: h } }
      - { address: "[::1]:9003", health_check: false }
  - name: other
    algorithm: consistent_hash
    hash_on: { type: header, name: X-Key }
    x_forwarded: false
    forwarded: true
    passive_health: false
    via: false
    sticky_sessions: true
    proxy_protocol: v2
    max_connections: 8
    backends: [ { address: 127.0.0.1:9001 }, { address: 127.0.0.1:9002, health_check: { type: tcp } } ]
]]
    local pools = snap.records("POOLS", "pool")
    local backends = snap.records("BACKENDS", "backend")
    local health, n_health = snap.records("HEALTH", "health")
    local web, other = pools[0], pools[1]
    assert.equal("web", snap.text(web.name))
    assert.equal(C.VF_BALANCE_ROUND_ROBIN, web.algorithm)
    assert.equal(C.VF_POOL_VIA_REQUEST + C.VF_POOL_VIA_RESPONSE + C.VF_POOL_X_FORWARDED + C.VF_POOL_STICKY
      + C.VF_POOL_PASSIVE_HEALTH, web.flags)
    assert.same({ "s", 7200000 }, { snap.text(web.sticky_cookie), tonumber(web.sticky_ttl_ms) })
    assert.equal(OFF, web.max_connections)
    assert.same({ 0, 3, 3, 2 }, { web.backends.first, web.backends.count, other.backends.first, other.backends.count })
    assert.equal(C.VF_BALANCE_CONSISTENT_HASH, other.algorithm)
    assert.equal(C.VF_HASH_ON_HEADER, other.hash_on)
    assert.equal("X-Key", snap.text(other.hash_name))
    assert.equal(C.VF_POOL_FORWARDED + C.VF_POOL_STICKY, other.flags)
    assert.same({ "veloflux", 3600000 }, { snap.text(other.sticky_cookie), tonumber(other.sticky_ttl_ms) })
    assert.same({ 2, 8 }, { other.proxy_protocol, tonumber(other.max_connections) })

    assert.same({ 100, 0, 100 }, { backends[0].weight, backends[1].weight, backends[2].weight })
    assert.same({ "app.internal:9002", "app.internal", C.VF_FAMILY_NONE }, { snap.text(backends[1].address_text),
      snap.text(backends[1].host), backends[1].address.family })
    assert.same({ "::1", C.VF_FAMILY_IPV6, 9003 }, { snap.text(backends[2].host), backends[2].address.family,
      backends[2].address.port })
    assert.equal(3, n_health)
    local general, own, tcp = health[backends[0].health], health[backends[1].health], health[backends[4].health]
    assert.same({ "/up", 1000, 500, 4, 5, 2 }, { snap.text(general.path), tonumber(general.interval_ms),
      tonumber(general.timeout_ms), general.rise, general.fall, general.n_ranges })
    assert.same({ 200, 200, 300, 399 }, { general.ranges[0].low, general.ranges[0].high, general.ranges[1].low,
      general.ranges[1].high })
    assert.same({ "/other", "h", 1000 }, { snap.text(own.path), snap.text(own.host), tonumber(own.interval_ms) })
    assert.equal(layout.NONE, backends[2].health)
    assert.equal(layout.NONE, backends[3].health)
    assert.same({ C.VF_HEALTH_TCP, 5000 }, { tcp.type, tonumber(tcp.interval_ms) })
  end)

  it("writes routes", function()
    local snap = snapshot [[
pools:
  - { name: p, timeouts: { response: 9s }, headers: { request: { set: { A: "1" } } } }
  - { name: q }
routes:
  - { name: plain, pool: q }
  - { name: full, pool: p, hosts: [ A.Example.com, "*.b.com" ], path_regex: "^/v(\\d+)", methods: [ GET, POST ],
      priority: 3, rewrite: "/x/$1", timeouts: { response: 1s, total: 2s }, headers: { request: { remove: [ B ] } },
      match: { headers: { X-Foo: bar, Y: { present: false } }, query: { q: { regex: "^z" } } } }
  - { name: strip, pool: p, path_prefix: /api/, strip_prefix: true }
  - { name: to, path: /old, redirect: { to: "https://x/$path", status: 308 } }
  - { name: gone, path: /gone/, respond: { status: 410, body: bye, type: text/html } }
  - { name: short, path: /s, redirect: /t }
]]
    local routes, count = snap.records("ROUTES", "route")
    local policies = snap.records("POLICIES", "policy")
    local bindings = snap.records("BINDINGS", "binding")
    local conditions = snap.records("CONDITIONS", "condition")
    assert.equal(6, count)
    local function hosts(route)
      local list = {}
      for i = 0, route.bindings.count - 1 do list[i + 1] = snap.text(bindings[route.bindings.first + i].host) end
      table.sort(list)
      return list
    end
    local plain, full, strip, to, gone = routes[0], routes[1], routes[2], routes[3], routes[4]
    assert.same({ "*" }, hosts(plain))
    assert.same({ C.VF_PATH_PREFIX, "", 1, layout.NONE, 0 }, { plain.path_kind, snap.text(plain.path), plain.pool,
      plain.policy, plain.edits.request.count })
    assert.equal("conf.yaml:5", snap.text(plain.source))

    assert.same({ "*.b.com", "a.example.com" }, hosts(full))
    assert.same({ C.VF_PATH_REGEX, "^/v(\\d+)", 3, 1, "/x/$1" }, { full.path_kind, snap.text(full.path), full.priority,
      full.has_rewrite, snap.text(full.rewrite) })
    assert.equal(2 + 8, tonumber(full.methods)) -- llhttp: GET is 1, POST is 3
    local policy = policies[full.policy]
    assert.same({ 1000, 2000 }, { tonumber(policy.value[C.VF_POLICY_RESPONSE_MS]),
      tonumber(policy.value[C.VF_POLICY_TOTAL_MS]) })
    assert.equal(2 ^ tonumber(C.VF_POLICY_RESPONSE_MS) + 2 ^ tonumber(C.VF_POLICY_TOTAL_MS), tonumber(policy.set))
    assert.same({ "1 A=1", "0 B=" }, ops(snap, full.edits.request))
    local list = {}
    for i = 0, full.conditions.count - 1 do
      local c = conditions[full.conditions.first + i]
      list[i + 1] = ("%d %d %s %s"):format(c.kind, c.test, snap.text(c.name), snap.text(c.value))
    end
    assert.same({ "0 0 x-foo bar", "0 3 y ", "1 1 q ^z" }, list)

    assert.same({ C.VF_PATH_PREFIX, "/api", 1 }, { strip.path_kind, snap.text(strip.path), strip.strip_prefix })
    assert.equal(9000, tonumber(policies[strip.policy].value[C.VF_POLICY_RESPONSE_MS]))
    assert.same({ "1 A=1" }, ops(snap, strip.edits.request))
    assert.same({ C.VF_ACTION_REDIRECT, 308, "https://x/$path", layout.NONE }, { to.action, to.status,
      snap.text(to.target), to.pool })
    assert.same({ C.VF_ACTION_RESPOND, 410, "bye", "text/html", "/gone/" }, { gone.action, gone.status,
      snap.text(gone.body), snap.text(gone.content_type), snap.text(gone.path) })
    assert.equal(301, routes[5].status)
  end)

  it("gives tenants' routes their hosts and switches the inactive off", function()
    local snap = snapshot [[
tenants:
  - { name: acme, hosts: [ a.example.com, b.example.com ] }
  - { name: bolt, hosts: [ c.example.com ], active: false }
routes:
  - { name: r, tenant: acme, respond: {} }
  - { name: r, tenant: bolt, respond: {} }
]]
    local routes = snap.records("ROUTES", "route")
    local tenants, count = snap.records("TENANTS", "tenant")
    assert.equal(3, count)
    assert.same({ "default", "acme", "bolt" },
      { snap.text(tenants[0].name), snap.text(tenants[1].name), snap.text(tenants[2].name) })
    assert.same({ 2, 1 }, { routes[0].bindings.count, routes[1].bindings.count })
    assert.same({ 0, 1 }, { routes[0].inactive, routes[1].inactive })
    assert.same({ 1, 2 }, { routes[0].tenant, routes[1].tenant })
    assert.is_false(routes[0].id == routes[1].id)
  end)

  it("keeps ids from version to version, whatever the order", function()
    local function ids(text)
      local snap = snapshot(text)
      local routes, count = snap.records("ROUTES", "route")
      local map = {}
      for i = 0, count - 1 do map[snap.text(routes[i].name)] = tostring(routes[i].id) end
      return map
    end
    assert.same(ids "routes: [ { name: a, respond: {} }, { name: b, path: /b, respond: {} } ]",
      ids "routes: [ { name: b, path: /x, respond: {} }, { name: a, respond: {} } ]")
    assert.is_false(sink.id("pool", "t", "ab") == sink.id("pool", "ta", "b"))
  end)

  it("makes a sealed memfd", function()
    local fd = assert(compiler.memfd(snapshot(fixture.site()).compiled))
    assert.is_true(fd > 2)
    ffi.C.close(fd)
  end)

  it("refuses more than the state area has room for", function()
    local lines = { "pools:" }
    for i = 1, 4097 do lines[i + 1] = "  - { name: p" .. i .. " }" end
    local compiled, problem = compiler.compile(fixture.model(table.concat(lines, "\n")), {})
    assert.is_nil(compiled)
    assert.same({ "pools", "expected at most 4096, got 4097" }, { problem.path, problem.message })
  end)
end)

describe("slots of the state area", function()
  ffi.cdef [[
  int vf_state_create(struct vf_state **out);
  ]]
  local folder, state

  setup(function()
    folder = fixture.folder {}
    local out = ffi.new "struct vf_state *[1]"
    local fd = ffi.C.vf_state_create(out)
    assert(fd >= 0)
    ffi.C.close(fd)
    state = out[0]
  end)
  teardown(function() fixture.remove(folder) end)

  local function compile(names, version)
    local lines = { "data_dir: " .. folder, "routes:" }
    for _, name in ipairs(names) do
      lines[#lines + 1] = ("  - { name: %s, path: /%s, respond: {} }"):format(name, name)
    end
    local compiled = assert(compiler.compile(fixture.model(table.concat(lines, "\n")),
      { version = version, state = state, oldest_pinned = version }))
    local header = ffi.cast("const struct vf_snap_header *", compiled.data)
    local bytes = ffi.cast("const char *", compiled.data)
    local extent = header.sections[C.VF_SNAP_ROUTES]
    local routes = ffi.cast("const struct vf_snap_route *", bytes + extent.offset)
    local slots = {}
    for i = 0, extent.count - 1 do
      slots[ffi.string(bytes + routes[i].name.offset, routes[i].name.len)] = routes[i].slot
    end
    compiler.sweep(compiled, state)
    return slots, header.settings
  end

  it("stay with their entity and are used again after its death", function()
    local first, settings = compile({ "a", "b", "c" }, 1)
    local second = compile({ "c", "a" }, 2)
    assert.equal(first.a, second.a)
    assert.equal(first.c, second.c)
    local third = compile({ "c", "a", "d" }, 9)
    assert.equal(first.b, third.d)
    assert.is_false(ffi.string(settings.sticky_key, 32) == ("\0"):rep(32))
    local key = assert(io.open(folder .. "/master.key", "rb")):read "*a"
    assert.equal(32, #key)
  end)

  it("share the sticky key when the master key is given", function()
    local function key_of(text)
      local model = fixture.model("data_dir: " .. folder .. "\nmaster_key: " .. text .. "\n")
      local compiled = assert(compiler.compile(model, { version = 20, state = state }))
      return ffi.string(ffi.cast("const struct vf_snap_header *", compiled.data).settings.sticky_key, 32)
    end
    assert.equal(key_of(("a"):rep(16)), key_of(("a"):rep(16)))
    assert.is_false(key_of(("a"):rep(16)) == key_of(("b"):rep(16)))
  end)

  it("are refused with a message when data_dir cannot be made", function()
    local model = fixture.model "data_dir: /proc/nope/data\n"
    local compiled, problem = compiler.compile(model, { version = 30, state = state })
    assert.is_nil(compiled)
    assert.equal("data_dir", problem.path)
  end)
end)

describe("explaining", function()
  local text = [[
pools: [ { name: p, backends: [ { address: 127.0.0.1:1 } ] } ]
routes:
  - { name: root, pool: p }
  - { name: api, pool: p, path_prefix: /api }
  - { name: get, pool: p, path_prefix: /api, methods: [ GET ], host: x.com }
  - { name: hidden, pool: p, path_prefix: /api, priority: -1 }
  - { name: cond, pool: p, path: /c, match: { headers: { X: "1" } } }
]]

  local function ask(method, host, target, headers)
    local snap = snapshot(text)
    local request = { method = method, host = host, target = target, headers = headers }
    local answer, problem = explain.ask(snap.compiled, request)
    if not answer then return nil, problem end
    local list = {}
    for i, rival in ipairs(answer.rivals) do
      list[i] = ("%s %s"):format(snap.model.routes[rival.route].name, rival.verdict)
    end
    return list, answer.path
  end

  it("lists the winner and its rivals in order", function()
    assert.same({ "get wins", "api rank", "root rank", "hidden rank" }, (ask("GET", "x.com", "/api/1?q=2")))
    assert.same({ "get method", "api wins", "root rank", "hidden rank" }, (ask("PUT", "x.com", "/api")))
    assert.same({ "cond condition", "root wins" }, (ask("GET", "y.com", "/c")))
    assert.same({ "cond wins", "root rank" }, (ask("GET", "y.com", "/c", { x = "1" })))
    assert.equal("/b", select(2, ask("GET", "y.com", "/a/../%62")))
  end)

  it("says why a request would be refused", function()
    assert.same({ nil, "not a method that is forwarded" }, { ask("get", "x", "/") })
    assert.same({ nil, "not a valid host" }, { ask("GET", "x y", "/") })
    assert.truthy(select(2, ask("GET", "x", "/..")))
  end)

  it("finds routes that never answer", function()
    local snap = snapshot(text)
    local shadows = explain.shadows(snap.compiled)
    assert.equal(1, #shadows)
    assert.equal("hidden", snap.model.routes[shadows[1].route].name)
  end)
end)
