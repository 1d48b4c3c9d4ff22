/* proxy/client.h - who an exchange answers: a codec that sends, and the connection below it. There
 * is one per connection of HTTP/1 and one per stream of HTTP/2; the exchange sees no difference. */
#ifndef VF_PROXY_CLIENT_H
#define VF_PROXY_CLIENT_H

#include <stdbool.h>

#include "base/str.h"

struct vf_downstream;
struct vf_exchange;
struct vf_fields;

/* What a codec does. Each function has an exchange whose client is there. */
struct vf_client_codec {
    void (*send_interim)(struct vf_exchange *ex);
    void (*send_head)(struct vf_exchange *ex);
    void (*send_data)(struct vf_exchange *ex, struct vf_str slice);
    void (*send_end)(struct vf_exchange *ex, const struct vf_fields *trailers);
    void (*finish)(struct vf_exchange *ex);
    bool (*discard)(struct vf_exchange *ex, size_t len);
    void (*abort)(struct vf_exchange *ex);
    void (*close)(struct vf_exchange *ex, const char *reason);
    void (*resume)(struct vf_exchange *ex);
    void (*flush)(struct vf_exchange *ex);
    void (*tunnel_end)(struct vf_exchange *ex);
    bool (*is_blocked)(const struct vf_exchange *ex);
    bool takes_raw_bytes; /* content goes into the connection as it is */
};

/* First member or part of what stands for a client. Owned by it. */
struct vf_client {
    const struct vf_client_codec *codec;
    struct vf_downstream *conn;
};

/* For the exchange. Sends ex->response: the status, its fields that are not dropped, framing. An
 * interim head has no framing. Without a client nothing is sent; all of these allow that. */
void vf_client_send_interim(struct vf_exchange *ex);
void vf_client_send_head(struct vf_exchange *ex);
/* Sends content; the slice is borrowed until the next flush (net/stream.h). */
void vf_client_send_data(struct vf_exchange *ex, struct vf_str slice);
/* The answer is complete. `trailers` may be NULL. Ends the exchange, and frees it; but if the rest
 * of the request is still awaited sets ex->answer_ended, and vf_client_finish follows. */
void vf_client_send_end(struct vf_exchange *ex, const struct vf_fields *trailers);
/* After answer_ended: the request is complete now. Frees the exchange. */
void vf_client_finish(struct vf_exchange *ex);
/* After answer_ended: `len` bytes of content were dropped. Returns false when that was too much:
 * the client is told to stop, the exchange is freed. */
bool vf_client_discard(struct vf_exchange *ex, size_t len);
/* The answer cannot be completed: ends so that the client notices. Frees the exchange. */
void vf_client_abort(struct vf_exchange *ex);
/* Gives the client up, telling the exchange. */
void vf_client_close(struct vf_exchange *ex, const char *reason);
/* The exchange takes request body bytes again. */
void vf_client_resume(struct vf_exchange *ex);
/* Afterwards no slice that was sent is referred to. Returns false when the exchange ended by it. */
bool vf_client_flush(struct vf_exchange *ex);
/* Says that a tunnel has no more bytes for the client. */
void vf_client_tunnel_end(struct vf_exchange *ex);
/* For codecs: true when the length of the answer's content is known and may be told. */
bool vf_client_has_length(const struct vf_exchange *ex);
/* Returns true while sent bytes wait for the client: do not read more for it. */
bool vf_client_is_blocked(const struct vf_exchange *ex);

#endif
