/* proxy/client_cert.h - the client's certificate for backends: Client-Cert and Client-Cert-Chain.
 * Source: RFC 9440. Where any listener sends them, nobody else may: what others put into these
 * fields is removed, unless they are trusted proxies. */
#ifndef VF_PROXY_CLIENT_CERT_H
#define VF_PROXY_CLIENT_CERT_H

#include "base/str.h"

struct vf_downstream;
struct vf_exchange;

/* Field values of a connection, made when they are first wanted. */
struct vf_client_cert {
    struct vf_str leaf, chain; /* the latter may be empty */
};

/* Edits the fields of the request that goes to a backend. */
void vf_client_cert_forward(struct vf_exchange *ex);

/* The connection closes. */
void vf_client_cert_free(struct vf_client_cert *cert);

#endif
