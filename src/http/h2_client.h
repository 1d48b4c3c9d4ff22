/* http/h2_client.h - heads of HTTP/2 as the asking side has them (RFC 9113 section 8.3): a request
 * becomes a list of fields, fields become the head of an answer. nghttp2 checks what the section
 * demands of single fields; what it leaves, and the limits, are checked here. */
#ifndef VF_HTTP_H2_CLIENT_H
#define VF_HTTP_H2_CLIENT_H

#include <nghttp2/nghttp2.h>

#include "http/h1.h"
#include "http/message.h"

/* Writes the request `head`: its method, fields that are not dropped, and framing. `scheme`,
 * `target` and `host` become pseudo-header fields; an empty host is left out. Returns the number of
 * fields in *out, which live in the arena as `head` does; 0 when out of memory. */
size_t vf_h2_client_request(struct vf_arena *arena, const struct vf_head *head,
                            struct vf_str scheme, struct vf_str target, struct vf_str host,
                            nghttp2_nv **out);

/* The head of an answer while it is read. */
struct vf_h2_answer {
    struct vf_arena *arena;
    struct vf_head *head;
    uint64_t bytes; /* of its section, as HTTP/1 would count them */
};

/* Empties `head`, whose texts go to the arena. */
void vf_h2_answer_begin(struct vf_h2_answer *answer, struct vf_arena *arena, struct vf_head *head);

/* Adds a field, copied. What is beyond `limits` is left out. Returns 0 or UV_ENOMEM. */
int vf_h2_answer_add(struct vf_h2_answer *answer, const struct vf_h1_limits *limits,
                     struct vf_str name, struct vf_str value);

/* The head is complete: of an answer to `method`; `is_last` when nothing follows it. Returns 0, or
 * -1 and fills *fault. */
int vf_h2_answer_end(struct vf_h2_answer *answer, const struct vf_h1_limits *limits,
                     uint32_t method, bool is_last, struct vf_fault *fault);

#endif
