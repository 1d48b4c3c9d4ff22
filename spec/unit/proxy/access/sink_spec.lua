--- Where lines of an access log go: whole, to the file that is there.
local ffi = require "ffi"
local uv = require "luv"
local lib = require("unit.proxy.fixture").lib
local tempdir = require "support.tempdir"

ffi.cdef [[
struct access_sink { char *path; int fd; void *totals; const uint32_t *gives_up; bool flags[3]; size_t n_failed; };
int vf_access_sink_open(struct access_sink *, struct vf_str path, struct vf_state_totals *, const uint32_t *gives_up);
void vf_access_sink_close(struct access_sink *);
void vf_access_sink_write(struct access_sink *, const char *data, size_t len);
void vf_access_sink_reopen(struct access_sink *);
const char *vf_access_sink_name(const struct access_sink *);
]]

local EISDIR = -21

describe("a sink of lines", function()
  local folder, sink, block, gives_up

  before_each(function()
    folder = assert(uv.fs_mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/veloflux-spec-XXXXXX"))
    sink, block = ffi.new "struct access_sink", ffi.new "struct vf_state_block"
    gives_up = ffi.new "uint32_t[1]"
  end)

  after_each(function()
    lib.vf_access_sink_close(sink)
    lib.vf_access_sink_close(sink) -- as often as one likes
    os.execute("rm -rf '" .. folder .. "'")
  end)

  local function open(path)
    return lib.vf_access_sink_open(sink, ffi.new("struct vf_str", path, #path), block.totals, gives_up)
  end

  local function write(text) lib.vf_access_sink_write(sink, text, #text) end

  it("appends to a file, and counts its lines", function()
    local path = folder .. "/a.log"
    assert.equal(0, open(path))
    write "one\ntwo\n"
    write ""
    write "three\n"
    assert.equal("one\ntwo\nthree\n", tempdir.read(path))
    assert.equal(3, tonumber(block.totals.log_lines))
    assert.equal(path, ffi.string(lib.vf_access_sink_name(sink)))
  end)

  it("opens a file that was renamed anew, and keeps the old one while it cannot", function()
    local path = folder .. "/a.log"
    assert.equal(0, open(path))
    write "old\n"
    assert(os.rename(path, path .. ".1"))
    lib.vf_access_sink_reopen(sink)
    write "new\n"
    assert.same({ "old\n", "new\n" }, { tempdir.read(path .. ".1"), tempdir.read(path) })
  end)

  it("drops and counts what nobody waits for any more", function()
    local path = folder .. "/a.log"
    assert.equal(0, open(path))
    gives_up[0] = 1
    write "one\ntwo\n"
    assert.equal("", tempdir.read(path))
    assert.same({ 0, 2 }, { tonumber(block.totals.log_lines), tonumber(block.totals.log_dropped) })
  end)

  it("says why a file cannot be opened", function()
    assert.equal(EISDIR, open(folder))
    assert.equal(-1, sink.fd)
    assert.equal("stdout", ffi.string(lib.vf_access_sink_name(sink)))
  end)
end)
