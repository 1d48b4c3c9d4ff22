--- Pools and a state area for specs of balancing, health and checks.
local ffi = require "ffi"
local headers = require "unit.snapshot.state_header"
local snapshots = require "unit.snapshot.fixture"

local M = { lib = snapshots.lib }
local lib = M.lib

ffi.cdef(headers.state(1))
ffi.cdef [[
struct vf_balance_key { struct vf_str hash_key; uint32_t family; uint8_t ip[16]; };
struct vf_balancers;
int vf_balancers_new(struct vf_state *, int block, uint64_t seed, struct vf_balancers **out);
void vf_balancers_free(struct vf_balancers *);
int vf_balance_pick(struct vf_balancers *, const struct vf_snapshot *, uint32_t pool_index,
                    const struct vf_balance_key *key, uint64_t now_ns, const uint32_t *tried, size_t n_tried,
                    uint32_t *backend_index);
void vf_balance_observe(struct vf_balancers *, const struct vf_snapshot *, uint32_t backend_index, uint64_t latency_us,
                        uint64_t now_ns);
void vf_balance_failed(struct vf_balancers *, const struct vf_snapshot *, uint32_t backend_index, uint64_t now_ns);
bool vf_passive_failed(struct vf_state *, const struct vf_snapshot *, uint32_t pool_index, uint32_t backend_index,
                       uint64_t now_ns);
uint64_t vf_snapb_hash(const char *data, size_t len, uint64_t seed);
int munmap(void *, size_t);
int close(int);
]]

M.ENOBACKEND = -20000
M.ALGORITHMS = { round_robin = 0, least_conn = 1, random = 2, ip_hash = 3, consistent_hash = 4, peak_ewma = 5 }

--- Returns a state area of its own, unmapped with its last reference.
function M.state()
  local out = ffi.new "struct vf_state *[1]"
  local fd = lib.vf_state_create(out)
  assert(fd >= 0)
  ffi.C.close(fd)
  local size = out[0].size
  out[0].blocks[0].lease = lib.VF_BLOCK_LEASED
  return ffi.gc(out[0], function(state) ffi.C.munmap(state, size) end)
end

local slots, n_slots = {}, 0

--- The slot of a backend: the same for the same name, whatever the snapshot.
function M.slot(name)
  if not slots[name] then
    slots[name] = n_slots
    n_slots = n_slots + 1
  end
  return slots[name]
end

