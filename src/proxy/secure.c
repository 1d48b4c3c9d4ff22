#include "proxy/secure.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/hash.h"
#include "proxy/core.h"
#include "snapshot/tickets.h"
#include "snapshot/walk.h"
#include "tls/identity.h"

struct vf_secure {
    struct vf_proxy *proxy;
    struct vf_tls_records *records;
    struct vf_tls_variants *variants;
};

int vf_secure_new(struct vf_proxy *proxy, struct vf_secure **out)
{
    struct vf_secure *secure = calloc(1, sizeof(*secure));
    if (secure == NULL)
        return UV_ENOMEM;
    secure->proxy = proxy;
    int rc = vf_tls_records_new(&proxy->net, &secure->records);
    if (rc == 0)
        rc = vf_tls_variants_new(secure->records, &secure->variants);
    if (rc < 0) {
        vf_secure_free(secure);
        return rc;
    }
    *out = secure;
    return 0;
}

void vf_secure_free(struct vf_secure *secure)
{
    if (secure == NULL)
        return;
    vf_tls_variants_free(secure->variants);
    vf_tls_records_free(secure->records);
    free(secure);
}

void vf_secure_sweep(struct vf_secure *secure)
{
    vf_tls_records_sweep(secure->records, secure->proxy->snapshot);
}

struct vf_tls_records *vf_secure_records(struct vf_secure *secure)
{
    return secure->records;
}

/* Names */

static const struct vf_snap_tls *find_tls(const struct vf_snapshot *snapshot, uint64_t id)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_TLS);
    for (uint32_t i = 0; i < n; i++)
        if (vf_snap_tls(snapshot, i)->id == id)
            return vf_snap_tls(snapshot, i);
    return NULL;
}

