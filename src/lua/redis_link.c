/* Connections to Redis servers: connecting, TLS, replies, failures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "lua/redis_core.h"
#include "tls/client.h"
#include "tls/transport.h"

enum { MAX_ADDRESSES = 4 /* of one name, tried one after the other */ };

static void enqueue(struct vf_redis_link *link)
{
    struct vf_redis_client *client = link->client;
    if (link->at_queued == NULL) {
        link->next_queued = NULL;
        link->at_queued = client->queue_end;
        *client->queue_end = link;
        client->queue_end = &link->next_queued;
    }
    vf_redis_client_ring(client);
}

void vf_redis_link_dequeue(struct vf_redis_link *link)
{
    if (link->at_queued == NULL)
        return;
    *link->at_queued = link->next_queued;
    if (link->next_queued != NULL)
        link->next_queued->at_queued = link->at_queued;
    else
        link->client->queue_end = link->at_queued;
    link->at_queued = NULL;
}

static void fail(struct vf_redis_link *link, int rc)
{
    if (link->state == VF_REDIS_LINK_FAILED)
        return;
    link->state = VF_REDIS_LINK_FAILED;
    link->rc = rc;
    vf_reactor_timer_stop(link->client->reactor, &link->silence);
    enqueue(link);
}

static void on_silent(struct vf_timer *timer)
{
    fail((struct vf_redis_link *)((char *)timer - offsetof(struct vf_redis_link, silence)),
         UV_ETIMEDOUT);
}

/* The server has said something, or is about to be asked: it has the whole time again. */
static void await_reply(struct vf_redis_link *link)
{
    vf_reactor_timer(link->client->reactor, &link->silence,
                     link->expected > 0 ? link->patience_ms : UINT64_MAX);
}

static void on_connected(void *owner, int rc)
{
    struct vf_redis_link *link = owner;
    link->rc = rc;
    enqueue(link);
}

static void on_input(void *owner, int rc)
{
    struct vf_redis_link *link = owner;
    (void)rc; /* the next read finds it */
    await_reply(link);
    enqueue(link);
}

static void begin_connect(struct vf_redis_link *link)
{
    link->attempts++;
    link->socket = vf_socket_new(link->client->sockets);
    if (link->socket == NULL) {
        fail(link, UV_EMFILE);
        return;
    }
    int rc =
        vf_socket_connect(link->socket, link->host, link->host_len, link->port, link->patience_ms);
    if (rc == VF_PENDING)
        vf_op_on_done(vf_socket_writing(link->socket), on_connected, link);
    else
        on_connected(link, rc);
}

static void drop_socket(struct vf_redis_link *link)
{
    if (link->socket == NULL)
        return;
    vf_op_cancel(vf_socket_reading(link->socket));
    vf_op_cancel(vf_socket_writing(link->socket));
    vf_socket_free(link->socket);
    link->socket = NULL;
}

static void tell(struct vf_redis_link *link, enum vf_redis_event_kind kind)
{
    link->client->event = (struct vf_redis_event){.number = link->number, .kind = kind};
}

/* Returns true when there is a handshake to wait for. */
static bool begin_tls(struct vf_redis_link *link)
{
    const struct vf_redis_client *client = link->client;
    struct vf_str name = vf_str_make(link->host, link->host_len);
    if (client->tls == NULL || link->port < 0 || link->is_shaking)
        return false;
    if (client->name[0] != '\0')
        name = vf_str_make(client->name, strlen(client->name));
    link->is_shaking = true;
    link->rc = vf_tls_connect(client->tls_client, vf_socket_stream(link->socket), name);
    if (link->rc == 0)
        link->rc = vf_socket_start_transport(link->socket, link->patience_ms);
    if (link->rc == VF_PENDING)
        vf_op_on_done(vf_socket_writing(link->socket), on_connected, link);
    return link->rc == VF_PENDING;
}

/* Returns true with an event when it stands. */
static bool end_connect(struct vf_redis_link *link)
{
    if (link->rc == 0 && begin_tls(link))
        return false;
    if (link->rc == 0) {
        link->state = VF_REDIS_LINK_OPEN;
        enqueue(link);
        tell(link, VF_REDIS_OPENED);
        return true;
    }
    if (link->attempts < MAX_ADDRESSES && !link->is_shaking && vf_socket_may_retry(link->socket)) {
        drop_socket(link);
        begin_connect(link);
    } else {
        fail(link, link->rc);
    }
    return false;
}

