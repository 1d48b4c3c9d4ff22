--- Copies of snapshots without secrets.
local ffi = require "ffi"
local fixture = require "unit.snapshot.fixture"
local lib = fixture.lib

ffi.cdef [[
struct vf_extract { int bare_fd, checker_fd; };
int vf_shm_create_sealed(const char *name, const void *data, size_t size);
int vf_extract_make(int fd, struct vf_extract *out, char *fault, size_t fault_size);
int close(int);
long pread(int fd, void *to, size_t bytes, long at);
int memfd_create(const char *name, unsigned flags);
]]

--- Returns the bytes of a file.
local function bytes_of(fd)
  local parts, at, buffer = {}, 0, ffi.new "char[65536]"
  while true do
    local n = tonumber(ffi.C.pread(fd, buffer, 65536, at))
    if n <= 0 then return table.concat(parts) end
    parts[#parts + 1], at = ffi.string(buffer, n), at + n
  end
end

local function open(fd)
  local out = ffi.new "struct vf_snapshot *[1]"
  assert.equal(0, lib.vf_snapshot_open(fd, out))
  return out[0]
end

local function release(snapshot) lib.vf_snapshot_release(ffi.new("struct vf_snapshot *[1]", { snapshot })) end

local function identity(builder, name)
  local record, index = fixture.add(builder, lib.VF_SNAP_IDENTITIES, "identity")
  fixture.text(builder, name, record.name)
  fixture.text(builder, "chain of " .. name, record.chain)
  fixture.text(builder, "key of " .. name, record.key)
  return index
end

local function policy(builder)
  local record, index = fixture.add(builder, lib.VF_SNAP_POLICIES, "policy")
  record.set = 2 ^ lib.VF_POLICY_FIELDS - 1
  return index
end

--- A pool with TLS that shows an identity; with one backend, which is checked or not.
local function pool(builder, name, shown, is_checked)
  local tls, tls_index = fixture.add(builder, lib.VF_SNAP_UPSTREAM_TLS, "upstream_tls")
  tls.trust, tls.identity = fixture.NONE, shown
  local full = policy(builder)
  local health
  if is_checked then
    local record
    record, health = fixture.add(builder, lib.VF_SNAP_HEALTH, "health")
    record.rise, record.fall, record.interval_ms, record.timeout_ms = 1, 1, 1, 1
  end
  local record, index = fixture.add(builder, lib.VF_SNAP_POOLS, "pool")
  fixture.text(builder, name, record.name)
  record.policy, record.tls = full, tls_index
  local backend, first = fixture.add(builder, lib.VF_SNAP_BACKENDS, "backend")
  fixture.text(builder, "backend.test", backend.host)
  backend.pool, backend.health = index, health or fixture.NONE
  record.backends.first, record.backends.count = first, 1
end

local function field_op(builder, name, value)
  local record = fixture.add(builder, lib.VF_SNAP_FIELD_OPS, "field_op")
  fixture.text(builder, name, record.name)
  fixture.text(builder, value, record.value)
end

--- Finishes the builder and hands `run` the whole, the copy without secrets, the checker's: as bytes and descriptors.
local function with_copies(builder, run)
  lib.vf_snapb_settings(builder).workers = 1
  local message, out = ffi.new "char[200]", ffi.new "struct vf_extract"
  assert.equal(0, lib.vf_snapb_finish(builder, 7, message, 200), ffi.string(message))
  local fd = lib.vf_snapb_memfd(builder)
  assert.equal(0, lib.vf_extract_make(fd, out, message, 200))
  run(bytes_of(fd), bytes_of(out.bare_fd), bytes_of(out.checker_fd), out)
  for _, each in ipairs { fd, out.bare_fd, out.checker_fd } do ffi.C.close(each) end
end

--- Returns a copy of a finished snapshot that may be changed, and its header.
local function copy_of(builder)
  local bytes = ffi.new("char[?]", lib.vf_snapb_size(builder))
  ffi.copy(bytes, lib.vf_snapb_data(builder), ffi.sizeof(bytes))
  return bytes, ffi.cast("struct vf_snap_header *", bytes)
end

describe("an extract of a snapshot", function()
  local function start()
    local builder = fixture.builder()
    fixture.tenant(builder, "default")
    return builder
  end

  local function has(text, wanted) return text:find(wanted, 1, true) ~= nil end

  it("has no key but those that health checks show, and these in the checker's copy alone", function()
    local builder = start()
    identity(builder, "site")
    pool(builder, "checked", identity(builder, "shown"), true)
    pool(builder, "unchecked", identity(builder, "quiet"), false)
    with_copies(builder, function(whole, bare, checker, out)
      for _, name in ipairs { "site", "shown", "quiet" } do
        assert.is_true(has(whole, "key of " .. name))
        assert.is_false(has(bare, "key of " .. name))
        assert.equal(name == "shown", has(checker, "key of " .. name))
        assert.is_true(has(checker, "chain of " .. name) and has(bare, "chain of " .. name))
      end
      local snapshot = open(out.checker_fd)
      local identities, count = fixture.records(snapshot, lib.VF_SNAP_IDENTITIES, "identity")
      assert.equal(3, count)
      assert.equal("", fixture.string(snapshot, identities[0].key))
      assert.equal("key of shown", fixture.string(snapshot, identities[1].key))
      release(snapshot)
    end)
  end)

  it("has no configurations and sources of plugins, no values of fields and conditions, no sticky key", function()
    local builder = start()
    ffi.copy(lib.vf_snapb_settings(builder).sticky_key, ("S"):rep(32), 32)
    local plugin = fixture.add(builder, lib.VF_SNAP_PLUGINS, "plugin")
    fixture.text(builder, "hello", plugin.name)
    local file, first = fixture.add(builder, lib.VF_SNAP_PLUGIN_FILES, "plugin_file")
    plugin.files.first, plugin.files.count = first, 1
    fixture.text(builder, "secret source", file.source)
    local instance = fixture.add(builder, lib.VF_SNAP_INSTANCES, "instance")
    instance.tenant = fixture.NONE
    fixture.text(builder, "secret config", instance.config)
    fixture.text(builder, "secret meta", instance.meta)
    field_op(builder, "X-Key", "secret value")
    fixture.route(builder, { name = "one", path = "/", conditions = { { header = "x-key", value = "secret test" } } })
    with_copies(builder, function(whole, bare, checker, out)
      for _, wanted in ipairs { "source", "config", "meta", "value", "test" } do
        assert.is_true(has(whole, "secret " .. wanted))
        assert.is_false(has(bare, "secret " .. wanted) or has(checker, "secret " .. wanted), wanted)
      end
      assert.is_true(has(whole, ("S"):rep(32)))
      assert.is_false(has(bare, "SSSS") or has(checker, "SSSS"))
      assert.is_true(has(bare, "X-Key") and has(bare, "hello"))
      local snapshot = open(out.bare_fd)
      assert.equal(7, tonumber(snapshot.version))
      assert.equal(#whole, tonumber(snapshot.size))
      release(snapshot)
    end)
  end)

  it("has no routes, and tables in which none is found", function()
    local builder = start()
    pool(builder, "web", fixture.NONE, true)
    for i = 1, 40 do fixture.route(builder, { name = "r" .. i, path = "/a/" .. i, hosts = { i .. ".test" } }) end
    with_copies(builder, function(_, _, _, out)
      for _, fd in ipairs { out.bare_fd, out.checker_fd } do
        local snapshot = open(fd)
        for section, count in pairs { ROUTES = 0, BINDINGS = 0, CANDIDATES = 0, HOSTS = 1, NODES = 1, POOLS = 1 } do
          assert.equal(count, snapshot.header.sections[lib["VF_SNAP_" .. section]].count, section)
        end
        release(snapshot)
      end
    end)
  end)

  it("keeps a text that is no secret elsewhere", function()
    local builder = start()
    field_op(builder, "Host", "backend.test")
    field_op(builder, "X-Other", "other")
    pool(builder, "web", fixture.NONE, true)
    with_copies(builder, function(_, bare, _, out)
      local snapshot = open(out.bare_fd)
      local backends = fixture.records(snapshot, lib.VF_SNAP_BACKENDS, "backend")
      local ops = fixture.records(snapshot, lib.VF_SNAP_FIELD_OPS, "field_op")
      assert.equal("backend.test", fixture.string(snapshot, backends[0].host))
      assert.equal("", fixture.string(snapshot, ops[0].value))
      assert.is_false(has(bare, "other"))
      release(snapshot)
    end)
  end)

  it("keeps a key for health checks that a listener has, too", function()
    local builder = start()
    pool(builder, "checked", identity(builder, "shown"), true)
    local site = fixture.add(builder, lib.VF_SNAP_IDENTITIES, "identity")
    fixture.text(builder, "key of shown", site.key)
    with_copies(builder, function(_, bare, checker)
      assert.is_true(has(checker, "key of shown"))
      assert.is_false(has(bare, "key of shown"))
    end)
  end)

  it("is refused of what is no sealed snapshot of this build", function()
    local message, out = ffi.new "char[200]", ffi.new "struct vf_extract"
    local open_fd = ffi.C.memfd_create("spec", 2)
    assert.is_true(lib.vf_extract_make(-1, out, message, 200) < 0)
    assert.is_true(lib.vf_extract_make(open_fd, out, message, 200) < 0)
    ffi.C.close(open_fd)
    local builder = start()
    assert(fixture.finish(builder))
    local bytes, header = copy_of(builder)
    for field, expected in pairs { magic = "magic", layout_hash = "layout of another build", size = "size" } do
      local right = header[field]
      header[field] = right + 1
      local fd = lib.vf_shm_create_sealed("spec", bytes, ffi.sizeof(bytes))
      assert.is_true(lib.vf_extract_make(fd, out, message, 200) < 0)
      assert.is_truthy(ffi.string(message):find(expected, 1, true))
      ffi.C.close(fd)
      header[field] = right
    end
  end)

  it("is refused when a secret lies among the records", function()
    local builder = start()
    identity(builder, "site")
    assert(fixture.finish(builder))
    local bytes, header = copy_of(builder)
    local extent = header.sections[lib.VF_SNAP_IDENTITIES]
    local record = ffi.cast("struct vf_snap_identity *", ffi.cast("char *", header) + extent.offset)
    record.key.offset = extent.offset
    local fd = lib.vf_shm_create_sealed("spec", bytes, ffi.sizeof(bytes))
    local message, out = ffi.new "char[200]", ffi.new "struct vf_extract"
    assert.is_true(lib.vf_extract_make(fd, out, message, 200) < 0)
    ffi.C.close(fd)
  end)
end)
