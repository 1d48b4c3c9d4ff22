--- Rate-limit cells: exact while they are few, strict when they are many, the same for all processes.
local ffi = require "ffi"
local loop = require "support.loop"
local peers = require "support.peer"
local fixture = require "unit.snapshot.shared_fixture"

local lib = fixture.lib
local MS, SECOND, DAY = 1000000ULL, 1000000000ULL, 86400ULL * 1000000000ULL
local NEVER = 0xffffffffffffffffULL

local function limit_of(interval, burst) return ffi.new("struct vf_gcra", interval, (burst - 1) * interval) end

local answer = ffi.new "struct vf_cells_answer"
local function take(cells, key, limit, cost, now)
  return lib.vf_cells_take(cells, key, #key, limit, cost, now, answer)
end

local function info_of(cells, now)
  local info = ffi.new "struct vf_cells_info"
  lib.vf_cells_info(cells, now, info)
  return info
end

--- Runs `body` with a table of `n` cells that begins at `now`.
local function with_cells(n, body)
  return function()
    local memory, path, close = fixture.create(lib.vf_cells_bytes(n))
    local cells = ffi.cast("struct vf_cells *", memory)
    lib.vf_cells_init(cells, n, SECOND)
    local ok, err = xpcall(body, debug.traceback, cells, path)
    close()
    if not ok then error(err, 0) end
  end
end

describe("rate-limit cells", function()
  it("admit a burst and then the rate, and say how things stand", with_cells(64, function(cells)
    local limit, now = limit_of(100 * MS, 3), 5 * SECOND
    for left = 2, 0, -1 do
      assert.equal(lib.VF_CELLS_ADMITTED, take(cells, "ana", limit, 1, now))
      assert.equal(left, tonumber(answer.left))
      assert.equal(0, tonumber(answer.retry_ns))
      assert.equal((3 - left) * 100 * MS, answer.reset_ns)
    end
    assert.equal(lib.VF_CELLS_REFUSED, take(cells, "ana", limit, 1, now))
    assert.equal(100 * MS, answer.retry_ns)
    assert.equal(lib.VF_CELLS_ADMITTED, take(cells, "bob", limit, 1, now))
    assert.equal(lib.VF_CELLS_ADMITTED, take(cells, "ana", limit, 1, now + 100 * MS))
    assert.equal(lib.VF_CELLS_REFUSED, take(cells, "ana", limit, 1, now + 100 * MS))
    assert.equal(lib.VF_CELLS_ADMITTED, take(cells, "ana", limit, 0, now + 100 * MS)) -- only asks
    assert.equal(0, tonumber(answer.left))
    assert.equal(2, tonumber(info_of(cells, now + 99 * MS).busy))
    assert.equal(0, tonumber(info_of(cells, now + 10 * SECOND).busy))
  end))

  it("take several at once or none", with_cells(64, function(cells)
    local limit, now = limit_of(10 * MS, 10), 5 * SECOND
    assert.equal(lib.VF_CELLS_REFUSED, take(cells, "k", limit, 11, now))
    assert.equal(NEVER, answer.retry_ns)
    assert.equal(0, tonumber(info_of(cells, now).claims)) -- what can never be needs no cell
    assert.equal(lib.VF_CELLS_ADMITTED, take(cells, "k", limit, 7, now))
    assert.equal(3, tonumber(answer.left))
    assert.equal(lib.VF_CELLS_REFUSED, take(cells, "k", limit, 4, now))
    assert.equal(10 * MS, answer.retry_ns)
    assert.equal(lib.VF_CELLS_ADMITTED, take(cells, "k", limit, 3, now))
  end))

  it("follow the plain algorithm, whatever comes", with_cells(4096, function(cells)
    math.randomseed(11)
    local limits, due, now = {}, {}, 5 * SECOND
    for i = 1, 20 do limits[i], due[i] = limit_of(math.random(1, 5000) * 1000ULL, math.random(1, 30)), 0ULL end
    for _ = 1, 20000 do
      now = now + math.random(0, 400) * 1000ULL
      local i, cost = math.random(20), math.random(0, 3)
      local limit = limits[i]
      local from = due[i] > now and due[i] or now
      local fits = cost == 0 or from + (cost - 1) * limit.interval_ns - now <= limit.slack_ns
      assert.equal(fits and lib.VF_CELLS_ADMITTED or lib.VF_CELLS_REFUSED, take(cells, "key" .. i, limit, cost, now))
      if fits and cost > 0 then due[i] = from + cost * limit.interval_ns end
    end
  end))

  it("round to the strict side", with_cells(64, function(cells)
    local limit, now, n = limit_of(1500, 1), 5 * SECOND, 0 -- 1.5 us are 2
    for at = 0, 9999 do
      if take(cells, "k", limit, 1, now + at * 100) == lib.VF_CELLS_ADMITTED then n = n + 1 end
    end
    assert.equal(500, n) -- in 1 ms; 666 would be the limit
  end))

  it("refuse what has no cell, and have one for it when somebody's time has come", with_cells(64, function(cells)
    local limit, now, refused = limit_of(SECOND, 1), 5 * SECOND, nil
    for i = 1, 200 do
      if take(cells, "key" .. i, limit, 1, now + i * MS) == lib.VF_CELLS_FULL then
        refused = refused or { "key" .. i, answer.retry_ns, now + i * MS }
      end
    end
    assert.equal(136, tonumber(info_of(cells, now + 200 * MS).full)) -- 64 have theirs
    assert.equal(64, tonumber(info_of(cells, now + 200 * MS).busy))
    local key, retry, at = unpack(refused)
    assert.is_true(retry > 0 and retry < SECOND)
    assert.equal(lib.VF_CELLS_FULL, take(cells, key, limit, 1, at + retry - 1000))
    assert.equal(lib.VF_CELLS_ADMITTED, take(cells, key, limit, 1, at + retry))
    -- nobody who has a cell ever lost it
    for i = 1, 200 do
      assert.not_equal(lib.VF_CELLS_ADMITTED, take(cells, "key" .. i, limit, 1, now + 500 * MS))
    end
  end))

  it("survive times that come round, when they are swept", with_cells(64, function(cells)
    local limit, now = limit_of(SECOND, 1), 5 * SECOND
    for i = 1, 64 do take(cells, "key" .. i, limit, 1, now) end
    for day = 1, 400, 50 do lib.vf_cells_sweep(cells, now + day * DAY) end
    local later = now + 400 * DAY
    assert.equal(0, tonumber(info_of(cells, later).busy))
    for i = 1, 8 do assert.equal(lib.VF_CELLS_ADMITTED, take(cells, "key" .. i, limit, 1, later)) end
    assert.equal(lib.VF_CELLS_REFUSED, take(cells, "key1", limit, 1, later))
    lib.vf_cells_sweep(cells, later + 10 * MS) -- takes nothing from those who owe
    assert.equal(lib.VF_CELLS_REFUSED, take(cells, "key1", limit, 1, later + 10 * MS))
  end))

  it("cut a slack that is longer than 50 days", with_cells(64, function(cells)
    local limit, now = ffi.new("struct vf_gcra", DAY, 365 * DAY), 5 * SECOND
    local n = 0
    while n < 400 and take(cells, "k", limit, 1, now) == lib.VF_CELLS_ADMITTED do n = n + 1 end
    assert.equal(52, n)
  end))

  it("are whole and strict after processes were killed over them", loop.spec(function()
    local memory, path, close = fixture.create(lib.vf_cells_bytes(4096))
    loop.defer(close)
    local cells = ffi.cast("struct vf_cells *", memory)
    lib.vf_cells_init(cells, 4096, lib.vf_clock_ns())
    for i = 1, 20 do
      local victim = peers.start([[
        local ffi = require "ffi"
        local fixture, path, begin = require "unit.snapshot.shared_fixture", ...
        local lib, cells = fixture.lib, ffi.cast("struct vf_cells *", fixture.map(path))
        local limit, answer = ffi.new("struct vf_gcra", 3600e9, 2 * 3600e9), ffi.new "struct vf_cells_answer"
        print "working"
        for round = 1, math.huge do
          local key = "key" .. (begin + round % 10)
          lib.vf_cells_take(cells, key, #key, limit, 1, lib.vf_clock_ns(), answer)
        end]], path, tostring(i * 10))
      victim:wait_line(victim.stdout, "working")
      victim:kill()
    end
    local limit = limit_of(3600 * SECOND, 3)
    for i = 10, 209 do
      local key, admitted = "key" .. i, 0
      take(cells, key, limit, 0, lib.vf_clock_ns())
      local left = tonumber(answer.left)
      for _ = 1, 5 do
        if take(cells, key, limit, 1, lib.vf_clock_ns()) == lib.VF_CELLS_ADMITTED then admitted = admitted + 1 end
      end
      assert.equal(left, admitted)
      assert.equal(lib.VF_CELLS_REFUSED, tonumber(answer.status))
    end
  end))

  it("are never lenient when several processes begin the same keys at once", loop.spec(function()
    local memory, path, close = fixture.create(lib.vf_cells_bytes(65536))
    loop.defer(close)
    local cells = ffi.cast("struct vf_cells *", memory)
    lib.vf_cells_init(cells, 65536, lib.vf_clock_ns())
    local crowd = {}
    for i = 1, 4 do
      crowd[i] = peers.start([[
        local ffi = require "ffi"
        local fixture, path = require "unit.snapshot.shared_fixture", ...
        local lib, cells = fixture.lib, ffi.cast("struct vf_cells *", fixture.map(path))
        local limit, answer = ffi.new("struct vf_gcra", 3600e9, 2 * 3600e9), ffi.new "struct vf_cells_answer"
        local counts, go = {}, "go"
        while lib.vf_cells_take(cells, go, 2, limit, 0, lib.vf_clock_ns(), answer) == 0 and answer.left == 3 do end
        for i = 1, 3000 do
          local key = "key" .. i
          for _ = 1, 5 do
            if lib.vf_cells_take(cells, key, #key, limit, 1, lib.vf_clock_ns(), answer) == 0 then
              counts[i] = (counts[i] or 0) + 1
            end
          end
        end
        for i = 1, 3000 do io.write(counts[i] or 0, " ") end
        print "done"]], path)
    end
    take(cells, "go", limit_of(3600 * SECOND, 3), 1, lib.vf_clock_ns())
    local sums = {}
    for _, peer in ipairs(crowd) do
      peer:wait_exit()
      peer:wait_output()
      local i = 0
      for count in assert(peer.stdout[1], table.concat(peer.stderr, "\n")):gmatch "%d+" do
        i = i + 1
        sums[i] = (sums[i] or 0) + tonumber(count)
      end
      assert.equal(3000, i)
    end
    for i = 1, 3000 do assert.equal(3, sums[i], "key" .. i) end
    assert.equal(0, tonumber(info_of(cells, lib.vf_clock_ns()).full))
  end))
end)
