/* control/plugins.h - what plugins do in control: endpoints, jobs, channels. They run as tasks of
 * control's own Lua state, on its loop, with the sockets, budgets and counts that plugins have in
 * workers; lua/veloflux/control/plugins decides what runs.
 *
 * control calls, in this order: init, before Lua loads anything that uses tasks; open, once the
 * admin's proxy is there; publish, with every snapshot; stop, before that proxy is freed; deinit,
 * before the loop has ended. */
#ifndef VF_CONTROL_PLUGINS_H
#define VF_CONTROL_PLUGINS_H

#include <stdbool.h>

#include "lua/guard.h"
#include "lua/task.h"

struct lua_State;
struct vf_proxy;
struct vf_snapshot;
struct vf_state;

/* Embedded by its owner. */
struct vf_control_plugins {
    struct vf_tasks tasks; /* first member */
    struct vf_guards guards;
    struct vf_snapshot *snapshot; /* retained; NULL before the first */
    bool is_open;
};

/* Prepares the tasks of `lua`. Returns 0 or UV_E*. */
int vf_control_plugins_init(struct vf_control_plugins *plugins, struct lua_State *lua,
                            uv_loop_t *loop);

/* Lets tasks use the network of `proxy`, and bounds and counts them in block `block` of `state`.
 * Returns 0 or UV_E*. */
int vf_control_plugins_open(struct vf_control_plugins *plugins, struct vf_proxy *proxy,
                            struct vf_state *state, int block);

/* The limits for plugins are those of `snapshot` from here on, that of memory on top of what
 * control itself uses now. Retains it. */
void vf_control_plugins_publish(struct vf_control_plugins *plugins, struct vf_snapshot *snapshot);

/* Ends all tasks; what they wait for is cancelled. */
void vf_control_plugins_stop(struct vf_control_plugins *plugins);

/* Frees what is left; its handle closes on the loop. */
void vf_control_plugins_deinit(struct vf_control_plugins *plugins);

#endif
