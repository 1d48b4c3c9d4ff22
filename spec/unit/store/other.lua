--- Somebody else's connection to the file of a store: what another process does to it, or sees in it.
local ffi = require "ffi"

ffi.cdef [[
typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;
int sqlite3_open_v2(const char *path, sqlite3 **out, int flags, const char *vfs);
int sqlite3_close(sqlite3 *);
int sqlite3_prepare_v2(sqlite3 *, const char *sql, int bytes, sqlite3_stmt **out, const char **tail);
int sqlite3_step(sqlite3_stmt *);
int sqlite3_finalize(sqlite3_stmt *);
int sqlite3_bind_int64(sqlite3_stmt *, int at, int64_t value);
int sqlite3_bind_text(sqlite3_stmt *, int at, const char *value, int bytes, void *destructor);
int sqlite3_column_count(sqlite3_stmt *);
const char *sqlite3_column_text(sqlite3_stmt *, int at);
int sqlite3_stmt_status(sqlite3_stmt *, int what, int reset);
const char *sqlite3_errmsg(sqlite3 *);
]]
local lib = ffi.load "libsqlite3.so.0"

local READ_ONLY, CREATE, ROW, DONE = 1, 6, 100, 101
local STATUS_VM_STEPS = 4
local TRANSIENT = ffi.cast("void *", -1) -- made once: in compiled code LuaJIT cuts a negative pointer to 32 bits

local Other = {}
Other.__index = Other

local M = {}

--- Opens the file.
-- @param reads_only boolean
function M.open(path, reads_only)
  local out = ffi.new "sqlite3 *[1]"
  assert(lib.sqlite3_open_v2(path, out, reads_only and READ_ONLY or CREATE, nil) == 0)
  return setmetatable({ raw = out[0] }, Other)
end

local function bind(prepared, values, n)
  for i = 1, n do
    if type(values[i]) == "number" then
      lib.sqlite3_bind_int64(prepared, i, values[i])
    elseif values[i] then
      lib.sqlite3_bind_text(prepared, i, values[i], #values[i], TRANSIENT) -- copied
    end
  end
end

--- Runs one statement to its end.
-- @param values list, or nil
-- @param n how many
-- @return rows as lists of texts, and how many steps of SQLite's machine it took
function Other:run(sql, values, n)
  local out = ffi.new "sqlite3_stmt *[1]"
  assert(lib.sqlite3_prepare_v2(self.raw, sql, #sql, out, nil) == 0, ffi.string(lib.sqlite3_errmsg(self.raw)))
  bind(out[0], values, n or 0)
  local rows = {}
  local rc = lib.sqlite3_step(out[0])
  while rc == ROW do
    local row = {}
    for i = 1, lib.sqlite3_column_count(out[0]) do
      local text = lib.sqlite3_column_text(out[0], i - 1)
      row[i] = text ~= nil and ffi.string(text) or nil
    end
    rows[#rows + 1] = row
    rc = lib.sqlite3_step(out[0])
  end
  local steps = lib.sqlite3_stmt_status(out[0], STATUS_VM_STEPS, 0)
  lib.sqlite3_finalize(out[0])
  assert(rc == DONE, ffi.string(lib.sqlite3_errmsg(self.raw)))
  return rows, steps
end

function Other:close() assert(lib.sqlite3_close(self.raw) == 0) end

return M
