/* base/random.h - pseudo-random numbers for choices and jitter: fast, seeded, not for secrets.
 * Source: SplitMix64 of Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators
 * (2014). */
#ifndef VF_BASE_RANDOM_H
#define VF_BASE_RANDOM_H

#include <stdint.h>

#include "base/hash.h"

struct vf_random {
    uint64_t state; /* the seed: equal seeds give equal numbers */
};

/* Returns 64 evenly distributed bits. */
static inline uint64_t vf_random_next(struct vf_random *random)
{
    return vf_hash_mix(random->state += 0x9e3779b97f4a7c15ULL);
}

/* Returns a seed from the system's generator; while seeds are held, the next of a row that begins
 * with the one given (the plugin kit: the same again). */
uint64_t vf_random_seed(void);
void vf_random_hold(uint64_t first);
void vf_random_release(void);

/* Returns a number from 0 to `n` - 1; `n` is at least 1. The bias is below n / 2^64. */
static inline uint64_t vf_random_below(struct vf_random *random, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)vf_random_next(random) * n) >> 64);
}

#endif
