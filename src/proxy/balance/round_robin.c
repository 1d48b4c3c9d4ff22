/* Smooth weighted round robin: every pick, each backend is owed its weight more; the one that is
 * owed most gets the exchange and pays the sum of all weights. Weights 5, 1, 1 give a a b a c a a.
 * Source: nginx, commit 52327e0627f4. */
#include "proxy/balance/algorithms.h"

/* What a backend is owed never exceeds the sum of the weights by itself. After a weight or the set
 * of backends changed it may: cut, so that old debts are not paid at the new, smaller rate. */
static int64_t clamp(int64_t current, int64_t total)
{
    if (current > total)
        return total;
    return current < -total ? -total : current;
}

struct vf_candidate *vf_balance_round_robin(struct vf_balancers *balancers)
{
    int64_t total = (int64_t)balancers->total_weight;
    struct vf_candidate *best = balancers->candidates;
    struct vf_balance_memory *best_memory = NULL;
    for (uint32_t i = 0; i < balancers->n_candidates; i++) {
        struct vf_candidate *candidate = &balancers->candidates[i];
        struct vf_balance_memory *memory =
            vf_balance_memory_of(balancers, candidate->slot, candidate->id);
        memory->current = clamp(memory->current, total) + candidate->weight;
        if (best_memory == NULL || memory->current > best_memory->current) {
            best = candidate;
            best_memory = memory;
        }
    }
    best_memory->current -= total;
    return best;
}
