/* http/h1_client.h - the asking side of HTTP/1.1 on a socket that is pulled (net/socket.h): one
 * request and its answer. The proxy's own upstream connections push answers into exchanges
 * (proxy/upstream.h); this is for code that waits for each step. Both read with http/h1.h, so an
 * answer that the proxy would refuse is refused here.
 *
 *   begin, field... -> write_head -> (content) -> read_head -> read_body... -> is_done
 *
 * The head is only queued on the socket, content is the caller's to queue behind it and to frame;
 * vf_socket_send sends. (Strings come as pointer and length: LuaJIT compiles no call that takes a
 * struct.) Reading returns VF_PENDING when it waits
 * for the socket's `reading` operation: call again when that has ended, whatever its result. */
#ifndef VF_HTTP_H1_CLIENT_H
#define VF_HTTP_H1_CLIENT_H

#include "http/h1.h"
#include "net/socket.h"

struct vf_h1_client;

/* How the request's content is framed; other values are its length in bytes. */
enum { VF_H1_CLIENT_CHUNKED = -1, VF_H1_CLIENT_NO_CONTENT = -2 };

/* Makes one for answers with heads of at most `header_bytes` and `header_count` fields. Owned by
 * the caller. NULL when out of memory. */
struct vf_h1_client *vf_h1_client_new(uint64_t header_bytes, uint64_t header_count);
void vf_h1_client_free(struct vf_h1_client *client);

/* Begins a request. `target` is "/path?query" or "*", `host` the Host field's value. The strings
 * are copied. Returns 0, UV_EINVAL (vf_h1_client_rule says what is wrong) or UV_ENOMEM. */
int vf_h1_client_begin(struct vf_h1_client *client, const char *method, size_t method_len,
                       const char *target, size_t target_len, const char *host, size_t host_len);

/* Adds a field; copied. Fields that this module writes itself (Host, framing, connection) and what
 * is no name or value (a line break in it) are UV_EINVAL. */
int vf_h1_client_field(struct vf_h1_client *client, const char *name, size_t name_len,
                       const char *value, size_t value_len);

/* Queues the head. `length`: see above. Returns 0 or UV_ENOMEM. */
int vf_h1_client_write_head(struct vf_h1_client *client, struct vf_socket *socket, int64_t length);

/* Reads the answer's head, past interim ones. Returns 0, VF_PENDING, UV_EOF (closed before anything
 * came), VF_EMALFORMED (vf_h1_client_rule), VF_ETOOLARGE, or the socket's code. Waits at most
 * `timeout_ms` for each piece. */
int vf_h1_client_read_head(struct vf_h1_client *client, struct vf_socket *socket,
                           uint64_t timeout_ms);

/* Reads content: all of it when `whole`, else at least a byte. Returns 0, VF_PENDING, VF_ETOOLARGE
 * (more than `max_bytes` not yet taken), VF_EMALFORMED, UV_EOF (cut short) or the socket's code. */
int vf_h1_client_read_body(struct vf_h1_client *client, struct vf_socket *socket, bool whole,
                           uint64_t max_bytes, uint64_t timeout_ms);

/* Takes the content read so far; valid until the next read. Empty: see vf_h1_client_is_done. */
void vf_h1_client_take_body(struct vf_h1_client *client, struct vf_str *out);

/* True when the whole answer was read. */
bool vf_h1_client_is_done(const struct vf_h1_client *client);

/* True when the peer lets the connection persist behind the answer, which was read. */
bool vf_h1_client_may_keep(const struct vf_h1_client *client);

/* True when bytes of an answer have come. */
bool vf_h1_client_has_begun(const struct vf_h1_client *client);

/* The answer, once its head was read; the views live as long as the client. */
uint32_t vf_h1_client_status(const struct vf_h1_client *client, struct vf_str *reason);
uint32_t vf_h1_client_n_fields(const struct vf_h1_client *client, bool trailers);
void vf_h1_client_field_at(const struct vf_h1_client *client, bool trailers, uint32_t index,
                           struct vf_str *name, struct vf_str *value);

/* Returns which rule was broken, "..., RFC 9112 section 6.3"; "" for none. */
const char *vf_h1_client_rule(const struct vf_h1_client *client);

#endif
