/* proxy/client_cert.h - certificates of clients: what a route makes of one, and the fields that
 * tell backends, Client-Cert and Client-Cert-Chain (RFC 9440). Where any listener or route sends
 * these, nobody else may: what others put into them is removed, unless they are trusted proxies.
 *
 * A certificate is judged by the authorities of the route, else by those of its listener. What
 * comes of it is kept with the connection: a chain is verified once for each of them, and again
 * when they have changed or some time has passed. */
#ifndef VF_PROXY_CLIENT_CERT_H
#define VF_PROXY_CLIENT_CERT_H

#include <stdbool.h>
#include <stdint.h>

struct vf_client_cert;
struct vf_exchange;

/* How a client's certificate stands where its request has come to. */
struct vf_client_verdict {
    bool is_given;
    bool is_asked;   /* it was asked for in the handshake */
    uint32_t faults; /* verify flags of tls/transport.h; 0: it is good, or there is none */
};

/* Fills *out for the exchange's route, or for its listener while it has none. */
void vf_client_cert_judge(const struct vf_exchange *ex, struct vf_client_verdict *out);

/* Returns true when the client may use the exchange's route, which has a client_cert; else it was
 * answered. */
bool vf_client_cert_admit(struct vf_exchange *ex);

/* Edits the fields of the request that goes to a backend. */
void vf_client_cert_forward(struct vf_exchange *ex);

/* The connection closes. */
void vf_client_cert_free(struct vf_client_cert *cert);

#endif
