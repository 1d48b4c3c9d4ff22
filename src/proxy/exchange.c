#include "proxy/exchange.h"

#include <assert.h>
#include <stdlib.h>
#include <uv.h>

#include "base/spool.h"
#include "http/method.h"
#include "proxy/account.h"
#include "proxy/balance/balance.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/forward.h"
#include "proxy/labels.h"
#include "proxy/passive.h"
#include "proxy/phases.h"
#include "proxy/request.h"
#include "proxy/tcp.h"
#include "proxy/upstream.h"

enum { SPARE_EXCHANGES = 256 };

/* Life */

void vf_exchange_renew(struct vf_exchange *ex, const struct vf_snap_listener *listener)
{
    if (ex->snapshot == ex->proxy->snapshot)
        return;
    vf_snapshot_release(&ex->snapshot);
    ex->snapshot = vf_snapshot_retain(ex->proxy->snapshot);
    ex->listener = listener;
    ex->policy = vf_snap_policy(ex->snapshot, listener->policy);
}

struct vf_exchange *vf_exchange_new(struct vf_proxy *proxy, struct vf_client *client,
                                    const struct vf_snap_listener *listener)
{
    struct vf_exchange *ex = proxy->spare_exchanges;
    if (ex != NULL) {
        proxy->spare_exchanges = ex->next;
        proxy->n_spare_exchanges--;
        memset(ex, 0, offsetof(struct vf_exchange, request_parser));
    } else if ((ex = calloc(1, sizeof(*ex))) == NULL) {
        return NULL;
    }
    ex->proxy = proxy;
    ex->client = client;
    vf_exchange_renew(ex, listener);
    ex->start_ns = vf_proxy_now_ns(proxy);
    ex->waits = VF_PHASES;
    ex->max_tries = VF_TRIES;
    vf_arena_init(&ex->arena);
    if (client != NULL && !vf_stream_is_plain(&client->conn->stream))
        vf_downstream_describe_tls(client->conn, ex);
    vf_count_add(&proxy->block->process.exchanges, 1);
    return ex;
}

void vf_exchange_free(struct vf_exchange *ex)
{
    struct vf_proxy *proxy = ex->proxy;
    assert(ex->upstream == NULL);
    vf_phases_cancel(ex, ex->reason != NULL ? ex->reason : "exchange ended");
    vf_account_leave_backend(ex);
    vf_account_exchange(ex);
    vf_reactor_timer_stop(proxy->reactor, &ex->total_timer);
    vf_count_add(&proxy->block->process.exchanges, (uint64_t)-1);
    if (ex->is_tunnel)
        vf_count_add(&proxy->block->process.tunnels, (uint64_t)-1);
    ex->client = NULL;
    if (vf_phases_log(ex))
        vf_exchange_finish(ex);
}

void vf_exchange_finish(struct vf_exchange *ex)
{
    struct vf_proxy *proxy = ex->proxy;
    if (ex->plugins != NULL)
        proxy->phases.detach(proxy->phases.owner, ex);
    ex->next = proxy->dead_exchanges;
    proxy->dead_exchanges = ex;
}

void vf_exchange_reap(struct vf_proxy *proxy)
{
    while (proxy->dead_exchanges != NULL) {
        struct vf_exchange *ex = proxy->dead_exchanges;
        proxy->dead_exchanges = ex->next;
        vf_phases_deinit(ex);
        vf_arena_deinit(&ex->arena);
        vf_spool_free(ex->spool);
        vf_spool_free(ex->answer_spool);
        ex->spool = ex->answer_spool = NULL;
        vf_snapshot_release(&ex->snapshot);
        if (proxy->n_spare_exchanges >= SPARE_EXCHANGES) {
            free(ex);
            continue;
        }
        ex->next = proxy->spare_exchanges;
        proxy->spare_exchanges = ex;
        proxy->n_spare_exchanges++;
    }
}

static void on_total_timeout(struct vf_timer *timer)
{
    struct vf_exchange *ex =
        (struct vf_exchange *)((char *)timer - offsetof(struct vf_exchange, total_timer));
    if (!ex->head_sent) {
        vf_exchange_problem(ex, 504, "total_timeout", "The exchange took longer than allowed.");
        return;
    }
    ex->reason = "total_timeout";
    vf_upstream_abandon(ex);
    vf_client_abort(ex);
}

