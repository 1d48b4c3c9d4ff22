#include "lua/redis_client.h"

#include <stdlib.h>
#include <string.h>

#include "lua/redis_core.h"
#include "net/resolver.h"
#include "tls/client.h"
#include "tls/transport.h"
#include "tls/trust.h"

enum { MAX_LINKS = 64, TLS_DEPTH = 6 };

/* What waits for Lua */

static void on_idle(uv_idle_t *idle)
{
    struct vf_redis_client *client = idle->data;
    uv_idle_stop(idle);
    if (client->host.on_ready != NULL)
        client->host.on_ready(client->host.owner);
}

static void on_alarm(struct vf_timer *timer)
{
    struct vf_redis_client *client =
        (struct vf_redis_client *)((char *)timer - offsetof(struct vf_redis_client, alarm));
    client->rings = true;
    vf_redis_client_ring(client);
}

const struct vf_redis_event *vf_redis_client_take(struct vf_redis_client *client)
{
    vf_reactor_refresh(client->reactor);
    while (client->queue != NULL) {
        struct vf_redis_link *link = client->queue;
        vf_redis_link_dequeue(link);
        if (vf_redis_link_look_at(link))
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

/* Life */

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
    client->on_idle = on_idle;
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
