/* net/reactor.h - socket readiness for many descriptors at the price of one libuv handle.
 * libuv watches one epoll descriptor of ours; sockets are registered there once, edge-triggered,
 * for their whole life: no epoll_ctl call per pause or resume, one callback per event, 24 bytes per
 * socket. (uv_tcp costs 1.2 us per request and 250 bytes per connection more; see
 * docs/decisions/0001-reactor.md.) Also the process's timer wheel and cached clock. */
#ifndef VF_NET_REACTOR_H
#define VF_NET_REACTOR_H

#include <stdint.h>
#include <uv.h>

#include "base/timer.h"

/* Whose events come first, of those that were collected at a time. */
enum vf_io_rank {
    VF_IO_FIRST,  /* all others; kept connections to backends: whoever takes one for a request must
                   * know first what has come on it unasked, an end above all */
    VF_IO_CLIENT, /* clients of the proxy */
    VF_IO_BACKEND /* backends with requests under way */
};

/* A registered descriptor: embed it. Edge-triggered: after an event, read until a short read or
 * EAGAIN, or remember that there is more. */
struct vf_io {
    int fd; /* -1 when closed */
    enum vf_io_rank rank;
    void (*on_ready)(struct vf_io *io, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLRDHUP, ... */
    void (*gather)(struct vf_io *io, uint32_t events);   /* before, see below; or NULL */
};

struct vf_reactor;

/* Makes a reactor on `loop`. Events are handled in turns of a few: `gather` of each may receive,
 * but closes and queues nothing; then `on_ready` of each works; then `after_events(owner)`, also
 * called after each run of timers, sends what they queued. (A few times the same, and events of one
 * rank together, costs some percent less than one event after the other: the code stays in the
 * caches.) Owned by the caller. Returns 0 or UV_E*. */
int vf_reactor_new(uv_loop_t *loop, void (*after_events)(void *owner), void *owner,
                   struct vf_reactor **out);

/* Registers io->fd. Ready sides are reported soon after. Returns 0 or UV_E*. */
int vf_reactor_add(struct vf_reactor *reactor, struct vf_io *io);

/* As vf_reactor_add but level-triggered and for input only (listening sockets). */
int vf_reactor_add_listener(struct vf_reactor *reactor, struct vf_io *io);

/* Removes a level-triggered descriptor without closing it. */
void vf_reactor_remove(struct vf_reactor *reactor, struct vf_io *io);

/* Reports the sides of an edge-triggered descriptor that are ready now once more, soon. */
void vf_reactor_rearm(struct vf_reactor *reactor, struct vf_io *io);

/* Closes io->fd and forgets it: its callback is not called any more, not even for events that
 * were already collected. `io` may be freed at once. */
void vf_reactor_close(struct vf_reactor *reactor, struct vf_io *io);

/* Registers the edge-triggered descriptor of `from` for `to`, which has it from here on; `from`
 * has none, and its callback is not called any more. Ready sides are reported once more. Returns 0
 * or UV_E*: nothing changed. */
int vf_reactor_move(struct vf_reactor *reactor, struct vf_io *from, struct vf_io *to);

/* Reads the clock: for work that begins outside of an event, when the last may be long past. */
void vf_reactor_refresh(struct vf_reactor *reactor);

/* Returns the monotonic time of the current turn of the loop. */
uint64_t vf_reactor_now_ns(const struct vf_reactor *reactor);
uint64_t vf_reactor_now_ms(const struct vf_reactor *reactor);

/* Starts `timer` (base/timer.h) to fire `delay_ms` from now; UINT64_MAX stops it. */
void vf_reactor_timer(struct vf_reactor *reactor, struct vf_timer *timer, uint64_t delay_ms);
void vf_reactor_timer_stop(struct vf_reactor *reactor, struct vf_timer *timer);

/* For who moves the clock by hand (vf_clock_move): runs the timers that are due, as the loop does
 * when their time has come; and says when, on the monotonic clock, the wheel has something to do
 * next: UINT64_MAX: never. */
void vf_reactor_run_timers(struct vf_reactor *reactor);
uint64_t vf_reactor_due_ms(const struct vf_reactor *reactor);

/* Closes its handles; the memory goes when the loop has run their close callbacks. May be called
 * from any callback: `owner` is not called any more, and timers that would still have fired in this
 * turn do not fire if they were stopped. */
void vf_reactor_free(struct vf_reactor *reactor);

#endif
