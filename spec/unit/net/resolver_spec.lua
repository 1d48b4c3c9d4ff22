--- Names to addresses: shared, by TTL, never losing the last good answer.
local ffi = require "ffi"
local callbacks = require "support.callbacks"
local cloop = require "unit.net.cloop"
local dns = require "unit.net.dns_server"

ffi.cdef [[
struct vf_str { const char *data; size_t len; };
struct vf_resolver;
struct vf_name;
struct vf_resolver_options { const char *servers; uint64_t *failures; uint32_t floor_ms, ceiling_ms, default_ms; };
struct vf_sockaddr { uint16_t family, port_net; uint8_t ipv4[4]; uint8_t ipv6[16]; uint8_t rest[104]; };
int vf_resolver_new(uv_loop_t *, const struct vf_resolver_options *, struct vf_resolver **);
void vf_resolver_free(struct vf_resolver *);
int vf_resolver_watch(struct vf_resolver *, struct vf_str host, uint16_t port,
                      void (*on_change)(void *, struct vf_name *), void *owner, struct vf_name **);
void vf_resolver_unwatch(struct vf_name *);
size_t vf_name_count(const struct vf_name *);
const char *vf_name_error(const struct vf_name *);
unsigned vf_name_address(const struct vf_name *, size_t index, struct vf_sockaddr *out);
int vf_name_take(struct vf_name *, struct vf_sockaddr *out, unsigned *len);
uint32_t vf_addresses_tag(const struct vf_sockaddr *);
void vf_name_failed(struct vf_name *, uint32_t tag);
bool vf_name_has_other(const struct vf_name *);
]]
local lib = callbacks.outside(require "support.library")

local EINVAL, ENOADDRESS = -22, -20001

local function format(address)
  local ipv4, ipv6 = address.ipv4, address.ipv6
  if address.family == 2 then return ("%d.%d.%d.%d"):format(ipv4[0], ipv4[1], ipv4[2], ipv4[3]) end
  return ipv6[0] == 0 and "::" .. ipv6[15] or ("%02x%02x::%d"):format(ipv6[0], ipv6[1], ipv6[15])
end

