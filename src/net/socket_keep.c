/* Connections that outlive their socket's use: parked, taken over, handed over; and their names. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "net/socket_parts.h"

/* True when the kernel has neither bytes nor an end of file for us. */
static bool is_silent(struct vf_socket *socket)
{
    char byte;
    return !socket->stream.readable || vf_stream_recv(&socket->stream, &byte, 1) == UV_EAGAIN;
}

/* True when somebody else may go on with the connection. */
static bool is_reusable(struct vf_socket *socket)
{
    return vf_socket_is_open(socket) && !socket->reading.pending && !socket->writing.pending &&
           socket->read_end == 0 && socket->write_end == 0 && vf_socket_input_len(socket) == 0 &&
           vf_socket_unsent(socket) == 0 && !socket->stream.hung_up && is_silent(socket);
}

int vf_socket_take_over(struct vf_socket *socket, struct vf_stream *from)
{
    if (socket->owner == NULL)
        return UV_ECANCELED;
    if (socket->writing.pending || socket->stream.io.fd >= 0)
        return UV_EBUSY;
    int rc = vf_stream_move(from, &socket->stream, &vf_socket_events);
    if (rc == 0)
        socket->read_end = socket->write_end = 0;
    return rc;
}

int vf_socket_hand_over(struct vf_socket *socket, struct vf_stream *to,
                        const struct vf_stream_events *new_events)
{
    if (socket->owner == NULL || !is_reusable(socket))
        return UV_EINVAL;
    int rc = vf_stream_move(&socket->stream, to, new_events);
    if (rc < 0)
        return rc;
    vf_dial_end(&socket->dial);
    vf_socket_drop_input(socket);
    socket->read_end = socket->write_end = UV_ENOTCONN;
    return 0;
}

int vf_socket_park(struct vf_socket *socket, uint64_t idle_ms)
{
    if (!is_reusable(socket)) {
        vf_socket_close(socket);
        return UV_EINVAL;
    }
    vf_socket_drop_input(socket);
    socket->parked = true;
    vf_op_begin(&socket->reading, idle_ms);
    return 0;
}

bool vf_socket_unpark(struct vf_socket *socket)
{
    if (!socket->parked)
        return false;
    socket->parked = false;
    vf_op_cancel(&socket->reading);
    return true;
}

int vf_socket_name(const struct vf_socket *socket, bool peer, char *out)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    int fd = socket->stream.io.fd;
    int rc = peer ? getpeername(fd, (struct sockaddr *)&address, &len)
                  : getsockname(fd, (struct sockaddr *)&address, &len);
    if (rc < 0)
        return uv_translate_sys_error(errno);
    if (address.ss_family == AF_UNIX) {
        memcpy(out, "unix", 5);
        return 0;
    }
    const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)&address;
    const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *)&address;
    bool is_ipv4 = address.ss_family == AF_INET;
    rc = is_ipv4 ? uv_ip4_name(ipv4, out, INET6_ADDRSTRLEN)
                 : uv_ip6_name(ipv6, out, INET6_ADDRSTRLEN);
    return rc < 0 ? rc : ntohs(is_ipv4 ? ipv4->sin_port : ipv6->sin6_port);
}
