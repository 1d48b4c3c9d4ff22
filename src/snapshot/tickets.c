#include "snapshot/tickets.h"

#include <string.h>
#include <sys/random.h>

#include "snapshot/state.h"

/* A reader that sees a changed sequence number reads again. One that sees an odd one does without:
 * who writes may have been killed, and a moment without resumption costs a handshake. */

void vf_tickets_read(struct vf_state *state, struct vf_tls_ticket_keys *out)
{
    struct vf_state_tickets *tickets = &state->tickets;
    uint32_t before, after;
    do {
        before = atomic_load_explicit(&tickets->seq, memory_order_acquire);
        memcpy(out, &tickets->keys, sizeof(*out));
        atomic_thread_fence(memory_order_acquire);
        after = atomic_load_explicit(&tickets->seq, memory_order_relaxed);
    } while (before != after && (before & 1) == 0);
    if ((before & 1) != 0)
        out->n = 0;
}

void vf_tickets_set(struct vf_state *state, const struct vf_tls_ticket_keys *keys,
                    uint64_t now_wall_ms)
{
    struct vf_state_tickets *tickets = &state->tickets;
    uint32_t seq = atomic_load_explicit(&tickets->seq, memory_order_relaxed) | 1;
    atomic_store_explicit(&tickets->seq, seq, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    memcpy(&tickets->keys, keys, sizeof(*keys));
    tickets->turned_wall_ms = now_wall_ms;
    atomic_store_explicit(&tickets->seq, seq + 1, memory_order_release);
}

bool vf_tickets_turn(struct vf_state *state, uint64_t now_wall_ms, uint64_t max_age_ms)
{
    const struct vf_state_tickets *tickets = &state->tickets;
    struct vf_tls_ticket_keys keys = tickets->keys;
    bool is_whole = (atomic_load_explicit(&tickets->seq, memory_order_relaxed) & 1) == 0;
    if (!is_whole)
        keys.n = 0;
    if (keys.n > 0 && now_wall_ms >= tickets->turned_wall_ms &&
        now_wall_ms - tickets->turned_wall_ms < max_age_ms)
        return false;
    if (keys.n < VF_TLS_TICKET_KEYS)
        keys.n++;
    memmove(&keys.keys[1], &keys.keys[0], (keys.n - 1) * sizeof(keys.keys[0]));
    if (getrandom(&keys.keys[0], sizeof(keys.keys[0]), 0) != (ssize_t)sizeof(keys.keys[0]))
        return false;
    vf_tickets_set(state, &keys, now_wall_ms);
    explicit_bzero(&keys, sizeof(keys));
    return true;
}
