/* proxy/secure.h - TLS of the listeners: what the snapshot says becomes servers and identities of
 * src/tls. Which identity fits a name is looked up in the newest snapshot when a client asks. */
#ifndef VF_PROXY_SECURE_H
#define VF_PROXY_SECURE_H

#include "snapshot/layout.h"
#include "proxy/tls_variants.h"
#include "tls/transport.h"

struct vf_acceptor;
struct vf_proxy;
struct vf_secure;
struct vf_snapshot;

/* Makes what the TLS of `proxy` needs. Returns 0, UV_ENOMEM or UV_EIO. */
int vf_secure_new(struct vf_proxy *proxy, struct vf_secure **out);

/* After all connections and acceptors are gone. NULL is left alone. */
void vf_secure_free(struct vf_secure *secure);

/* What was made of the TLS records of snapshots. */
struct vf_tls_records *vf_secure_records(struct vf_secure *secure);

/* Gives the acceptor the server that its listener wants (acceptor->tls), or none; the one it has
 * when that has not changed. Returns 0 or a negative code, and it keeps what it has. */
int vf_secure_follow(struct vf_proxy *proxy, struct vf_acceptor *acceptor);

/* Puts TLS below `stream`, which connects to a backend, as the record of ex's snapshot says. `host`
 * is the backend's. Returns 0, UV_EINVAL (no name that may be asked for) or UV_ENOMEM. */
int vf_secure_connect(struct vf_proxy *proxy, const struct vf_snapshot *snapshot,
                      const struct vf_snap_upstream_tls *tls, enum vf_tls_ask ask,
                      struct vf_str host, struct vf_stream *stream);

/* The same for a connection that a plugin makes, to a peer called `name` that is verified or not.
 * UV_ENOENT: nothing is known to verify it with. */
int vf_secure_connect_plugin(struct vf_proxy *proxy, bool verify, struct vf_str name,
                             struct vf_stream *stream);

/* Finds the variant of a record for one request, which is lent until the next call; and connects
 * with it. As vf_tls_variants_find and vf_tls_variant_connect. */
int vf_secure_find_variant(struct vf_proxy *proxy, const struct vf_snapshot *snapshot,
                           const struct vf_snap_upstream_tls *tls, const struct vf_tls_parts *parts,
                           struct vf_tls_variant **out);
int vf_secure_connect_variant(struct vf_proxy *proxy, struct vf_tls_variant *variant,
                              const struct vf_snapshot *snapshot,
                              const struct vf_snap_upstream_tls *tls, enum vf_tls_ask ask,
                              struct vf_str host, struct vf_stream *stream);

/* Forgets identities that the proxy's snapshot does not have. */
void vf_secure_sweep(struct vf_secure *secure);

#endif
