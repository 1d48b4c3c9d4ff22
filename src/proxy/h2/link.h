/* proxy/h2/link.h - connections to backends that speak HTTP/2 (RFC 9113): many exchanges share
 * one. nghttp2 speaks the protocol; each stream, a "call", is the backend of one exchange
 * (proxy/upstream.h).
 *
 *   connecting -> (ALPN) -> open -> leaving -> closed      leaving: GOAWAY came, or its ids
 *            \-> HTTP/1.1 after all                        are used up: no more calls
 *
 * A connection belongs to its peer, as those of HTTP/1.1 do. Without calls it is kept for
 * upstream_idle; with calls, and silence for as long, it is asked for a sign of life. */
#ifndef VF_PROXY_H2_LINK_H
#define VF_PROXY_H2_LINK_H

#include "proxy/upstream_conn.h"

struct vf_h2_call;

/* Finds a connection of the peer's that takes one more call, whose TLS is `tls_id`, `is_own`; NULL:
 * there is none. */
struct vf_h2_link *vf_h2_link_find(struct vf_peer *peer, uint64_t tls_id, bool is_own);

/* The new connection, which connects, speaks HTTP/2; with `may_fall_back` HTTP/1.1 when that is
 * what its TLS comes to. `is_private`: for one call only. NULL when out of memory. */
struct vf_h2_link *vf_h2_link_new(struct vf_upstream_conn *up, const struct vf_exchange *ex,
                                  bool may_fall_back, bool is_private);

/* The exchange asks its backend through a call on it. Returns 0 or UV_ENOMEM. */
int vf_h2_link_call(struct vf_h2_link *link, struct vf_exchange *ex);

/* From vf_upstream_close: the connection is closed. From the reaper: frees what it has; returns
 * false while it is in use. */
void vf_h2_link_closed(struct vf_h2_link *link);
bool vf_h2_link_free(struct vf_h2_link *link);

/* Closes the peer's connections, those without calls only unless `all`. */
void vf_h2_links_close(struct vf_peer *peer, bool all);

/* Those to addresses that the name has no more take no more calls, and end with their last. */
void vf_h2_links_leave_stale(struct vf_peer *peer);

/* Closes the oldest that has no calls. Returns false when there is none. */
bool vf_h2_links_drop_one(struct vf_peer *peer);

/* At the end of a turn of events: what exchanges have said becomes frames, what they take again is
 * handed to them. */
void vf_h2_links_flush(struct vf_upstreams *upstreams);

/* Frees calls that have ended, after the event. */
void vf_h2_calls_reap(struct vf_upstreams *upstreams);

#endif
