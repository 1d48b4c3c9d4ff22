/* proxy/tls_variants.h - clients for backends that differ from what the snapshot says, because a
 * plugin wants that for a request. Found by their content, which is compared, and numbered: no two
 * contents have the same number as long as the process lives. Those used last are kept. */
#ifndef VF_PROXY_TLS_VARIANTS_H
#define VF_PROXY_TLS_VARIANTS_H

#include "proxy/tls_records.h"

enum { VF_TLS_VARIANTS = 256 /* that are kept */ };

struct vf_tls_variant;
struct vf_tls_variants;

/* What replaces parts of a record; DER, and data NULL where the record decides. */
struct vf_tls_parts {
    struct vf_str authorities;
    struct vf_str chain, key;
};

/* `records` are borrowed. Returns 0 or UV_ENOMEM. */
int vf_tls_variants_new(struct vf_tls_records *records, struct vf_tls_variants **out);

/* Before the records. NULL is left alone. */
void vf_tls_variants_free(struct vf_tls_variants *variants);

/* Finds what `tls`, a record of `snapshot` whose verify, depth, trust and identity may have been
 * changed, is with `parts`, or makes it. It is lent until the next call. Returns 0, UV_ENOMEM or
 * UV_EINVAL (parts that cannot be read). */
int vf_tls_variants_find(struct vf_tls_variants *variants, const struct vf_snapshot *snapshot,
                         const struct vf_snap_upstream_tls *tls, const struct vf_tls_parts *parts,
                         struct vf_tls_variant **out);

/* Its number, from 1. */
uint64_t vf_tls_variant_id(const struct vf_tls_variant *variant);

/* As vf_tls_records_connect, with what the variant was found with. */
int vf_tls_variant_connect(struct vf_tls_variants *variants, struct vf_tls_variant *variant,
                           const struct vf_snapshot *snapshot,
                           const struct vf_snap_upstream_tls *tls, enum vf_tls_ask ask,
                           struct vf_str host, struct vf_stream *stream);

#endif