/* Returns true with an event when there is a reply. */
static bool read_reply(struct vf_redis_link *link)
{
    struct vf_redis_event *event = &link->client->event;
    int rc = vf_redis_reader_read(link->reader, link->socket, 0);
    if (rc == VF_PENDING) {
        vf_op_on_done(vf_socket_reading(link->socket), on_input, link);
        return false;
    }
    if (rc != 0) {
        fail(link, rc);
        return false;
    }
    if (link->expected > 0)
        link->expected--;
    await_reply(link);
    enqueue(link); /* there may be another */
    tell(link, VF_REDIS_REPLY);
    event->nodes = vf_redis_reader_nodes(link->reader, &event->n_nodes);
    return true;
}

static const char *reason_of(const struct vf_redis_link *link)
{
    const char *rule = vf_redis_reader_rule(link->reader);
    static char text[80];
    char why[64];
    if (link->rc == VF_EMALFORMED && rule[0] != '\0')
        return rule;
    if (link->rc == VF_ETLS && link->socket != NULL) {
        vf_tls_reason(vf_socket_stream(link->socket), why, sizeof(why));
        snprintf(text, sizeof(text), "TLS: %s", why);
        return text;
    }
    return link->socket != NULL ? vf_socket_why(link->socket, link->rc) : vf_error_text(link->rc);
}

static bool tell_failure(struct vf_redis_link *link)
{
    if (link->is_told)
        return false;
    link->is_told = true;
    tell(link, VF_REDIS_FAILED);
    link->client->event.rc = link->rc;
    link->client->event.why = reason_of(link);
    return true;
}

bool vf_redis_link_look_at(struct vf_redis_link *link)
{
    switch (link->state) {
    case VF_REDIS_LINK_CONNECTING:
        return end_connect(link);
    case VF_REDIS_LINK_OPEN:
        return read_reply(link);
    default:
        return tell_failure(link);
    }
}

struct vf_redis_link *vf_redis_link_open(struct vf_redis_client *client, uint64_t number,
                                         const char *host, size_t len, int port,
                                         uint64_t patience_ms, uint64_t max_reply_bytes)
{
    struct vf_redis_link *link = calloc(1, sizeof(*link) + len + 1);
    if (link == NULL)
        return NULL;
    link->reader = vf_redis_reader_new(max_reply_bytes);
    if (link->reader == NULL) {
        free(link);
        return NULL;
    }
    memcpy(link->host, host, len);
    link->client = client;
    link->number = number;
    link->host_len = len;
    link->port = port;
    link->patience_ms = patience_ms;
    link->silence.on_fire = on_silent;
    link->next = client->links;
    link->at = &client->links;
    if (link->next != NULL)
        link->next->at = &link->next;
    client->links = link;
    vf_reactor_refresh(client->reactor);
    begin_connect(link);
    return link;
}

void vf_redis_link_send(struct vf_redis_link *link, const char *data, size_t len,
                        uint32_t n_replies)
{
    if (link->state != VF_REDIS_LINK_OPEN)
        return;
    vf_reactor_refresh(link->client->reactor);
    if (link->expected == 0 && n_replies > 0) {
        link->expected = n_replies;
        await_reply(link);
    } else {
        link->expected += n_replies;
    }
    vf_socket_add(link->socket, data, len);
    int rc = vf_socket_send(link->socket, 0, false);
    if (rc < 0 && rc != UV_EBUSY) /* busy: what was added goes with the rest */
        fail(link, rc);
}

void vf_redis_link_limit(struct vf_redis_link *link, uint64_t max_reply_bytes)
{
    vf_redis_reader_limit(link->reader, max_reply_bytes);
}

void vf_redis_link_close(struct vf_redis_link *link)
{
    vf_reactor_timer_stop(link->client->reactor, &link->silence);
    drop_socket(link);
    vf_redis_link_dequeue(link);
    *link->at = link->next;
    if (link->next != NULL)
        link->next->at = link->at;
    vf_redis_reader_free(link->reader);
    free(link);
}
