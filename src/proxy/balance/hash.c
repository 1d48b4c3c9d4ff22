/* Rendezvous hashing: key and backend together give each backend a score, and the best one serves
 * the key. A backend that goes takes only its own keys along, one that comes gets only what it
 * serves from then on, and a changed weight moves just the difference. No table to build.
 * Scores are exponential variates of rate `weight`, so shares follow weights exactly.
 * Sources: Thaler and Ravishankar, Using Name-Based Mappings to Increase Hit Rates (1998); bounded
 * loads: Mirrokni, Thorup, Zadimoghaddam, Consistent Hashing with Bounded Loads (2016). */
#include <math.h>

#include "proxy/balance/algorithms.h"

/* How far above its fair share a backend may be loaded: c of the paper, as quarters. */
enum { BOUND_QUARTERS = 5 };

/* Smaller is better. */
static double score_of(const struct vf_candidate *candidate, uint64_t key_hash)
{
    uint64_t hash = vf_hash_mix(key_hash ^ vf_hash_mix(candidate->id));
    double uniform = ((double)(hash >> 11) + 0.5) * 0x1p-53; /* in (0, 1) */
    return -log(uniform) / candidate->weight;
}

struct vf_candidate *vf_balance_rendezvous(struct vf_balancers *balancers, uint64_t key_hash)
{
    struct vf_candidate *best = balancers->candidates;
    double best_score = INFINITY;
    for (uint32_t i = 0; i < balancers->n_candidates; i++) {
        double score = score_of(&balancers->candidates[i], key_hash);
        if (score < best_score) {
            best_score = score;
            best = &balancers->candidates[i];
        }
    }
    return best;
}

static uint64_t measure_loads(struct vf_balancers *balancers)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < balancers->n_candidates; i++) {
        struct vf_candidate *candidate = &balancers->candidates[i];
        candidate->load = vf_balance_load(balancers, candidate->slot);
        sum += candidate->load;
    }
    return sum;
}

/* May the candidate take one more of the `load` exchanges that there will be? At most
 * ceil(c * load * weight / sum of weights). */
static bool has_room(const struct vf_candidate *candidate, uint64_t load, uint64_t total_weight)
{
    unsigned __int128 share =
        (unsigned __int128)load * candidate->weight * BOUND_QUARTERS; /* / (4 * total) */
    return (unsigned __int128)candidate->load * 4 * total_weight < share;
}

/* Drops the candidates that are full. Some are left: their bounds sum up to more than the load. */
static void keep_roomy(struct vf_balancers *balancers, uint64_t load)
{
    uint64_t total_weight = balancers->total_weight;
    uint32_t n = 0;
    for (uint32_t i = 0; i < balancers->n_candidates; i++)
        if (has_room(&balancers->candidates[i], load, total_weight))
            balancers->candidates[n++] = balancers->candidates[i];
    balancers->n_candidates = n;
}

struct vf_candidate *vf_balance_bounded(struct vf_balancers *balancers, uint64_t key_hash)
{
    struct vf_candidate *best = vf_balance_rendezvous(balancers, key_hash);
    if (vf_balance_load(balancers, best->slot) == 0) /* below any bound */
        return best;
    uint64_t load = measure_loads(balancers) + 1;
    if (has_room(best, load, balancers->total_weight))
        return best;
    keep_roomy(balancers, load);
    return vf_balance_rendezvous(balancers, key_hash);
}
