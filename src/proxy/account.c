#include "proxy/account.h"

#include <unistd.h>

#include "base/clock.h"
#include "proxy/access/log.h"
#include "proxy/balance/balance.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/labels.h"
#include "proxy/passive.h"

static uint64_t us_between(uint64_t from_ns, uint64_t to_ns)
{
    return from_ns != 0 && to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;
}

static vf_count *class_of(vf_count *first_of_five, uint32_t status)
{
    uint32_t class = status / 100;
    return &first_of_five[class >= 1 && class <= 5 ? class - 1 : 4];
}

static void count_totals(struct vf_exchange *ex, uint32_t status)
{
    struct vf_state_totals *totals = &ex->proxy->block->totals;
    vf_count_add(&totals->requests, 1);
    vf_count_add(&totals->bytes_in, ex->bytes_in);
    vf_count_add(&totals->bytes_out, ex->bytes_out);
    if (status != 0)
        vf_count_add(class_of(&totals->responses_1xx, status), 1);
    struct vf_state_listener *listener = &ex->proxy->block->listeners[ex->listener->slot];
    vf_count_add(&listener->requests, 1);
    vf_count_add(&listener->bytes_out, ex->bytes_out);
}

static void count_route(struct vf_exchange *ex, uint32_t status, uint64_t us)
{
    struct vf_state_route *route = &ex->proxy->block->routes[ex->route->slot];
    vf_count_add(&route->requests, 1);
    vf_count_add(&route->bytes_in, ex->bytes_in);
    vf_count_add(&route->bytes_out, ex->bytes_out);
    vf_count_add(&route->sum_us, us);
    if (status >= 500)
        vf_count_add(&route->class_5xx, 1);
    else if (status >= 400)
        vf_count_add(&route->class_4xx, 1);
}

static void count_pool(struct vf_exchange *ex, uint32_t status, uint64_t us)
{
    struct vf_state_pool *pool = &ex->proxy->block->pools[ex->pool->slot];
    vf_count_add(&pool->requests, 1);
    vf_count_add(&pool->bytes_in, ex->bytes_in);
    vf_count_add(&pool->bytes_out, ex->bytes_out);
    vf_state_observe(&pool->latency[vf_state_method(ex->request.method)], us);
    vf_state_count_status(pool, ex->request.method, status);
}

void vf_account_backend(struct vf_state_backend *backend, uint32_t status, uint64_t bytes,
                        uint64_t us, uint64_t now_ns)
{
    vf_count_set(&backend->used_ns, now_ns);
    vf_count_add(&backend->requests, 1);
    vf_count_add(&backend->bytes_out, bytes);
    vf_count_add(&backend->sum_us, us);
    vf_count_add(class_of(&backend->class_1xx, status), 1);
}

void vf_account_connect_failure(struct vf_proxy *proxy, const struct vf_snapshot *snapshot,
                                uint32_t pool_index, uint32_t backend_index, uint32_t try)
{
    uint64_t now_ns = vf_proxy_now_ns(proxy);
    struct vf_str pool = vf_snap_str(snapshot, vf_snap_pool(snapshot, pool_index)->name);
    struct vf_str backend =
        vf_snap_str(snapshot, vf_snap_backend(snapshot, backend_index)->address_text);
    vf_balance_failed(proxy->balancers, snapshot, backend_index, now_ns);
    vf_passive_failed(proxy->state, snapshot, pool_index, backend_index, now_ns);
    vf_log_warn(&proxy->log, "backend.connect_failed", "pool=%.*s backend=%.*s try=%u",
                (int)pool.len, pool.data, (int)backend.len, backend.data, try);
}

void vf_account_meter(struct vf_exchange *ex)
{
    const struct vf_usage *usage = ex->proxy->usage;
    if (usage == NULL)
        return;
    uint32_t tenant = ex->route != NULL ? ex->route->tenant : ex->pool->tenant;
    ex->usage = vf_usage_cell(usage, vf_snap_tenant(ex->snapshot, tenant)->id);
    if (ex->usage != NULL && ex->bytes_in > 0)
        vf_count_add(&ex->usage->counts[VF_USAGE_BYTES_IN], ex->bytes_in);
}

void vf_account_answer(struct vf_exchange *ex)
{
    if (ex->usage == NULL || ex->is_metered)
        return;
    ex->is_metered = true;
    vf_count_add(&ex->usage->counts[VF_USAGE_REQUESTS], 1);
}

void vf_account_in(struct vf_exchange *ex, uint64_t bytes)
{
    ex->bytes_in += bytes;
    if (ex->usage != NULL)
        vf_count_add(&ex->usage->counts[VF_USAGE_BYTES_IN], bytes);
}

void vf_account_out(struct vf_exchange *ex, uint64_t bytes)
{
    ex->bytes_out += bytes;
    if (ex->usage != NULL)
        vf_count_add(&ex->usage->counts[VF_USAGE_BYTES_OUT], bytes);
}

void vf_account_enter_backend(struct vf_exchange *ex)
{
    ex->in_flight = true;
    vf_count_add(&ex->proxy->block->backends[ex->backend->slot].in_flight, 1);
}

void vf_account_leave_backend(struct vf_exchange *ex)
{
    if (!ex->in_flight)
        return;
    ex->in_flight = false;
    vf_count_add(&ex->proxy->block->backends[ex->backend->slot].in_flight, (uint64_t)-1);
}

