/* control/turns.h - how long the turns of control's loop take. While one takes long nobody else is
 * answered: what works for long has to pause (lua/veloflux/slices.lua). A turn is what happens
 * between two waits for events; the wait itself does not count. */
#ifndef VF_CONTROL_TURNS_H
#define VF_CONTROL_TURNS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum { VF_TURN_BUCKETS = 9 };

struct vf_turn_figures {
    uint64_t buckets[VF_TURN_BUCKETS + 1]; /* turns up to each bound; the last: longer ones */
    uint64_t sum_ns;
    uint64_t longest_ns; /* since the process began */
};

/* Upper bounds of the buckets in seconds. */
extern const double vf_turn_bounds[VF_TURN_BUCKETS];

struct vf_turns { /* the caller's memory, zeroed; stays until the loop has ended */
    uv_prepare_t prepare;
    uint64_t last_ns, last_idle_ns; /* at the end of the last turn */
    struct vf_turn_figures figures;
    bool is_open;
};

/* Begins, on a loop that does not run yet. Does not keep it alive. */
void vf_turns_open(struct vf_turns *turns, uv_loop_t *loop);
void vf_turns_close(struct vf_turns *turns);

#endif
