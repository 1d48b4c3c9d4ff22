local ffi = require "ffi"
local uv = require "luv"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")
local loop = require "support.loop"
local process = require "support.process"
local tempdir = require "support.tempdir"

ffi.cdef [[
struct vf_datadir { char path[4096]; int lock_fd; };
int vf_datadir_open(struct vf_datadir *dir, const char *path, bool change_user, uint32_t uid, uint32_t gid,
                    char *fault, size_t fault_bytes);
int vf_datadir_socket(const struct vf_datadir *dir, bool change_user, uint32_t uid, uint32_t gid);
void vf_datadir_close(struct vf_datadir *dir);
void vf_datadir_remove(const char *path);
int vf_datadir_write_pid(const char *path);
int getpid(void);
int close(int);
]]

local EBUSY, ENOTDIR = 16, 20

local function open(path)
  local dir, fault = ffi.new "struct vf_datadir", ffi.new "char[256]"
  local rc = lib.vf_datadir_open(dir, path, false, 0, 0, fault, 256)
  return rc, dir, ffi.string(fault)
end

describe("the data directory", function()
  it("is made with the folders above it, holds our pid, and is tidy afterwards", loop.spec(function()
    local path = tempdir.new() .. "/a/b"
    local rc, dir = open(path)
    assert.equal(0, rc)
    assert.equal(("%d\n"):format(ffi.C.getpid()), tempdir.read(path .. "/veloflux.pid"))
    lib.vf_datadir_close(dir)
    assert.is_nil(uv.fs_stat(path .. "/veloflux.pid"))
  end))

  it("belongs to one instance, whose pid the other is told", loop.spec(function()
    local path = tempdir.new()
    local holder = process.spawn("/usr/bin/flock",
      { "--no-fork", path .. "/veloflux.pid", "/bin/sh", "-c", "echo locked; exec sleep 1000" })
    holder:wait_line(holder.stdout, "locked")
    tempdir.write(path .. "/veloflux.pid", "4711\n")
    local rc, _, fault = open(path)
    assert.equal(-EBUSY, rc)
    assert.equal(("data_dir: %s is in use by process 4711"):format(path), fault)
    holder:kill()
    local dir
    rc, dir = open(path) -- a pid that was left behind is no lock
    assert.equal(0, rc)
    lib.vf_datadir_close(dir)
  end))

  it("cannot be below a file", loop.spec(function()
    local path = tempdir.new() .. "/file"
    tempdir.write(path, "")
    local rc, _, fault = open(path .. "/data")
    assert.equal(-ENOTDIR, rc)
    assert.matches("^data_dir: cannot create .*/file/data: Not a directory$", fault)
  end))

  it("has a socket for its owner, however long its path is", loop.spec(function()
    local path = tempdir.new() .. "/" .. ("x"):rep(120)
    local rc, dir = open(path)
    assert.equal(0, rc)
    for _ = 1, 2 do -- the second takes the place of one left over
      local fd = lib.vf_datadir_socket(dir, false, 0, 0)
      assert.is_true(fd >= 0)
      local stat = assert(uv.fs_stat(path .. "/control.sock"))
      assert.same({ "socket", tonumber("600", 8) }, { stat.type, stat.mode % 512 })
      ffi.C.close(fd)
    end
    lib.vf_datadir_close(dir)
    assert.is_nil(uv.fs_stat(path .. "/control.sock"))
  end))

  it("is removed with its files when it is a private one", loop.spec(function()
    local path = tempdir.new() .. "/private"
    assert(uv.fs_mkdir(path, tonumber("700", 8)))
    tempdir.write(path .. "/master.key", "x")
    lib.vf_datadir_remove(path)
    assert.is_nil(uv.fs_stat(path))
  end))
end)

describe("a pid file", function()
  it("is replaced whole", loop.spec(function()
    local path = tempdir.new() .. "/pid"
    tempdir.write(path, ("9"):rep(100))
    assert.equal(0, lib.vf_datadir_write_pid(path))
    assert.equal(("%d\n"):format(ffi.C.getpid()), tempdir.read(path))
    assert.equal(-2, lib.vf_datadir_write_pid "/nonexistent-folder/pid")
  end))
end)
