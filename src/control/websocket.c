#define _GNU_SOURCE
#include "control/websocket.h"

#include <errno.h>
#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "control/websocket_guard.h"
#include "lua/utf8.h"
#include "proxy/proxy.h"
#include "proxy/tunnel.h"

enum {
    SEND_BYTES = 16 * 1024,      /* of a text at once: what a slow client holds besides its queue */
    PIECE_BYTES = 4096,          /* judged at once */
    RELAY_BYTES = 64 * 1024,     /* read from libwebsockets at once */
    SERVICE_BYTES = 4096,        /* read by libwebsockets at once */
    RX_BYTES = 1024,             /* of payload that libwebsockets hands over at once */
    PAIR_BYTES = 32 * 1024,      /* waits in the socket pair, before back pressure */
    MESSAGE_FIRST_BYTES = 256,   /* room for a message, at first */
    HEAD_BYTES = 1024,           /* of the 101 of libwebsockets */
    HEADER_TABLES = 8,           /* handshakes at once: one is over before the next begins */
    MAX_DESCRIPTORS = 10 * 1024, /* that libwebsockets has tables for */
    BUCKETS = 1024,
    CLOSE_FRAME = 0x88, /* first byte of one (RFC 6455 section 5.2) */
    DESTROY_STEPS = 3   /* of the context: clients, virtual hosts, itself */
};

/* Pongs without payload are not told of. */
#define PING_TEXT "alive?"

/* The request that libwebsockets sees. The client's own was answered by our codec, with the accept
 * field for the client's key: that of this one is dropped with the rest of the head. */
static const char REQUEST[] = "GET / HTTP/1.1\r\nHost: admin\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

struct vf_websocket {
    struct vf_websocket *next; /* in its bucket */
    struct vf_websockets *all;
    double id;
    struct vf_exchange *ex; /* NULL: gone */
    struct lws *wsi;        /* NULL: gone */
    uv_pipe_t pipe;         /* our end of the pair */
    struct vf_websocket_guard guard;
    char *message; /* what has come of one; NULL: nothing */
    size_t message_len, message_room;
    struct vf_str sending; /* the owner's; data NULL: nothing */
    size_t sent;           /* bytes of it */
    int token;             /* of it */
    char reason[VF_WEBSOCKET_REASON_BYTES];
    size_t reason_len;
    uint16_t close_code; /* of a close frame of ours; 0: none */
    bool close_is_sent;
    bool ends_at_once; /* the client broke a rule: its close frame is not waited for */
    bool pipe_is_open;
    bool pipe_is_closed; /* its callback has run: the memory may go */
    bool is_known;       /* on_closed is due */
    bool wants_ping;
};

struct vf_websockets {
    uv_loop_t *loop;
    struct vf_proxy *proxy;
    struct vf_websocket_events events;
    struct vf_websocket *buckets[BUCKETS]; /* by id */
    struct vf_websocket *adopted;          /* in vf_websocket_open: whose end is being adopted */
    struct lws_context *context;
    struct lws_vhost *vhost;
    bool has_failed; /* libwebsockets did not start */
    bool is_stopped;
    unsigned char *frame; /* LWS_PRE bytes, then what is being sent */
    size_t frame_room;
    char relay[RELAY_BYTES];
    char piece[PIECE_BYTES + VF_WS_GUARD_MORE];
};

/* Life of a client */

static struct vf_websocket **bucket_of(struct vf_websockets *all, double id)
{
    return &all->buckets[(uint64_t)id % BUCKETS];
}

static void unlink_client(struct vf_websocket *client)
{
    struct vf_websocket **at = bucket_of(client->all, client->id);
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
}

static void free_when_gone(struct vf_websocket *client)
{
    if (client->ex != NULL || client->wsi != NULL || !client->pipe_is_closed)
        return;
    unlink_client(client);
    free(client->message);
    free(client);
}

static void on_pipe_closed(uv_handle_t *handle)
{
    struct vf_websocket *client = handle->data;
    client->pipe_is_closed = true;
    free_when_gone(client);
}

