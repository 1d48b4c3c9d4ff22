local ffi = require "ffi"
local fixture = require "unit.snapshot.fixture"
local lib = fixture.lib

ffi.cdef [[
struct vf_snapb *vf_snapb_new_after(const struct vf_snapb *base);
int vf_snapb_is_worn(const struct vf_snapb *base);
int vf_snapb_secret(struct vf_snapb *builder, const char *data, size_t len, struct vf_snap_text *out);
struct vf_carry;
struct vf_carry *vf_carry_new(const struct vf_snapb *from, struct vf_snapb *to);
void vf_carry_free(struct vf_carry *carry);
uint32_t *vf_carry_map(struct vf_carry *carry, uint32_t section);
uint32_t vf_carry_policy(struct vf_carry *carry, uint32_t index);
int vf_carry_pools(struct vf_carry *carry, uint32_t first, uint32_t count, uint32_t at);
int vf_carry_routes(struct vf_carry *carry, uint32_t first, uint32_t count, uint32_t at);
]]

local UV_EINVAL = -22
local NONE = fixture.NONE

local function after(base) return ffi.gc(lib.vf_snapb_new_after(base), lib.vf_snapb_free) end

local function carry_of(from, to) return ffi.gc(lib.vf_carry_new(from, to), lib.vf_carry_free) end

local function add_routes(builder, count)
  local first = ffi.new "uint32_t[1]"
  assert(lib.vf_snapb_add(builder, lib.VF_SNAP_ROUTES, count, first) ~= nil)
  return first[0]
end

local function names_by_rank(snapshot)
  local routes, count = fixture.records(snapshot, lib.VF_SNAP_ROUTES, "route")
  local names = {}
  for i = 0, count - 1 do names[routes[i].rank + 1] = fixture.string(snapshot, routes[i].name) end
  return table.concat(names, " ")
end

describe("records carried over", function()
  local base, snapshot
  before_each(function()
    base = fixture.builder()
    fixture.tenant(base, "default")
    for i, name in ipairs { "c", "a", "b" } do
      fixture.route(base, { name = name, path_prefix = "/" .. name, hosts = { "x.test", name .. ".test" },
        priority = i == 1 and 5 or 0, conditions = { { header = "h", value = "v-" .. name } } })
    end
    snapshot = assert(fixture.finish(base))
  end)

  it("are what they were, in the order of preference that they had, with new ones among them", function()
    assert.equal("c a b", names_by_rank(snapshot))
    local to = after(base)
    fixture.tenant(to, "other")
    local tenant = fixture.tenant(to, "default")
    local carry = carry_of(base, to)
    lib.vf_carry_map(carry, lib.VF_SNAP_TENANTS)[0] = tenant
    local first = add_routes(to, 4)
    assert.equal(0, lib.vf_carry_routes(carry, 1, 2, first)) -- a, b
    assert.equal(0, lib.vf_carry_routes(carry, 0, 1, first + 3)) -- c
    local new = ffi.cast("struct vf_snap_route *", lib.vf_snapb_record(to, lib.VF_SNAP_ROUTES, first + 2))
    new.action, new.status, new.policy, new.chain, new.tenant = 2, 200, NONE, NONE, tenant
    new.client_cert = NONE
    fixture.text(to, "aa", new.name)
    fixture.text(to, "/z", new.path)
    local made = assert(fixture.finish(to))
    assert.equal("c aa a b", names_by_rank(made)) -- an exact path before prefixes
    local routes = fixture.records(made, lib.VF_SNAP_ROUTES, "route")
    local bindings = fixture.records(made, lib.VF_SNAP_BINDINGS, "binding")
    local conditions = fixture.records(made, lib.VF_SNAP_CONDITIONS, "condition")
    for at, name in pairs { [0] = "a", "b", [3] = "c" } do
      assert.equal("/" .. name, fixture.string(made, routes[at].path))
      assert.equal(tenant, routes[at].tenant)
      local list = routes[at].bindings
      assert.same({ 2, at, name .. ".test" }, { list.count, bindings[list.first + 1].route,
        fixture.string(made, bindings[list.first + 1].host) })
      assert.equal("v-" .. name, fixture.string(made, conditions[routes[at].conditions.first].value))
    end
    assert.equal("c a b", names_by_rank(snapshot)) -- nothing happened to the old ones
  end)

  it("are refused when something that they refer to is not known, or has no place", function()
    local to = after(base)
    fixture.tenant(to, "default")
    local carry = carry_of(base, to)
    assert.equal(UV_EINVAL, lib.vf_carry_routes(carry, 0, 1, 0))
    add_routes(to, 3)
    assert.equal(UV_EINVAL, lib.vf_carry_routes(carry, 0, 1, 0)) -- the tenant
    lib.vf_carry_map(carry, lib.VF_SNAP_TENANTS)[0] = 0
    assert.equal(UV_EINVAL, lib.vf_carry_routes(carry, 3, 1, 0))
    assert.equal(UV_EINVAL, lib.vf_carry_routes(carry, 0, 4, 0))
    assert.equal(UV_EINVAL, lib.vf_carry_routes(carry, 0, 2, 2))
    assert.equal(UV_EINVAL, lib.vf_carry_pools(carry, 0, 1, 0))
    assert.equal(NONE, lib.vf_carry_policy(carry, 0))
    assert.is_true(lib.vf_carry_map(carry, lib.VF_SNAP_HOSTS) == nil)
    assert.equal(0, lib.vf_carry_routes(carry, 3, 0, 3))
    add_routes(to, 100) -- behind the first call
    assert.equal(UV_EINVAL, lib.vf_carry_routes(carry, 0, 1, 50))
  end)
end)

