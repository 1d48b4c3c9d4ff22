/* proxy/downstream_output.c - what a client gets: heads, content, the end, and what follows it. */
#include <uv.h>

#include "http/h1_write.h"
#include "http/method.h"
#include "proxy/account.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/downstream_conn.h"
#include "proxy/phases.h"

enum { DISCARD_BYTES = 64 * 1024 /* of request content nobody wants, to keep the connection */ };

static bool is_blocked(const struct vf_exchange *ex)
{
    return ex->client->conn->stream.blocked;
}

/* Content that is still to come although the answer begins: the backend goes on reading it, or it
 * is short enough to be read past. A client that waits for 100 Continue may not send it at all. */
static bool takes_the_rest(const struct vf_exchange *ex)
{
    if (ex->request_state != VF_FLOW_BODY || ex->request.expects_continue)
        return false;
    if (!ex->is_local)
        return ex->upstream != NULL && ex->response.keep_alive;
    return ex->request.framing == VF_FRAMING_CHUNKED || ex->request_parser.left <= DISCARD_BYTES;
}

static bool persists(const struct vf_exchange *ex)
{
    const struct vf_downstream *client = ex->client->conn;
    return ex->request.keep_alive && !ex->close_client && !client->closing &&
           !client->acceptor->is_gone && !client->proxy->draining && !client->saw_eof &&
           (ex->request_state == VF_FLOW_DONE || takes_the_rest(ex));
}

/* How the end of the answer is shown to the client (RFC 9112 section 6). */
static void choose_framing(struct vf_exchange *ex, struct vf_h1_framing_lines *lines)
{
    const struct vf_head *head = &ex->response;
    bool has_content = head->framing != VF_FRAMING_NONE || ex->filters_body;
    if (vf_client_has_length(ex)) {
        lines->length = head->status >= 200 && head->status != 204;
    } else if (has_content && ex->request.version_minor >= 1) {
        lines->chunked = ex->chunk_answer = true;
    } else if (has_content) {
        ex->close_client = true; /* until the connection closes */
    }
}

static void send_text(struct vf_exchange *ex, struct vf_str text)
{
    if (text.data == NULL) {
        vf_downstream_close(ex->client->conn, "out_of_memory");
        return;
    }
    vf_stream_add(&ex->client->conn->stream, text);
}

static void send_interim(struct vf_exchange *ex)
{
    struct vf_h1_framing_lines lines = {.connection = VF_H1_PERSIST};
    send_text(ex, vf_h1_write_response(&ex->arena, &ex->response, &lines));
}

static void send_head(struct vf_exchange *ex)
{
    struct vf_h1_framing_lines lines = {.connection = VF_H1_PERSIST};
    if (ex->is_tunnel) {
        lines.connection = VF_H1_UPGRADE;
        ex->close_client = true;
    } else {
        choose_framing(ex, &lines);
        if (!persists(ex)) {
            ex->close_client = true;
            lines.connection = VF_H1_CLOSE;
        } else if (ex->request.version_minor == 0) {
            lines.connection = VF_H1_KEEP_ALIVE;
        }
        if (ex->response.status == 426 && ex->response.connection_upgrade.len > 0)
            lines.connection = ex->close_client ? VF_H1_CLOSE_UPGRADE : VF_H1_UPGRADE;
    }
    send_text(ex, vf_h1_write_response(&ex->arena, &ex->response, &lines));
}

static void send_data(struct vf_exchange *ex, struct vf_str slice)
{
    struct vf_stream *stream = &ex->client->conn->stream;
    if (!ex->chunk_answer) {
        vf_stream_add(stream, slice);
        return;
    }
    char *line = vf_net_scratch(stream->net, VF_H1_CHUNK_LINE_BYTES);
    vf_stream_add(stream, vf_str_make(line, vf_h1_chunk_line(slice.len, line)));
    vf_stream_add(stream, slice);
    vf_stream_add(stream, VF_STR("\r\n"));
}

/* Forgets the exchange; the connection goes on with the next, or ends. */
static void finish(struct vf_exchange *ex)
{
    struct vf_downstream *client = ex->client->conn;
    bool close_client = ex->close_client;
    bool complete = ex->request_state == VF_FLOW_DONE;
    bool expects_more = ex->request.keep_alive && !client->saw_eof && !ex->is_tunnel;
    client->ex = NULL;
    vf_exchange_free(ex);
    if (client->is_dead)
        return;
    if (close_client && complete && !expects_more && client->input_len == 0 && !client->in_feed) {
        vf_downstream_end_cleanly(client);
        return;
    }
    if (close_client) {
        vf_downstream_end(client);
        return;
    }
    enum vf_snap_policy_field idle =
        client->proxy->draining ? VF_POLICY_DRAIN_IDLE_MS : VF_POLICY_CLIENT_IDLE_MS;
    vf_downstream_set_timer(client, vf_downstream_policy(client)->value[idle]);
    if (client->in_feed)
        return;
    if (client->input_len > 0)
        vf_downstream_feed(client, client->input, client->input_len);
    if (!client->is_dead && client->stream.readable && vf_downstream_may_read(client))
        vf_stream_yield(&client->stream);
}

static void send_end(struct vf_exchange *ex, const struct vf_fields *trailers)
{
    struct vf_downstream *client = ex->client->conn;
    if (ex->chunk_answer)
        vf_stream_add(&client->stream, vf_h1_write_last_chunk(&ex->arena, trailers));
    if (ex->request_state == VF_FLOW_BODY && !ex->close_client && !ex->is_tunnel) {
        ex->answer_ended = true; /* the rest of the request is awaited: vf_client_finish */
        vf_downstream_await_content(client);
        return;
    }
    finish(ex);
}

static bool discard(struct vf_exchange *ex, size_t len)
{
    (void)len;
    if (ex->discarded_bytes <= DISCARD_BYTES)
        return true;
    ex->close_client = true;
    finish(ex);
    return false;
}

static void abort_answer(struct vf_exchange *ex)
{
    struct vf_downstream *client = ex->client->conn;
    /* without chunks or a length only a reset tells that the answer is not complete */
    bool reset =
        !ex->chunk_answer && !ex->answer_ended && ex->response.framing != VF_FRAMING_LENGTH;
    client->ex = NULL;
    vf_stream_flush(&client->stream);
    vf_downstream_close_now(client, reset);
    vf_exchange_free(ex);
}

static void close_client(struct vf_exchange *ex, const char *reason)
{
    vf_downstream_close(ex->client->conn, reason);
}

static void flush(struct vf_exchange *ex)
{
    vf_stream_flush(&ex->client->conn->stream);
}

static void tunnel_end(struct vf_exchange *ex)
{
    vf_stream_shutdown(&ex->client->conn->stream);
}

const struct vf_client_codec vf_h1_codec = {
    .send_interim = send_interim,
    .send_head = send_head,
    .send_data = send_data,
    .send_end = send_end,
    .finish = finish,
    .discard = discard,
    .abort = abort_answer,
    .close = close_client,
    .resume = vf_downstream_resume,
    .flush = flush,
    .tunnel_end = tunnel_end,
    .is_blocked = is_blocked,
    .takes_raw_bytes = true,
};
