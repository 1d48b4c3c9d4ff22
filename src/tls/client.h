/* tls/client.h - how we shake hands with others: what is verified, and who we are. Counted. It
 * keeps the last session of a name, to resume it. */
#ifndef VF_TLS_CLIENT_H
#define VF_TLS_CLIENT_H

#include "tls/server.h"

struct vf_tls_client_options {
    uint32_t min_version; /* 12 or 13 */
    uint32_t verify;      /* 0: any certificate will do */
    uint32_t depth;       /* certificates between the peer's and the authority's, at most */
    struct vf_str pins;   /* SHA-256 of public keys, 32 bytes each, one of which the peer has */
    uint32_t n_alpn;
    char alpn[VF_TLS_ALPN][VF_TLS_ALPN_BYTES];
};

struct vf_tls_client;

/* `options` is copied; `trust` and `identity` (or NULL) are retained. Returns 0 or UV_ENOMEM. */
int vf_tls_client_new(struct vf_tls *tls, const struct vf_tls_client_options *options,
                      struct vf_tls_trust *trust, struct vf_tls_identity *identity,
                      struct vf_tls_client **out);

struct vf_tls_client *vf_tls_client_retain(struct vf_tls_client *client);

/* Clears the caller's pointer; NULL is left alone. */
void vf_tls_client_release(struct vf_tls_client **client);

#endif
