#include "checker/stall.h"

#include "base/clock.h"

/* Less is the usual jitter of a scheduler. */
static const uint64_t SLACK_NS = 20 * 1000 * 1000;

static void count(uint64_t *total_ns, uint64_t passed_ns, uint64_t expected_ns)
{
    if (passed_ns > expected_ns + SLACK_NS)
        *total_ns += passed_ns - expected_ns;
}

static void on_before_poll(uv_prepare_t *handle)
{
    struct vf_stall *stall = handle->data;
    stall->poll_began_ns = vf_clock_ns();
    if (stall->poll_ended_ns != 0)
        count(&stall->total_ns, stall->poll_began_ns - stall->poll_ended_ns, 0);
    stall->timeout_ms = uv_backend_timeout(handle->loop);
}

static void on_after_poll(uv_check_t *handle)
{
    struct vf_stall *stall = handle->data;
    stall->poll_ended_ns = vf_clock_ns();
    if (stall->poll_began_ns != 0 && stall->timeout_ms >= 0)
        count(&stall->total_ns, stall->poll_ended_ns - stall->poll_began_ns,
              (uint64_t)stall->timeout_ms * 1000000);
}

void vf_stall_init(struct vf_stall *stall, uv_loop_t *loop)
{
    *stall = (struct vf_stall){.n_handles = 2};
    uv_prepare_init(loop, &stall->before_poll);
    uv_check_init(loop, &stall->after_poll);
    stall->before_poll.data = stall->after_poll.data = stall;
    uv_prepare_start(&stall->before_poll, on_before_poll);
    uv_check_start(&stall->after_poll, on_after_poll);
    uv_unref((uv_handle_t *)&stall->before_poll);
    uv_unref((uv_handle_t *)&stall->after_poll);
}

uint64_t vf_stall_total_ns(const struct vf_stall *stall)
{
    uint64_t total_ns = stall->total_ns;
    if (stall->poll_ended_ns >
        stall->poll_began_ns) /* outside a poll: what this turn lost so far */
        count(&total_ns, vf_clock_ns() - stall->poll_ended_ns, 0);
    return total_ns;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct vf_stall *stall = handle->data;
    if (--stall->n_handles == 0)
        stall->on_closed(stall);
}

void vf_stall_close(struct vf_stall *stall, void (*on_closed)(struct vf_stall *stall))
{
    stall->on_closed = on_closed;
    uv_close((uv_handle_t *)&stall->before_poll, on_handle_closed);
    uv_close((uv_handle_t *)&stall->after_poll, on_handle_closed);
}
