#include "proxy/client.h"

#include "http/method.h"
#include "proxy/account.h"
#include "proxy/exchange.h"
#include "proxy/phases.h"
#include "proxy/upstream.h"

void vf_client_send_interim(struct vf_exchange *ex)
{
    if (ex->request.version_minor >= 1 && ex->client != NULL)
        ex->client->codec->send_interim(ex);
}

void vf_client_send_head(struct vf_exchange *ex)
{
    ex->head_sent = true;
    vf_account_answer(ex);
    if (ex->client != NULL)
        ex->client->codec->send_head(ex);
}

void vf_client_send_data(struct vf_exchange *ex, struct vf_str slice)
{
    if (ex->client == NULL || slice.len == 0)
        return;
    vf_account_out(ex, slice.len);
    ex->client->codec->send_data(ex, slice);
}

/* The backend was to go on reading, but a phase held the end of the answer back, and meanwhile the
 * request has ended, or the client may not go on. */
static void let_backend_go(struct vf_exchange *ex)
{
    if (ex->request_state == VF_FLOW_DONE)
        vf_upstream_finish(ex);
    else if (ex->close_client)
        vf_upstream_abandon(ex);
}

void vf_client_send_end(struct vf_exchange *ex, const struct vf_fields *trailers)
{
    if (ex->upstream != NULL)
        let_backend_go(ex);
    if (ex->client == NULL)
        vf_exchange_free(ex);
    else
        ex->client->codec->send_end(ex, trailers);
}

void vf_client_finish(struct vf_exchange *ex)
{
    ex->client->codec->finish(ex);
}

bool vf_client_discard(struct vf_exchange *ex, size_t len)
{
    ex->discarded_bytes += len;
    return ex->client->codec->discard(ex, len);
}

void vf_client_abort(struct vf_exchange *ex)
{
    if (ex->client != NULL)
        ex->client->codec->abort(ex);
    else
        vf_exchange_free(ex);
}

void vf_client_close(struct vf_exchange *ex, const char *reason)
{
    ex->client->codec->close(ex, reason);
}

void vf_client_resume(struct vf_exchange *ex)
{
    if (ex->client != NULL)
        ex->client->codec->resume(ex);
}

bool vf_client_flush(struct vf_exchange *ex)
{
    if (ex->client != NULL)
        ex->client->codec->flush(ex);
    return ex->client != NULL;
}

void vf_client_tunnel_end(struct vf_exchange *ex)
{
    if (ex->client != NULL)
        ex->client->codec->tunnel_end(ex);
}

bool vf_client_is_blocked(const struct vf_exchange *ex)
{
    return vf_phases_hold_answer(ex) || (ex->client != NULL && ex->client->codec->is_blocked(ex));
}

/* Nobody knows yet what a body filter leaves of the content; nor what it would have left after
 * HEAD. */
static bool changes_length(const struct vf_exchange *ex)
{
    return ex->filters_body ||
           (ex->request.method == VF_METHOD_HEAD && (ex->phases >> VF_PHASE_BODY_FILTER & 1) != 0);
}

bool vf_client_has_length(const struct vf_exchange *ex)
{
    const struct vf_head *head = &ex->response;
    bool has_length = head->framing == VF_FRAMING_LENGTH ||
                      (head->framing == VF_FRAMING_NONE && head->has_content_length);
    return has_length && !changes_length(ex);
}
