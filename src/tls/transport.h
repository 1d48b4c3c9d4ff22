/* tls/transport.h - a TLS connection below a stream (net/transport.h): the handshake, content in
 * and out, close_notify; and what can be known of it. */
#ifndef VF_TLS_TRANSPORT_H
#define VF_TLS_TRANSPORT_H

#include "net/transport.h"
#include "tls/client.h"
#include "tls/flood.h"
#include "tls/server.h"

/* Puts TLS below an accepted stream, which takes bytes from here on. Returns 0 or UV_ENOMEM. */
int vf_tls_accept(struct vf_tls_server *server, struct vf_stream *stream);

/* Hands over bytes that were read from the socket before TLS was put there; copied. Returns 0 or
 * UV_ENOMEM. */
int vf_tls_preload(struct vf_stream *stream, const char *data, size_t len);

/* Puts TLS below a stream that connects, or has just connected (then vf_stream_start_transport
 * follows). `name` is asked for and must stand in the certificate; empty: neither. Returns 0,
 * UV_EINVAL (no name that may be asked for) or UV_ENOMEM. */
int vf_tls_connect(struct vf_tls_client *client, struct vf_stream *stream, struct vf_str name);

/* Sends bytes in front of the handshake of a connecting stream, as they are. Returns 0 or
 * UV_ENOMEM. */
int vf_tls_send_ahead(struct vf_stream *stream, const char *data, size_t len);

enum { VF_TLS_NOT_JUDGED = 1 << 30 /* a verify flag of ours: for lack of memory */ };

/* What is known of a connection. Texts are static or live as long as the connection. */
struct vf_tls_info {
    const char *version; /* "TLSv1.3"; "" before the handshake is over */
    const char *cipher;  /* as IANA names it: "TLS_AES_128_GCM_SHA256" */
    const char *name;    /* that the client asked for, lower case; may be empty */
    const char *alpn;    /* the protocol that was agreed on; "" for none */
    bool is_resumed;
    bool is_asked; /* of a client: it was asked for a certificate */
    bool has_peer_certificate;
    uint32_t verify_flags; /* of mbedTLS: 0 when the peer's certificate is good */
    uint64_t trust_id;     /* for whom (struct vf_tls_server_options) */
    uint32_t depth;        /* likewise */
};

/* Fills *out of a stream with TLS. */
void vf_tls_info(const struct vf_stream *stream, struct vf_tls_info *out);

/* Writes at most `size` bytes that say why the connection failed: a word ("protocol_version",
 * "not_tls", "bad_certificate:expired", "alert:bad_certificate"), NUL-terminated. Returns
 * `text`. */
const char *vf_tls_reason(const struct vf_stream *stream, char *text, size_t size);

/* Returns the flood of records (enum vf_tls_flood_kind) that the connection ended for. */
uint32_t vf_tls_flood_of(const struct vf_stream *stream);

/* Returns a word for the verify flags of a certificate that is not good: "expired". */
const char *vf_tls_verify_word(uint32_t verify_flags);

/* Judges the certificate that a client has shown, as its handshake would have: by `trust`, with at
 * most `depth` certificates between it and the authority's. *flags is 0 when it is good. Returns 0;
 * UV_ENOENT: it has shown none; UV_ENOMEM. */
int vf_tls_judge_client(const struct vf_stream *stream, const struct vf_tls_trust *trust,
                        uint32_t depth, uint32_t *flags);

/* True when the peer ended the connection without saying so: what has no length may be cut. */
bool vf_tls_was_cut(const struct vf_stream *stream);

/* The peer's certificates, DER, one behind the other, its own first. Returns their bytes, at most
 * `room` of which were written to `out`; 0 when it has sent none. */
size_t vf_tls_peer_chain(const struct vf_stream *stream, char *out, size_t room);

#endif
