/* http/h1.h - the HTTP/1.x parser: bytes to heads and body slices, strictly.
 * llhttp does the parsing; what it lets pass and two parsers could read differently is refused here
 * (RFC 9112 sections 2.2, 3, 5, 6 and 11). Pure: no sockets, no clock.
 *
 *   HEAD --vf_h1_request/response--> BODY --vf_h1_body--> done      one vf_h1 per message
 */
#ifndef VF_HTTP_H1_H
#define VF_HTTP_H1_H

#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/message.h"

struct vf_h1_limits {
    uint64_t header_bytes; /* the head, start line included; also a trailer section */
    uint64_t header_count;
    uint64_t uri_bytes; /* requests: request-target */
};

/* Parser of one message. Embedded by its owner; holds no memory of its own. */
struct vf_h1 {
    llhttp_t parser;
    struct vf_arena *arena; /* where trailers go; outlives the message */
    struct vf_head *head;
    struct vf_h1_limits limits;
    struct vf_str name; /* field name under way */
    struct vf_str value;
    bool name_done;
    bool is_trailer;
    bool is_done;            /* the whole message was read */
    int failed;              /* UV_ENOMEM in a callback */
    uint64_t left;           /* VF_FRAMING_LENGTH: body bytes to come */
    uint64_t overhead_bytes; /* chunk lines and trailers since the last body byte */
    const char *content_end; /* of the last slice in the bytes at hand, or NULL */
    void *owner;             /* of the body under way */
    void (*on_data)(void *owner, struct vf_str slice);
};

/* Returns the length of the head that begins at `data`, blank line included, or 0 when it is not
 * complete yet. `seen` bytes were looked at in vain before. */
size_t vf_h1_head_len(const char *data, size_t len, size_t seen);

/* Returns false when bytes that begin like `data` cannot become a request line (a TLS handshake,
 * binary noise), so that they need not be waited for. */
bool vf_h1_may_be_request(const char *data, size_t len);

/* Returns the first carriage return in `data` that no line feed follows (and none can), or NULL. */
const char *vf_h1_bare_cr(const char *data, size_t len);

/* Reads a whole request head of `len` bytes (vf_h1_head_len) at `data`, memory of `arena` with
 * a NUL behind it (tabs around values become spaces), into
 * *head and prepares `h1` for the body. Returns 0, or -1 with *fault filled, or UV_ENOMEM. */
int vf_h1_request(struct vf_h1 *h1, struct vf_arena *arena, const struct vf_h1_limits *limits,
                  const char *data, size_t len, struct vf_head *head, struct vf_fault *fault);

/* The same for an answer to a request with `method` (it decides on the body, RFC 9112 section
 * 6.3). The fault's status is 502. */
int vf_h1_response(struct vf_h1 *h1, struct vf_arena *arena, const struct vf_h1_limits *limits,
                   uint32_t method, const char *data, size_t len, struct vf_head *head,
                   struct vf_fault *fault);

/* Reads body bytes: calls on_data(owner, slice) for each piece of content, in order; slices point
 * into `data`. Stops at the end of the message. Stores how many bytes belong to it in *used.
 * Returns 0 (h1->is_done tells whether that was all), or -1 with *fault, or UV_ENOMEM. */
int vf_h1_body(struct vf_h1 *h1, const char *data, size_t len, size_t *used,
               struct vf_fault *fault);

/* The peer closed. Returns true when the message is complete by that (VF_FRAMING_CLOSE). */
bool vf_h1_finish(struct vf_h1 *h1);

#endif
