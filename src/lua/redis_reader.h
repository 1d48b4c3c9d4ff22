/* lua/redis_reader.h - replies of a Redis server from a socket that is pulled (net/socket.h).
 * hiredis parses; what it finds is laid out flat, in the order of the wire, for Lua to walk: an
 * array is followed by its elements, and theirs. */
#ifndef VF_LUA_REDIS_READER_H
#define VF_LUA_REDIS_READER_H

#include "net/socket.h"

/* mirrored by lua/veloflux/redis/reply.lua */
struct vf_redis_node {
    int32_t type; /* hiredis' REDIS_REPLY_*: 1 string, 2 array, 3 integer, 4 nil, 5 status, 6
                           error */
    uint32_t n;   /* elements of an array */
    int64_t integer;
    struct vf_str text; /* of strings, statuses and errors */
};

enum { VF_REDIS_MAX_NODES = 1024 * 1024 /* of one reply: 32 MiB */ };

struct vf_redis_reader;

/* Makes a reader for replies of at most `max_bytes`. Owned by the caller; NULL: out of memory. */
struct vf_redis_reader *vf_redis_reader_new(uint64_t max_bytes);
void vf_redis_reader_free(struct vf_redis_reader *reader);

/* Sets how large the next replies may be. */
void vf_redis_reader_limit(struct vf_redis_reader *reader, uint64_t max_bytes);

/* Reads one reply. Returns 0, VF_PENDING (call again when the socket's `reading` has ended,
 * whatever its result), VF_EMALFORMED (see vf_redis_reader_rule), VF_ETOOLARGE, or the socket's
 * code. */
int vf_redis_reader_read(struct vf_redis_reader *reader, struct vf_socket *socket,
                         uint64_t timeout_ms);

/* Returns the nodes of the reply that was read, and their number in *n; valid until the next
 * read. */
const struct vf_redis_node *vf_redis_reader_nodes(struct vf_redis_reader *reader, uint32_t *n);

/* True when there is no part of a further reply. */
bool vf_redis_reader_is_empty(const struct vf_redis_reader *reader);

/* What the server sent that is no reply; "" for nothing. */
const char *vf_redis_reader_rule(const struct vf_redis_reader *reader);

#endif
