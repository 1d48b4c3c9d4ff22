/* lua/redis_client.h - connections to Redis servers, for Lua that does not wait: what it asks for
 * ends in events, and Lua takes them when the loop says that there are some. The store stands on
 * it, in control and in commands; plugins, whose tasks wait, use net/socket.h themselves.
 *
 *   link_open -> CONNECTING -> OPEN -> FAILED      an event tells each arrow; link_close: any time
 *                     \-------------> FAILED
 *
 * Commands are pipelined: bytes go out as they come, replies come in their order. While replies are
 * expected and the server is silent for too long, the link fails. Mirrored by
 * lua/veloflux/store/redis/wire.lua. */
#ifndef VF_LUA_REDIS_CLIENT_H
#define VF_LUA_REDIS_CLIENT_H

#include <uv.h>

#include "lua/redis_reader.h"

struct vf_redis_client; /* the links of one store, and one alarm */
struct vf_redis_link;

/* Whose loop it is, and how Lua gets to know of events. */
struct vf_redis_host {
    uv_loop_t *loop;
    void (*on_ready)(void *owner); /* from the loop: events wait, take them all; NULL: Lua looks */
    void *owner;
};

enum vf_redis_event_kind { VF_REDIS_OPENED = 1, VF_REDIS_REPLY, VF_REDIS_FAILED, VF_REDIS_ALARM };

struct vf_redis_event {                /* read by Lua; valid until the next is taken */
    uint64_t number;                   /* of the link */
    const struct vf_redis_node *nodes; /* of a reply */
    const char *why;                   /* it failed: a sentence */
    uint32_t n_nodes;
    uint32_t kind;
    int32_t rc; /* it failed: UV_E* or VF_E* */
    uint32_t unused;
};

/* Copies `host`. Returns 0 or UV_E*; *out belongs to the caller. */
int vf_redis_client_new(const struct vf_redis_host *host, struct vf_redis_client **out);

/* Closes everything; the memory goes when the loop has run the close callbacks. */
void vf_redis_client_free(struct vf_redis_client *client);

/* From now on all links but those to unix sockets speak TLS, and the servers' certificates are
 * verified: they have `name` (empty: the host of the link) and come from `authorities` (DER, one
 * behind the other; empty: any will do). Returns 0 or UV_E*. */
int vf_redis_client_secure(struct vf_redis_client *client, const char *authorities, size_t len,
                           const char *name);

/* Returns the next event, or NULL. */
const struct vf_redis_event *vf_redis_client_take(struct vf_redis_client *client);

/* Raises the alarm in `delay_ms`, instead of when it was to be before; UINT64_MAX: never. */
void vf_redis_client_alarm(struct vf_redis_client *client, uint64_t delay_ms);

/* Opens a link to `host` (a name or an address) and `port`, or to the unix socket of path `host`
 * when the port is -1. Here, and nowhere else, connections are made. `patience_ms` is how long
 * connecting may take, and then the server's silence. Returns NULL when out of memory. */
struct vf_redis_link *vf_redis_link_open(struct vf_redis_client *client, uint64_t number,
                                         const char *host, size_t len, int port,
                                         uint64_t patience_ms, uint64_t max_reply_bytes);

/* Sends bytes (copied) of commands that have `n_replies` together. */
void vf_redis_link_send(struct vf_redis_link *link, const char *data, size_t len,
                        uint32_t n_replies);

/* Sets how large the next replies may be. */
void vf_redis_link_limit(struct vf_redis_link *link, uint64_t max_reply_bytes);

/* Closes and frees it: no event of it follows. */
void vf_redis_link_close(struct vf_redis_link *link);

#endif
