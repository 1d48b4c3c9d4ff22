#include "proxy/h2/wire.h"

#include <uv.h>

enum { PIECE_BYTES = 1024 /* as much scratch as there is at once */ };

/* Copies to where it may lie until the next flush. */
static void put(struct vf_h2_wire *wire, const uint8_t *data, size_t len)
{
    while (len > 0 && !vf_h2_wire_is_gone(wire)) {
        size_t n = len < PIECE_BYTES ? len : PIECE_BYTES;
        char *at = vf_net_scratch(wire->stream->net, n);
        memcpy(at, data, n);
        vf_stream_add(wire->stream, vf_str_make(at, n));
        data += n;
        len -= n;
    }
}

/* --- A session --- */

static ssize_t read_content(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t room,
                            uint32_t *flags, nghttp2_data_source *source, void *owner)
{
    struct vf_h2_flow *flow = source->ptr;
    size_t len = vf_h2_flow_available(flow);
    bool is_last = flow->has_ended && len <= room;
    (void)buffer, (void)owner;
    if (len == 0 && !flow->has_ended)
        return NGHTTP2_ERR_DEFERRED;
    if (len > room)
        len = room;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (!is_last)
        return (ssize_t)len;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (flow->n_trailers > 0 &&
        nghttp2_submit_trailer(session, id, flow->trailers, flow->n_trailers) == 0)
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    return (ssize_t)len;
}

static int send_content(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
                        size_t len, nghttp2_data_source *source, void *owner)
{
    struct vf_h2_flow *flow = source->ptr;
    struct vf_h2_wire *wire = flow->wire;
    size_t kept = flow->kept_end - flow->kept_begin, from_kept = len < kept ? len : kept;
    (void)session, (void)frame, (void)owner;
    vf_h2_guard_sent(&wire->guard, len);
    put(wire, header, VF_H2_FRAME_HEADER_BYTES);
    if (from_kept > 0) {
        vf_stream_add(wire->stream, vf_str_make(flow->kept + flow->kept_begin, from_kept));
        flow->kept_begin += from_kept;
        wire->stream->net->buffered_bytes -= from_kept;
        wire->has_lent = true;
    }
    if (len > from_kept) {
        vf_stream_add(wire->stream, vf_str_make(flow->slice.data, len - from_kept));
        flow->slice.data += len - from_kept;
        flow->slice.len -= len - from_kept;
    }
    flow->sent_bytes += len;
    return vf_h2_wire_is_gone(wire) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int make_session(struct vf_h2_wire *wire, void *owner)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return UV_ENOMEM;
    if (nghttp2_option_new(&option) != 0) {
        nghttp2_session_callbacks_del(callbacks);
        return UV_ENOMEM;
    }
    wire->ops->listen(callbacks);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_content);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1); /* priorities of RFC 7540 are not used */
    int rc = wire->ops->is_client
                 ? nghttp2_session_client_new2(&wire->session, callbacks, owner, option)
                 : nghttp2_session_server_new2(&wire->session, callbacks, owner, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return rc == 0 ? 0 : UV_ENOMEM;
}

int vf_h2_wire_open(struct vf_h2_wire *wire, const nghttp2_settings_entry *settings, size_t n,
                    void *owner)
{
    int rc = make_session(wire, owner);
    if (rc == 0)
        rc = nghttp2_submit_settings(wire->session, NGHTTP2_FLAG_NONE, settings, n);
    if (rc == 0)
        rc = nghttp2_session_set_local_window_size(wire->session, NGHTTP2_FLAG_NONE, 0,
                                                   VF_H2_CONNECTION_WINDOW);
    return rc == 0 ? 0 : UV_ENOMEM;
}

void vf_h2_wire_deinit(struct vf_h2_wire *wire)
{
    nghttp2_session_del(wire->session);
    wire->session = NULL;
}

/* --- Its flows --- */

void vf_h2_wire_add(struct vf_h2_wire *wire, struct vf_h2_flow *flow)
{
    flow->wire = wire;
    flow->prev = NULL;
    flow->next = wire->flows;
    if (flow->next != NULL)
        flow->next->prev = flow;
    wire->flows = flow;
    wire->n_flows++;
}

void vf_h2_wire_remove(struct vf_h2_flow *flow)
{
    struct vf_h2_wire *wire = flow->wire;
    if (wire->in_hand == flow)
        wire->in_hand = NULL;
    if (wire->next_of_walk == flow)
        wire->next_of_walk = flow->next;
    if (flow->was_full)
        wire->n_full--;
    flow->was_full = false;
    if (flow->prev != NULL)
        flow->prev->next = flow->next;
    else
        wire->flows = flow->next;
    if (flow->next != NULL)
        flow->next->prev = flow->prev;
    flow->next = flow->prev = NULL;
    flow->wire = NULL;
    wire->n_flows--;
}

struct vf_h2_flow *vf_h2_wire_walk(struct vf_h2_wire *wire)
{
    struct vf_h2_flow *flow = wire->next_of_walk;
    if (flow != NULL)
        wire->next_of_walk = flow->next;
    return flow;
}

