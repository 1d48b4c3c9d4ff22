--- The file of usage counters: its format, what happens to files that are not, and rows.
local ffi = require "ffi"
local uv = require "luv"
local loop = require "support.loop"
local peers = require "support.peer"
local tempdir = require "support.tempdir"
local fixture = require "unit.snapshot.usage_fixture"

fixture.declare()
local lib = fixture.lib

local PAGE, ENTRY = 4096, ffi.sizeof "struct vf_usage_tenant"
local ROW = ffi.sizeof "struct vf_usage_row"
local ROWS_AT = ffi.offsetof("struct vf_usage_map", "rows")
local FULL = 0xffffffff
local RLIMIT_FSIZE, SIGXFSZ, EFBIG = 1, 25, 27
ffi.cdef [[
int getrlimit(int, uint64_t *);
int setrlimit(int, const uint64_t *);
int64_t handle_signal(int, int64_t) __asm__("signal");
]]
local SIG_IGN = 1

-- Opens a file with three tenants in a fresh folder, counts 5 for the second, and closes it. Returns the folder.
local function make_file()
  local dir = tempdir.new()
  local file = assert(fixture.open(dir, 2))
  assert.equal(0, (fixture.enter(file, fixture.snapshot { "default", "acme", "late" }, 2)))
  local usage = fixture.view(file)
  assert.equal(0, lib.vf_usage_take_row(usage))
  local cell = lib.vf_usage_cell(usage, 2)
  cell.counts[lib.VF_USAGE_REQUESTS] = 5
  lib.vf_usage_close(usage)
  lib.vf_usage_file_close(file)
  return dir
end

-- Another process takes a row and keeps it.
local function take_row_elsewhere(path)
  local peer = peers.start([[
    local fixture, path = require "unit.snapshot.usage_fixture", ...
    fixture.declare()
    local ffi = require "ffi"
    local usage = ffi.new "struct vf_usage"
    ffi.cdef "int open(const char *, int);"
    assert(fixture.lib.vf_usage_open(usage, ffi.C.open(path, 2)) == 0)
    assert(fixture.lib.vf_usage_take_row(usage) == 0)
    print("row " .. tonumber(usage.row - usage.map.rows))
    stay()]], path)
  assert(peer:wait_line(peer.stdout, "^row")[1], table.concat(peer.stderr, "\n"))
  return peer
end

