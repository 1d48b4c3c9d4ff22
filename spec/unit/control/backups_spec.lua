--- Backups in a folder: the schedule, what is kept, and what is listed.
require "support.library"
local backups = require "veloflux.control.backups"
local contents = require "veloflux.content"
local counts = require "veloflux.control.backup_counts"
local doors = require "support.door"
local tempdir = require "support.tempdir"

local HOUR, DAY = 3600 * 1000, 24 * 3600 * 1000
local NOON = 20000 * DAY + 12 * HOUR

local function settings(more)
  local all = { every = math.huge, at = "", keep = 2, path = "", passphrase = "" }
  for name, value in pairs(more or {}) do all[name] = value end
  return all
end

describe("a schedule", function()
  it("is due so long after the last one", function()
    assert.is_nil(backups.due(settings(), 0, NOON))
    local hourly = settings { every = HOUR }
    assert.equal(NOON, backups.due(hourly, 0, NOON))
    assert.equal(NOON + HOUR, backups.due(hourly, NOON, NOON + 5))
  end)

  it("is due at a time of the day, and what was missed is made up for", function()
    local at = settings { at = "03:00" }
    local three = NOON - 9 * HOUR
    assert.equal(three + DAY, backups.due(at, 0, NOON))
    assert.equal(three + DAY, backups.due(at, three, NOON))
    assert.equal(three, backups.due(at, three - DAY, NOON))
    assert.equal(three, backups.due(at, three - DAY, three))
    assert.equal(three, backups.due(settings { at = "03:00" }, three - DAY - 1, three - 1) + DAY)
  end)
end)

describe("backups", function()
  local door, node

  before_each(function()
    door = doors.open "pools: []\n"
    backups.open()
    node = { data_dir = door.folder, backups = settings { every = HOUR } }
  end)

  after_each(function() door.close() end)

  local function ids()
    local list = {}
    for i, found in ipairs(backups.list(node)) do list[i] = found.id end
    return list
  end

  it("are made when due, and old ones of the schedule go", function()
    assert.is_true(backups.store(node, { now_ms = NOON, origin = "api" }).ok)
    for i = 0, 3 do
      backups.tick(node, NOON + i * HOUR)
      backups.tick(node, NOON + i * HOUR + 1)
    end
    local list = backups.list(node)
    assert.equal(3, #list)
    assert.same({ "schedule", "schedule", "api" }, { list[1].origin, list[2].origin, list[3].origin })
    assert.equal(NOON + 3 * HOUR, list[1].created_ms)
    assert.equal(NOON + 4 * HOUR, backups.next(node, NOON + 3 * HOUR))
    assert.same({ 4, 0, NOON + 3 * HOUR }, { counts.get().stored, counts.get().failed, counts.get().last_ms })
    backups.open() -- another process: it knows from the folder
    backups.tick(node, NOON + 3 * HOUR + 5)
    assert.equal(3, #backups.list(node))
    assert.equal(NOON + 3 * HOUR, counts.get().last_ms)
  end)

  it("say what they are", function()
    local made = backups.store(node, { now_ms = NOON, origin = "api", passphrase = "correct horse" }).backup
    assert.same({ "passphrase", 1, 64 + 7 }, { made.key, made.version, #made.checksum })
    local content = backups.open_archive(node, made.id)
    assert.equal(made.size, #contents.piece(content))
    contents.close(content)
    assert.equal("not_found", select(3, backups.open_archive(node, "nothing")))
    assert.equal("veloflux-backup-20241004-120000", made.id)
    assert.equal("veloflux-backup-20241004-120000-2", backups.store(node, { now_ms = NOON, origin = "api" }).backup.id)
    assert.is_true(backups.delete(node, made.id))
    assert.is_false(backups.delete(node, made.id))
    assert.same({ "veloflux-backup-20241004-120000-2" }, ids())
  end)

  it("that somebody put there are listed with what is known of them", function()
    assert.is_true(backups.store(node, { now_ms = NOON, origin = "api" }).ok)
    tempdir.write(door.folder .. "/backups/by-hand.vfbackup", "12345")
    tempdir.write(door.folder .. "/backups/not.this", "12345")
    local list = backups.list(node)
    assert.same({ "by-hand", 5 }, { list[2].id, list[2].size })
    assert.is_nil(list[2].created_ms)
    assert.is_nil(backups.find(node, "not"))
    for _, id in ipairs { "../x", "", "a/b", ("x"):rep(129), ".x" } do assert.is_false(backups.is_id(id)) end
  end)

  it("that cannot be kept are tried again", function()
    node.backups.path = "/proc/nowhere"
    backups.tick(node, NOON)
    assert.same({ 0, 1 }, { counts.get().stored, counts.get().failed })
    backups.tick(node, NOON + 1000)
    assert.equal(1, counts.get().failed)
    backups.tick(node, NOON + 61000)
    assert.equal(2, counts.get().failed)
  end)
end)
