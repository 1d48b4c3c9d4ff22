--- Tables for specs: built, opened, changed and read through the library.
local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
typedef struct { const char *data; size_t len; } table_str;
typedef struct { uint64_t sequence, entries, bytes, delta_bytes, delta_room, delta_overlay; } table_stats;
typedef struct { uint64_t puts, deletes, bytes; } table_diff;
typedef struct { void *table; uint64_t offset, begun, published; } table_change;
void *vf_tableb_new(void);
void vf_tableb_free(void *builder);
int vf_tableb_add(void *builder, const char *key, size_t key_len, const char *value, size_t value_len);
uint64_t vf_tableb_count(const void *builder);
int vf_tableb_finish(const void *builder, uint32_t kind, uint64_t sequence, int fds[2]);
int vf_tableb_add_table(void *builder, void *table);
int vf_table_open(int generation_fd, int delta_fd, void **out);
int vf_table_open_memory(const void *generation, size_t generation_size, const void *delta,
                         size_t delta_size, void **out);
void vf_table_close(void *table);
int vf_table_get(void *table, table_str key, table_str *value);
uint64_t vf_table_sequence(const void *table);
uint32_t vf_table_kind(const void *table);
int vf_table_stats(void *table, table_stats *out);
int vf_change_begin(table_change *change, void *table);
int vf_change_put(table_change *change, table_str key, table_str value);
int vf_change_delete(table_change *change, table_str key);
void vf_change_publish(table_change *change);
void vf_change_abort(table_change *change);
int vf_table_compare(void *table, const void *builder, const void *gone, table_diff *out);
int vf_table_assimilate(void *table, const void *builder, const void *gone);
bool vf_table_is_crowded(const void *table, uint64_t bytes);
int open(const char *path, int flags, ...);
int close(int);
int fork(void);
int kill(int pid, int signal);
int waitpid(int pid, int *status, int options);
int pipe(int fds[2]);
long read(int fd, void *buffer, size_t size);
long write(int fd, const void *buffer, size_t size);
void _exit(int code);
]]

local M = { lib = lib }

local function str(text) return ffi.new("table_str", text, #text) end

--- Makes a builder of a map from keys to values.
function M.builder(entries)
  local builder = ffi.gc(lib.vf_tableb_new(), lib.vf_tableb_free)
  for key, value in pairs(entries) do
    assert(lib.vf_tableb_add(builder, key, #key, value, #value) == 0)
  end
  return builder
end

--- Finishes a builder. Returns the descriptors of generation and delta.
function M.finish(builder, kind, sequence)
  local fds = ffi.new "int[2]"
  assert(lib.vf_tableb_finish(builder, kind or 1, sequence or 1, fds) == 0)
  return fds[0], fds[1]
end

--- Opens a table. Returns it, or nil and the error code.
function M.open(generation_fd, delta_fd)
  local out = ffi.new "void *[1]"
  local rc = lib.vf_table_open(generation_fd, delta_fd, out)
  if rc < 0 then return nil, rc end
  return ffi.gc(out[0], lib.vf_table_close)
end

--- A descriptor of the same memfd, for reading alone.
function M.read_only(fd)
  local copy = ffi.C.open("/proc/self/fd/" .. fd, 0)
  assert(copy >= 0)
  return copy
end

function M.close(...)
  for _, fd in ipairs { ... } do ffi.C.close(fd) end
end

local found = ffi.new "table_str"

--- Returns the value of a key, or nil.
function M.get(table, key)
  local rc = lib.vf_table_get(table, str(key), found)
  if rc == 1 then return ffi.string(found.data, found.len) end
  assert(rc == 0, rc)
  return nil
end

--- Publishes one change: a list of { key, value } and { key }, which deletes. Returns 0 or the error code.
function M.change(table, records)
  local change = ffi.new "table_change"
  local rc = lib.vf_change_begin(change, table)
  if rc < 0 then return rc end
  for _, record in ipairs(records) do
    if record[2] then
      rc = lib.vf_change_put(change, str(record[1]), str(record[2]))
    else
      rc = lib.vf_change_delete(change, str(record[1]))
    end
    if rc < 0 then
      lib.vf_change_abort(change)
      return rc
    end
  end
  lib.vf_change_publish(change)
  return 0
end

function M.stats(table)
  local stats = ffi.new "table_stats"
  assert(lib.vf_table_stats(table, stats) == 0)
  return { sequence = tonumber(stats.sequence), entries = tonumber(stats.entries), bytes = tonumber(stats.bytes),
    delta_bytes = tonumber(stats.delta_bytes), delta_room = tonumber(stats.delta_room) }
end

function M.compare(table, builder)
  local diff = ffi.new "table_diff"
  assert(lib.vf_table_compare(table, builder, nil, diff) == 0)
  return { tonumber(diff.puts), tonumber(diff.deletes), tonumber(diff.bytes) }
end

return M
