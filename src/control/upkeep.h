/* control/upkeep.h - what the memory shared by all processes needs from time to time: times of
 * rate-limit cells that are long past are forgotten every hour, before they come round again
 * (snapshot/cells.h; that takes 101 days, so a control that is replaced may be late); the keys of
 * TLS tickets are turned every eight hours (snapshot/tickets.h). */
#ifndef VF_CONTROL_UPKEEP_H
#define VF_CONTROL_UPKEEP_H

#include <stdbool.h>
#include <uv.h>

struct vf_state;

struct vf_upkeep { /* the caller's memory, zeroed; stays until the loop has ended */
    uv_timer_t timer;
    struct vf_state *state;
    bool is_started;
};

/* Looks after `state`, which outlives the loop. */
void vf_upkeep_start(struct vf_upkeep *upkeep, uv_loop_t *loop, struct vf_state *state);

/* Repeatable, also before the start. */
void vf_upkeep_stop(struct vf_upkeep *upkeep);

#endif
