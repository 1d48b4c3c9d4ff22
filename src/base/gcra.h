/* base/gcra.h - generic cell rate algorithm: one event per `interval_ns`, with bursts.
 * Arithmetic on a clock and a cell that the caller passes in: specs run without waiting,
 * and the cell may live in shared memory, published by compare-and-swap.
 * The cell is one time: from when on the next event is on schedule, 0 at first. Times are those of
 * a clock that never goes back, in nanoseconds. Sums that do not fit are refusals.
 * Source: ITU-T I.371, virtual scheduling. */
#ifndef VF_BASE_GCRA_H
#define VF_BASE_GCRA_H

#include <stdbool.h>
#include <stdint.h>

struct vf_gcra {
    uint64_t interval_ns; /* between two events at the sustained rate, > 0 */
    uint64_t slack_ns;    /* how early an event may come: (burst - 1) * interval_ns */
};

/* Decides on one event at `now_ns`. Returns true and moves *due_ns; or returns false and leaves
 * it. */
bool vf_gcra_admit(const struct vf_gcra *limit, uint64_t now_ns, uint64_t *due_ns);

/* As vf_gcra_admit for `cost` events at once: all or none. None are always admitted. */
bool vf_gcra_take(const struct vf_gcra *limit, uint64_t cost, uint64_t now_ns, uint64_t *due_ns);

/* Returns how many events would be admitted at once at `now_ns`. */
uint64_t vf_gcra_left(const struct vf_gcra *limit, uint64_t now_ns, uint64_t due_ns);

/* Returns the time until `cost` events at once are admitted if nothing else comes: 0 now,
 * UINT64_MAX never (more than a burst). */
uint64_t vf_gcra_wait_ns(const struct vf_gcra *limit, uint64_t cost, uint64_t now_ns,
                         uint64_t due_ns);

#endif
