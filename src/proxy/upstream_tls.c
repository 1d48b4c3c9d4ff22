#include "proxy/upstream_tls.h"

#include <string.h>
#include <uv.h>

#include "base/log.h"
#include "proxy/core.h"
#include "proxy/exchange.h"
#include "snapshot/snapshot.h"

static const struct vf_snap_upstream_tls *record_at(const struct vf_exchange *ex, uint32_t index)
{
    return index == VF_SNAP_NONE ? NULL : vf_snap_upstream_tls(ex->snapshot, index);
}

static bool changes_tls(const struct vf_tls_wish *wish)
{
    return wish->has_verify || wish->has_depth || wish->parts.authorities.data != NULL ||
           wish->parts.chain.data != NULL;
}

/* What a pool without TLS would have with `tls: true`. Where the system has no authorities, that
 * is everything but them. */
static struct vf_snap_upstream_tls default_tls(const struct vf_exchange *ex)
{
    const uint32_t *of_plugins = vf_snap_settings(ex->snapshot)->plugin_tls;
    const struct vf_snap_upstream_tls *verified = record_at(ex, of_plugins[1]);
    const struct vf_snap_upstream_tls *open = record_at(ex, of_plugins[0]);
    struct vf_snap_upstream_tls tls = {
        .depth = 6, .trust = VF_SNAP_NONE, .identity = VF_SNAP_NONE, .min_version = 12};
    if (verified != NULL || open != NULL)
        tls = verified != NULL ? *verified : *open;
    tls.verify = 1;
    return tls;
}

/* A pool that does not verify names no authorities: those of the system, then. */
static uint32_t system_trust(const struct vf_exchange *ex)
{
    const struct vf_snap_upstream_tls *verified =
        record_at(ex, vf_snap_settings(ex->snapshot)->plugin_tls[1]);
    return verified == NULL ? VF_SNAP_NONE : verified->trust;
}

static int merge(const struct vf_exchange *ex, struct vf_snap_upstream_tls *tls)
{
    const struct vf_tls_wish *wish = ex->tls_wish;
    if (wish->has_verify)
        tls->verify = wish->verify;
    if (wish->has_depth)
        tls->depth = wish->depth;
    if (wish->parts.chain.data != NULL)
        tls->identity = VF_SNAP_NONE;
    if (wish->parts.authorities.data != NULL)
        tls->trust = VF_SNAP_NONE;
    else if (tls->verify && tls->trust == VF_SNAP_NONE)
        tls->trust = system_trust(ex);
    return tls->verify && tls->trust == VF_SNAP_NONE && wish->parts.authorities.data == NULL
               ? UV_ENOENT
               : 0;
}

static int choose_own(const struct vf_exchange *ex, struct vf_tls_choice *out)
{
    const struct vf_tls_parts *parts = &ex->tls_wish->parts;
    out->is_own = true;
    out->merged = out->tls != NULL ? *out->tls : default_tls(ex);
    out->tls = &out->merged;
    int rc = merge(ex, &out->merged);
    if (rc == 0)
        rc = vf_secure_find_variant(ex->proxy, ex->snapshot, out->tls, parts, &out->variant);
    if (rc < 0) {
        struct vf_str pool = vf_snap_str(ex->snapshot, ex->pool->name);
        vf_log_warn(&ex->proxy->log, "backend.tls_unusable", "pool=%.*s reason=%s", (int)pool.len,
                    pool.data, rc == UV_ENOENT ? "no_authorities" : uv_err_name(rc));
        return rc;
    }
    out->id = vf_tls_variant_id(out->variant);
    return 0;
}

int vf_upstream_tls_choose(const struct vf_exchange *ex, struct vf_tls_choice *out)
{
    const struct vf_tls_wish *wish = ex->tls_wish;
    out->tls = record_at(ex, ex->pool->tls);
    out->id = out->tls == NULL ? 0 : out->tls->id;
    out->is_own = false;
    out->variant = NULL;
    if (wish == NULL)
        return 0;
    if (wish->scheme == VF_TLS_OFF) {
        out->is_own = out->tls != NULL;
        out->tls = NULL;
        out->id = 0;
        return 0;
    }
    if (out->tls == NULL ? wish->scheme != VF_TLS_ON : !changes_tls(wish))
        return 0;
    return choose_own(ex, out);
}

int vf_upstream_tls_put(const struct vf_exchange *ex, const struct vf_tls_choice *choice,
                        enum vf_tls_ask ask, struct vf_stream *stream)
{
    struct vf_str host =
        ex->has_target ? ex->target_host : vf_snap_str(ex->snapshot, ex->backend->host);
    if (choice->tls == NULL)
        return 0;
    if (choice->variant != NULL)
        return vf_secure_connect_variant(ex->proxy, choice->variant, ex->snapshot, choice->tls, ask,
                                         host, stream);
    return vf_secure_connect(ex->proxy, ex->snapshot, choice->tls, ask, host, stream);
}
