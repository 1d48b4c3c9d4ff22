local cjson = require "cjson"
local ffi = require "ffi"
local uv = require "luv"
local lib = require("unit.proxy.fixture").lib
local tempdir = require "support.tempdir"

ffi.cdef [[
struct vf_access_record {
  uint64_t wall_ms;
  struct vf_str request_id, tenant, listener, client;
  struct vf_str method, host, path;
  uint32_t http_version, status;
  struct vf_str reason, route, pool, backend;
  uint32_t upstream_status, tries;
  uint64_t bytes_in, bytes_out, duration_us, connect_us, first_byte_us;
  struct vf_str consumer, tls_version, tls_cipher, server_name, referer, user_agent;
};
struct vf_access_style { uint32_t format; bool with_query; uint64_t second; char rfc3339[24], apache[32]; };
void vf_access_style_init(struct vf_access_style *, uint32_t format, bool with_query);
size_t vf_access_line_bound(const struct vf_access_record *);
size_t vf_access_line(struct vf_access_style *, const struct vf_access_record *, char *out);

struct vf_access_log;
int vf_access_log_new(const struct vf_snapshot *, struct vf_state_block *, struct vf_access_log **out);
void vf_access_log_write(struct vf_access_log *, const struct vf_access_record *);
void vf_access_log_reopen(struct vf_access_log *);
void vf_access_log_retire(struct vf_access_log *);
void vf_access_log_free(struct vf_access_log *);

int mkfifo(const char *path, unsigned mode);
int open(const char *path, int flags, ...);
intptr_t read(int fd, void *data, size_t size);
int dup(int fd);
int dup2(int from, int to);
int posix_openpt(int flags);
int unlockpt(int fd);
char *ptsname(int fd);
]]

local AUTO, TEXT, JSON, COMBINED = 0, 1, 2, 3
local O_RDONLY, O_RDWR, O_NONBLOCK = 0, 2, 2048
local ENOENT, ENXIO, EISDIR = -2, -6, -21
local STDERR = 2

local block = ffi.new "struct vf_state_block" -- threads that were left behind count in it to the end

local FULL = {
  wall_ms = 1795459200123, -- 2026-11-23T18:40:00.123Z
  request_id = "7f3a", tenant = "acme", listener = "http", client = "192.0.2.7", method = "GET",
  host = "a.example.com", path = "/x?user=ana&page=2", http_version = 11, status = 200, reason = "",
  route = "site", pool = "web", backend = "127.0.0.1:9001", upstream_status = 200, tries = 1, bytes_in = 312,
  bytes_out = 18446744073709551615ULL, duration_us = 12345, connect_us = 1002, first_byte_us = 999,
  consumer = "ana", referer = "http://b.example/?s=1", user_agent = "curl/8.0",
  tls_version = "", tls_cipher = "", server_name = "",
}

