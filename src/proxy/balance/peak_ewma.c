/* Peak EWMA: a backend costs its latency times the exchanges that it would have. The latency is
 * an exponentially weighted average that rises at once with a slow answer and falls slowly, so
 * that a backend that begins to struggle is avoided from its first slow answer on. Of two
 * weighted draws the cheaper one per weight is taken, which keeps workers from all running to
 * the best. Source: Finagle, com.twitter.finagle.loadbalancer.PeakEwma (Apache-2.0), its ideas. */
#include <math.h>

#include "proxy/balance/algorithms.h"

static const double DECAY_NS = 10e9;   /* after which an old latency weighs 1/e */
static const double UNKNOWN_US = 1e12; /* of one that has exchanges but never answered yet */
static const double FAILURE_US = 1e6;  /* what a failure costs at least */
static const double MOST_US = 60e6;    /* so that one that failed long is tried again */

static double decay(const struct vf_balance_memory *memory, uint64_t now_ns)
{
    uint64_t passed_ns = now_ns > memory->stamp_ns ? now_ns - memory->stamp_ns : 0;
    return exp(-(double)passed_ns / DECAY_NS);
}

void vf_balance_peak_ewma_observe(struct vf_balance_memory *memory, uint64_t latency_us,
                                  uint64_t now_ns)
{
    double latency = latency_us > 0 ? (double)latency_us : 1;
    double old = decay(memory, now_ns);
    if (latency > memory->cost_us)
        memory->cost_us = latency;
    else
        memory->cost_us = memory->cost_us * old + latency * (1 - old);
    memory->stamp_ns = now_ns;
}

void vf_balance_peak_ewma_failed(struct vf_balance_memory *memory, uint64_t now_ns)
{
    double doubled = memory->cost_us * decay(memory, now_ns) * 2;
    memory->cost_us = fmin(fmax(doubled, FAILURE_US), MOST_US);
    memory->stamp_ns = now_ns;
}

static double cost_of(struct vf_balancers *balancers, const struct vf_candidate *candidate,
                      uint64_t now_ns)
{
    const struct vf_balance_memory *memory =
        vf_balance_memory_of(balancers, candidate->slot, candidate->id);
    double load = vf_balance_load(balancers, candidate->slot);
    if (memory->cost_us == 0)
        return load == 0 ? 0 : (UNKNOWN_US + load) / candidate->weight;
    return memory->cost_us * decay(memory, now_ns) * (load + 1) / candidate->weight;
}

struct vf_candidate *vf_balance_peak_ewma(struct vf_balancers *balancers, uint64_t now_ns)
{
    struct vf_candidate *first, *second;
    if (balancers->n_candidates == 1)
        return balancers->candidates;
    vf_balance_draw_two(balancers, &first, &second);
    double first_cost = cost_of(balancers, first, now_ns);
    double second_cost = cost_of(balancers, second, now_ns);
    return second_cost < first_cost ? second : first;
}
