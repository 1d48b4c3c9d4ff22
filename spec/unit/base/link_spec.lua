local ffi = require "ffi"
local uv = require "luv"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
struct vf_link_message {
  uint32_t type, n_fds;
  uint64_t args[8];
  int fds[2];
  uint32_t text_len;
  char text[2049];
};
void vf_link_message_init(struct vf_link_message *message, int type);
void vf_link_message_text(struct vf_link_message *message, const char *text);
void vf_link_message_fd(struct vf_link_message *message, int fd);
int vf_link_take_fd(struct vf_link_message *message, uint32_t index);
void vf_link_message_deinit(struct vf_link_message *message);
int vf_link_pair(int ends[2]);
int vf_link_send(int link, const struct vf_link_message *message);
int vf_link_send_wait(int link, const struct vf_link_message *message, int wait_ms);
int vf_link_has_room(int link);
int vf_link_receive(int link, struct vf_link_message *message);
long write(int, const void *, size_t);
long read(int, void *, size_t);
int pipe(int fds[2]);
int fcntl(int, int, ...);
int close(int);
int dup(int);
struct spec_cmsg { size_t len; int level, type, fd, padding; };
struct spec_msghdr {
  void *name; unsigned name_len; void *parts; size_t n_parts; struct spec_cmsg *control; size_t control_len; int flags;
};
long sendmsg(int, const struct spec_msghdr *, int);
int toupper(int);
int64_t handle_signal(int number, int64_t handler) __asm__("signal");
unsigned ualarm(unsigned us, unsigned interval_us);
]]

local EAGAIN, EPIPE, EBADMSG, EBADF = 11, 32, 74, 9
local F_GETFD, FD_CLOEXEC = 1, 1
local SIGALRM = 14