/* libwebsockets notices that the other end of its socket has gone. */
static void close_pipe(struct vf_websocket *client)
{
    if (!client->pipe_is_open)
        return;
    client->pipe_is_open = false;
    uv_close((uv_handle_t *)&client->pipe, on_pipe_closed);
}

static void forget_text(struct vf_websocket *client)
{
    if (client->sending.data == NULL)
        return;
    client->sending = vf_str_make(NULL, 0);
    client->all->events.on_sent(client->all->events.owner, client->token);
}

static void say_closed(struct vf_websocket *client)
{
    struct vf_websockets *all = client->all;
    forget_text(client);
    if (!client->is_known)
        return;
    client->is_known = false;
    if (!all->is_stopped)
        all->events.on_closed(all->events.owner, client->id);
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
    if (len == 0 || !client->pipe_is_open)
        return;
    int sent = uv_try_write((uv_stream_t *)&client->pipe, &buffer, 1);
    if (sent < 0 && sent != UV_EAGAIN)
        return; /* likewise */
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (done < len)
        write_later(client, data + done, len - done);
}

void vf_websocket_on_data(struct vf_websocket *client, struct vf_str slice)
{
    char *out = client->all->piece;
    while (slice.len > 0 && client->pipe_is_open && client->guard.code == 0) {
        size_t len = slice.len < PIECE_BYTES ? slice.len : PIECE_BYTES;
        size_t n = vf_websocket_guard_feed(&client->guard, slice.data, len, out);
        if (!client->close_is_sent)
            pass_on(client, out, n);
        slice.data += len;
        slice.len -= len;
    }
    if (client->guard.code != 0 && client->close_is_sent)
        vf_websocket_on_end(client); /* both have said that they close */
    if (client->guard.why != NULL && client->guard.why[0] != '\0') {
        vf_log_info(NULL, "websocket.refused", "code=%u rule=%s section=%s",
                    (unsigned)client->guard.code, client->guard.why, "RFC 6455 section 5");
        client->guard.why = NULL;
    }
}

static void on_shut(uv_shutdown_t *request, int status)
{
    (void)status;
    free(request);
}

void vf_websocket_on_end(struct vf_websocket *client)
{
    uv_shutdown_t *request = client->pipe_is_open ? malloc(sizeof(*request)) : NULL;
    if (request == NULL || uv_shutdown(request, (uv_stream_t *)&client->pipe, on_shut) < 0) {
        free(request);
        close_pipe(client);
    }
}

