/* proxy/h2/conn.h - a client connection that speaks HTTP/2 (RFC 9113): frames to exchanges, and
 * back. nghttp2 speaks the protocol; each stream is the client of one exchange (proxy/client.h).
 *
 *   bytes -> guard -> nghttp2 -> streams -> exchanges        content they do not take stays unread:
 *   bytes <- nghttp2 <- streams <- exchanges                 its window is not given back
 *
 * Belongs to its connection (downstream.h), which reads, closes and frees it. */
#ifndef VF_PROXY_H2_CONN_H
#define VF_PROXY_H2_CONN_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/downstream.h"

struct vf_h2;

/* Compares the first bytes of a connection with the client's preface (RFC 9113 section 3.4).
 * Returns 1 when they are it, 0 when they may become it, -1 when they are something else. */
int vf_h2_is_preface(const char *data, size_t len);

/* The connection speaks HTTP/2 from here on. Returns false, and has closed it, without memory. */
bool vf_h2_start(struct vf_downstream *client);

/* Bytes of the client. */
void vf_h2_feed(struct vf_h2 *h2, const char *data, size_t len);

/* Everything that was sent has left. */
void vf_h2_on_drained(struct vf_h2 *h2);

/* The connection's timer: idle, silent, or slow to answer our settings. */
void vf_h2_on_timer(struct vf_h2 *h2);

/* The proxy drains: new requests go elsewhere, those under way end. `now`: idle ones close. */
void vf_h2_drain(struct vf_h2 *h2, bool now);

/* The connection is gone: tells the exchanges. */
void vf_h2_abandon(struct vf_h2 *h2, const char *reason);

/* After the event. NULL is allowed. */
void vf_h2_free(struct vf_h2 *h2);

/* At the end of a turn of events: what exchanges have said becomes frames. */
void vf_h2_flush(struct vf_proxy *proxy);

#endif
