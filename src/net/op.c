#include "net/op.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"

static void on_fire(struct vf_timer *timer)
{
    struct vf_op *op = (struct vf_op *)((char *)timer - offsetof(struct vf_op, timer));
    if (op->on_expire != NULL)
        op->on_expire(op);
    vf_op_end(op, UV_ETIMEDOUT);
}

void vf_op_init(struct vf_op *op, struct vf_reactor *reactor)
{
    *op = (struct vf_op){.timer.on_fire = on_fire, .reactor = reactor};
}

/* How old the clock of the current turn is: Lua may have run for long since. */
static uint64_t lag_ms(const struct vf_reactor *reactor)
{
    return (vf_clock_ns() - vf_reactor_now_ns(reactor)) / 1000000;
}

int vf_op_begin(struct vf_op *op, uint64_t timeout_ms)
{
    assert(!op->pending);
    op->pending = true;
    op->on_done = NULL;
    op->owner = NULL;
    if (timeout_ms > 0)
        vf_reactor_timer(op->reactor, &op->timer, timeout_ms + lag_ms(op->reactor));
    return VF_PENDING;
}

void vf_op_cancel(struct vf_op *op)
{
    op->pending = false;
    op->on_done = NULL;
    vf_reactor_timer_stop(op->reactor, &op->timer);
}

void vf_op_end(struct vf_op *op, int rc)
{
    if (!op->pending)
        return;
    void (*on_done)(void *, int) = op->on_done;
    vf_op_cancel(op);
    if (on_done != NULL)
        on_done(op->owner, rc);
}

void vf_op_on_done(struct vf_op *op, void (*on_done)(void *owner, int rc), void *owner)
{
    op->on_done = on_done;
    op->owner = owner;
}

struct vf_op *vf_op_new(struct vf_reactor *reactor)
{
    struct vf_op *op = malloc(sizeof(*op));
    if (op != NULL)
        vf_op_init(op, reactor);
    return op;
}

void vf_op_free(struct vf_op *op)
{
    if (op == NULL)
        return;
    vf_op_cancel(op);
    free(op);
}
