#include "proxy/unrouted.h"

#include <stdio.h>

#include "http/method.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"

enum { MOST_ROUNDS = 16 }; /* more of us than any path to a backend has */

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

/* A backend whose requests come back to us: Via counts the rounds (RFC 9110 section 7.6.3), each of
 * which takes a connection. Returns true when the request was answered. */
static bool goes_in_circles(struct vf_exchange *ex)
{
    static const char pseudonym[] = " veloflux";
    enum { PSEUDONYM_BYTES = sizeof(pseudonym) - 1 };
    struct vf_str rest, item;
    unsigned rounds = 0;
    if (!vf_fields_have(&ex->request.fields, VF_FIELD_VIA))
        return false;
    rest = vf_fields_joined(&ex->request.fields, VF_FIELD_VIA, &ex->arena);
    while (vf_str_next_item(&rest, &item))
        rounds += item.len > PSEUDONYM_BYTES &&
                  memcmp(item.data + item.len - PSEUDONYM_BYTES, pseudonym, PSEUDONYM_BYTES) == 0;
    if (rounds < MOST_ROUNDS)
        return false;
    vf_exchange_problem(ex, 508, "loop_detected",
                        "The request has come through here too often: a backend sends it back.");
    return true;
}

static bool came_by_https(const struct vf_exchange *ex)
{
    const struct vf_field *proto = vf_fields_get(&ex->request.fields, VF_FIELD_X_FORWARDED_PROTO);
    return ex->is_secure ||
           (ex->trusted && proto != NULL && vf_str_ieq(proto->value, VF_STR("https")));
}

/* The same target by https; a port is left out where it is the usual one. */
static struct vf_str https_location(struct vf_exchange *ex)
{
    struct vf_str host = ex->host;
    struct vf_str target =
        ex->target.form == VF_TARGET_ORIGIN ? ex->request.target : ex->target.path;
    for (size_t i = host.len; i > 0 && host.data[i - 1] != ']'; i--)
        if (host.data[i - 1] == ':')
            host.len = i - 1;
    size_t room = host.len + target.len + 32;
    char *text = vf_arena_alloc(&ex->arena, room);
    if (text == NULL)
        return vf_str_make(NULL, 0);
    char port[8] = "";
    if (ex->listener->https_port != 443)
        snprintf(port, sizeof(port), ":%u", ex->listener->https_port);
    int len = snprintf(text, room, "https://%.*s%s%.*s", (int)host.len, host.data, port,
                       (int)target.len, target.data);
    return vf_str_make(text, (size_t)len);
}

/* Plain requests to a listener that wants https. Returns true when the request was answered. */
static bool sent_to_https(struct vf_exchange *ex)
{
    if (ex->listener->https_port == 0 || came_by_https(ex) || ex->host.len == 0 ||
        ex->target.path.data[0] == '*')
        return false;
    struct vf_fields fields = {0};
    struct vf_str location = https_location(ex);
    bool is_safe = ex->request.method == VF_METHOD_GET || ex->request.method == VF_METHOD_HEAD;
    if (location.data != NULL && !vf_is_field_value(location)) {
        vf_exchange_problem(ex, 400, "bad_redirect", "The target cannot be asked for by https.");
        return true;
    }
    if (location.data == NULL ||
        vf_fields_add(&fields, &ex->arena, VF_STR("Location"), location) < 0) {
        vf_client_close(ex, "out_of_memory");
        return true;
    }
    vf_exchange_answer(ex, is_safe ? 301 : 308, VF_STR("text/plain"), VF_STR(""), &fields);
    return true;
}

bool vf_unrouted_answer(struct vf_exchange *ex)
{
    return answer_for_ourselves(ex) || goes_in_circles(ex) || sent_to_https(ex);
}