--- Makes a record of FULL and `changes`; false takes a value away. The second result keeps the texts alive.
local function record_of(changes)
  local record, texts = ffi.new "struct vf_access_record", {}
  for key, default in pairs(FULL) do
    local value = default
    if changes and changes[key] ~= nil then value = changes[key] end
    if value == false then value = type(default) == "string" and "" or 0 end
    if type(value) == "string" then
      texts[key] = ffi.new("char[?]", math.max(#value, 1))
      ffi.copy(texts[key], value, #value)
      record[key] = { texts[key], #value }
    else
      record[key] = value
    end
  end
  return record, texts
end

--- Formats one line in memory of exactly the announced size.
local function line_of(format, changes, with_query)
  local style = ffi.new "struct vf_access_style"
  lib.vf_access_style_init(style, format, with_query or false)
  local record, texts = record_of(changes)
  local bound = tonumber(lib.vf_access_line_bound(record))
  local out = ffi.new("char[?]", bound)
  local len = tonumber(lib.vf_access_line(style, record, out))
  assert(len <= bound and bound < 256 * 1024 and texts)
  local line = ffi.string(out, len)
  assert.equal(len, line:find("\n", 1, true), "one line, whatever it holds")
  return line:sub(1, -2)
end

local function without(...)
  local changes = {}
  for _, key in ipairs { ... } do changes[key] = false end
  return changes
end

local OPTIONAL = { "request_id", "tenant", "client", "method", "host", "path", "status", "route", "pool", "backend",
  "upstream_status", "tries", "bytes_in", "bytes_out", "connect_us", "first_byte_us", "consumer", "referer",
  "user_agent" }
local EVERY_BYTE = {}
for byte = 0, 255 do EVERY_BYTE[byte + 1] = string.char(byte) end
EVERY_BYTE = table.concat(EVERY_BYTE)

describe("an access log line in JSON", function()
  it("has every field", function()
    assert.equal('{"time":"2026-11-23T18:40:00.123Z","request_id":"7f3a","tenant":"acme","listener":"http",'
      .. '"client":"192.0.2.7","method":"GET","host":"a.example.com","path":"/x?user=***&page=***","status":200,'
      .. '"reason":null,"route":"site","pool":"web","backend":"127.0.0.1:9001","upstream_status":200,"tries":1,'
      .. '"bytes_in":312,"bytes_out":18446744073709551615,"duration_ms":12.345,"connect_ms":1.002,'
      .. '"first_byte_ms":0.999,"consumer":"ana"}', line_of(JSON))
  end)

  it("says what the client's TLS is", function()
    local line = line_of(JSON, { tls_version = "TLSv1.3", tls_cipher = "TLS_AES_128_GCM_SHA256", server_name = 'a"b' })
    assert.equal('"tls_version":"TLSv1.3","tls_cipher":"TLS_AES_128_GCM_SHA256","sni":"a\\"b"}',
      line:match '"consumer":"ana",(.*)$')
    assert.truthy(line_of(TEXT, { tls_version = "TLSv1.3", server_name = "a.test" }):find(
      "consumer=ana tls_version=TLSv1.3 sni=a.test$"))
  end)

  it("says null where a field does not apply", function()
    local values = cjson.decode(line_of(JSON, without(unpack(OPTIONAL))))
    for _, key in ipairs { "request_id", "path", "status", "reason", "backend", "upstream_status", "connect_ms",
      "first_byte_ms", "consumer" } do
      assert.equal(cjson.null, values[key])
    end
    assert.equal(0, values.tries)
    assert.equal(0, values.bytes_out)
    assert.equal("http", values.listener)
  end)

  it("stays valid for every byte", function()
    local path = cjson.decode(line_of(JSON, { path = EVERY_BYTE }, true)).path
    local expected = EVERY_BYTE:gsub("[\128-\255]", function(char)
      local byte = char:byte()
      return string.char(0xc0 + math.floor(byte / 64), 0x80 + byte % 64) -- the code point of that value
    end)
    assert.equal(expected, path)
  end)

  it("keeps UTF-8 and nothing that only looks like it", function()
    local good = "\195\164 \226\130\172 \240\159\152\128 \237\159\191 \244\143\191\191"
    assert.equal(good, cjson.decode(line_of(JSON, { host = good })).host)
    for _, bad in ipairs { "\192\175", "\193\191", "\224\159\191", "\237\160\128", "\240\143\191\191",
      "\244\144\128\128", "\245\128\128\128", "\195", "\226\130", "\240\159\152", "\195x", "\128" } do
      assert.is_truthy(line_of(JSON, { host = bad }):match '"host":"\\u00%x%x')
    end
  end)

  it("begins a new second and a new day", function()
    assert.is_truthy(line_of(JSON, { wall_ms = 1795459201000 }):find('"2026-11-23T18:40:01.000Z"', 1, true))
    local style = ffi.new "struct vf_access_style"
    local out = ffi.new("char[?]", 8192)
    lib.vf_access_style_init(style, JSON, false)
    for ms, text in pairs { [0] = "1970-01-01T00:00:00.000Z", [999] = "1970-01-01T00:00:00.999Z",
      [86400007] = "1970-01-02T00:00:00.007Z" } do
      local record, texts = record_of { wall_ms = ms }
      local len = lib.vf_access_line(style, record, out)
      assert.equal(text, texts and cjson.decode(ffi.string(out, len)).time)
    end
  end)

  it("cuts what is longer than a log needs, and bounds the line", function()
    local values = cjson.decode(line_of(JSON, { path = "/" .. ("a"):rep(9000), host = ("h"):rep(1025) }))
    assert.equal("/" .. ("a"):rep(8191) .. "...", values.path)
    assert.equal(("h"):rep(1024) .. "...", values.host)
    local worst = {}
    for key, value in pairs(FULL) do
      if type(value) == "string" then worst[key] = ("\1"):rep(10000) end
    end
    for format = TEXT, COMBINED do assert.is_true(#line_of(format, worst, true) > 10000) end
  end)
end)

describe("query values", function()
  local masked = {
    ["/"] = "/", ["/?"] = "/?", ["/?a=1"] = "/?a=***", ["/?a=1&b=2"] = "/?a=***&b=***", ["/?a="] = "/?a=***",
    ["/?secret"] = "/?***", ["/?a=1&secret&b=x=y"] = "/?a=***&***&b=***", ["/?&&"] = "/?&&", ["/?=x&"] = "/?=***&",
    ["/?a=1?b=2;c"] = "/?a=***", ["*"] = "*", ["http://h/p?t=1"] = "http://h/p?t=***",
  }
  for target, expected in pairs(masked) do
    it(("of %s are masked"):format(target), function()
      assert.equal(expected, cjson.decode(line_of(JSON, { path = target })).path)
      assert.equal(target, cjson.decode(line_of(JSON, { path = target }, true)).path)
    end)
  end

  it("are masked in a Referer too", function()
    assert.is_truthy(line_of(COMBINED):find('"http://b.example/?s=***"', 1, true))
    assert.is_truthy(line_of(COMBINED, {}, true):find('"http://b.example/?s=1"', 1, true))
  end)
end)

describe("an access log line in text", function()
  it("has columns, then pairs", function()
    assert.equal('2026-11-23T18:40:00.123Z 192.0.2.7 "GET a.example.com /x?user=***&page=***" 200 '
      .. "18446744073709551615 12.345ms request_id=7f3a tenant=acme listener=http route=site pool=web "
      .. "backend=127.0.0.1:9001 upstream_status=200 tries=1 bytes_in=312 connect_ms=1.002 first_byte_ms=0.999 "
      .. "consumer=ana", line_of(TEXT))
  end)

  it("leaves out what does not apply and says - in columns", function()
    assert.equal('2026-11-23T18:40:00.123Z - "- - -" - 0 12.345ms listener=http reason=client.gone tries=0 bytes_in=0',
      line_of(TEXT, setmetatable({ reason = "client.gone" }, { __index = without(unpack(OPTIONAL)) })))
  end)

  it("cannot be made to hold another line, column or pair", function()
    local line = line_of(TEXT, { path = '/\r\n1 "x" \27[0m\127', host = "a b", consumer = 'x" reason=forged\n' }, true)
    assert.is_truthy(line:find([["GET a\x20b /\r\n1\x20\"x\"\x20\x1b[0m\x7f" 200]], 1, true))
    assert.is_truthy(line:find([[ consumer="x\" reason=forged\n"]], 1, true))
    assert.is_nil(line:find "[%c\127]")
  end)

  it("keeps letters of people and escapes other bytes", function()
    assert.is_truthy(line_of(TEXT, { consumer = "J\195\188rgen" }):find('consumer="J\195\188rgen"', 1, true))
    assert.is_truthy(line_of(TEXT, { consumer = "\194\155\255" }):find([[consumer="\xc2\x9b\xff"]], 1, true))
    assert.is_nil(line_of(TEXT, { path = EVERY_BYTE }, true):find "[%c\127-\255]")
  end)
end)

describe("an access log line in Apache's combined format", function()
  it("has its fields", function()
    assert.equal('192.0.2.7 - ana [23/Nov/2026:18:40:00 +0000] "GET /x?user=***&page=*** HTTP/1.1" 200 '
      .. '18446744073709551615 "http://b.example/?s=***" "curl/8.0"', line_of(COMBINED))
    assert.equal('- - - [23/Nov/2026:18:40:00 +0000] "-" - - "-" "-"', line_of(COMBINED, without(unpack(OPTIONAL))))
    assert.is_truthy(line_of(COMBINED, { http_version = 10 }):find(' HTTP/1.0" ', 1, true))
    assert.is_truthy(line_of(COMBINED, { http_version = 20 }):find(' HTTP/2.0" ', 1, true))
  end)

  it("escapes as Apache does", function()
    local line = line_of(COMBINED, { user_agent = '"\\\b\n\r\t\v\0\1\127\255 x', consumer = "a b" })
    assert.is_truthy(line:find([["\"\\\b\n\r\t\v\x00\x01\x7f\xff x"]], 1, true))
    assert.is_truthy(line:find([[ - a\x20b []], 1, true))
    assert.is_nil(line_of(COMBINED, { user_agent = EVERY_BYTE }):find "[%c\127-\255]")
  end)
end)

describe("an access log", function()
  local folder, path
  before_each(function()
    folder = assert(uv.fs_mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/veloflux-spec-XXXXXX"))
    path = folder .. "/access.log"
    block.totals.log_lines, block.totals.log_dropped = 0, 0
  end)
  after_each(function() os.execute("rm -rf '" .. folder .. "'") end)

  --- Opens a log at `where`; returns the code and the log, NULL when it is off.
  local function try_open(where, format)
    local size = ffi.sizeof "struct vf_snap_header"
    local memory = ffi.new("uint8_t[?]", size + #where)
    ffi.copy(memory + size, where, #where)
    local header = ffi.cast("struct vf_snap_header *", memory)
    header.settings.access_path = { size, #where }
    header.settings.access_format = format or JSON
    local snapshot = ffi.new("struct vf_snapshot", { header = header })
    local out = ffi.new "struct vf_access_log *[1]"
    return lib.vf_access_log_new(snapshot, block, out), out[0]
  end

  local function open(where, format)
    local rc, log = try_open(where, format)
    assert.equal(0, rc)
    return log
  end

  local function write(log, id, changes)
    local record, texts = record_of(changes or { request_id = id })
    lib.vf_access_log_write(log, record)
    return texts
  end

  local function ids_of(text)
    local ids = {}
    for line in text:gmatch "([^\n]*)\n" do ids[#ids + 1] = cjson.decode(line).request_id end
    return table.concat(ids, " ")
  end

  local function wait_until(holds)
    local deadline = uv.hrtime() + 120e9
    while not holds() do
      assert(uv.hrtime() < deadline, "did not happen within two minutes")
      uv.sleep(1)
    end
  end

  local function counts()
    return tonumber(block.totals.log_lines), tonumber(block.totals.log_dropped)
  end

  --- Runs `action` with standard error going to a file; returns what was written there.
  local function stderr_of(action)
    local kept = ffi.C.dup(STDERR)
    local name = folder .. "/stderr"
    tempdir.write(name, "")
    local file = ffi.C.open(name, O_RDWR)
    ffi.C.dup2(file, STDERR)
    local ok, err = pcall(action)
    ffi.C.dup2(kept, STDERR)
    ffi.C.close(kept)
    ffi.C.close(file)
    assert(ok, err)
    return assert(tempdir.read(name))
  end

  local function fifo_reader()
    assert.equal(0, ffi.C.mkfifo(path, 384))
    return ffi.C.open(path, O_RDONLY + O_NONBLOCK)
  end

  local chunk = ffi.new "char[65536]"

  --- Reads what a pipe holds now.
  local function read_now(fd)
    local parts = {}
    repeat
      local n = tonumber(ffi.C.read(fd, chunk, 65536))
      if n > 0 then parts[#parts + 1] = ffi.string(chunk, n) end
    until n <= 0
    return table.concat(parts)
  end

  it("writes lines in order and counts them", function()
    local log, ids = open(path), {}
    for i = 1, 3000 do
      ids[i] = tostring(i)
      write(log, ids[i])
      if i % 500 == 0 then wait_until(function() return counts() == i end) end
    end
    lib.vf_access_log_free(log)
    assert.equal(table.concat(ids, " "), ids_of(tempdir.read(path)))
    assert.same({ 3000, 0 }, { counts() })
    assert.equal(416, uv.fs_stat(path).mode % 512) -- 0640
  end)

  it("appends to what a file holds", function()
    tempdir.write(path, "before\n")
    local log = open(path, TEXT)
    write(log, "1")
    lib.vf_access_log_free(log)
    assert.is_truthy(tempdir.read(path):match "^before\n2026[^\n]+\n$")
  end)

  it("may be off, and frees nothing then", function()
    assert.is_true(open "off" == nil)
    lib.vf_access_log_free(nil)
    lib.vf_access_log_retire(nil)
  end)

  it("says why a file cannot be opened", function()
    assert.equal(ENOENT, (try_open(folder .. "/none/access.log")))
    assert.equal(EISDIR, (try_open(folder)))
    assert.equal(0, ffi.C.mkfifo(path, 384))
    assert.equal(ENXIO, (try_open(path)))
  end)

  it("is text on a terminal and JSON elsewhere when the format is auto", function()
    local terminal = ffi.C.posix_openpt(O_RDWR + O_NONBLOCK)
    assert.equal(0, ffi.C.unlockpt(terminal))
    local log = open(ffi.string(ffi.C.ptsname(terminal)), AUTO)
    write(log, "1")
    wait_until(function() return counts() == 1 end)
    assert.is_truthy(read_now(terminal):match '^2026.* "GET ')
    lib.vf_access_log_free(log)
    ffi.C.close(terminal)
    log = open(path, AUTO)
    write(log, "1")
    lib.vf_access_log_free(log)
    assert.equal("1", ids_of(tempdir.read(path)))
  end)

  it("writes to standard output", function()
    local kept, name = ffi.C.dup(1), folder .. "/stdout"
    tempdir.write(name, "")
    io.stdout:flush()
    local file = ffi.C.open(name, O_RDWR)
    ffi.C.dup2(file, 1)
    local rc, log = try_open "stdout"
    ffi.C.dup2(kept, 1)
    ffi.C.close(kept)
    ffi.C.close(file)
    assert.equal(0, rc)
    write(log, "1")
    lib.vf_access_log_reopen(log)
    write(log, "2")
    lib.vf_access_log_free(log)
    assert.equal("1 2", ids_of(tempdir.read(name)))
  end)

  it("goes on in a new file after a rename, at the line where it was asked to", function()
    local log = open(path)
    write(log, "1")
    write(log, "2")
    assert(uv.fs_rename(path, path .. ".1"))
    lib.vf_access_log_reopen(log)
    write(log, "3")
    lib.vf_access_log_free(log)
    assert.equal("1 2", ids_of(tempdir.read(path .. ".1")))
    assert.equal("3", ids_of(tempdir.read(path)))
  end)

  it("reopens without a line to write", function()
    local log = open(path)
    assert(uv.fs_rename(path, path .. ".1"))
    lib.vf_access_log_reopen(log)
    wait_until(function() return uv.fs_stat(path) ~= nil end)
    lib.vf_access_log_free(log)
  end)

  it("keeps the old file when the new one cannot be opened", function()
    assert(uv.fs_mkdir(folder .. "/logs", 493))
    local log = open(folder .. "/logs/access.log")
    assert(uv.fs_rename(folder .. "/logs", folder .. "/moved"))
    local said = stderr_of(function()
      lib.vf_access_log_reopen(log)
      write(log, "1")
      lib.vf_access_log_free(log)
    end)
    assert.is_truthy(said:find("access_log.reopen_failed", 1, true))
    assert.is_truthy(said:find("err=ENOENT", 1, true))
    assert.equal("1", ids_of(tempdir.read(folder .. "/moved/access.log")))
  end)

  it("never waits for a slow reader, drops whole lines and counts them", function()
    local reader, total = fifo_reader(), 4000
    local log = open(path)
    local start = uv.hrtime()
    local said = stderr_of(function()
      for _ = 1, total do write(log, "1") end
      assert.is_true(uv.hrtime() - start < 20e9) -- 5 ms for each line, if it waited
      local parts = {}
      wait_until(function() -- nothing more is added: what was kept arrives
        parts[#parts + 1] = read_now(reader)
        local written, dropped = counts()
        return written + dropped == total
      end)
      lib.vf_access_log_free(log)
      parts[#parts + 1] = read_now(reader)
      local written, dropped = counts()
      local _, lines = ids_of(table.concat(parts)):gsub("1", "")
      assert.equal(written, lines)
      assert.is_true(dropped > 0, "both buffers and the pipe hold less than that")
      assert.is_true(#table.concat(parts) > (256 + 64) * 1024, "more than a buffer and the pipe")
    end)
    local _, warnings = said:gsub("access_log.overflow", "")
    assert.equal(1, warnings)
    ffi.C.close(reader)
  end)

  it("passes lines longer than a pipe writes at once", function()
    local reader = fifo_reader()
    local log, parts = open(path), {}
    for i = 1, 40 do write(log, nil, { request_id = tostring(i), path = "/" .. ("a"):rep(i % 2 * 6000) }) end
    wait_until(function()
      parts[#parts + 1] = read_now(reader)
      return counts() == 40
    end)
    parts[#parts + 1] = read_now(reader)
    local _, lines = ids_of(table.concat(parts)):gsub("%d+", "")
    assert.equal(40, lines)
    lib.vf_access_log_free(log)
    ffi.C.close(reader)
  end)

  it("drops while nobody reads a pipe, and writes again when somebody does", function()
    local reader = fifo_reader()
    local log = open(path)
    local said = stderr_of(function()
      ffi.C.close(reader)
      for i = 1, 3 do
        write(log, tostring(i))
        wait_until(function() return select(2, counts()) == i end)
      end
      reader = ffi.C.open(path, O_RDONLY + O_NONBLOCK)
      write(log, "4")
      wait_until(function() return counts() == 1 end)
      lib.vf_access_log_free(log)
    end)
    assert.equal("4", ids_of(read_now(reader)))
    assert.is_truthy(said:match "warn access_log%.dropping [^\n]*err=EPIPE\n")
    assert.is_truthy(said:match "info access_log%.writing [^\n]*dropped=3\n")
    assert.equal(2, select(2, said:gsub("\n", "")), "one line for each change")
    ffi.C.close(reader)
  end)

  it("drops and counts on a full disk, with one warning", function()
    local log = open "/dev/full"
    local said = stderr_of(function()
      for i = 1, 5 do
        write(log, "1")
        wait_until(function() return select(2, counts()) == i end)
      end
      lib.vf_access_log_free(log)
    end)
    assert.same({ 0, 5 }, { counts() })
    assert.is_truthy(said:match "^[^\n]*access_log%.dropping [^\n]*path=/dev/full err=ENOSPC\n$")
  end)

  it("ends in time although its reader hangs", function()
    local reader = fifo_reader()
    local log = open(path)
    for _ = 1, 500 do write(log, "1") end
    local start = uv.hrtime()
    lib.vf_access_log_free(log)
    assert.is_true(uv.hrtime() - start < 20e9)
    wait_until(function() -- the thread notices, and counts what it could not write
      local written, dropped = counts()
      return written + dropped == 500
    end)
    ffi.C.close(reader)
  end)

  it("writes what it holds when it is retired", function()
    local log = open(path)
    for _ = 1, 100 do write(log, "1") end
    lib.vf_access_log_retire(log)
    wait_until(function() return counts() == 100 end)
    assert.equal(100, select(2, tempdir.read(path):gsub("\n", "")))
  end)
end)