void vf_exchange_limit_total(struct vf_exchange *ex, uint64_t total_ms)
{
    ex->total_timer.on_fire = on_total_timeout;
    vf_reactor_timer(ex->proxy->reactor, &ex->total_timer, total_ms);
}

/* The end of requests, and clients */

/* Ends a tunnel once both sides said their last and the backend got the client's. Returns true when
 * that was so. */
static bool end_tunnel_if_over(struct vf_exchange *ex)
{
    if (ex->request_state != VF_FLOW_DONE || ex->response_state != VF_FLOW_DONE ||
        vf_upstream_is_blocked(ex))
        return false;
    vf_upstream_abandon(ex);
    vf_client_send_end(ex, NULL);
    return true;
}

void vf_exchange_on_request_end(struct vf_exchange *ex)
{
    if (ex->tunnel != NULL) {
        ex->proxy->handler.on_tunnel_end(ex->proxy->handler.owner, ex);
        return;
    }
    if (ex->proxy->has_handler && !ex->answer_ended) {
        vf_exchange_hand_over(ex);
        return;
    }
    if (ex->collects) {
        ex->collects = false;
        ex->proxy->phases.on_content(ex->proxy->phases.owner, ex);
        return;
    }
    if (ex->is_tunnel) {
        ex->request_state = VF_FLOW_DONE;
        vf_upstream_tunnel_end(ex);
        end_tunnel_if_over(ex);
        return;
    }
    if (ex->upstream != NULL)
        vf_upstream_send_end(ex, &ex->request.trailers);
    if (!ex->answer_ended)
        return;
    if (ex->upstream != NULL)
        vf_upstream_finish(ex);
    vf_client_finish(ex);
}

void vf_exchange_on_client_timeout(struct vf_exchange *ex)
{
    ex->close_client = true;
    ex->reason = "client_timeout";
    ex->request_state = VF_FLOW_FAILED;
    if (ex->request_id.len == 0)
        vf_forward_identify(ex);
    vf_upstream_abandon(ex);
    if (!ex->head_sent)
        vf_exchange_problem(ex, 408, "client_timeout", "The request did not arrive in time.");
    else
        vf_client_abort(ex);
}

/* The backend has answered, with all that its client wanted. */
static void note_success(const struct vf_exchange *ex)
{
    if (!ex->has_target && ex->snapshot != NULL)
        vf_passive_ok(ex->proxy->state, ex->snapshot, ex->backend_index);
}

void vf_exchange_on_client_gone(struct vf_exchange *ex, const char *reason)
{
    ex->client = NULL;
    if (ex->reason == NULL)
        ex->reason = reason;
    vf_phases_cancel(ex, "client gone");
    if (!ex->is_handshake)
        vf_count_add(&ex->proxy->block->totals.client_aborts, 1);
    if (ex->upstream != NULL && ex->upstream_status != 0)
        note_success(ex);
    vf_upstream_abandon(ex);
    if (ex->handled)
        ex->proxy->handler.on_gone(ex->proxy->handler.owner, ex);
    vf_exchange_free(ex);
}

void vf_exchange_on_client_drained(struct vf_exchange *ex)
{
    if (ex->tunnel != NULL)
        ex->proxy->handler.on_tunnel_drained(ex->proxy->handler.owner, ex);
    if (ex->upstream != NULL)
        vf_upstream_resume(ex);
    if (ex->answer_spool != NULL)
        vf_exchange_send_spool(ex);
}

void vf_exchange_on_upstream_drained(struct vf_exchange *ex)
{
    if (!ex->is_tunnel || !end_tunnel_if_over(ex))
        vf_client_resume(ex);
}

void vf_exchange_on_connected(struct vf_exchange *ex)
{
    if (ex->is_raw) {
        note_success(ex);
        vf_tcp_on_connected(ex);
    }
    vf_client_resume(ex); /* its content waited for the connection */
}

/* Answers */

void vf_exchange_on_interim(struct vf_exchange *ex)
{
    vf_forward_response(ex);
    vf_client_send_interim(ex);
}

/* 101 is an answer only to a request that asked for it, and for what it asked (RFC 9110 section
 * 15.2.2). Returns false when the answer was refused. */
