/* checker/stall.h - how long this process did not run when it should have: stopped, starved of CPU,
 * or busy in a callback. Time-outs subtract it, since a backend is not to blame for it. */
#ifndef VF_CHECKER_STALL_H
#define VF_CHECKER_STALL_H

#include <stdint.h>
#include <uv.h>

/* Embedded in its owner, who frees it once `on_closed` was called. */
struct vf_stall {
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    uint64_t poll_began_ns, poll_ended_ns;
    int timeout_ms;    /* how long the poll may last; -1: for ever */
    uint64_t total_ns; /* lost so far */
    unsigned n_handles;
    void (*on_closed)(struct vf_stall *stall);
};

/* Begins to measure `loop`; the handles do not keep it alive. */
void vf_stall_init(struct vf_stall *stall, uv_loop_t *loop);

/* Returns the nanoseconds lost since init. Two calls give what was lost between them. */
uint64_t vf_stall_total_ns(const struct vf_stall *stall);

/* Closes the handles; `on_closed` is called from the loop. */
void vf_stall_close(struct vf_stall *stall, void (*on_closed)(struct vf_stall *stall));

#endif
