#include "supervisor/listening.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "snapshot/address.h"

enum {
    BACKLOG = 4096,    /* the kernel lowers it to net.core.somaxconn */
    DEFER_SECONDS = 1, /* the least: one repeated answer to a silent client, then it is accepted */
    DIAG_BYTES = 8192,
    TCP_FLAGS_OFFSET = 13,
    TCP_SYN = 0x02,
    TCP_SYN_ACK = 0x12
};

void vf_listening_format(const struct vf_snap_address *address, char out[VF_LISTENING_TEXT_BYTES])
{
    char ip[INET6_ADDRSTRLEN];
    bool is_v6 = address->family == VF_FAMILY_IPV6;
    inet_ntop(is_v6 ? AF_INET6 : AF_INET, address->ip, ip, sizeof(ip));
    snprintf(out, VF_LISTENING_TEXT_BYTES, is_v6 ? "[%s]:%u" : "%s:%u", ip, address->port);
}

bool vf_listening_same(const struct vf_snap_address *a, const struct vf_snap_address *b)
{
    size_t ip_bytes = a->family == VF_FAMILY_IPV6 ? 16 : 4;
    return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, ip_bytes) == 0;
}

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value));
}

/* Returns a bound socket or -errno. */
static int open_bound(const struct vf_snap_address *address, int reuse_port)
{
    struct sockaddr_storage name;
    socklen_t name_bytes = vf_address_to_socket(address, &name);
    int fd = socket(name.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
        (reuse_port && set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0) ||
        (address->family == VF_FAMILY_IPV6 && set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) < 0) ||
        bind(fd, (struct sockaddr *)&name, name_bytes) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

int vf_listening_probe(const struct vf_snap_address *address)
{
    if (address->port == 0)
        return 0;
    int fd = open_bound(address, 0);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

static int bound_port(int fd, uint16_t *port)
{
    struct sockaddr_storage name;
    socklen_t name_bytes = sizeof(name);
    if (getsockname(fd, (struct sockaddr *)&name, &name_bytes) < 0)
        return -errno;
    *port = vf_address_from_socket(&name).port;
    return 0;
}

int vf_listening_open(const struct vf_snap_address *address, struct vf_snap_address *bound)
{
    uint16_t port = 0;
    int fd = open_bound(address, 1);
    if (fd < 0)
        return fd;
    /* accepted connections inherit it, which saves each a system call */
    int rc =
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0 || listen(fd, BACKLOG) < 0 ? -errno : 0;
    if (rc == 0)
        rc = bound_port(fd, &port);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    *bound = *address;
    bound->port = port;
    return fd;
}

int vf_listening_steer(int fd, const uint8_t *members, size_t n_members)
{
    struct sock_filter code[2 + 2 * VF_LISTENING_MEMBERS];
    unsigned short n = 0;
    assert(n_members > 0 && n_members <= VF_LISTENING_MEMBERS);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                             (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM));
    code[n++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, (uint32_t)n_members);
    for (size_t i = 0; i + 1 < n_members; i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)i, 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, members[i]);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, members[n_members - 1]);
    struct sock_fprog program = {.len = n, .filter = code};
    int rc = setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program));
    return rc < 0 ? -errno : 0;
}

int vf_listening_refuse(int fd, bool refuse)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, TCP_FLAGS_OFFSET),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TCP_SYN_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TCP_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    int unused = 0;
    int rc = refuse ? setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program))
                    : setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused));
    return rc < 0 ? -errno : 0;
}

int vf_listening_defer(int fd, bool defer)
{
    return set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, defer ? DEFER_SECONDS : 0) < 0 ? -errno
                                                                                        : 0;
}

/* Asks for the connections of a port that are not open yet. Returns a socket with the answer, or
 * -errno. */
static int ask_for_opening(const struct vf_snap_address *address)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 body;
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .body = {.sdiag_family = address->family == VF_FAMILY_IPV6 ? AF_INET6 : AF_INET,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = 1U << TCP_SYN_RECV,
                 .id.idiag_sport = htons(address->port)},
    };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return -errno;
    if (send(fd, &request, sizeof(request), 0) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

int vf_listening_is_awaited(const struct vf_snap_address *address)
{
    union {
        struct nlmsghdr header;
        char bytes[DIAG_BYTES];
    } answer;
    int fd = ask_for_opening(address);
    if (fd < 0)
        return fd;
    ssize_t n = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT); /* the first message says it all */
    int rc = n < 0 ? -errno : -EPROTO;
    close(fd);
    if (n < (ssize_t)sizeof(answer.header))
        return rc;
    if (answer.header.nlmsg_type == NLMSG_ERROR)
        return -EOPNOTSUPP;
    return answer.header.nlmsg_type != NLMSG_DONE;
}

const char *vf_listening_fault(int rc)
{
    switch (rc) {
    case -EADDRINUSE:
        return "is in use";
    case -EACCES:
    case -EPERM:
        return "needs privileges to bind (root or CAP_NET_BIND_SERVICE)";
    case -EADDRNOTAVAIL:
        return "is not an address of this machine";
    case -EAFNOSUPPORT:
        return "is of a family that this machine does not support";
    default:
        return strerror(-rc);
    }
}
