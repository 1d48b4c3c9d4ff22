/* base/timer.h - deadlines of many objects under one clock: a hierarchical timer wheel.
 * A timer is embedded in its object. Moving a deadline later, the usual case (every read extends an
 * idle timeout), only stores it: the wheel looks again when the old deadline comes. Deadlines are
 * met late by at most one tick, never early.
 * Source: Varghese and Lauck, Hashed and Hierarchical Timing Wheels (1987). */
#ifndef VF_BASE_TIMER_H
#define VF_BASE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VF_TIMER_TICK_MS = 8, VF_TIMER_LEVELS = 4, VF_TIMER_SLOTS = 64 };

struct vf_timer {
    struct vf_timer *next, *prev; /* in a slot; NULL when stopped */
    uint64_t deadline_ms;         /* when to fire */
    uint64_t slot_ms;             /* when the wheel looks at it: not later than deadline_ms */
    void (*on_fire)(struct vf_timer *timer);
};

struct vf_timers {
    struct vf_timer slots[VF_TIMER_LEVELS][VF_TIMER_SLOTS]; /* list heads */
    uint64_t now_tick;                                      /* the last tick that was run */
    uint32_t n_timers;
};

/* Makes an empty wheel whose time is `now_ms` (any monotonic clock). Owned by the caller. */
void vf_timers_init(struct vf_timers *timers, uint64_t now_ms);

/* Fires all timers whose deadline is at or before `now_ms`, each after it was stopped; a callback
 * may start or stop any timer. Costs at most one slot per tick passed. */
void vf_timers_run(struct vf_timers *timers, uint64_t now_ms);

/* Returns how many milliseconds after `now_ms` `vf_timers_run` has something to do at the latest,
 * or -1 when no timer runs. May name an earlier time (a cascade). */
int64_t vf_timers_next(const struct vf_timers *timers, uint64_t now_ms);

/* Starts `timer` or moves its deadline. `timer` is zeroed memory with on_fire set, or was used. */
void vf_timer_start(struct vf_timers *timers, struct vf_timer *timer, uint64_t deadline_ms);

/* Stops `timer`; a stopped one stays so. */
void vf_timer_stop(struct vf_timers *timers, struct vf_timer *timer);

static inline bool vf_timer_is_running(const struct vf_timer *timer)
{
    return timer->next != NULL;
}

#endif
