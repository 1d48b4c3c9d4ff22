--- Which hosts ask their clients for certificates: those with a route that has authorities of its own.
local ffi = require "ffi"
local fixture = require "unit.snapshot.fixture"
local lib = fixture.lib

ffi.cdef "bool vf_walk_asks_clients(const struct vf_snapshot *, struct vf_str host);"

--- Builds a snapshot whose routes are { name, hosts, cert }: an index into VF_SNAP_CLIENT_CERTS, of which the first
-- has authorities and the second has none.
local function snapshot_of(routes)
  local builder = fixture.builder()
  fixture.tenant(builder, "default")
  fixture.add(builder, lib.VF_SNAP_TRUSTS, "trust")
  for _, trust in ipairs { 0, fixture.NONE } do
    local cert = fixture.add(builder, lib.VF_SNAP_CLIENT_CERTS, "client_cert")
    cert.mode, cert.trust = lib.VF_CLIENT_AUTH_OPTIONAL, trust
  end
  for _, wanted in ipairs(routes) do
    local index = fixture.route(builder, { name = wanted.name, path = "/", hosts = wanted.hosts })
    local route = ffi.cast("struct vf_snap_route *", lib.vf_snapb_record(builder, lib.VF_SNAP_ROUTES, index))
    route.client_cert = wanted.cert or fixture.NONE
    if wanted.cert == 0 then lib.vf_snapb_settings(builder).asks_clients = 1 end
  end
  return assert(fixture.finish(builder))
end

local function asks(snapshot, name)
  return lib.vf_walk_asks_clients(snapshot, ffi.new("struct vf_str", { name, #name }))
end

describe("a host name", function()
  it("asks where one of the routes that it may come to does", function()
    local snapshot = snapshot_of {
      { name = "own", hosts = { "a.test" }, cert = 0 }, { name = "free", hosts = { "a.test" } },
      { name = "listener's", hosts = { "b.test" }, cert = 1 }, { name = "wild", hosts = { "*.c.test" }, cert = 0 },
      { name = "below", hosts = { "x.c.test" } } }
    for name, expected in pairs { ["a.test"] = true, ["A.test."] = true, ["b.test"] = false, ["c.test"] = false,
      ["x.c.test"] = true, ["y.c.test"] = true, ["x.y.c.test"] = false, ["other.test"] = false, [""] = true,
      [("x"):rep(255)] = false } do
      assert.equal(expected, asks(snapshot, name), name)
    end
  end)

  it("asks whatever it is where a route for all hosts does", function()
    local snapshot = snapshot_of { { name = "all", hosts = { "*" }, cert = 0 }, { name = "a", hosts = { "a.test" } } }
    for _, name in ipairs { "a.test", "b.test", "" } do assert.is_true(asks(snapshot, name), name) end
  end)

  it("asks nobody where no route does", function()
    local snapshot = snapshot_of { { name = "a", hosts = { "a.test" }, cert = 1 } }
    for _, name in ipairs { "a.test", "b.test", "" } do assert.is_false(asks(snapshot, name), name) end
  end)
end)
