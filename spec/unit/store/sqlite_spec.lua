local conf_fixture = require "unit.conf.fixture"
local contract = require "unit.store.contract"
local fixture = require "unit.store.fixture"
local slices = require "veloflux.slices"
local tempdir = require "support.tempdir"
local uv = require "luv"

local change, put = fixture.change, fixture.put

describe("the store in an SQLite file", function()
  local bench, folder, path

  local function set_up()
    folder = conf_fixture.folder {}
    path = folder .. "/data/veloflux.db"
    bench = fixture.new()
    return bench, function(now_ms) return bench:open(path, now_ms) end
  end

  local function tear_down()
    bench:finish()
    conf_fixture.remove(folder)
  end

  describe("keeps the contract:", function() contract.describe(getfenv(), set_up, tear_down) end)

  describe("and its file", function()
    before_each(set_up)
    after_each(tear_down)

    it("gives each process that leases a token of its own", function()
      local first = bench:open(path)
      assert.equal(1, bench:ask(first, "lease", "jobs", "n1", 1000).token)
      local second = bench:open(path)
      assert.same({ holder = "n1", token = 2, is_mine = true }, bench:ask(second, "lease", "jobs", "n1", 1000))
      assert.same({ holder = "n1", token = 2, is_mine = false }, bench:ask(first, "lease", "jobs", "n1", 1000))
      assert.same({ holder = "n1", token = 2, is_mine = true }, bench:ask(second, "lease", "jobs", "n1", 1000))
    end)

    it("says in its status what is wrong, and since when", function()
      tempdir.write(path, ("not a database\n"):rep(300))
      local now_ms = 1000
      local store = bench:open(path, function() return now_ms end)
      assert.same({ driver = "sqlite", connected = false }, store:status())
      bench:call(store, "load")
      now_ms = 2000
      bench:call(store, "load")
      assert.same({ driver = "sqlite", connected = false, since_ms = 1000,
        error = path .. ": is damaged: file is not a database" }, store:status())
      os.remove(path)
      bench:ask(store, "load")
      assert.same({ driver = "sqlite", connected = true, since_ms = 2000 }, store:status())
    end)

    it("is read in slices when there is much in it, and answers in order", function()
      local store, puts = bench:open(path), {}
      for i = 1, 20000 do puts[i] = put("routes", ("a/r%d"):format(i), ('{"i":%d}'):format(i)) end
      bench:ask(store, "commit", change(1, puts))
      local turns, order = {}, {}
      slices.open { turn = function(fn) turns[#turns + 1] = fn end, on_fault = error }
      finally(function() slices.open {} end)
      local loaded
      store:load(function(err, found)
        order[#order + 1], loaded = "load", found
        assert.is_nil(err)
      end)
      store:get("b", "k", function() order[#order + 1] = "get" end)
      store:close(function() order[#order + 1] = "close" end)
      bench.stores[store] = nil
      local n_turns = 0
      bench:drive(function()
        while turns[1] do
          n_turns = n_turns + 1
          table.remove(turns, 1)()
        end
        return #order == 3
      end, "all answers")
      assert.is_true(n_turns > 0)
      assert.same({ "load", "get", "close" }, order)
      assert.equal('{"i":2999}', loaded.entities.routes["a/r2999"].json)
      assert.is_nil(loaded.entities.routes["a/r20001"])
    end)

    --- What every call to a store of a bad file answers.
    local function refusal()
      local store = bench:open(path)
      local err = bench:call(store, "load")
      assert.same(err, (bench:call(store, "commit", change(1, { put("routes", "a/a", "{}") }))))
      assert.same(err, (bench:call(store, "get", "b", "k")))
      bench:close(store)
      assert.equal("unavailable", err.code)
      return err.message
    end

    it("is for its owner alone", function()
      local store = bench:open(path)
      bench:ask(store, "commit", change(1))
      for _, name in ipairs { "", "-wal", "-shm" } do
        assert.equal(tonumber("600", 8), uv.fs_stat(path .. name).mode % 512, name)
      end
      bench:close(store)
      assert.is_nil(uv.fs_stat(path .. "-wal")) -- written back
      uv.fs_chmod(path, tonumber("644", 8))
      bench:ask(bench:open(path), "load")
      assert.equal(tonumber("600", 8), uv.fs_stat(path).mode % 512)
    end)

    it("is left as it is when it is no database", function()
      tempdir.write(path, ("not a database\n"):rep(300))
      local before = tempdir.read(path)
      assert.equal(path .. ": is damaged: file is not a database", refusal())
      assert.equal(before, tempdir.read(path))
    end)

    it("is left as it is when it is damaged", function()
      local store = bench:open(path)
      for version = 1, 200 do
        bench:ask(store, "commit", change(version, { put("routes", "a/" .. version, ("x"):rep(1000)) }))
      end
      bench:close(store)
      local whole = tempdir.read(path)
      local page = 4096
      for _, damaged in ipairs {
        whole:sub(1, 10 * page), -- cut
        whole:sub(1, 20 * page) .. ("\255"):rep(3 * page) .. whole:sub(23 * page + 1),
        whole:sub(1, page) .. ("\0"):rep(10 * page) .. whole:sub(11 * page + 1),
      } do
        tempdir.write(path, damaged)
        local message = refusal()
        assert.truthy(message:find(path .. ": ", 1, true), message)
        assert.truthy(message:find "damaged" or message:find "malformed", message)
        assert.is_true(damaged == tempdir.read(path), "the damaged file was written to")
      end
      tempdir.write(path, whole) -- restored: the same store goes on
      store = bench:open(path)
      assert.equal(200, bench:ask(store, "load").version)
    end)

    it("is opened again when it has been repaired", function()
      tempdir.write(path, "not a database, and long enough to be told: " .. ("x"):rep(1000))
      local store = bench:open(path)
      assert.equal("unavailable", bench:call(store, "load").code)
      os.remove(path)
      assert.equal(0, bench:ask(store, "load").version)
    end)

    it("is not begun anew beside the log of a lost one", function()
      local store = bench:open(path)
      bench:ask(store, "commit", change(1))
      local log = tempdir.read(path .. "-wal")
      bench:close(store)
      for _, text in ipairs { "", false } do
        os.remove(path)
        if text then tempdir.write(path, text) end
        tempdir.write(path .. "-wal", log)
        assert.truthy(refusal():find(path .. ": is missing or empty, but its log", 1, true))
        assert.is_true(log == tempdir.read(path .. "-wal"))
      end
    end)

    it("says what else it cannot be", function()
      uv.fs_mkdir(folder .. "/data", tonumber("755", 8))
      uv.fs_symlink("/etc/passwd", path)
      assert.equal(path .. ": is not a regular file", refusal())
      os.remove(path)
      path = "/proc/nope/veloflux.db"
      assert.equal(path .. ": cannot be created: No such file or directory", refusal())
    end)
  end)
end)
