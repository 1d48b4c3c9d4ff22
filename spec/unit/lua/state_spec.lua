local ffi = require "ffi"
local library = require "support.library" -- luacheck: ignore 211
local embedded = require "veloflux.embedded"

ffi.cdef [[
struct lua_State;
int vf_lua_new(struct lua_State **out);
int vf_lua_call(struct lua_State *lua, const char *module, const char *name, int n_args, const char *const *args);
const char *lua_tolstring(struct lua_State *lua, int index, size_t *len);
int lua_gettop(struct lua_State *lua);
void lua_close(struct lua_State *lua);
]]
local C = ffi.C
local UV_EIO = -5

describe("a Lua state", function()
  local lua

  before_each(function()
    local out = ffi.new "struct lua_State *[1]"
    assert.equal(0, C.vf_lua_new(out))
    lua = out[0]
  end)
  after_each(function() C.lua_close(lua) end)

  local function call(module, name, ...)
    local args = { ... }
    local rc = C.vf_lua_call(lua, module, name, #args, ffi.new("const char *[?]", #args + 1, args))
    return rc, ffi.string(C.lua_tolstring(lua, -1, nil))
  end

  it("finds the modules that the library carries, and leaves one result", function()
    assert.same({ 0, "10000" }, { call("veloflux.model.duration", "parse", "10s") })
    assert.equal(1, C.lua_gettop(lua))
  end)

  it("has cjson, and nothing from disk", function()
    assert.same({ 0, '"x"' }, { call("cjson", "encode", "x") })
    local rc, message = call("luv", "now")
    assert.equal(UV_EIO, rc)
    assert.is_truthy(message:find("no embedded module 'luv'", 1, true))
  end)

  it("answers errors with a traceback", function()
    local rc, message = call("veloflux.model.size", "parse") -- no text
    assert.equal(UV_EIO, rc)
    assert.is_truthy(message:find("veloflux.model.size:", 1, true))
    assert.is_truthy(message:find("stack traceback", 1, true))
    rc, message = call("veloflux.model.size", "nope")
    assert.equal(UV_EIO, rc)
    assert.is_truthy(message:find("attempt to call", 1, true))
    assert.equal(UV_EIO, (call("veloflux.none", "x")))
    assert.equal(3, C.lua_gettop(lua)) -- each call left one value
  end)
end)

describe("embedded files", function()
  it("are found by name", function()
    assert.is_truthy(embedded.asset("src/snapshot/layout.h"):find("struct vf_snap_header", 1, true))
    assert.is_nil(embedded.asset "src/snapshot/none.h")
    assert.is_nil(embedded.asset "")
  end)
end)
