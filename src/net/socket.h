/* net/socket.h - a client socket that is asked, not told: connect, receive until, send, one call
 * after the other, as code that waits in between wants it. TCP and unix streams, on net/stream.
 *
 *   new -> connect -> open -> close
 *                     | ^
 *                park v | unpark        kept for reuse: closes by itself when the peer does, says
 *                    idle               something, or the time is over
 *
 * There is one operation per direction (net/op.h): connecting and sending are `writing`, receiving
 * is `reading`. Calls return 0, VF_PENDING (wait for that operation; it ends with the result) or a
 * negative code.
 *
 * Back pressure: bytes are read from the kernel only while somebody waits for more, and never more
 * than `max_input` stay here; what the kernel does not take is kept until it does, so senders hand
 * over at most VF_SOCKET_SEND_BYTES and wait. Both count against the buffer budget of the process
 * (struct vf_net); when it is used up, reads become small. */
#ifndef VF_NET_SOCKET_H
#define VF_NET_SOCKET_H

#include "net/dial.h"
#include "net/op.h"
#include "net/stream.h"

enum {
    VF_SOCKET_SEND_BYTES = 256 * 1024,
    VF_SOCKET_INPUT_BYTES = 1024 * 1024, /* max_input at first */
    VF_SOCKET_SCRATCH_BYTES = 64 * 1024, /* the largest read, and larger than any datagram */
    VF_SOCKET_UNTIL_BYTES = 256          /* the longest delimiter */
};

/* What the sockets of a process share. Borrows `net` and `resolver`. */
struct vf_sockets {
    struct vf_net *net;
    struct vf_dials *dials;
    struct vf_socket *list; /* all of them */
    struct vf_socket *dead; /* closed for good, to be freed by `reaper` */
    struct vf_udp *udps;    /* likewise all of them, see net/udp.h */
    struct vf_timer reaper;
    char *scratch;        /* what one read takes from the kernel */
    uint32_t n_sockets;   /* those of net/udp.h too */
    uint32_t max_sockets; /* new ones are refused beyond: descriptors are for clients first */
};

struct vf_socket;

int vf_sockets_new(struct vf_net *net, struct vf_resolver *resolver, uint32_t max_sockets,
                   struct vf_sockets **out);

/* Closes all sockets that are left and frees what they share. Whoever owns one may still free it,
 * and only that. */
void vf_sockets_free(struct vf_sockets *sockets);

/* Makes an unconnected socket, owned by the caller. NULL: out of memory or too many. */
struct vf_socket *vf_socket_new(struct vf_sockets *sockets);

/* Closes and frees it; what waits on it ends with UV_ECANCELED. NULL is left alone. */
void vf_socket_free(struct vf_socket *socket);

/* Closes it: unsent output is dropped; what waits on it ends with UV_ECANCELED. */
void vf_socket_close(struct vf_socket *socket);

/* The two operations, for whoever waits. */
struct vf_op *vf_socket_reading(struct vf_socket *socket);
struct vf_op *vf_socket_writing(struct vf_socket *socket);

/* Connects to `host` (see net/dial.h) and `port`, or to the unix socket of path `host` when the
 * port is -1. `writing` ends when the connection stands. Besides UV_E*: VF_ENOADDRESS. */
int vf_socket_connect(struct vf_socket *socket, const char *host, size_t len, int port,
                      uint64_t timeout_ms);

/* The stream below: for a transport, which is put there while the socket connects, or when it has
 * just connected. Then vf_socket_start_transport follows: 0, VF_PENDING (`writing` ends when the
 * handshake is over) or a negative code. */
struct vf_stream *vf_socket_stream(struct vf_socket *socket);
int vf_socket_start_transport(struct vf_socket *socket, uint64_t timeout_ms);

/* After a failed connect: true when the name has another address that may be tried. */
bool vf_socket_may_retry(const struct vf_socket *socket);

/* Returns a sentence about `rc` that knows more than its code where there is more to know (why the
 * resolver found nothing). Static memory. */
const char *vf_socket_why(const struct vf_socket *socket, int rc);

/* Sets how many bytes may wait here to be received. */
void vf_socket_set_max_input(struct vf_socket *socket, size_t bytes);

