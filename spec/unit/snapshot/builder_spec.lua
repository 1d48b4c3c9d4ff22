local ffi = require "ffi"
local fixture = require "unit.snapshot.fixture"
local lib = fixture.lib

ffi.cdef "int close(int);"

local UV_EINVAL, UV_EPERM = -22, -1

--- Returns the route names of a snapshot in order of rank.
local function ranked(snapshot)
  local routes, count = fixture.records(snapshot, lib.VF_SNAP_ROUTES, "route")
  local names = {}
  for i = 0, count - 1 do
    names[routes[i].rank + 1] = fixture.string(snapshot, routes[i].name)
  end
  return names
end

--- Tries to read `bytes` as a snapshot; returns the code and what it found wrong.
local function adopt(bytes)
  local memory = ffi.new("uint64_t[?]", #bytes / 8 + 1)
  local out = ffi.new "struct vf_snapshot *[1]"
  ffi.copy(memory, bytes, #bytes)
  local rc = lib.vf_snapshot_adopt(memory, #bytes, out)
  if rc == 0 then lib.vf_snapshot_release(out) end
  return rc, ffi.string(lib.vf_snapshot_fault())
end

describe("snapshot builder", function()
  it("begins records with zeros and keeps those of one section together", function()
    local builder = fixture.builder()
    local first, index = fixture.add(builder, lib.VF_SNAP_POOLS, "pool")
    assert.equal(0, index)
    assert.equal(0, tonumber(first.id))
    local _, second = fixture.add(builder, lib.VF_SNAP_POOLS, "pool")
    assert.equal(1, second)
    assert.is_true(lib.vf_snapb_record(builder, lib.VF_SNAP_POOLS, 1) ~= nil)
    assert.is_true(lib.vf_snapb_record(builder, lib.VF_SNAP_POOLS, 2) == nil)
  end)

  it("leaves its own sections to itself", function()
    local builder, first = fixture.builder(), ffi.new "uint32_t[1]"
    assert.is_true(lib.vf_snapb_add(builder, lib.VF_SNAP_HOSTS, 1, first) == nil)
    assert.is_true(lib.vf_snapb_add(builder, 4000, 1, first) == nil)
  end)

  it("stores equal texts once", function()
    local builder = fixture.builder()
    local texts = ffi.new "struct vf_snap_text[3]"
    fixture.text(builder, "abc", texts[0])
    fixture.text(builder, "abcd", texts[1])
    fixture.text(builder, "abc", texts[2])
    assert.equal(texts[0].offset, texts[2].offset)
    assert.not_equal(texts[0].offset, texts[1].offset)
    assert.equal(4, texts[1].len)
  end)

  it("keeps thousands of texts apart", function()
    local builder, routes = fixture.builder(), {}
    fixture.tenant(builder, "default")
    for i = 1, 3000 do
      routes[i] = fixture.route(builder, { name = "route-" .. i, path = "/p/" .. i })
    end
    local snapshot = assert(fixture.finish(builder))
    local records = fixture.records(snapshot, lib.VF_SNAP_ROUTES, "route")
    for i = 1, 3000 do
      assert.equal("/p/" .. i, fixture.string(snapshot, records[routes[i]].path))
    end
  end)

  it("makes a snapshot of nothing but settings", function()
    local snapshot = assert(fixture.finish(fixture.builder(), 7))
    assert.equal(7, tonumber(snapshot.version))
    assert.equal(1, snapshot.header.settings.workers)
    assert.equal(0, snapshot.header.sections[lib.VF_SNAP_ROUTES].count)
  end)

  it("ranks by priority, kind of path, longer prefix, conditions and name", function()
    local header = { { header = "x", value = "1" } }
    local snapshot = fixture.snapshot {
      { name = "prefix", path_prefix = "/" },
      { name = "b", path_prefix = "/a" },
      { name = "a", path_prefix = "/a" },
      { name = "asks", path_prefix = "/a", conditions = header },
      { name = "asks-two", path_prefix = "/a", conditions = header, methods = { "GET" } },
      { name = "long", path_prefix = "/a/b" },
      { name = "regex", path_regex = "^/a/longer/than/the/others" },
      { name = "exact", path = "/a" },
      { name = "late", path = "/a", priority = -1 },
      { name = "first", path_prefix = "/", priority = 5 },
    }
    assert.same({ "first", "exact", "regex", "long", "asks-two", "asks", "a", "b", "prefix", "late" },
      ranked(snapshot))
  end)

  it("prefers the tenant called default between routes of one name", function()
    local builder = fixture.builder()
    local acme, default = fixture.tenant(builder, "acme"), fixture.tenant(builder, "default")
    fixture.route(builder, { name = "site", path = "/", tenant = acme })
    fixture.route(builder, { name = "site", path = "/", tenant = default })
    local snapshot = assert(fixture.finish(builder))
    local routes = fixture.records(snapshot, lib.VF_SNAP_ROUTES, "route")
    assert.equal(1, routes[0].rank)
    assert.equal(0, routes[1].rank)
  end)

  it("keeps a prefix without its slash at the end", function()
    local snapshot = fixture.snapshot { { name = "a", path_prefix = "/api/" }, { name = "b", path_prefix = "/" } }
    local routes = fixture.records(snapshot, lib.VF_SNAP_ROUTES, "route")
    assert.equal("/api", fixture.string(snapshot, routes[0].path))
    assert.equal("", fixture.string(snapshot, routes[1].path))
  end)

  it("gives each route the list of its bindings", function()
    local builder = fixture.builder()
    fixture.tenant(builder, "default")
    local a = fixture.route(builder, { name = "a", path = "/a", hosts = { "one" } })
    fixture.route(builder, { name = "b", path = "/b", hosts = { "two" } })
    local late = fixture.add(builder, lib.VF_SNAP_BINDINGS, "binding")
    late.route = a
    fixture.text(builder, "three", late.host)
    local snapshot = assert(fixture.finish(builder))
    local routes = fixture.records(snapshot, lib.VF_SNAP_ROUTES, "route")
    local bindings = fixture.records(snapshot, lib.VF_SNAP_BINDINGS, "binding")
    assert.equal(2, routes[a].bindings.count)
    local first = routes[a].bindings.first
    assert.equal("one", fixture.string(snapshot, bindings[first].host))
    assert.equal("three", fixture.string(snapshot, bindings[first + 1].host))
  end)

  local function add_plugin(builder)
    fixture.add(builder, lib.VF_SNAP_PLUGIN_FILES, "plugin_file")
    local plugin = fixture.add(builder, lib.VF_SNAP_PLUGINS, "plugin")
    plugin.files.count, plugin.phases = 1, 16
    return plugin
  end

  it("refuses what would be a broken snapshot and says where", function()
    local cases = {
      ["route 0: path, name or tenant"] = function(builder)
        fixture.route(builder, { name = "a", path = "/", tenant = 9 })
      end,
      ["binding 0: route or host"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_BINDINGS, "binding").route = 3
      end,
      ["route 0: pool"] = function(builder)
        local index = fixture.route(builder, { name = "a", path = "/" })
        local route = ffi.cast("struct vf_snap_route *", lib.vf_snapb_record(builder, lib.VF_SNAP_ROUTES, index))
        route.action, route.pool = 0, 3
      end,
      ["route 0: slot"] = function(builder)
        local index = fixture.route(builder, { name = "a", path = "/" })
        local route = ffi.cast("struct vf_snap_route *", lib.vf_snapb_record(builder, lib.VF_SNAP_ROUTES, index))
        route.slot = 131072
      end,
      ["field op 0: name"] = function(builder)
        local op = fixture.add(builder, lib.VF_SNAP_FIELD_OPS, "field_op")
        fixture.text(builder, "X Y", op.name)
      end,
      ["field op 0: value"] = function(builder)
        local op = fixture.add(builder, lib.VF_SNAP_FIELD_OPS, "field_op")
        fixture.text(builder, "X-Y", op.name)
        fixture.text(builder, "a\r\nEvil: 1", op.value)
      end,
      ["listener 0: incomplete policy"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_POLICIES, "policy")
        fixture.add(builder, lib.VF_SNAP_LISTENERS, "listener")
      end,
      ["listener 0: tls"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_POLICIES, "policy").set = 2 ^ lib.VF_POLICY_FIELDS - 1
        fixture.add(builder, lib.VF_SNAP_LISTENERS, "listener").tls = 0
      end,
      ["listener 0: mode"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_POLICIES, "policy").set = 2 ^ lib.VF_POLICY_FIELDS - 1
        fixture.add(builder, lib.VF_SNAP_LISTENERS, "listener").mode = 3
      end,
      ["listener 0: destinations"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_POLICIES, "policy").set = 2 ^ lib.VF_POLICY_FIELDS - 1
        fixture.add(builder, lib.VF_SNAP_LISTENERS, "listener").destinations.count = 1
      end,
      ["listener 0: TLS that is passed on"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_POLICIES, "policy").set = 2 ^ lib.VF_POLICY_FIELDS - 1
        local tls = fixture.add(builder, lib.VF_SNAP_TLS, "tls")
        tls.min_version, tls.trust = 12, lib.VF_SNAP_NONE
        local listener = fixture.add(builder, lib.VF_SNAP_LISTENERS, "listener")
        listener.tls, listener.mode = 0, lib.VF_LISTENER_TCP
      end,
      ["destination 0: pool"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_POLICIES, "policy")
        fixture.add(builder, lib.VF_SNAP_DESTINATIONS, "destination").pool = 0
      end,
      ["pool 0: tls"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_POLICIES, "policy").set = 2 ^ lib.VF_POLICY_FIELDS - 1
        fixture.add(builder, lib.VF_SNAP_POOLS, "pool").tls = 3
      end,
      ["upstream TLS 0: trust"] = function(builder)
        local tls = fixture.add(builder, lib.VF_SNAP_UPSTREAM_TLS, "upstream_tls")
        tls.verify, tls.trust, tls.identity = 1, lib.VF_SNAP_NONE, lib.VF_SNAP_NONE
      end,
      ["TLS 0: trust"] = function(builder)
        local tls = fixture.add(builder, lib.VF_SNAP_TLS, "tls")
        tls.min_version, tls.client_auth, tls.trust = 12, lib.VF_CLIENT_AUTH_REQUIRED, lib.VF_SNAP_NONE
      end,
      ["TLS 0: min_version"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_TLS, "tls").trust = lib.VF_SNAP_NONE
      end,
      ["server name 0: identities"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_SERVER_NAMES, "server_name").identities.count = 1
      end,
      ["network 0: prefix_bits"] = function(builder)
        local network = fixture.add(builder, lib.VF_SNAP_NETWORKS, "network")
        network.address.family, network.prefix_bits = 1, 33
      end,
      ["health 0: interval or timeout"] = function(builder)
        local health = fixture.add(builder, lib.VF_SNAP_HEALTH, "health")
        health.rise, health.fall = 1, 1
      end,
      ["pool 0: incomplete policy"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_POLICIES, "policy")
        fixture.text(builder, "web", fixture.add(builder, lib.VF_SNAP_POOLS, "pool").name)
      end,
      ["pool 0: backends of another pool"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_POLICIES, "policy").set = 2 ^ lib.VF_POLICY_FIELDS - 1
        fixture.add(builder, lib.VF_SNAP_POOLS, "pool").backends.count = 1
        fixture.add(builder, lib.VF_SNAP_POOLS, "pool")
        local backend = fixture.add(builder, lib.VF_SNAP_BACKENDS, "backend")
        backend.pool, backend.health = 1, fixture.NONE
      end,
      ["route 0: chain"] = function(builder)
        local index = fixture.route(builder, { name = "a", path = "/" })
        local route = ffi.cast("struct vf_snap_route *", lib.vf_snapb_record(builder, lib.VF_SNAP_ROUTES, index))
        route.chain = 0
      end,
      ["route 0: chain of a consumer"] = function(builder)
        local index = fixture.route(builder, { name = "a", path = "/" })
        local route = ffi.cast("struct vf_snap_route *", lib.vf_snapb_record(builder, lib.VF_SNAP_ROUTES, index))
        fixture.add(builder, lib.VF_SNAP_CHAINS, "chain").kind, route.chain = 1, 0
      end,
      ["route 0: client_cert"] = function(builder)
        local index = fixture.route(builder, { name = "a", path = "/" })
        local route = ffi.cast("struct vf_snap_route *", lib.vf_snapb_record(builder, lib.VF_SNAP_ROUTES, index))
        route.client_cert = 0
      end,
      ["client certificate 0: mode"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_CLIENT_CERTS, "client_cert").trust = fixture.NONE
      end,
      ["client certificate 0: trust"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_CLIENT_CERTS, "client_cert").mode = lib.VF_CLIENT_AUTH_OPTIONAL
      end,
      ["settings 0: chain"] = function(builder) lib.vf_snapb_settings(builder).chain = 0 end,
      ["settings 0: chain of a consumer"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_CHAINS, "chain").kind, lib.vf_snapb_settings(builder).chain = 1, 0
      end,
      ["plugin 0: no files"] = function(builder) fixture.add(builder, lib.VF_SNAP_PLUGINS, "plugin").phases = 16 end,
      ["plugin 0: slot"] = function(builder) add_plugin(builder).slot = 256 end,
      ["plugin 0: phases"] = function(builder) add_plugin(builder).phases = 512 end,
      ["file 0: name"] = function(builder)
        fixture.text(builder, "a\nb", fixture.add(builder, lib.VF_SNAP_PLUGIN_FILES, "plugin_file").name)
      end,
      ["instance 0: plugin"] = function(builder) fixture.add(builder, lib.VF_SNAP_INSTANCES, "instance") end,
      ["instance 0: tenant"] = function(builder)
        add_plugin(builder)
        fixture.add(builder, lib.VF_SNAP_INSTANCES, "instance").tenant = 1
      end,
      ["instance 0: scope"] = function(builder)
        add_plugin(builder)
        fixture.add(builder, lib.VF_SNAP_INSTANCES, "instance").scope = 5
      end,
      ["member 0: instance"] = function(builder)
        lib.vf_snapb_add(builder, lib.VF_SNAP_MEMBERS, 1, ffi.new "uint32_t[1]")
      end,
      ["chain 0: members"] = function(builder)
        fixture.add(builder, lib.VF_SNAP_CHAINS, "chain").members.count = 1
      end,
      ["instance 0: phases"] = function(builder)
        add_plugin(builder)
        fixture.add(builder, lib.VF_SNAP_INSTANCES, "instance").phases = 512
      end,
      ["chain 0: phases"] = function(builder)
        add_plugin(builder)
        fixture.add(builder, lib.VF_SNAP_INSTANCES, "instance").phases = 16
        lib.vf_snapb_add(builder, lib.VF_SNAP_MEMBERS, 1, ffi.new "uint32_t[1]")
        fixture.add(builder, lib.VF_SNAP_CHAINS, "chain").members.count = 1
      end,
    }
    for message, fill in pairs(cases) do
      local builder = fixture.builder()
      fixture.tenant(builder, "default")
      fill(builder)
      local snapshot, err, rc = fixture.finish(builder)
      assert.is_nil(snapshot, message)
      assert.equal(message, err)
      assert.equal(UV_EINVAL, rc)
    end
  end)

  it("builds 10,000 routes for 100 hosts in milliseconds", function()
    local builder = fixture.builder()
    fixture.tenant(builder, "default")
    for host = 1, 100 do
      for path = 1, 100 do
        fixture.route(builder, {
          name = ("route-%d-%d"):format(host, path),
          path_prefix = "/service/" .. path,
          hosts = { ("host-%d.example.com"):format(host) },
        })
      end
    end
    local start = os.clock()
    assert(fixture.finish(builder))
    local seconds = os.clock() - start
    assert.is_true(seconds < (os.getenv "VF_SAN" and 5 or 0.5), "took " .. seconds)
  end)
end)

describe("snapshot", function()
  local function bytes_of(builder)
    return ffi.string(lib.vf_snapb_data(builder), lib.vf_snapb_size(builder))
  end

  local function small()
    local builder = fixture.builder()
    fixture.tenant(builder, "default")
    fixture.route(builder, { name = "a", path_prefix = "/a", hosts = { "a.example.com" } })
    assert(fixture.finish(builder, 3))
    return builder
  end

  it("is mapped from a sealed memfd and counted", function()
    local builder, out = small(), ffi.new "struct vf_snapshot *[1]"
    local fd = lib.vf_snapb_memfd(builder)
    assert.is_true(fd >= 0)
    assert.equal(0, lib.vf_snapshot_open(fd, out))
    ffi.C.close(fd)
    assert.equal(3, tonumber(out[0].version))
    assert.equal(1, out[0].refs)
    local second = ffi.new("struct vf_snapshot *[1]", { lib.vf_snapshot_retain(out[0]) })
    lib.vf_snapshot_release(out)
    assert.is_true(out[0] == nil)
    assert.equal(1, second[0].refs)
    assert.equal("a", fixture.string(second[0], fixture.records(second[0], lib.VF_SNAP_ROUTES, "route")[0].name))
    lib.vf_snapshot_release(second)
    lib.vf_snapshot_release(second) -- NULL by now
  end)

  it("is refused from a descriptor that is not sealed", function()
    local out = ffi.new "struct vf_snapshot *[1]"
    ffi.cdef "int memfd_create(const char *, unsigned);"
    local fd = ffi.C.memfd_create("open", 2)
    assert.equal(UV_EPERM, lib.vf_snapshot_open(fd, out))
    ffi.C.close(fd)
    assert.equal(-9, lib.vf_snapshot_open(-1, out)) -- UV_EBADF
  end)

  it("is refused when it is short, of another build or not one", function()
    local bytes = bytes_of(small())
    assert.same({ 0, "" }, { adopt(bytes) })
    assert.same({ UV_EINVAL, "header 0: magic" }, { adopt "" })
    assert.same({ UV_EINVAL, "header 0: magic" }, { adopt(("x"):rep(4096)) })
    assert.same({ UV_EINVAL, "header 0: size" }, { adopt(bytes:sub(1, -9)) })
    local other = bytes:sub(1, 8) .. "another!" .. bytes:sub(17)
    assert.same({ UV_EINVAL, "header 0: layout of another build" }, { adopt(other) })
  end)

  it("is refused wherever an extent is moved out of it", function()
    local bytes = bytes_of(small())
    local first = ffi.offsetof("struct vf_snap_header", "sections")
    for section = 0, lib.VF_SNAP_SECTIONS - 1 do
      local at = first + section * ffi.sizeof "struct vf_snap_extent"
      local broken = bytes:sub(1, at) .. ("\255"):rep(8) .. bytes:sub(at + 9)
      assert.equal(UV_EINVAL, (adopt(broken)))
      broken = bytes:sub(1, at + 8) .. ("\127"):rep(4) .. bytes:sub(at + 13)
      assert.equal(UV_EINVAL, (adopt(broken)))
    end
  end)

  it("knows trusted addresses", function()
    local builder = fixture.builder()
    local function network(family, bits, ...)
      local record = fixture.add(builder, lib.VF_SNAP_NETWORKS, "network")
      record.address.family, record.prefix_bits = family, bits
      for i, byte in ipairs { ... } do record.address.ip[i - 1] = byte end
    end
    network(1, 12, 172, 16, 0, 0)
    network(1, 32, 10, 0, 0, 1)
    network(2, 33, 0x20, 0x01, 0x0d, 0xb8, 0x80)
    local snapshot = assert(fixture.finish(builder))
    local function trusts(family, ...)
      return lib.vf_snapshot_is_trusted(snapshot, family, ffi.new("uint8_t[16]", { ... }))
    end
    assert.is_true(trusts(1, 172, 31, 255, 255))
    assert.is_false(trusts(1, 172, 32, 0, 0))
    assert.is_true(trusts(1, 10, 0, 0, 1))
    assert.is_false(trusts(1, 10, 0, 0, 2))
    assert.is_true(trusts(2, 0x20, 0x01, 0x0d, 0xb8, 0xff))
    assert.is_false(trusts(2, 0x20, 0x01, 0x0d, 0xb8, 0x7f))
    assert.is_true(trusts(2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1))
    assert.is_false(trusts(0, 10, 0, 0, 1))
  end)

  it("overrides only the fields of a policy that are set", function()
    local builder = fixture.builder()
    local base = fixture.add(builder, lib.VF_SNAP_POLICIES, "policy")
    base.set = 2ULL ^ lib.VF_POLICY_FIELDS - 1
    for i = 0, lib.VF_POLICY_FIELDS - 1 do base.value[i] = 100 + i end
    local narrow = fixture.add(builder, lib.VF_SNAP_POLICIES, "policy")
    narrow.set = 2ULL ^ lib.VF_POLICY_CONNECT_MS + 2ULL ^ lib.VF_POLICY_BODY_BYTES
    narrow.value[lib.VF_POLICY_CONNECT_MS] = 5
    narrow.value[lib.VF_POLICY_TOTAL_MS] = 7 -- not set: does not count
    local snapshot, out = assert(fixture.finish(builder)), ffi.new "struct vf_snap_policy"
    lib.vf_policy_resolve(snapshot, 0, 1, out)
    assert.equal(5, tonumber(out.value[lib.VF_POLICY_CONNECT_MS]))
    assert.equal(0, tonumber(out.value[lib.VF_POLICY_BODY_BYTES]))
    assert.equal(100 + lib.VF_POLICY_TOTAL_MS, tonumber(out.value[lib.VF_POLICY_TOTAL_MS]))
    lib.vf_policy_resolve(snapshot, 0, fixture.NONE, out)
    assert.equal(100 + lib.VF_POLICY_CONNECT_MS, tonumber(out.value[lib.VF_POLICY_CONNECT_MS]))
  end)
end)