function M.id(name) return lib.vf_snapb_hash(name, #name, 0) end

local function add_health(builder, wanted)
  local health, index = snapshots.add(builder, lib.VF_SNAP_HEALTH, "health")
  health.type = wanted.type == "tcp" and 1 or 0
  health.rise, health.fall = wanted.rise or 2, wanted.fall or 3
  health.interval_ms, health.timeout_ms = wanted.interval_ms or 1000, wanted.timeout_ms or 1000
  health.n_ranges = 1
  health.ranges[0].low, health.ranges[0].high = wanted.low or 200, wanted.high or wanted.low or 200
  snapshots.text(builder, wanted.path or "/health", health.path)
  return index
end

local function add_backend(builder, pool, wanted)
  local backend, index = snapshots.add(builder, lib.VF_SNAP_BACKENDS, "backend")
  backend.id, backend.slot = M.id(wanted.name), M.slot(wanted.name)
  backend.weight, backend.pool, backend.health = wanted.weight or 1, pool, snapshots.NONE
  backend.address.family, backend.address.port = wanted.host and 0 or 1, wanted.port or 80
  backend.address.ip[0], backend.address.ip[3] = 127, 1
  snapshots.text(builder, wanted.host or "127.0.0.1", backend.host)
  snapshots.text(builder, (wanted.host or "127.0.0.1") .. ":" .. (wanted.port or 80), backend.address_text)
  if wanted.health then
    local health = add_health(builder, wanted.health)
    ffi.cast("struct vf_snap_backend *", lib.vf_snapb_record(builder, lib.VF_SNAP_BACKENDS, index)).health = health
  end
  return index
end

--- Builds a snapshot with one pool: { algorithm, flags, sticky_cookie, sticky_ttl_ms, proxy_protocol, backends = {
--- { name, weight, host, port, health } } }. `key` fills the sticky key.
-- @return the snapshot, and a table from index in VF_SNAP_BACKENDS to name
function M.snapshot(wanted, version)
  local builder, names = snapshots.builder(), {}
  snapshots.tenant(builder, "default")
  snapshots.add(builder, lib.VF_SNAP_POLICIES, "policy").set = 2 ^ lib.VF_POLICY_FIELDS - 1
  local pool, pool_index = snapshots.add(builder, lib.VF_SNAP_POOLS, "pool")
  pool.id = M.id "pool"
  pool.algorithm = M.ALGORITHMS[wanted.algorithm or "round_robin"]
  pool.flags = wanted.flags or lib.VF_POOL_PASSIVE_HEALTH
  pool.max_connections = 0xffffffffffffffffULL
  pool.sticky_ttl_ms = wanted.sticky_ttl_ms or 0
  pool.proxy_protocol = wanted.proxy_protocol or 0
  snapshots.text(builder, "web", pool.name)
  snapshots.text(builder, wanted.sticky_cookie or "", pool.sticky_cookie)
  for i, backend in ipairs(wanted.backends) do
    local index = add_backend(builder, pool_index, backend)
    names[index] = backend.name
    if i == 1 then pool.backends.first = index end
  end
  pool.backends.count = #wanted.backends
  ffi.fill(lib.vf_snapb_settings(builder).sticky_key, 32, wanted.key or 7)
  return assert(snapshots.finish(builder, version)), names
end

--- Shorthand: backends named a, b, c, ... with these weights.
function M.weighted(algorithm, weights, flags)
  local backends = {}
  for i, weight in ipairs(weights) do backends[i] = { name = string.char(96 + i), weight = weight } end
  return M.snapshot { algorithm = algorithm, backends = backends, flags = flags }
end

local Balancer = {}
Balancer.__index = Balancer

--- A balancer over `state` with the pool of `snapshot`; `now_ns` is its clock.
function M.balancer(state, snapshot, names, seed)
  local out = ffi.new "struct vf_balancers *[1]"
  assert(lib.vf_balancers_new(state, 0, seed or 0, out) == 0)
  return setmetatable({ raw = ffi.gc(out[0], lib.vf_balancers_free), state = state, snapshot = snapshot, names = names,
    now_ns = 10 ^ 12, out = ffi.new "uint32_t[1]", key = ffi.new "struct vf_balance_key" }, Balancer)
end

--- Goes on with another snapshot.
function Balancer:publish(snapshot, names) self.snapshot, self.names = snapshot, names end

--- Picks a backend. Returns its name, or nil and the error code.
-- @param key string to hash, or nil
-- @param tried list of names to avoid
function Balancer:pick(key, tried)
  local avoid, n = ffi.new "uint32_t[8]", 0
  for index, name in pairs(self.names) do
    for _, one in ipairs(tried or {}) do
      if one == name then avoid[n], n = index, n + 1 end
    end
  end
  if key then self.key.hash_key.data, self.key.hash_key.len = key, #key end
  local rc = lib.vf_balance_pick(self.raw, self.snapshot, 0, key and self.key or nil, self.now_ns, avoid, n, self.out)
  if rc ~= 0 then return nil, rc end
  return self.names[self.out[0]]
end

--- Picks for a client address given as bytes.
function Balancer:pick_for(...)
  local key, bytes = ffi.new "struct vf_balance_key", { ... }
  key.family = #bytes == 4 and 1 or 2
  for i, byte in ipairs(bytes) do key.ip[i - 1] = byte end
  assert(lib.vf_balance_pick(self.raw, self.snapshot, 0, key, self.now_ns, nil, 0, self.out) == 0)
  return self.names[self.out[0]]
end

--- Picks `n` times; returns how often each name was chosen. `each(name)` is called after every pick.
function Balancer:tally(n, each)
  local counts = {}
  for _, name in pairs(self.names) do counts[name] = 0 end
  for _ = 1, n do
    local name = self:pick()
    counts[name] = counts[name] + 1
    if each then each(name) end
  end
  return counts
end

--- The shared state of a backend, and its counters in block 0.
function Balancer:backend(name) return self.state.backends[M.slot(name)] end
function Balancer:counters(name) return self.state.blocks[0].backends[M.slot(name)] end

--- The index of a backend in the snapshot.
function Balancer:index(name)
  for index, other in pairs(self.names) do
    if other == name then return index end
  end
end

--- Chi-square statistic of counts against shares in proportion to `weights` (both by name).
function M.chi_square(counts, weights)
  local total, sum, statistic = 0, 0, 0
  for name, weight in pairs(weights) do total, sum = total + counts[name], sum + weight end
  for name, weight in pairs(weights) do
    local expected = total * weight / sum
    statistic = statistic + (counts[name] - expected) ^ 2 / expected
  end
  return statistic
end

return M
