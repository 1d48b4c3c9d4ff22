#include "control/plugins.h"

#include <string.h>

#include "base/log.h"
#include "net/socket.h"
#include "proxy/core.h"
#include "snapshot/snapshot.h"
#include "snapshot/state.h"

enum { MAX_SOCKETS = 1024 };

static void on_left_open(struct vf_tasks *tasks, uint32_t slot)
{
    const struct vf_snapshot *snapshot = ((struct vf_control_plugins *)tasks)->snapshot;
    uint32_t n = snapshot != NULL ? vf_snap_count(snapshot, VF_SNAP_PLUGINS) : 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct vf_snap_plugin *plugin = vf_snap_plugin(snapshot, i);
        struct vf_str name = vf_snap_str(snapshot, plugin->name);
        if (plugin->slot == slot)
            vf_log_warn(NULL, "socket.left_open", "plugin=%.*s phase=control", (int)name.len,
                        name.data);
    }
}

int vf_control_plugins_init(struct vf_control_plugins *plugins, struct lua_State *lua,
                            uv_loop_t *loop)
{
    memset(plugins, 0, sizeof(*plugins));
    return vf_tasks_init(&plugins->tasks, lua, loop);
}

int vf_control_plugins_open(struct vf_control_plugins *plugins, struct vf_proxy *proxy,
                            struct vf_state *state, int block)
{
    plugins->tasks.proxy = proxy;
    plugins->tasks.on_left_open = on_left_open;
    int rc = vf_sockets_new(&proxy->net, proxy->resolver, MAX_SOCKETS, &plugins->tasks.sockets);
    if (rc < 0)
        return rc;
    if ((rc = vf_guards_init(&plugins->guards, &plugins->tasks, state, &state->blocks[block])) <
        0) {
        vf_sockets_free(plugins->tasks.sockets);
        plugins->tasks.sockets = NULL;
        return rc;
    }
    plugins->is_open = true;
    return 0;
}

void vf_control_plugins_publish(struct vf_control_plugins *plugins, struct vf_snapshot *snapshot)
{
    struct vf_snapshot *old = plugins->snapshot;
    plugins->snapshot = vf_snapshot_retain(snapshot);
    vf_snapshot_release(&old);
    vf_guards_limit(&plugins->guards, &vf_snap_settings(snapshot)->plugin_limits);
    vf_guards_rebase(&plugins->guards);
}

void vf_control_plugins_stop(struct vf_control_plugins *plugins)
{
    if (!plugins->is_open)
        return;
    plugins->is_open = false;
    vf_tasks_stop(&plugins->tasks);
    vf_sockets_free(plugins->tasks.sockets); /* they stand on the proxy's loop */
    plugins->tasks.sockets = NULL;
    plugins->tasks.proxy = NULL;
}

void vf_control_plugins_deinit(struct vf_control_plugins *plugins)
{
    vf_tasks_deinit(&plugins->tasks);
    vf_guards_deinit(&plugins->guards);
    vf_snapshot_release(&plugins->snapshot);
}
