#define _GNU_SOURCE
#include "control/websocket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/websocket_parts.h"
#include "proxy/tunnel.h"

enum { PAIR_BYTES = 32 * 1024 /* wait in the socket pair, before back pressure */ };

/* Life of a client */

static struct vf_websocket **bucket_of(struct vf_websockets *all, double id)
{
    return &all->buckets[(uint64_t)id % VF_WS_BUCKETS];
}

static void unlink_client(struct vf_websocket *client)
{
    struct vf_websocket **at = bucket_of(client->all, client->id);
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
}

void vf_websocket_free_when_gone(struct vf_websocket *client)
{
    if (client->ex != NULL || client->wsi != NULL || !client->pipe_is_closed)
        return;
    unlink_client(client);
    free(client->message);
    free(client);
}

void vf_websocket_forget_text(struct vf_websocket *client)
{
    if (client->sending.data == NULL)
        return;
    client->sending = vf_str_make(NULL, 0);
    client->all->events.on_sent(client->all->events.owner, client->token);
}

void vf_websocket_say_closed(struct vf_websocket *client)
{
    struct vf_websockets *all = client->all;
    vf_websocket_forget_text(client);
    if (!client->is_known)
        return;
    client->is_known = false;
    if (!all->is_stopped)
        all->events.on_closed(all->events.owner, client->id);
}

void vf_websocket_on_gone(struct vf_websocket *client)
{
    client->ex = NULL;
    vf_websocket_close_pipe(client);
    vf_websocket_say_closed(client);
}

void vf_websocket_cut(struct vf_websocket *client, const char *reason)
{
    struct vf_exchange *ex = client->ex;
    client->ex = NULL;
    vf_websocket_close_pipe(client);
    if (ex != NULL)
        vf_tunnel_cut(ex, reason);
    vf_websocket_say_closed(client);
}

/* All of them */

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
    for (size_t i = 0; i < VF_WS_BUCKETS; i++)
        for (struct vf_websocket *client = all->buckets[i]; client != NULL; client = client->next)
            vf_websocket_cut(client, "stopped"); /* its memory goes later */
    vf_websocket_stop_library(all);
}

void vf_websockets_free(struct vf_websockets *all)
{
    if (all == NULL)
        return;
    vf_websocket_free_library(all);
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
    if ((rc = vf_websocket_start_library(all)) < 0 || (rc = make_pair(fds)) < 0)
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
    if ((rc = vf_websocket_adopt(client, fds[1], fds[0])) < 0)
        goto fail;
    client->is_known = true;
    client->ex = ex;
    vf_websocket_relay(client);
    vf_tunnel_begin(ex, VF_STR("websocket"), fields, client);
    return 0;

fail:
    vf_websocket_close_pipe(client);
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
    if (client->close_code == 0)
        vf_websocket_want_write(client);
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
