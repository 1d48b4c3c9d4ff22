#include "kit/desk.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

#include "base/log.h"
#include "lua/guard.h"
#include "lua/state.h"
#include "lua/task.h"
#include "net/socket.h"
#include "proxy/core.h"
#include "snapshot/snapshot.h"
#include "snapshot/state.h"

enum { MAX_SOCKETS = 256 };

struct vf_desk {
    struct vf_tasks tasks; /* first member */
    struct vf_guards guards;
    struct vf_snapshot *snapshot; /* retained; NULL before the first */
    lua_State *lua;
};

static void on_left_open(struct vf_tasks *tasks, uint32_t slot)
{
    const struct vf_snapshot *snapshot = ((struct vf_desk *)tasks)->snapshot;
    uint32_t n = snapshot != NULL ? vf_snap_count(snapshot, VF_SNAP_PLUGINS) : 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct vf_snap_plugin *plugin = vf_snap_plugin(snapshot, i);
        struct vf_str name = vf_snap_str(snapshot, plugin->name);
        if (plugin->slot == slot)
            vf_log_warn(NULL, "socket.left_open", "plugin=%.*s phase=control", (int)name.len,
                        name.data);
    }
}

static int open_tasks(struct vf_desk *desk, uv_loop_t *loop, struct vf_proxy *proxy,
                      struct vf_state *state)
{
    int block = vf_state_lease(state, VF_PROCESS_CONTROL, 0, 1);
    if (block < 0)
        return UV_ENOSPC;
    int rc = vf_tasks_init(&desk->tasks, desk->lua, loop);
    if (rc < 0)
        return rc;
    desk->tasks.proxy = proxy;
    desk->tasks.on_left_open = on_left_open;
    if ((rc = vf_sockets_new(&proxy->net, proxy->resolver, MAX_SOCKETS, &desk->tasks.sockets)) < 0)
        return rc;
    return vf_guards_init(&desk->guards, &desk->tasks, state, &state->blocks[block]);
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
    if ((rc = open_tasks(desk, loop, proxy, state)) < 0) {
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
    struct vf_snapshot *old = desk->snapshot;
    desk->snapshot = vf_snapshot_retain(snapshot);
    vf_snapshot_release(&old);
    vf_guards_limit(&desk->guards, &vf_snap_settings(snapshot)->plugin_limits);
    vf_guards_rebase(&desk->guards);
}

void vf_desk_stop(struct vf_desk *desk)
{
    if (desk == NULL)
        return;
    vf_tasks_stop(&desk->tasks);
    vf_sockets_free(desk->tasks.sockets); /* they stand on the proxy's loop */
    desk->tasks.sockets = NULL;
    desk->tasks.proxy = NULL;
}

void vf_desk_free(struct vf_desk *desk)
{
    if (desk == NULL)
        return;
    vf_tasks_deinit(&desk->tasks);
    vf_guards_deinit(&desk->guards);
    vf_snapshot_release(&desk->snapshot);
    lua_close(desk->lua);
    free(desk);
}
