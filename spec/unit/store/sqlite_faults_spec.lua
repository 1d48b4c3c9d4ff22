local conf_fixture = require "unit.conf.fixture"
local ffi = require "ffi"
local fixture = require "unit.store.fixture"
local loop = require "support.loop"
local others = require "unit.store.other"
local peers = require "support.peer"
local tempdir = require "support.tempdir"
local uv = require "luv"

ffi.cdef [[
struct rlimit_of_spec { unsigned long current, maximum; };
int getrlimit(int what, struct rlimit_of_spec *);
int setrlimit(int what, const struct rlimit_of_spec *);
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int umount(const char *target);
]]

local change, put = fixture.change, fixture.put
local RLIMIT_FSIZE, SIGXFSZ = 1, 25
local KIB = 1024

describe("the store in an SQLite file, when", function()
  local bench, folder, path

  before_each(function()
    folder = conf_fixture.folder {}
    path = folder .. "/veloflux.db"
    bench = fixture.new()
  end)

  after_each(function()
    bench:finish()
    conf_fixture.remove(folder)
  end)

  local function text(version) return ('{"of":%d}'):format(version) end

  --- Two entities in each version: one of half a change would be alone.
  local function pair(version)
    return change(version, { put("routes", "a/" .. version % 7, text(version)),
      put("pools", "a/" .. version % 5, text(version)) })
  end

  --- The store has versions 1 to `last`, each whole.
  local function check_whole(store, last)
    local state = bench:ask(store, "load")
    assert.equal(last, state.version)
    local seen = last
    for _, record in ipairs(bench:ask(store, "versions", { limit = last + 1 })) do
      assert.equal(seen, record.version)
      local changes = bench:ask(store, "version", seen).changes
      assert.equal(2, #changes)
      assert.equal(text(seen), changes[1].after)
      assert.equal(text(seen), changes[2].after)
      assert.equal(seen > 5 and text(seen - 5) or nil, changes[1].before)
      seen = seen - 1
    end
    assert.equal(0, seen)
    if last > 0 then assert.same(state.entities, bench:ask(store, "at", last)) end
  end

  local COMMITTER = [[
    local path, in_flight, target = ...
    local fixture = require "unit.store.fixture"
    local bench = fixture.new()
    local store = bench:open(path)
    local version = bench:ask(store, "load").version
    local acknowledged = version
    local function commit()
      version = version + 1
      local number, text = version, ('{"of":%d}'):format(version)
      store:commit(fixture.change(number, { fixture.put("routes", "a/" .. number % 7, text),
        fixture.put("pools", "a/" .. number % 5, text) }), function(err)
        assert(not err, err and err.message)
        acknowledged = number
        print("acknowledged " .. number)
        commit()
      end)
    end
    for _ = 1, tonumber(in_flight) do commit() end
    bench:drive(function() return acknowledged >= tonumber(target) end, "the commits")
    stay()
  ]]

  it("its process is killed, has every change that was acknowledged, and none by half", function()
    local last = 0
    math.randomseed(tonumber(os.getenv "VF_SEED") or 7)
    for round = 1, 6 do
      local in_flight = round % 2 == 0 and 1 or 32
      local victim_at = last + math.random(20, 330)
      loop.run(function()
        local peer = peers.start(COMMITTER, path, tostring(in_flight), tostring(last + 1000))
        peer:wait_line(peer.stdout, "acknowledged " .. victim_at)
        uv.kill(peer.pid, "sigkill") -- it goes on committing until this moment
        peer:wait_exit()
        peer:wait_output()
        assert.equal("", table.concat(peer.stderr, "\n"))
        last = tonumber(peer.stdout[#peer.stdout]:match "^acknowledged (%d+)$" or peer.stdout[#peer.stdout - 1]
          :match "^acknowledged (%d+)$")
      end)
      assert.is_true(last >= victim_at)
      local store = bench:open(path)
      local version = bench:ask(store, "load").version
      assert.is_true(version >= last, ("version %d was acknowledged, %d is there"):format(last, version))
      assert.is_true(version <= last + in_flight)
      check_whole(store, version)
      bench:close(store)
      last = version
    end
  end)

  --- Commits larger and larger changes until one fails. Returns the number of the last that did not, and the error.
  local function fill(store, version)
    for number = version + 1, version + 4000 do
      local err = bench:call(store, "commit", change(number, { put("blobs", "a/" .. number, ("x"):rep(8 * KIB)) }))
      if err then return number - 1, err end
    end
    error "the disk is never full"
  end

  --- What holds when writing begins to fail, and when it works again.
  local function check_full(make_room)
    local store = bench:open(path)
    for version = 1, 20 do bench:ask(store, "commit", pair(version)) end
    local last, err = fill(store, 20)
    assert.equal("io", err.code)
    assert.truthy(err.message:find(path .. ": ", 1, true), err.message)
    local state = bench:ask(store, "load") -- reads go on
    assert.equal(last, state.version)
    assert.is_nil(state.entities.blobs["a/" .. last + 1])
    assert.is_nil(bench:ask(store, "version", last + 1))

    local outcome, done = {}, 0
    for i = 1, 6 do -- in one group: what does not fit takes nothing with it that is whole
      local big = i % 2 == 1 and ("y"):rep(512 * KIB) or "small"
      store:put("bucket", "k" .. i, big, nil, function(problem)
        outcome[i] = problem and problem.code or "ok"
        done = done + 1
      end)
    end
    bench:drive(function() return done == 6 end, "six answers")
    for i = 1, 6 do
      assert.equal(outcome[i] == "ok" and (i % 2 == 1 and ("y"):rep(512 * KIB) or "small") or nil,
        bench:ask(store, "get", "bucket", "k" .. i))
      if i % 2 == 1 then assert.equal("io", outcome[i]) end
    end

    make_room()
    bench:ask(store, "commit", change(last + 1, { put("blobs", "a/after", "{}") }))
    bench:close(store)
    store = bench:open(path)
    assert.equal(last + 1, bench:ask(store, "load").version)
    for version = 1, 20 do assert.equal(2, #bench:ask(store, "version", version).changes) end
    bench:close(store)
  end

  it("files must not grow, writes nothing by half and goes on later", function()
    local limit, lower = ffi.new "struct rlimit_of_spec", ffi.new "struct rlimit_of_spec"
    ffi.C.getrlimit(RLIMIT_FSIZE, limit)
    lower.current, lower.maximum = 700 * KIB, limit.maximum
    ffi.C.signal(SIGXFSZ, 1) -- ignored: writes fail with EFBIG
    ffi.C.setrlimit(RLIMIT_FSIZE, lower)
    local ok, problem = pcall(check_full, function() ffi.C.setrlimit(RLIMIT_FSIZE, limit) end)
    ffi.C.setrlimit(RLIMIT_FSIZE, limit)
    if not ok then error(problem, 0) end
  end)

  it("the disk is full, writes nothing by half and goes on later", function()
    local disk = folder .. "/disk"
    uv.fs_mkdir(disk, tonumber("755", 8))
    if ffi.C.mount("tmpfs", disk, "tmpfs", 0, "size=1m") ~= 0 then
      pending "mounting a small disk takes root"
      return
    end
    path = disk .. "/veloflux.db"
    tempdir.write(disk .. "/ballast", ("b"):rep(100 * KIB))
    local ok, problem = pcall(check_full, function()
      assert(ffi.C.mount("tmpfs", disk, "tmpfs", 32, "size=8m") == 0) -- MS_REMOUNT
    end)
    for store in pairs(bench.stores) do bench:close(store) end
    assert(ffi.C.umount(disk) == 0)
    if not ok then error(problem, 0) end
  end)

  it("another process reads, commits all the same", function()
    local store = bench:open(path)
    bench:ask(store, "commit", pair(1))
    local reader = others.open(path, true)
    reader:run "BEGIN"
    assert.same({ { "1" } }, reader:run "SELECT max(number) FROM versions")
    for version = 2, 300 do bench:ask(store, "commit", pair(version)) end
    assert.same({ { "1" } }, reader:run "SELECT max(number) FROM versions") -- its own, unharmed
    reader:run "COMMIT"
    assert.same({ { "300" } }, reader:run "SELECT max(number) FROM versions")
    bench:close(store)
    reader:close()
    check_whole(bench:open(path), 300)
  end)

  it("another process writes, waits for it, and says so after a while", function()
    local store = bench:open(path, nil, 50)
    bench:ask(store, "commit", pair(1))
    local writer = others.open(path)
    writer:run "BEGIN IMMEDIATE"
    local err = bench:call(store, "commit", pair(2))
    assert.same({ code = "unavailable", message = path .. ": database is locked" }, err)
    assert.equal(1, bench:ask(store, "load").version)
    writer:run "COMMIT"
    bench:ask(store, "commit", pair(2))

    local patient = bench:open(path, nil, 3600 * 1000)
    bench:ask(patient, "load")
    writer:run "BEGIN IMMEDIATE"
    local answer
    patient:commit(pair(3), function(problem) answer = { problem } end)
    bench:ask(store, "load") -- the other thread has its turn meanwhile
    assert.is_nil(answer)
    writer:run "COMMIT"
    bench:drive(function() return answer end, "the patient one")
    assert.same({}, answer)
    writer:close()
    check_whole(store, 3)
  end)

  it("two nodes commit the same version, lets the first win", function()
    local one, two = bench:open(path), bench:open(path)
    bench:ask(one, "commit", pair(1))
    assert.equal("conflict", bench:call(two, "commit", pair(1)).code)
    bench:ask(two, "commit", pair(2))
    assert.equal("conflict", bench:call(one, "commit", pair(2)).code)
    check_whole(one, 2)
  end)

  it("the file is another program's, or a newer version's, leaves it alone", function()
    local other = others.open(path)
    other:run "CREATE TABLE recipes (name TEXT)"
    local function refusal()
      local store = bench:open(path)
      local err = bench:call(store, "commit", pair(1))
      bench:close(store)
      assert.equal("unavailable", err.code)
      return err.message
    end
    assert.equal(path .. ": is a database of another program", refusal())
    assert.same({ { "recipes" } }, other:run "SELECT name FROM sqlite_schema")
    other:run "PRAGMA application_id = 0x56464c58"
    other:run "PRAGMA user_version = 1000"
    local newer = ": was written by a newer version (its schema is 1000, this one knows"
    assert.truthy(refusal():find(path .. newer, 1, true))
    assert.same({ { "recipes" } }, other:run "SELECT name FROM sqlite_schema")
    other:close()
  end)
end)
