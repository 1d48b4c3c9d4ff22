#define _GNU_SOURCE
#include "kit/wires.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

/* Names get addresses of a range that is for tests of network devices (RFC 2544, appendix C.2.2):
 * 198.18.0.1 and on, by the place of the host. */
static const uint32_t FIRST_ADDRESS = 0xc6120001;

enum { SMALL_BUFFER = 4096 };

static const struct vf_wires_host *find_host(const struct vf_wires *wires, const char *name,
                                             int port)
{
    const struct vf_wires_host *found = NULL;
    for (size_t i = 0; i < wires->n_hosts; i++) {
        const struct vf_wires_host *host = &wires->hosts[i];
        if (strcmp(host->name, name) != 0)
            continue;
        if (host->port == port)
            return host;
        if (host->port == 0)
            found = host;
    }
    return found;
}

/* The name that was given the address, or the address itself as text. */
static void name_of(const struct vf_wires *wires, const struct sockaddr_storage *address,
                    char *name, int *port)
{
    const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *)address;
    const struct sockaddr_un *path = (const struct sockaddr_un *)address;
    *port = 0;
    if (address->ss_family == AF_UNIX) {
        snprintf(name, VF_WIRES_HOST_BYTES, "%s", path->sun_path);
    } else if (address->ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &ipv6->sin6_addr, name, VF_WIRES_HOST_BYTES);
        *port = ntohs(ipv6->sin6_port);
    } else {
        uint32_t index = ntohl(ipv4->sin_addr.s_addr) - FIRST_ADDRESS;
        *port = ntohs(ipv4->sin_port);
        if (index < wires->n_hosts)
            memcpy(name, wires->hosts[index].name, VF_WIRES_HOST_BYTES);
        else
            inet_ntop(AF_INET, &ipv4->sin_addr, name, VF_WIRES_HOST_BYTES);
    }
}

static uint64_t inode_of(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 ? (uint64_t)info.st_ino : 0;
}

int vf_wires_open(struct vf_wires *wires, int type, int fds[2])
{
    if (wires->n_ends == VF_WIRES_ENDS)
        return UV_EMFILE;
    if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return uv_translate_sys_error(errno);
    wires->ends[wires->n_ends++] =
        (struct vf_wires_end){.fd = fds[1], .other = fds[0], .inode = inode_of(fds[0])};
    return 0;
}

/* A connection under way is one that cannot be written to: this one's buffer is full. */
static void fill(int fd)
{
    static const char nothing[SMALL_BUFFER];
    int size = SMALL_BUFFER;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    while (write(fd, nothing, sizeof(nothing)) > 0)
        ;
    while (write(fd, nothing, 1) > 0)
        ;
}

static int connect_to(void *owner, int type, const struct sockaddr_storage *address)
{
    struct vf_wires *wires = owner;
    struct vf_wire_arrival arrival = {.is_datagram = type == SOCK_DGRAM};
    name_of(wires, address, arrival.host, &arrival.port);
    const struct vf_wires_host *host = find_host(wires, arrival.host, arrival.port);
    if (host == NULL || host->mode == VF_WIRE_REFUSES)
        return UV_ECONNREFUSED;
    if (wires->n_arrivals == VF_WIRES_ARRIVALS || wires->n_hanging == VF_WIRES_ARRIVALS)
        return UV_EMFILE;
    int fds[2], rc = vf_wires_open(wires, type, fds);
    if (rc < 0)
        return rc;
    arrival.fd = fds[1];
    if (host->mode == VF_WIRE_HANGS) {
        fill(fds[0]);
        wires->hanging[wires->n_hanging++] = fds[1];
    } else {
        wires->arrivals[(wires->first + wires->n_arrivals++) % VF_WIRES_ARRIVALS] = arrival;
    }
    return fds[0];
}

static bool look_up(void *owner, const char *name, struct in_addr *out)
{
    const struct vf_wires *wires = owner;
    for (size_t i = 0; i < wires->n_hosts; i++) {
        if (strcmp(wires->hosts[i].name, name) == 0) {
            out->s_addr = htonl(FIRST_ADDRESS + (uint32_t)i);
            return true;
        }
    }
    return false;
}

void vf_wires_init(struct vf_wires *wires)
{
    memset(wires, 0, sizeof(*wires));
    wires->outside = (struct vf_outside){.owner = wires, .connect = connect_to, .lookup = look_up};
    vf_outside_replace(&wires->outside);
}

void vf_wires_deinit(struct vf_wires *wires)
{
    struct vf_wire_arrival arrival;
    while (vf_wires_arrival(wires, &arrival))
        vf_wires_close(wires, arrival.fd, false);
    while (wires->n_hanging > 0)
        vf_wires_close(wires, wires->hanging[--wires->n_hanging], false);
    vf_outside_replace(NULL);
}

int vf_wires_host(struct vf_wires *wires, const char *name, int port, enum vf_wire_mode mode)
{
    if (strlen(name) >= VF_WIRES_HOST_BYTES)
        return UV_ENAMETOOLONG;
    for (size_t i = 0; i < wires->n_hosts; i++) {
        if (wires->hosts[i].port == port && strcmp(wires->hosts[i].name, name) == 0) {
            wires->hosts[i].mode = mode;
            return 0;
        }
    }
    if (wires->n_hosts == VF_WIRES_HOSTS)
        return UV_ENOSPC;
    struct vf_wires_host *host = &wires->hosts[wires->n_hosts++];
    *host = (struct vf_wires_host){.port = port, .mode = mode};
    memcpy(host->name, name, strlen(name) + 1);
    return 0;
}

bool vf_wires_arrival(struct vf_wires *wires, struct vf_wire_arrival *out)
{
    if (wires->n_arrivals == 0)
        return false;
    *out = wires->arrivals[wires->first];
    wires->first = (wires->first + 1) % VF_WIRES_ARRIVALS;
    wires->n_arrivals--;
    return true;
}

ssize_t vf_wire_read(int fd, char *buffer, size_t room)
{
    ssize_t n = recv(fd, buffer, room, 0);
    return n < 0 ? uv_translate_sys_error(errno) : n;
}

ssize_t vf_wire_write(int fd, const char *data, size_t len)
{
    ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
    return n < 0 ? uv_translate_sys_error(errno) : n;
}

void vf_wire_finish(int fd)
{
    shutdown(fd, SHUT_WR);
}

/* A unix socket that is closed with something unread in it resets its peer, so the peer, which is
 * in this process, is made to have sent something. */
static void make_reset(const struct vf_wires_end *end)
{
    if (inode_of(end->other) == end->inode)
        send(end->other, "", 1, MSG_NOSIGNAL);
}

void vf_wires_close(struct vf_wires *wires, int fd, bool reset)
{
    char rest[SMALL_BUFFER];
    for (size_t i = 0; i < wires->n_ends; i++) {
        if (wires->ends[i].fd != fd)
            continue;
        if (reset)
            make_reset(&wires->ends[i]);
        wires->ends[i] = wires->ends[--wires->n_ends];
        break;
    }
    while (!reset && recv(fd, rest, sizeof(rest), 0) > 0)
        ;
    close(fd);
}
