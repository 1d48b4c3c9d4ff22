/* control/websocket_library.c - libwebsockets at its end of a client's socket pair: messages that
 * come, frames that go, and its life on our loop. */
#define _GNU_SOURCE
#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "control/websocket_parts.h"
#include "lua/utf8.h"

enum {
    SEND_BYTES = 16 * 1024,      /* of a text at once: what a slow client holds besides its queue */
    SERVICE_BYTES = 4096,        /* read by libwebsockets at once */
    RX_BYTES = 1024,             /* of payload that libwebsockets hands over at once */
    MESSAGE_FIRST_BYTES = 256,   /* room for a message, at first */
    HEAD_BYTES = 1024,           /* of the 101 of libwebsockets */
    HEADER_TABLES = 8,           /* handshakes at once: one is over before the next begins */
    MAX_DESCRIPTORS = 10 * 1024, /* that libwebsockets has tables for */
    CLOSE_FRAME = 0x88,          /* first byte of one (RFC 6455 section 5.2) */
    DESTROY_STEPS = 3            /* of the context: clients, virtual hosts, itself */
};

/* Pongs without payload are not told of. */
#define PING_TEXT "alive?"

/* The request that libwebsockets sees. The client's own was answered by our codec, with the accept
 * field for the client's key: that of this one is dropped with the rest of the head. */
static const char REQUEST[] = "GET / HTTP/1.1\r\nHost: admin\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/* Messages and frames */

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
        vf_websocket_shut(client);
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
        vf_websocket_forget_text(client);
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
    vf_websocket_say_closed(client);
    vf_websocket_free_when_gone(client);
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
        vf_websocket_say_closed(client);
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

int vf_websocket_start_library(struct vf_websockets *all)
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

void vf_websocket_stop_library(struct vf_websockets *all)
{
    lws_context_destroy(all->context); /* its handles close as the loop goes on; NULL is allowed */
}

void vf_websocket_free_library(struct vf_websockets *all)
{
    for (int i = 0; i < DESTROY_STEPS && all->context != NULL; i++)
        lws_context_destroy(all->context); /* the last step sets our pointer to NULL */
    free(all->frame);
}

/* Adoption */

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

int vf_websocket_adopt(struct vf_websocket *client, int fd, int other)
{
    struct vf_websockets *all = client->all;
    all->adopted = client;
    struct lws *wsi = lws_adopt_socket_vhost_readbuf(all->vhost, fd, REQUEST, sizeof(REQUEST) - 1);
    all->adopted = NULL;
    if (wsi == NULL)
        return UV_ENOMEM;
    return take_head(other) ? 0 : UV_EPROTO;
}

void vf_websocket_want_write(struct vf_websocket *client)
{
    if (client->wsi != NULL)
        lws_callback_on_writable(client->wsi);
}
