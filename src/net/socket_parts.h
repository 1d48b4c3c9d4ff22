/* net/socket_parts.h - a socket inside: what socket.c (its life, connecting, sending),
 * socket_input.c (what it has received) and socket_keep.c (what outlives its use) share. */
#ifndef VF_NET_SOCKET_PARTS_H
#define VF_NET_SOCKET_PARTS_H

#include "net/socket.h"

struct vf_socket {
    struct vf_stream stream; /* first member */
    struct vf_sockets *owner;
    struct vf_socket *next, *prev;
    struct vf_op reading, writing;
    struct vf_dial dial;
    void (*on_end)(void *owner); /* NULL: nobody is told that it closes */
    void *end_owner;
    char *input; /* begin..end is what was read and not taken; NULL while empty */
    size_t begin, end, room, max_input;
    enum vf_socket_want want;
    size_t n;            /* bytes wanted, or in the input when MORE were */
    size_t scanned;      /* input bytes in which the delimiter does not begin */
    size_t found, skip;  /* of a finished receive: bytes to hand over, and to drop behind them */
    uint64_t connect_ms; /* time limit, while the name is looked up */
    int read_end;        /* 0, UV_EOF or why nothing more can be read */
    int write_end;       /* 0 or why nothing more can be sent */
    uint16_t delimiter_len;
    char delimiter[VF_SOCKET_UNTIL_BYTES];
    bool until_input; /* of the send under way */
    bool may_retry;
    bool parked;
};

extern const struct vf_stream_events vf_socket_events;

static inline bool vf_socket_stands(const struct vf_socket *socket)
{
    return socket->stream.io.fd >= 0 && !socket->stream.connecting;
}

static inline size_t vf_socket_input_len(const struct vf_socket *socket)
{
    return socket->end - socket->begin;
}

/* Frees the memory of the input, and forgets what it held. */
void vf_socket_drop_input(struct vf_socket *socket);

/* Reads until there is what socket->want says. Returns the result of the receive, or VF_PENDING. */
int vf_socket_pump(struct vf_socket *socket);

#endif
