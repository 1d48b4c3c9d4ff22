/* tls/core.h - what the parts of src/tls share. Private to them: mbedTLS stays in this folder. */
#ifndef VF_TLS_CORE_H
#define VF_TLS_CORE_H

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>

#include "net/transport.h"
#include "tls/client.h"
#include "tls/flood.h"
#include "tls/identity.h"
#include "tls/server.h"
#include "tls/tls.h"
#include "tls/transport.h"
#include "tls/trust.h"

/* Among the codes of mbedTLS, which has none like these. */
enum {
    VF_TLS_CODE_FLOOD = -0x7ffe,
    VF_TLS_CODE_OVERFLOW = -0x7ffd, /* a record that is too long */
    VF_TLS_CODE_FALLBACK = -0x7ffc  /* the client has tried a newer version before */
};

enum {
    VF_TLS_READ_BYTES = 128 * 1024, /* of ciphertext, at once */
    VF_TLS_SEND_BYTES = 128 * 1024, /* of ciphertext that is gathered before the kernel gets it */
    VF_TLS_RECORD_BYTES = 16384,    /* content of the largest record (RFC 8446 section 5.1) */
    VF_TLS_PARTS = 80,              /* of one write: more than a stream queues */
    VF_TLS_IDENTITIES = 4,          /* side by side for one name */
    VF_TLS_PINS = 4
};

struct vf_tls {
    struct vf_net *net;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    struct vf_tls_buffer *spare; /* tls/buffers.h */
    unsigned n_spare;
    char *input;   /* of VF_TLS_READ_BYTES: what was read for the connection that is at work */
    char *output;  /* of VF_TLS_SEND_BYTES: records to be sent */
    char *content; /* of VF_TLS_RECORD_BYTES: short pieces, to become one record */
    size_t output_len;
    struct vf_tls_ticket_key own_ticket_key; /* while nobody has given us any */
    struct vf_tls_conn *shaking;             /* whose call is under way; and in it: */
    bool opened_ticket;
};

struct vf_tls_server {
    struct vf_tls *tls;
    uint32_t refs;
    struct vf_tls_server_options options; /* its texts are copies */
    mbedtls_ssl_config config;
    struct vf_tls_trust *trust;
    const char *alpn[VF_TLS_ALPN + 1];
    struct vf_tls_server *variants[2]; /* without tickets; likewise, and asks; NULL: not made yet */
};

struct vf_tls_client {
    struct vf_tls *tls;
    uint32_t refs;
    bool verify;
    uint32_t max_depth;
    uint8_t pins[VF_TLS_PINS][32];
    size_t n_pins;
    mbedtls_ssl_config config;
    struct vf_tls_trust *trust;
    struct vf_tls_identity *identity;
    const char *alpn[VF_TLS_ALPN + 1];
    mbedtls_ssl_session session; /* the last one of `session_name`, to be resumed */
    bool has_session;
    char session_name[256];
};

/* A connection. */
struct vf_tls_conn {
    struct vf_transport base; /* first member */
    struct vf_tls *tls;
    struct vf_stream *stream;
    struct vf_tls_server *server; /* one of the two is NULL */
    struct vf_tls_client *client;
    mbedtls_ssl_context ssl;
    uint8_t *input_base, *output_base; /* where the buffers stood that were given back; or NULL */
    uint8_t counter[8];                /* that stands in front of the input buffer */
    char *input;                       /* begin..end was read but not decrypted */
    size_t input_begin, input_end;
    bool owns_input; /* `input` is a copy of ours, not tls->input */
    bool is_starved; /* the socket had nothing (more) when mbedTLS last asked */
    bool is_at_end;  /* of file */
    struct vf_tls_flood flood;
    size_t wanted; /* content that the reader still takes */
    char *unsent;  /* begin..end: records that the kernel did not take */
    size_t unsent_begin, unsent_end, unsent_room;
    struct vf_tls_identity *identities[VF_TLS_IDENTITIES]; /* during the handshake */
    int n_identities;
    int failure;      /* VF_E* or UV_E*, once it failed */
    int code;         /* of mbedTLS, for the reason */
    uint8_t first[5]; /* bytes of what a client sends: the head of its first record */
    uint8_t n_first;
    uint8_t sent_type; /* of the last record that mbedTLS has sent in this call, */
    uint32_t sent_len; /* and its bytes; 0: none */
    uint8_t alert;     /* that the peer sent last */
    bool was_alerted;  /* we told the peer why */
    bool saw_end;      /* close_notify, or end of file */
    bool was_cut;      /* end of file without close_notify */
    bool sent_end;     /* our close_notify is on its way */
    bool is_resumed;   /* the handshake resumed a session */
    bool is_asked;     /* of a server: the client was asked for a certificate */
    bool has_ticket;   /* of a client: one was offered */
    bool is_address;   /* of a client: the name is an address, which nobody is asked for */
    uint8_t address[16];
    uint8_t address_len;
    bool has_other_key; /* of a client: the peer has none of the pins */
    char name[256];     /* that the client asked for, or that we ask for; may be empty */
};

/* Random numbers for mbedTLS; `tls` as void. */
int vf_tls_random(void *tls, unsigned char *out, size_t len);

/* Sets what is alike for servers and clients: random numbers, suites, groups, signatures. */
void vf_tls_configure(struct vf_tls *tls, mbedtls_ssl_config *config, bool is_modern);

/* Returns the alert that tells the peer of a failure of mbedTLS. */
uint8_t vf_tls_alert_for(int code);

/* Keeps the session of a connection, whose server has just sent a ticket, for the next one; offers
 * what was kept (tls/client.c). */
void vf_tls_keep_session(struct vf_tls_conn *conn);
void vf_tls_offer_session(struct vf_tls_conn *conn);

/* Tells mbedTLS whom a connection of ours is to (conn->name), and how that is judged. */
int vf_tls_set_name(struct vf_tls_conn *conn);

/* Returns the name that a client asks for in its handshake, in lower case: conn->name. Empty for
 * none. */
struct vf_str vf_tls_server_name(struct vf_tls_conn *conn);

/* Returns true when the name that a client has asked for wants its certificate (options.asks). */
bool vf_tls_name_asks(struct vf_tls_conn *conn);

/* Callbacks of sessions for a server (tls/tickets.c). */
void vf_tls_use_tickets(struct vf_tls_server *server);

#endif
