#include "proxy/exchange.h"

#include <assert.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "base/error.h"
#include "http/cookie.h"
#include "http/method.h"
#include "proxy/account.h"
#include "proxy/balance.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/forward.h"
#include "proxy/passive.h"
#include "proxy/sticky.h"
#include "proxy/upstream.h"
#include "snapshot/router.h"

enum {
    SPARE_EXCHANGES = 256,
    REPLAY_BYTES = 64 * 1024 /* of request content kept for a second try */
};

/* Life */

struct vf_exchange *vf_exchange_new(struct vf_proxy *proxy, struct vf_downstream *client,
                                    const struct vf_snap_listener *listener)
{
    struct vf_exchange *ex = proxy->spare_exchanges;
    if (ex != NULL) {
        proxy->spare_exchanges = ex->next;
        proxy->n_spare_exchanges--;
        memset(ex, 0, sizeof(*ex));
    } else if ((ex = calloc(1, sizeof(*ex))) == NULL) {
        return NULL;
    }
    ex->proxy = proxy;
    ex->client = client;
    ex->listener = listener;
    ex->snapshot = vf_snapshot_retain(proxy->snapshot);
    ex->policy = vf_snap_policy(ex->snapshot, listener->policy);
    ex->start_ns = vf_proxy_now_ns(proxy);
    vf_arena_init(&ex->arena);
    vf_count_add(&proxy->block->process.exchanges, 1);
    return ex;
}

void vf_exchange_free(struct vf_exchange *ex)
{
    struct vf_proxy *proxy = ex->proxy;
    assert(ex->upstream == NULL);
    vf_account_leave_backend(ex);
    vf_account_exchange(ex);
    vf_reactor_timer_stop(proxy->reactor, &ex->total_timer);
    vf_count_add(&proxy->block->process.exchanges, (uint64_t)-1);
    if (ex->is_tunnel)
        vf_count_add(&proxy->block->process.tunnels, (uint64_t)-1);
    ex->client = NULL;
    ex->next = proxy->dead_exchanges;
    proxy->dead_exchanges = ex;
}

