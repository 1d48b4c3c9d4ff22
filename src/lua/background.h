/* lua/background.h - what plugins do beside exchanges: endpoints, jobs, channels. They run as tasks
 * of control's own Lua state, or of the one that stands for it in specs of plugins, on its loop,
 * with the sockets, budgets and counts that plugins have in workers; lua/veloflux/control/plugins
 * decides what runs.
 *
 * The owner calls, in this order: init, before Lua loads anything that uses tasks; open, once there
 * is a proxy; publish, with every snapshot; stop, before that proxy is freed; deinit, before the
 * loop has ended. */
#ifndef VF_LUA_BACKGROUND_H
#define VF_LUA_BACKGROUND_H

#include <stdbool.h>

#include "lua/guard.h"
#include "lua/task.h"

struct lua_State;
struct vf_proxy;
struct vf_snapshot;
struct vf_state;

/* Embedded by its owner. */
struct vf_background {
    struct vf_tasks tasks; /* first member */
    struct vf_guards guards;
    struct vf_snapshot *snapshot; /* retained; NULL before the first */
    bool is_open;
};

/* Prepares the tasks of `lua`. Returns 0 or UV_E*. */
int vf_background_init(struct vf_background *background, struct lua_State *lua, uv_loop_t *loop);

/* Lets tasks use the network of `proxy`, with so many sockets at a time, and bounds and counts them
 * in block `block` of `state`. Returns 0 or UV_E*. */
int vf_background_open(struct vf_background *background, struct vf_proxy *proxy,
                       struct vf_state *state, int block, uint32_t max_sockets);

/* The limits for plugins are those of `snapshot` from here on, that of memory on top of what
 * the owner itself uses now. Retains it. */
void vf_background_publish(struct vf_background *background, struct vf_snapshot *snapshot);

/* Ends all tasks; what they wait for is cancelled. */
void vf_background_stop(struct vf_background *background);

/* Frees what is left; its handle closes on the loop. */
void vf_background_deinit(struct vf_background *background);

#endif
