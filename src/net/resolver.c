#include "net/resolver.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "net/addresses.h"
#include "net/dns.h"

enum {
    NAME_BYTES = 253, /* RFC 1035 section 2.3.4, as text */
    FLOOR_MS = 1000,
    CEILING_MS = 300 * 1000,
    DEFAULT_MS = 5 * 1000,
    FIRST_RETRY_MS = 1000,
    LONGEST_RETRY_MS = 30 * 1000,
    AVOID_MS = 30 * 1000 /* an address that could not be connected to */
};

/* A name that somebody watches: it is asked for, its watchers are told, it rests until the TTL is
 * over. Answers are told from the timer, never from within c-ares, so that a watcher may do
 * anything, even free the resolver. */
struct host {
    struct host *next;
    struct vf_resolver *resolver;
    struct vf_name *names; /* its watches */
    uv_timer_t timer;
    struct vf_dns_lookup lookup;
    struct vf_addresses addresses;
    const char *error;       /* of the last lookup, or NULL */
    unsigned n_failures;     /* in a row */
    uint64_t ask_ms;         /* when to ask again, on the loop's clock */
    bool is_asking;          /* a lookup is under way: it refers to us */
    bool is_telling;         /* the timer is set to tell the watchers */
    bool has_reported;       /* an answer or a failure was told */
    bool is_closed, is_dead; /* the timer is closed; nobody watches any more */
    char name[NAME_BYTES + 1];
};

struct vf_name {
    struct vf_name *next; /* of the host */
    struct host *host;
    void (*on_change)(void *owner, struct vf_name *name);
    void *owner;
    size_t cursor; /* whose turn it is */
    uint16_t port;
    bool is_due; /* to be told */
};

struct vf_resolver {
    uv_loop_t *loop;
    struct vf_dns *dns;
    struct host *hosts;
    _Atomic uint64_t *failures;
    uint64_t floor_ms, ceiling_ms, default_ms;
    unsigned n_open; /* hosts and the dns, until they are closed */
    bool is_closing;
};

static void part_closed(struct vf_resolver *resolver)
{
    if (--resolver->n_open == 0)
        free(resolver);
}

static void on_dns_closed(void *owner)
{
    part_closed(owner);
}