static int compare(struct vf_str a, struct vf_str b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static const struct vf_snap_server_name *find_name(const struct vf_snapshot *snapshot,
                                                   struct vf_snap_list names, struct vf_str name)
{
    const struct vf_snap_server_name *all = vf_snap_section(snapshot, VF_SNAP_SERVER_NAMES);
    uint32_t low = names.first, high = names.first + names.count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(vf_snap_str(snapshot, all[middle].name), name);
        if (order == 0)
            return &all[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The exact name, then "*." for its first label, then what is for all. */
static struct vf_snap_list find_identities(const struct vf_snapshot *snapshot,
                                           const struct vf_snap_tls *tls, struct vf_str name)
{
    char wildcard[256];
    const struct vf_snap_server_name *found =
        name.len > 0 ? find_name(snapshot, tls->names, name) : NULL;
    const char *dot = name.len > 0 ? memchr(name.data, '.', name.len) : NULL;
    if (found == NULL && dot != NULL) {
        size_t len = name.len - (size_t)(dot - name.data);
        wildcard[0] = '*';
        memcpy(wildcard + 1, dot, len); /* a name is shorter than 256 bytes */
        found = find_name(snapshot, tls->names, vf_str_make(wildcard, len + 1));
    }
    return found != NULL ? found->identities : tls->defaults;
}

static int choose(void *owner, uint64_t context, struct vf_str name, struct vf_tls_identity **out,
                  int room)
{
    struct vf_secure *secure = owner;
    const struct vf_snapshot *snapshot = secure->proxy->snapshot;
    const struct vf_snap_tls *tls = find_tls(snapshot, context);
    int n = 0;
    if (tls == NULL) /* its listener has just gone */
        return 0;
    const uint32_t *indexes = vf_snap_section(snapshot, VF_SNAP_NAME_IDENTITIES);
    struct vf_snap_list list = find_identities(snapshot, tls, name);
    for (uint32_t i = 0; i < list.count && n < room; i++) {
        const struct vf_snap_identity *record = vf_snap_identity(snapshot, indexes[list.first + i]);
        struct vf_tls_identity *identity =
            vf_tls_records_identity(secure->records, snapshot, record);
        if (identity != NULL)
            out[n++] = vf_tls_identity_retain(identity);
    }
    return n;
}

static bool asks(void *owner, struct vf_str name)
{
    const struct vf_secure *secure = owner;
    return vf_walk_asks_clients(secure->proxy->snapshot, name);
}

/* Servers */

static void read_ticket_keys(void *owner, struct vf_tls_ticket_keys *out)
{
    const struct vf_secure *secure = owner;
    vf_tickets_read(secure->proxy->state, out);
}

static void read_alpn(struct vf_str text, struct vf_tls_server_options *options)
{
    while (text.len > 0 && options->n_alpn < VF_TLS_ALPN) {
        const char *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data);
        if (len > 0 && len < VF_TLS_ALPN_BYTES)
            memcpy(options->alpn[options->n_alpn++], text.data, len);
        size_t used = end == NULL ? len : len + 1;
        text = vf_str_make(text.data + used, text.len - used);
    }
}

static uint64_t hash_of(const struct vf_tls_server_options *options)
{
    struct vf_tls_server_options plain = *options;
    plain.owner = NULL;
    plain.choose = NULL;
    plain.asks = NULL;
    plain.ticket_keys = NULL;
    return vf_hash(&plain, sizeof(plain), options->asks != NULL) | 1;
}

static int make_server(struct vf_secure *secure, const struct vf_tls_server_options *options,
                       const struct vf_snap_trust *record, struct vf_tls_server **out)
{
    const struct vf_snapshot *snapshot = secure->proxy->snapshot;
    struct vf_tls_trust *trust = NULL;
    int rc = record == NULL ? 0
                            : vf_tls_trust_new(vf_snap_str(snapshot, record->authorities),
                                               vf_snap_str(snapshot, record->revocations), &trust);
    if (rc == 0)
        rc = vf_tls_server_new(vf_tls_records_tls(secure->records), options, trust, out);
    vf_tls_trust_release(&trust);
    return rc;
}

static struct vf_tls_server_options options_of(struct vf_secure *secure,
                                               const struct vf_snap_tls *tls,
                                               const struct vf_snap_trust *trust)
{
    struct vf_tls_server_options options;
    memset(&options, 0, sizeof(options)); /* hashed, with its padding */
    options.min_version = tls->min_version;
    options.client_auth = tls->client_auth;
    options.depth = tls->depth;
    options.tickets = tls->flags & VF_TLS_TICKETS;
    options.context = tls->id;
    options.trust_id = trust == NULL ? 0 : trust->id;
    options.owner = secure;
    options.choose = choose;
    options.ticket_keys = read_ticket_keys;
    read_alpn(vf_snap_str(secure->proxy->snapshot, tls->alpn), &options);
    return options;
}

int vf_secure_follow(struct vf_proxy *proxy, struct vf_acceptor *acceptor)
{
    const struct vf_snap_listener *listener = acceptor->listener;
    struct vf_tls_server *server;
    int rc;
    if (listener->tls == VF_SNAP_NONE || proxy->has_handler) {
        vf_tls_server_release(&acceptor->tls);
        acceptor->tls_hash = 0;
        return 0;
    }
    if (proxy->secure == NULL && (rc = vf_secure_new(proxy, &proxy->secure)) < 0)
        return rc;
    const struct vf_snap_tls *tls = vf_snap_tls(proxy->snapshot, listener->tls);
    const struct vf_snap_trust *trust =
        tls->trust == VF_SNAP_NONE ? NULL : vf_snap_trust(proxy->snapshot, tls->trust);
    struct vf_tls_server_options options = options_of(proxy->secure, tls, trust);
    if (listener->mode == VF_LISTENER_HTTP)
        options.asks = asks;
    uint64_t hash = hash_of(&options);
    acceptor->handshake_ms = tls->handshake_ms;
    acceptor->handshake_rate = tls->handshake_rate;
    acceptor->handshake_burst = tls->handshake_burst;
    if (hash == acceptor->tls_hash)
        return 0;
    if ((rc = make_server(proxy->secure, &options, trust, &server)) < 0)
        return rc;
    vf_tls_server_release(&acceptor->tls);
    acceptor->tls = server;
    acceptor->tls_hash = hash;
    return 0;
}

/* Backends */

int vf_secure_connect(struct vf_proxy *proxy, const struct vf_snapshot *snapshot,
                      const struct vf_snap_upstream_tls *tls, enum vf_tls_ask ask,
                      struct vf_str host, struct vf_stream *stream)
{
    int rc = 0;
    if (proxy->secure == NULL && (rc = vf_secure_new(proxy, &proxy->secure)) < 0)
        return rc;
    return vf_tls_records_connect(proxy->secure->records, snapshot, tls, ask, host, stream);
}

int vf_secure_connect_plugin(struct vf_proxy *proxy, bool verify, struct vf_str name,
                             struct vf_stream *stream)
{
    const struct vf_snapshot *snapshot = proxy->snapshot;
    uint32_t tls = snapshot == NULL ? VF_SNAP_NONE : vf_snap_settings(snapshot)->plugin_tls[verify];
    if (tls == VF_SNAP_NONE)
        return UV_ENOENT;
    return vf_secure_connect(proxy, snapshot, vf_snap_upstream_tls(snapshot, tls),
                             VF_TLS_ASK_NOTHING, name, stream);
}

int vf_secure_find_variant(struct vf_proxy *proxy, const struct vf_snapshot *snapshot,
                           const struct vf_snap_upstream_tls *tls, const struct vf_tls_parts *parts,
                           struct vf_tls_variant **out)
{
    int rc = 0;
    if (proxy->secure == NULL && (rc = vf_secure_new(proxy, &proxy->secure)) < 0)
        return rc;
    return vf_tls_variants_find(proxy->secure->variants, snapshot, tls, parts, out);
}

int vf_secure_connect_variant(struct vf_proxy *proxy, struct vf_tls_variant *variant,
                              const struct vf_snapshot *snapshot,
                              const struct vf_snap_upstream_tls *tls, enum vf_tls_ask ask,
                              struct vf_str host, struct vf_stream *stream)
{
    return vf_tls_variant_connect(proxy->secure->variants, variant, snapshot, tls, ask, host,
                                  stream);
}
