local ffi = require "ffi"
local fixture = require "unit.snapshot.fixture"

ffi.cdef [[
int vf_snapshot_check_frame(const void *, size_t, char *, size_t);
int vf_snapshot_check(const void *, size_t, char *, size_t);
const char *vf_rules_noun(uint32_t);
struct vf_rule { uint8_t section, kind; uint16_t offset; uint32_t limit; const char *field; };
struct vf_rules { const struct vf_rule *list; size_t n; };
struct vf_rules vf_rules_of_records(void);
struct vf_rules vf_rules_of_settings(void);
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

  --- Returns a map from section (-1: the settings) and offset to the kind of rule that looks there.
  local function rules()
    local found = {}
    local records, settings = lib.vf_rules_of_records(), lib.vf_rules_of_settings()
    for i = 0, tonumber(records.n) - 1 do
      found[records.list[i].section .. ":" .. records.list[i].offset] = true
    end
    for i = 0, tonumber(settings.n) - 1 do found["-1:" .. settings.list[i].offset] = true end
    return found
  end

  --- Calls `visit` with the section and the name of each record of layout.h that has one, and its texts and lists.
  local function each_reference(visit)
    local sections = { settings = -1 }
    for line in io.lines "src/snapshot/layout.h" do
      local section, named = line:match "^    (VF_SNAP_[%u_]+)[ =0]*, +/%* struct vf_snap_([%w_]+)"
      if section then sections[named] = lib[section] end
    end
    for _, name in ipairs(fixture.LAYOUT) do
      local of
      for line in io.lines("src/snapshot/" .. name) do
        of = line:match "^struct vf_snap_([%w_]+) {" or not line:match "^}" and of or nil
        local field = line:match "^    struct vf_snap_text ([%w_]+);" or line:match "^    struct vf_snap_list ([%w_]+);"
        if field and sections[of] then visit(sections[of], of, field) end
      end
    end
  end

  it("looks at every text and every list of every record", function()
    local found, seen = rules(), 0
    each_reference(function(section, of, field)
      local offset = ffi.offsetof("struct vf_snap_" .. of, field)
      assert.is_true(found[section .. ":" .. offset], of .. "." .. field)
      seen = seen + 1
    end)
    assert.is_true(seen > 50)
  end)

  it("goes on with what single fields cannot say", function()
    local route = record(lib.VF_SNAP_ROUTES, "route", 1)
    route.status = 100
    assert.equal("route 1: status", check())
    header.settings.workers = 0
    assert.equal("settings 0: workers", check())
  end)

  it("refuses a share of handshakes that nobody can reckon with", function()
    local builder = fixture.builder()
    local listener = fixture.add(builder, lib.VF_SNAP_LISTENERS, "listener")
    listener.address.family = 1
    fixture.add(builder, lib.VF_SNAP_POLICIES, "policy").set = 2 ^ lib.VF_POLICY_FIELDS - 1
    local tls = fixture.add(builder, lib.VF_SNAP_TLS, "tls")
    tls.min_version, tls.trust, tls.handshake_rate, tls.handshake_burst = 12, fixture.NONE, 100, 10
    local made = assert(fixture.finish(builder))
    local function judged(rate, burst)
      local copy = ffi.new("uint64_t[?]", math.ceil(tonumber(made.size) / 8))
      ffi.copy(copy, made.header, made.size)
      local offset = ffi.cast("struct vf_snap_header *", copy).sections[lib.VF_SNAP_TLS].offset
      local limits = ffi.cast("struct vf_snap_tls *", ffi.cast("char *", copy) + offset)
      limits.handshake_rate, limits.handshake_burst = rate, burst
      fault[0] = 0
      lib.vf_snapshot_check(copy, made.size, fault, 200)
      return ffi.string(fault)
    end
    assert.same({ "", "" }, { judged(1000000, 1), judged(0, 0) })
    for _, bad in ipairs { { 0xffffffff, 1 }, { 1, 0 } } do
      assert.equal("TLS 0: handshake_rate or handshake_burst", judged(bad[1], bad[2]))
    end
  end)

  it("has a noun for every section", function()
    for section = 0, lib.VF_SNAP_SECTIONS - 1 do assert.is_true(#ffi.string(lib.vf_rules_noun(section)) > 0) end
  end)
end)
