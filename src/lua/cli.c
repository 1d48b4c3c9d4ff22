#include "lua/cli.h"

#include <lua.h>
#include <stdio.h>

#include "lua/state.h"

const char *vf_version(void)
{
    return VF_VERSION;
}

const char *vf_build_date(void)
{
    return VF_BUILD_DATE;
}

int vf_cli_main(int argc, char **argv)
{
    lua_State *lua = NULL;
    if (vf_lua_new(&lua) != 0) {
        fputs("veloflux: out of memory\n", stderr);
        return 1;
    }
    int status = 1;
    int first = argc > 1 ? 1 : argc;
    if (vf_lua_call(lua, "veloflux.cli", "main", argc - first,
                    (const char *const *)(argv + first)) != 0)
        fprintf(stderr, "veloflux: %s\n", lua_tostring(lua, -1));
    else
        status = (int)lua_tointeger(lua, -1);
    lua_close(lua);
    return status;
}