/* What to receive. */
enum vf_socket_want {
    VF_SOCKET_ANY = 0, /* at least one byte, at most n */
    VF_SOCKET_BYTES,   /* exactly n bytes */
    VF_SOCKET_UNTIL,   /* everything before the delimiter, which is taken too */
    VF_SOCKET_ALL,     /* everything before the end of file */
    VF_SOCKET_MORE     /* nothing: more bytes than there are in the input now */
};

/* Receives. `delimiter` (n bytes, 1 to VF_SOCKET_UNTIL_BYTES; copied) is for VF_SOCKET_UNTIL. When
 * it returned 0, or `reading` ended with 0, vf_socket_take hands over what was wanted. Codes:
 * UV_EOF, UV_ETIMEDOUT, UV_ECONNRESET..., VF_ETOOLARGE (max_input), UV_ENOTCONN, UV_EBUSY. */
int vf_socket_receive(struct vf_socket *socket, enum vf_socket_want want, const char *delimiter,
                      size_t n, uint64_t timeout_ms);

/* Takes what was received; after a failure, what came before it. The view is valid until the next
 * call for this socket. */
void vf_socket_take(struct vf_socket *socket, struct vf_str *out);

/* For parsers: the input as it is, and taking `n` bytes off its front. */
struct vf_str vf_socket_input(const struct vf_socket *socket);
void vf_socket_consume(struct vf_socket *socket, size_t n);

/* True when the end of file, or a failure, was reached behind the input. */
bool vf_socket_at_end(const struct vf_socket *socket);

/* Queues bytes, borrowed until vf_socket_send. */
void vf_socket_add(struct vf_socket *socket, const char *data, size_t len);

/* Offers what was queued to the kernel, and copies the rest: nothing is borrowed any more. */
void vf_socket_flush(struct vf_socket *socket);

/* Sends what was queued. With `until_input`, `writing` also ends, with 0, when the peer says
 * something (see vf_socket_unsent). */
int vf_socket_send(struct vf_socket *socket, uint64_t timeout_ms, bool until_input);

/* Returns the bytes that the kernel has not taken. */
size_t vf_socket_unsent(const struct vf_socket *socket);

/* Sends end of file behind the output: no more is sent, but received. */
int vf_socket_shutdown(struct vf_socket *socket);

/* Keeps it idle, for `idle_ms` at most. Returns 0; or closes it and returns UV_EINVAL when it is
 * not fit for reuse: something was received, is unsent or waits. */
int vf_socket_park(struct vf_socket *socket, uint64_t idle_ms);

/* Wakes an idle one. Returns false when it has closed meanwhile. */
bool vf_socket_unpark(struct vf_socket *socket);

/* Connects to `address`, as vf_socket_connect. */
int vf_socket_connect_to(struct vf_socket *socket, const struct sockaddr_storage *address,
                         socklen_t len, uint64_t timeout_ms);

/* Makes an unconnected socket go on with the connection of a stream that stands: `from` is closed
 * afterwards. Returns 0 or UV_E*. */
int vf_socket_take_over(struct vf_socket *socket, struct vf_stream *from);

/* Gives the connection of an open socket to a stream that will use it for `events`; the socket is
 * as it was before it connected. Returns 0; UV_EINVAL when it is not fit for reuse (see
 * vf_socket_park), or another UV_E*. */
int vf_socket_hand_over(struct vf_socket *socket, struct vf_stream *to,
                        const struct vf_stream_events *events);

/* Calls on_end(owner) once when the socket closes, connected or not. NULL: no more. */
void vf_socket_on_end(struct vf_socket *socket, void (*on_end)(void *owner), void *owner);

/* Returns the owner who is told of that; NULL: nobody. */
void *vf_socket_end_owner(const struct vf_socket *socket);

bool vf_socket_is_open(const struct vf_socket *socket);

/* Writes the text of the peer's or our own address ("192.0.2.1", "::1", "unix") at `out` (46 bytes)
 * and returns the port; UV_E*. */
int vf_socket_name(const struct vf_socket *socket, bool peer, char *out);

#endif
