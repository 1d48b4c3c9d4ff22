local ffi = require "ffi"
local cjson = require "cjson"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
struct vf_log { char context[96]; };
void vf_log_setup(int level, int format, const char *process);
bool vf_log_enabled(int level);
int vf_log_override(const char *text);
const char *vf_log_overrides(void);
void vf_log_pairs(int level, const char *event, const char *pairs);
void vf_log_write(const struct vf_log *, int level, const char *event, const char *format, ...);
int memfd_create(const char *, unsigned);
int dup(int);
int dup2(int, int);
int close(int);
long pread(int, void *, size_t, long);
long read(int, void *, size_t);
int pipe(int *);
int fcntl(int, int, ...);
]]

local DEBUG, INFO, WARN, ERROR = 0, 1, 2, 3
local TEXT, JSON = 1, 2
local F_SETPIPE_SZ = 1031

--- Returns what `body` writes to standard error.
local function captured(body)
  local file, saved = ffi.C.memfd_create("stderr", 0), ffi.C.dup(2)
  ffi.C.dup2(file, 2)
  local ok, err = pcall(body)
  ffi.C.dup2(saved, 2)
  ffi.C.close(saved)
  local buffer = ffi.new "char[16384]"
  local n = tonumber(ffi.C.pread(file, buffer, 16384, 0))
  ffi.C.close(file)
  assert(ok, err)
  return ffi.string(buffer, n)
end

local function line(format, ...)
  local arguments = { ... }
  return captured(function() lib.vf_log_write(nil, WARN, "backend.down", format, unpack(arguments)) end)
end

