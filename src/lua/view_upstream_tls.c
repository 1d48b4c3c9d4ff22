/* lua/view_upstream_tls.c - the TLS to the backend, as plugins want it for an exchange. */
#include "lua/view_parts.h"

#include "proxy/exchange.h"
#include "proxy/upstream_tls.h"

/* Returns VF_VIEW_OK with what the exchange wants already, to be changed. */
static int open_wish(struct vf_exchange *ex, struct vf_tls_wish **out)
{
    if (ex->upstream != NULL)
        return VF_VIEW_TOO_LATE;
    if (ex->tls_wish == NULL &&
        (ex->tls_wish = vf_arena_zalloc(&ex->arena, sizeof(*ex->tls_wish))) == NULL)
        return VF_VIEW_NO_MEMORY;
    *out = ex->tls_wish;
    return VF_VIEW_OK;
}

int vf_view_set_scheme(struct vf_exchange *ex, int is_tls)
{
    struct vf_tls_wish *wish;
    int rc = open_wish(ex, &wish);
    if (rc == VF_VIEW_OK)
        wish->scheme = is_tls ? VF_TLS_ON : VF_TLS_OFF;
    return rc;
}

int vf_view_set_tls_verify(struct vf_exchange *ex, int is_on)
{
    struct vf_tls_wish *wish;
    int rc = open_wish(ex, &wish);
    if (rc == VF_VIEW_OK) {
        wish->has_verify = true;
        wish->verify = is_on != 0;
    }
    return rc;
}

int vf_view_set_tls_depth(struct vf_exchange *ex, uint32_t depth)
{
    struct vf_tls_wish *wish;
    int rc = open_wish(ex, &wish);
    if (rc == VF_VIEW_OK) {
        wish->has_depth = true;
        wish->depth = depth;
    }
    return rc;
}

int vf_view_set_tls_store(struct vf_exchange *ex, const char *authorities, size_t len)
{
    struct vf_tls_wish *wish;
    int rc = open_wish(ex, &wish);
    if (rc != VF_VIEW_OK)
        return rc;
    struct vf_str kept = vf_view_keep(ex, authorities, len);
    if (kept.data == NULL)
        return VF_VIEW_NO_MEMORY;
    wish->parts.authorities = kept;
    return VF_VIEW_OK;
}

int vf_view_set_tls_identity(struct vf_exchange *ex, const char *chain, size_t chain_len,
                             const char *key, size_t key_len)
{
    struct vf_tls_wish *wish;
    int rc = open_wish(ex, &wish);
    if (rc != VF_VIEW_OK)
        return rc;
    struct vf_str kept_chain = vf_view_keep(ex, chain, chain_len);
    struct vf_str kept_key = vf_view_keep(ex, key, key_len);
    if (kept_chain.data == NULL || kept_key.data == NULL)
        return VF_VIEW_NO_MEMORY;
    wish->parts.chain = kept_chain;
    wish->parts.key = kept_key;
    return VF_VIEW_OK;
}
