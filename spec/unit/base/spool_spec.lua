local ffi = require "ffi"
local loop = require "support.loop"
local tempdir = require "support.tempdir"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
struct vf_spool;
struct vf_spool_spec_str { const char *data; size_t len; };
int vf_spool_new(const char *folder, struct vf_spool **out);
int vf_spool_write(struct vf_spool *spool, const char *data, size_t len);
int vf_spool_map(struct vf_spool *spool, void *out);
void vf_spool_free(struct vf_spool *spool);
]]

local EBUSY, ENOENT, SPOOLS = -16, -2, 4

describe("a spool", function()
  local out, bytes = ffi.new "struct vf_spool *[1]", ffi.new "struct vf_spool_spec_str"

  local function new(folder)
    local rc = lib.vf_spool_new(folder, out)
    return rc == 0 and out[0] or nil, rc
  end

  it("keeps what comes piece by piece, in a file that nobody sees", loop.spec(function()
    local folder = tempdir.new()
    local spool = assert(new(folder))
    local pieces = {}
    for i = 1, 1000 do
      pieces[i] = ("piece %d "):format(i):rep(20)
      assert.equal(0, lib.vf_spool_write(spool, pieces[i], #pieces[i]))
    end
    assert.equal(0, lib.vf_spool_map(spool, bytes))
    assert.equal(table.concat(pieces), ffi.string(bytes.data, bytes.len))
    assert.is_nil(io.popen("ls -A " .. folder):read "*l")
    lib.vf_spool_free(spool)
  end))

  it("may be empty", loop.spec(function()
    local spool = assert(new(tempdir.new()))
    assert.equal(0, lib.vf_spool_map(spool, bytes))
    assert.equal(0, tonumber(bytes.len))
    lib.vf_spool_free(spool)
    lib.vf_spool_free(nil)
  end))

  it("needs a folder, and room among the others", loop.spec(function()
    assert.equal(ENOENT, select(2, new "/nowhere"))
    local folder, spools = tempdir.new(), {}
    for i = 1, SPOOLS do spools[i] = assert(new(folder)) end
    assert.equal(EBUSY, select(2, new(folder)))
    lib.vf_spool_free(spools[1])
    spools[1] = assert(new(folder))
    for i = 1, SPOOLS do lib.vf_spool_free(spools[i]) end
  end))
end)
