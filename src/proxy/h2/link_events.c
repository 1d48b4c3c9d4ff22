/* proxy/h2/link_events.c - what nghttp2 tells of a connection to a backend, for the calls that it
 * is about. */
#include "proxy/h2/link_parts.h"

static struct vf_h2_call *call_at(nghttp2_session *session, int32_t id)
{
    return id == 0 ? NULL : nghttp2_session_get_stream_user_data(session, id);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *owner)
{
    struct vf_h2_call *call = call_at(session, frame->hd.stream_id);
    (void)flags, (void)owner;
    if (call == NULL || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    return vf_h2_call_on_field(call, vf_str_make((const char *)name, name_len),
                               vf_str_make((const char *)value, value_len)) == 0
               ? 0
               : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void blame(struct vf_h2_call *call, const char *rule, const char *section)
{
    if (call != NULL && call->fault.rule == NULL)
        call->fault = (struct vf_fault){502, "malformed_response", rule, section, 0};
}

/* nghttp2 would leave such a field out. An answer that has one is malformed as a whole (RFC 9113
 * section 8.1.1). */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_len, const uint8_t *value,
                             size_t value_len, uint8_t flags, void *owner)
{
    (void)name, (void)name_len, (void)value, (void)value_len, (void)flags, (void)owner;
    blame(call_at(session, frame->hd.stream_id), "a field that HTTP/2 does not allow",
          "RFC 9113 section 8.2");
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *owner)
{
    struct vf_h2_link *link = owner;
    struct vf_h2_call *call = call_at(session, frame->hd.stream_id);
    if (call != NULL)
        blame(call, nghttp2_strerror(error), "RFC 9113 section 8.1.1");
    else
        link->fault = nghttp2_strerror(error);
    return 0;
}

/* Of what nghttp2 says, the code is enough: texts of its own may go away. */
static int on_error(nghttp2_session *session, int error, const char *text, size_t len, void *owner)
{
    struct vf_h2_link *link = owner;
    (void)session, (void)text, (void)len;
    if (error == NGHTTP2_ERR_SETTINGS_EXPECTED)
        link->fault = nghttp2_strerror(error);
    return 0;
}

static void on_goaway(struct vf_h2_link *link, const nghttp2_goaway *frame)
{
    link->is_leaving = true;
    if (frame->error_code == NGHTTP2_NO_ERROR)
        return;
    vf_log_warn(&link->proxy->log, "backend.goaway", "backend_slot=%u error=%s last_stream=%d",
                link->up->peer->slot, nghttp2_http2_strerror(frame->error_code),
                frame->last_stream_id);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *owner)
{
    struct vf_h2_link *link = owner;
    bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    struct vf_h2_call *call = call_at(session, frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
        if (!link->is_greeted)
            vf_upstream_set_timer(link->up, link->idle_ms);
        link->is_greeted = true;
    }
    if (frame->hd.type == NGHTTP2_GOAWAY)
        on_goaway(link, &frame->goaway);
    if (call == NULL || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS)
        vf_h2_call_on_head(call, ends);
    if (ends && call_at(session, frame->hd.stream_id) == call)
        vf_h2_call_on_end(call);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *owner)
{
    struct vf_h2_call *call = call_at(session, id);
    (void)flags, (void)owner;
    nghttp2_session_consume_connection(session, len);
    if (call != NULL)
        vf_h2_call_on_data(call, (const char *)data, len);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *owner)
{
    struct vf_h2_call *call = call_at(session, id);
    (void)owner;
    if (call != NULL)
        vf_h2_call_on_close(call, code);
    return 0;
}

void vf_h2_link_listen(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_error_callback2(callbacks, on_error);
}
