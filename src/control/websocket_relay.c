/* control/websocket_relay.c - bytes of a client between its tunnel and our end of the socket pair,
 * with back pressure both ways. What the client sends passes the guard. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/gcra.h"
#include "base/log.h"
#include "control/websocket_parts.h"
#include "proxy/proxy.h"
#include "proxy/tunnel.h"

/* Frames of any kind that a client may send: pings and empty fragments cost as much as messages,
 * which the hub counts. */
static const struct vf_gcra FRAMES = {.interval_ns = 5 * 1000 * 1000, /* 200 a second */
                                      .slack_ns = 1000 * 5ULL * 1000 * 1000};

static void on_pipe_closed(uv_handle_t *handle)
{
    struct vf_websocket *client = handle->data;
    client->pipe_is_closed = true;
    vf_websocket_free_when_gone(client);
}

void vf_websocket_close_pipe(struct vf_websocket *client)
{
    if (!client->pipe_is_open)
        return;
    client->pipe_is_open = false;
    uv_close((uv_handle_t *)&client->pipe, on_pipe_closed);
}

static void on_shut(uv_shutdown_t *request, int status)
{
    (void)status;
    free(request);
}

void vf_websocket_shut(struct vf_websocket *client)
{
    if (client->pipe_is_shut || !client->pipe_is_open)
        return;
    client->pipe_is_shut = true;
    uv_shutdown_t *request = malloc(sizeof(*request));
    if (request == NULL || uv_shutdown(request, (uv_stream_t *)&client->pipe, on_shut) < 0) {
        free(request);
        vf_websocket_close_pipe(client);
    }
}

void vf_websocket_on_end(struct vf_websocket *client)
{
    vf_websocket_shut(client);
}

/* Client to libwebsockets */

struct write {
    uv_write_t request;
    char data[];
};

static void on_written(uv_write_t *request, int status)
{
    struct vf_websocket *client = request->handle->data;
    (void)status; /* a closed end shows when we read */
    free(request->data);
    if (client->ex != NULL && client->pipe_is_open &&
        uv_stream_get_write_queue_size((uv_stream_t *)&client->pipe) == 0) {
        vf_tunnel_hold(client->ex, false);
        vf_proxy_flush(client->all->proxy);
    }
}

/* What the kernel does not take is kept, and the client is not read from until it has. */
static void write_later(struct vf_websocket *client, const char *data, size_t len)
{
    struct write *kept = malloc(sizeof(*kept) + len);
    if (kept == NULL) {
        vf_websocket_cut(client, "out_of_memory");
        return;
    }
    memcpy(kept->data, data, len);
    kept->request.data = kept;
    uv_buf_t buffer = uv_buf_init(kept->data, (unsigned)len);
    if (uv_write(&kept->request, (uv_stream_t *)&client->pipe, &buffer, 1, on_written) < 0) {
        free(kept);
        return; /* the other end has gone: reading tells */
    }
    if (client->ex != NULL)
        vf_tunnel_hold(client->ex, true);
}

static void pass_on(struct vf_websocket *client, char *data, size_t len)
{
    uv_buf_t buffer = uv_buf_init(data, (unsigned)len);
    if (len == 0 || !client->pipe_is_open || client->pipe_is_shut)
        return;
    int sent = uv_try_write((uv_stream_t *)&client->pipe, &buffer, 1);
    if (sent < 0 && sent != UV_EAGAIN)
        return; /* reading tells */
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (done < len)
        write_later(client, data + done, len - done);
}

/* Counts the frames of the last piece. Returns false when there are too many: the client is not
 * read from any more, and gets a close frame. */
static bool within_rate(struct vf_websocket *client, uint64_t n_frames)
{
    uint64_t now_ns = vf_clock_ns();
    if (n_frames == 0 || client->guard.code != 0 ||
        vf_gcra_take(&FRAMES, n_frames, now_ns, &client->frames_due_ns))
        return true;
    client->guard.code = VF_WS_CLOSE_POLICY;
    client->guard.why = "too many frames";
    client->ends_at_once = true;
    vf_websocket_close(client, VF_WS_CLOSE_POLICY, vf_str_from(client->guard.why));
    if (client->ex != NULL)
        vf_tunnel_hold(client->ex, true);
    return false;
}

void vf_websocket_on_data(struct vf_websocket *client, struct vf_str slice)
{
    char *out = client->all->piece;
    while (slice.len > 0 && client->pipe_is_open && client->guard.code == 0) {
        size_t len = slice.len < VF_WS_PIECE_BYTES ? slice.len : VF_WS_PIECE_BYTES;
        uint64_t n_frames = client->guard.n_frames;
        size_t n = vf_websocket_guard_feed(&client->guard, slice.data, len, out);
        if (!within_rate(client, client->guard.n_frames - n_frames))
            break;
        if (!client->close_is_sent)
            pass_on(client, out, n);
        slice.data += len;
        slice.len -= len;
    }
    if (client->guard.code != 0 && client->close_is_sent)
        vf_websocket_shut(client); /* both have said that they close */
    if (client->guard.why != NULL && client->guard.why[0] != '\0') {
        vf_log_info(NULL, "websocket.refused", "code=%u rule=%s section=%s",
                    (unsigned)client->guard.code, client->guard.why, "RFC 6455 section 5");
        client->guard.why = NULL;
    }
}

/* libwebsockets to client */

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct vf_websocket *client = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(client->all->relay, VF_WS_RELAY_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct vf_websocket *client = stream->data;
    struct vf_exchange *ex = client->ex;
    if (n == 0)
        return;
    if (n < 0) {
        vf_websocket_close_pipe(client);
        client->ex = NULL;
        if (ex != NULL)
            vf_tunnel_end(ex);
    } else if (ex != NULL) {
        vf_tunnel_send(ex, vf_str_make(buffer->base, (size_t)n));
    }
    vf_proxy_flush(client->all->proxy);
    if (client->ex != NULL && client->pipe_is_open && vf_tunnel_is_blocked(client->ex))
        uv_read_stop(stream); /* vf_websocket_on_drained follows */
}

void vf_websocket_relay(struct vf_websocket *client)
{
    if (client->pipe_is_open)
        uv_read_start((uv_stream_t *)&client->pipe, on_room, on_read);
}

void vf_websocket_on_drained(struct vf_websocket *client)
{
    vf_websocket_relay(client);
}
