/* proxy/answer.c - answers of our own: problem documents, redirects, fixed answers. */
#include "base/clock.h"
#include "base/spool.h"
#include "http/grpc.h"
#include "http/method.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "proxy/phases.h"
#include "proxy/upstream.h"

#define MAX_INSTANCE 1024 /* of a path in a problem document; a longer one is left out */

enum { PIECE_BYTES = 64 * 1024 /* of content in a file that is sent at once */ };

static struct vf_str copy(struct vf_exchange *ex, struct vf_str text)
{
    char *kept = vf_arena_strndup(&ex->arena, text.data, text.len);
    return vf_str_make(kept, kept != NULL ? text.len : 0);
}

/* Sends the next piece. Returns false when the exchange ended by it. */
static bool send_piece(struct vf_exchange *ex)
{
    ssize_t n = vf_spool_read(ex->answer_spool, ex->answer_sent, ex->answer_piece, PIECE_BYTES);
    if (n <= 0) {
        vf_exchange_fail(ex, "answer_unreadable");
        return false;
    }
    ex->answer_sent += (uint64_t)n;
    vf_client_send_data(ex, vf_str_make(ex->answer_piece, (size_t)n));
    return vf_client_flush(ex);
}

void vf_exchange_send_spool(struct vf_exchange *ex)
{
    if (ex->sends_spool || !ex->head_sent || ex->response_state == VF_FLOW_DONE)
        return; /* it goes on below us on the stack */
    uint64_t len = ex->response.framing != VF_FRAMING_NONE ? vf_spool_len(ex->answer_spool) : 0;
    ex->sends_spool = true;
    while (ex->answer_sent < len && !vf_client_is_blocked(ex))
        if (!send_piece(ex))
            return;
    ex->sends_spool = false;
    if (ex->answer_sent < len)
        return;
    ex->response_state = VF_FLOW_DONE;
    vf_client_send_end(ex, NULL);
}

/* The head has left: the content, and the end. */
void vf_exchange_send_local(struct vf_exchange *ex)
{
    if (ex->answer_spool != NULL) {
        vf_exchange_send_spool(ex);
        return;
    }
    if (ex->response.framing == VF_FRAMING_LENGTH)
        vf_exchange_on_response_data(ex, ex->local_body);
    if (ex->client == NULL)
        return; /* the filter has failed, or the client is gone: that was the end */
    ex->response_state = VF_FLOW_DONE;
    if (ex->filters_body)
        vf_phases_filter(ex, vf_str_make("", 0), true);
    else
        vf_client_send_end(ex, NULL);
}

static void describe(struct vf_exchange *ex, uint32_t status)
{
    uint64_t len = ex->answer_spool != NULL ? vf_spool_len(ex->answer_spool) : ex->local_body.len;
    bool has_body = ex->request.method != VF_METHOD_HEAD && status != 204 && status != 304;
    ex->response.status = status;
    ex->response.reason = vf_status_reason(status);
    /* of what 200 would have had, nobody knows (RFC 9110 section 8.6) */
    ex->response.has_content_length = status != 304 || len > 0;
    ex->response.content_length = len;
    ex->response.framing = has_body && len > 0 ? VF_FRAMING_LENGTH : VF_FRAMING_NONE;
}

static void answer(struct vf_exchange *ex, uint32_t status, struct vf_str content_type,
                   struct vf_str body, const struct vf_fields *fields)
{
    vf_phases_cancel(ex, ex->reason != NULL ? ex->reason : "answered");
    ex->local_body = copy(ex, body);
    vf_phases_drop_answer(ex);
    ex->is_local = true;
    ex->handled = false;
    vf_upstream_abandon(ex);
    if (ex->client == NULL) {
        vf_exchange_free(ex);
        return;
    }
    if (fields != NULL)
        ex->response.fields = *fields;
    else
        ex->response.fields = (struct vf_fields){0};
    ex->response.trailers = (struct vf_fields){0};
    describe(ex, status);
    vf_fields_add_known(&ex->response.fields, &ex->arena, VF_FIELD_DATE,
                        copy(ex, vf_proxy_date(ex->proxy)));
    if (content_type.len > 0 &&
        vf_fields_find(&ex->response.fields, VF_STR("Content-Type")) == NULL)
        vf_fields_add(&ex->response.fields, &ex->arena, VF_STR("Content-Type"), content_type);
    vf_phases_add_early_fields(ex);
    if (ex->header_filtered || vf_phases_run(ex, VF_PHASE_HEADER_FILTER) == VF_VERDICT_GO)
        vf_exchange_head_is_ready(ex);
}

