/* control/admin.h - the admin address: HTTP from the proxy's own codec, answers from Lua.
 * A proxy with a handler serves the TCP listeners of kind ADMIN and the socket control.sock of the
 * data directory. Requests become tables for lua/veloflux/admin, which answers at once or later.
 * Requests over the unix socket are marked local: its file mode is their authentication.
 *
 * control calls, in this order: new; publish, with every snapshot, the first one when it has the
 * user's privileges (the generated password is written then); listen and unlisten as the supervisor
 * says. One per process, driven by one loop. */
#ifndef VF_CONTROL_ADMIN_H
#define VF_CONTROL_ADMIN_H

#include <stdbool.h>
#include <uv.h>

struct vf_admin;
struct vf_channels;
struct vf_proxy;
struct vf_snapshot;
struct vf_state;
struct vf_tasks;
struct vf_usage;

/* Makes the admin server of block `block` of `state`, and loads veloflux.admin into the Lua state
 * of `tasks`, which outlive it. Owned by the caller. Returns 0, UV_ENOMEM, or UV_EIO when the Lua
 * side does not load (logged). */
int vf_admin_new(uv_loop_t *loop, struct vf_state *state, int block, struct vf_tasks *tasks,
                 struct vf_admin **out);

/* The proxy that serves it: tasks use its network. */
struct vf_proxy *vf_admin_proxy(struct vf_admin *admin);

/* `snapshot` is the configuration from here on; retains it. What tenants have used is read from
 * `usage`, which outlives `admin`, or is NULL. Lua's `node` service (see attach in
 * lua/veloflux/admin/init.lua) has to know the settings that belong to it by now. */
void vf_admin_publish(struct vf_admin *admin, struct vf_snapshot *snapshot,
                      const struct vf_usage *usage);

/* Starts accepting on `fd`, which it owns from here on, for the admin listener called `name`; any
 * name does for control.sock. Needs a published snapshot. Returns 0 or UV_E* (fd is closed). */
int vf_admin_listen(struct vf_admin *admin, const char *name, int fd);

/* Stops accepting on `fd` and closes it, after taking what is queued when `drain_queue`. */
void vf_admin_unlisten(struct vf_admin *admin, int fd, bool drain_queue);

/* Stops accepting and ends the connections as vf_proxy_drain does. Before the first snapshot there
 * is nothing to drain: on_drained is called at once. */
void vf_admin_drain(struct vf_admin *admin, void (*on_drained)(void *owner), void *owner);

/* Its WebSocket clients: the caller frees them (vf_channels_free) when `admin` is stopped and the
 * loop has run dry. */
struct vf_channels *vf_admin_channels(struct vf_admin *admin);

/* Closes everything at once. What Lua still answers is dropped: the store may be slow. */
void vf_admin_stop(struct vf_admin *admin);

/* Frees the memory, after vf_admin_stop and when the loop has run dry. NULL is allowed. */
void vf_admin_free(struct vf_admin *admin);

#endif
