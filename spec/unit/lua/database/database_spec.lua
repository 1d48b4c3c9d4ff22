local conf_fixture = require "unit.conf.fixture"
local ffi = require "ffi"
local fixture = require "unit.store.fixture"
local others = require "unit.store.other"
local databases = require "veloflux.store.database"

local statement, condition = databases.statement, databases.condition

describe("a database", function()
  local bench, folder, path, database
  local FIRST = "CREATE TABLE things (name TEXT UNIQUE, n INTEGER)"
  local INSERT, ALL = "INSERT INTO things VALUES (?1, ?2)", "SELECT name, n FROM things ORDER BY n"

  local function open(migrations)
    return assert(databases.open { host = bench.host, path = path, application_id = 77,
      migrations = migrations or { FIRST } })
  end

  before_each(function()
    folder = conf_fixture.folder {}
    path = folder .. "/a.db"
    bench = fixture.new()
    database = open()
  end)

  after_each(function()
    if database then bench:ask(database, "close") end
    bench:finish()
    conf_fixture.remove(folder)
  end)

  local function all() return bench:ask(database, "run", false, { statement(ALL, 0) })[1] end

  it("gives each statement of a request its values", function()
    local results = bench:ask(database, "run", true, { statement(INSERT, 2, "a", 1), statement(ALL, 0),
      statement(INSERT, 2, nil, 2 ^ 53), statement(ALL, 0), statement("SELECT 1 WHERE 0", 0) })
    assert.same({ { n = 0 }, { "a", 1, n = 2 }, { n = 0 }, { "a", 1, nil, 2 ^ 53, n = 4 }, { n = 0 } }, results)
  end)

  it("takes back what a request of a group has done when it fails in the middle", function()
    local codes, done = {}, 0
    local requests = {
      { statement(INSERT, 2, "a", 1) },
      { statement(INSERT, 2, "b", 2), condition("UPDATE things SET n = 0 WHERE name = ?1", 1, "nobody") },
      { statement(INSERT, 2, "c", 3), statement(INSERT, 2, "a", 4) },
      { statement(INSERT, 2, "d", 5), statement("INSERT INTO nowhere VALUES (1)", 0) },
      { statement(INSERT, 2, "e", 6), condition("UPDATE things SET n = 7 WHERE name = ?1", 1, "a") },
    }
    all() -- the file is open, so that the others wait for each other
    for i, request in ipairs(requests) do
      database:run(true, request, function(err)
        codes[i] = err and err.code or "ok"
        done = done + 1
      end)
    end
    bench:drive(function() return done == #requests end, "the answers")
    assert.same({ "ok", "refused", "wrong", "wrong", "ok" }, codes)
    assert.same({ "e", 6, "a", 7, n = 4 }, all())
  end)

  it("says what does not fit", function()
    local err = bench:call(database, "run", false, { statement("SELECT * FROM nowhere", 0) })
    assert.same({ code = "wrong", message = path .. ": no such table: nowhere" }, err)
  end)

  it("brings a file from an older schema to a newer, wholly or not at all", function()
    bench:ask(database, "run", true, { statement(INSERT, 2, "kept", 1) })
    bench:ask(database, "close")
    database = open { FIRST, "ALTER TABLE things ADD COLUMN more TEXT; CREATE TABLE others (a)", "no SQL" }
    local err = bench:call(database, "run", false, { statement(ALL, 0) })
    assert.equal(path .. ': near "no": syntax error', err.message)
    local other = others.open(path, true)
    assert.same({ { "1" } }, other:run "PRAGMA user_version")
    assert.same({ { "1" } }, other:run "SELECT count(*) FROM sqlite_schema WHERE type = 'table'")
    bench:ask(database, "close")
    database = open { FIRST, "ALTER TABLE things ADD COLUMN more TEXT", "UPDATE things SET more = 'new'" }
    assert.same({ { "kept", 1, "new", n = 3 } },
      bench:ask(database, "run", false, { statement("SELECT name, n, more FROM things", 0) }))
    assert.same({ { "3" } }, other:run "PRAGMA user_version")
    assert.same({ { "77" } }, other:run "PRAGMA application_id")
    other:close()
  end)

  it("ends with requests that nobody waits for any more", function()
    bench:ask(database, "run", false, {})
    local scripts = ffi.new("const char *[1]", { FIRST })
    local schema = ffi.new("struct vf_database_schema", 77, 1, scripts, 5000)
    local out = ffi.new "struct vf_database *[1]"
    assert.equal(0, ffi.C.vf_database_open(bench.host, path, schema, out))
    for i = 1, 20 do
      local request = ffi.C.vf_database_request(i, 1)
      ffi.C.vf_database_statement(request, INSERT, #INSERT, 0)
      ffi.C.vf_database_null(request)
      ffi.C.vf_database_integer(request, i)
      ffi.C.vf_database_submit(out[0], request)
    end
    ffi.C.vf_database_free(out[0])
    assert.equal(40, all().n)
    ffi.C.vf_database_request_free(ffi.C.vf_database_request(1, 1))
  end)

  it("holds more statements than it keeps prepared", function()
    for round = 1, 2 do
      for i = 1, 100 do
        assert.same({ { i * round, n = 1 } }, bench:ask(database, "run", false,
          { statement(("SELECT %d * ?1"):format(i), 1, round) }))
      end
    end
  end)
end)
