/* The power of two choices: of two weighted draws the one with fewer exchanges per weight; the
 * first of equals, so that an idle pool follows the weights exactly.
 * Source: Mitzenmacher, The Power of Two Choices in Randomized Load Balancing (2001). */
#include "proxy/balance/algorithms.h"

struct vf_candidate *vf_balance_random(struct vf_balancers *balancers)
{
    struct vf_candidate *first, *second;
    if (balancers->n_candidates == 1)
        return balancers->candidates;
    vf_balance_draw_two(balancers, &first, &second);
    uint64_t first_load = (uint64_t)vf_balance_load(balancers, first->slot) * second->weight;
    uint64_t second_load = (uint64_t)vf_balance_load(balancers, second->slot) * first->weight;
    return second_load < first_load ? second : first;
}
