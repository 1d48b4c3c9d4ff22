#include "checker/verdict.h"

#include <string.h>

/* A reader that sees an odd or a changed `reason_seq` reads again. */
static void write_reason(struct vf_backend_state *backend, const char *reason)
{
    uint32_t seq = atomic_load_explicit(&backend->reason_seq, memory_order_relaxed) | 1;
    atomic_store_explicit(&backend->reason_seq, seq, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    size_t len = strnlen(reason, sizeof(backend->reason) - 1);
    memcpy(backend->reason, reason, len);
    memset(backend->reason + len, 0, sizeof(backend->reason) - len);
    atomic_store_explicit(&backend->reason_seq, seq + 1, memory_order_release);
}

static enum vf_health_status next_health(const struct vf_verdict *verdict, uint32_t health,
                                         uint32_t rise, uint32_t fall)
{
    if (health == VF_HEALTH_UNKNOWN)
        return verdict->successes > 0 ? VF_HEALTH_UP : VF_HEALTH_DOWN;
    if (health == VF_HEALTH_UP)
        return verdict->failures >= fall && verdict->failures > 0 ? VF_HEALTH_DOWN : VF_HEALTH_UP;
    return verdict->successes >= rise && verdict->successes > 0 ? VF_HEALTH_UP : VF_HEALTH_DOWN;
}

bool vf_verdict_note(struct vf_verdict *verdict, struct vf_backend_state *backend,
                     const struct vf_check_result *result, uint32_t rise, uint32_t fall,
                     uint64_t interval_ms, uint64_t now_ns)
{
    verdict->successes = result->is_ok ? verdict->successes + 1 : 0;
    verdict->failures = result->is_ok ? 0 : verdict->failures + 1;
    uint32_t old = atomic_load_explicit(&backend->health, memory_order_relaxed);
    enum vf_health_status health = next_health(verdict, old, rise, fall);
    write_reason(backend, result->reason);
    atomic_store(&backend->streak, verdict->successes + verdict->failures); /* one of them is 0 */
    atomic_store(&backend->last_status, result->status);
    atomic_store(&backend->check_us, result->took_us);
    atomic_store(&backend->interval_ms, interval_ms);
    atomic_store(&backend->checked_ns, now_ns);
    if (old == (uint32_t)health)
        return false;
    atomic_store(&backend->changed_ns, now_ns);
    atomic_store(&backend->health, (uint32_t)health);
    return true;
}

void vf_verdict_forget(struct vf_backend_state *backend)
{
    write_reason(backend, "");
    atomic_store(&backend->health, VF_HEALTH_UNKNOWN);
    atomic_store(&backend->streak, 0);
    atomic_store(&backend->last_status, 0);
    atomic_store(&backend->check_us, 0);
    atomic_store(&backend->checked_ns, 0);
    atomic_store(&backend->changed_ns, 0);
}
