/* HTTP/2 from a client: the guard says the same of bytes that come at once and one by one; what
 * nghttp2 lets pass as a request becomes a head that the exchange may have, or a fault. */
#include <nghttp2/nghttp2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/h2_fields.h"
#include "http/h2_guard.h"
#include "http/h2_head.h"
#include "http/target.h"

struct fuzzed {
    struct vf_arena arena;
    struct vf_head head;
    struct vf_h2_request request;
    bool is_open;
};

static const struct vf_h1_limits limits = {4096, 50, 1024};

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *owner)
{
    struct fuzzed *fuzzed = owner;
    (void)session, (void)frame;
    if (fuzzed->is_open)
        vf_arena_deinit(&fuzzed->arena);
    vf_arena_init(&fuzzed->arena);
    fuzzed->is_open = true;
    vf_h2_request_begin(&fuzzed->request, &fuzzed->arena, &fuzzed->head);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *owner)
{
    struct fuzzed *fuzzed = owner;
    (void)session, (void)flags;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST && fuzzed->is_open)
        vf_h2_request_add(&fuzzed->request, &limits, vf_str_make((const char *)name, name_len),
                          vf_str_make((const char *)value, value_len));
    return 0;
}

static void judge(struct fuzzed *fuzzed, bool has_content)
{
    static const uint8_t nonce[16] = {1};
    struct vf_fault fault = {0};
    const struct vf_head *head = &fuzzed->head;
    int rc = vf_h2_request_end(&fuzzed->request, &limits, has_content, nonce, &fault);
    if (rc == -1 && (fault.status < 400 || fault.rule == NULL || fault.section == NULL))
        abort(); /* a refusal says what was broken */
    if (rc != 0)
        return;
    if (!vf_is_token(head->method_name) || !vf_host_is_valid(head->host))
        abort();
    for (uint32_t i = 0; i < head->fields.count; i++)
        if (!vf_is_token(head->fields.list[i].name) ||
            !vf_is_field_value(head->fields.list[i].value))
            abort(); /* it would be a line of HTTP/1 */
    nghttp2_nv *out;
    if (vf_h2_write_response(&fuzzed->arena, head, 200, true, &out) == 0)
        abort();
    free(vf_h2_copy_trailers(&head->fields, &out) > 0 ? out : NULL);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *owner)
{
    struct fuzzed *fuzzed = owner;
    (void)session;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST &&
        fuzzed->is_open)
        judge(fuzzed, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0);
    return 0;
}

static void run_session(const uint8_t *data, size_t size)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;
    nghttp2_option *option;
    struct fuzzed fuzzed = {.is_open = false};
    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0)
        abort();
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_option_set_no_recv_client_magic(option, 1);
    if (nghttp2_session_server_new2(&session, callbacks, &fuzzed, option) != 0)
        abort();
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0);
    nghttp2_session_mem_recv(session, data, size);
    nghttp2_session_del(session);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    if (fuzzed.is_open)
        vf_arena_deinit(&fuzzed.arena);
}

static void run_guard(const char *data, size_t size)
{
    struct vf_h2_guard whole = {0}, pieces = {0};
    const char *first = vf_h2_guard_scan(&whole, data, size, 1), *second = NULL;
    for (size_t i = 0; i < size && second == NULL; i++)
        second = vf_h2_guard_scan(&pieces, data + i, 1, 1);
    if ((first == NULL) != (second == NULL) || (first != NULL && strcmp(first, second) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run_guard((const char *)data, size);
    run_session(data, size);
    return 0;
}
