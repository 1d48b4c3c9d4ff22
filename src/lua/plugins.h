/* lua/plugins.h - the plugins of one process: its LuaJIT state, the code of the published
 * snapshot's plugins, the chains that have been built, and how exchanges run through them
 * (proxy/phases.h).
 *
 *   vf_plugins_prepare: code that is new is loaded; an error refuses the snapshot
 *   vf_plugins_publish: new exchanges use the snapshot's chains; init_worker and configure run
 *
 * A chain is built on first use and kept by its hash, so a reload that changes nothing builds
 * nothing, and exchanges under way finish on the chain that they began with. */
#ifndef VF_LUA_PLUGINS_H
#define VF_LUA_PLUGINS_H

#include <uv.h>

struct vf_plugins;
struct vf_proxy;
struct vf_snapshot;
struct vf_state;
struct vf_state_block;

/* Makes the plugins of the process whose exchanges `proxy` serves, and joins them to it. Owned by
 * the caller. Returns 0 or UV_E* (logged). */
int vf_plugins_new(uv_loop_t *loop, struct vf_proxy *proxy, struct vf_state *state, int block,
                   struct vf_plugins **out);

/* Loads what `snapshot` needs and is not there yet. Returns 0, or UV_EINVAL with a message for
 * people in `fault`; nothing has changed then. */
int vf_plugins_prepare(struct vf_plugins *plugins, const struct vf_snapshot *snapshot, char *fault,
                       size_t fault_bytes);

/* Uses `snapshot`, prepared before, for exchanges that begin from here on. */
void vf_plugins_publish(struct vf_plugins *plugins, struct vf_snapshot *snapshot);

/* The process drains: queues of plugins ship what they hold at once. */
void vf_plugins_drain(struct vf_plugins *plugins);

/* Returns how many items queues of plugins hold that are not shipped yet. */
double vf_plugins_pending(struct vf_plugins *plugins);

/* The last connection has gone: calls on_shipped(owner), later, once the queues are empty or
 * VF_PLUGINS_DRAIN_MS have passed. What is lost then is logged. */
void vf_plugins_finish(struct vf_plugins *plugins, void (*on_shipped)(void *owner), void *owner);

enum { VF_PLUGINS_DRAIN_MS = 5000 };

/* Ends everything that waits: exchanges in their log phase, timers, queues. The proxy still
 * stands. */
void vf_plugins_stop(struct vf_plugins *plugins);

/* Frees the state. The proxy, and with it every exchange, is gone. */
void vf_plugins_free(struct vf_plugins *plugins);

#endif
