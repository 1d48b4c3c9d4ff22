local ffi = require "ffi"
local loop = require "support.loop"
local tempdir = require "support.tempdir"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
struct vf_spool;
struct vf_spool_spec_str { const char *data; size_t len; };
int vf_spool_new(const char *folder, int kind, struct vf_spool **out);
int vf_spool_write(struct vf_spool *spool, const char *data, size_t len);
int vf_spool_open(const char *path, struct vf_spool **out);
uint64_t vf_spool_len(const struct vf_spool *spool);
ssize_t vf_spool_read(struct vf_spool *spool, uint64_t offset, char *out, size_t len);
int vf_spool_map(struct vf_spool *spool, void *out);
void vf_spool_free(struct vf_spool *spool);
]]

local EBUSY, ENOENT, EINVAL, SPOOLS = -16, -2, -22, 4

describe("a spool", function()
  local out, bytes = ffi.new "struct vf_spool *[1]", ffi.new "struct vf_spool_spec_str"

  local function new(folder, kind)
    local rc = lib.vf_spool_new(folder, kind or 0, out)
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

  it("is read from anywhere, mapped or not, as a file that was there is", loop.spec(function()
    local folder = tempdir.new()
    local room = ffi.new "char[16]"
    local function read(spool, offset, len)
      local n = tonumber(lib.vf_spool_read(spool, offset, room, len))
      return n >= 0 and ffi.string(room, n) or n
    end
    local spool = assert(new(folder))
    assert.equal(0, lib.vf_spool_write(spool, "0123456789", 10))
    for _ = 1, 2 do
      assert.equal(10, tonumber(lib.vf_spool_len(spool)))
      assert.same({ "012", "89", "" }, { read(spool, 0, 3), read(spool, 8, 16), read(spool, 10, 16) })
      assert.equal(0, lib.vf_spool_map(spool, bytes))
    end
    lib.vf_spool_free(spool)
    assert.equal(ENOENT, lib.vf_spool_open(folder .. "/x", out))
    assert.equal(EINVAL, lib.vf_spool_open(folder, out))
    tempdir.write(folder .. "/x", "abc")
    assert.equal(0, lib.vf_spool_open(folder .. "/x", out))
    assert.same({ "abc", "c" }, { read(out[0], 0, 16), read(out[0], 2, 16) })
    lib.vf_spool_free(out[0])
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
    local other = assert(new(folder, 1)) -- those of another kind are others
    lib.vf_spool_free(other)
    lib.vf_spool_free(spools[1])
    spools[1] = assert(new(folder))
    for i = 1, SPOOLS do lib.vf_spool_free(spools[i]) end
  end))
end)
