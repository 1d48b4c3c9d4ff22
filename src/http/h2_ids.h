/* http/h2_ids.h - which streams a client has begun, and which it has ended itself: what it sends on
 * these later is its fault (RFC 9113 sections 5.1 and 5.1.1), while on a stream that we have reset
 * frames may still be on their way. Remembers the last streams; what is older is not judged. */
#ifndef VF_HTTP_H2_IDS_H
#define VF_HTTP_H2_IDS_H

#include <stdint.h>

enum { VF_H2_IDS = 256 /* that are remembered */ };

enum vf_h2_fate {
    VF_H2_SKIPPED = 0, /* a later one was begun first: it never will be */
    VF_H2_BEGUN,       /* or too old to know */
    VF_H2_ENDED        /* by its client, with END_STREAM or RST_STREAM */
};

/* Embedded by its owner; zeroes are its beginning. */
struct vf_h2_ids {
    uint32_t last;                /* the highest one that was begun, 0: none */
    uint8_t fates[VF_H2_IDS / 4]; /* two bits each */
};

/* The client begins stream `id`: odd, and higher than all before. */
void vf_h2_ids_begin(struct vf_h2_ids *ids, uint32_t id);

/* The client ends stream `id`, which it has begun. */
void vf_h2_ids_end(struct vf_h2_ids *ids, uint32_t id);

/* What became of stream `id`: odd, and not higher than the last one. */
enum vf_h2_fate vf_h2_ids_get(const struct vf_h2_ids *ids, uint32_t id);

#endif
