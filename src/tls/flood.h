/* tls/flood.h - counts the records of a peer that cost us work and bring nothing, or next to it:
 *
 *   handshake    more records than any handshake has, cut into crumbs or stuffed between
 *   no_content   empty ones, warnings, attempts to renegotiate, in a row between two with content
 *   tiny         records of a few bytes, too many a second for too long
 *
 * mbedTLS skips warnings, change_cipher_spec and wishes to renegotiate, however many come; other
 * messages behind the handshake it refuses at once. The limits are those of OpenSSL and BoringSSL
 * (32 in a row) where they have one. Pure: the clock is passed in. */
#ifndef VF_TLS_FLOOD_H
#define VF_TLS_FLOOD_H

#include <stdbool.h>
#include <stdint.h>

enum vf_tls_flood_kind {
    VF_TLS_FLOOD_NONE = 0,
    VF_TLS_FLOOD_HANDSHAKE,
    VF_TLS_FLOOD_NO_CONTENT,
    VF_TLS_FLOOD_TINY
};

enum {
    VF_TLS_HANDSHAKE_RECORDS = 256, /* of one side; a chain of 16 KiB in the smallest ones has 36 */
    VF_TLS_BARREN_RECORDS = 32,     /* in a row */
    VF_TLS_WINDOW_RECORDS = 131072, /* after which their size and rate are looked at */
    VF_TLS_TINY_BYTES = 32,         /* of content, on average */
    /* Records a second: of a peer that is always ahead of us, and of one that waits at times, as
     * who sends many small messages does. */
    VF_TLS_TINY_RATE_AHEAD = 16384,
    VF_TLS_TINY_RATE = 131072
};

/* Embedded by its owner; zeroes are its beginning. */
struct vf_tls_flood {
    uint32_t barren;   /* records since the last content */
    uint32_t records;  /* of the window */
    uint64_t bytes;    /* of content in the window */
    uint64_t since_ns; /* the window's beginning */
    uint32_t kind;     /* enum vf_tls_flood_kind: what the connection ended for */
    bool ran_dry;      /* the peer has kept us waiting in the window */
};

/* A record begins. Returns false when there are too many without content. */
static inline bool vf_tls_flood_record(struct vf_tls_flood *flood, bool is_open)
{
    flood->records++;
    flood->barren++;
    if (flood->barren <= VF_TLS_BARREN_RECORDS ||
        (!is_open && flood->barren <= VF_TLS_HANDSHAKE_RECORDS))
        return true;
    flood->kind = is_open ? VF_TLS_FLOOD_NO_CONTENT : VF_TLS_FLOOD_HANDSHAKE;
    return false;
}

/* The handshake is over. */
static inline void vf_tls_flood_open(struct vf_tls_flood *flood, uint64_t now_ns)
{
    *flood = (struct vf_tls_flood){.since_ns = now_ns};
}

/* `bytes` of content were read; the peer has nothing more at hand when `is_dry`. Returns true when
 * the window is full and has to be closed. */
static inline bool vf_tls_flood_content(struct vf_tls_flood *flood, uint64_t bytes, bool is_dry)
{
    flood->bytes += bytes;
    flood->ran_dry |= is_dry;
    return flood->records >= VF_TLS_WINDOW_RECORDS;
}

/* Begins the next window. Returns false when the last one was a flood. */
bool vf_tls_flood_window(struct vf_tls_flood *flood, uint64_t now_ns);

/* Returns the word for a kind, "" for none. */
const char *vf_tls_flood_word(uint32_t kind);

#endif
