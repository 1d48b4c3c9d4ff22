/* proxy/downstream.h - a client connection: bytes to exchanges and back. It speaks HTTP/1, unless
 * TLS has agreed on HTTP/2 or the client begins with its preface; then h2/conn.h has its streams.
 *
 *   PROXY header -> TLS -> [ idle -> head -> body -> wait for the answer ]* -> linger -> closed
 *                                                                     \-> tunnel -> closed
 *
 * HTTP/1 has one exchange at a time: pipelined requests wait as bytes and are answered in order.
 * Owned by its proxy; closes itself. */
#ifndef VF_PROXY_DOWNSTREAM_H
#define VF_PROXY_DOWNSTREAM_H

#include "net/stream.h"
#include "proxy/client.h"
#include "proxy/exchange.h"
#include "snapshot/layout.h"

struct vf_acceptor;
struct vf_h2;
struct vf_client_cert;

struct vf_downstream {
    struct vf_stream stream; /* first member */
    struct vf_client client; /* of the exchange under way */
    struct vf_proxy *proxy;
    struct vf_acceptor *acceptor;      /* counted reference */
    struct vf_downstream *next, *prev; /* among the proxy's connections */
    struct vf_exchange *ex;            /* under way, or NULL; of HTTP/1 */
    struct vf_h2 *h2;                  /* owned; NULL: it speaks HTTP/1 */
    struct vf_timer timer;
    char *input; /* bytes kept: an incomplete head, or what follows a request; NULL: none */
    uint32_t input_len, input_room;
    uint32_t input_seen; /* bytes of it that were searched for the end of a head */
    uint32_t n_requests;
    uint32_t mode;               /* enum vf_snap_listener_mode, as it was when accepted */
    uint32_t listener_slot;      /* of the state area, as it was when accepted */
    uint64_t stall_mark;         /* bytes_out when the timer last looked at a blocked client */
    struct vf_snap_address peer; /* of the client, or what the PROXY header says */
    struct vf_client_cert *cert; /* for backends; NULL: not made yet */
    char peer_text[46];          /* peer's IP; empty: not made yet */
    bool expects_proxy_header;
    bool is_handshaking; /* TLS, which is not open yet */
    bool at_hello;       /* likewise, and plugins come first: proxy/hello.h has the bytes */
    bool in_feed;        /* input is being worked on below us on the stack */
    bool lingering;      /* answered and shut: read what comes until the client closes */
    bool saw_eof;        /* the client sent end of file */
    bool closing;        /* no further exchange: close when everything was sent */
    bool is_dead;        /* closed; freed after the event */
};

/* Takes over the accepted socket `fd`. Closes it when out of memory. */
void vf_downstream_accept(struct vf_acceptor *acceptor, int fd, const struct vf_snap_address *peer);

/* Closes at once, telling the exchange. */
void vf_downstream_close(struct vf_downstream *client, const char *reason);

/* The proxy drains: close when idle, else after the exchange. `now`: idle ones at once. */
void vf_downstream_drain(struct vf_downstream *client, bool now);

/* HTTP/1 as an exchange sees it, by downstream_output.c. */
extern const struct vf_client_codec vf_h1_codec;

/* The client's IP address as text, made once per connection. */
struct vf_str vf_downstream_peer_text(struct vf_downstream *client);

/* Fills in what the exchange says of the TLS of its connection. */
void vf_downstream_describe_tls(struct vf_downstream *client, struct vf_exchange *ex);

/* Frees what was closed in this event. */
void vf_downstream_reap(struct vf_proxy *proxy);

#endif