void vf_account_fault(struct vf_exchange *ex, const struct vf_fault *fault, const char *side)
{
    struct vf_str id = ex->request_id;
    struct vf_labels labels;
    vf_labels(ex, &labels);
    struct vf_str backend = labels.backend.len > 0 ? labels.backend : VF_STR("-");
    vf_log_info(
        &ex->proxy->log, "message.refused",
        "side=%s code=%s rule=%s section=%s offset=%zu client=%s request_id=%.*s backend=%.*s",
        side, fault->code, fault->rule, fault->section, fault->offset,
        ex->client != NULL ? vf_downstream_peer_text(ex->client->conn).data : "-", (int)id.len,
        id.data, (int)backend.len, backend.data);
}

static struct vf_str field_value(struct vf_exchange *ex, struct vf_str name)
{
    const struct vf_field *field = vf_fields_find(&ex->request.fields, name);
    return field != NULL ? field->value : vf_str_make("", 0);
}

static void write_access_log(struct vf_exchange *ex, uint32_t status, uint64_t us)
{
    struct vf_labels labels;
    vf_labels(ex, &labels);
    struct vf_access_record record = {
        .wall_ms = vf_clock_wall_ms(),
        .request_id = ex->request_id,
        .listener = labels.listener,
        .route = labels.route,
        .tenant = labels.tenant,
        .pool = labels.pool,
        .backend = labels.backend,
        .consumer = ex->consumer,
        .tls_version = ex->tls_version,
        .tls_cipher = ex->tls_cipher,
        .server_name = ex->server_name,
        .client = ex->client_ip,
        .method = ex->request.method_name,
        .host = ex->host,
        .path = ex->request.target,
        .http_version = vf_head_version(&ex->request),
        .status = status,
        .reason = ex->reason != NULL ? vf_str_from(ex->reason) : vf_str_make("", 0),
        .upstream_status = ex->upstream_status,
        .tries = ex->n_tried + ex->retried,
        .bytes_in = ex->bytes_in,
        .bytes_out = ex->bytes_out,
        .duration_us = us,
        .connect_us = us_between(ex->connect_ns, ex->connected_ns),
        .first_byte_us = us_between(ex->start_ns, ex->first_byte_ns),
        .referer = field_value(ex, VF_STR("referer")),
        .user_agent = field_value(ex, VF_STR("user-agent")),
    };
    vf_access_log_write(ex->proxy->access_log, &record);
}

/* A tunnel, which pins no snapshot, may outlive its route: the slot is another's then. */
static bool owns_slot(const struct vf_exchange *ex, enum vf_entity_kind kind, uint32_t slot,
                      uint64_t id)
{
    return ex->snapshot != NULL || vf_state_slot_id(ex->proxy->state, kind, slot) == id;
}

/* A connection that was passed on: it has no status, and how long it stood is no latency. */
static void count_connection(struct vf_exchange *ex, uint64_t now_ns)
{
    struct vf_state_pool *pool = &ex->proxy->block->pools[ex->pool->slot];
    if (owns_slot(ex, VF_ENTITY_POOL, ex->pool->slot, ex->pool->id)) {
        vf_count_add(&pool->requests, 1);
        vf_count_add(&pool->bytes_in, ex->bytes_in);
        vf_count_add(&pool->bytes_out, ex->bytes_out);
    }
    if (!ex->head_sent || !owns_slot(ex, VF_ENTITY_BACKEND, ex->backend->slot, ex->backend->id))
        return;
    struct vf_state_backend *backend = &ex->proxy->block->backends[ex->backend->slot];
    vf_count_set(&backend->used_ns, now_ns);
    vf_count_add(&backend->requests, 1);
    vf_count_add(&backend->bytes_out, ex->bytes_in);
}

void vf_account_exchange(struct vf_exchange *ex)
{
    struct vf_proxy *proxy = ex->proxy;
    uint32_t status = ex->head_sent ? ex->response.status : 0;
    uint64_t now_ns = vf_proxy_now_ns(proxy), us = us_between(ex->start_ns, now_ns);
    if (proxy->has_handler || ex->is_handshake)
        return;            /* the admin address is not traffic, a handshake no request */
    vf_account_answer(ex); /* of those that got none */
    count_totals(ex, status);
    if (ex->route != NULL && owns_slot(ex, VF_ENTITY_ROUTE, ex->route->slot, ex->route->id))
        count_route(ex, status, us);
    if (ex->is_raw)
        count_connection(ex, now_ns);
    else if (ex->pool != NULL && owns_slot(ex, VF_ENTITY_POOL, ex->pool->slot, ex->pool->id))
        count_pool(ex, status, us);
    if (ex->upstream_status != 0 &&
        owns_slot(ex, VF_ENTITY_BACKEND, ex->backend->slot, ex->backend->id))
        vf_account_backend(&proxy->block->backends[ex->backend->slot], ex->upstream_status,
                           ex->bytes_in, us, now_ns);
    if (status >= 500 && ex->is_local)
        vf_state_add_error(proxy->block, status, ex->reason != NULL ? ex->reason : "",
                           ex->request.target.data, ex->request.target.len,
                           ex->pool != NULL ? ex->pool->slot : UINT32_MAX,
                           ex->backend != NULL ? ex->backend->slot : UINT32_MAX);
    if (proxy->access_log != NULL)
        write_access_log(ex, status, us);
}