void vf_exchange_reap(struct vf_proxy *proxy)
{
    while (proxy->dead_exchanges != NULL) {
        struct vf_exchange *ex = proxy->dead_exchanges;
        proxy->dead_exchanges = ex->next;
        vf_arena_deinit(&ex->arena);
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

/* Choosing a backend */

static struct vf_str header_by_name(void *owner, struct vf_str name)
{
    const struct vf_exchange *ex = owner;
    const struct vf_field *field = vf_fields_find(&ex->request.fields, name);
    return field != NULL ? field->value : vf_str_make(NULL, 0);
}

/* The value of query parameter `name`; data NULL when absent. */
static struct vf_str query_value(struct vf_str text, struct vf_str name)
{
    while (text.len > 0) {
        const char *end = memchr(text.data, '&', text.len);
        size_t len = end != NULL ? (size_t)(end - text.data) : text.len;
        struct vf_str pair = vf_str_make(text.data, len);
        const char *equals = memchr(pair.data, '=', pair.len);
        size_t name_len = equals != NULL ? (size_t)(equals - pair.data) : pair.len;
        if (vf_str_eq(vf_str_make(pair.data, name_len), name))
            return equals != NULL ? vf_str_make(equals + 1, pair.len - name_len - 1)
                                  : vf_str_make("", 0);
        text.data += len + (end != NULL);
        text.len -= len + (end != NULL);
    }
    return vf_str_make(NULL, 0);
}

/* The value of cookie `name`; data NULL when absent. */
static struct vf_str cookie_value(struct vf_exchange *ex, struct vf_str name)
{
    const struct vf_fields *fields = &ex->request.fields;
    struct vf_str value;
    for (uint32_t i = 0; i < fields->count; i++)
        if (fields->list[i].id == VF_FIELD_COOKIE &&
            vf_cookie_find(fields->list[i].value, name, &value))
            return value;
    return vf_str_make(NULL, 0);
}

static struct vf_str hash_key(struct vf_exchange *ex)
{
    struct vf_str name = vf_snap_str(ex->snapshot, ex->pool->hash_name);
    if (ex->pool->algorithm != VF_BALANCE_CONSISTENT_HASH)
        return vf_str_make(NULL, 0);
    switch (ex->pool->hash_on) {
    case VF_HASH_ON_HEADER:
        return header_by_name(ex, name);
    case VF_HASH_ON_COOKIE:
        return cookie_value(ex, name);
    case VF_HASH_ON_QUERY:
        return query_value(ex->target.query, name);
    case VF_HASH_ON_PATH:
        return ex->path.text;
    default:
        return vf_str_make(NULL, 0);
    }
}

/* The backend that the client's cookie names. Returns false when there is none. */
static bool pick_by_cookie(struct vf_exchange *ex)
{
    uint64_t now_ns = vf_proxy_now_ns(ex->proxy);
    const struct vf_fields *fields = &ex->request.fields;
    if (!(ex->pool->flags & VF_POOL_STICKY) || ex->n_tried > 0)
        return false;
    for (uint32_t i = 0; i < fields->count; i++) {
        bool is_old = false;
        if (fields->list[i].id == VF_FIELD_COOKIE &&
            vf_sticky_find(ex->snapshot, ex->proxy->state, ex->pool_index, fields->list[i].value,
                           vf_clock_wall_ms(), now_ns, &ex->backend_index, &is_old) == 0) {
            ex->set_cookie = is_old;
            return true;
        }
    }
    return false;
}

static int pick(struct vf_exchange *ex)
{
    struct vf_balance_key key = {.hash_key = hash_key(ex), .family = ex->client_address.family};
    memcpy(key.ip, ex->client_address.ip, sizeof(key.ip));
    if (!pick_by_cookie(ex)) {
        int rc =
            vf_balance_pick(ex->proxy->balancers, ex->snapshot, ex->pool_index, &key,
                            vf_proxy_now_ns(ex->proxy), ex->tried, ex->n_tried, &ex->backend_index);
        if (rc < 0)
            return rc;
        ex->set_cookie = (ex->pool->flags & VF_POOL_STICKY) != 0;
    }
    ex->backend = vf_snap_backend(ex->snapshot, ex->backend_index);
    ex->tried[ex->n_tried++] = ex->backend_index;
    return 0;
}

/* A backend with a name may answer at another of its addresses: it does not count as tried yet. */
static bool has_other_address(struct vf_exchange *ex)
{
    if (ex->n_addresses >= VF_TRIES || !vf_upstream_has_other_address(ex))
        return false;
    ex->n_addresses++;
    ex->n_tried--;
    return true;
}

static void note_connect_failure(struct vf_exchange *ex)
{
    struct vf_state_backend *counts = &ex->proxy->block->backends[ex->backend->slot];
    uint64_t now_ns = vf_proxy_now_ns(ex->proxy);
    vf_count_add(&counts->connect_failures, 1);
    if (has_other_address(ex))
        return;
    vf_balance_failed(ex->proxy->balancers, ex->snapshot, ex->backend_index, now_ns);
    vf_passive_connect_failed(ex->proxy->state, ex->snapshot, ex->pool_index, ex->backend_index,
                              now_ns);
    vf_log_warn(&ex->proxy->log, "backend.connect_failed", "pool=%.*s backend=%.*s try=%u",
                (int)ex->pool->name.len, vf_snap_str(ex->snapshot, ex->pool->name).data,
                (int)ex->backend->address_text.len,
                vf_snap_str(ex->snapshot, ex->backend->address_text).data, ex->n_tried);
}

static void answer_failure(struct vf_exchange *ex, enum vf_upstream_failure failure)
{
    switch (failure) {
    case VF_UPSTREAM_CONNECT_TIMEOUT:
        vf_exchange_problem(ex, 504, "connect_timeout", "No backend took a connection in time.");
        break;
    case VF_UPSTREAM_TIMEOUT:
        vf_exchange_problem(ex, 504, "upstream_timeout", "The backend did not answer in time.");
        break;
    case VF_UPSTREAM_MALFORMED:
        vf_exchange_problem(ex, 502, "malformed_response",
                            "The backend's answer is not valid HTTP.");
        break;
    case VF_UPSTREAM_CUT:
        vf_exchange_problem(ex, 502, "upstream_cut", "The backend ended within its answer.");
        break;
    case VF_UPSTREAM_CLOSED:
        vf_exchange_problem(ex, 502, "upstream_closed", "The backend closed without an answer.");
        break;
    default:
        vf_exchange_problem(ex, 502, "backend_unreachable", "No backend could be reached.");
        break;
    }
}

/* No backend is left to try. */
static void answer_unavailable(struct vf_exchange *ex)
{
    vf_count_add(&ex->proxy->block->pools[ex->pool->slot].unavailable, 1);
    if (ex->was_full)
        vf_exchange_problem(ex, 503, "pool_full", "All backends are at their connection limit.");
    else if (ex->n_tried > 0)
        answer_failure(ex, ex->last_failure);
    else
        vf_exchange_problem(ex, 503, "no_backend", "No backend is available for this request.");
}

/* Sends the request, from its head, to the connection of the exchange. */
static void send_request(struct vf_exchange *ex)
{
    ex->response_state = VF_FLOW_IDLE;
    vf_upstream_send_head(ex);
    if (ex->upstream == NULL)
        return;
    if (ex->replay.len > 0)
        vf_upstream_send_data(ex, ex->replay);
    if (ex->upstream != NULL && ex->request_state == VF_FLOW_DONE)
        vf_upstream_send_end(ex, &ex->request_parser.trailers);
}

/* Finds a backend that can be connected to and sends the request there; answers when there is
 * none. */
static void dispatch(struct vf_exchange *ex)
{
    while (ex->n_tried < VF_TRIES && pick(ex) == 0) {
        if (ex->n_tried > 1)
            vf_count_add(&ex->proxy->block->pools[ex->pool->slot].failovers, 1);
        int rc = vf_upstream_open(ex, false);
        if (rc == 0) {
            vf_account_enter_backend(ex);
            send_request(ex);
            return;
        }
        if (rc == VF_ENOBACKEND)
            ex->was_full = true;
        else
            note_connect_failure(ex);
    }
    answer_unavailable(ex);
}

/* Requests */

static const char *fault_detail(const struct vf_fault *fault)
{
    return fault->rule != NULL ? fault->rule : "The request cannot be understood.";
}

void vf_exchange_on_fault(struct vf_exchange *ex, const struct vf_fault *fault)
{
    vf_count_add(&ex->proxy->block->totals.malformed_requests, 1);
    if (ex->request_id.len == 0)
        vf_forward_identify(ex);
    vf_account_fault(ex, fault, "client");
    ex->close_client = true;
    ex->request_state = VF_FLOW_FAILED;
    ex->reason = fault->code;
    if (!ex->head_sent) {
        vf_exchange_problem(ex, fault->status, fault->code, fault_detail(fault));
        return;
    }
    vf_upstream_abandon(ex);
    vf_client_abort(ex);
}

static void refuse_target(struct vf_exchange *ex, int rc, size_t offset)
{
    struct vf_target_rule rule = vf_target_rule(rc);
    struct vf_fault fault = {400, rule.reason, "the request target is not acceptable", rule.section,
                             offset};
    vf_exchange_on_fault(ex, &fault);
}

/* Reads target and host. Returns false when the request was refused. */
static bool read_target(struct vf_exchange *ex)
{
    size_t offset = 0;
    int rc = vf_target_parse(ex->request.target, (int)ex->request.method, &ex->target, &offset);
    if (rc < 0) {
        refuse_target(ex, rc, offset);
        return false;
    }
    if (ex->target.form == VF_TARGET_ABSOLUTE && !vf_str_ieq(ex->target.scheme, VF_STR("http")) &&
        !vf_str_ieq(ex->target.scheme, VF_STR("https"))) {
        struct vf_fault fault = {400, "target_scheme", "the target is neither http nor https",
                                 "RFC 9110 section 4.2", 0};
        vf_exchange_on_fault(ex, &fault);
        return false;
    }
    ex->host = ex->target.authority.len > 0 ? ex->target.authority : ex->request.host;
    if (ex->target.form == VF_TARGET_AUTHORITY)
        return true;
    char *buffer = vf_arena_alloc(&ex->arena, ex->target.path.len + 1);
    if (buffer == NULL) {
        vf_downstream_close(ex->client, "out_of_memory");
        return false;
    }
    if ((rc = vf_path_normalise(ex->target.path, buffer, &ex->path, &offset)) < 0) {
        refuse_target(ex, rc, offset);
        return false;
    }
    return true;
}

/* Answers what is meant for us: CONNECT, and TRACE or OPTIONS that may go no further. */
static bool answer_for_ourselves(struct vf_exchange *ex)
{
    uint32_t method = ex->request.method;
    const struct vf_field *hops = vf_fields_get(&ex->request.fields, VF_FIELD_MAX_FORWARDS);
    if (method == VF_METHOD_CONNECT) {
        ex->close_client = true; /* what follows was meant for a tunnel */
        vf_exchange_problem(ex, 501, "connect_not_supported", "CONNECT is not supported here.");
        return true;
    }
    if (hops == NULL || !vf_str_eq(hops->value, VF_STR("0")) ||
        (method != VF_METHOD_TRACE && method != VF_METHOD_OPTIONS))
        return false;
    ex->allow = VF_STR("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    if (method == VF_METHOD_TRACE) {
        vf_exchange_problem(ex, 405, "trace_not_supported", "TRACE ends here and is not echoed.");
        return true;
    }
    struct vf_fields fields = {0};
    vf_fields_add(&fields, &ex->arena, VF_STR("Allow"), ex->allow);
    vf_exchange_answer(ex, 200, vf_str_make("", 0), vf_str_make("", 0), &fields);
    return true;
}

/* What the configuration adds to answers of a route itself; there is no pool whose edits apply. */
static void edit_own_answer(struct vf_exchange *ex, struct vf_fields *fields)
{
    vf_exchange_edit(ex, fields, ex->listener->edits.response);
    vf_exchange_edit(ex, fields, ex->route->edits.response);
}

static void answer_redirect(struct vf_exchange *ex, const struct vf_route_match *match)
{
    struct vf_fields fields = {0};
    struct vf_str target =
        vf_forward_expand(ex, vf_snap_str(ex->snapshot, ex->route->target), match);
    if (target.data == NULL || !vf_is_field_value(target)) {
        vf_exchange_problem(ex, 500, "bad_redirect", "The target of a redirect is not valid.");
        return;
    }
    vf_fields_add(&fields, &ex->arena, VF_STR("Location"), target);
    edit_own_answer(ex, &fields);
    vf_exchange_answer(ex, ex->route->status, vf_str_make("", 0), vf_str_make("", 0), &fields);
}

static void answer_fixed(struct vf_exchange *ex)
{
    struct vf_fields fields = {0};
    edit_own_answer(ex, &fields);
    vf_exchange_answer(ex, ex->route->status, vf_snap_str(ex->snapshot, ex->route->content_type),
                       vf_snap_str(ex->snapshot, ex->route->body), &fields);
}

static void answer_no_route(struct vf_exchange *ex, const struct vf_route_match *match)
{
    if (match->outcome == VF_ROUTE_NOT_FOUND) {
        vf_exchange_problem(ex, 404, "no_route", "No route matches this host and path.");
        return;
    }
    char *allow = vf_arena_alloc(&ex->arena, VF_METHOD_LIST_BYTES);
    if (allow != NULL)
        ex->allow = vf_str_make(allow, vf_method_list(match->allow, allow));
    vf_exchange_problem(ex, 405, "method_not_allowed", "The route does not take this method.");
}

static int use_route_policy(struct vf_exchange *ex)
{
    if (ex->route->policy == VF_SNAP_NONE)
        return 0;
    struct vf_snap_policy *policy = vf_arena_alloc(&ex->arena, sizeof(*policy));
    if (policy == NULL)
        return UV_ENOMEM;
    vf_policy_resolve(ex->snapshot, ex->listener->policy, ex->route->policy, policy);
    ex->policy = policy;
    return 0;
}

/* How much content the request may have. */
static uint64_t body_limit(const struct vf_exchange *ex)
{
    const struct vf_proxy *proxy = ex->proxy;
    uint64_t limit = vf_policy_get(ex->policy, VF_POLICY_BODY_BYTES);
    return proxy->has_handler && proxy->handler.max_body_bytes < limit
               ? proxy->handler.max_body_bytes
               : limit;
}

/* Checks what the route's limits say about the head. Returns false when the request was refused. */
static bool within_limits(struct vf_exchange *ex)
{
    if (ex->request.framing == VF_FRAMING_LENGTH && ex->request.content_length > body_limit(ex)) {
        ex->close_client = true;
        vf_exchange_problem(ex, 413, "body_too_large", "The request body is larger than allowed.");
        return false;
    }
    return true;
}

static void start_forwarding(struct vf_exchange *ex, const struct vf_route_match *match)
{
    uint64_t total_ms = vf_policy_get(ex->policy, VF_POLICY_TOTAL_MS);
    ex->pool_index = ex->route->pool;
    ex->pool = vf_snap_pool(ex->snapshot, ex->pool_index);
    if (vf_forward_request(ex, match) < 0) {
        vf_downstream_close(ex->client, "out_of_memory");
        return;
    }
    if (ex->forward_host.len == 0)
        ex->forward_host = vf_snap_str(ex->snapshot, ex->pool->name);
    if (total_ms != UINT64_MAX) {
        ex->total_timer.on_fire = on_total_timeout;
        vf_reactor_timer(ex->proxy->reactor, &ex->total_timer, total_ms);
    }
    dispatch(ex);
}

static void act(struct vf_exchange *ex, const struct vf_route_match *match)
{
    ex->route = match->route;
    if (use_route_policy(ex) < 0) {
        vf_downstream_close(ex->client, "out_of_memory");
        return;
    }
    if (ex->route->inactive)
        vf_exchange_problem(ex, 503, "tenant_inactive", "This tenant is switched off.");
    else if (!within_limits(ex))
        return;
    else if (ex->route->action == VF_ACTION_REDIRECT)
        answer_redirect(ex, match);
    else if (ex->route->action == VF_ACTION_RESPOND)
        answer_fixed(ex);
    else
        start_forwarding(ex, match);
}

static void hand_over(struct vf_exchange *ex)
{
    ex->handled = true;
    ex->proxy->handler.on_request(ex->proxy->handler.owner, ex);
}

/* 100 Continue, because the handler takes the whole request first. */
static void invite_content(struct vf_exchange *ex)
{
    ex->response.status = 100;
    ex->response.reason = vf_status_reason(100);
    vf_client_send_interim(ex);
}

/* An upgrade that is not forwarded: with content, or to a protocol that we do not tunnel. */
static void judge_upgrade(struct vf_exchange *ex)
{
    if (ex->request.wants_upgrade &&
        (ex->request.framing != VF_FRAMING_NONE ||
         vf_str_has_token(ex->request.connection_upgrade, VF_STR("h2c"))))
        ex->request.wants_upgrade = false;
}

void vf_exchange_on_request(struct vf_exchange *ex)
{
    struct vf_route_match match;
    vf_forward_identify(ex);
    if (!read_target(ex))
        return;
    if (ex->proxy->has_handler) {
        if (ex->request.framing == VF_FRAMING_LENGTH && !within_limits(ex))
            return;
        if (ex->request.expects_continue)
            invite_content(ex);
        if (ex->request_state == VF_FLOW_DONE)
            hand_over(ex);
        return;
    }
    judge_upgrade(ex);
    if (answer_for_ourselves(ex))
        return;
    struct vf_route_query query = {.host = ex->host,
                                   .path =
                                       ex->path.text.data[0] == '*' ? VF_STR("/") : ex->path.text,
                                   .query = ex->target.query,
                                   .method = ex->request.method,
                                   .header = header_by_name,
                                   .owner = ex};
    if (vf_route_find(ex->proxy->router, ex->snapshot, &query, &match) != VF_ROUTE_FOUND)
        answer_no_route(ex, &match);
    else
        act(ex, &match);
}

/* Request content */

bool vf_exchange_wants_body(const struct vf_exchange *ex)
{
    if (ex->proxy->has_handler || (ex->answer_ended && ex->upstream == NULL))
        return true; /* collected, or dropped */
    return ex->upstream != NULL && !vf_upstream_is_blocked(ex);
}

static void collect(struct vf_exchange *ex, struct vf_str slice)
{
    size_t need = ex->request_body.len + slice.len;
    if (need > ex->request_body_room) {
        size_t room = need < 4096 ? 4096 : need * 2;
        char *body = vf_arena_alloc(&ex->arena, room);
        if (body == NULL) {
            vf_downstream_close(ex->client, "out_of_memory");
            return;
        }
        if (ex->request_body.len > 0)
            memcpy(body, ex->request_body.data, ex->request_body.len);
        ex->request_body.data = body;
        ex->request_body_room = room;
    }
    memcpy((char *)(uintptr_t)ex->request_body.data + ex->request_body.len, slice.data, slice.len);
    ex->request_body.len = need;
}

/* Keeps a copy of content that goes out on a kept connection, in case that connection is dead. */
static void keep_for_replay(struct vf_exchange *ex, struct vf_str slice)
{
    if (ex->bytes_in == slice.len) /* the first piece */
        ex->replayable =
            ex->on_reused && !ex->retried && vf_method_is_idempotent((int)ex->request.method) &&
            ex->request.framing == VF_FRAMING_LENGTH && ex->request.content_length <= REPLAY_BYTES;
    if (!ex->replayable)
        return;
    if (ex->replay_room == 0) {
        ex->replay_room = (size_t)ex->request.content_length;
        ex->replay.data = vf_arena_alloc(&ex->arena, ex->replay_room);
        ex->replay.len = 0;
    }
    if (ex->replay.data == NULL || ex->replay.len + slice.len > ex->replay_room) {
        ex->replayable = false;
        ex->replay.len = 0;
        return;
    }
    memcpy((char *)(uintptr_t)ex->replay.data + ex->replay.len, slice.data, slice.len);
    ex->replay.len += slice.len;
}

static void refuse_large_body(struct vf_exchange *ex)
{
    ex->close_client = true;
    ex->reason = "body_too_large";
    vf_upstream_abandon(ex);
    if (!ex->head_sent)
        vf_exchange_problem(ex, 413, "body_too_large", "The request body is larger than allowed.");
    else
        vf_client_abort(ex);
}

void vf_exchange_on_request_data(struct vf_exchange *ex, struct vf_str slice)
{
    if (ex->client == NULL)
        return; /* it ended within this read */
    ex->bytes_in += slice.len;
    if (!ex->is_tunnel && ex->bytes_in > body_limit(ex)) {
        refuse_large_body(ex);
        return;
    }
    if (ex->proxy->has_handler && !ex->answer_ended) {
        collect(ex, slice);
        return;
    }
    if (ex->upstream == NULL) {
        if (ex->answer_ended)
            vf_client_discard(ex, slice.len);
        return;
    }
    if (!ex->is_tunnel)
        keep_for_replay(ex, slice);
    vf_upstream_send_data(ex, slice);
}

static void end_tunnel_if_over(struct vf_exchange *ex)
{
    if (ex->request_state != VF_FLOW_DONE || ex->response_state != VF_FLOW_DONE)
        return;
    vf_upstream_abandon(ex);
    vf_client_send_end(ex, NULL);
}

void vf_exchange_on_request_end(struct vf_exchange *ex)
{
    if (ex->proxy->has_handler && !ex->answer_ended) {
        hand_over(ex);
        return;
    }
    if (ex->is_tunnel) {
        ex->request_state = VF_FLOW_DONE;
        vf_upstream_tunnel_end(ex);
        end_tunnel_if_over(ex);
        return;
    }
    if (ex->upstream != NULL)
        vf_upstream_send_end(ex, &ex->request_parser.trailers);
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

void vf_exchange_on_client_gone(struct vf_exchange *ex, const char *reason)
{
    ex->client = NULL;
    if (ex->reason == NULL)
        ex->reason = reason;
    vf_count_add(&ex->proxy->block->totals.client_aborts, 1);
    vf_upstream_abandon(ex);
    if (ex->handled)
        ex->proxy->handler.on_gone(ex->proxy->handler.owner, ex);
    vf_exchange_free(ex);
}

void vf_exchange_on_client_drained(struct vf_exchange *ex)
{
    if (ex->upstream != NULL)
        vf_upstream_resume(ex);
}

void vf_exchange_on_upstream_drained(struct vf_exchange *ex)
{
    vf_client_resume(ex);
}

void vf_exchange_on_connected(struct vf_exchange *ex)
{
    vf_passive_ok(ex->proxy->state, ex->snapshot, ex->backend_index);
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

void vf_exchange_on_response(struct vf_exchange *ex)
{
    ex->upstream_status = ex->response.status;
    if (ex->response.status == 101 && !begin_tunnel(ex))
        return;
    if (ex->first_byte_ns > ex->sent_ns && ex->sent_ns != 0)
        vf_balance_observe(ex->proxy->balancers, ex->snapshot, ex->backend_index,
                           (ex->first_byte_ns - ex->sent_ns) / 1000, ex->first_byte_ns);
    vf_passive_ok(ex->proxy->state, ex->snapshot, ex->backend_index);
    vf_forward_response(ex);
    vf_client_send_head(ex);
    if (ex->is_tunnel)
        vf_client_resume(ex); /* what the client sent ahead */
}

void vf_exchange_on_response_data(struct vf_exchange *ex, struct vf_str slice)
{
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
    vf_client_send_end(ex, &ex->response_parser.trailers);
}

/* Failures of a backend */

/* A kept connection may have been closed by the backend just when it was used (RFC 9112 section
 * 9.3.1): once more, on a fresh one, where that is safe. */
static bool try_again(struct vf_exchange *ex)
{
    bool complete_copy = ex->bytes_in == 0 || (ex->replayable && ex->replay.len == ex->bytes_in);
    if (!ex->on_reused || ex->retried || !complete_copy ||
        !vf_method_is_idempotent((int)ex->request.method))
        return false;
    ex->retried = true;
    if (vf_upstream_open(ex, true) < 0)
        return false;
    vf_count_add(&ex->proxy->block->pools[ex->pool->slot].retries, 1);
    send_request(ex);
    if (ex->upstream != NULL)
        vf_client_resume(ex);
    return true;
}

static void count_failure(struct vf_exchange *ex, enum vf_upstream_failure failure,
                          const struct vf_fault *fault)
{
    struct vf_state_backend *counts = &ex->proxy->block->backends[ex->backend->slot];
    if (failure == VF_UPSTREAM_CONNECT || failure == VF_UPSTREAM_CONNECT_TIMEOUT) {
        note_connect_failure(ex);
        return;
    }
    if (failure == VF_UPSTREAM_TIMEOUT)
        vf_count_add(&counts->timeouts, 1);
    else if (failure == VF_UPSTREAM_MALFORMED)
        vf_count_add(&counts->malformed, 1);
    else
        vf_count_add(&counts->aborted, 1);
    if (fault != NULL) {
        vf_count_add(&ex->proxy->block->totals.malformed_responses, 1);
        vf_account_fault(ex, fault, "backend");
    }
    vf_balance_failed(ex->proxy->balancers, ex->snapshot, ex->backend_index,
                      vf_proxy_now_ns(ex->proxy));
}

static const char *failure_reason(enum vf_upstream_failure failure)
{
    static const char *const reasons[] = {"backend_unreachable", "connect_timeout",
                                          "upstream_closed",     "upstream_timeout",
                                          "upstream_cut",        "malformed_response"};
    return reasons[failure];
}

void vf_exchange_on_upstream_failed(struct vf_exchange *ex, enum vf_upstream_failure failure,
                                    const struct vf_fault *fault)
{
    if (ex->answer_ended) {
        vf_account_leave_backend(ex);
        vf_client_resume(ex); /* the rest of the request is dropped */
        return;
    }
    bool connect = failure == VF_UPSTREAM_CONNECT || failure == VF_UPSTREAM_CONNECT_TIMEOUT;
    if (failure == VF_UPSTREAM_CLOSED && !ex->head_sent && try_again(ex))
        return;
    count_failure(ex, failure, fault);
    vf_account_leave_backend(ex);
    if (ex->head_sent) {
        ex->reason = failure_reason(failure);
        ex->response_state = VF_FLOW_FAILED;
        vf_client_abort(ex);
        return;
    }
    ex->last_failure = failure;
    if (!connect) {
        answer_failure(ex, failure);
        return;
    }
    dispatch(ex); /* nothing was sent yet: to another backend, or an answer */
    if (ex->upstream != NULL)
        vf_client_resume(ex); /* a kept connection takes content at once */
}
