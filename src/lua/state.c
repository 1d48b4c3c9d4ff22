#include "lua/state.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <string.h>
#include <uv.h>

#include "lua/embedded.h"

int luaopen_cjson(lua_State *lua); /* lua-cjson has no header of its own */
int luaopen_cjson_safe(lua_State *lua);

const struct vf_embedded *vf_embedded_find(const char *name)
{
    size_t low = 0, high = vf_embedded_lua_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, vf_embedded_lua[middle].name);
        if (order == 0)
            return &vf_embedded_lua[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* package.loaders entry: (name) -> loader, or a text that says why not. */
static int search_embedded(lua_State *lua)
{
    const char *name = luaL_checkstring(lua, 1);
    const struct vf_embedded *file = vf_embedded_find(name);
    if (file == NULL) {
        lua_pushfstring(lua, "\n\tno embedded module '%s'", name);
        return 1;
    }
    lua_pushfstring(lua, "=%s", name);
    if (luaL_loadbuffer(lua, file->data, file->len, lua_tostring(lua, -1)) != 0)
        return luaL_error(lua, "error loading embedded module '%s':\n\t%s", name,
                          lua_tostring(lua, -1));
    return 1;
}

/* Leaves package.loaders with two entries: preloaded modules and embedded ones. */
static void install_searchers(lua_State *lua)
{
    lua_getglobal(lua, "package");
    lua_getfield(lua, -1, "loaders");
    lua_pushcfunction(lua, search_embedded);
    lua_rawseti(lua, -2, 2);
    for (int i = (int)lua_objlen(lua, -1); i > 2; i--) {
        lua_pushnil(lua);
        lua_rawseti(lua, -2, i);
    }
    lua_pop(lua, 1);
    lua_getfield(lua, -1, "preload");
    lua_pushcfunction(lua, luaopen_cjson);
    lua_setfield(lua, -2, "cjson");
    lua_pushcfunction(lua, luaopen_cjson_safe);
    lua_setfield(lua, -2, "cjson.safe");
    lua_pop(lua, 1);
    lua_pushliteral(lua, "");
    lua_setfield(lua, -2, "path");
    lua_pushliteral(lua, "");
    lua_setfield(lua, -2, "cpath");
    lua_pop(lua, 1);
}

static int open_all(lua_State *lua)
{
    luaL_openlibs(lua);
    install_searchers(lua);
    return 0;
}

int vf_lua_new(struct lua_State **out)
{
    lua_State *lua = luaL_newstate();
    if (lua == NULL)
        return UV_ENOMEM;
    if (lua_cpcall(lua, open_all, NULL) != 0) {
        lua_close(lua);
        return UV_ENOMEM;
    }
    *out = lua;
    return 0;
}

static int with_traceback(lua_State *lua)
{
    const char *message = lua_tostring(lua, 1);
    luaL_traceback(lua, lua, message != NULL ? message : "(error object is not a string)", 1);
    return 1;
}

int vf_lua_call(struct lua_State *lua, const char *module, const char *name, int n_args,
                const char *const *args)
{
    lua_pushcfunction(lua, with_traceback);
    int handler = lua_gettop(lua);
    lua_getglobal(lua, "require");
    lua_pushstring(lua, module);
    int failed = lua_pcall(lua, 1, 1, handler);
    if (!failed && !lua_istable(lua, -1)) {
        lua_pushfstring(lua, "module '%s' is not a table", module);
        failed = 1;
    }
    if (!failed) {
        lua_getfield(lua, -1, name);
        lua_remove(lua, -2);
        luaL_checkstack(lua, n_args, "too many arguments");
        for (int i = 0; i < n_args; i++)
            lua_pushstring(lua, args[i]);
        failed = lua_pcall(lua, n_args, 1, handler);
    }
    lua_replace(lua, handler);
    lua_settop(lua, handler);
    return failed ? UV_EIO : 0;
}
