/* HTTP/2 from a backend: the guard says the same of bytes that come at once and one by one; what
 * nghttp2 lets pass as an answer becomes a head that clients of either version may have, or a
 * fault. The first byte chooses the method of the requests that are answered. */
#include <nghttp2/nghttp2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/h1_write.h"
#include "http/h2_client.h"
#include "http/h2_fields.h"
#include "http/h2_guard.h"
#include "http/h2_head.h"
#include "http/method.h"

enum { CALLS = 3 };

struct call {
    struct vf_arena arena;
    struct vf_head head;
    struct vf_h2_answer answer;
    bool has_head; /* the final one */
};

struct fuzzed {
    struct call calls[CALLS];
    uint32_t method;
};

static const struct vf_h1_limits limits = {4096, 50, 1024};

static struct call *call_at(nghttp2_session *session, int32_t id)
{
    return id == 0 ? NULL : nghttp2_session_get_stream_user_data(session, id);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *owner)
{
    struct call *call = call_at(session, frame->hd.stream_id);
    (void)flags, (void)owner;
    if (call == NULL || frame->hd.type != NGHTTP2_HEADERS || call->has_head)
        return 0;
    if (call->answer.head == NULL)
        vf_h2_answer_begin(&call->answer, &call->arena, &call->head);
    return vf_h2_answer_add(&call->answer, &limits, vf_str_make((const char *)name, name_len),
                            vf_str_make((const char *)value, value_len)) == 0
               ? 0
               : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_len, const uint8_t *value,
                             size_t value_len, uint8_t flags, void *owner)
{
    (void)session, (void)frame, (void)name, (void)name_len, (void)value, (void)value_len;
    (void)flags, (void)owner;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* A head that is passed on. */
static void check_head(struct call *call, uint32_t method, bool is_last)
{
    struct vf_head *head = &call->head;
    struct vf_h1_framing_lines lines = {.connection = VF_H1_PERSIST};
    bool has_none = method == VF_METHOD_HEAD || head->status == 204 || head->status == 304;
    nghttp2_nv *out;
    if (head->status < 100 || head->status > 599 || head->status == 101)
        abort();
    if (head->status < 200 && is_last)
        abort();
    if (head->status >= 200 && has_none && head->framing != VF_FRAMING_NONE)
        abort(); /* whoever speaks HTTP/1 would wait for content */
    if (head->status >= 200 && is_last && head->framing == VF_FRAMING_CHUNKED)
        abort();
    for (uint32_t i = 0; i < head->fields.count; i++)
        if (!vf_is_token(head->fields.list[i].name) ||
            !vf_is_field_value(head->fields.list[i].value))
            abort(); /* it would be a line of HTTP/1 */
    vf_fields_drop_hop_by_hop(&head->fields);
    if (vf_h2_write_response(&call->arena, head, head->status, true, &out) == 0 ||
        vf_h1_write_response(&call->arena, head, &lines).data == NULL)
        abort();
    free(vf_h2_copy_trailers(&head->fields, &out) > 0 ? out : NULL);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *owner)
{
    const struct fuzzed *fuzzed = owner;
    struct call *call = call_at(session, frame->hd.stream_id);
    bool is_last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    struct vf_fault fault = {0};
    if (call == NULL || frame->hd.type != NGHTTP2_HEADERS || call->answer.head == NULL)
        return 0;
    int rc = vf_h2_answer_end(&call->answer, &limits, fuzzed->method, is_last, &fault);
    call->answer.head = NULL;
    if (rc < 0 && (fault.status != 502 || fault.rule == NULL || fault.section == NULL))
        abort(); /* a refusal says what was broken */
    call->has_head = rc < 0 || call->head.status >= 200;
    if (rc == 0)
        check_head(call, fuzzed->method, is_last);
    return 0;
}

static void ask(nghttp2_session *session, struct fuzzed *fuzzed)
{
    struct vf_head request = {.method_name = fuzzed->method == VF_METHOD_HEAD ? VF_STR("HEAD")
                                                                              : VF_STR("GET")};
    const uint8_t *data;
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0);
    for (int i = 0; i < CALLS; i++) {
        struct call *call = &fuzzed->calls[i];
        nghttp2_nv *list;
        vf_arena_init(&call->arena);
        size_t n = vf_h2_client_request(&call->arena, &request, VF_STR("http"), VF_STR("/"),
                                        VF_STR("a.test"), &list);
        if (n == 0 || nghttp2_submit_request(session, NULL, list, n, NULL, call) < 0)
            abort();
    }
    while (nghttp2_session_mem_send(session, &data) > 0)
        ;
}

static void run_session(const uint8_t *data, size_t size, uint32_t method)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;
    struct fuzzed fuzzed = {.method = method};
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        abort();
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    if (nghttp2_session_client_new(&session, callbacks, &fuzzed) != 0)
        abort();
    ask(session, &fuzzed);
    nghttp2_session_mem_recv(session, data, size);
    nghttp2_session_del(session);
    nghttp2_session_callbacks_del(callbacks);
    for (int i = 0; i < CALLS; i++)
        vf_arena_deinit(&fuzzed.calls[i].arena);
}

static void run_guard(const char *data, size_t size)
{
    struct vf_h2_guard whole, pieces;
    const char *second = NULL;
    vf_h2_guard_init_backend(&whole);
    vf_h2_guard_init_backend(&pieces);
    const char *first = vf_h2_guard_scan(&whole, data, size, 1);
    for (size_t i = 0; i < size && second == NULL; i++)
        second = vf_h2_guard_scan(&pieces, data + i, 1, 1);
    if ((first == NULL) != (second == NULL) || (first != NULL && strcmp(first, second) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    run_guard((const char *)data + 1, size - 1);
    run_session(data + 1, size - 1, data[0] % 2 == 0 ? VF_METHOD_GET : VF_METHOD_HEAD);
    return 0;
}