describe("a link", function()
  local ends, out, got

  before_each(function()
    ends = ffi.new "int[2]"
    out, got = ffi.new "struct vf_link_message", ffi.new "struct vf_link_message"
    assert.equal(0, lib.vf_link_pair(ends))
  end)

  after_each(function()
    ffi.C.close(ends[0])
    ffi.C.close(ends[1])
  end)

  local function send(kind, text, arg)
    lib.vf_link_message_init(out, kind)
    lib.vf_link_message_text(out, text)
    out.args[7] = arg or 0
    return lib.vf_link_send(ends[0], out)
  end

  it("carries type, numbers and text, one message at a time and in order", function()
    assert.equal(0, send(33, "first", 2 ^ 53))
    assert.equal(0, send(34, ""))
    assert.equal(1, lib.vf_link_receive(ends[1], got))
    assert.same({ 33, "first", 5, 2 ^ 53 }, { got.type, ffi.string(got.text), got.text_len, tonumber(got.args[7]) })
    assert.equal(1, lib.vf_link_receive(ends[1], got))
    assert.same({ 34, "", 0 }, { got.type, ffi.string(got.text), tonumber(got.args[7]) })
    assert.equal(-EAGAIN, lib.vf_link_receive(ends[1], got))
  end)

  it("cuts a text that is too long", function()
    assert.equal(0, send(33, ("x"):rep(5000)))
    assert.equal(1, lib.vf_link_receive(ends[1], got))
    assert.equal(("x"):rep(2048), ffi.string(got.text))
  end)

  it("carries descriptors, which arrive close-on-exec", function()
    local pipe = ffi.new "int[2]"
    ffi.C.pipe(pipe)
    lib.vf_link_message_init(out, 3)
    lib.vf_link_message_fd(out, pipe[1])
    assert.equal(0, lib.vf_link_send(ends[0], out))
    ffi.C.close(pipe[1])
    assert.equal(1, lib.vf_link_receive(ends[1], got))
    local fd = lib.vf_link_take_fd(got, 0)
    assert.equal(-1, lib.vf_link_take_fd(got, 1))
    lib.vf_link_message_deinit(got) -- does not close what was taken
    assert.equal(FD_CLOEXEC, ffi.C.fcntl(fd, F_GETFD))
    assert.equal(3, tonumber(ffi.C.write(fd, "abc", 3)))
    local buffer = ffi.new "char[3]"
    assert.equal(3, tonumber(ffi.C.read(pipe[0], buffer, 3)))
    assert.equal("abc", ffi.string(buffer, 3))
    ffi.C.close(fd)
    ffi.C.close(pipe[0])
  end)

  it("closes descriptors that nobody takes", function()
    local pipe = ffi.new "int[2]"
    ffi.C.pipe(pipe)
    lib.vf_link_message_init(out, 3)
    lib.vf_link_message_fd(out, pipe[0])
    lib.vf_link_send(ends[0], out)
    assert.equal(1, lib.vf_link_receive(ends[1], got))
    local fd = got.fds[0]
    lib.vf_link_message_deinit(got)
    assert.equal(-1, ffi.C.fcntl(fd, F_GETFD))
    assert.equal(EBADF, ffi.errno())
    ffi.C.close(pipe[0])
    ffi.C.close(pipe[1])
  end)

  it("takes a packet without a byte for the end, and closes what came with it", function()
    local file, next_free = ffi.C.dup(0), ffi.C.dup(0)
    ffi.C.close(next_free)
    local cmsg = ffi.new("struct spec_cmsg", { 20, 1, 1, file }) -- SOL_SOCKET, SCM_RIGHTS
    local packet = ffi.new "struct spec_msghdr"
    packet.control, packet.control_len = cmsg, 24
    assert.equal(0, tonumber(ffi.C.sendmsg(ends[0], packet, 0)))
    assert.equal(0, lib.vf_link_receive(ends[1], got))
    local free = ffi.C.dup(0)
    assert.equal(next_free, free)
    ffi.C.close(free)
    ffi.C.close(file)
  end)

  it("refuses packets that are no messages and goes on", function()
    ffi.C.write(ends[0], "short", 5)
    ffi.C.write(ends[0], ("x"):rep(3000), 3000)
    assert.equal(0, send(32, "fine"))
    assert.equal(-EBADMSG, lib.vf_link_receive(ends[1], got))
    assert.equal(-EBADMSG, lib.vf_link_receive(ends[1], got))
    assert.equal(1, lib.vf_link_receive(ends[1], got))
    assert.equal("fine", ffi.string(got.text))
  end)

  it("does not wait for a side that does not read, unless it is told to", function()
    local rc, count = 0, 0
    while rc == 0 do
      rc = send(32, ("x"):rep(2000))
      count = count + 1
    end
    assert.equal(-EAGAIN, rc)
    assert.is_true(count > 20)
    assert.equal(-EAGAIN, lib.vf_link_send_wait(ends[0], out, 1))
    assert.equal(1, lib.vf_link_receive(ends[1], got))
    while lib.vf_link_receive(ends[1], got) == 1 do end
    assert.equal(0, lib.vf_link_send_wait(ends[0], out, 1))
  end)

  it("waits as long as it is told to, whatever signals come", function()
    while send(32, ("x"):rep(2000)) == 0 do end
    local nothing = ffi.cast("intptr_t", ffi.C.toupper) -- any function that does nothing to us
    local before = ffi.C.handle_signal(SIGALRM, nothing)
    local start = uv.hrtime()
    ffi.C.ualarm(5000, 5000)
    local rc = lib.vf_link_send_wait(ends[0], out, 60)
    ffi.C.ualarm(0, 0)
    ffi.C.handle_signal(SIGALRM, before)
    assert.equal(-EAGAIN, rc)
    assert.is_true(uv.hrtime() - start >= 59 * 1000000)
  end)

  it("says whether there is room for many", function()
    local count = 0
    while lib.vf_link_has_room(ends[0]) == 1 do
      assert.equal(0, send(32, ("x"):rep(2000)))
      count = count + 1
    end
    for _ = 1, count do assert.equal(0, send(32, "")) end -- and some more: it is not full by far
    while lib.vf_link_receive(ends[1], got) == 1 do end
    assert.equal(1, lib.vf_link_has_room(ends[0]))
    ffi.C.close(ends[1])
    assert.equal(1, lib.vf_link_has_room(ends[0]))
    ends[1] = -1
  end)

  it("ends when the other side is gone", function()
    assert.equal(0, send(32, "last"))
    ffi.C.close(ends[0])
    assert.equal(1, lib.vf_link_receive(ends[1], got))
    assert.equal(0, lib.vf_link_receive(ends[1], got))
    lib.vf_link_message_init(out, 32)
    assert.equal(-EPIPE, lib.vf_link_send(ends[1], out))
    ends[0] = -1
  end)
end)
