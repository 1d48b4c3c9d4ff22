#include "proxy/forward.h"

#include <uv.h>

#include "base/clock.h"
#include "base/hash.h"
#include "http/method.h"
#include "proxy/client_cert.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/sticky.h"
#include "snapshot/address.h"
#include "snapshot/router.h"

enum { REQUEST_ID_BYTES = 32, MAX_REQUEST_ID_BYTES = 128 };

/* Who asks */

static bool is_request_id(struct vf_str id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = vf_lower(id.data[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
              c == '.' || c == ':'))
            return false;
    }
    return id.len > 0 && id.len <= MAX_REQUEST_ID_BYTES;
}

static struct vf_str make_request_id(struct vf_exchange *ex)
{
    struct vf_proxy *proxy = ex->proxy;
    uint64_t n = ++proxy->id_counter;
    uint64_t words[2] = {vf_hash_mix(proxy->id_seed[0] + n), vf_hash_mix(proxy->id_seed[1] ^ n)};
    char *id = vf_arena_alloc(&ex->arena, REQUEST_ID_BYTES);
    if (id == NULL)
        return vf_str_make("", 0);
    for (int i = 0; i < 4; i++)
        vf_hex_format((uint32_t)(words[i / 2] >> (i % 2 * 32)), id + 8 * i);
    return vf_str_make(id, REQUEST_ID_BYTES);
}