static uint64_t or_default(uint32_t value, uint64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

int vf_resolver_new(uv_loop_t *loop, const struct vf_resolver_options *options,
                    struct vf_resolver **out)
{
    static const struct vf_resolver_options usual;
    struct vf_resolver *resolver = calloc(1, sizeof(*resolver));
    if (resolver == NULL)
        return UV_ENOMEM;
    if (options == NULL)
        options = &usual;
    const char *servers = options->servers != NULL ? options->servers : getenv("VF_DNS_SERVERS");
    int rc = vf_dns_new(loop, servers, on_dns_closed, resolver, &resolver->dns);
    if (rc < 0) {
        free(resolver);
        return rc;
    }
    resolver->loop = loop;
    resolver->failures = options->failures;
    resolver->floor_ms = or_default(options->floor_ms, FLOOR_MS);
    resolver->ceiling_ms = or_default(options->ceiling_ms, CEILING_MS);
    resolver->default_ms = or_default(options->default_ms, DEFAULT_MS);
    resolver->n_open = 1;
    *out = resolver;
    return 0;
}

/* Frees a dead host once neither the loop nor c-ares refers to it. */
static void free_if_unused(struct host *host)
{
    if (!host->is_closed || host->is_asking)
        return;
    struct vf_resolver *resolver = host->resolver;
    vf_addresses_deinit(&host->addresses);
    free(host);
    part_closed(resolver);
}

static void on_host_closed(uv_handle_t *handle)
{
    struct host *host = handle->data;
    host->is_closed = true;
    free_if_unused(host);
}

static void bury(struct host *host)
{
    struct host **link = &host->resolver->hosts;
    while (*link != host)
        link = &(*link)->next;
    *link = host->next;
    host->is_dead = true;
    uv_close((uv_handle_t *)&host->timer, on_host_closed);
}

void vf_resolver_free(struct vf_resolver *resolver)
{
    if (resolver == NULL)
        return;
    resolver->is_closing = true;
    while (resolver->hosts != NULL) {
        struct host *host = resolver->hosts;
        while (host->names != NULL) {
            struct vf_name *name = host->names;
            host->names = name->next;
            free(name);
        }
        bury(host);
    }
    vf_dns_free(resolver->dns);
}

static uint64_t bounded(uint64_t value, uint64_t low, uint64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static void on_timer(uv_timer_t *timer);

/* Sets the timer to what comes next. */
static void schedule(struct host *host)
{
    uint64_t now_ms = uv_now(host->resolver->loop);
    if (host->is_telling)
        uv_timer_start(&host->timer, on_timer, 0, 0);
    else if (!host->is_asking)
        uv_timer_start(&host->timer, on_timer, host->ask_ms > now_ms ? host->ask_ms - now_ms : 0,
                       0);
}

/* Has all watchers told, soon. */
static void tell(struct host *host)
{
    host->has_reported = host->is_telling = true;
    for (struct vf_name *name = host->names; name != NULL; name = name->next)
        name->is_due = true;
}

static void succeed(struct host *host, const union vf_dns_address *addresses, size_t n,
                    uint32_t ttl_s)
{
    const struct vf_resolver *resolver = host->resolver;
    uint64_t ttl_ms = ttl_s > 0 ? (uint64_t)ttl_s * 1000 : resolver->default_ms;
    host->ask_ms =
        uv_now(resolver->loop) + bounded(ttl_ms, resolver->floor_ms, resolver->ceiling_ms);
    host->n_failures = 0;
    host->error = NULL;
    if (vf_addresses_set(&host->addresses, addresses, n) == 1)
        tell(host);
}

static void fail(struct host *host, int status)
{
    struct vf_resolver *resolver = host->resolver;
    if (resolver->failures != NULL)
        atomic_fetch_add_explicit(resolver->failures, 1, memory_order_relaxed);
    uint64_t retry_ms = (uint64_t)FIRST_RETRY_MS << (host->n_failures < 16 ? host->n_failures : 16);
    host->ask_ms = uv_now(resolver->loop) + bounded(retry_ms, FIRST_RETRY_MS, LONGEST_RETRY_MS);
    host->n_failures++;
    host->error = vf_dns_error(status);
    if (!host->has_reported)
        tell(host);
}

static void on_done(struct vf_dns_lookup *lookup, int status, const union vf_dns_address *addresses,
                    size_t n_addresses, uint32_t ttl_s)
{
    struct host *host = (struct host *)(void *)((char *)lookup - offsetof(struct host, lookup));
    host->is_asking = false;
    if (host->is_dead) {
        free_if_unused(host);
        return;
    }
    if (status == 0)
        succeed(host, addresses, n_addresses, ttl_s);
    else
        fail(host, status);
    schedule(host);
}

static struct vf_name *next_due(const struct host *host)
{
    struct vf_name *name = host->names;
    while (name != NULL && !name->is_due)
        name = name->next;
    return name;
}

/* A watcher may end any watch, this host's too: after each, the list is looked at anew. */
static void notify(struct host *host)
{
    struct vf_name *name;
    host->is_telling = false;
    while (!host->is_dead && (name = next_due(host)) != NULL) {
        name->is_due = false;
        if (name->on_change != NULL)
            name->on_change(name->owner, name);
    }
    if (!host->is_dead)
        schedule(host);
}

static void on_timer(uv_timer_t *timer)
{
    struct host *host = timer->data;
    if (host->is_telling) {
        notify(host);
        return;
    }
    host->is_asking = true;
    host->lookup.on_done = on_done;
    vf_dns_lookup(host->resolver->dns, host->name, &host->lookup);
}

static struct host *find_host(const struct vf_resolver *resolver, const char *name)
{
    struct host *host = resolver->hosts;
    while (host != NULL && strcmp(host->name, name) != 0)
        host = host->next;
    return host;
}

static struct host *add_host(struct vf_resolver *resolver, const char *name)
{
    struct host *host = calloc(1, sizeof(*host));
    if (host == NULL)
        return NULL;
    memcpy(host->name, name, strlen(name) + 1);
    host->resolver = resolver;
    host->next = resolver->hosts;
    resolver->hosts = host;
    resolver->n_open++;
    uv_timer_init(resolver->loop, &host->timer);
    host->timer.data = host;
    uv_timer_start(&host->timer, on_timer, 0, 0);
    return host;
}

/* A watcher that comes to a host that is known already is told soon, as a new host's would be. */
static void add_name(struct host *host, struct vf_name *name)
{
    name->host = host;
    name->next = host->names;
    host->names = name;
    if (!host->has_reported)
        return;
    name->is_due = host->is_telling = true;
    schedule(host);
}

int vf_resolver_watch(struct vf_resolver *resolver, struct vf_str host, uint16_t port,
                      void (*on_change)(void *owner, struct vf_name *name), void *owner,
                      struct vf_name **out)
{
    char text[NAME_BYTES + 1];
    if (host.len == 0 || host.len > NAME_BYTES || memchr(host.data, '\0', host.len) != NULL)
        return UV_EINVAL;
    for (size_t i = 0; i < host.len; i++)
        text[i] = vf_lower(host.data[i]);
    text[host.len] = '\0';
    struct vf_name *name = calloc(1, sizeof(*name));
    if (name == NULL)
        return UV_ENOMEM;
    struct host *found = find_host(resolver, text);
    if (found == NULL && (found = add_host(resolver, text)) == NULL) {
        free(name);
        return UV_ENOMEM;
    }
    name->port = port;
    name->on_change = on_change;
    name->owner = owner;
    add_name(found, name);
    *out = name;
    return 0;
}

void vf_resolver_unwatch(struct vf_name *name)
{
    if (name == NULL)
        return;
    struct host *host = name->host;
    struct vf_name **link = &host->names;
    while (*link != name)
        link = &(*link)->next;
    *link = name->next;
    free(name);
    if (host->names == NULL)
        bury(host);
}

size_t vf_name_count(const struct vf_name *name)
{
    return name->host->addresses.n;
}

const char *vf_name_error(const struct vf_name *name)
{
    return name->host->error;
}

socklen_t vf_name_address(const struct vf_name *name, size_t index, struct sockaddr_storage *out)
{
    return vf_addresses_get(&name->host->addresses, index, name->port, out);
}

static uint64_t now_ms(const struct vf_name *name)
{
    return uv_now(name->host->resolver->loop);
}

int vf_name_take(struct vf_name *name, struct sockaddr_storage *out, socklen_t *len)
{
    const struct vf_addresses *addresses = &name->host->addresses;
    if (addresses->n == 0)
        return VF_ENOADDRESS;
    size_t index = vf_addresses_take(addresses, &name->cursor, now_ms(name));
    *len = vf_addresses_get(addresses, index, name->port, out);
    return 0;
}

bool vf_name_has(const struct vf_name *name, uint32_t tag)
{
    return vf_addresses_have(&name->host->addresses, tag);
}

void vf_name_failed(struct vf_name *name, uint32_t tag)
{
    vf_addresses_avoid(&name->host->addresses, tag, now_ms(name) + AVOID_MS);
}

bool vf_name_has_other(const struct vf_name *name)
{
    return vf_addresses_has_good(&name->host->addresses, now_ms(name));
}
