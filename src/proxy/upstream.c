#include "proxy/upstream.h"

void vf_upstream_send_head(struct vf_exchange *ex)
{
    ex->upstream->codec->send_head(ex);
}

void vf_upstream_send_data(struct vf_exchange *ex, struct vf_str slice)
{
    ex->upstream->codec->send_data(ex, slice);
}

void vf_upstream_send_end(struct vf_exchange *ex, const struct vf_fields *trailers)
{
    ex->upstream->codec->send_end(ex, trailers);
}

void vf_upstream_finish(struct vf_exchange *ex)
{
    ex->upstream->codec->finish(ex);
}

void vf_upstream_tunnel_end(struct vf_exchange *ex)
{
    ex->upstream->codec->tunnel_end(ex);
}

bool vf_upstream_is_blocked(const struct vf_exchange *ex)
{
    return ex->upstream->codec->is_blocked(ex);
}

void vf_upstream_resume(struct vf_exchange *ex)
{
    ex->upstream->codec->resume(ex);
}

void vf_upstream_abandon(struct vf_exchange *ex)
{
    vf_upstream_stop_waiting(ex);
    if (ex->upstream != NULL)
        ex->upstream->codec->abandon(ex);
}
