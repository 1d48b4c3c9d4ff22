#include "lua/network.h"

#include "net/op.h"
#include "net/socket.h"
#include "proxy/secure.h"

static void on_done(void *owner, int rc)
{
    struct vf_wait *wait = owner;
    wait->rc = rc;
    vf_task_wake(wait->task);
}

static void on_cancel(void *owner)
{
    struct vf_wait *wait = owner;
    vf_op_cancel(wait->op);
}

void vf_network_wait(struct vf_wait *wait)
{
    vf_task_wait_for(wait->task, wait, on_cancel);
    vf_op_on_done(wait->op, on_done, wait);
}

struct vf_sockets *vf_network_sockets(struct vf_task *task)
{
    return vf_task_tasks(task)->sockets;
}

struct vf_op *vf_network_op(struct vf_task *task)
{
    struct vf_sockets *sockets = vf_network_sockets(task);
    return sockets != NULL ? vf_op_new(sockets->net->reactor) : NULL;
}

int vf_network_secure(struct vf_task *task, struct vf_socket *socket, const char *name, size_t len,
                      bool verify, uint64_t timeout_ms)
{
    struct vf_stream *stream = vf_socket_stream(socket);
    if (!vf_socket_is_open(socket) || !vf_stream_is_plain(stream))
        return vf_socket_is_open(socket) ? UV_EALREADY : UV_ENOTCONN;
    int rc = vf_secure_connect_plugin(vf_task_tasks(task)->proxy, verify, vf_str_make(name, len),
                                      stream);
    return rc < 0 ? rc : vf_socket_start_transport(socket, timeout_ms);
}

const char *vf_network_tls_why(struct vf_socket *socket)
{
    static char text[64];
    if (vf_stream_is_plain(vf_socket_stream(socket)))
        return "TLS failed";
    return vf_tls_reason(vf_socket_stream(socket), text, sizeof(text));
}
