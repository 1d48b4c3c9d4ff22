#define _GNU_SOURCE
#include "net/reactor.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    BATCH = 128,
    EVENTS_PER_TURN = 16, /* see vf_reactor_new */
    STAY_NS = 1000 * 1000 /* before the loop looks at what else there is: the timers' unit */
};

struct vf_reactor {
    int epoll_fd;
    uv_loop_t *loop;
    uv_poll_t poll;
    uv_timer_t clock; /* wakes the wheel */
    int n_handles;    /* not closed yet */
    bool is_freed;    /* the owner is gone: no callback any more */
    struct vf_timers timers;
    uint64_t armed_ms; /* when `clock` fires; UINT64_MAX: stopped */
    uint64_t now_ns, now_ms;
    void (*after_events)(void *owner);
    void *owner;
    struct epoll_event events[BATCH];
    int next, n_events; /* of the batch that is being dispatched */
};

void vf_reactor_refresh(struct vf_reactor *reactor)
{
    reactor->now_ns = vf_clock_ns();
    reactor->now_ms = reactor->now_ns / 1000000;
}

static void after_events(struct vf_reactor *reactor)
{
    if (!reactor->is_freed)
        reactor->after_events(reactor->owner);
}

static void on_clock(uv_timer_t *clock);

static void arm(struct vf_reactor *reactor, uint64_t due_ms)
{
    uint64_t now_ms = vf_reactor_now_ms(reactor);
    uv_update_time(reactor->loop);
    uv_timer_start(&reactor->clock, on_clock, due_ms > now_ms ? due_ms - now_ms : 0, 0);
    reactor->armed_ms = due_ms;
}

void vf_reactor_run_timers(struct vf_reactor *reactor)
{
    vf_reactor_refresh(reactor);
    reactor->armed_ms = UINT64_MAX;
    vf_timers_run(&reactor->timers, vf_reactor_now_ms(reactor));
    after_events(reactor);
    if (reactor->is_freed)
        return;
    int64_t wait_ms = vf_timers_next(&reactor->timers, vf_reactor_now_ms(reactor));
    if (wait_ms >= 0)
        arm(reactor, vf_reactor_now_ms(reactor) + (uint64_t)wait_ms);
}

static void on_clock(uv_timer_t *clock)
{
    vf_reactor_run_timers(clock->data);
}

uint64_t vf_reactor_due_ms(const struct vf_reactor *reactor)
{
    uint64_t now_ms = vf_reactor_now_ms(reactor);
    int64_t wait_ms = vf_timers_next(&reactor->timers, now_ms);
    return wait_ms < 0 ? UINT64_MAX : now_ms + (uint64_t)wait_ms;
}

/* Those of a rank stay in their order. */
static void sort_by_rank(struct vf_reactor *reactor)
{
    struct epoll_event later[VF_IO_BACKEND + 1][BATCH];
    int n = 0, n_later[VF_IO_BACKEND + 1] = {0};
    for (int i = 0; i < reactor->n_events; i++) {
        const struct vf_io *io = reactor->events[i].data.ptr;
        if (io->rank == VF_IO_FIRST)
            reactor->events[n++] = reactor->events[i];
        else
            later[io->rank][n_later[io->rank]++] = reactor->events[i];
    }
    for (enum vf_io_rank rank = VF_IO_CLIENT; rank <= VF_IO_BACKEND; rank++) {
        memcpy(reactor->events + n, later[rank], (size_t)n_later[rank] * sizeof(later[0][0]));
        n += n_later[rank];
    }
}

/* Handles the events up to `end`. */
static void run_turn(struct vf_reactor *reactor, int end)
{
    for (int i = reactor->next; i < end; i++) {
        struct vf_io *io = reactor->events[i].data.ptr;
        if (io != NULL && io->gather != NULL)
            io->gather(io, reactor->events[i].events);
    }
    while (reactor->next < end && reactor->next < reactor->n_events) {
        struct epoll_event *event = &reactor->events[reactor->next++];
        struct vf_io *io = event->data.ptr;
        if (io != NULL) /* not closed since the batch was collected */
            io->on_ready(io, event->events);
    }
    after_events(reactor);
}

static void dispatch(struct vf_reactor *reactor)
{
    sort_by_rank(reactor);
    while (reactor->next < reactor->n_events) {
        int left = reactor->n_events - reactor->next;
        run_turn(reactor, reactor->next + (left < EVENTS_PER_TURN ? left : EVENTS_PER_TURN));
    }
}

/* Handles what is ready. Returns how many events that were, or less. */
static int run_batch(struct vf_reactor *reactor)
{
    vf_reactor_refresh(reactor);
    reactor->next = 0;
    int n = reactor->n_events = epoll_wait(reactor->epoll_fd, reactor->events, BATCH, 0);
    dispatch(reactor);
    reactor->n_events = 0;
    return n;
}

