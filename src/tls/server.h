/* tls/server.h - how a listener shakes hands: versions, client certificates, tickets. Counted: its
 * connections keep it while the configuration moves on. Which identity fits a name, and whether its
 * clients are asked for a certificate, is asked when a client names it, so certificates and routes
 * are replaced without touching a server. */
#ifndef VF_TLS_SERVER_H
#define VF_TLS_SERVER_H

#include <stdbool.h>

#include "tls/identity.h"
#include "tls/tls.h"
#include "tls/trust.h"

enum { VF_TLS_ALPN = 4, VF_TLS_ALPN_BYTES = 16 };
enum vf_tls_client_auth { VF_TLS_AUTH_NONE = 0, VF_TLS_AUTH_OPTIONAL, VF_TLS_AUTH_REQUIRED };

struct vf_tls_server_options {
    uint32_t min_version; /* 12 or 13 */
    uint32_t client_auth; /* enum vf_tls_client_auth */
    uint32_t depth;       /* certificates between a client's and the authority's, at most */
    uint32_t tickets;     /* 1: sessions may be resumed; never with client_auth */
    uint64_t context;     /* tickets are good for servers with the same one */
    uint64_t trust_id;    /* the caller's, for what is believed; see vf_tls_info */
    uint32_t n_alpn;
    char alpn[VF_TLS_ALPN][VF_TLS_ALPN_BYTES]; /* protocols, the best first; NUL-terminated */

    void *owner; /* passed back as the first argument; outlives the server */
    /* Puts the identities for `name` (lower case; empty: the client names none) into `out`, each
     * retained for the caller, and returns their number, at most `room`; 0: the name is refused. */
    int (*choose)(void *owner, uint64_t context, struct vf_str name, struct vf_tls_identity **out,
                  int room);
    /* Returns true when clients that ask for `name` are asked for a certificate, which they need
     * not have and which may be anyone's, where client_auth is not REQUIRED. Such connections have
     * no tickets. NULL: never. */
    bool (*asks)(void *owner, struct vf_str name);
    /* Fills *out with the keys of this moment; NULL, or none: tickets are good in this process. */
    void (*ticket_keys)(void *owner, struct vf_tls_ticket_keys *out);
};

struct vf_tls_server;

/* `options` is copied, `trust` (for client certificates; or NULL) retained. Returns 0 or
 * UV_ENOMEM. */
int vf_tls_server_new(struct vf_tls *tls, const struct vf_tls_server_options *options,
                      struct vf_tls_trust *trust, struct vf_tls_server **out);

struct vf_tls_server *vf_tls_server_retain(struct vf_tls_server *server);

/* The server for a connection that differs: it gets no tickets and its own are not taken; with
 * `asks`, it is asked for a certificate, which it need not have and which may be anyone's. Where
 * client_auth asks already that is the server itself. Owned by `server`; NULL: out of memory. */
struct vf_tls_server *vf_tls_server_variant(struct vf_tls_server *server, bool asks);

/* Clears the caller's pointer; NULL is left alone. */
void vf_tls_server_release(struct vf_tls_server **server);

#endif
