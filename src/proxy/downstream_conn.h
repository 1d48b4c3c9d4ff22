/* proxy/downstream_conn.h - what the parts of a client connection share: downstream.c (life,
 * timers), downstream_input.c, downstream_request.c, downstream_output.c. Private to them. */
#ifndef VF_PROXY_DOWNSTREAM_CONN_H
#define VF_PROXY_DOWNSTREAM_CONN_H

#include "proxy/downstream.h"

struct vf_state_listener;
struct vf_tls_server;

/* Events of a connection, by downstream_input.c. */
extern const struct vf_stream_events vf_downstream_events;

/* The limits of its listener, and its counters. */
const struct vf_snap_policy *vf_downstream_policy(const struct vf_downstream *client);
struct vf_state_listener *vf_downstream_counters(struct vf_downstream *client);

/* Starts the connection's one timer; await_content: for the next piece of request content. */
void vf_downstream_set_timer(struct vf_downstream *client, uint64_t delay_ms);
void vf_downstream_await_content(struct vf_downstream *client);

/* Begins the handshake of a connection which has read `len` bytes of it already: puts TLS below it,
 * which takes them, or leaves it at_hello and the bytes to vf_hello_read. Returns false when it was
 * closed. */
bool vf_downstream_start_tls(struct vf_downstream *client, const char *data, size_t len);

/* Puts TLS below the connection; NULL for the server: out of memory. Returns false when it was
 * closed. */
bool vf_downstream_open_tls(struct vf_downstream *client, struct vf_tls_server *server,
                            const char *data, size_t len);

/* Counts a handshake that has failed, and says why in the log. */
void vf_downstream_log_handshake(struct vf_downstream *client, const char *reason);

/* After a read of a connection that is_handshaking, which returned `n`. Returns false when the
 * connection failed. */
bool vf_downstream_follow_handshake(struct vf_downstream *client, ssize_t n);

/* TLS has failed behind the handshake and told the client: closes. */
void vf_downstream_fail_tls(struct vf_downstream *client);

/* The handshake took too long: closes. */
void vf_downstream_handshake_timeout(struct vf_downstream *client);

/* Forgets kept input. Flushes first: slices may point into it. */
void vf_downstream_drop_input(struct vf_downstream *client);

/* Closes the socket; the memory goes after the event. The exchange is the caller's business. */
void vf_downstream_close_now(struct vf_downstream *client, bool reset);

/* Ends after the answer: what the client still sends is read and dropped for a while, so that it
 * gets the answer and no reset. The other: no byte of the client is due, close when all is sent. */
void vf_downstream_end(struct vf_downstream *client);
void vf_downstream_end_cleanly(struct vf_downstream *client);

/* The answer is complete: waits for the client to take what was not sent yet, then for its end. */
void vf_downstream_await_end(struct vf_downstream *client);

/* Works on input until it is used up, more is needed, or an answer has to be waited for. */
void vf_downstream_feed(struct vf_downstream *client, const char *data, size_t len);

/* One step on `len` bytes at `data`: begins an exchange with a head, or gives it content. Returns
 * how many were used; 0 when more are needed, or the connection ended. */
size_t vf_downstream_read_head(struct vf_downstream *client, const char *data, size_t len);
size_t vf_downstream_read_body(struct vf_downstream *client, const char *data, size_t len);

/* End of file within the content: the request is incomplete (RFC 9112 section 8). */
void vf_downstream_refuse_cut(struct vf_downstream *client);

/* The exchange takes content again. */
void vf_downstream_resume(struct vf_exchange *ex);

/* True when bytes from the client can be worked on now. */
bool vf_downstream_may_read(const struct vf_downstream *client);

#endif