/* Where several came at a time, others have come meanwhile: to ask for them at once costs half of
 * what the way through the loop costs, which asks its own descriptor first. */
static void on_epoll(uv_poll_t *poll, int status, int events)
{
    struct vf_reactor *reactor = poll->data;
    (void)status;
    (void)events;
    bool has_more = run_batch(reactor) > 1;
    for (uint64_t end_ns = reactor->now_ns + STAY_NS; has_more && !reactor->is_freed;)
        has_more = run_batch(reactor) > 1 && reactor->now_ns < end_ns;
}

int vf_reactor_new(uv_loop_t *loop, void (*on_event_end)(void *owner), void *owner,
                   struct vf_reactor **out)
{
    struct vf_reactor *reactor = calloc(1, sizeof(*reactor));
    int rc;
    if (reactor == NULL)
        return UV_ENOMEM;
    reactor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (reactor->epoll_fd < 0) {
        rc = uv_translate_sys_error(errno);
        free(reactor);
        return rc;
    }
    if ((rc = uv_poll_init(loop, &reactor->poll, reactor->epoll_fd)) < 0) {
        close(reactor->epoll_fd);
        free(reactor);
        return rc;
    }
    uv_timer_init(loop, &reactor->clock);
    reactor->poll.data = reactor->clock.data = reactor;
    reactor->n_handles = 2;
    reactor->loop = loop;
    reactor->after_events = on_event_end;
    reactor->owner = owner;
    reactor->armed_ms = UINT64_MAX;
    vf_reactor_refresh(reactor);
    vf_timers_init(&reactor->timers, vf_reactor_now_ms(reactor));
    uv_poll_start(&reactor->poll, UV_READABLE, on_epoll);
    *out = reactor;
    return 0;
}

static int add(struct vf_reactor *reactor, struct vf_io *io, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = io};
    if (epoll_ctl(reactor->epoll_fd, EPOLL_CTL_ADD, io->fd, &event) < 0)
        return uv_translate_sys_error(errno);
    return 0;
}

int vf_reactor_add(struct vf_reactor *reactor, struct vf_io *io)
{
    return add(reactor, io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

int vf_reactor_add_listener(struct vf_reactor *reactor, struct vf_io *io)
{
    return add(reactor, io, EPOLLIN);
}

static int register_anew(struct vf_reactor *reactor, int fd, struct vf_io *io)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = io};
    return epoll_ctl(reactor->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

void vf_reactor_rearm(struct vf_reactor *reactor, struct vf_io *io)
{
    register_anew(reactor, io->fd, io);
}

static void forget(struct vf_reactor *reactor, struct vf_io *io)
{
    for (int i = reactor->next; i < reactor->n_events; i++)
        if (reactor->events[i].data.ptr == io)
            reactor->events[i].data.ptr = NULL;
}

void vf_reactor_remove(struct vf_reactor *reactor, struct vf_io *io)
{
    epoll_ctl(reactor->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
    forget(reactor, io);
}

void vf_reactor_close(struct vf_reactor *reactor, struct vf_io *io)
{
    if (io->fd < 0)
        return;
    forget(reactor, io);
    close(io->fd); /* the kernel drops the registration with the last reference */
    io->fd = -1;
}

int vf_reactor_move(struct vf_reactor *reactor, struct vf_io *from, struct vf_io *to)
{
    if (register_anew(reactor, from->fd, to) < 0)
        return uv_translate_sys_error(errno);
    forget(reactor, from);
    to->fd = from->fd;
    from->fd = -1;
    return 0;
}

uint64_t vf_reactor_now_ns(const struct vf_reactor *reactor)
{
    return reactor->now_ns;
}

uint64_t vf_reactor_now_ms(const struct vf_reactor *reactor)
{
    return reactor->now_ms;
}

void vf_reactor_timer(struct vf_reactor *reactor, struct vf_timer *timer, uint64_t delay_ms)
{
    if (delay_ms == UINT64_MAX) {
        vf_timer_stop(&reactor->timers, timer);
        return;
    }
    vf_timer_start(&reactor->timers, timer, vf_reactor_now_ms(reactor) + delay_ms);
    if (timer->slot_ms < reactor->armed_ms)
        arm(reactor, timer->slot_ms);
}

void vf_reactor_timer_stop(struct vf_reactor *reactor, struct vf_timer *timer)
{
    vf_timer_stop(&reactor->timers, timer);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct vf_reactor *reactor = handle->data;
    if (--reactor->n_handles > 0)
        return;
    close(reactor->epoll_fd);
    free(reactor);
}

void vf_reactor_free(struct vf_reactor *reactor)
{
    if (reactor == NULL)
        return;
    reactor->n_events = 0;
    reactor->is_freed = true;
    uv_close((uv_handle_t *)&reactor->poll, on_handle_closed);
    uv_close((uv_handle_t *)&reactor->clock, on_handle_closed);
}