/* libwebsockets to client */

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct vf_websocket *client = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(client->all->relay, RELAY_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct vf_websocket *client = stream->data;
    struct vf_exchange *ex = client->ex;
    if (n == 0)
        return;
    if (n < 0) {
        close_pipe(client);
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

void vf_websocket_on_drained(struct vf_websocket *client)
{
    if (client->pipe_is_open)
        uv_read_start((uv_stream_t *)&client->pipe, on_room, on_read);
}

void vf_websocket_on_gone(struct vf_websocket *client)
{
    client->ex = NULL;
    close_pipe(client);
    say_closed(client);
}

void vf_websocket_cut(struct vf_websocket *client, const char *reason)
{
    struct vf_exchange *ex = client->ex;
    client->ex = NULL;
    close_pipe(client);
    if (ex != NULL)
        vf_tunnel_cut(ex, reason);
    say_closed(client);
}

/* Events of libwebsockets */

static bool is_utf8(const char *at, size_t len)
{
    const char *end = at + len;
    while (at < end) {
        int n = vf_utf8_next(at, end);
        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

static int append(struct vf_websocket *client, const char *data, size_t len)
{
    size_t need = client->message_len + len;
    if (need > client->message_room) {
        size_t room = need < MESSAGE_FIRST_BYTES ? MESSAGE_FIRST_BYTES : need * 2;
        char *message = realloc(client->message, room);
        if (message == NULL)
            return -1;
        client->message = message;
        client->message_room = room;
    }
    if (len > 0)
        memcpy(client->message + client->message_len, data, len);
    client->message_len = need;
    return 0;
}

/* A piece of a message. Returns -1 to close. */
static int receive(struct vf_websocket *client, struct lws *wsi, const char *data, size_t len)
{
    struct vf_websockets *all = client->all;
    if (client->close_code != 0)
        return 0;
    if (lws_is_first_fragment(wsi))
        client->message_len = 0;
    if (append(client, data, len) < 0)
        return -1;
    if (!lws_is_final_fragment(wsi))
        return 0;
    bool is_binary = lws_frame_is_binary(wsi) != 0;
    struct vf_str whole = vf_str_make(client->message, client->message_len);
    client->ends_at_once = !is_binary && !is_utf8(whole.data, whole.len);
    if (client->ends_at_once)
        vf_websocket_close(client, VF_WS_CLOSE_INVALID, VF_STR("the text is not UTF-8"));
    else
        all->events.on_message(all->events.owner, client->id, whole, is_binary);
    free(client->message);
    client->message = NULL;
    client->message_len = client->message_room = 0;
    return 0;
}

/* Returns room for `len` bytes behind LWS_PRE, or NULL. */
static unsigned char *frame_for(struct vf_websockets *all, size_t len)
{
    if (LWS_PRE + len > all->frame_room) {
        size_t room = LWS_PRE + len * 2;
        unsigned char *frame = realloc(all->frame, room);
        if (frame == NULL)
            return NULL;
        all->frame = frame;
        all->frame_room = room;
    }
    return all->frame + LWS_PRE;
}

static int send_frame(struct vf_websocket *client, struct lws *wsi, struct vf_str text,
                      enum lws_write_protocol kind)
{
    unsigned char *frame = frame_for(client->all, text.len);
    if (frame == NULL)
        return -1;
    if (text.len > 0)
        memcpy(frame, text.data, text.len);
    return lws_write(wsi, frame, text.len, kind) < (int)text.len ? -1 : 0;
}

/* libwebsockets 4.1 on libuv closes before the close frame of lws_close_reason has left: so its
 * bytes are sent, and the connection ends with the client's, or the hub cuts it. */
static int send_close(struct vf_websocket *client, struct lws *wsi)
{
    char text[4 + VF_WEBSOCKET_REASON_BYTES];
    if (client->close_is_sent)
        return 0;
    client->close_is_sent = true;
    text[0] = (char)CLOSE_FRAME;
    text[1] = (char)(2 + client->reason_len);
    text[2] = (char)(client->close_code >> 8);
    text[3] = (char)(client->close_code & 0xff);
    memcpy(text + 4, client->reason, client->reason_len);
    if (send_frame(client, wsi, vf_str_make(text, 4 + client->reason_len), LWS_WRITE_RAW) < 0)
        return -1;
    if (client->ends_at_once || client->guard.code != 0)
        vf_websocket_on_end(client);
    return 0;
}

/* Sends the next piece of a text, in frames of one message: whatever the text's size, a client that
 * takes nothing holds no more than a piece here. Returns -1 to close. */
static int send_text(struct vf_websocket *client, struct lws *wsi)
{
    const struct vf_websocket_events *events = &client->all->events;
    if (!client->is_known)
        return 0;
    if (client->sending.data == NULL) {
        client->sent = 0;
        if (!events->on_writable(events->owner, client->id, &client->sending, &client->token))
            return 0;
    }
    size_t left = client->sending.len - client->sent;
    size_t len = left < SEND_BYTES ? left : SEND_BYTES;
    bool is_last = len == left;
    struct vf_str piece = vf_str_make(client->sending.data + client->sent, len);
    int kind = lws_write_ws_flags(LWS_WRITE_TEXT, client->sent == 0, is_last);
    if (send_frame(client, wsi, piece, (enum lws_write_protocol)kind) < 0)
        return -1;
    client->sent += len;
    if (is_last)
        forget_text(client);
    lws_callback_on_writable(wsi); /* for the next piece, or text */
    return 0;
}

/* One frame can be sent. Returns -1 to close. */
static int send_next(struct vf_websocket *client, struct lws *wsi)
{
    if (client->close_code != 0)
        return send_close(client, wsi);
    if (client->wants_ping) {
        client->wants_ping = false;
        if (send_frame(client, wsi, VF_STR(PING_TEXT), LWS_WRITE_PING) < 0)
            return -1;
        lws_callback_on_writable(wsi); /* one frame for each time */
        return 0;
    }
    return send_text(client, wsi);
}

static void on_wsi_gone(struct vf_websocket *client)
{
    client->wsi = NULL;
    say_closed(client);
    free_when_gone(client);
}

static int on_event(struct lws *wsi, enum lws_callback_reasons event, void *user, void *in,
                    size_t len)
{
    struct vf_websocket *client = wsi != NULL ? lws_get_opaque_user_data(wsi) : NULL;
    (void)user;
    switch (event) {
    case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED: {
        struct vf_websockets *all = lws_context_user(lws_get_context(wsi));
        lws_set_opaque_user_data(wsi, all->adopted);
        all->adopted->wsi = wsi;
        return 0;
    }
    case LWS_CALLBACK_RECEIVE:
        return receive(client, wsi, in, len);
    case LWS_CALLBACK_RECEIVE_PONG:
        if (client->is_known)
            client->all->events.on_pong(client->all->events.owner, client->id);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return send_next(client, wsi);
    case LWS_CALLBACK_CLOSED:
        say_closed(client);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        if (client != NULL && client->wsi == wsi)
            on_wsi_gone(client);
        return 0;
    default:
        return 0;
    }
}

/* Start and stop */

/* It logs what is no news to an operator: refused clients, sockets that went away. */
static void on_log(int level, const char *line)
{
    (void)level;
    vf_log_debug(NULL, "websocket.library", "line=%s", line);
}

/* Without extensions: permessage-deflate would give each client a window of its own, and what a
 * message grows to is not bounded before it is inflated. */
static const struct lws_protocols PROTOCOLS[] = {
    {.name = "veloflux", .callback = on_event, .rx_buffer_size = RX_BYTES}, {.name = NULL}};

static int start(struct vf_websockets *all)
{
    void *loops[] = {all->loop};
    struct lws_context_creation_info info = {.port = CONTEXT_PORT_NO_LISTEN,
                                             .options = LWS_SERVER_OPTION_LIBUV |
                                                        LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                                                        LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
                                             .foreign_loops = loops,
                                             .protocols = PROTOCOLS,
                                             .vhost_name = "admin",
                                             .pt_serv_buf_size = SERVICE_BYTES,
                                             .max_http_header_pool = HEADER_TABLES,
                                             .fd_limit_per_thread = MAX_DESCRIPTORS,
                                             .pcontext = &all->context,
                                             .user = all};
    if (all->context != NULL)
        return 0;
    if (all->has_failed || all->is_stopped)
        return UV_ENOSYS;
    lws_set_log_level(LLL_ERR | LLL_WARN, on_log);
    all->context = lws_create_context(&info);
    if (all->context != NULL)
        all->vhost = lws_create_vhost(all->context, &info);
    if (all->vhost != NULL)
        return 0;
    all->has_failed = true;
    vf_log_error(NULL, "websocket.failed", "err=%s",
                 "libwebsockets does not start; is its part for libuv installed?");
    return UV_ENOSYS;
}

int vf_websockets_new(uv_loop_t *loop, struct vf_proxy *proxy,
                      const struct vf_websocket_events *events, struct vf_websockets **out)
{
    struct vf_websockets *all = calloc(1, sizeof(*all));
    if (all == NULL)
        return UV_ENOMEM;
    all->loop = loop;
    all->proxy = proxy;
    all->events = *events;
    *out = all;
    return 0;
}

void vf_websockets_stop(struct vf_websockets *all)
{
    if (all->is_stopped)
        return;
    all->is_stopped = true;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct vf_websocket *client = all->buckets[i]; client != NULL; client = client->next)
            vf_websocket_cut(client, "stopped"); /* its memory goes later */
    lws_context_destroy(all->context);           /* its handles close as the loop goes on */
}

void vf_websockets_free(struct vf_websockets *all)
{
    if (all == NULL)
        return;
    for (int i = 0; i < DESTROY_STEPS && all->context != NULL; i++)
        lws_context_destroy(all->context); /* the last step sets our pointer to NULL */
    free(all->frame);
    free(all);
}

/* Opening */

static int make_pair(int fds[2])
{
    int bytes = PAIR_BYTES;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return uv_translate_sys_error(errno);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    return 0;
}

/* The 101 of libwebsockets has come: takes it off. Returns false when that is not what came. */
static bool take_head(int fd)
{
    char head[HEAD_BYTES];
    ssize_t n = recv(fd, head, sizeof(head), MSG_PEEK);
    const char *end = n > 0 ? memmem(head, (size_t)n, "\r\n\r\n", 4) : NULL;
    if (end == NULL || memcmp(head, "HTTP/1.1 101", 12) != 0)
        return false;
    size_t len = (size_t)(end + 4 - head);
    return recv(fd, head, len, 0) == (ssize_t)len;
}

/* Gives `fd` to libwebsockets, which owns it from here on. Returns 0 or UV_E*. */
static int adopt(struct vf_websocket *client, int fd)
{
    struct vf_websockets *all = client->all;
    all->adopted = client;
    struct lws *wsi = lws_adopt_socket_vhost_readbuf(all->vhost, fd, REQUEST, sizeof(REQUEST) - 1);
    all->adopted = NULL;
    return wsi != NULL ? 0 : UV_ENOMEM;
}

static struct vf_websocket *new_client(struct vf_websockets *all, double id, uint64_t max_message)
{
    struct vf_websocket *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return NULL;
    client->all = all;
    client->id = id;
    vf_websocket_guard_init(&client->guard, max_message);
    client->next = *bucket_of(all, id);
    *bucket_of(all, id) = client;
    uv_pipe_init(all->loop, &client->pipe, 0);
    client->pipe.data = client;
    client->pipe_is_open = true;
    return client;
}

int vf_websocket_open(struct vf_websockets *all, struct vf_exchange *ex, double id,
                      const struct vf_fields *fields, uint64_t max_message)
{
    int fds[2], rc;
    if ((rc = start(all)) < 0 || (rc = make_pair(fds)) < 0)
        return rc;
    struct vf_websocket *client = new_client(all, id, max_message);
    if (client == NULL) {
        close(fds[0]);
        close(fds[1]);
        return UV_ENOMEM;
    }
    if ((rc = uv_pipe_open(&client->pipe, fds[0])) < 0) {
        close(fds[0]);
        close(fds[1]);
        goto fail;
    }
    if ((rc = adopt(client, fds[1])) < 0)
        goto fail;
    if (!take_head(fds[0])) {
        rc = UV_EPROTO;
        goto fail;
    }
    client->is_known = true;
    client->ex = ex;
    uv_read_start((uv_stream_t *)&client->pipe, on_room, on_read);
    vf_tunnel_begin(ex, VF_STR("websocket"), fields, client);
    return 0;

fail:
    close_pipe(client);
    return rc;
}

/* What others ask for */

struct vf_websocket *vf_websocket_find(struct vf_websockets *all, double id)
{
    struct vf_websocket *client = *bucket_of(all, id);
    while (client != NULL && (client->id != id || !client->is_known))
        client = client->next;
    return client;
}

void vf_websocket_send_soon(struct vf_websocket *client)
{
    if (client->wsi != NULL && client->close_code == 0)
        lws_callback_on_writable(client->wsi);
}

void vf_websocket_ping(struct vf_websocket *client)
{
    client->wants_ping = true;
    vf_websocket_send_soon(client);
}

void vf_websocket_close(struct vf_websocket *client, uint16_t code, struct vf_str reason)
{
    if (client->wsi == NULL || client->close_code != 0)
        return;
    client->reason_len = reason.len < sizeof(client->reason) ? reason.len : sizeof(client->reason);
    if (client->reason_len > 0)
        memcpy(client->reason, reason.data, client->reason_len);
    vf_websocket_send_soon(client);
    client->close_code = code;
}
