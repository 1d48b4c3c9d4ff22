/* http/h2_head.h - heads of HTTP/2: lists of fields (RFC 9113 section 8) to the heads that an
 * exchange knows, and back. nghttp2 has judged what a list may hold (section 8.2: characters,
 * connection-specific fields; section 8.3: which pseudo-header fields, once and in front); what a
 * request means is judged here. Pure: no sockets, no clock. */
#ifndef VF_HTTP_H2_HEAD_H
#define VF_HTTP_H2_HEAD_H

#include <nghttp2/nghttp2.h>

#include "http/h1.h"
#include "http/message.h"

/* A request head that is being read. */
struct vf_h2_request {
    struct vf_arena *arena;
    struct vf_head *head;
    struct vf_str scheme, authority, path, protocol; /* pseudo-header fields; data NULL: absent */
    uint64_t bytes;                                  /* of names and values, as lines would be */
};

/* Begins with an empty *head. */
void vf_h2_request_begin(struct vf_h2_request *request, struct vf_arena *arena,
                         struct vf_head *head);

/* Takes the next field, which is copied. What is above the limits is counted, not kept. Returns 0
 * or UV_ENOMEM. */
int vf_h2_request_add(struct vf_h2_request *request, const struct vf_h1_limits *limits,
                      struct vf_str name, struct vf_str value);

/* The list is complete; `has_content`: the stream goes on behind it. An extended CONNECT for
 * WebSocket (RFC 8441) becomes the upgrade that an HTTP/1.1 backend knows, with a key made of
 * `nonce` (16 random bytes). Returns 0, -1 with *fault filled, or UV_ENOMEM. */
int vf_h2_request_end(struct vf_h2_request *request, const struct vf_h1_limits *limits,
                      bool has_content, const uint8_t nonce[16], struct vf_fault *fault);

/* Writes the fields of an answer with `status` as nghttp2 takes them, in the arena: those that were
 * not dropped and that HTTP/2 may have; Content-Length when `has_length`. Returns their number; 0
 * when out of memory. */
size_t vf_h2_write_response(struct vf_arena *arena, const struct vf_head *head, uint32_t status,
                            bool has_length, nghttp2_nv **out);

#endif
