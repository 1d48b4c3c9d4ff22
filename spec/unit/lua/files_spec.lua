local ffi = require "ffi"
local uv = require "luv"
local fixture = require "unit.conf.fixture"

ffi.cdef [[
int vf_file_replace(const char *path, const char *data, size_t len, uint32_t mode);
int vf_file_create(const char *path, const char *data, size_t len, uint32_t mode);
int vf_file_append(const char *path, const char *data, size_t len);
int vf_file_make_folder(const char *path, uint32_t mode);
int vf_file_real_path(const char *path, char *out, size_t room);
int vf_file_kind(const char *path);
int vf_file_glob(const char *pattern, char *out, size_t room);
]]
local C = ffi.C
local ENOENT, EEXIST, ENOTDIR, ENOBUFS, ENAMETOOLONG = -2, -17, -20, -105, -36
local MODE = tonumber("600", 8)

describe("files", function()
  local folder
  before_each(function() folder = fixture.folder { ["a.txt"] = "a", ["b.txt"] = "b", ["d/c.txt"] = "c" } end)
  after_each(function() fixture.remove(folder) end)

  local function read(name)
    local file = assert(io.open(folder .. "/" .. name, "rb"))
    local text = file:read "*a"
    file:close()
    return text
  end

  local function glob(pattern, room)
    room = room or 4096
    local out = ffi.new("char[?]", room)
    local len = C.vf_file_glob(folder .. pattern, out, room)
    return len >= 0 and ffi.string(out, len):gsub(folder:gsub("%p", "%%%0"), "") or len
  end

  it("are replaced whole, with the mode asked for", function()
    assert.equal(0, C.vf_file_replace(folder .. "/a.txt", "new", 3, MODE))
    assert.equal("new", read "a.txt")
    assert.equal(MODE, uv.fs_stat(folder .. "/a.txt").mode % 512)
    assert.equal(0, C.vf_file_replace(folder .. "/n.txt", "", 0, MODE))
    assert.equal("", read "n.txt")
    assert.equal(ENOENT, C.vf_file_replace(folder .. "/none/x", "x", 1, MODE))
    assert.equal(ENAMETOOLONG, C.vf_file_replace(("x"):rep(5000), "x", 1, MODE))
    assert.equal("/a.txt\n/b.txt\n/n.txt\n", (glob "/*.txt*")) -- nothing temporary stays
  end)

  it("grow at their end, when they are there", function()
    assert.equal(ENOENT, C.vf_file_append(folder .. "/log", "1", 1))
    assert.equal(0, C.vf_file_create(folder .. "/log", "1", 1, MODE))
    assert.equal(0, C.vf_file_append(folder .. "/log", "23", 2))
    assert.equal("123", read "log")
  end)

  it("are created only where there is none, links included", function()
    assert.equal(0, C.vf_file_create(folder .. "/k", "1", 1, MODE))
    assert.equal(EEXIST, C.vf_file_create(folder .. "/k", "2", 1, MODE))
    assert.equal("1", read "k")
    uv.fs_symlink(folder .. "/elsewhere", folder .. "/link")
    assert.equal(EEXIST, C.vf_file_create(folder .. "/link", "2", 1, MODE))
  end)

  it("live in folders that are made with those above", function()
    assert.equal(0, C.vf_file_make_folder(folder .. "/x/y/z", tonumber("700", 8)))
    assert.equal(0, C.vf_file_make_folder(folder .. "/x/y/z", tonumber("700", 8)))
    assert.equal(2, C.vf_file_kind(folder .. "/x/y/z"))
    assert.equal(ENOTDIR, C.vf_file_make_folder(folder .. "/a.txt", tonumber("700", 8)))
  end)

  it("have kinds and real paths", function()
    uv.fs_symlink("a.txt", folder .. "/link")
    assert.same({ 0, 1, 2, 3 }, { C.vf_file_kind(folder .. "/none"), C.vf_file_kind(folder .. "/link"),
      C.vf_file_kind(folder), C.vf_file_kind "/dev/null" })
    local out = ffi.new "char[4096]"
    local len = C.vf_file_real_path(folder .. "/d/../link", out, 4096)
    assert.equal(folder .. "/a.txt", ffi.string(out, len))
    assert.equal(ENOENT, C.vf_file_real_path(folder .. "/none", out, 4096))
    assert.equal(ENAMETOOLONG, C.vf_file_real_path(folder, out, 3))
  end)

  it("are found by patterns, in byte order", function()
    assert.equal("/a.txt\n/b.txt\n", (glob "/*.txt"))
    assert.equal("/d/c.txt\n", (glob "/*/c.txt"))
    assert.equal("", (glob "/*.yaml"))
    assert.equal("", (glob "/none/*.yaml"))
    assert.equal(ENOBUFS, glob("/*.txt", 10))
  end)
end)
