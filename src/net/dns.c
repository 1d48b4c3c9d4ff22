#include "net/dns.h"

#include <ares.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/outside.h"

enum { TIMEOUT_MS = 2000 /* of the first try; c-ares doubles it */, TRIES = 3 };

static const char RESOLV_CONF[] = "/etc/resolv.conf";

/* A socket of c-ares that libuv watches. */
struct dns_socket {
    struct dns_socket *next;
    struct vf_dns *dns;
    uv_poll_t poll;
    int fd;
};

struct vf_dns {
    uv_loop_t *loop;
    ares_channel channel;      /* NULL while closed */
    char *servers;             /* NULL: the system's */
    struct timespec conf_time; /* of resolv.conf when the channel was opened */
    struct dns_socket *sockets;
    uv_timer_t timer; /* for c-ares' time-outs */
    unsigned n_lookups;
    unsigned n_handles; /* not closed yet */
    bool is_closing;
    void (*on_closed)(void *owner);
    void *owner;
};

static void handle_closed(struct vf_dns *dns)
{
    if (--dns->n_handles > 0)
        return;
    void (*on_closed)(void *owner) = dns->on_closed;
    void *owner = dns->owner;
    free(dns->servers);
    free(dns);
    on_closed(owner);
}

static void on_timer_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct dns_socket *sock = handle->data;
    struct vf_dns *dns = sock->dns;
    free(sock);
    handle_closed(dns);
}

static void on_time_out(uv_timer_t *timer);

/* Sets the timer to when c-ares wants to be called. */
static void arm(struct vf_dns *dns)
{
    struct timeval room, *wait;
    if (dns->channel == NULL || dns->is_closing)
        return;
    wait = ares_timeout(dns->channel, NULL, &room);
    if (wait == NULL)
        uv_timer_stop(&dns->timer);
    else
        uv_timer_start(&dns->timer, on_time_out,
                       (uint64_t)wait->tv_sec * 1000 + (uint64_t)wait->tv_usec / 1000 + 1, 0);
}

static void on_time_out(uv_timer_t *timer)
{
    struct vf_dns *dns = timer->data;
    ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm(dns);
}

static void on_socket_ready(uv_poll_t *poll, int status, int events)
{
    struct dns_socket *sock = poll->data;
    struct vf_dns *dns = sock->dns;
    if (status < 0) /* let c-ares find out what is wrong */
        events = UV_READABLE | UV_WRITABLE;
    ares_process_fd(dns->channel, events & UV_READABLE ? sock->fd : ARES_SOCKET_BAD,
                    events & UV_WRITABLE ? sock->fd : ARES_SOCKET_BAD);
    arm(dns);
}

static struct dns_socket *watch_socket(struct vf_dns *dns, int fd)
{
    struct dns_socket *sock = calloc(1, sizeof(*sock));
    if (sock == NULL)
        return NULL;
    if (uv_poll_init(dns->loop, &sock->poll, fd) < 0) {
        free(sock);
        return NULL;
    }
    sock->dns = dns;
    sock->fd = fd;
    sock->poll.data = sock;
    sock->next = dns->sockets;
    dns->sockets = sock;
    dns->n_handles++;
    return sock;
}

static void unwatch_socket(struct dns_socket **link)
{
    struct dns_socket *sock = *link;
    *link = sock->next;
    uv_close((uv_handle_t *)&sock->poll, on_socket_closed);
}

/* c-ares opened a socket, waits for something else on it, or (neither) is about to close it. */
static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
    struct vf_dns *dns = data;
    struct dns_socket **link = &dns->sockets, *sock;
    while (*link != NULL && (*link)->fd != fd)
        link = &(*link)->next;
    sock = *link;
    if (!readable && !writable) {
        if (sock != NULL)
            unwatch_socket(link);
        return;
    }
    if (sock == NULL && (sock = watch_socket(dns, fd)) == NULL)
        return; /* out of memory: the lookup times out */
    uv_poll_start(&sock->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0),
                  on_socket_ready);
}

