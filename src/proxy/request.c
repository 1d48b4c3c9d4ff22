#include "proxy/request.h"

#include <uv.h>

#include "http/method.h"
#include "proxy/account.h"
#include "proxy/client_cert.h"
#include "proxy/core.h"
#include "proxy/dispatch.h"
#include "proxy/downstream.h"
#include "proxy/forward.h"
#include "proxy/phases.h"
#include "proxy/unrouted.h"
#include "proxy/upstream.h"
#include "snapshot/router.h"

static struct vf_str header_by_name(void *owner, struct vf_str name)
{
    const struct vf_exchange *ex = owner;
    const struct vf_field *field = vf_fields_find(&ex->request.fields, name);
    return field != NULL ? field->value : vf_str_make(NULL, 0);
}

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

/* An https target is for secured connections only, unless a trusted proxy had that secured. */
static bool is_misdirected(const struct vf_exchange *ex)
{
    return !ex->is_secure && !ex->trusted && ex->target.form == VF_TARGET_ABSOLUTE &&
           vf_str_ieq(ex->target.scheme, VF_STR("https"));
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
    if (is_misdirected(ex)) {
        struct vf_fault fault = {421, "misdirected_request",
                                 "an https target over a connection that is not secured",
                                 "RFC 9110 section 7.4", 0};
        vf_exchange_on_fault(ex, &fault);
        return false;
    }
    ex->host = ex->target.authority.len > 0 ? ex->target.authority : ex->request.host;
    if (ex->target.form == VF_TARGET_AUTHORITY)
        return true;
    char *buffer = vf_arena_alloc(&ex->arena, ex->target.path.len + 1);
    if (buffer == NULL) {
        vf_client_close(ex, "out_of_memory");
        return false;
    }
    if ((rc = vf_path_normalise(ex->target.path, buffer, &ex->path, &offset)) < 0) {
        refuse_target(ex, rc, offset);
        return false;
    }
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
    vf_phases_attach(ex, vf_snap_settings(ex->snapshot)->chain);
    if (match->outcome == VF_ROUTE_NOT_FOUND) {
        vf_exchange_problem(ex, 404, "no_route", "No route matches this host and path.");
        return;
    }
    ex->allow = vf_route_allow(match, &ex->arena);
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

uint64_t vf_exchange_body_limit(const struct vf_exchange *ex)
{
    const struct vf_proxy *proxy = ex->proxy;
    uint64_t limit = vf_policy_get(ex->policy, VF_POLICY_BODY_BYTES);
    if (!proxy->has_handler)
        return limit;
    return ex->handler_body_bytes < limit ? ex->handler_body_bytes : limit;
}

/* Checks what the route's limits say about the head. Returns false when the request was refused. */
static bool within_limits(struct vf_exchange *ex)
{
    if (ex->request.framing == VF_FRAMING_LENGTH &&
        ex->request.content_length > vf_exchange_body_limit(ex)) {
        ex->close_client = true;
        vf_exchange_problem(ex, 413, "body_too_large", "The request body is larger than allowed.");
        return false;
    }
    return true;
}

static void start_forwarding(struct vf_exchange *ex, const struct vf_route_match *match)
{
    uint64_t total_ms = vf_policy_get(ex->policy, VF_POLICY_TOTAL_MS);
    if (vf_forward_request(ex, match) < 0) {
        vf_client_close(ex, "out_of_memory");
        return;
    }
    if (ex->forward_host.len == 0)
        ex->forward_host = vf_snap_str(ex->snapshot, ex->pool->name);
    if (total_ms != UINT64_MAX)
        vf_exchange_limit_total(ex, total_ms);
    vf_dispatch(ex);
}

/* Does what the route says. */
static void act(struct vf_exchange *ex, const struct vf_route_match *match)
{
    if (ex->route->action == VF_ACTION_REDIRECT)
        answer_redirect(ex, match);
    else if (ex->route->action == VF_ACTION_RESPOND)
        answer_fixed(ex);
    else
        start_forwarding(ex, match);
}

/* The content that a phase had is what the backend gets, in one piece. */
static void use_collected_content(struct vf_exchange *ex)
{
    if (ex->request_body.data == NULL && !ex->has_new_body)
        return;
    ex->replay = ex->request_body;
    ex->replayable = ex->request_state == VF_FLOW_DONE;
    if (!ex->replayable)
        return;
    bool is_empty = ex->replay.len == 0;
    ex->request.framing = is_empty ? VF_FRAMING_NONE : VF_FRAMING_LENGTH;
    ex->request.content_length = ex->replay.len;
    ex->request.has_content_length = !is_empty || ex->request.has_content_length;
    ex->request.expects_continue = false;
}

/* A route was found: its plugins, then its action. */
static void use_route(struct vf_exchange *ex, const struct vf_route_match *match)
{
    ex->route = match->route;
    vf_account_meter(ex);
    if (use_route_policy(ex) < 0) {
        vf_client_close(ex, "out_of_memory");
        return;
    }
    if (ex->route->inactive) {
        vf_exchange_problem(ex, 503, "tenant_inactive", "This tenant is switched off.");
        return;
    }
    if (ex->route->client_cert != VF_SNAP_NONE && !vf_client_cert_admit(ex))
        return;
    if (!within_limits(ex))
        return;
    if (ex->route->action == VF_ACTION_POOL) {
        ex->pool_index = ex->route->pool;
        ex->pool = vf_snap_pool(ex->snapshot, ex->pool_index);
    }
    if (ex->route->chain == VF_SNAP_NONE) {
        act(ex, match);
        return;
    }
    vf_fields_drop_hop_by_hop(&ex->request.fields); /* the client's, not what plugins set */
    vf_phases_attach(ex, ex->route->chain);
    if ((ex->match = vf_arena_alloc(&ex->arena, sizeof(*match))) == NULL) {
        vf_client_close(ex, "out_of_memory");
        return;
    }
    *ex->match = *match;
    if (vf_phases_run(ex, VF_PHASE_REWRITE) == VF_VERDICT_GO &&
        vf_phases_run(ex, VF_PHASE_ACCESS) == VF_VERDICT_GO) {
        use_collected_content(ex);
        act(ex, ex->match);
    }
}

void vf_request_go_on(struct vf_exchange *ex, enum vf_phase done)
{
    if (done == VF_PHASE_REWRITE && vf_phases_run(ex, VF_PHASE_ACCESS) != VF_VERDICT_GO)
        return;
    use_collected_content(ex);
    act(ex, ex->match);
    if (ex->upstream != NULL)
        vf_client_resume(ex); /* the content that is to come */
}

void vf_exchange_hand_over(struct vf_exchange *ex)
{
    ex->handled = true;
    ex->proxy->handler.on_request(ex->proxy->handler.owner, ex);
}

void vf_exchange_invite_content(struct vf_exchange *ex)
{
    ex->invited = true;
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

/* Asks how the content is to be taken. Returns false when the request was answered. */
static bool ask_handler(struct vf_exchange *ex)
{
    const struct vf_handler *handler = &ex->proxy->handler;
    struct vf_body_rule rule = {0};
    if (!handler->on_content(handler->owner, ex, &rule))
        return false;
    ex->handler_body_bytes = rule.max_bytes;
    ex->spool = rule.spool;
    return true;
}

/* The handler has endpoints for methods known here. */
static bool is_refused_by_handler(struct vf_exchange *ex)
{
    struct vf_fault fault = {501, "method_not_implemented", "the method is not known",
                             "RFC 9110 section 9.1", 0};
    if (ex->request.method != VF_METHOD_OTHER)
        return false;
    vf_exchange_on_fault(ex, &fault);
    return true;
}

void vf_exchange_on_request(struct vf_exchange *ex)
{
    struct vf_route_match match;
    ex->sent_method = ex->request.method;
    vf_forward_identify(ex);
    if (!read_target(ex))
        return;
    if (ex->proxy->has_handler) {
        if (is_refused_by_handler(ex))
            return;
        if (ex->request.framing != VF_FRAMING_NONE && !(ask_handler(ex) && within_limits(ex)))
            return;
        if (ex->request.expects_continue)
            vf_exchange_invite_content(ex);
        if (ex->request_state == VF_FLOW_DONE)
            vf_exchange_hand_over(ex);
        return;
    }
    judge_upgrade(ex);
    if (vf_unrouted_answer(ex))
        return;
    struct vf_route_query query = {.host = ex->host,
                                   .path =
                                       ex->path.text.data[0] == '*' ? VF_STR("/") : ex->path.text,
                                   .query = ex->target.query,
                                   .method = ex->request.method,
                                   .method_name = ex->request.method_name,
                                   .header = header_by_name,
                                   .owner = ex};
    if (vf_route_find(ex->proxy->router, ex->snapshot, &query, &match) != VF_ROUTE_FOUND)
        answer_no_route(ex, &match);
    else
        use_route(ex, &match);
}
