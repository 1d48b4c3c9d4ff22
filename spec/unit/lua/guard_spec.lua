local ffi = require "ffi"
local library = require "support.library" -- luacheck: ignore 211
require "veloflux.runtime.task" -- struct vf_run

ffi.cdef [[
struct lua_State;
struct tidied_tasks { struct vf_run run; struct lua_State *lua; };
struct tidied_guards {
  void *next;
  struct tidied_tasks *tasks;
  void *state, *block;
  uint64_t cpu_us, memory_bytes, body_bytes, trip_errors, trip_window_ms, trip_pause_ms;
  void *timer;
  bool has_timer;
  void *allocate, *allocate_ud;
  size_t used_bytes, base_bytes, left_bytes, core_bytes;
  bool in_plugin;
  uint64_t collected_ns;
  bool is_full;
};
void vf_guards_tidy(void *guards);
uint64_t vf_clock_ns(void);
int vf_lua_new(struct lua_State **out);
int luaL_loadstring(struct lua_State *lua, const char *text);
int lua_pcall(struct lua_State *lua, int n_args, int n_results, int handler);
int lua_gc(struct lua_State *lua, int what, int data);
void lua_close(struct lua_State *lua);
]]
local C = ffi.C
local STOP, COUNT = 0, 3 -- LUA_GC*
local GARBAGE = "local list = {} for i = 1, 10000 do list[i] = { i } end"

describe("the heap of a Lua state", function()
  local lua

  before_each(function()
    local out = ffi.new "struct lua_State *[1]"
    assert.equal(0, C.vf_lua_new(out))
    lua = out[0]
    C.lua_gc(lua, STOP, 0)
  end)
  after_each(function() C.lua_close(lua) end)

  --- Says whether it is collected, with 200 bytes as the limit.
  -- @param is_again true: it has been just now
  local function is_collected(fields, is_again)
    local tasks = ffi.new "struct tidied_tasks"
    tasks.lua = lua
    fields.tasks, fields.memory_bytes = tasks, 200
    local guards = ffi.new("struct tidied_guards", fields)
    assert.equal(0, C.luaL_loadstring(lua, GARBAGE))
    assert.equal(0, C.lua_pcall(lua, 0, 0, 0))
    local before = C.lua_gc(lua, COUNT, 0)
    if is_again then guards.collected_ns = C.vf_clock_ns() end
    C.vf_guards_tidy(guards)
    return C.lua_gc(lua, COUNT, 0) < before - 100
  end

  it("is collected when plugins come near their limit, and in every turn when they are above it", function()
    assert.is_false(is_collected { used_bytes = 149 })
    assert.is_true(is_collected { used_bytes = 150 })
    assert.is_false(is_collected({ used_bytes = 150 }, true))
    assert.is_true(is_collected({ used_bytes = 200 }, true))
    assert.is_false(is_collected({ used_bytes = 200, is_full = true }, true))
  end)

  it("is not collected for what others need, however much that is", function()
    assert.is_false(is_collected { used_bytes = 9000, base_bytes = 100, left_bytes = 150 })
    assert.is_true(is_collected { used_bytes = 9000, base_bytes = 100, left_bytes = 300 })
    assert.is_true(is_collected { used_bytes = 300, base_bytes = 100, left_bytes = 150, in_plugin = true })
    assert.is_false(is_collected { used_bytes = 120, base_bytes = 100, left_bytes = 9000 })
  end)
end)
