#define _GNU_SOURCE
/* net/socket_input.c - what a socket has received and nobody has taken: gathered until it is what
 * somebody waits for. */
#include <stdlib.h>

#include "base/error.h"
#include "net/socket_parts.h"

enum { FIRST_ROOM = 4096 };

void vf_socket_drop_input(struct vf_socket *socket)
{
    socket->owner->net->buffered_bytes -= socket->room;
    free(socket->input);
    socket->input = NULL;
    socket->begin = socket->end = socket->room = socket->found = socket->skip = 0;
}

static bool make_room(struct vf_socket *socket, size_t more)
{
    size_t used = vf_socket_input_len(socket);
    if (socket->end + more <= socket->room)
        return true;
    if (used + more <= socket->room) {
        memmove(socket->input, socket->input + socket->begin, used);
    } else {
        size_t room = socket->room < FIRST_ROOM ? FIRST_ROOM : socket->room;
        while (room < used + more)
            room *= 2;
        char *input = malloc(room);
        if (input == NULL)
            return false;
        if (used > 0)
            memcpy(input, socket->input + socket->begin, used);
        free(socket->input);
        socket->owner->net->buffered_bytes += room - socket->room;
        socket->input = input;
        socket->room = room;
    }
    socket->begin = 0;
    socket->end = used;
    return true;
}

static bool find_delimiter(struct vf_socket *socket)
{
    const char *at = socket->input + socket->begin;
    size_t len = vf_socket_input_len(socket);
    if (len < socket->delimiter_len)
        return false;
    const char *hit = memmem(at + socket->scanned, len - socket->scanned, socket->delimiter,
                             socket->delimiter_len);
    if (hit == NULL) {
        socket->scanned = len - socket->delimiter_len + 1;
        return false;
    }
    socket->found = (size_t)(hit - at);
    socket->skip = socket->delimiter_len;
    return true;
}

/* Returns true, with what to hand over, when the input has what is wanted. */
static bool is_enough(struct vf_socket *socket)
{
    size_t len = vf_socket_input_len(socket);
    socket->found = socket->skip = 0;
    switch (socket->want) {
    case VF_SOCKET_ANY:
        socket->found = len < socket->n ? len : socket->n;
        return len > 0;
    case VF_SOCKET_BYTES:
        socket->found = socket->n;
        return len >= socket->n;
    case VF_SOCKET_UNTIL:
        return find_delimiter(socket);
    case VF_SOCKET_ALL:
        socket->found = len;
        return socket->read_end == UV_EOF;
    default:
        return len > socket->n;
    }
}

/* Reads once. Returns false when the kernel has nothing (more). */
static bool read_once(struct vf_socket *socket)
{
    size_t most = vf_net_read_size(socket->owner->net);
    size_t left = socket->max_input - vf_socket_input_len(socket);
    most = most < VF_SOCKET_SCRATCH_BYTES ? most : VF_SOCKET_SCRATCH_BYTES;
    ssize_t n = vf_stream_recv(&socket->stream, socket->owner->scratch, most < left ? most : left);
    if (n == UV_EAGAIN)
        return false;
    if (n <= 0) {
        socket->read_end = n == 0 ? UV_EOF : (int)n;
        return true;
    }
    if (!make_room(socket, (size_t)n)) {
        socket->read_end = UV_ENOMEM;
        return true;
    }
    memcpy(socket->input + socket->end, socket->owner->scratch, (size_t)n);
    socket->end += (size_t)n;
    return true;
}

int vf_socket_pump(struct vf_socket *socket)
{
    while (!is_enough(socket)) {
        /* all of it, should the receive fail, now or later by its time limit */
        socket->found = vf_socket_input_len(socket);
        if (socket->read_end != 0)
            return socket->read_end;
        if (vf_socket_input_len(socket) >= socket->max_input)
            return VF_ETOOLARGE;
        if (!socket->stream.readable || !read_once(socket)) {
            if (vf_socket_input_len(socket) == 0)
                vf_socket_drop_input(socket);
            return VF_PENDING;
        }
    }
    return 0;
}

int vf_socket_receive(struct vf_socket *socket, enum vf_socket_want want, const char *delimiter,
                      size_t n, uint64_t timeout_ms)
{
    if (socket->reading.pending)
        return UV_EBUSY;
    if (!vf_socket_stands(socket))
        return UV_ENOTCONN;
    socket->want = want;
    socket->n = want == VF_SOCKET_MORE ? vf_socket_input_len(socket) : n;
    socket->scanned = socket->found = socket->skip = 0;
    if (want == VF_SOCKET_UNTIL) {
        if (n == 0 || n > VF_SOCKET_UNTIL_BYTES)
            return UV_EINVAL;
        socket->delimiter_len = (uint16_t)n;
        memcpy(socket->delimiter, delimiter, n);
    } else if (want == VF_SOCKET_BYTES && n > socket->max_input) {
        return VF_ETOOLARGE;
    }
    int rc = vf_socket_pump(socket);
    return rc == VF_PENDING ? vf_op_begin(&socket->reading, timeout_ms) : rc;
}

struct vf_str vf_socket_input(const struct vf_socket *socket)
{
    return vf_str_make(socket->input + socket->begin, vf_socket_input_len(socket));
}

void vf_socket_consume(struct vf_socket *socket, size_t n)
{
    socket->begin += n;
}

void vf_socket_take(struct vf_socket *socket, struct vf_str *out)
{
    size_t len = vf_socket_input_len(socket);
    if (socket->found > len) /* cut short: what there is */
        socket->found = len;
    *out = vf_str_make(socket->input + socket->begin, socket->found);
    vf_socket_consume(socket, socket->found + socket->skip);
    socket->found = socket->skip = 0;
}
