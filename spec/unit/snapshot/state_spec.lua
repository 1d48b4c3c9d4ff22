local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef(require("unit.snapshot.state_header").state())
ffi.cdef [[
const double vf_state_bucket_bounds[13];
int close(int);
int ftruncate(int, long);
int munmap(void *, size_t);
int memfd_create(const char *, unsigned);
]]

local FULL = 0xffffffff
local WORKER, CONTROL, CHECKER = 0, 1, 2
local POOL, BACKEND, ROUTE, LISTENER = 0, 1, 2, 4
local SECOND, MS = 1000000000ULL, 1000000ULL

local function block_at(state, index)
  return ffi.cast("struct vf_state_block *", state + 1) + index
end

--- Runs `body` with a fresh state area.
local function with_state(body)
  return function()
    local out = ffi.new "struct vf_state *[1]"
    local fd = lib.vf_state_create(out)
    assert.is_true(fd >= 0)
    local ok, err = xpcall(body, debug.traceback, out[0], fd)
    ffi.C.munmap(out[0], out[0].size)
    ffi.C.close(fd)
    if not ok then error(err, 0) end
  end
end

local STRIDE = 12 -- bytes between two slots, as in records

--- Sweeps what is not among `ids`.
local function sweep(state, kind, ids, version)
  local kept, count = {}, 0
  for _, id in ipairs(ids) do kept[id] = true end
  local array = ffi.new("uint32_t[?]", 3 * #ids + 1)
  for slot = 0, tonumber(state.n_slots[kind]) - 1 do
    if kept[tonumber(lib.vf_state_slot_id(state, kind, slot))] then
      array[3 * count] = slot
      count = count + 1
    end
  end
  lib.vf_state_slot_sweep(state, kind, array, count, STRIDE, version)
end

describe("state area", function()
  it("is the same memory in every mapping", with_state(function(state, fd)
    local other = lib.vf_state_map(fd)
    assert.is_true(other ~= nil)
    state.published_version = 42
    assert.equal(42, tonumber(other.published_version))
    assert.equal(state.size, other.size)
    ffi.C.munmap(other, other.size)
  end))

  it("stays as long as it is: nobody who has it can take memory away from the others", with_state(function(state, fd)
    assert.equal(-1, ffi.C.ftruncate(fd, 4096))
    assert.equal(-1, ffi.C.ftruncate(fd, ffi.cast("long", state.size + 4096)))
  end))

  it("of another layout is refused", with_state(function(state, fd)
    state.layout_hash = state.layout_hash + 1
    assert.is_true(lib.vf_state_map(fd) == nil)
    assert.equal(71, ffi.errno()) -- EPROTO
    local short = ffi.C.memfd_create("short", 0)
    assert.is_true(lib.vf_state_map(short) == nil)
    ffi.C.close(short)
    assert.is_true(lib.vf_state_map(-1) == nil)
  end))
end)

describe("blocks", function()
  it("are leased once each, until none is left", with_state(function(state)
    local seen = {}
    for i = 1, lib.VF_STATE_BLOCKS do
      local block = lib.vf_state_lease(state, WORKER, i, 100 + i)
      assert.is_true(block >= 0 and not seen[block])
      seen[block] = true
    end
    assert.equal(-1, lib.vf_state_lease(state, WORKER, 0, 1))
  end))

  it("go on counting under the next process of the same kind", with_state(function(state)
    state.generation = 3
    local first = lib.vf_state_lease(state, WORKER, 0, 1)
    local checker = lib.vf_state_lease(state, CHECKER, 0, 2)
    local block = block_at(state, first)
    assert.equal(3, block.generation)
    block.pid = 123
    block.totals.requests = 7
    block.process.exchanges = 5
    block.process.pinned_version = 9
    lib.vf_state_end_lease(state, first)
    lib.vf_state_end_lease(state, checker)
    assert.equal(7, tonumber(block.totals.requests))
    assert.equal(0, tonumber(block.process.exchanges))
    assert.equal(0, tonumber(block.process.pinned_version))
    assert.equal(0, tonumber(block.pid))
    assert.equal(checker, lib.vf_state_lease(state, CHECKER, 0, 3))
    assert.equal(2, lib.vf_state_lease(state, CONTROL, 0, 4))
    assert.equal(first, lib.vf_state_lease(state, WORKER, 6, 5))
    assert.equal(7, tonumber(block.totals.requests))
    assert.equal(6, block.worker)
    assert.equal(5, tonumber(block.incarnation))
  end))

  it("take over those of another kind when none is new", with_state(function(state)
    for i = 1, lib.VF_STATE_BLOCKS do lib.vf_state_lease(state, WORKER, i, i) end
    lib.vf_state_end_lease(state, 5)
    assert.equal(5, lib.vf_state_lease(state, CONTROL, 0, 999))
    assert.equal(CONTROL, block_at(state, 5).kind)
  end))

  it("lose the gauges of listeners and backends with their process, and no counter", with_state(function(state)
    local listener = lib.vf_state_slot_take(state, LISTENER, 11, 1, 1)
    local backend = lib.vf_state_slot_take(state, BACKEND, 22, 1, 1)
    local index = lib.vf_state_lease(state, WORKER, 0, 1)
    local block = block_at(state, index)
    block.listeners[listener].connections, block.listeners[listener].accepted = 4, 40
    local counters = block.backends[backend]
    counters.in_flight, counters.idle, counters.open, counters.requests = 1, 2, 3, 30
    lib.vf_state_end_lease(state, index)
    assert.equal(0, tonumber(block.listeners[listener].connections))
    assert.equal(40, tonumber(block.listeners[listener].accepted))
    assert.equal(0, tonumber(counters.in_flight + counters.idle + counters.open))
    assert.equal(30, tonumber(counters.requests))
  end))

  it("take what is set at run time until their entity is gone", with_state(function(state)
    local CONFIGURED = 0x7fffffffffffffffLL
    local slot = lib.vf_state_slot_take(state, BACKEND, 22, 1, 1)
    local backend = state.backends[slot]
    assert.equal(0, lib.vf_state_override(state, 22, 2, -1))
    assert.equal(2, backend.drain)
    assert.equal(50, lib.vf_backend_weight(backend, 50))
    assert.equal(0, lib.vf_state_override(state, 22, -1, 0))
    assert.equal(2, backend.drain)
    assert.equal(0, lib.vf_backend_weight(backend, 50))
    assert.equal(0, lib.vf_state_override(state, 22, 0, CONFIGURED))
    assert.equal(0, backend.drain)
    assert.equal(50, lib.vf_backend_weight(backend, 50))
    assert.equal(-2, lib.vf_state_override(state, 23, 1, -1)) -- ENOENT
    sweep(state, BACKEND, {}, 2)
    assert.equal(-2, lib.vf_state_override(state, 22, 1, -1))
  end))

  it("say which snapshot is the oldest in use", with_state(function(state)
    assert.equal(8, tonumber(lib.vf_state_oldest_pinned(state, 8)))
    local a, b = lib.vf_state_lease(state, WORKER, 0, 1), lib.vf_state_lease(state, WORKER, 1, 2)
    block_at(state, a).process.pinned_version = 5
    assert.equal(5, tonumber(lib.vf_state_oldest_pinned(state, 8)))
    block_at(state, b).process.pinned_version = 3
    assert.equal(3, tonumber(lib.vf_state_oldest_pinned(state, 8)))
    lib.vf_state_end_lease(state, b)
    assert.equal(5, tonumber(lib.vf_state_oldest_pinned(state, 8)))
  end))
end)

describe("slots", function()
  it("belong to one entity each and are found again", with_state(function(state)
    for id = 1, 500 do assert.equal(id - 1, lib.vf_state_slot_take(state, ROUTE, id, 1, 1)) end
    for id = 500, 1, -1 do assert.equal(id - 1, lib.vf_state_slot_take(state, ROUTE, id, 2, 1)) end
    assert.equal(500, state.n_slots[ROUTE])
    assert.equal(0, lib.vf_state_slot_take(state, POOL, 77, 1, 1)) -- kinds are apart
    assert.equal(1, tonumber(state.route_slots[499].birth_version))
  end))

  it("run out", with_state(function(state)
    for id = 1, lib.VF_STATE_LISTENERS do lib.vf_state_slot_take(state, LISTENER, id, 1, 1) end
    assert.equal(FULL, lib.vf_state_slot_take(state, LISTENER, 1000, 1, 1))
    assert.equal(5, lib.vf_state_slot_take(state, LISTENER, 6, 1, 1))
  end))

  it("of the dead wait until no snapshot knows them", with_state(function(state)
    local block = block_at(state, lib.vf_state_lease(state, WORKER, 0, 1))
    for id = 1, 3 do lib.vf_state_slot_take(state, BACKEND, id, 1, 1) end
    block.backends[1].requests = 9
    state.backends[1].health = lib.VF_HEALTH_DOWN
    sweep(state, BACKEND, { 1, 3 }, 5)
    assert.equal(5, tonumber(state.backend_slots[1].death_version))
    assert.equal(0, tonumber(state.backend_slots[0].death_version))
    assert.equal(3, lib.vf_state_slot_take(state, BACKEND, 4, 6, 4)) -- version 4 still names it
    assert.equal(9, tonumber(block.backends[1].requests))
    assert.equal(1, lib.vf_state_slot_take(state, BACKEND, 5, 6, 5))
    assert.equal(0, tonumber(block.backends[1].requests))
    assert.equal(0, state.backends[1].health)
    assert.equal(2, tonumber(state.backend_slots[1].generation))
    assert.equal(5, tonumber(state.backend_slots[1].id))
    assert.equal(6, tonumber(state.backend_slots[1].birth_version))
    assert.equal(0, tonumber(state.backend_slots[1].death_version))
    assert.equal(4, lib.vf_state_slot_take(state, BACKEND, 2, 6, 5)) -- the dead entity is back, elsewhere
  end))

  it("of the dead wait until nobody is in their gauges any more", with_state(function(state)
    local index = lib.vf_state_lease(state, WORKER, 0, 1)
    local block = block_at(state, index)
    for id = 1, 4 do lib.vf_state_slot_take(state, BACKEND, id, 1, 1) end
    block.backends[1].in_flight, block.backends[1].open, block.backends[2].open = 1, 1, 1
    sweep(state, BACKEND, { 1 }, 5)
    assert.equal(3, lib.vf_state_slot_take(state, BACKEND, 5, 6, 5))
    assert.equal(4, lib.vf_state_slot_take(state, BACKEND, 6, 6, 5)) -- a new one
    assert.equal(1, tonumber(block.backends[1].in_flight))
    block.backends[2].open = 0
    assert.equal(2, lib.vf_state_slot_take(state, BACKEND, 7, 6, 5))
    lib.vf_state_end_lease(state, index) -- its process was killed
    assert.equal(1, lib.vf_state_slot_take(state, BACKEND, 8, 6, 5))
    lib.vf_state_lease(state, WORKER, 0, 2)
    lib.vf_state_slot_take(state, LISTENER, 1, 1, 1)
    block.listeners[0].connections = 2
    sweep(state, LISTENER, {}, 7)
    assert.equal(1, lib.vf_state_slot_take(state, LISTENER, 2, 8, 8))
    block.listeners[0].connections = 0
    assert.equal(0, lib.vf_state_slot_take(state, LISTENER, 3, 8, 8))
  end))

  it("go back to an entity that returns in time, counters and all", with_state(function(state)
    local block = block_at(state, lib.vf_state_lease(state, WORKER, 0, 1))
    local slot = lib.vf_state_slot_take(state, ROUTE, 7, 1, 1)
    block.routes[slot].requests = 3
    sweep(state, ROUTE, {}, 2)
    assert.equal(slot, lib.vf_state_slot_take(state, ROUTE, 7, 3, 1))
    assert.equal(3, tonumber(block.routes[slot].requests))
    assert.equal(1, lib.vf_state_slot_take(state, ROUTE, 8, 9, 9)) -- its old death counts no more
    sweep(state, ROUTE, { 8 }, 10)
    assert.equal(slot, lib.vf_state_slot_take(state, ROUTE, 9, 11, 10))
  end))

  it("are reused in order of death, over many versions", with_state(function(state)
    for version = 1, 300 do -- each version has ten routes of its own
      local ids = {}
      for i = 1, 10 do
        ids[i] = version * 100 + i
        local slot = lib.vf_state_slot_take(state, ROUTE, ids[i], version, version - 1)
        assert.equal(ids[i], tonumber(state.route_slots[slot].id))
      end
      sweep(state, ROUTE, ids, version)
    end
    assert.is_true(state.n_slots[ROUTE] <= 30)
  end))

  it("are known to a control that was replaced", with_state(function(state, fd)
    for id = 1, 4 do lib.vf_state_slot_take(state, POOL, id, 1, 1) end
    sweep(state, POOL, { 1, 2, 3 }, 2)
    local other = lib.vf_state_map(fd) -- another address: the tables of this process do not fit
    assert.equal(2, lib.vf_state_slot_take(other, POOL, 3, 3, 2))
    assert.equal(3, lib.vf_state_slot_take(other, POOL, 5, 3, 2))
    ffi.C.munmap(other, other.size)
  end))

  it("are quick to find among 100,000", with_state(function(state)
    local start = os.clock()
    for id = 1, 100000 do lib.vf_state_slot_take(state, ROUTE, id * 7919ULL, 1, 1) end
    for id = 1, 100000 do lib.vf_state_slot_take(state, ROUTE, id * 7919ULL, 2, 1) end
    assert.equal(100000, state.n_slots[ROUTE])
    assert.is_true(os.clock() - start < (os.getenv "VF_SAN" and 5 or 1))
  end))
end)

describe("counting", function()
  it("puts a latency into the bucket whose bound it does not pass", with_state(function(state)
    local histogram = block_at(state, 0).pools[0].latency[0]
    for _, us in ipairs { 0, 1000, 1001, 2500, 10000000, 10000001, 99999999 } do
      lib.vf_state_observe(histogram, us)
    end
    local counts = {}
    for i = 0, lib.VF_STATE_BUCKETS - 1 do counts[i + 1] = tonumber(histogram.buckets[i]) end
    assert.same({ 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2 }, counts)
    assert.equal(120004501, tonumber(histogram.sum_us))
    assert.equal(0.001, lib.vf_state_bucket_bounds[0])
    assert.equal(10, lib.vf_state_bucket_bounds[12])
  end))

  it("keeps the latencies of seven methods apart, and of all others together", function()
    local last, apart = lib.VF_STATE_METHODS - 1, 0
    assert.equal(-1, lib.vf_state_method_at(last))
    for method = 0, 63 do
      local place = lib.vf_state_method(method)
      if place ~= last then
        assert.equal(method, lib.vf_state_method_at(place))
        apart = apart + 1
      end
    end
    assert.equal(7, apart)
    local GET, TRACE = 1, 7
    assert.same({ 0, last }, { lib.vf_state_method(GET), lib.vf_state_method(TRACE) })
  end)

  it("keeps methods and statuses apart and loses none when there are too many", with_state(function(state)
    local pool, total = block_at(state, 0).pools[3], 0
    lib.vf_state_count_status(pool, 1, 200)
    lib.vf_state_count_status(pool, 1, 200)
    for status = 200, 299 do lib.vf_state_count_status(pool, 3, status) end
    local by_key = {}
    for i = 0, lib.VF_STATE_STATUS_CELLS - 1 do
      local cell = pool.statuses[i]
      by_key[tonumber(cell.key)] = tonumber(cell.count)
      total = total + tonumber(cell.count)
    end
    assert.equal(102, total)
    assert.equal(2, by_key[1 * 65536 + 200])
    assert.equal(1, by_key[3 * 65536 + 200])
    assert.equal(102 - 2 - 62, by_key[0xffffffff])
  end))

  it("keeps recent errors, cut and without control characters", with_state(function(state)
    local block = block_at(state, 0)
    local path = "/a\r\n\27" .. ("b"):rep(200)
    for i = 1, lib.VF_STATE_ERRORS + 1 do
      lib.vf_state_add_error(block, 500 + i % 4, "backend_refused", path, #path, 3, FULL)
    end
    assert.equal(lib.VF_STATE_ERRORS + 1, tonumber(block.n_errors))
    local newest = block.errors[0]
    assert.equal(501, newest.status)
    assert.equal("backend_refused", ffi.string(newest.reason))
    assert.equal("/a???" .. ("b"):rep(90), ffi.string(newest.path))
    assert.equal(3, newest.pool_slot)
    assert.equal(0, tonumber(newest.seq) % 2)
    assert.is_true(newest.wall_ms > 1600000000000ULL)
  end))
end)

describe("backends", function()
  local function backend(fields)
    return ffi.new("struct vf_backend_state", fields or {})
  end

  local function is_usable(fields, now)
    return lib.vf_backend_is_usable(backend(fields), now or 100 * SECOND)
  end

  it("are usable unchecked and when they are up", function()
    assert.is_true(is_usable())
    assert.is_true(is_usable { health = lib.VF_HEALTH_UP, checked_ns = 99 * SECOND, interval_ms = 1000 })
  end)

  it("are down for as long as three intervals after the check", function()
    local down = { health = lib.VF_HEALTH_DOWN, checked_ns = 100 * SECOND, interval_ms = 1000 }
    assert.is_false(is_usable(down, 100 * SECOND))
    assert.is_false(is_usable(down, 103 * SECOND))
    assert.is_true(is_usable(down, 103 * SECOND + MS))
    assert.is_false(is_usable(down, 99 * SECOND)) -- the check ended while we looked
  end)

  it("are not usable drained, disabled or ejected", function()
    assert.is_false(is_usable { drain = 1 })
    assert.is_false(is_usable { drain = 2 })
    assert.is_false(is_usable { ejected_until_ns = 101 * SECOND })
    assert.is_true(is_usable { ejected_until_ns = 100 * SECOND })
  end)

  it("have the weight of the conf file until one is set at run time", function()
    assert.equal(100, lib.vf_backend_weight(backend(), 100))
    assert.equal(0, lib.vf_backend_weight(backend { weight = 1 }, 100))
    assert.equal(7, lib.vf_backend_weight(backend { weight = 8 }, 100))
  end)
end)
