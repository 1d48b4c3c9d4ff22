/* Fewest exchanges in flight per weight. Equals, the usual case on an idle pool, take turns by
 * smooth weighted round robin, so that a quiet system still follows the weights. */
#include "proxy/balance/algorithms.h"

/* Returns whether `a` has fewer exchanges per weight (< 0), as many (0) or more (> 0) than `b`. */
static int compare(const struct vf_candidate *a, const struct vf_candidate *b)
{
    uint64_t left = (uint64_t)a->load * b->weight;
    uint64_t right = (uint64_t)b->load * a->weight;
    return (left > right) - (left < right);
}

static const struct vf_candidate *least_loaded(struct vf_balancers *balancers)
{
    const struct vf_candidate *best = NULL;
    for (uint32_t i = 0; i < balancers->n_candidates; i++) {
        struct vf_candidate *candidate = &balancers->candidates[i];
        candidate->load = vf_balance_load(balancers, candidate->slot);
        if (best == NULL || compare(candidate, best) < 0)
            best = candidate;
    }
    return best;
}

/* Moves the candidates that are as good as `best` to the front and drops the others. */
static void keep_equals(struct vf_balancers *balancers, struct vf_candidate best)
{
    uint32_t n = 0;
    balancers->total_weight = 0;
    for (uint32_t i = 0; i < balancers->n_candidates; i++) {
        struct vf_candidate candidate = balancers->candidates[i];
        if (compare(&candidate, &best) != 0)
            continue;
        balancers->candidates[n++] = candidate;
        balancers->total_weight += candidate.weight;
    }
    balancers->n_candidates = n;
}

struct vf_candidate *vf_balance_least_conn(struct vf_balancers *balancers)
{
    keep_equals(balancers, *least_loaded(balancers));
    return vf_balance_round_robin(balancers);
}