describe("resolver", function()
  local loop, server, resolver, failures, made

  local function start(options)
    local raw, out = ffi.new "struct vf_resolver_options", ffi.new "struct vf_resolver *[1]"
    raw.servers, raw.failures = server.address, failures
    for key, value in pairs(options or {}) do raw[key] = value end
    assert.equal(0, lib.vf_resolver_new(loop.raw, raw, out))
    resolver = out[0]
  end

  -- Watches a name; `changes` counts callbacks, `on_change` is called for each.
  local function watch(host, on_change)
    local out, watched = ffi.new "struct vf_name *[1]", { changes = 0 }
    local callback = callbacks.new("void (*)(void *, struct vf_name *)", function()
      watched.changes = watched.changes + 1
      if on_change then on_change(watched) end
    end)
    made[#made + 1] = callback
    local rc = lib.vf_resolver_watch(resolver, ffi.new("struct vf_str", host, #host), 8080, callback, nil, out)
    assert.equal(0, rc)
    watched.raw = out[0]
    return watched
  end

  local function list(watched)
    local address, found = ffi.new "struct vf_sockaddr", {}
    for i = 0, tonumber(lib.vf_name_count(watched.raw)) - 1 do
      lib.vf_name_address(watched.raw, i, address)
      found[#found + 1] = format(address)
    end
    return table.concat(found, " ")
  end

  local function take(watched)
    local address, len = ffi.new "struct vf_sockaddr", ffi.new "unsigned[1]"
    local rc = lib.vf_name_take(watched.raw, address, len)
    if rc ~= 0 then return nil, rc end
    return format(address), len[0], address.port_net, address
  end

  local function fail_next(watched)
    lib.vf_name_failed(watched.raw, lib.vf_addresses_tag(select(4, take(watched))))
  end

  local function changed(watched, n)
    loop:drive(function() return watched.changes >= n end, "change " .. n)
  end

  before_each(function()
    loop, server = cloop.new(), dns.start {}
    failures, made = ffi.new "uint64_t[1]", {}
  end)

  after_each(function()
    if resolver then lib.vf_resolver_free(resolver) end
    resolver = nil
    loop:close() -- proves that every handle was closed
    for _, callback in ipairs(made) do callback:free() end
    server:close()
  end)

  it("finds the addresses of a name and tells when", function()
    server.zone["web.test"] = { A = { "127.0.0.2", "127.0.0.1" } }
    start()
    local web = watch "Web.Test"
    assert.equal(0, web.changes)
    assert.equal("", list(web))
    assert.same({ nil, ENOADDRESS }, { take(web) })
    assert.is_true(lib.vf_name_error(web.raw) == nil)
    changed(web, 1)
    assert.equal("127.0.0.1 127.0.0.2", list(web))
    local text, len, port = take(web)
    assert.same({ "127.0.0.1", 16, 0x901f }, { text, len, port }) -- 8080 = 0x1f90, network order
  end)

  it("takes addresses in turn, IPv6 ones when the others failed", function()
    server.zone["web.test"] = { A = { "127.0.0.1", "127.0.0.2" }, AAAA = { "::1", "fd99::1" } }
    start()
    local web = watch "web.test"
    changed(web, 1)
    local seen = {}
    for _ = 1, 6 do
      local text = take(web)
      seen[text] = (seen[text] or 0) + 1
    end
    assert.same({ ["127.0.0.1"] = 3, ["127.0.0.2"] = 3 }, seen)
    for _ = 1, 2 do fail_next(web) end
    if list(web):find("::1", 1, true) then -- a machine may have no IPv6 at all
      assert.equal("::1", (take(web)))
      assert.equal(28, (select(2, take(web))))
    end
  end)

  it("knows names that have IPv6 addresses only", function()
    server.zone["six.test"] = { AAAA = { "::1" } }
    start()
    local six = watch "six.test"
    changed(six, 1)
    assert.equal("::1", (take(six)))
  end)

  it("avoids an address that failed until all have", function()
    server.zone["web.test"] = { A = { "127.0.0.1", "127.0.0.2", "127.0.0.3" } }
    start()
    local web = watch "web.test"
    changed(web, 1)
    local text, _, _, address = take(web)
    lib.vf_name_failed(web.raw, lib.vf_addresses_tag(address))
    for _ = 1, 6 do assert.not_equal(text, (take(web))) end
    fail_next(web)
    assert.is_true(lib.vf_name_has_other(web.raw))
    fail_next(web)
    assert.is_false(lib.vf_name_has_other(web.raw))
    assert.is_string((take(web)))
  end)

  it("asks again when the TTL is over, and tells only of changes", function()
    server.zone["web.test"] = { A = { "127.0.0.1", "127.0.0.2" }, ttl = 1 }
    start { floor_ms = 20, ceiling_ms = 20 }
    local web = watch "web.test"
    changed(web, 1)
    server.zone["web.test"].A = { "127.0.0.2", "127.0.0.1" } -- rotated: the same set
    local asked = server:count "web.test"
    loop:drive(function() return server:count "web.test" >= asked + 4 end)
    assert.equal(1, web.changes)
    server.zone["web.test"].A = { "127.0.0.9" }
    changed(web, 2)
    assert.equal("127.0.0.9", list(web))
  end)

  it("holds a TTL between floor and ceiling", function()
    server.zone["short.test"] = { A = { "127.0.0.1" }, ttl = 0 }
    start { default_ms = 100000 }
    changed(watch "short.test", 1)
    local asked = server:count "short.test"
    loop:drive_for(50)
    assert.equal(asked, server:count "short.test")
  end)

  it("keeps the last good answer when resolving fails", function()
    server.zone["web.test"] = { A = { "127.0.0.1" }, ttl = 1 }
    start { floor_ms = 10, ceiling_ms = 10 }
    local web = watch "web.test"
    changed(web, 1)
    server.zone["web.test"] = nil
    loop:drive(function() return failures[0] > 0 end)
    assert.equal("127.0.0.1", list(web))
    assert.equal(1, web.changes)
    assert.equal("Domain name not found", ffi.string(lib.vf_name_error(web.raw)))
    server.zone["web.test"] = { A = { "127.0.0.3" } }
    changed(web, 2) -- the next try is a second later
    assert.equal("127.0.0.3", list(web))
    assert.is_true(lib.vf_name_error(web.raw) == nil)
  end)

  it("tells of a first failure once, and of the answer when it comes", function()
    start()
    local web = watch "late.test"
    changed(web, 1)
    assert.same({ "", 1 }, { list(web), tonumber(failures[0]) })
    server.zone["late.test"] = { A = { "127.0.0.4" } }
    changed(web, 2)
    assert.equal("127.0.0.4", list(web))
  end)

  it("counts an answer without addresses as a failure", function()
    server.zone["none.test"] = {}
    start()
    changed(watch "none.test", 1)
    assert.equal(1, tonumber(failures[0]))
  end)

  it("shares what it knows among the watchers of a host", function()
    server.zone["web.test"] = { A = { "127.0.0.1" } }
    start()
    local first, second = watch "web.test", watch "WEB.test"
    changed(first, 1)
    changed(second, 1)
    local asked = server:count "web.test"
    local third = watch "web.test"
    assert.equal("127.0.0.1", list(third)) -- readable at once, and told soon
    changed(third, 1)
    assert.equal(asked, server:count "web.test")
    assert.same({ 1, 1 }, { first.changes, second.changes })
    lib.vf_resolver_unwatch(first.raw)
    assert.equal("127.0.0.1", list(second))
  end)

  it("lets a watcher end its watch, and others, from the callback", function()
    server.zone["web.test"] = { A = { "127.0.0.1" } }
    start()
    local watches, told = {}, 0
    for i = 1, 3 do
      watches[i] = watch("web.test", function()
        told = told + 1
        for _, one in ipairs(watches) do lib.vf_resolver_unwatch(one.raw) end
        watches = {}
      end)
    end
    loop:drive(function() return told > 0 end)
    loop:drive_for(20)
    assert.equal(1, told)
  end)

  it("may be freed from a callback", function()
    server.zone["web.test"] = { A = { "127.0.0.1" } }
    start()
    local web
    web = watch("web.test", function() lib.vf_resolver_free(resolver) resolver = nil end)
    changed(web, 1)
  end)

  it("may be freed, and unwatched, while it asks", function()
    server.silent = true
    start()
    local one = watch "one.test"
    watch "two.test"
    loop:drive(function() return #server.queries >= 2 end)
    lib.vf_resolver_unwatch(one.raw)
  end)

  it("knows the hosts file", function()
    start()
    local here = watch "localhost"
    changed(here, 1)
    assert.matches("127%.0%.0%.1", list(here))
    assert.equal(0, #server.queries)
  end)

  it("refuses what cannot be a name", function()
    start()
    local out = ffi.new "struct vf_name *[1]"
    for _, host in ipairs { "", ("x"):rep(254), "a\0b" } do
      assert.equal(EINVAL, lib.vf_resolver_watch(resolver, ffi.new("struct vf_str", host, #host), 80, nil, nil, out))
    end
  end)

  it("refuses servers that are none", function()
    local raw, out = ffi.new "struct vf_resolver_options", ffi.new "struct vf_resolver *[1]"
    raw.servers = "no address"
    assert.equal(EINVAL, lib.vf_resolver_new(loop.raw, raw, out))
  end)
end)
