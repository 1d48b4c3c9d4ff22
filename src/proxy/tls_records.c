#include "proxy/tls_records.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/log.h"
#include "snapshot/snapshot.h"
#include "tls/identity.h"
#include "tls/transport.h"

enum { BUCKETS = 1024 };

/* What was made of a record of a snapshot: an identity, a client, or authorities. */
struct kept {
    uint64_t id;
    uint32_t seen; /* the sweep that saw it last */
    struct vf_tls_identity *identity;
    struct vf_tls_client *client;
    struct vf_tls_trust *trust;
    struct kept *next;
};

struct vf_tls_records {
    struct vf_tls *tls;
    uint32_t sweep;
    struct kept *buckets[BUCKETS];
};

int vf_tls_records_new(struct vf_net *net, struct vf_tls_records **out)
{
    struct vf_tls_records *records = calloc(1, sizeof(*records));
    if (records == NULL)
        return UV_ENOMEM;
    int rc = vf_tls_new(net, &records->tls);
    if (rc < 0) {
        free(records);
        return rc;
    }
    *out = records;
    return 0;
}

struct vf_tls *vf_tls_records_tls(struct vf_tls_records *records)
{
    return records->tls;
}

static void free_kept(struct kept *kept)
{
    vf_tls_identity_release(&kept->identity);
    vf_tls_client_release(&kept->client);
    vf_tls_trust_release(&kept->trust);
    free(kept);
}