describe("log", function()
  after_each(function() lib.vf_log_setup(INFO, TEXT, "veloflux") end)

  it("writes an event and its pairs as one line of text", function()
    lib.vf_log_setup(INFO, TEXT, "worker-1")
    local text = line("peer=%s try=%d", "127.0.0.1:80", ffi.new("int", 2))
    assert.is_truthy(text:match "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ warn backend%.down process=worker%-1")
    assert.is_truthy(text:match " peer=127%.0%.0%.1:80 try=2\n$")
  end)

  it("has levels of subsystems, over what the conf says then and later", function()
    local function shown(level, event)
      local text = captured(function()
        lib.vf_log_write(nil, level, event, "x=1")
        lib.vf_log_pairs(level, event, "x=1")
      end)
      return select(2, text:gsub("\n", ""))
    end
    assert.equal(0, lib.vf_log_override "backend=debug  *=warn proxy=error")
    lib.vf_log_setup(INFO, TEXT, "p")
    assert.is_true(lib.vf_log_enabled(DEBUG))
    assert.same({ 2, 2, 0, 2, 0, 2, 0 }, { shown(DEBUG, "backend.up"), shown(DEBUG, "backend"),
      shown(INFO, "backends.up"), shown(WARN, "other.x"), shown(INFO, "other.x"), shown(ERROR, "proxy.x"),
      shown(WARN, "proxy.x") })
    for _, bad in ipairs { "backend", "backend=", "=debug", "*=loud", "a=debug b", ("x"):rep(32) .. "=debug",
      ("a=debug "):rep(17), ("a=debug "):rep(200) } do
      assert.is_true(lib.vf_log_override(bad) < 0, bad)
    end
    assert.equal("backend=debug  *=warn proxy=error", ffi.string(lib.vf_log_overrides()))
    assert.equal(0, lib.vf_log_override "")
    assert.is_false(lib.vf_log_enabled(DEBUG))
    assert.equal(2, shown(INFO, "proxy.x"))
  end)

  it("drops lines while a pipe's reader stands still, and tells how many", function()
    lib.vf_log_setup(INFO, TEXT, "p")
    local ends, saved, buffer = ffi.new "int[2]", ffi.C.dup(2), ffi.new "char[262144]"
    local function write(count)
      ffi.C.dup2(ends[1], 2)
      for _ = 1, count do lib.vf_log_write(nil, WARN, "event", "value=%s", ("x"):rep(1000)) end
      ffi.C.dup2(saved, 2)
    end
    local function read() return ffi.string(buffer, tonumber(ffi.C.read(ends[0], buffer, 262144))) end
    ffi.C.pipe(ends)
    write(200) -- more than a pipe holds: without dropping, this never returns
    local _, kept = read():gsub("\n", "")
    write(1)
    local lost = tonumber(read():match "^log%.lost lines=(%d+)\n")
    assert.equal(200, kept + lost)
    assert.is_true(kept > 0 and lost > 0)
    for _, fd in ipairs { ends[0], ends[1], saved } do ffi.C.close(fd) end
  end)

  it("does not wait for a reader once it has told what was lost", function()
    lib.vf_log_setup(INFO, TEXT, "p")
    local ends, saved, buffer = ffi.new "int[2]", ffi.C.dup(2), ffi.new "char[262144]"
    local function write(value)
      ffi.C.dup2(ends[1], 2)
      lib.vf_log_write(nil, WARN, "event", "value=%s", value)
      ffi.C.dup2(saved, 2)
    end
    local function read() return ffi.string(buffer, tonumber(ffi.C.read(ends[0], buffer, 262144))) end
    ffi.C.pipe(ends)
    ffi.C.fcntl(ends[1], F_SETPIPE_SZ, ffi.cast("int", 4096)) -- one line at a time
    for _ = 1, 100 do write "x" end
    read()
    write(("x"):rep(5000)) -- there is room for what is said of those before, not for this
    assert.matches("^log%.lost lines=%d+\n$", read())
    write "x"
    assert.matches("^log%.lost lines=1\n[^\n]+ value=x\n$", read())
    for _, fd in ipairs { ends[0], ends[1], saved } do ffi.C.close(fd) end
  end)

  it("quotes values with spaces, quotes and control characters", function()
    lib.vf_log_setup(INFO, TEXT, "p")
    local text = line("reason=%s empty=%s evil=%s", "no route to host", "", 'a"b\\\nforged=1')
    assert.is_truthy(text:find('reason="no route to host" empty="" evil="a\\"b\\\\\\u000aforged=1"\n', 1, true))
    assert.equal(1, select(2, text:gsub("\n", "")))
  end)

  it("writes the same fields as JSON", function()
    lib.vf_log_setup(INFO, JSON, "worker-1")
    local fields = cjson.decode(line("reason=%s", 'spaces, "quotes" and \n'))
    assert.equal("warn", fields.level)
    assert.equal("backend.down", fields.event)
    assert.equal("worker-1", fields.process)
    assert.equal('spaces, "quotes" and \n', fields.reason)
    assert.is_truthy(fields.time)
  end)

  it("stays JSON when bytes are no UTF-8 and a value is too long", function()
    lib.vf_log_setup(INFO, JSON, "p")
    assert.equal("\195\191", cjson.decode(line("v=%s", "\255")).v)
    assert.equal("é\195", cjson.decode(line("v=%s", "é\195")).v:gsub("\195\131$", "\195"))
    assert.equal("é€\240\159\154\128", cjson.decode(line("v=%s", "é€\240\159\154\128")).v)
    for _, bad in ipairs { "\192\175", "\237\160\128", "\244\144\128\128", "\224\159\191", "\226\130" } do
      assert.is_nil(line("v=%s", bad):find(bad, 1, true))
    end
    for _, long in ipairs { ("x"):rep(5000), ("\n"):rep(1000), ("é"):rep(2040), ('"'):rep(4000) } do
      for shift = 0, 7 do
        local fields = cjson.decode(line("v=%s", ("x"):rep(shift) .. long))
        assert.equal(long:sub(1, 600), fields.v:sub(shift + 1, shift + 600))
      end
      assert.is_nil(cjson.decode(line("v=%s w=%s", ("x"):rep(3990), long)).nothing)
    end
  end)

  it("carries the object's context", function()
    lib.vf_log_setup(INFO, TEXT, "p")
    local context = ffi.new("struct vf_log", { "conn=7 client=10.0.0.1" })
    local text = captured(function() lib.vf_log_write(context, ERROR, "conn.failed", "") end)
    assert.is_truthy(text:find("error conn.failed process=p conn=7 client=10.0.0.1\n", 1, true))
  end)

  it("knows which levels are wanted", function()
    lib.vf_log_setup(WARN, TEXT, "p")
    assert.is_false(lib.vf_log_enabled(INFO))
    assert.is_true(lib.vf_log_enabled(WARN))
    lib.vf_log_setup(DEBUG, TEXT, "p")
    assert.is_true(lib.vf_log_enabled(DEBUG))
  end)
end)
