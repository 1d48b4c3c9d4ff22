local ffi = require "ffi"
local uv = require "luv"
local fixture = require "unit.conf.fixture"

ffi.cdef [[
int32_t vf_instance_pid(const char *lock_path);
int vf_instance_stop(int32_t pid, int timeout_ms);
ssize_t vf_instance_ask(const char *path, const char *request, size_t len, int timeout_ms, char **answer);
void vf_instance_free(char *answer);
int open(const char *path, int flags, ...);
int flock(int fd, int operation);
int close(int fd);
]]
local C = ffi.C
local EINVAL, ECONNREFUSED = -22, -111
local ENOENT, ESRCH, ENAMETOOLONG, ETIMEDOUT = -2, -3, -36, -110
local LOCK_EX = 2

describe("the running instance", function()
  local folder
  before_each(function() folder = fixture.folder { ["lock"] = "4242\n" } end)
  after_each(function() fixture.remove(folder) end)

  it("is the one that holds the lock", function()
    local path = folder .. "/lock"
    assert.equal(0, C.vf_instance_pid(path))
    local fd = C.open(path, 0)
    assert.equal(0, C.flock(fd, LOCK_EX))
    assert.equal(4242, C.vf_instance_pid(path))
    C.close(fd)
    assert.equal(0, C.vf_instance_pid(path))
    assert.equal(0, C.vf_instance_pid(folder .. "/none"))
  end)

  it("is stopped, and waited for", function()
    local handle, pid = uv.spawn("/bin/sleep", { args = { "60" } }, function() end)
    assert.equal(0, C.vf_instance_stop(pid, 60000))
    handle:close()
    uv.run "nowait"
    assert.equal(ESRCH, C.vf_instance_stop(2 ^ 22 + 1, 0)) -- above the highest pid
  end)

  it("is given up on after a time", function()
    local out = uv.new_pipe(false)
    local handle, pid = uv.spawn("/bin/sh", { args = { "-c", "trap '' TERM; echo; exec sleep 60" },
      stdio = { nil, out } }, function() end)
    local ready = false
    out:read_start(function() ready = true end)
    while not ready do uv.run "once" end
    assert.equal(ETIMEDOUT, C.vf_instance_stop(pid, 20))
    uv.kill(pid, "sigkill")
    out:close()
    handle:close()
    uv.run "nowait"
  end)

  it("is not there to be asked", function()
    local answer = ffi.new "char *[1]"
    assert.equal(ECONNREFUSED, tonumber(C.vf_instance_ask("127.0.0.1:1", "x", 1, 10, answer)))
    assert.equal(ECONNREFUSED, tonumber(C.vf_instance_ask("[::ffff:127.0.0.1]:1", "x", 1, 10, answer)))
    assert.equal(EINVAL, tonumber(C.vf_instance_ask("nonsense", "x", 1, 10, answer)))
    assert.equal(ENOENT, tonumber(C.vf_instance_ask(folder .. "/sock", "x", 1, 10, answer)))
    assert.equal(ENAMETOOLONG, tonumber(C.vf_instance_ask("/" .. ("x"):rep(200), "x", 1, 10, answer)))
  end)

  it("is asked through a socket, and must answer in time", function()
    local path = folder .. "/sock"
    local server = uv.new_pipe(false)
    assert(server:bind(path))
    assert(server:listen(8, function() end))
    local answer = ffi.new "char *[1]" -- it listens, but nobody serves: this thread waits below
    assert.equal(ETIMEDOUT, tonumber(C.vf_instance_ask(path, "x", 1, 10, answer)))
    server:close()
    uv.run "nowait"
  end)
end)
