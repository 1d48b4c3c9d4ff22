--- An SQLite file whose work is done in a thread of its own: see src/lua/database/database.h.
--
--     local database = assert(databases.open { host = , path = , application_id = , migrations = { script, ... } })
--     database:run(true, { databases.statement("INSERT INTO t VALUES(?1)", 1, "text") }, function(err, rows) end)
local ffi = require "ffi"
local slices = require "veloflux.slices"

ffi.cdef [[
typedef struct uv_loop_s uv_loop_t;
struct vf_database;
struct vf_database_request;
struct vf_database_host { uv_loop_t *loop; void (*on_ready)(void *owner); void *owner; };
struct vf_database_schema {
  uint32_t application_id;
  uint32_t n_migrations;
  const char *const *migrations;
  uint32_t busy_ms;
};
struct vf_database_value { const char *text; size_t len; int64_t integer; uint32_t kind; uint32_t unused; };
struct vf_database_answer {
  uint64_t number;
  const char *message;
  const struct vf_database_value *values;
  const uint32_t *counts;
  uint32_t code;
  uint32_t n_statements;
};
int vf_database_open(const struct vf_database_host *host, const char *path, const struct vf_database_schema *schema,
  struct vf_database **out);
void vf_database_free(struct vf_database *database);
struct vf_database_request *vf_database_request(uint64_t number, int writes);
void vf_database_statement(struct vf_database_request *request, const char *sql, size_t len, int must_change);
void vf_database_text(struct vf_database_request *request, const char *text, size_t len);
void vf_database_integer(struct vf_database_request *request, int64_t integer);
void vf_database_null(struct vf_database_request *request);
void vf_database_submit(struct vf_database *database, struct vf_database_request *request);
void vf_database_end(struct vf_database *database, uint64_t number);
struct vf_database_request *vf_database_take(struct vf_database *database);
const struct vf_database_answer *vf_database_answer(const struct vf_database_request *request);
void vf_database_request_free(struct vf_database_request *request);
const struct vf_database_host *vf_control_database_host(void);
]]
local C = ffi.C

local M = {}
local Database = {}
Database.__index = Database

local CODES = { [1] = "refused", [2] = "unavailable", [3] = "io", [4] = "wrong" } -- enum vf_database_code
local INTEGER, TEXT = 1, 2 -- enum vf_database_kind

local MANY = 5000 -- values of an answer that take milliseconds to read
local BUSY_MS = 5000 -- another process may be reading back what a crash has left in the log

local open = {} -- set of databases: whoever waits for an answer is held here

