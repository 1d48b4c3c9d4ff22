/* proxy/upstream_tls.h - which TLS the connection of an exchange to its backend has: what the pool
 * says, and what plugins want otherwise for this exchange alone. A connection serves exchanges that
 * want the same TLS, and no others: see the members of struct vf_tls_choice. */
#ifndef VF_PROXY_UPSTREAM_TLS_H
#define VF_PROXY_UPSTREAM_TLS_H

#include "proxy/secure.h"

struct vf_exchange;

enum vf_tls_scheme { VF_TLS_AS_POOL = 0, VF_TLS_OFF, VF_TLS_ON };

/* What plugins want; in the arena of the exchange. */
struct vf_tls_wish {
    enum vf_tls_scheme scheme;
    bool has_verify, has_depth; /* the next two are set */
    bool verify;
    uint32_t depth;
    struct vf_tls_parts parts;
};

struct vf_tls_choice {
    const struct vf_snap_upstream_tls *tls; /* NULL: plain */
    uint64_t id; /* 0: plain; of the pool's record, or the number of a variant when is_own */
    bool is_own; /* it is not what the pool says */
    struct vf_tls_variant *variant;     /* of a TLS that is_own; lent until the next choice */
    struct vf_snap_upstream_tls merged; /* then *tls */
};

/* Chooses for ex->pool. Without a wish it cannot fail. Returns 0; UV_ENOENT: the certificate is to
 * be verified, and nothing says against which authorities; UV_ENOMEM or UV_EINVAL. Both are
 * logged. `out` points into itself. */
int vf_upstream_tls_choose(const struct vf_exchange *ex, struct vf_tls_choice *out);

/* Puts the TLS that was chosen, if any, below a stream that connects to ex->backend. Returns as
 * vf_secure_connect. */
int vf_upstream_tls_put(const struct vf_exchange *ex, const struct vf_tls_choice *choice,
                        enum vf_tls_ask ask, struct vf_stream *stream);

#endif
