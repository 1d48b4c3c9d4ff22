#include "lua/network.h"

#include "net/op.h"
#include "net/socket.h"

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