static bool begin_tunnel(struct vf_exchange *ex)
{
    struct vf_str offered = ex->request.connection_upgrade, item;
    struct vf_str chosen = ex->response.connection_upgrade;
    bool asked = false;
    while (ex->request.wants_upgrade && ex->response.wants_upgrade &&
           vf_str_next_item(&offered, &item))
        asked |= vf_str_ieq(item, chosen);
    if (!asked) {
        struct vf_fault fault = {502, "malformed_response", "101 for an upgrade nobody asked for",
                                 "RFC 9110 section 15.2.2", 0};
        vf_upstream_abandon(ex);
        vf_exchange_on_upstream_failed(ex, VF_UPSTREAM_MALFORMED, &fault);
        return false;
    }
    ex->is_tunnel = true;
    ex->request_state = VF_FLOW_BODY;
    vf_count_add(&ex->proxy->block->process.tunnels, 1);
    return true;
}

/* Whether the answer may have content, though it need not. */
static bool may_have_content(const struct vf_exchange *ex)
{
    uint32_t status = ex->response.status;
    return !ex->is_tunnel && ex->request.method != VF_METHOD_HEAD && status >= 200 &&
           status != 204 && status != 304;
}

/* Whether the content of the answer goes through the body filter: an empty one, too, of which the
 * filter may make another. */
static bool wants_body_filter(const struct vf_exchange *ex)
{
    return (ex->phases >> VF_PHASE_BODY_FILTER & 1) != 0 && may_have_content(ex);
}

static void send_head(struct vf_exchange *ex)
{
    if (ex->timings.len > 0)
        vf_fields_add(&ex->response.fields, &ex->arena, VF_STR("Server-Timing"), ex->timings);
    ex->filters_body = wants_body_filter(ex);
    vf_client_send_head(ex);
    if (!ex->is_tunnel)
        return;
    vf_labels_unpin(ex);
    vf_client_resume(ex); /* what the client sent ahead */
}

static void observe_backend(struct vf_exchange *ex)
{
    if (ex->has_target)
        return;
    if (ex->first_byte_ns > ex->sent_ns && ex->sent_ns != 0)
        vf_balance_observe(ex->proxy->balancers, ex->snapshot, ex->backend_index,
                           (ex->first_byte_ns - ex->sent_ns) / 1000, ex->first_byte_ns);
    if (ex->is_tunnel)
        note_success(ex);
}

void vf_exchange_on_response(struct vf_exchange *ex)
{
    ex->upstream_status = ex->response.status;
    if (ex->response.status == 101 && !begin_tunnel(ex))
        return;
    observe_backend(ex);
    ex->n_upstream_fields = ex->response.fields.count;
    vf_forward_response(ex);
    vf_phases_add_early_fields(ex);
    if (ex->buffers_answer && may_have_content(ex))
        ex->is_buffering = true; /* the header filter sees the content, too */
    else if (vf_phases_run(ex, VF_PHASE_HEADER_FILTER) == VF_VERDICT_GO)
        send_head(ex);
}

void vf_exchange_fail(struct vf_exchange *ex, const char *reason)
{
    ex->reason = reason;
    ex->response_state = VF_FLOW_FAILED;
    vf_upstream_abandon(ex);
    vf_client_abort(ex);
}

void vf_exchange_head_is_ready(struct vf_exchange *ex)
{
    bool is_complete = ex->is_local || ex->is_whole;
    send_head(ex);
    if (is_complete)
        vf_exchange_send_local(ex);
    else if (ex->has_backlog)
        vf_phases_send_backlog(ex);
    else if (ex->upstream != NULL)
        vf_upstream_resume(ex);
}

void vf_exchange_on_response_data(struct vf_exchange *ex, struct vf_str slice)
{
    if (ex->is_buffering || ex->waits == VF_PHASE_HEADER_FILTER)
        vf_phases_buffer(ex, slice);
    else if (ex->filters_body)
        vf_phases_filter(ex, slice, false);
    else
        vf_client_send_data(ex, slice);
}

void vf_exchange_on_response_end(struct vf_exchange *ex)
{
    ex->response_state = VF_FLOW_DONE;
    if (ex->is_tunnel) {
        vf_client_tunnel_end(ex);
        if (ex->client != NULL)
            end_tunnel_if_over(ex);
        return;
    }
    vf_account_leave_backend(ex);
    note_success(ex);
    if (ex->is_buffering || ex->waits == VF_PHASE_HEADER_FILTER)
        vf_phases_buffer_end(ex);
    else if (ex->filters_body)
        vf_phases_filter(ex, vf_str_make("", 0), true);
    else
        vf_client_send_end(ex, &ex->response.trailers);
}
