/* http/h2_guard.h - looks at the frames of a peer before they are worked on, at their headers only.
 *
 * Counts those that cost us work and bring nothing: the floods that HTTP/2 invites (CVE-2019-9511
 * to 9518, CVE-2023-44487 "rapid reset", CVE-2024-27316 "CONTINUATION flood"). Each kind may come
 * in a burst and at a rate that no honest peer reaches. What a peer says about content that it gets
 * (WINDOW_UPDATE, and PING, by which gRPC measures the way) is earned by that content.
 *
 * Of clients it also sees frames on streams that they have ended, and streams begun out of order,
 * which nghttp2 lets pass. Pure: the clock is passed in. */
#ifndef VF_HTTP_H2_GUARD_H
#define VF_HTTP_H2_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/h2_ids.h"

enum {
    VF_H2_PREFACE_BYTES = 24,
    VF_H2_FRAME_HEADER_BYTES = 9,
    VF_H2_MAX_CONTINUATIONS = 8 /* of one header block; 16 KiB each, at least as usually sent */
};

/* Embedded by its owner; zeroes are its beginning, in front of a client's preface. */
struct vf_h2_guard {
    uint8_t header[VF_H2_FRAME_HEADER_BYTES]; /* of the frame that begins, or began last */
    uint8_t header_len;                       /* bytes of it that are there */
    uint8_t preface_len;                      /* bytes of the preface that went by */
    bool is_backend;                          /* resets are its answers to our own requests */
    bool in_block;                            /* CONTINUATION follows */
    uint32_t skip;                            /* bytes of the frame still to go by */
    uint32_t continuations;                   /* of the header block under way */
    uint32_t pings_earned, windows_earned;    /* frames that the peer may send besides */
    uint32_t code;                            /* of the error that ends the connection */
    uint64_t idle_due_ns;   /* SETTINGS, PING, PRIORITY, empty DATA, unknown frames */
    uint64_t reset_due_ns;  /* RST_STREAM, of the peer or for its faults */
    uint64_t window_due_ns; /* WINDOW_UPDATE */
    struct vf_h2_ids ids;
};

/* For the frames of a backend, from the first one on. */
void vf_h2_guard_init_backend(struct vf_h2_guard *guard);

/* Looks at the next bytes of the connection. Returns NULL; or a stable word for the flood that they
 * are part of (..._flood), or for the rule that they break (stream_closed, stream_id): the
 * connection ends with the error guard->code then. */
const char *vf_h2_guard_scan(struct vf_h2_guard *guard, const char *data, size_t len,
                             uint64_t now_ns);

/* A stream had to be reset for what the peer has sent on it ("MadeYouReset", CVE-2025-8671).
 * Returns NULL, or the word of a flood, as above. */
const char *vf_h2_guard_fault(struct vf_h2_guard *guard, uint64_t now_ns);

/* The peer was sent a DATA frame with `len` bytes. */
void vf_h2_guard_sent(struct vf_h2_guard *guard, size_t len);

/* The frame that scanning has come to: its type, and its stream. */
uint8_t vf_h2_guard_type(const struct vf_h2_guard *guard);
uint32_t vf_h2_guard_stream(const struct vf_h2_guard *guard);

/* True while a header block has begun and not ended. */
bool vf_h2_guard_in_head(const struct vf_h2_guard *guard);

#endif
