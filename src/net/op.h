/* net/op.h - something under way that somebody waits for: an answer, room to send, mere time.
 *
 *   idle --begin--> pending --end(rc), or the time limit--> idle, on_done called with rc
 *                      \-----cancel----------------------> idle, nobody is told
 *
 * An operation is embedded in its object and used again and again; one at a time. It never ends
 * inside `begin`, so whoever begins one can say afterwards who waits. Event callbacks end
 * operations, and `on_done` only notes the result: the operation's object may be gone when whoever
 * waited runs on, and must not be freed by `on_done` itself. */
#ifndef VF_NET_OP_H
#define VF_NET_OP_H

#include "net/reactor.h"

enum { VF_PENDING = 1 }; /* returned instead of 0 or UV_E*: it goes on, the operation will end */

struct vf_op {
    struct vf_timer timer;
    struct vf_reactor *reactor;
    void (*on_done)(void *owner, int rc); /* NULL: nobody waits */
    void *owner;
    void (*on_expire)(struct vf_op *op); /* of its object: called first at the limit; or NULL */
    bool pending;
};

/* Prepares an idle operation. */
void vf_op_init(struct vf_op *op, struct vf_reactor *reactor);

/* Begins: after `timeout_ms` (0: no limit) it ends with UV_ETIMEDOUT. Returns VF_PENDING. Must not
 * be pending. */
int vf_op_begin(struct vf_op *op, uint64_t timeout_ms);

/* Ends a pending operation and tells who waits; else does nothing. */
void vf_op_end(struct vf_op *op, int rc);

/* Makes it idle without telling anybody. */
void vf_op_cancel(struct vf_op *op);

/* Says who waits for a pending operation: on_done(owner, rc) is called when it ends, with 0, UV_E*
 * or VF_E*. */
void vf_op_on_done(struct vf_op *op, void (*on_done)(void *owner, int rc), void *owner);

/* An operation of its own, on the heap: time that passes (it ends with UV_ETIMEDOUT), or a signal
 * from one task to another (vf_op_end). NULL when out of memory. */
struct vf_op *vf_op_new(struct vf_reactor *reactor);

/* Cancels and frees one; NULL is left alone. */
void vf_op_free(struct vf_op *op);

#endif