/* --- In --- */

int vf_h2_wire_recv(struct vf_h2_wire *wire, const char *data, size_t len, uint64_t now_ns,
                    const char **word)
{
    *word = vf_h2_guard_scan(&wire->guard, data, len, now_ns);
    wire->was_heard = true;
    if (*word != NULL)
        return 1;
    vf_h2_wire_enter(wire);
    ssize_t n = nghttp2_session_mem_recv(wire->session, (const uint8_t *)data, len);
    vf_h2_wire_leave(wire);
    return n < 0 ? (int)n : 0;
}

enum vf_h2_pulse vf_h2_wire_pulse(struct vf_h2_wire *wire)
{
    if (wire->was_heard) {
        wire->was_heard = wire->was_pinged = false;
        return VF_H2_HEARD;
    }
    if (wire->was_pinged)
        return VF_H2_SILENT;
    wire->was_pinged = true;
    nghttp2_submit_ping(wire->session, NGHTTP2_FLAG_NONE, NULL);
    return VF_H2_ASKED;
}

/* --- Out --- */

/* What is queued no longer points into flows: their memory may move and go. */
static void take_back(struct vf_h2_wire *wire)
{
    if (!wire->has_lent)
        return;
    vf_stream_flush(wire->stream);
    wire->has_lent = false;
    if (vf_h2_wire_is_gone(wire))
        return;
    for (struct vf_h2_flow *flow = wire->flows; flow != NULL; flow = flow->next)
        vf_h2_flow_shrink(flow);
}

/* The exchanges that waited for room may send again. One of them may end others. */
static void wake(struct vf_h2_wire *wire)
{
    struct vf_h2_flow *flow = wire->flows;
    while (wire->n_full > 0 && flow != NULL && !vf_h2_wire_is_gone(wire) &&
           !wire->stream->blocked) {
        if (flow->was_full && vf_h2_flow_available(flow) == 0) {
            flow->was_full = false;
            wire->n_full--;
            wire->ops->on_room(flow);
            flow = wire->flows; /* the list may be another now */
            continue;
        }
        flow = flow->next;
    }
}

/* Returns false without memory. */
static bool make_frames(struct vf_h2_wire *wire)
{
    const uint8_t *data;
    ssize_t n = 0;
    while (!vf_h2_wire_is_gone(wire) && !wire->is_broken && !wire->stream->blocked &&
           (n = nghttp2_session_mem_send(wire->session, &data)) > 0)
        put(wire, data, (size_t)n);
    return n >= 0;
}

void vf_h2_wire_pump(struct vf_h2_wire *wire)
{
    if (wire->session == NULL || wire->is_broken || vf_h2_wire_is_gone(wire))
        return;
    if (wire->depth > 0) {
        wire->ops->pend(wire);
        return;
    }
    vf_h2_wire_enter(wire);
    bool is_made = make_frames(wire);
    if (!vf_h2_wire_is_gone(wire))
        take_back(wire);
    if (!vf_h2_wire_is_gone(wire) && wire->ops->on_taken_back != NULL)
        wire->ops->on_taken_back(wire);
    vf_h2_wire_leave(wire);
    if (!is_made && !vf_h2_wire_is_gone(wire))
        wire->ops->on_out_of_memory(wire);
    if (!vf_h2_wire_is_gone(wire))
        wake(wire);
}

nghttp2_data_provider vf_h2_wire_provider(struct vf_h2_flow *flow)
{
    return (nghttp2_data_provider){.source.ptr = flow, .read_callback = read_content};
}

bool vf_h2_wire_send(struct vf_h2_flow *flow, struct vf_str *slice)
{
    struct vf_h2_wire *wire = flow->wire;
    struct vf_h2_flow *before = wire->in_hand;
    nghttp2_session_resume_data(wire->session, flow->id);
    if (wire->depth > 0 || vf_h2_flow_has_kept(flow))
        return true;
    wire->in_hand = flow;
    flow->slice = *slice;
    vf_h2_wire_pump(wire);
    bool is_there = wire->in_hand == flow && flow->wire == wire && !vf_h2_wire_is_gone(wire);
    wire->in_hand = before;
    if (!is_there)
        return false;
    *slice = flow->slice;
    flow->slice = vf_str_make(NULL, 0);
    return true;
}

int vf_h2_wire_keep(struct vf_h2_flow *flow, struct vf_str slice)
{
    struct vf_h2_wire *wire = flow->wire;
    if (wire->has_lent && flow->kept_end + slice.len > flow->kept_room)
        vf_stream_flush(wire->stream); /* slices may point into it */
    if (vf_h2_wire_is_gone(wire))
        return UV_ECANCELED;
    if (!vf_h2_flow_keep(flow, &wire->stream->net->buffered_bytes, slice))
        return UV_ENOMEM;
    wire->n_full += !flow->was_full;
    flow->was_full = true;
    return 0;
}