describe("lookup tables", function()
  local base, snapshot
  before_each(function()
    base = fixture.builder()
    fixture.tenant(base, "default")
    for _, name in ipairs { "a", "b", "c" } do
      fixture.route(base, { name = name, path = "/x/" .. (name == "c" and "b" or name), hosts = { "x.test" } })
    end
    snapshot = assert(fixture.finish(base))
  end)

  --- Carries all routes over but one, which is written again.
  local function next_with(position, change)
    local to = after(base)
    fixture.tenant(to, "default")
    local carry = carry_of(base, to)
    lib.vf_carry_map(carry, lib.VF_SNAP_TENANTS)[0] = 0
    add_routes(to, 3)
    for i = 0, 2 do
      if i ~= position then
        assert.equal(0, lib.vf_carry_routes(carry, i, 1, i))
      else
        local route = ffi.cast("struct vf_snap_route *", lib.vf_snapb_record(to, lib.VF_SNAP_ROUTES, i))
        local old = fixture.records(snapshot, lib.VF_SNAP_ROUTES, "route")[i]
        ffi.copy(route, old, ffi.sizeof "struct vf_snap_route")
        change(route, to)
        local binding = fixture.add(to, lib.VF_SNAP_BINDINGS, "binding")
        binding.route = i
        fixture.text(to, "x.test", binding.host)
      end
    end
    return assert(fixture.finish(to))
  end

  local function tables_of(made)
    local nodes, n_nodes = fixture.records(made, lib.VF_SNAP_NODES, "node")
    local indexes = fixture.records(made, lib.VF_SNAP_CANDIDATES, "tenant")
    local candidates, lines = ffi.cast("const uint32_t *", indexes), {}
    for i = 0, n_nodes - 1 do
      local node, list = nodes[i], {}
      for k = 0, node.exact.count - 1 do list[k + 1] = candidates[node.exact.first + k] end
      if node.parent ~= NONE and #list > 0 then
        local segment, order = fixture.string(made, node.segment), table.concat(list, ",")
        lines[#lines + 1] = ("%s=%s at %d"):format(segment, order, node.exact.first)
      end
    end
    table.sort(lines)
    return lines
  end

  it("are those from before as long as hosts, paths and the order in each list are", function()
    assert.same({ "a=0 at 0", "b=1,2 at 1" }, tables_of(snapshot))
    local made = next_with(2, function(route) route.status = 204 end)
    assert.same(tables_of(snapshot), tables_of(made))
    made = next_with(0, function(route) route.priority = -5 end) -- the lists would stand in another order
    assert.same(tables_of(snapshot), tables_of(made))
  end)

  it("are made when one of them is not", function()
    assert.same({ "a=0 at 2", "b=2,1 at 0" }, tables_of(next_with(2, function(route) route.priority = 5 end)))
    assert.same({ "a=0 at 0", "b=1 at 1", "z=2 at 2" }, tables_of(next_with(2, function(route, to)
      fixture.text(to, "/x/z", route.path)
    end)))
  end)
end)

describe("the texts of a builder", function()
  local function put(builder, text, is_secret)
    local op = fixture.add(builder, lib.VF_SNAP_FIELD_OPS, "field_op")
    fixture.text(builder, "name", op.name)
    if is_secret then
      assert.equal(0, lib.vf_snapb_secret(builder, text, #text, op.value))
    else
      fixture.text(builder, text, op.value)
    end
  end

  local function bytes(builder) return ffi.string(lib.vf_snapb_data(builder), lib.vf_snapb_size(builder)) end

  it("are there for the next, but for secrets", function()
    local base = fixture.builder()
    fixture.tenant(base, "default")
    put(base, "plain text")
    put(base, "first secret", true)
    put(base, "", true)
    local snapshot = assert(fixture.finish(base))
    local ops = fixture.records(snapshot, lib.VF_SNAP_FIELD_OPS, "field_op")
    assert.equal("first secret", fixture.string(snapshot, ops[1].value))
    assert.equal("", fixture.string(snapshot, ops[2].value))
    local to = after(base)
    fixture.tenant(to, "default")
    put(to, "second secret", true)
    put(to, "second secret", true)
    snapshot = assert(fixture.finish(to))
    ops = fixture.records(snapshot, lib.VF_SNAP_FIELD_OPS, "field_op")
    assert.equal("second secret", fixture.string(snapshot, ops[1].value))
    assert.equal(ops[0].value.offset, ops[1].value.offset)
    assert.truthy(bytes(to):find("plain text", 1, true))
    assert.is_nil(bytes(to):find("first secret", 1, true))
  end)

  it("are worn when most of them mean nothing any more", function()
    local builder = fixture.builder()
    assert.equal(1, lib.vf_snapb_is_worn(builder)) -- not finished
    fixture.tenant(builder, "default")
    assert(fixture.finish(builder))
    local steps = 0
    while lib.vf_snapb_is_worn(builder) == 0 do
      builder, steps = after(builder), steps + 1
      fixture.tenant(builder, ("%d"):format(steps) .. ("x"):rep(10000))
      assert(fixture.finish(builder))
    end
    assert.is_true(steps > 20 and steps < 40)
  end)

  it("stay when those are gone that they came from", function()
    local base = fixture.builder()
    fixture.tenant(base, "default")
    assert(fixture.finish(base))
    local to = after(base)
    lib.vf_snapb_free(ffi.gc(base, nil))
    fixture.tenant(to, "default")
    assert.is_true(fixture.finish(to) ~= nil)
  end)
end)