static struct timespec conf_time(void)
{
    struct stat info;
    return stat(RESOLV_CONF, &info) == 0 ? info.st_mtim : (struct timespec){0, 0};
}

static int open_channel(struct vf_dns *dns)
{
    struct ares_options options = {
        .timeout = TIMEOUT_MS,
        .tries = TRIES,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = dns,
        .lookups = (char *)"fb", /* the hosts file, then DNS */
    };
    dns->conf_time = conf_time();
    int status = ares_init_options(&dns->channel, &options,
                                   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB |
                                       ARES_OPT_LOOKUPS);
    if (status == ARES_SUCCESS && dns->servers != NULL &&
        (status = ares_set_servers_ports_csv(dns->channel, dns->servers)) != ARES_SUCCESS)
        ares_destroy(dns->channel);
    if (status == ARES_SUCCESS)
        return 0;
    dns->channel = NULL;
    return status == ARES_ENOMEM ? UV_ENOMEM : UV_EINVAL;
}

int vf_dns_new(uv_loop_t *loop, const char *servers, void (*on_closed)(void *owner), void *owner,
               struct vf_dns **out)
{
    struct vf_dns *dns = calloc(1, sizeof(*dns));
    int rc = UV_ENOMEM;
    if (dns == NULL)
        return UV_ENOMEM;
    dns->loop = loop;
    dns->on_closed = on_closed;
    dns->owner = owner;
    if (servers != NULL && (dns->servers = strdup(servers)) == NULL)
        goto fail;
    if ((rc = open_channel(dns)) < 0)
        goto fail;
    uv_timer_init(loop, &dns->timer);
    dns->timer.data = dns;
    dns->n_handles = 1;
    *out = dns;
    return 0;

fail:
    free(dns->servers);
    free(dns);
    return rc;
}

void vf_dns_free(struct vf_dns *dns)
{
    dns->is_closing = true;
    if (dns->channel != NULL)
        ares_destroy(dns->channel); /* ends lookups and, through on_socket_state, sockets */
    dns->channel = NULL;
    while (dns->sockets != NULL)
        unwatch_socket(&dns->sockets);
    uv_close((uv_handle_t *)&dns->timer, on_timer_closed);
}

static bool to_address(const struct ares_addrinfo_node *node, union vf_dns_address *out)
{
    memset(out, 0, sizeof(*out));
    if (node->ai_family == AF_INET) {
        out->ipv4.sin_family = AF_INET;
        out->ipv4.sin_addr = ((const struct sockaddr_in *)(const void *)node->ai_addr)->sin_addr;
    } else if (node->ai_family == AF_INET6) {
        const struct sockaddr_in6 *from = (const void *)node->ai_addr;
        out->ipv6.sin6_family = AF_INET6;
        out->ipv6.sin6_addr = from->sin6_addr;
        out->ipv6.sin6_scope_id = from->sin6_scope_id;
    } else {
        return false;
    }
    return true;
}

static int compare_addresses(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(union vf_dns_address));
}

/* Copies the addresses of an answer, sorted and each once. */
static size_t collect(const struct ares_addrinfo *answer, union vf_dns_address *out)
{
    size_t n = 0, kept = 0;
    for (const struct ares_addrinfo_node *node = answer->nodes; node != NULL; node = node->ai_next)
        if (n < VF_DNS_ADDRESSES && to_address(node, &out[n]))
            n++;
    qsort(out, n, sizeof(*out), compare_addresses);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || compare_addresses(&out[i], &out[kept - 1]) != 0)
            out[kept++] = out[i];
    return kept;
}