void vf_tls_records_free(struct vf_tls_records *records)
{
    if (records == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (records->buckets[i] != NULL) {
            struct kept *kept = records->buckets[i];
            records->buckets[i] = kept->next;
            free_kept(kept);
        }
    vf_tls_free(records->tls);
    free(records);
}

/* Identities */

static struct kept *find_kept(struct vf_tls_records *records, uint64_t id)
{
    struct kept *kept = records->buckets[id % BUCKETS];
    while (kept != NULL && kept->id != id)
        kept = kept->next;
    return kept;
}

static struct kept *add_kept(struct vf_tls_records *records, uint64_t id)
{
    struct kept *kept = calloc(1, sizeof(*kept));
    if (kept == NULL)
        return NULL;
    kept->id = id;
    kept->seen = records->sweep;
    kept->next = records->buckets[id % BUCKETS];
    records->buckets[id % BUCKETS] = kept;
    return kept;
}

struct vf_tls_identity *vf_tls_records_identity(struct vf_tls_records *records,
                                                const struct vf_snapshot *snapshot,
                                                const struct vf_snap_identity *record)
{
    struct kept *kept = find_kept(records, record->id);
    if (kept == NULL && (kept = add_kept(records, record->id)) == NULL)
        return NULL;
    if (kept->identity != NULL)
        return kept->identity;
    int rc = vf_tls_identity_new(vf_snap_str(snapshot, record->chain),
                                 vf_snap_str(snapshot, record->key), &kept->identity);
    if (rc < 0) { /* control has read the same, so it is memory */
        struct vf_str name = vf_snap_str(snapshot, record->name);
        vf_log_error(NULL, "tls.certificate_unusable", "certificate=%.*s err=%s", (int)name.len,
                     name.data, uv_err_name(rc));
        return NULL;
    }
    return kept->identity;
}

const struct vf_tls_trust *vf_tls_records_trust(struct vf_tls_records *records,
                                                const struct vf_snapshot *snapshot,
                                                const struct vf_snap_trust *record)
{
    struct kept *kept = find_kept(records, record->id);
    if (kept == NULL && (kept = add_kept(records, record->id)) == NULL)
        return NULL;
    if (kept->trust == NULL) /* what fails is memory, since control has read the same */
        vf_tls_trust_new(vf_snap_str(snapshot, record->authorities),
                         vf_snap_str(snapshot, record->revocations), &kept->trust);
    return kept->trust;
}

/* A record makes one client for each way to ask for a protocol. */
static uint64_t client_id(const struct vf_snap_upstream_tls *tls, enum vf_tls_ask ask)
{
    return tls->id + (uint64_t)ask;
}

static void mark(struct vf_tls_records *records, uint64_t id)
{
    struct kept *kept = find_kept(records, id);
    if (kept != NULL)
        kept->seen = records->sweep;
}

void vf_tls_records_sweep(struct vf_tls_records *records, const struct vf_snapshot *snapshot)
{
    uint32_t n_identities = vf_snap_count(snapshot, VF_SNAP_IDENTITIES);
    uint32_t n_clients = vf_snap_count(snapshot, VF_SNAP_UPSTREAM_TLS);
    uint32_t n_trusts = vf_snap_count(snapshot, VF_SNAP_TRUSTS);
    records->sweep++;
    for (uint32_t i = 0; i < n_identities; i++)
        mark(records, vf_snap_identity(snapshot, i)->id);
    for (uint32_t i = 0; i < n_trusts; i++)
        mark(records, vf_snap_trust(snapshot, i)->id);
    for (uint32_t i = 0; i < n_clients; i++)
        for (enum vf_tls_ask ask = VF_TLS_ASK_NOTHING; ask <= VF_TLS_ASK_ANY; ask++)
            mark(records, client_id(vf_snap_upstream_tls(snapshot, i), ask));
    for (size_t i = 0; i < BUCKETS; i++) {
        struct kept **at = &records->buckets[i];
        while (*at != NULL) {
            struct kept *kept = *at;
            if (kept->seen == records->sweep) {
                at = &kept->next;
                continue;
            }
            *at = kept->next;
            free_kept(kept);
        }
    }
}

/* Backends */

int vf_tls_records_make_client(struct vf_tls_records *records, const struct vf_snapshot *snapshot,
                               const struct vf_snap_upstream_tls *tls, enum vf_tls_ask ask,
                               struct vf_tls_trust *own_trust, struct vf_tls_identity *identity,
                               struct vf_tls_client **out)
{
    struct vf_tls_client_options options = {.min_version = tls->min_version,
                                            .verify = tls->verify,
                                            .depth = tls->depth,
                                            .pins = vf_snap_str(snapshot, tls->pins)};
    struct vf_tls_trust *trust = own_trust == NULL ? NULL : vf_tls_trust_retain(own_trust);
    int rc = 0;
    if (ask != VF_TLS_ASK_NOTHING)
        strcpy(options.alpn[options.n_alpn++], "h2");
    if (ask == VF_TLS_ASK_ANY)
        strcpy(options.alpn[options.n_alpn++], "http/1.1");
    if (identity == NULL && tls->identity != VF_SNAP_NONE) {
        const struct vf_snap_identity *record = vf_snap_identity(snapshot, tls->identity);
        if ((identity = vf_tls_records_identity(records, snapshot, record)) == NULL)
            rc = UV_ENOMEM;
    }
    if (rc == 0 && trust == NULL && tls->trust != VF_SNAP_NONE) {
        const struct vf_snap_trust *record = vf_snap_trust(snapshot, tls->trust);
        rc = vf_tls_trust_new(vf_snap_str(snapshot, record->authorities),
                              vf_snap_str(snapshot, record->revocations), &trust);
    }
    if (rc == 0)
        rc = vf_tls_client_new(records->tls, &options, trust, identity, out);
    vf_tls_trust_release(&trust);
    return rc;
}

int vf_tls_records_begin(const struct vf_snapshot *snapshot, const struct vf_snap_upstream_tls *tls,
                         struct vf_tls_client *client, struct vf_str host, struct vf_stream *stream)
{
    struct vf_str name = vf_snap_str(snapshot, tls->name);
    return vf_tls_connect(client, stream, name.len > 0 ? name : host);
}

int vf_tls_records_connect(struct vf_tls_records *records, const struct vf_snapshot *snapshot,
                           const struct vf_snap_upstream_tls *tls, enum vf_tls_ask ask,
                           struct vf_str host, struct vf_stream *stream)
{
    uint64_t id = client_id(tls, ask);
    struct kept *kept = find_kept(records, id);
    int rc = 0;
    if (kept == NULL && (kept = add_kept(records, id)) == NULL)
        return UV_ENOMEM;
    if (kept->client == NULL)
        rc = vf_tls_records_make_client(records, snapshot, tls, ask, NULL, NULL, &kept->client);
    return rc < 0 ? rc : vf_tls_records_begin(snapshot, tls, kept->client, host, stream);
}
