/* lua/redis_core.h - a client of Redis servers inside: what redis_client.c (the client, and what it
 * tells Lua) and redis_link.c (connections to servers) share. */
#ifndef VF_LUA_REDIS_CORE_H
#define VF_LUA_REDIS_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lua/redis_client.h"
#include "net/reactor.h"

enum vf_redis_link_state { VF_REDIS_LINK_CONNECTING = 0, VF_REDIS_LINK_OPEN, VF_REDIS_LINK_FAILED };

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
    enum vf_redis_link_state state;
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
    uv_idle_cb on_idle;
    struct vf_redis_link *links;
    struct vf_redis_link *queue, **queue_end;
    struct vf_redis_event event;
    bool rings;
};

/* Has the host told soon, from the loop, that something waits to be taken. */
static inline void vf_redis_client_ring(struct vf_redis_client *client)
{
    uv_idle_start(&client->idle, client->on_idle);
}

/* Takes the link from the queue of those that are to be looked at, if it is there. */
void vf_redis_link_dequeue(struct vf_redis_link *link);

/* Sees to what has happened to a link. Returns true when client->event tells of it. */
bool vf_redis_link_look_at(struct vf_redis_link *link);

#endif
