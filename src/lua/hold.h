/* lua/hold.h - what Lua holds of C for a task: a socket that plugins may forget to close. It is
 * closed with the task; the memory goes when Lua lets go of it. Kept for reuse
 * (runtime/stream_pool.lua) it belongs to no task. */
#ifndef VF_LUA_HOLD_H
#define VF_LUA_HOLD_H

#include "lua/task.h"

struct vf_hold;
struct vf_socket;
struct vf_udp;

/* Holds a socket for `task`, and owns it from here on, even when it returns NULL: out of memory.
 * `is_plugins`: the plugin itself has to close it, and the log says so when it did not. */
struct vf_hold *vf_hold_socket(struct vf_task *task, struct vf_socket *socket, bool is_plugins);
struct vf_hold *vf_hold_udp(struct vf_task *task, struct vf_udp *udp, bool is_plugins);

/* The task gives it up; another one takes it. */
void vf_hold_give(struct vf_hold *hold);
void vf_hold_take(struct vf_hold *hold, struct vf_task *task, bool is_plugins);

/* Frees the hold of a socket, but not the socket, which is the caller's from here on. */
struct vf_socket *vf_hold_release(struct vf_hold *hold);

/* Closes and frees it. */
void vf_hold_free(struct vf_hold *hold);

/* Lua has lost it: the same, but that was forgotten. */
void vf_hold_lost(struct vf_hold *hold);

#endif
