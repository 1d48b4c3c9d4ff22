/* lua/state.h - a LuaJIT state as the processes use it: the standard libraries, cjson, and the
 * modules that the binary carries, found by `require` under the names of lua/embedded.h. Files on
 * disk are not searched, so what runs is what was built. Lua reaches C through ffi.C.vf_*. */
#ifndef VF_LUA_STATE_H
#define VF_LUA_STATE_H

#include <stddef.h>

struct lua_State;
struct vf_embedded;

/* Makes a state and stores it in *out; the caller owns it and ends it with lua_close. Returns 0 or
 * UV_ENOMEM. */
int vf_lua_new(struct lua_State **out);

/* Calls the function `name` of the embedded module `module` with the C strings `args`; leaves its
 * one result on the stack and returns 0. When it raises, or there is no such module or function,
 * leaves the message with its traceback there instead and returns UV_EIO. */
int vf_lua_call(struct lua_State *lua, const char *module, const char *name, int n_args,
                const char *const *args);

/* Returns the embedded file called `name`, static data, or NULL. For Lua through FFI too. */
const struct vf_embedded *vf_embedded_find(const char *name);

#endif
