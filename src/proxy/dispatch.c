#include "proxy/dispatch.h"

#include <uv.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "http/cookie.h"
#include "http/method.h"
#include "net/op.h"
#include "proxy/account.h"
#include "proxy/balance/balance.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/passive.h"
#include "proxy/phases.h"
#include "proxy/sticky.h"
#include "proxy/upstream.h"
#include "snapshot/address.h"

enum { TARGET_SEED = 7 /* keeps plugins' targets apart from backends */ };

/* Choosing a backend */

/* The value of the first field called `name`; data NULL when absent. */
static struct vf_str field_value(const struct vf_exchange *ex, struct vf_str name)
{
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

struct vf_str vf_dispatch_hash_key(struct vf_exchange *ex, const struct vf_snap_pool *pool)
{
    struct vf_str name = vf_snap_str(ex->snapshot, pool->hash_name);
    if (pool->algorithm != VF_BALANCE_CONSISTENT_HASH)
        return vf_str_make(NULL, 0);
    switch (pool->hash_on) {
    case VF_HASH_ON_HEADER:
        return field_value(ex, name);
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

/* A plugin has named the backend: it is tried once, unless the plugin names one again. */
static int pick_target(struct vf_exchange *ex)
{
    if (!ex->target_is_new)
        return VF_ENOBACKEND;
    ex->target_is_new = false;
    ex->set_cookie = false;
    ex->tried[ex->n_tried++] = VF_SNAP_NONE;
    return 0;
}

static int pick(struct vf_exchange *ex)
{
    if (ex->has_target)
        return pick_target(ex);
    struct vf_balance_key key = {.hash_key = vf_dispatch_hash_key(ex, ex->pool),
                                 .family = ex->client_address.family};
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

uint64_t vf_dispatch_target_id(const char *address, size_t len)
{
    return vf_hash(address, len, TARGET_SEED);
}

int vf_dispatch_set_target(struct vf_exchange *ex, struct vf_str host, uint16_t port)
{
    struct vf_snap_backend *backend = vf_arena_zalloc(&ex->arena, sizeof(*backend));
    char *text = vf_arena_alloc(&ex->arena, host.len + 8);
    if (backend == NULL || text == NULL)
        return UV_ENOMEM;
    memcpy(text, host.data, host.len);
    text[host.len] = ':';
    size_t len = host.len + 1 + vf_u64_format(port, text + host.len + 1);
    backend->id = vf_dispatch_target_id(text, len);
    backend->slot = VF_STATE_TARGET_SLOT;
    vf_address_parse_ip(host, &backend->address);
    backend->address.port = port;
    backend->health = VF_SNAP_NONE;
    ex->backend = backend;
    ex->backend_index = VF_SNAP_NONE;
    ex->has_target = ex->target_is_new = true;
    ex->target_host = vf_str_make(text, host.len);
    ex->target_text = vf_str_make(text, len);
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
    vf_count_add(&ex->proxy->block->backends[ex->backend->slot].connect_failures, 1);
    if (ex->own_tls_failed)
        return;
    if (has_other_address(ex)) {
        ex->target_is_new = ex->has_target;
        return;
    }
    if (!ex->has_target)
        vf_account_connect_failure(ex->proxy, ex->snapshot, ex->pool_index, ex->backend_index,
                                   ex->n_tried);
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
    case VF_UPSTREAM_RESET:
        vf_exchange_problem(ex, 502, "upstream_reset", "The backend gave the request up.");
        break;
    case VF_UPSTREAM_REFUSED:
        vf_exchange_problem(ex, 503, "upstream_refused", "No backend takes the request for now.");
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
    if (ex->n_tried == 0 || ex->last_failure != VF_UPSTREAM_CLOSED)
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
    ex->response_state = ex->is_raw ? VF_FLOW_BODY : VF_FLOW_IDLE;
    if (ex->is_raw)
        return; /* what the client sends waits for the connection */
    vf_upstream_send_head(ex);
    if (ex->upstream == NULL)
        return;
    if (ex->replay.len > 0)
        vf_upstream_send_data(ex, ex->replay);
    if (ex->upstream != NULL && ex->request_state == VF_FLOW_DONE)
        vf_upstream_send_end(ex, &ex->request.trailers);
}

/* Tries one backend. Returns false when it failed at once and another may be tried. */
static bool try_backend(struct vf_exchange *ex)
{
    if (pick(ex) < 0) {
        answer_unavailable(ex);
        return true;
    }
    if (ex->n_tried > 1)
        vf_count_add(&ex->proxy->block->pools[ex->pool->slot].failovers, 1);
    int rc = vf_upstream_open(ex, false);
    if (rc == 0) {
        vf_account_enter_backend(ex);
        send_request(ex);
        return true;
    }
    if (rc == VF_PENDING) {
        ex->target_is_new = true;
        ex->n_tried--;
        return true;
    }
    if (rc == VF_ENOBACKEND)
        ex->was_full = true;
    else
        note_connect_failure(ex);
    return false;
}

void vf_dispatch(struct vf_exchange *ex)
{
    do {
        if (ex->n_tried >= ex->max_tries) {
            answer_unavailable(ex);
            return;
        }
        if (vf_phases_run(ex, VF_PHASE_BALANCER) != VF_VERDICT_GO)
            return;
    } while (!try_backend(ex));
}

void vf_dispatch_to_chosen(struct vf_exchange *ex)
{
    if (!try_backend(ex))
        vf_dispatch(ex);
    if (ex->upstream != NULL)
        vf_client_resume(ex);
}

/* Failures of a backend */

static bool has_complete_copy(const struct vf_exchange *ex)
{
    return ex->bytes_in == 0 || ex->has_new_body ||
           (ex->replayable && ex->replay.len == ex->bytes_in);
}

/* A kept connection may have been closed by the backend just when it was used (RFC 9112 section
 * 9.3.1): once more, on a fresh one, where that is safe. It always is when the backend has done
 * nothing about the request (RFC 9113 section 8.7). */
static bool try_again(struct vf_exchange *ex, enum vf_upstream_failure failure)
{
    bool is_safe = failure == VF_UPSTREAM_REFUSED ||
                   (ex->on_reused && vf_method_is_idempotent((int)ex->sent_method));
    if (ex->retried || ex->moved_on || !is_safe || !has_complete_copy(ex))
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

/* A backend that ended, or is about to, took the request on a fresh connection and said nothing:
 * another may have it, where twice does no harm (RFC 9110 section 9.2.2), but no third. */
static bool may_move_on(struct vf_exchange *ex, enum vf_upstream_failure failure)
{
    if (failure != VF_UPSTREAM_CLOSED || ex->moved_on || ex->bytes_in > 0 ||
        !vf_method_is_idempotent((int)ex->sent_method))
        return false;
    ex->moved_on = true;
    return true;
}

/* The backend has ended a connection on which it owed an answer, or the rest of one. It may have
 * closed one that served before already when the request came. */
static bool is_broken_off(const struct vf_exchange *ex, enum vf_upstream_failure failure)
{
    return failure == VF_UPSTREAM_CUT || (failure == VF_UPSTREAM_CLOSED && !ex->on_reused);
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
    if (ex->has_target || ex->snapshot == NULL)
        return; /* no backend of the pool's; or a tunnel: no sign of what comes */
    uint64_t now_ns = vf_proxy_now_ns(ex->proxy);
    vf_balance_failed(ex->proxy->balancers, ex->snapshot, ex->backend_index, now_ns);
    if (is_broken_off(ex, failure))
        vf_passive_failed(ex->proxy->state, ex->snapshot, ex->pool_index, ex->backend_index,
                          now_ns);
}

static const char *failure_reason(enum vf_upstream_failure failure)
{
    static const char *const reasons[] = {
        "backend_unreachable", "connect_timeout",    "upstream_closed", "upstream_timeout",
        "upstream_cut",        "malformed_response", "upstream_reset",  "upstream_refused"};
    return reasons[failure];
}

void vf_exchange_on_upstream_failed(struct vf_exchange *ex, enum vf_upstream_failure failure,
                                    const struct vf_fault *fault)
{
    if (ex->response_state == VF_FLOW_DONE && !ex->is_tunnel) { /* the answer is whole */
        vf_account_leave_backend(ex);
        vf_client_resume(ex); /* the rest of the request is dropped */
        return;
    }
    bool connect = failure == VF_UPSTREAM_CONNECT || failure == VF_UPSTREAM_CONNECT_TIMEOUT;
    bool refused = failure == VF_UPSTREAM_REFUSED && !ex->head_sent && has_complete_copy(ex);
    if ((failure == VF_UPSTREAM_CLOSED || failure == VF_UPSTREAM_REFUSED) && !ex->head_sent &&
        try_again(ex, failure))
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
    if (!connect && !refused && !may_move_on(ex, failure)) {
        answer_failure(ex, failure);
        return;
    }
    vf_dispatch(ex); /* nothing was done yet: to another backend, or an answer */
    if (ex->upstream != NULL)
        vf_client_resume(ex); /* a kept connection takes content at once */
}