/* Takes ":port" off an address; "2001:db8::1" has none. */
static bool take_port(struct vf_str *text, uint16_t *port)
{
    const char *bracket = memchr(text->data, ']', text->len);
    const char *from = bracket != NULL ? bracket : text->data;
    const char *colon = memchr(from, ':', (size_t)(text->data + text->len - from));
    const char *end = text->data + text->len;
    uint64_t number;
    *port = 0;
    if (colon == NULL ||
        (bracket == NULL && memchr(colon + 1, ':', (size_t)(end - colon - 1)) != NULL))
        return true;
    if (!vf_str_to_u64(vf_str_make(colon + 1, (size_t)(end - colon - 1)), &number) ||
        number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    text->len = (size_t)(colon - text->data);
    return true;
}

/* Reads "v4", "v4:port", "v6", "[v6]" or "[v6]:port"; *text becomes the address itself. */
static bool parse_client(struct vf_str *text, struct vf_snap_address *out)
{
    uint16_t port;
    if (text->len == 0 || !take_port(text, &port))
        return false;
    if (text->len > 2 && text->data[0] == '[' && text->data[text->len - 1] == ']')
        *text = vf_str_make(text->data + 1, text->len - 2);
    if (!vf_address_parse_ip(*text, out))
        return false;
    out->port = port;
    return true;
}

/* The last address of X-Forwarded-For that no trusted proxy of ours added. */
static void find_real_client(struct vf_exchange *ex, struct vf_str list)
{
    while (list.len > 0) {
        size_t start = list.len;
        while (start > 0 && list.data[start - 1] != ',')
            start--;
        struct vf_str item = vf_str_trim(vf_str_make(list.data + start, list.len - start));
        struct vf_snap_address address;
        list.len = start > 0 ? start - 1 : 0;
        if (!parse_client(&item, &address))
            return;
        ex->client_ip = item;
        ex->client_address = address;
        if (!vf_snapshot_is_trusted(ex->snapshot, address.family, address.ip))
            return;
    }
}

static bool peer_is_trusted(const struct vf_exchange *ex)
{
    const struct vf_snap_address *peer = &ex->client->conn->peer;
    return vf_snap_count(ex->snapshot, VF_SNAP_NETWORKS) > 0 &&
           vf_snapshot_is_trusted(ex->snapshot, peer->family, peer->ip);
}

void vf_forward_identify(struct vf_exchange *ex)
{
    struct vf_fields *fields = &ex->request.fields;
    ex->client_ip = vf_downstream_peer_text(ex->client->conn);
    ex->client_address = ex->client->conn->peer;
    ex->trusted = peer_is_trusted(ex);
    if (ex->trusted) {
        const struct vf_field *id = vf_fields_get(fields, VF_FIELD_X_REQUEST_ID);
        if (id != NULL && is_request_id(id->value))
            ex->request_id = id->value;
        if (vf_fields_have(fields, VF_FIELD_X_FORWARDED_FOR))
            find_real_client(ex, vf_fields_joined(fields, VF_FIELD_X_FORWARDED_FOR, &ex->arena));
    }
    if (ex->request_id.len == 0)
        ex->request_id = make_request_id(ex);
}

/* Fields */

static void drop(struct vf_fields *fields, enum vf_field_id id)
{
    if (!vf_fields_have(fields, id))
        return;
    for (uint32_t i = 0; i < fields->count; i++)
        if (fields->list[i].id == id)
            fields->list[i].dropped = true;
}

static void drop_named(struct vf_fields *fields, struct vf_str name)
{
    for (uint32_t i = 0; i < fields->count; i++)
        if (vf_str_ieq(fields->list[i].name, name))
            fields->list[i].dropped = true;
}

/* The field added last is for the backend only, not the client's. */
static void mark_ours(struct vf_exchange *ex, struct vf_fields *fields)
{
    fields->list[fields->count - 1].is_ours = fields == &ex->request.fields;
}

static void add(struct vf_exchange *ex, struct vf_fields *fields, struct vf_str name,
                struct vf_str value)
{
    if (value.data != NULL && vf_fields_add(fields, &ex->arena, name, value) == 0)
        mark_ours(ex, fields); /* without memory the field is missing */
}

static void add_known(struct vf_exchange *ex, struct vf_fields *fields, enum vf_field_id id,
                      struct vf_str value)
{
    if (value.data != NULL && vf_fields_add_known(fields, &ex->arena, id, value) == 0)
        mark_ours(ex, fields);
}

void vf_exchange_edit(struct vf_exchange *ex, struct vf_fields *fields, struct vf_snap_list edits)
{
    for (uint32_t i = 0; i < edits.count; i++) {
        const struct vf_snap_field_op *op = vf_snap_op(ex->snapshot, edits.first + i);
        struct vf_str name = vf_snap_str(ex->snapshot, op->name);
        if (op->kind != VF_FIELD_ADD)
            drop_named(fields, name);
        if (op->kind != VF_FIELD_REMOVE)
            add(ex, fields, name, vf_snap_str(ex->snapshot, op->value));
    }
}

/* Adds `value` to the list in the field `id`, or begins it. */
static void append(struct vf_exchange *ex, struct vf_fields *fields, enum vf_field_id id,
                   struct vf_str value, bool keep_old)
{
    if (keep_old && vf_fields_have(fields, id)) {
        struct vf_str old = vf_fields_joined(fields, id, &ex->arena);
        value = vf_forward_join(ex, old, VF_STR(", "), value);
    }
    drop(fields, id);
    add_known(ex, fields, id, value);
}

static void add_via(struct vf_exchange *ex, struct vf_fields *fields, const struct vf_head *head)
{
    struct vf_str value = head->is_h2                ? VF_STR("2 veloflux")
                          : head->version_minor == 0 ? VF_STR("1.0 veloflux")
                                                     : VF_STR("1.1 veloflux");
    append(ex, fields, VF_FIELD_VIA, value, true);
}

/* What the client speaks with us. */
static struct vf_str scheme_of(const struct vf_exchange *ex)
{
    return ex->is_secure ? VF_STR("https") : VF_STR("http");
}

static void add_x_forwarded(struct vf_exchange *ex, struct vf_fields *fields)
{
    append(ex, fields, VF_FIELD_X_FORWARDED_FOR, vf_downstream_peer_text(ex->client->conn),
           ex->trusted);
    if (!ex->trusted || !vf_fields_have(fields, VF_FIELD_X_FORWARDED_PROTO)) {
        drop(fields, VF_FIELD_X_FORWARDED_PROTO);
        add_known(ex, fields, VF_FIELD_X_FORWARDED_PROTO, scheme_of(ex));
    }
    if (ex->trusted && vf_fields_have(fields, VF_FIELD_X_FORWARDED_HOST))
        return;
    drop(fields, VF_FIELD_X_FORWARDED_HOST);
    if (ex->host.len > 0)
        add_known(ex, fields, VF_FIELD_X_FORWARDED_HOST, ex->host);
}

/* "for=192.0.2.1;host=example.com;proto=http" (RFC 7239 section 4). */
static void add_forwarded(struct vf_exchange *ex, struct vf_fields *fields)
{
    struct vf_str peer = vf_downstream_peer_text(ex->client->conn);
    bool v6 = memchr(peer.data, ':', peer.len) != NULL;
    struct vf_str value = vf_forward_join(ex, v6 ? VF_STR("for=\"[") : VF_STR("for="), peer,
                                          v6 ? VF_STR("]\"") : VF_STR(""));
    if (value.data != NULL && ex->host.len > 0) {
        value = vf_forward_join(ex, value, VF_STR(";host=\""), ex->host);
        if (value.data != NULL)
            value = vf_forward_join(ex, value, VF_STR("\""), VF_STR(""));
    }
    if (value.data != NULL)
        value = vf_forward_join(ex, value, VF_STR(";proto="), scheme_of(ex));
    if (value.data != NULL)
        append(ex, fields, VF_FIELD_FORWARDED, value, ex->trusted);
}

static void lower_max_forwards(struct vf_exchange *ex, struct vf_fields *fields)
{
    uint64_t hops;
    const struct vf_field *field = vf_fields_get(fields, VF_FIELD_MAX_FORWARDS);
    bool counts = ex->request.method == VF_METHOD_TRACE || ex->request.method == VF_METHOD_OPTIONS;
    if (field == NULL || !counts || vf_str_eq(field->value, VF_STR("0")))
        return;
    if (!vf_str_to_u64(field->value, &hops) || hops == 0)
        hops = UINT8_MAX; /* more than any path has */
    char *text = vf_arena_alloc(&ex->arena, 20);
    drop(fields, VF_FIELD_MAX_FORWARDS);
    if (text != NULL)
        add_known(ex, fields, VF_FIELD_MAX_FORWARDS,
                  vf_str_make(text, vf_u64_format(hops - 1, text)));
}

/* X-Real-IP, and what else there is of X-Forwarded (Port, Prefix, Server, Ssl, ...). */
static bool is_claim(struct vf_str name)
{
    enum { PREFIX_BYTES = sizeof("X-Forwarded-") - 1 };
    if (name.len < 9 || vf_lower(name.data[0]) != 'x')
        return false;
    return vf_str_ieq(name, VF_STR("X-Real-IP")) ||
           (name.len > PREFIX_BYTES &&
            vf_str_ieq(vf_str_make(name.data, PREFIX_BYTES), VF_STR("X-Forwarded-")));
}

/* Drops what a stranger says of itself, which a backend may believe as it believes our fields. */
static void drop_claims(struct vf_fields *fields)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        struct vf_field *field = &fields->list[i];
        if (field->id == VF_FIELD_OTHER && !field->is_ours && is_claim(field->name))
            field->dropped = true;
    }
}

