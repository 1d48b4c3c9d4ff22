/* proxy/balance/candidates.c - what algorithms ask about the candidates that they choose among. */
#include "proxy/balance/algorithms.h"

uint32_t vf_balance_load(const struct vf_balancers *balancers, uint32_t slot)
{
    uint64_t load = 0;
    for (uint32_t i = 0; i < balancers->n_blocks; i++) {
        uint32_t block = balancers->blocks[i];
        load += vf_count_get(&balancers->state->blocks[block].backends[slot].in_flight);
    }
    return load < UINT32_MAX ? (uint32_t)load : UINT32_MAX;
}

struct vf_balance_memory *vf_balance_memory_of(struct vf_balancers *balancers, uint32_t slot,
                                               uint64_t id)
{
    struct vf_balance_memory *memory = &balancers->memories[slot];
    if (memory->id == id)
        return memory;
    *memory = (struct vf_balance_memory){.id = id};
    if (balancers->seed != 0 && balancers->total_weight != 0)
        memory->current = (int64_t)vf_random_below(&balancers->random, balancers->total_weight);
    return memory;
}

/* The candidate at `at` on the line of all weights, `skip` left out (may be NULL). */
static struct vf_candidate *candidate_at(struct vf_balancers *balancers, uint64_t at,
                                         const struct vf_candidate *skip)
{
    struct vf_candidate *candidate = balancers->candidates;
    struct vf_candidate *end = candidate + balancers->n_candidates;
    for (; candidate + 1 < end; candidate++) {
        if (candidate == skip)
            continue;
        if (at < candidate->weight)
            return candidate;
        at -= candidate->weight;
    }
    return candidate;
}

void vf_balance_draw_two(struct vf_balancers *balancers, struct vf_candidate **first,
                         struct vf_candidate **second)
{
    uint64_t total = balancers->total_weight;
    *first = candidate_at(balancers, vf_random_below(&balancers->random, total), NULL);
    *second = candidate_at(balancers, vf_random_below(&balancers->random, total - (*first)->weight),
                           *first);
}
