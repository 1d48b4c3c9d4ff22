local ffi = require "ffi"
local fixture = require "unit.snapshot.fixture"

ffi.cdef [[
int vf_snapshot_check_frame(const void *, size_t, char *, size_t);
int vf_snapshot_check(const void *, size_t, char *, size_t);
const char *vf_rules_noun(uint32_t);
]]
local lib = fixture.lib

describe("the check of a snapshot", function()
  local snapshot, words, header, size
  local fault = ffi.new "char[200]"

  --- Copies the snapshot, for a spec to change.
  before_each(function()
    snapshot = fixture.snapshot {
      { name = "first", path_prefix = "/a", hosts = { "a.example" } },
      { name = "second", path = "/b", hosts = { "b.example" }, conditions = { { header = "x", value = "1" } } },
    }
    size = tonumber(snapshot.size)
    words = ffi.new("uint64_t[?]", math.ceil(size / 8))
    ffi.copy(words, snapshot.header, size)
    header = ffi.cast("struct vf_snap_header *", words)
  end)

  local function record(section, name, index)
    local at = ffi.cast("char *", words) + header.sections[section].offset
    return ffi.cast("struct vf_snap_" .. name .. " *", at) + index
  end

  local function check(by)
    fault[0] = 0
    local rc = (by or lib.vf_snapshot_check)(words, size, fault, 200)
    return rc == 0 and "sound" or ffi.string(fault)
  end

  it("finds nothing in what the builder makes", function()
    assert.equal("sound", check())
    assert.equal("sound", check(lib.vf_snapshot_check_frame))
  end)

  it("begins with the frame", function()
    header.sections[lib.VF_SNAP_ROUTES].count = 1000000
    assert.equal(("section %d: route"):format(lib.VF_SNAP_ROUTES), check(lib.vf_snapshot_check_frame))
    header.size = size + 1
    assert.equal("header 0: size", check(lib.vf_snapshot_check_frame))
    header.magic = 1
    assert.equal("header 0: magic", check())
  end)

  it("says which field of which record breaks its rule", function()
    record(lib.VF_SNAP_ROUTES, "route", 1).status = 1000
    assert.equal("route 1: status", check())
    assert.equal("sound", check(lib.vf_snapshot_check_frame))
  end)

  it("knows each kind of rule", function()
    local function breaks(field, value)
      record(lib.VF_SNAP_ROUTES, "route", 1)[field] = value
      local found = check()
      ffi.copy(words, snapshot.header, size)
      return found
    end
    assert.equal("route 1: tenant", breaks("tenant", 2)) -- index
    assert.equal("route 1: policy", breaks("policy", 7)) -- optional
    assert.equal("route 1: conditions", breaks("conditions", { first = 1, count = 1 })) -- list
    assert.equal("route 1: action", breaks("action", 9)) -- below
    assert.equal("route 1: body", breaks("body", { offset = size, len = 1 })) -- text
    assert.equal("sound", check())
    local name = record(lib.VF_SNAP_ROUTES, "route", 0).name -- line
    ffi.cast("char *", words)[name.offset] = 10
    assert.equal("route 0: name", check())
  end)

  it("goes on with what single fields cannot say", function()
    local route = record(lib.VF_SNAP_ROUTES, "route", 1)
    route.status = 100
    assert.equal("route 1: status", check())
    header.settings.workers = 0
    assert.equal("settings 0: workers", check())
  end)

  it("has a noun for every section", function()
    for section = 0, lib.VF_SNAP_SECTIONS - 1 do assert.is_true(#ffi.string(lib.vf_rules_noun(section)) > 0) end
  end)
end)
