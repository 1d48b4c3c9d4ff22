/* http/h2_guard.h - counts the frames of a client that cost us work and bring nothing: the floods
 * that HTTP/2 invites (CVE-2019-9511 to 9518, CVE-2023-44487 "rapid reset", CVE-2024-27316
 * "CONTINUATION flood"). It looks at frame headers only, before they are worked on. Each kind may
 * come in a burst and at a rate that no honest client reaches. Pure: the clock is passed in. */
#ifndef VF_HTTP_H2_GUARD_H
#define VF_HTTP_H2_GUARD_H

#include <stddef.h>
#include <stdint.h>

enum {
    VF_H2_PREFACE_BYTES = 24,
    VF_H2_FRAME_HEADER_BYTES = 9,
    VF_H2_MAX_CONTINUATIONS = 8 /* of one header block; 16 KiB each, at least as usually sent */
};

/* Embedded by its owner; zeroes are its beginning, in front of the client's preface. */
struct vf_h2_guard {
    uint8_t header[VF_H2_FRAME_HEADER_BYTES]; /* of the frame that begins */
    uint8_t header_len;                       /* bytes of it that are there */
    uint8_t preface_len;                      /* bytes of the preface that went by */
    uint32_t skip;                            /* bytes of the frame still to go by */
    uint32_t continuations;                   /* of the header block under way */
    uint64_t idle_due_ns;   /* SETTINGS, PING, PRIORITY, empty DATA, unknown frames */
    uint64_t reset_due_ns;  /* RST_STREAM */
    uint64_t window_due_ns; /* WINDOW_UPDATE */
};

/* Looks at the next bytes of the connection. Returns NULL, or a stable word for the flood that they
 * are part of: the connection ends with ENHANCE_YOUR_CALM then. */
const char *vf_h2_guard_scan(struct vf_h2_guard *guard, const char *data, size_t len,
                             uint64_t now_ns);

#endif
