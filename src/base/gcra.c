#include "base/gcra.h"

static uint64_t later_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Stores in *early_ns how much before its schedule the last of `cost` events would come. Returns
 * false when that does not fit: it is more than any slack. */
static bool earliness(const struct vf_gcra *limit, uint64_t cost, uint64_t ahead_ns,
                      uint64_t *early_ns)
{
    uint64_t span;
    return !__builtin_mul_overflow(cost - 1, limit->interval_ns, &span) &&
           !__builtin_add_overflow(span, ahead_ns, early_ns);
}

bool vf_gcra_take(const struct vf_gcra *limit, uint64_t cost, uint64_t now_ns, uint64_t *due_ns)
{
    uint64_t due = later_of(*due_ns, now_ns), early, next;
    if (cost == 0)
        return true;
    if (!earliness(limit, cost, due - now_ns, &early) || early > limit->slack_ns ||
        __builtin_add_overflow(now_ns, early, &next) ||
        __builtin_add_overflow(next, limit->interval_ns, &next))
        return false;
    *due_ns = next;
    return true;
}

bool vf_gcra_admit(const struct vf_gcra *limit, uint64_t now_ns, uint64_t *due_ns)
{
    return vf_gcra_take(limit, 1, now_ns, due_ns);
}

uint64_t vf_gcra_left(const struct vf_gcra *limit, uint64_t now_ns, uint64_t due_ns)
{
    uint64_t ahead = later_of(due_ns, now_ns) - now_ns;
    return ahead > limit->slack_ns ? 0 : (limit->slack_ns - ahead) / limit->interval_ns + 1;
}

uint64_t vf_gcra_wait_ns(const struct vf_gcra *limit, uint64_t cost, uint64_t now_ns,
                         uint64_t due_ns)
{
    uint64_t span, early;
    if (cost == 0)
        return 0;
    if (!earliness(limit, cost, 0, &span) || span > limit->slack_ns ||
        !earliness(limit, cost, later_of(due_ns, now_ns) - now_ns, &early))
        return UINT64_MAX;
    return early > limit->slack_ns ? early - limit->slack_ns : 0;
}
