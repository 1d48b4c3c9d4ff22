/* proxy/sticky.h - sticky sessions: a signed cookie names the backend of a client.
 * value = base64url(backend id, 8 bytes | issue time, 8 bytes | first 16 bytes of HMAC-SHA-256 over
 * both), big-endian, without padding: 43 characters. The key is settings.sticky_key, so a cookie
 * outlives restarts and counts on every node with the same key; a backend id is a hash of tenant,
 * pool and address, so it names the same backend everywhere. Nothing is stored.
 *
 * A cookie counts while its backend is in the pool and may serve it: usable, or drained for new
 * clients, or of weight 0. One that is down, disabled or ejected does not: the client is balanced
 * anew and gets a new cookie. */
#ifndef VF_PROXY_STICKY_H
#define VF_PROXY_STICKY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct vf_snapshot;
struct vf_state;

enum { VF_STICKY_VALUE_BYTES = 43, VF_STICKY_FIELD_BYTES = 512 };

/* Writes the cookie value for the backend called `backend_id`, issued at `wall_ms` (no NUL). */
void vf_sticky_make(const struct vf_snapshot *snapshot, uint64_t backend_id, uint64_t wall_ms,
                    char out[VF_STICKY_VALUE_BYTES]);

/* Writes the value of a Set-Cookie field that binds the client of pool `pool_index` to
 * `backend_index`: name, value, Path=/, Max-Age when the pool has a ttl, HttpOnly, SameSite=Lax,
 * and Secure when the client came by TLS (RFC 6265 section 4.1). Returns the length, or 0 when
 * the cookie's name does not leave it room. */
size_t vf_sticky_field(const struct vf_snapshot *snapshot, uint32_t pool_index,
                       uint32_t backend_index, uint64_t wall_ms, bool is_secure,
                       char out[VF_STICKY_FIELD_BYTES]);

/* Looks for the pool's cookie in the value of one Cookie field (call again for the next field).
 * Stores the index (VF_SNAP_BACKENDS) in *backend_index, and in *is_old whether more than half of
 * its ttl is over, so that it should be issued anew. Returns 0; VF_ENOCOOKIE when there is none, or
 * it is forged, too old, or its backend cannot serve it. `now_ns` is monotonic. */
int vf_sticky_find(const struct vf_snapshot *snapshot, const struct vf_state *state,
                   uint32_t pool_index, struct vf_str cookie, uint64_t wall_ms, uint64_t now_ns,
                   uint32_t *backend_index, bool *is_old);

#endif