static bool wants_grpc(const struct vf_exchange *ex)
{
    const struct vf_field *type = vf_fields_find(&ex->request.fields, VF_STR("Content-Type"));
    return !ex->proxy->has_handler && type != NULL && vf_grpc_is_content_type(type->value);
}

/* Clients of gRPC read statuses of their own, and no content that is not theirs. */
static void answer_grpc(struct vf_exchange *ex, uint32_t status, struct vf_str message,
                        const struct vf_fields *given)
{
    struct vf_fields fields = given != NULL ? *given : (struct vf_fields){0};
    struct vf_field *type = vf_fields_find(&fields, VF_STR("Content-Type"));
    struct vf_str text = vf_grpc_message(&ex->arena, message);
    if (type != NULL)
        type->value = VF_STR("application/grpc");
    if (vf_fields_find(&fields, VF_STR("Grpc-Status")) == NULL) /* else a plugin has set it */
        vf_fields_add(&fields, &ex->arena, VF_STR("Grpc-Status"), vf_grpc_status(status));
    if (text.data != NULL && vf_fields_find(&fields, VF_STR("Grpc-Message")) == NULL)
        vf_fields_add(&fields, &ex->arena, VF_STR("Grpc-Message"), text);
    answer(ex, 200, VF_STR("application/grpc"), vf_str_make("", 0), &fields);
}

void vf_exchange_answer(struct vf_exchange *ex, uint32_t status, struct vf_str content_type,
                        struct vf_str body, const struct vf_fields *fields)
{
    if (status >= 400 && wants_grpc(ex))
        answer_grpc(ex, status, vf_status_reason(status), fields);
    else
        answer(ex, status, content_type, body, fields);
}

void vf_exchange_answer_spool(struct vf_exchange *ex, uint32_t status, struct vf_str content_type,
                              struct vf_spool *spool, const struct vf_fields *fields)
{
    ex->answer_spool = spool;
    if ((ex->answer_piece = vf_arena_alloc(&ex->arena, PIECE_BYTES)) == NULL) {
        vf_client_close(ex, "out_of_memory");
        return;
    }
    answer(ex, status, content_type, vf_str_make("", 0), fields);
}

/* The weight of a media range in thousandths (RFC 9110 section 12.4.2); 1000 without one. */
static int weight_of(struct vf_str range)
{
    const char *q = memmem(range.data, range.len, ";q=", 3);
    if (q == NULL)
        q = memmem(range.data, range.len, "; q=", 4);
    if (q == NULL)
        return 1000;
    q += q[1] == ' ' ? 4 : 3;
    int weight = 0, unit = 1000;
    for (; q < range.data + range.len && ((*q >= '0' && *q <= '9') || *q == '.'); q++)
        if (*q != '.') {
            weight += (*q - '0') * unit;
            unit /= 10;
        }
    return weight;
}

/* Browsers get HTML: who asks for text/html, and not for JSON as much or more. */
static bool wants_html(struct vf_exchange *ex)
{
    struct vf_str accept = vf_fields_joined(&ex->request.fields, VF_FIELD_ACCEPT, &ex->arena), item;
    int html = 0, json = 0;
    while (vf_str_next_item(&accept, &item)) {
        if (vf_str_starts(item, VF_STR("text/html")))
            html = weight_of(item);
        else if (vf_str_starts(item, VF_STR("application/json")) ||
                 vf_str_starts(item, VF_STR("application/problem+json")))
            json = weight_of(item);
    }
    return html > json;
}

struct text {
    char *at, *end;
};

static void put(struct text *text, struct vf_str piece)
{
    size_t room = (size_t)(text->end - text->at);
    size_t len = piece.len < room ? piece.len : room;
    if (len > 0)
        memcpy(text->at, piece.data, len);
    text->at += len;
}

