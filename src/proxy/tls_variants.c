#define _GNU_SOURCE /* explicit_bzero */
#include "proxy/tls_variants.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/hash.h"
#include "snapshot/snapshot.h"
#include "tls/identity.h"

enum { PARTS = 3, ASKS = VF_TLS_ASK_ANY + 1 };

/* What is compared, before the texts; without padding. */
struct content {
    uint64_t record;   /* id of the record that it began with */
    uint64_t trust;    /* id of the authorities; 0: none, or own ones */
    uint64_t identity; /* likewise */
    uint32_t verify, depth;
    uint64_t lens[PARTS];
};

struct vf_tls_variant {
    struct vf_tls_variant *next; /* used before it */
    uint64_t id, hash;
    struct content content;
    char *texts; /* authorities, chain and key, one behind the other */
    size_t texts_len;
    struct vf_tls_trust *trust;       /* own ones, or NULL */
    struct vf_tls_identity *identity; /* likewise */
    struct vf_tls_client *clients[ASKS];
};

struct vf_tls_variants {
    struct vf_tls_records *records;
    struct vf_tls_variant *newest;
    unsigned n;
    uint64_t last_id;
};

int vf_tls_variants_new(struct vf_tls_records *records, struct vf_tls_variants **out)
{
    struct vf_tls_variants *variants = calloc(1, sizeof(*variants));
    if (variants == NULL)
        return UV_ENOMEM;
    variants->records = records;
    *out = variants;
    return 0;
}

static void free_variant(struct vf_tls_variant *variant)
{
    for (int i = 0; i < ASKS; i++)
        vf_tls_client_release(&variant->clients[i]);
    vf_tls_trust_release(&variant->trust);
    vf_tls_identity_release(&variant->identity);
    if (variant->texts != NULL)
        explicit_bzero(variant->texts, variant->texts_len); /* a key is among them */
    free(variant->texts);
    free(variant);
}

void vf_tls_variants_free(struct vf_tls_variants *variants)
{
    if (variants == NULL)
        return;
    while (variants->newest != NULL) {
        struct vf_tls_variant *variant = variants->newest;
        variants->newest = variant->next;
        free_variant(variant);
    }
    free(variants);
}

/* Finding */

static void list_parts(const struct vf_tls_parts *parts, struct vf_str out[PARTS])
{
    out[0] = parts->authorities;
    out[1] = parts->chain;
    out[2] = parts->key;
}

static struct content content_of(const struct vf_snapshot *snapshot,
                                 const struct vf_snap_upstream_tls *tls,
                                 const struct vf_str texts[PARTS])
{
    struct content content = {.record = tls->id, .verify = tls->verify, .depth = tls->depth};
    if (tls->trust != VF_SNAP_NONE)
        content.trust = vf_snap_trust(snapshot, tls->trust)->id;
    if (tls->identity != VF_SNAP_NONE)
        content.identity = vf_snap_identity(snapshot, tls->identity)->id;
    for (int i = 0; i < PARTS; i++)
        content.lens[i] = texts[i].len;
    return content;
}

static bool is_equal(const struct vf_tls_variant *variant, const struct content *content,
                     const struct vf_str texts[PARTS])
{
    const char *at = variant->texts;
    if (memcmp(&variant->content, content, sizeof(*content)) != 0)
        return false;
    for (int i = 0; i < PARTS; at += texts[i].len, i++)
        if (texts[i].len > 0 && memcmp(at, texts[i].data, texts[i].len) != 0)
            return false;
    return true;
}

/* Takes it off the list. NULL: there is none. */
static struct vf_tls_variant *take(struct vf_tls_variants *variants, uint64_t hash,
                                   const struct content *content, const struct vf_str texts[PARTS])
{
    struct vf_tls_variant **at = &variants->newest;
    while (*at != NULL && ((*at)->hash != hash || !is_equal(*at, content, texts)))
        at = &(*at)->next;
    struct vf_tls_variant *variant = *at;
    if (variant != NULL) {
        *at = variant->next;
        variants->n--;
    }
    return variant;
}

static void put_first(struct vf_tls_variants *variants, struct vf_tls_variant *variant)
{
    variant->next = variants->newest;
    variants->newest = variant;
    variants->n++;
}

static void drop_last(struct vf_tls_variants *variants)
{
    struct vf_tls_variant **at = &variants->newest;
    while ((*at)->next != NULL)
        at = &(*at)->next;
    free_variant(*at);
    *at = NULL;
    variants->n--;
}

static int fill(struct vf_tls_variant *variant, const struct vf_str texts[PARTS])
{
    for (int i = 0; i < PARTS; i++)
        variant->texts_len += texts[i].len;
    if ((variant->texts = malloc(variant->texts_len + 1)) == NULL)
        return UV_ENOMEM;
    char *at = variant->texts;
    for (int i = 0; i < PARTS; at += texts[i].len, i++)
        if (texts[i].len > 0)
            memcpy(at, texts[i].data, texts[i].len);
    int rc = 0;
    if (texts[0].len > 0)
        rc = vf_tls_trust_new(texts[0], vf_str_make("", 0), &variant->trust);
    if (rc == 0 && texts[1].len > 0)
        rc = vf_tls_identity_new(texts[1], texts[2], &variant->identity);
    return rc;
}

int vf_tls_variants_find(struct vf_tls_variants *variants, const struct vf_snapshot *snapshot,
                         const struct vf_snap_upstream_tls *tls, const struct vf_tls_parts *parts,
                         struct vf_tls_variant **out)
{
    struct vf_str texts[PARTS];
    list_parts(parts, texts);
    struct content content = content_of(snapshot, tls, texts);
    uint64_t hash = vf_hash(&content, sizeof(content), 0);
    for (int i = 0; i < PARTS; i++)
        hash = vf_hash(texts[i].data, texts[i].len, hash);
    struct vf_tls_variant *variant = take(variants, hash, &content, texts);
    if (variant == NULL) {
        if ((variant = calloc(1, sizeof(*variant))) == NULL)
            return UV_ENOMEM;
        variant->hash = hash;
        variant->content = content;
        int rc = fill(variant, texts);
        if (rc < 0) {
            free_variant(variant);
            return rc;
        }
        variant->id = ++variants->last_id;
        if (variants->n >= VF_TLS_VARIANTS)
            drop_last(variants);
    }
    put_first(variants, variant);
    *out = variant;
    return 0;
}

uint64_t vf_tls_variant_id(const struct vf_tls_variant *variant)
{
    return variant->id;
}

int vf_tls_variant_connect(struct vf_tls_variants *variants, struct vf_tls_variant *variant,
                           const struct vf_snapshot *snapshot,
                           const struct vf_snap_upstream_tls *tls, enum vf_tls_ask ask,
                           struct vf_str host, struct vf_stream *stream)
{
    struct vf_tls_client **client = &variant->clients[ask];
    int rc = 0;
    if (*client == NULL)
        rc = vf_tls_records_make_client(variants->records, snapshot, tls, ask, variant->trust,
                                        variant->identity, client);
    return rc < 0 ? rc : vf_tls_records_begin(snapshot, tls, *client, host, stream);
}
