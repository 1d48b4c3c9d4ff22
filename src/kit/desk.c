#include "kit/desk.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

#include "lua/background.h"
#include "lua/state.h"
#include "snapshot/state.h"

enum { MAX_SOCKETS = 256 };

struct vf_desk {
    struct vf_background background;
    lua_State *lua;
};

static int open_background(struct vf_desk *desk, uv_loop_t *loop, struct vf_proxy *proxy,
                           struct vf_state *state)
{
    int block = vf_state_lease(state, VF_PROCESS_CONTROL, 0, 1);
    if (block < 0)
        return UV_ENOSPC;
    int rc = vf_background_init(&desk->background, desk->lua, loop);
    if (rc < 0)
        return rc;
    return vf_background_open(&desk->background, proxy, state, block, MAX_SOCKETS);
}

int vf_desk_new(uv_loop_t *loop, struct vf_proxy *proxy, struct vf_state *state,
                struct vf_desk **out)
{
    struct vf_desk *desk = calloc(1, sizeof(*desk));
    if (desk == NULL)
        return UV_ENOMEM;
    int rc = vf_lua_new(&desk->lua);
    if (rc < 0) {
        free(desk);
        return rc;
    }
    if ((rc = open_background(desk, loop, proxy, state)) < 0) {
        vf_desk_stop(desk);
        vf_desk_free(desk);
        return rc;
    }
    *out = desk;
    return 0;
}

const char *vf_desk_call(struct vf_desk *desk, const char *name, const char *text)
{
    lua_settop(desk->lua, 0);
    int rc = vf_lua_call(desk->lua, "veloflux.kit.desk", name, 1, &text);
    return rc == 0 ? lua_tostring(desk->lua, -1) : NULL;
}

const char *vf_desk_fault(const struct vf_desk *desk)
{
    return lua_tostring(desk->lua, -1);
}

void vf_desk_publish(struct vf_desk *desk, struct vf_snapshot *snapshot)
{
    vf_background_publish(&desk->background, snapshot);
}

void vf_desk_stop(struct vf_desk *desk)
{
    if (desk != NULL)
        vf_background_stop(&desk->background);
}

void vf_desk_free(struct vf_desk *desk)
{
    if (desk == NULL)
        return;
    vf_background_deinit(&desk->background);
    lua_close(desk->lua);
    free(desk);
}