static uint32_t smallest_ttl(const struct ares_addrinfo *answer)
{
    int ttl_s = answer->nodes != NULL ? answer->nodes->ai_ttl : 0;
    for (const struct ares_addrinfo_node *node = answer->nodes; node != NULL; node = node->ai_next)
        if (node->ai_ttl < ttl_s)
            ttl_s = node->ai_ttl;
    for (const struct ares_addrinfo_cname *name = answer->cnames; name != NULL; name = name->next)
        if (name->ttl < ttl_s)
            ttl_s = name->ttl;
    return ttl_s > 0 ? (uint32_t)ttl_s : 0;
}

/* Whether an address has a route from here. Connecting a datagram socket sends nothing. */
static bool is_routable(const union vf_dns_address *address)
{
    union vf_dns_address peer = *address;
    bool is_ipv4 = peer.plain.sa_family == AF_INET;
    int fd = socket(peer.plain.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    if (is_ipv4)
        peer.ipv4.sin_port = htons(9);
    else
        peer.ipv6.sin6_port = htons(9);
    int rc = connect(fd, &peer.plain, is_ipv4 ? sizeof(peer.ipv4) : sizeof(peer.ipv6));
    close(fd);
    return rc == 0;
}

/* Leaves out what has no route. Only an answer of both families is looked at: when all is of one,
 * connecting says better what is wrong. */
static size_t keep_routable(union vf_dns_address *addresses, size_t n)
{
    size_t kept = 0;
    if (n == 0 || addresses[0].plain.sa_family == addresses[n - 1].plain.sa_family)
        return n;
    union vf_dns_address routable[VF_DNS_ADDRESSES];
    for (size_t i = 0; i < n; i++)
        if (is_routable(&addresses[i]))
            routable[kept++] = addresses[i];
    if (kept == 0)
        return n;
    memcpy(addresses, routable, kept * sizeof(*addresses));
    return kept;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *answer)
{
    struct vf_dns_lookup *lookup = arg;
    union vf_dns_address addresses[VF_DNS_ADDRESSES];
    size_t n_addresses = 0;
    uint32_t ttl_s = 0;
    (void)timeouts;
    lookup->dns->n_lookups--;
    if (status == ARES_SUCCESS) {
        n_addresses = keep_routable(addresses, collect(answer, addresses));
        ttl_s = smallest_ttl(answer);
        if (n_addresses == 0)
            status = ARES_ENODATA;
    }
    if (answer != NULL)
        ares_freeaddrinfo(answer);
    lookup->on_done(lookup, status, addresses, n_addresses, ttl_s);
}

/* Opens the channel anew when resolv.conf changed and nothing is under way, or it is closed. */
static void refresh_channel(struct vf_dns *dns)
{
    struct timespec now = conf_time();
    bool changed = now.tv_sec != dns->conf_time.tv_sec || now.tv_nsec != dns->conf_time.tv_nsec;
    if (dns->channel != NULL && (!changed || dns->n_lookups > 0))
        return;
    if (dns->channel != NULL)
        ares_destroy(dns->channel);
    open_channel(dns);
}

static void answer_from(const struct vf_outside *outside, const char *name,
                        struct vf_dns_lookup *lookup)
{
    union vf_dns_address address = {.plain.sa_family = AF_INET};
    if (outside->lookup(outside->owner, name, &address.ipv4.sin_addr))
        lookup->on_done(lookup, 0, &address, 1, 0);
    else
        lookup->on_done(lookup, ARES_ENOTFOUND, NULL, 0, 0);
}

void vf_dns_lookup(struct vf_dns *dns, const char *name, struct vf_dns_lookup *lookup)
{
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_flags = ARES_AI_NOSORT};
    if (vf_outside_replaced() != NULL) {
        answer_from(vf_outside_replaced(), name, lookup);
        return;
    }
    refresh_channel(dns);
    lookup->dns = dns;
    if (dns->channel == NULL) {
        lookup->on_done(lookup, ARES_EFILE, NULL, 0, 0);
        return;
    }
    dns->n_lookups++;
    ares_getaddrinfo(dns->channel, name, NULL, &hints, on_answer, lookup);
    arm(dns);
}

const char *vf_dns_error(int status)
{
    return ares_strerror(status);
}
