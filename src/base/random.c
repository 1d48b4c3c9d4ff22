#define _GNU_SOURCE
#include "base/random.h"

#include <stdbool.h>
#include <sys/random.h>

#include "base/clock.h"

static bool is_held;
static struct vf_random held;

uint64_t vf_random_seed(void)
{
    uint64_t seed;
    if (is_held)
        return vf_random_next(&held);
    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        seed = vf_clock_ns();
    return seed;
}

void vf_random_hold(uint64_t first)
{
    held.state = first;
    is_held = true;
}

void vf_random_release(void)
{
    is_held = false;
}