static void put_status(struct text *text, uint32_t status)
{
    char digits[20];
    put(text, vf_str_make(digits, vf_u64_format(status, digits)));
}

/* The path of the request as it came; empty when there is none, or none that JSON takes. */
static struct vf_str path_of(const struct vf_exchange *ex)
{
    struct vf_str target = ex->request.target;
    size_t len = 0;
    for (; len < target.len && target.data[len] != '?'; len++)
        if (target.data[len] <= ' ' || target.data[len] == '"' || target.data[len] == '\\' ||
            target.data[len] == 0x7f)
            return vf_str_make("", 0);
    return vf_str_make(target.data, len < MAX_INSTANCE ? len : 0);
}

/* What problems of the admin address have besides (lua/veloflux/admin/problem.lua). */
static void put_admin_members(struct text *text, const struct vf_exchange *ex, const char *detail)
{
    struct vf_str path = path_of(ex);
    put(text, VF_STR("\",\"error\":\""));
    put(text, vf_str_from(detail));
    if (path.len == 0)
        return;
    put(text, VF_STR("\",\"instance\":\""));
    put(text, path);
}

static void put_json(struct text *text, struct vf_exchange *ex, uint32_t status, const char *reason,
                     const char *detail)
{
    put(text, VF_STR("{\"type\":\"about:blank\",\"title\":\""));
    put(text, vf_status_reason(status));
    put(text, VF_STR("\",\"status\":"));
    put_status(text, status);
    put(text, VF_STR(",\"detail\":\""));
    put(text, vf_str_from(detail));
    put(text, VF_STR("\",\"code\":\""));
    put(text, vf_str_from(reason));
    if (ex->proxy->has_handler)
        put_admin_members(text, ex, detail);
    put(text, VF_STR("\",\"request_id\":\""));
    put(text, ex->request_id);
    put(text, VF_STR("\"}\n"));
}

static void put_html(struct text *text, struct vf_exchange *ex, uint32_t status, const char *reason,
                     const char *detail)
{
    put(text, VF_STR("<!doctype html><meta charset=\"utf-8\"><title>"));
    put_status(text, status);
    put(text, VF_STR(" "));
    put(text, vf_status_reason(status));
    put(text, VF_STR("</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:40em;"
                     "margin:15vh auto;padding:0 1em;color:#222}small{color:#777}</style><h1>"));
    put_status(text, status);
    put(text, VF_STR(" "));
    put(text, vf_status_reason(status));
    put(text, VF_STR("</h1><p>"));
    put(text, vf_str_from(detail));
    put(text, VF_STR("</p><small>"));
    put(text, vf_str_from(reason));
    put(text, VF_STR(" &middot; request "));
    put(text, ex->request_id);
    put(text, VF_STR("</small>\n"));
}

void vf_exchange_problem(struct vf_exchange *ex, uint32_t status, const char *reason,
                         const char *detail)
{
    char buffer[2048];
    struct text text = {buffer, buffer + sizeof(buffer)};
    struct vf_fields fields = {0};
    if (ex->is_raw || ex->is_handshake) { /* there is nobody who would understand it */
        vf_exchange_fail(ex, reason);
        return;
    }
    ex->reason = reason;
    if (wants_grpc(ex)) {
        answer_grpc(ex, status, vf_str_from(detail), NULL);
        return;
    }
    bool html = wants_html(ex);
    if (html)
        put_html(&text, ex, status, reason, detail);
    else
        put_json(&text, ex, status, reason, detail);
    if (ex->allow.len > 0)
        vf_fields_add(&fields, &ex->arena, VF_STR("Allow"), ex->allow);
    if (status == 503)
        vf_fields_add(&fields, &ex->arena, VF_STR("Retry-After"), VF_STR("1"));
    vf_fields_add(&fields, &ex->arena, VF_STR("Cache-Control"), VF_STR("no-store"));
    if (ex->proxy->has_handler)
        vf_fields_add(&fields, &ex->arena, VF_STR("X-Request-Id"), ex->request_id);
    vf_exchange_answer(
        ex, status, html ? VF_STR("text/html; charset=utf-8") : VF_STR("application/problem+json"),
        vf_str_make(buffer, (size_t)(text.at - buffer)), &fields);
}
