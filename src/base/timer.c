#include "base/timer.h"

enum { SLOT_BITS = 6, SLOT_MASK = VF_TIMER_SLOTS - 1 };

/* Furthest look-ahead of the wheel in ticks; what is beyond waits in the last slot. */
#define MAX_TICKS ((1ULL << (SLOT_BITS * VF_TIMER_LEVELS)) - 1)

static void link_into(struct vf_timer *head, struct vf_timer *timer)
{
    timer->next = head;
    timer->prev = head->prev;
    head->prev->next = timer;
    head->prev = timer;
}

static void unlink_timer(struct vf_timer *timer)
{
    timer->prev->next = timer->next;
    timer->next->prev = timer->prev;
    timer->next = timer->prev = NULL;
}

static uint64_t tick_of(uint64_t deadline_ms)
{
    return (deadline_ms + VF_TIMER_TICK_MS - 1) / VF_TIMER_TICK_MS; /* late, never early */
}

/* Puts `timer` into the slot for its deadline, at `min_tick` at the earliest: the current tick
 * while its slot is still to be run, else the next. */
static void place(struct vf_timers *timers, struct vf_timer *timer, uint64_t min_tick)
{
    uint64_t tick = tick_of(timer->deadline_ms);
    if (tick < min_tick)
        tick = min_tick;
    if (tick - timers->now_tick > MAX_TICKS)
        tick = timers->now_tick + MAX_TICKS;
    uint64_t ahead = tick ^ timers->now_tick; /* the highest differing digit names the level */
    int level = 0;
    while (level < VF_TIMER_LEVELS - 1 && ahead >> (SLOT_BITS * (level + 1)) != 0)
        level++;
    timer->slot_ms = tick * VF_TIMER_TICK_MS;
    link_into(&timers->slots[level][(tick >> (SLOT_BITS * level)) & SLOT_MASK], timer);
}

void vf_timers_init(struct vf_timers *timers, uint64_t now_ms)
{
    timers->now_tick = now_ms / VF_TIMER_TICK_MS;
    timers->n_timers = 0;
    for (int level = 0; level < VF_TIMER_LEVELS; level++)
        for (int i = 0; i < VF_TIMER_SLOTS; i++) {
            struct vf_timer *head = &timers->slots[level][i];
            head->next = head->prev = head;
        }
}

/* Takes the timers of a slot into a list of their own, so that callbacks may refill the slot. */
static void take_slot(struct vf_timer *head, struct vf_timer *list)
{
    list->next = list->prev = list;
    if (head->next == head)
        return;
    list->next = head->next;
    list->prev = head->prev;
    list->next->prev = list->prev->next = list;
    head->next = head->prev = head;
}

static void cascade(struct vf_timers *timers, int level)
{
    uint64_t index = (timers->now_tick >> (SLOT_BITS * level)) & SLOT_MASK;
    struct vf_timer list;
    take_slot(&timers->slots[level][index], &list);
    while (list.next != &list) {
        struct vf_timer *timer = list.next;
        unlink_timer(timer);
        place(timers, timer, timers->now_tick);
    }
}

static void run_tick(struct vf_timers *timers, uint64_t now_ms)
{
    struct vf_timer list;
    for (int level = VF_TIMER_LEVELS - 1; level > 0; level--)
        if ((timers->now_tick & ((1ULL << (SLOT_BITS * level)) - 1)) == 0)
            cascade(timers, level);
    take_slot(&timers->slots[0][timers->now_tick & SLOT_MASK], &list);
    while (list.next != &list) {
        struct vf_timer *timer = list.next;
        unlink_timer(timer);
        if (timer->deadline_ms > now_ms) {
            place(timers, timer, timers->now_tick + 1); /* its deadline moved while it waited */
            continue;
        }
        timers->n_timers--;
        timer->on_fire(timer);
    }
}

void vf_timers_run(struct vf_timers *timers, uint64_t now_ms)
{
    uint64_t last = now_ms / VF_TIMER_TICK_MS;
    if (timers->n_timers == 0 && last > timers->now_tick)
        timers->now_tick = last;
    while (timers->now_tick < last) {
        timers->now_tick++;
        run_tick(timers, now_ms);
    }
}

int64_t vf_timers_next(const struct vf_timers *timers, uint64_t now_ms)
{
    uint64_t tick = timers->now_tick + 1;
    if (timers->n_timers == 0)
        return -1;
    for (; (tick & SLOT_MASK) != 0; tick++) { /* up to the next cascade */
        const struct vf_timer *head = &timers->slots[0][tick & SLOT_MASK];
        if (head->next != head)
            break;
    }
    uint64_t due_ms = tick * VF_TIMER_TICK_MS;
    return due_ms > now_ms ? (int64_t)(due_ms - now_ms) : 0;
}

void vf_timer_start(struct vf_timers *timers, struct vf_timer *timer, uint64_t deadline_ms)
{
    timer->deadline_ms = deadline_ms;
    if (vf_timer_is_running(timer)) {
        if (deadline_ms >= timer->slot_ms)
            return;
        unlink_timer(timer);
        timers->n_timers--;
    }
    place(timers, timer, timers->now_tick + 1);
    timers->n_timers++;
}

void vf_timer_stop(struct vf_timers *timers, struct vf_timer *timer)
{
    if (!vf_timer_is_running(timer))
        return;
    unlink_timer(timer);
    timers->n_timers--;
}
