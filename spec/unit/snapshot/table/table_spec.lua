--- Tables: what a reader finds in a generation and its delta, what writers may do, what hostile bytes cannot.
local ffi = require "ffi"
local tables = require "unit.snapshot.table_fixture"
local lib = tables.lib

local EPERM, EPROTO, ENOSPC, E2BIG = -1, -71, -28, -7
local DELTA_HEADER = 64

--- Calls body(table, generation_fd, delta_fd) for a table with these entries.
local function with_table(entries, body)
  return function()
    local generation, delta = tables.finish(tables.builder(entries), 1, 7)
    local ok, err = xpcall(body, debug.traceback, assert(tables.open(generation, delta)), generation, delta)
    tables.close(generation, delta)
    if not ok then error(err, 0) end
  end
end

describe("a generation", function()
  it("has what was added, and nothing else", with_table({ a = "1", [""] = "empty", ["k\0z"] = "", b = ("x"):rep(5000) },
    function(table)
      assert.equal("1", tables.get(table, "a"))
      assert.equal("empty", tables.get(table, ""))
      assert.equal("", tables.get(table, "k\0z"))
      assert.equal(("x"):rep(5000), tables.get(table, "b"))
      for _, key in ipairs { "c", "k", "k\0", "aa" } do assert.is_nil(tables.get(table, key)) end
      assert.equal(1, lib.vf_table_kind(table))
      local stats = tables.stats(table)
      assert.same({ 4, 7, 0 }, { stats.entries, stats.sequence, stats.delta_bytes })
    end))

  it("may be empty", with_table({}, function(table)
    assert.is_nil(tables.get(table, "a"))
    assert.equal(0, tables.stats(table).entries)
  end))

  it("keeps the later of two entries with one key", function()
    local builder = tables.builder { a = "old" }
    assert.equal(0, lib.vf_tableb_add(builder, "a", 1, "newer", 5))
    assert.equal(1, tonumber(lib.vf_tableb_count(builder)))
    local generation, delta = tables.finish(builder)
    assert.equal("newer", tables.get(tables.open(generation, delta), "a"))
    tables.close(generation, delta)
  end)

  it("refuses what is too long", function()
    local builder = tables.builder {}
    assert.equal(E2BIG, lib.vf_tableb_add(builder, ("k"):rep(4097), 4097, "", 0))
    local value = ("v"):rep(1024 * 1024 + 1)
    assert.equal(E2BIG, lib.vf_tableb_add(builder, "k", 1, value, #value))
    assert.equal(0, lib.vf_tableb_add(builder, ("k"):rep(4096), 4096, value, #value - 1))
  end)

  it("holds many", function()
    local builder, count = tables.builder {}, 200000
    for i = 1, count do
      local key = "key-auth\0default\0" .. i
      lib.vf_tableb_add(builder, key, #key, tostring(i), #tostring(i))
    end
    local generation, delta = tables.finish(builder)
    local table = tables.open(generation, delta)
    for i = 1, count do
      if tables.get(table, "key-auth\0default\0" .. i) ~= tostring(i) then error("entry " .. i) end
      if tables.get(table, "key-auth\0other\0" .. i) then error("entry " .. i .. " of another") end
    end
    assert.equal(count, tables.stats(table).entries)
    tables.close(generation, delta)
  end)
end)

describe("a delta", function()
  it("changes what readers find, at once and as a whole", with_table({ a = "1", b = "2" }, function(table, fd, delta)
    local read_only = tables.read_only(delta)
    local reader = assert(tables.open(fd, read_only))
    assert.equal("1", tables.get(reader, "a"))
    assert.equal(0, tables.change(table, { { "a", "one" }, { "b" }, { "c", "3" } }))
    assert.equal("one", tables.get(reader, "a"))
    assert.is_nil(tables.get(reader, "b"))
    assert.equal("3", tables.get(reader, "c"))
    assert.equal(8, tonumber(lib.vf_table_sequence(reader)))
    assert.equal(0, tables.change(table, { { "b", "two" }, { "a" } }))
    assert.same({ nil, "two" }, { tables.get(reader, "a"), tables.get(reader, "b") })
    local stats = tables.stats(reader)
    assert.same({ 2, 9 }, { stats.entries, stats.sequence })
    assert.equal(EPERM, tables.change(reader, { { "a", "x" } })) -- a worker only reads
    tables.close(read_only)
  end))

  it("says nothing before it is published", with_table({ a = "1" }, function(table)
    local change = ffi.new "table_change"
    assert.equal(0, lib.vf_change_begin(change, table))
    assert.equal(0, lib.vf_change_put(change, ffi.new("table_str", "b", 1), ffi.new("table_str", "2", 1)))
    assert.is_nil(tables.get(table, "b"))
    lib.vf_change_abort(change)
    assert.equal(0, tables.change(table, { { "c", "3" } }))
    assert.same({ nil, "3" }, { tables.get(table, "b"), tables.get(table, "c") })
    assert.equal(0, tables.change(table, {})) -- of nothing: the number stays
    assert.equal(8, tonumber(lib.vf_table_sequence(table)))
  end))

  it("that is full takes no more, and stays as it was", with_table({}, function(table)
    local value, n = ("v"):rep(100000), 0
    while tables.change(table, { { "k" .. n, value } }) == 0 do n = n + 1 end
    assert.equal(41, n) -- of 4 MiB
    assert.equal(ENOSPC, tables.change(table, { { "small", "1" }, { "large", value } }))
    assert.is_nil(tables.get(table, "small"))
    assert.equal(0, tables.change(table, { { "small", "1" } }))
    assert.equal("1", tables.get(table, "small"))
    assert.is_true(lib.vf_table_is_crowded(table, 0))
    assert.equal(E2BIG, tables.change(table, { { ("k"):rep(5000), "" } }))
  end))

  it("follows random changes as a plain table does", function()
    math.randomseed(20240601)
    local model = {}
    for i = 1, 300 do model["k" .. i] = "v" .. i end
    local builder = tables.builder(model)
    for round = 1, 5 do
      local generation, delta = tables.finish(builder, 1, round)
      local table = assert(tables.open(generation, delta))
      for _ = 1, 400 do
        local records = {}
        for i = 1, math.random(3) do
          local key = "k" .. math.random(600)
          local value = math.random() < 0.6 and ("v"):rep(math.random(0, 40)) .. round or nil
          records[i] = { key, value }
          model[key] = value
        end
        assert(tables.change(table, records) == 0)
        local key = "k" .. math.random(600)
        assert(tables.get(table, key) == model[key])
      end
      local count = 0
      for i = 1, 600 do
        assert.equal(model["k" .. i], tables.get(table, "k" .. i))
        if model["k" .. i] then count = count + 1 end
      end
      assert.equal(count, tables.stats(table).entries)
      builder = tables.builder {}
      assert.equal(0, lib.vf_tableb_add_table(builder, table)) -- the next generation has all of it
      assert.equal(count, tonumber(lib.vf_tableb_count(builder)))
      tables.close(generation, delta)
    end
  end)
end)

describe("a difference", function()
  it("is what has to be appended", with_table({ a = "1", b = "2", c = "3" }, function(table)
    assert.same({ 0, 0, 0 }, tables.compare(table, tables.builder { a = "1", b = "2", c = "3" }))
    local wanted = tables.builder { a = "1", b = "two", d = "4" }
    assert.same({ 2, 1, 16 + 16 + 16 }, tables.compare(table, wanted))
    assert.same({ 3, 0, 48 }, tables.compare(nil, wanted))
    assert.equal(0, lib.vf_table_assimilate(table, wanted, nil))
    assert.same({ 0, 0, 0 }, tables.compare(table, wanted))
    assert.same({ "two", nil, "4" }, { tables.get(table, "b"), tables.get(table, "c"), tables.get(table, "d") })
    assert.equal(8, tonumber(lib.vf_table_sequence(table)))
  end))

  it("that does not fit changes nothing", with_table({ a = "1" }, function(table)
    local entries, value = {}, ("v"):rep(1000000)
    for i = 1, 6 do entries["k" .. i] = value end
    assert.equal(ENOSPC, lib.vf_table_assimilate(table, tables.builder(entries), nil))
    assert.equal("1", tables.get(table, "a"))
    assert.equal(7, tonumber(lib.vf_table_sequence(table)))
  end))
end)

--- Runs `body` in a process of its own. Returns its number.
local function in_child(body)
  local pid = ffi.C.fork()
  if pid == 0 then
    local ok, err = pcall(body)
    if not ok then io.stderr:write(tostring(err), "\n") end
    ffi.C._exit(ok and 0 or 1)
  end
  return pid
end

local function exit_code_of(pid)
  local status = ffi.new "int[1]"
  ffi.C.waitpid(pid, status, 0)
  return status[0]
end

describe("processes", function()
  it("read whole changes while another writes", with_table({}, function(table, generation, delta)
    local rounds = 20000
    local reader = in_child(function()
      local read_only = tables.read_only(delta)
      local mine, last = assert(tables.open(generation, read_only)), 0
      while last < rounds do -- both keys change together: what was read first is never newer
        local a = tonumber(tables.get(mine, "a") or 0)
        local b = tonumber(tables.get(mine, "b") or 0)
        assert(a >= last and b >= a, "torn")
        last = b
      end
    end)
    for i = 1, rounds do assert(tables.change(table, { { "a", tostring(i) }, { "b", tostring(i) } }) == 0) end
    assert.equal(0, exit_code_of(reader))
  end))

  it("see nothing of a writer that dies in the middle, and the next goes on", with_table({ a = "1" },
    function(table, generation, delta)
      local pipe, byte = ffi.new "int[2]", ffi.new "char[1]"
      ffi.C.pipe(pipe)
      local writer = in_child(function()
        local mine, change = assert(tables.open(generation, delta)), ffi.new "table_change"
        lib.vf_change_begin(change, mine)
        lib.vf_change_put(change, ffi.new("table_str", "a", 1), ffi.new("table_str", "half", 4))
        ffi.C.write(pipe[1], "x", 1)
        while true do ffi.C.read(pipe[0], byte, 0) end -- holds the lock until it is killed
      end)
      ffi.C.read(pipe[0], byte, 1)
      assert.equal("1", tables.get(table, "a"))
      ffi.C.kill(writer, 9)
      exit_code_of(writer)
      assert.equal("1", tables.get(table, "a"))
      assert.equal(0, tables.change(table, { { "b", "2" } }))
      assert.same({ "1", "2" }, { tables.get(table, "a"), tables.get(table, "b") })
      tables.close(pipe[0], pipe[1])
    end))

  it("that write at the same time do not mix their changes", with_table({}, function(table, generation, delta)
    local writers, rounds = {}, 2000
    for w = 1, 3 do
      writers[w] = in_child(function()
        local mine = assert(tables.open(generation, delta))
        for i = 1, rounds do assert(tables.change(mine, { { w .. "-" .. i, ("x"):rep(i % 50) } }) == 0) end
      end)
    end
    for w = 1, 3 do assert.equal(0, exit_code_of(writers[w])) end
    for w = 1, 3 do
      for i = 1, rounds do assert(#tables.get(table, w .. "-" .. i) == i % 50) end
    end
    assert.equal(7 + 3 * rounds, tonumber(lib.vf_table_sequence(table)))
  end))
end)

describe("a memfd that is something else", function()
  local function memory_of(fd)
    local file = assert(io.open("/proc/self/fd/" .. fd, "rb"))
    local text = file:read "*a"
    file:close()
    return text
  end

  -- Returns the code with which bytes are refused, or the open table.
  local function open_bytes(generation, delta)
    local a, b = ffi.new("uint64_t[?]", #generation / 8 + 1), ffi.new("uint64_t[?]", #delta / 8 + 1)
    ffi.copy(a, generation, #generation)
    ffi.copy(b, delta, #delta)
    local out = ffi.new "void *[1]"
    local rc = lib.vf_table_open_memory(a, #generation, b, #delta, out)
    if rc < 0 then return rc end
    return out[0], a, b
  end

  it("is refused", with_table({ a = "1" }, function(_, generation, delta)
    local other, other_delta = tables.finish(tables.builder { a = "1" }, 1, 7)
    assert.equal(EPROTO, select(2, tables.open(generation, other_delta))) -- a pair belongs together
    assert.equal(EPERM, select(2, tables.open(delta, generation)))        -- not sealed, not writable
    assert.equal(EPERM, select(2, tables.open(-1, -1)))
    local file = assert(io.open "/etc/passwd")
    local fd = ffi.C.open("/etc/passwd", 0)
    assert.equal(EPERM, select(2, tables.open(fd, fd)))
    file:close()
    tables.close(fd, other, other_delta)
  end))

  it("is refused when its head is damaged or it is cut short", with_table({ a = "1", b = "2" }, function(_, fd, delta)
    local good, good_delta = memory_of(fd), memory_of(delta)
    local table = open_bytes(good, good_delta)
    assert.equal("1", tables.get(table, "a"))
    lib.vf_table_close(table)
    for cut = 0, #good - 1 do assert.equal(EPROTO, (open_bytes(good:sub(1, cut), good_delta))) end
    assert.equal(EPROTO, (open_bytes(good, good_delta:sub(1, DELTA_HEADER - 1))))
    for at = 1, 24 do
      local damaged = good:sub(1, at - 1) .. string.char((good:byte(at) + 1) % 256) .. good:sub(at + 1)
      assert.equal(EPROTO, (open_bytes(damaged, good_delta)))
    end
  end))
end)