--- Opens a database. The file itself is opened by the first request, whose answer says what is wrong with it.
-- @param settings host (struct vf_database_host, or nil: of the control process), path, application_id, migrations,
-- busy_ms (how long to wait for another process that writes; 5000)
-- @return the database, or nil and a message
function M.open(settings)
  local self = setmetatable({ waiting = {}, n_requests = 0 }, Database)
  self.scripts = settings.migrations -- C points into them
  local scripts = ffi.new("const char *[?]", #self.scripts)
  for i, script in ipairs(self.scripts) do scripts[i - 1] = script end
  self.pointers = scripts
  local schema = ffi.new("struct vf_database_schema", settings.application_id, #self.scripts, scripts,
    settings.busy_ms or BUSY_MS)
  local out = ffi.new "struct vf_database *[1]"
  local rc = C.vf_database_open(settings.host or C.vf_control_database_host(), settings.path, schema, out)
  if rc ~= 0 then return nil, ("%s: cannot be opened (error %d)"):format(settings.path, -rc) end
  self.raw = out[0]
  open[self] = true
  return self
end

--- Makes a statement for `run`.
-- @param sql text
-- @param n how many values follow
-- @param ... its values: strings, whole numbers, nil
function M.statement(sql, n, ...)
  return { sql = sql, n = n, ... }
end

--- Makes a statement without which the request is refused, when it changes no row.
function M.condition(sql, n, ...)
  return { sql = sql, must_change = 1, n = n, ... }
end

local function add(request, statement)
  C.vf_database_statement(request, statement.sql, #statement.sql, statement.must_change or 0)
  for i = 1, statement.n do
    local value = statement[i]
    if value == nil then
      C.vf_database_null(request)
    elseif type(value) == "number" then
      C.vf_database_integer(request, value)
    else
      C.vf_database_text(request, value, #value)
    end
  end
end

--- Does statements in one transaction, later.
-- @param writes true when they change something
-- @param statements list, made by `statement` and `condition`; or function(add), which calls add(one) for each, and may
-- pause (slices.lua)
-- @param callback called from the loop with nil and a list for each statement, of its values row after row (a list
-- with holes where they are null, and `n`); or with { code = "refused"|"unavailable"|"io"|"wrong", message }
function Database:run(writes, statements, callback)
  assert(callback and not self.is_ending, "the store is closed, or nobody waits for the answer")
  local number = self.n_requests + 1
  local request = C.vf_database_request(number, writes and 1 or 0)
  if request == nil then error("out of memory", 0) end
  self.n_requests, request = number, ffi.gc(request, C.vf_database_request_free)
  if type(statements) == "function" then
    statements(function(statement) add(request, statement) end)
    if self.is_ending then return callback { code = "unavailable", message = "the store has been closed" } end
  else
    for _, statement in ipairs(statements) do add(request, statement) end
  end
  self.waiting[number] = callback
  C.vf_database_submit(self.raw, ffi.gc(request, nil))
end

--- Closes the file after everything that was asked for.
-- @param callback called from the loop when it is closed
function Database:close(callback)
  assert(not self.is_ending, "the store is closed")
  self.is_ending = self.n_requests + 1
  self.waiting[self.is_ending] = assert(callback)
  C.vf_database_end(self.raw, self.is_ending)
end

--- Returns a list of values for each statement.
local function read(answer)
  local results, at = {}, 0
  for i = 1, answer.n_statements do
    local values = { n = answer.counts[i - 1] }
    for j = 1, values.n do
      slices.pause()
      local value = answer.values[at]
      if value.kind == INTEGER then
        values[j] = tonumber(value.integer)
      elseif value.kind == TEXT then
        values[j] = ffi.string(value.text, value.len)
      end
      at = at + 1
    end
    results[i] = values
  end
  return results
end

--- Returns what the callback of an answer is called with. It may pause.
local function read_answer(answer)
  if answer.code == 0 then return nil, read(answer) end
  return { code = CODES[answer.code], message = ffi.string(answer.message) }
end

local function number_of(request) return tonumber(C.vf_database_answer(request).number) end

local function release(self)
  open[self] = nil
  C.vf_database_free(self.raw)
  self.raw = nil
end

--- Calls whoever waits for an answer. Returns true, or nil and what that raised.
local function settle(self, request)
  local number = number_of(request)
  local err, results = read_answer(C.vf_database_answer(request))
  C.vf_database_request_free(ffi.gc(request, nil))
  local callback = self.waiting[number]
  self.waiting[number] = nil
  if not callback then return true end
  if self.is_ending and not next(self.waiting) then release(self) end
  return xpcall(callback, debug.traceback, err, results)
end

local answer_all

--- The same for an answer of many values, in slices. The next ones come after it.
local function settle_large(self, request)
  self.reads = number_of(request)
  slices.run(function()
    local ok, fault = settle(self, request)
    self.reads = nil
    local all_ok, other = answer_all(self)
    if not ok or not all_ok then error(fault or other, 0) end
  end)
end

local function is_large(request)
  local answer, n = C.vf_database_answer(request), 0
  for i = 0, answer.n_statements - 1 do n = n + answer.counts[i] end
  return answer.code == 0 and n > MANY
end

--- Calls those whose answers have come. One that raises does not keep the others from theirs.
-- @return true, or nil and the first error
function answer_all(self)
  local fault
  while self.raw and not self.reads do
    local request = C.vf_database_take(self.raw)
    if request == nil then break end
    request = ffi.gc(request, C.vf_database_request_free)
    if is_large(request) then
      settle_large(self, request)
    else
      local ok, problem = settle(self, request)
      if not ok then fault = fault or problem end
    end
  end
  return not fault, fault
end

--- Called from the loop when answers have come (struct vf_database_host). Raises what a callback raised.
function M.ready()
  local all, fault = {}, nil
  for database in pairs(open) do all[#all + 1] = database end
  for _, database in ipairs(all) do
    local ok, problem = answer_all(database)
    if not ok then fault = fault or problem end
  end
  if fault then error(fault, 0) end
end

--- Closes all, for the end of the process. What is read in slices is not read to its end: there are no more turns.
function M.shutdown()
  local function ignore() end
  for database in pairs(open) do
    if database.reads then database.waiting[database.reads], database.reads = nil, nil end
    if not database.is_ending then database:close(ignore) end
  end
end

return M
