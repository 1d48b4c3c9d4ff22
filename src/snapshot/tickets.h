/* snapshot/tickets.h - the keys of TLS resumption tickets in the state area: control turns them,
 * all workers read them, so that a session is resumed on whichever worker, after a reload and after
 * a restart of any process. They stand in memory only. Nodes that share names may be given the same
 * keys (vf_tickets_set). */
#ifndef VF_SNAPSHOT_TICKETS_H
#define VF_SNAPSHOT_TICKETS_H

#include <stdbool.h>

#include "tls/ticket_keys.h"

struct vf_state;

/* Copies the keys of this moment; none before the first turn. Any process. */
void vf_tickets_read(struct vf_state *state, struct vf_tls_ticket_keys *out);

/* Puts a new random key in front when there is none, or the newest has been there for `max_age_ms`;
 * the oldest goes. Called by control only. Returns true when it did. */
bool vf_tickets_turn(struct vf_state *state, uint64_t now_wall_ms, uint64_t max_age_ms);

/* Replaces all keys, as somebody has agreed with other nodes. Called by control only. */
void vf_tickets_set(struct vf_state *state, const struct vf_tls_ticket_keys *keys,
                    uint64_t now_wall_ms);

#endif
