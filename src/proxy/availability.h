/* proxy/availability.h - what a backend may be given now, and why not more: vf_backend_is_usable
 * (snapshot/state.h) in finer shades. Inline: balancers ask it of every backend at every pick. */
#ifndef VF_PROXY_AVAILABILITY_H
#define VF_PROXY_AVAILABILITY_H

#include "snapshot/state.h"

enum vf_availability {
    VF_UNAVAILABLE = 0, /* disabled, or down by a check that is fresh */
    VF_EJECTED,         /* by passive health: only when nothing else is left */
    VF_DRAINING,        /* sessions that it serves already */
    VF_AVAILABLE
};

/* Returns true when an active check that is fresh (three intervals) found the backend down. */
static inline bool vf_backend_is_down(const struct vf_backend_state *backend, uint64_t now_ns)
{
    if (atomic_load_explicit(&backend->health, memory_order_relaxed) != VF_HEALTH_DOWN)
        return false;
    uint64_t checked_ns = atomic_load_explicit(&backend->checked_ns, memory_order_relaxed);
    uint64_t interval_ms = atomic_load_explicit(&backend->interval_ms, memory_order_relaxed);
    return checked_ns >= now_ns || now_ns - checked_ns <= 3 * interval_ms * 1000000;
}

static inline enum vf_availability vf_backend_availability(const struct vf_backend_state *backend,
                                                           uint64_t now_ns)
{
    uint32_t drain = atomic_load_explicit(&backend->drain, memory_order_relaxed);
    if (drain > 1 || vf_backend_is_down(backend, now_ns))
        return VF_UNAVAILABLE;
    bool is_ejected =
        atomic_load_explicit(&backend->ejected_until_ns, memory_order_relaxed) > now_ns;
    if (drain == 1)
        return is_ejected ? VF_UNAVAILABLE : VF_DRAINING;
    return is_ejected ? VF_EJECTED : VF_AVAILABLE;
}

#endif
