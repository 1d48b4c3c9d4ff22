/* proxy/client_cert.h - the client's certificate for backends: Client-Cert and Client-Cert-Chain.
 * Source: RFC 9440. Where any listener sends them, nobody else may: what others put into these
 * fields is removed, unless they are trusted proxies. */
#ifndef VF_PROXY_CLIENT_CERT_H
#define VF_PROXY_CLIENT_CERT_H

#include <stdbool.h>

#include "base/str.h"

struct vf_downstream;
struct vf_exchange;

/* Field values of a connection, made when they are first wanted. */
struct vf_client_cert {
    struct vf_str leaf, chain; /* the latter may be empty */
};

/* True when the client has shown a certificate, and its listener's authorities vouch for it. */
bool vf_client_cert_is_good(const struct vf_exchange *ex);

/* Edits the fields of the request that goes to a backend. */
void vf_client_cert_forward(struct vf_exchange *ex);

/* The connection closes. */
void vf_client_cert_free(struct vf_client_cert *cert);

#endif
