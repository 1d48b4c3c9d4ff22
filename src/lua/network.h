/* lua/network.h - tasks that wait for the network: between src/net and runtime/network.lua. Called
 * through FFI by the task that runs. */
#ifndef VF_LUA_NETWORK_H
#define VF_LUA_NETWORK_H

#include "lua/task.h"

struct vf_op;
struct vf_socket;
struct vf_sockets;

/* A task's wait for one operation; in Lua's memory, held by the coroutine that waits. */
struct vf_wait {
    struct vf_task *task;
    struct vf_op *op;
    int rc; /* the result, once the task runs on */
};

/* The task waits from its next yield on until wait->op, which is pending, has ended. When the task
 * ends first the operation is cancelled. */
void vf_network_wait(struct vf_wait *wait);

/* The sockets of the task's process; NULL once it ends. */
struct vf_sockets *vf_network_sockets(struct vf_task *task);

/* Puts TLS below a socket that is connected and shakes hands with a peer called `name`. Returns 0,
 * VF_PENDING (its `writing` ends when the handshake is over), UV_ENOENT (nothing is known to verify
 * it with) or another negative code; of VF_ETLS vf_network_tls_why says more, in static memory. */
int vf_network_secure(struct vf_task *task, struct vf_socket *socket, const char *name, size_t len,
                      bool verify, uint64_t timeout_ms);
const char *vf_network_tls_why(struct vf_socket *socket);

/* Makes an operation of its own on the task's loop, owned by the caller. NULL when out of
 * memory, or when the process ends. */
struct vf_op *vf_network_op(struct vf_task *task);

#endif
