/* proxy/h2/links.c - the connections of a backend that speak HTTP/2: which there are, which takes
 * one more call, which goes when there are too many. */
#include "proxy/h2/link_parts.h"

enum {
    FIRST_CALLS = 100, /* until the backend first says how many it takes at once */
    MOST_CALLS = 1000  /* more are spread over connections */
};

void vf_h2_links_add(struct vf_h2_link *link)
{
    struct vf_h2_link **at = &link->up->peer->links;
    while (*at != NULL)
        at = &(*at)->next;
    *at = link;
}

void vf_h2_links_count(struct vf_h2_link *link, bool is_idle)
{
    if (link->is_idle == is_idle)
        return;
    link->is_idle = is_idle;
    link->up->stream.io.rank = is_idle ? VF_IO_FIRST : VF_IO_BACKEND;
    vf_peer_kept_one(link->up->peer, is_idle ? 1 : -1);
    vf_peer_show(link->up->peer);
}

static uint32_t most_calls(const struct vf_h2_link *link)
{
    if (link->is_private)
        return 1;
    struct vf_peer *peer = link->up->peer;
    if (link->is_greeted)
        peer->most_calls = nghttp2_session_get_remote_settings(
            link->wire.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    else if (peer->most_calls == 0)
        return FIRST_CALLS;
    return peer->most_calls < MOST_CALLS ? peer->most_calls : MOST_CALLS;
}

static bool has_tls(const struct vf_h2_link *link, uint64_t tls_id, bool is_own)
{
    return link->up->tls_id == tls_id && link->up->has_own_tls == is_own;
}

static bool has_room(struct vf_h2_link *link, uint64_t tls_id, bool is_own)
{
    bool fits = has_tls(link, tls_id, is_own);
    if (!fits && !is_own && !link->up->has_own_tls) /* not what the pool wants by now */
        link->is_leaving = true;
    if (link->wire.session != NULL && !nghttp2_session_check_request_allowed(link->wire.session))
        link->is_leaving = true; /* it ends, or ids are used up */
    return fits && !link->is_leaving && !link->wire.is_broken && !link->is_private &&
           !link->up->stream.hung_up && link->wire.n_flows < most_calls(link);
}

struct vf_h2_link *vf_h2_link_find(struct vf_peer *peer, uint64_t tls_id, bool is_own)
{
    struct vf_h2_link *link = peer->links, *next;
    for (; link != NULL; link = next) {
        next = link->next;
        if (has_room(link, tls_id, is_own))
            return link;
        if (link->is_idle && link->is_leaving)
            vf_upstream_close(link->up);
    }
    return NULL;
}

void vf_h2_links_remove(struct vf_h2_link *link)
{
    struct vf_h2_link **at = &link->up->peer->links;
    while (*at != NULL && *at != link)
        at = &(*at)->next;
    if (*at != NULL)
        *at = link->next;
    struct vf_h2_link **pending = &link->up->owner->pending_links;
    while (link->is_pending && *pending != link)
        pending = &(*pending)->next_pending;
    if (link->is_pending)
        *pending = link->next_pending;
    link->is_pending = false;
}

void vf_h2_links_leave_stale(struct vf_peer *peer)
{
    struct vf_h2_link *link = peer->links, *next;
    for (; link != NULL; link = next) {
        next = link->next;
        if (!vf_upstream_is_stale(link->up))
            continue;
        link->is_leaving = true;
        if (link->is_idle)
            vf_upstream_close(link->up);
    }
}

bool vf_h2_links_drop_one(struct vf_peer *peer)
{
    for (struct vf_h2_link *link = peer->links; link != NULL; link = link->next)
        if (link->is_idle) {
            vf_upstream_close(link->up);
            return true;
        }
    return false;
}
