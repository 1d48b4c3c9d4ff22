#include "control/turns.h"

const double vf_turn_bounds[VF_TURN_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025,
                                                0.05,  0.1,    0.25,  1};

static void count(struct vf_turn_figures *figures, uint64_t took_ns)
{
    int i = 0;
    while (i < VF_TURN_BUCKETS && (double)took_ns > vf_turn_bounds[i] * 1e9)
        i++;
    figures->buckets[i]++;
    figures->sum_ns += took_ns;
    if (took_ns > figures->longest_ns)
        figures->longest_ns = took_ns;
}

/* Runs once in each turn, right before the loop waits for events. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct vf_turns *turns = prepare->data;
    uint64_t now_ns = uv_hrtime(), idle_ns = uv_metrics_idle_time(prepare->loop);
    uint64_t elapsed_ns = now_ns - turns->last_ns, waited_ns = idle_ns - turns->last_idle_ns;
    if (turns->last_ns != 0)
        count(&turns->figures, elapsed_ns > waited_ns ? elapsed_ns - waited_ns : 0);
    turns->last_ns = now_ns;
    turns->last_idle_ns = idle_ns;
}

void vf_turns_open(struct vf_turns *turns, uv_loop_t *loop)
{
    turns->is_open = uv_loop_configure(loop, UV_METRICS_IDLE_TIME) == 0;
    if (!turns->is_open)
        return;
    turns->prepare.data = turns;
    uv_prepare_init(loop, &turns->prepare);
    uv_prepare_start(&turns->prepare, on_prepare);
    uv_unref((uv_handle_t *)&turns->prepare);
}

void vf_turns_close(struct vf_turns *turns)
{
    if (!turns->is_open)
        return;
    turns->is_open = false;
    uv_close((uv_handle_t *)&turns->prepare, NULL);
}