/* Requests */

/* The edits of the configuration; a Host that they set is for the backend; framing stays ours. */
static void edit_request(struct vf_exchange *ex, struct vf_fields *fields)
{
    if (ex->listener->edits.request.count + ex->route->edits.request.count == 0)
        return;
    vf_exchange_edit(ex, fields, ex->listener->edits.request);
    vf_exchange_edit(ex, fields, ex->route->edits.request);
    for (uint32_t i = 0; i < fields->count; i++)
        if (fields->list[i].id == VF_FIELD_HOST && !fields->list[i].dropped)
            ex->forward_host = fields->list[i].value;
    vf_fields_drop_hop_by_hop(fields);
}

int vf_forward_request(struct vf_exchange *ex, const struct vf_route_match *match)
{
    struct vf_fields *fields = &ex->request.fields;
    ex->forward_target = vf_forward_target(ex, match);
    if (ex->forward_target.data == NULL)
        return UV_ENOMEM;
    vf_fields_drop_hop_by_hop(fields);
    if (ex->request.framing != VF_FRAMING_CHUNKED)
        drop(fields, VF_FIELD_TRAILER);
    if (ex->request.version_minor == 0)
        drop(fields, VF_FIELD_EXPECT); /* RFC 9110 section 10.1.1 */
    if (ex->forward_host.data == NULL)
        ex->forward_host = ex->host;
    edit_request(ex, fields);
    lower_max_forwards(ex, fields);
    if (ex->pool->flags & VF_POOL_VIA_REQUEST)
        add_via(ex, fields, &ex->request);
    if (ex->pool->flags & VF_POOL_X_FORWARDED)
        add_x_forwarded(ex, fields);
    if (ex->pool->flags & VF_POOL_FORWARDED)
        add_forwarded(ex, fields);
    else if ((ex->pool->flags & VF_POOL_X_FORWARDED) != 0 && !ex->trusted)
        drop(fields, VF_FIELD_FORWARDED);
    if ((ex->pool->flags & VF_POOL_X_FORWARDED) != 0 && !ex->trusted)
        drop_claims(fields);
    if (vf_snap_settings(ex->snapshot)->client_certs != 0)
        vf_client_cert_forward(ex);
    drop(fields, VF_FIELD_X_REQUEST_ID);
    add_known(ex, fields, VF_FIELD_X_REQUEST_ID, ex->request_id);
    return 0;
}

/* Answers */

static void add_sticky_cookie(struct vf_exchange *ex, struct vf_fields *fields)
{
    char *text = vf_arena_alloc(&ex->arena, VF_STICKY_FIELD_BYTES);
    if (text == NULL)
        return;
    size_t len = vf_sticky_field(ex->snapshot, ex->pool_index, ex->backend_index,
                                 vf_clock_wall_ms(), ex->is_secure, text);
    if (len > 0)
        add(ex, fields, VF_STR("Set-Cookie"), vf_str_make(text, len));
}

void vf_forward_response(struct vf_exchange *ex)
{
    struct vf_fields *fields = &ex->response.fields;
    vf_fields_drop_hop_by_hop(fields);
    if (ex->response.framing != VF_FRAMING_CHUNKED)
        drop(fields, VF_FIELD_TRAILER);
    if (ex->response.status >= 200 && !vf_fields_have(fields, VF_FIELD_DATE)) {
        struct vf_str now = vf_proxy_date(ex->proxy); /* RFC 9110 section 6.6.1 */
        add_known(ex, fields, VF_FIELD_DATE,
                  vf_str_make(vf_arena_strndup(&ex->arena, now.data, now.len), now.len));
    }
    if (ex->response.status < 200)
        return;
    if (ex->pool->flags & VF_POOL_VIA_RESPONSE)
        add_via(ex, fields, &ex->response);
    if (ex->set_cookie)
        add_sticky_cookie(ex, fields);
    if (ex->listener->edits.response.count + ex->route->edits.response.count == 0)
        return;
    vf_exchange_edit(ex, fields, ex->listener->edits.response);
    vf_exchange_edit(ex, fields, ex->route->edits.response);
    vf_fields_drop_hop_by_hop(fields);
}
