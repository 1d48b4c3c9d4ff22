#include "lua/background.h"

#include <string.h>

#include "base/log.h"
#include "net/socket.h"
#include "proxy/core.h"
#include "snapshot/snapshot.h"
#include "snapshot/state.h"

static void on_left_open(struct vf_tasks *tasks, uint32_t slot)
{
    const struct vf_snapshot *snapshot = ((struct vf_background *)tasks)->snapshot;
    uint32_t n = snapshot != NULL ? vf_snap_count(snapshot, VF_SNAP_PLUGINS) : 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct vf_snap_plugin *plugin = vf_snap_plugin(snapshot, i);
        struct vf_str name = vf_snap_str(snapshot, plugin->name);
        if (plugin->slot == slot)
            vf_log_warn(NULL, "socket.left_open", "plugin=%.*s phase=control", (int)name.len,
                        name.data);
    }
}

int vf_background_init(struct vf_background *background, struct lua_State *lua, uv_loop_t *loop)
{
    memset(background, 0, sizeof(*background));
    return vf_tasks_init(&background->tasks, lua, loop);
}

int vf_background_open(struct vf_background *background, struct vf_proxy *proxy,
                       struct vf_state *state, int block, uint32_t max_sockets)
{
    background->tasks.proxy = proxy;
    background->tasks.on_left_open = on_left_open;
    int rc = vf_sockets_new(&proxy->net, proxy->resolver, max_sockets, &background->tasks.sockets);
    if (rc < 0)
        return rc;
    if ((rc = vf_guards_init(&background->guards, &background->tasks, state,
                             &state->blocks[block])) < 0) {
        vf_sockets_free(background->tasks.sockets);
        background->tasks.sockets = NULL;
        return rc;
    }
    background->is_open = true;
    return 0;
}

void vf_background_publish(struct vf_background *background, struct vf_snapshot *snapshot)
{
    struct vf_snapshot *old = background->snapshot;
    background->snapshot = vf_snapshot_retain(snapshot);
    vf_snapshot_release(&old);
    vf_guards_limit(&background->guards, &vf_snap_settings(snapshot)->plugin_limits);
    vf_guards_rebase(&background->guards);
}

void vf_background_stop(struct vf_background *background)
{
    if (!background->is_open)
        return;
    background->is_open = false;
    vf_tasks_stop(&background->tasks);
    vf_sockets_free(background->tasks.sockets); /* they stand on the proxy's loop */
    background->tasks.sockets = NULL;
    background->tasks.proxy = NULL;
}

void vf_background_deinit(struct vf_background *background)
{
    vf_tasks_deinit(&background->tasks);
    vf_guards_deinit(&background->guards);
    vf_snapshot_release(&background->snapshot);
}