local function others_in(dir)
  local found = {}
  for name in uv.fs_scandir_next, uv.fs_scandir(dir) do
    if name ~= "usage.counters" then found[#found + 1] = name end
  end
  return found
end

local function cut(path, bytes)
  local fd = assert(uv.fs_open(path, "r+", 0))
  assert(uv.fs_ftruncate(fd, bytes))
  assert(uv.fs_close(fd))
end

local function overwrite(path, at, bytes)
  local file = assert(io.open(path, "r+b"))
  file:seek("set", at)
  file:write(bytes)
  file:close()
end

describe("usage counters", function()
  it("begin at zero, on blocks that are on the disk", loop.spec(function()
    local dir = tempdir.new()
    local file = assert(fixture.open(dir, 3))
    assert.equal(0, (fixture.enter(file, fixture.snapshot { "default" }, 3)))
    local stat = uv.fs_stat(dir .. "/usage.counters")
    assert.equal(ROWS_AT + 3 * ROW, stat.size)
    assert.is_true(stat.blocks * 512 >= stat.size)
    local usage = fixture.view(file)
    assert.equal(0, fixture.requests(usage, 1))
    assert.equal(0, lib.vf_usage_find(usage.map, 1))
    assert.equal(FULL, lib.vf_usage_find(usage.map, 99))
    assert.is_true(lib.vf_usage_cell(usage, 1) == nil) -- no row was taken
    lib.vf_usage_close(usage)
    lib.vf_usage_file_close(file)
  end))

  it("of tenants that a full disk kept out are there when it has room again", loop.spec(function()
    local file = assert(fixture.open(tempdir.new(), 1))
    local snapshot, limit = fixture.snapshot { "default", "acme" }, ffi.new "uint64_t[2]"
    assert.equal(0, ffi.C.getrlimit(RLIMIT_FSIZE, limit))
    local whole = limit[0]
    local before = ffi.C.handle_signal(SIGXFSZ, SIG_IGN)
    limit[0] = 64 * 1024 -- entries fit, the index behind them does not
    assert.equal(0, ffi.C.setrlimit(RLIMIT_FSIZE, limit))
    local failed = fixture.enter(file, snapshot)
    limit[0] = whole
    assert.equal(0, ffi.C.setrlimit(RLIMIT_FSIZE, limit))
    ffi.C.handle_signal(SIGXFSZ, before)
    assert.equal(EFBIG, failed)
    assert.equal(0, (fixture.enter(file, snapshot)))
    local usage = fixture.view(file)
    assert.equal(1, lib.vf_usage_find(usage.map, 2))
    lib.vf_usage_close(usage)
    lib.vf_usage_file_close(file)
  end))

  it("go on from the file, by the identity of the tenant", loop.spec(function()
    local dir = make_file()
    local file = assert(fixture.open(dir))
    -- another order, one gone, one new: columns are what they were
    assert.equal(0, (fixture.enter(file, fixture.snapshot({ "new", "acme" }, { 77, 2 }))))
    local usage = fixture.view(file)
    assert.equal(5, fixture.requests(usage, 2))
    assert.equal(0, fixture.requests(usage, 77))
    assert.equal(3, lib.vf_usage_find(usage.map, 77))
    assert.equal("acme", ffi.string(usage.map.tenants[1].name))
    assert.equal(0, lib.vf_usage_take_row(usage))
    local cell = lib.vf_usage_cell(usage, 2)
    assert.equal(5, tonumber(cell.counts[0])) -- the row of the one that ended
    cell.counts[0] = cell.counts[0] + 1
    assert.equal(6, fixture.requests(usage, 2))
    lib.vf_usage_close(usage)
    lib.vf_usage_file_close(file)
    assert.same({}, others_in(dir))
  end))

  it("have rows that one living process has each, and grow by them", loop.spec(function()
    local dir = make_file()
    local path = dir .. "/usage.counters"
    local first, second = take_row_elsewhere(path), take_row_elsewhere(path)
    assert.equal("row 0", first.stdout[1])
    assert.equal("row 1", second.stdout[1])
    local file = assert(fixture.open(dir))
    local usage = fixture.view(file)
    assert.equal(0, lib.vf_usage_take_row(usage))
    assert.equal(2, tonumber(usage.row - usage.map.rows))
    assert.equal(ROWS_AT + 3 * ROW, uv.fs_stat(path).size)
    lib.vf_usage_cell(usage, 2).counts[0] = 1
    assert.equal(6, fixture.requests(usage, 2))
    first:kill()
    assert.equal(0, lib.vf_usage_take_row(usage))
    assert.equal(0, tonumber(usage.row - usage.map.rows))
    lib.vf_usage_close(usage)
    lib.vf_usage_file_close(file)
  end))

  for what, damage in pairs {
    ["is cut short"] = function(path) cut(path, ROWS_AT + ROW - 1) end,
    ["is cut shorter than its head"] = function(path) cut(path, 10) end,
    ["is empty"] = function(path) cut(path, 0) end,
    ["has another magic"] = function(path) overwrite(path, 0, "X") end,
    ["has another format"] = function(path) overwrite(path, 8, "\2") end,
    ["has a damaged head"] = function(path) overwrite(path, 24, "\255\255") end,
    ["has a damaged directory"] = function(path) overwrite(path, PAGE + ENTRY, "\7") end,
    ["counts entries that are none"] = function(path)
      overwrite(path, ffi.offsetof("struct vf_usage_head", "n_tenants"), "\9")
    end,
    ["counts more entries than there is room for"] = function(path)
      overwrite(path, ffi.offsetof("struct vf_usage_head", "n_tenants"), "\255\255\255")
    end,
    ["is a link"] = function(path)
      assert(uv.fs_rename(path, path .. ".real"))
      assert(uv.fs_symlink(path .. ".real", path))
    end,
    ["is a folder"] = function(path)
      assert(uv.fs_unlink(path))
      assert(uv.fs_mkdir(path, 448))
    end,
  } do
    it("are begun anew when the file " .. what .. ", which is kept", loop.spec(function()
      local dir = make_file()
      damage(dir .. "/usage.counters")
      local before = #others_in(dir)
      local file = assert(fixture.open(dir))
      assert.equal(0, (fixture.enter(file, fixture.snapshot { "default", "acme" })))
      local usage = fixture.view(file)
      assert.equal(0, fixture.requests(usage, 2))
      lib.vf_usage_close(usage)
      lib.vf_usage_file_close(file)
      local others = others_in(dir)
      assert.equal(before + 1, #others)
      local file_again = assert(fixture.open(dir)) -- the new one is good
      lib.vf_usage_file_close(file_again)
      assert.equal(before + 1, #others_in(dir))
    end))
  end

  it("survive an end between the entry of a tenant and its counting", loop.spec(function()
    local dir = make_file()
    overwrite(dir .. "/usage.counters", PAGE + 3 * ENTRY, ("\170"):rep(ENTRY)) -- behind the last that counts
    local file = assert(fixture.open(dir))
    assert.equal(0, (fixture.enter(file, fixture.snapshot({ "acme", "new" }, { 2, 9 }))))
    local usage = fixture.view(file)
    assert.equal(5, fixture.requests(usage, 2))
    assert.equal(3, lib.vf_usage_find(usage.map, 9))
    lib.vf_usage_close(usage)
    lib.vf_usage_file_close(file)
    assert.same({}, others_in(dir))
  end))

  it("have room for so many tenants and say when it is used up", loop.spec(function()
    local dir = tempdir.new()
    local file = assert(fixture.open(dir))
    for part = 0, 1 do
      local names, ids = {}, {}
      for i = 1, 4096 do
        ids[i] = part * 4096 + i
        names[i] = "tenant" .. ids[i]
      end
      assert.equal(0, (fixture.enter(file, fixture.snapshot(names, ids))))
    end
    local code, fault = fixture.enter(file, fixture.snapshot({ "one more" }, { 10000 }))
    assert.equal(28, code) -- ENOSPC
    assert.matches("^tenants: usage.counters has counted for 8192 tenants", fault)
    local usage = fixture.view(file)
    for _, id in ipairs { 1, 4096, 8192 } do assert.equal(id - 1, lib.vf_usage_find(usage.map, id)) end
    assert.equal(FULL, lib.vf_usage_find(usage.map, 10000))
    lib.vf_usage_close(usage)
    lib.vf_usage_file_close(file)
    file = assert(fixture.open(dir))
    lib.vf_usage_file_close(file)
    assert.same({}, others_in(dir))
  end))

  it("cannot be below a folder that is not there", loop.spec(function()
    local file, code, fault = fixture.open(tempdir.new() .. "/none")
    assert.is_nil(file)
    assert.equal(2, code)
    assert.matches("^data_dir: cannot make .*/none/usage.counters %(usage counters%): No such file", fault)
  end))

  it("are not mapped from what is no such file", loop.spec(function()
    local path = tempdir.new() .. "/file"
    tempdir.write(path, ("x"):rep(ROWS_AT + ROW))
    local usage = ffi.new "struct vf_usage"
    assert.equal(-71, lib.vf_usage_open(usage, (assert(uv.fs_open(path, "r+", 0))))) -- EPROTO
    assert.is_true(usage.map == nil)
  end))
end)
