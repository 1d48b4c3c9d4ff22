#include "lua/redis_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "net/reactor.h"
#include "net/resolver.h"
#include "tls/client.h"
#include "tls/transport.h"
#include "tls/trust.h"

enum { MAX_LINKS = 64, MAX_ADDRESSES = 4 /* of one name, tried one after the other */ };
enum { TLS_DEPTH = 6 };

enum link_state { CONNECTING = 0, OPEN, FAILED };

struct vf_redis_link {
    struct vf_redis_client *client;
    struct vf_redis_link *next, **at;               /* among those of the client */
    struct vf_redis_link *next_queued, **at_queued; /* to be looked at; at is NULL: it is not */
    struct vf_socket *socket;
    struct vf_redis_reader *reader;
    struct vf_timer silence;
    uint64_t number;
    uint64_t patience_ms;
    uint32_t expected; /* replies */
    uint32_t attempts;
    enum link_state state;
    int rc; /* how connecting ended, or why it failed */
    int port;
    bool is_told;    /* that it failed */
    bool is_shaking; /* TLS: connected, the handshake is on its way or done */
    size_t host_len;
    char host[];
};

struct vf_redis_client {
    struct vf_redis_host host;
    struct vf_reactor *reactor;
    struct vf_net net;
    struct vf_resolver *resolver;
    struct vf_sockets *sockets;
    struct vf_tls *tls; /* NULL: plain */
    struct vf_tls_client *tls_client;
    char name[256]; /* that servers have in their certificates; empty: their host */
    struct vf_timer alarm;
    uv_idle_t idle; /* runs while events wait: they are told from the loop, in no other callback */
    struct vf_redis_link *links;
    struct vf_redis_link *queue, **queue_end;
    struct vf_redis_event event;
    bool rings;
};

/* What waits for Lua */

static void on_idle(uv_idle_t *idle)
{
    struct vf_redis_client *client = idle->data;
    uv_idle_stop(idle);
    if (client->host.on_ready != NULL)
        client->host.on_ready(client->host.owner);
}

static void enqueue(struct vf_redis_link *link)
{
    struct vf_redis_client *client = link->client;
    if (link->at_queued == NULL) {
        link->next_queued = NULL;
        link->at_queued = client->queue_end;
        *client->queue_end = link;
        client->queue_end = &link->next_queued;
    }
    uv_idle_start(&client->idle, on_idle);
}

static void dequeue(struct vf_redis_link *link)
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
    if (link->state == FAILED)
        return;
    link->state = FAILED;
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

static void on_alarm(struct vf_timer *timer)
{
    struct vf_redis_client *client =
        (struct vf_redis_client *)((char *)timer - offsetof(struct vf_redis_client, alarm));
    client->rings = true;
    uv_idle_start(&client->idle, on_idle);
}

/* Connecting and reading */

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
        link->state = OPEN;
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

static bool look_at(struct vf_redis_link *link)
{
    switch (link->state) {
    case CONNECTING:
        return end_connect(link);
    case OPEN:
        return read_reply(link);
    default:
        return tell_failure(link);
    }
}

const struct vf_redis_event *vf_redis_client_take(struct vf_redis_client *client)
{
    vf_reactor_refresh(client->reactor);
    while (client->queue != NULL) {
        struct vf_redis_link *link = client->queue;
        dequeue(link);
        if (look_at(link))
            return &client->event;
    }
    if (!client->rings)
        return NULL;
    client->rings = false;
    client->event = (struct vf_redis_event){.kind = VF_REDIS_ALARM};
    return &client->event;
}

void vf_redis_client_alarm(struct vf_redis_client *client, uint64_t delay_ms)
{
    vf_reactor_refresh(client->reactor);
    vf_reactor_timer(client->reactor, &client->alarm, delay_ms);
}

/* Links */

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
    if (link->state != OPEN)
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
    dequeue(link);
    *link->at = link->next;
    if (link->next != NULL)
        link->next->at = link->at;
    vf_redis_reader_free(link->reader);
    free(link);
}

/* All of them */

static void after_events(void *owner)
{
    vf_net_flush(&((struct vf_redis_client *)owner)->net);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int vf_redis_client_new(const struct vf_redis_host *host, struct vf_redis_client **out)
{
    struct vf_redis_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return UV_ENOMEM;
    client->host = *host;
    client->queue_end = &client->queue;
    client->alarm.on_fire = on_alarm;
    int rc = vf_reactor_new(host->loop, after_events, client, &client->reactor);
    if (rc < 0)
        goto fail;
    if ((rc = vf_net_init(&client->net, client->reactor, UINT64_MAX)) < 0)
        goto fail_reactor;
    if ((rc = vf_resolver_new(host->loop, NULL, &client->resolver)) < 0)
        goto fail_net;
    if ((rc = vf_sockets_new(&client->net, client->resolver, MAX_LINKS, &client->sockets)) < 0)
        goto fail_resolver;
    uv_idle_init(host->loop, &client->idle);
    client->idle.data = client;
    *out = client;
    return 0;

fail_resolver:
    vf_resolver_free(client->resolver);
fail_net:
    vf_net_deinit(&client->net);
fail_reactor:
    vf_reactor_free(client->reactor);
fail:
    free(client);
    return rc;
}

int vf_redis_client_secure(struct vf_redis_client *client, const char *authorities, size_t len,
                           const char *name)
{
    struct vf_tls_client_options options = {
        .min_version = 12, .verify = len > 0, .depth = TLS_DEPTH};
    struct vf_tls_trust *trust = NULL;
    int rc = 0;
    if (strlen(name) >= sizeof(client->name))
        return UV_EINVAL;
    memcpy(client->name, name, strlen(name) + 1);
    if (len > 0)
        rc = vf_tls_trust_new(vf_str_make(authorities, len), vf_str_make(NULL, 0), &trust);
    if (rc == 0)
        rc = vf_tls_new(&client->net, &client->tls);
    if (rc == 0)
        rc = vf_tls_client_new(client->tls, &options, trust, NULL, &client->tls_client);
    vf_tls_trust_release(&trust);
    return rc;
}

void vf_redis_client_free(struct vf_redis_client *client)
{
    if (client == NULL)
        return;
    while (client->links != NULL)
        vf_redis_link_close(client->links);
    vf_reactor_timer_stop(client->reactor, &client->alarm);
    vf_sockets_free(client->sockets);
    vf_resolver_free(client->resolver);
    vf_tls_client_release(&client->tls_client);
    vf_tls_free(client->tls);
    vf_net_deinit(&client->net);
    vf_reactor_free(client->reactor);
    uv_close((uv_handle_t *)&client->idle, on_closed);
}
