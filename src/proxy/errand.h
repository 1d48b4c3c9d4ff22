/* proxy/errand.h - a request of our own to a pool, for code that speaks on its connection by itself
 * (proxy/lending.h): what exchanges have from the proxy, without being one. The balancer chooses,
 * health and the limits of the pool hold, a backend that takes no connection is failed over, and
 * all is counted as for requests of clients.
 *
 *   new -> open -> connected -> answered -> free
 *           ^  \-> failed: as long as nothing was sent, open goes on with the next backend
 *            \-/
 *
 * An errand pins the snapshot that it began with. Owned by the caller. */
#ifndef VF_PROXY_ERRAND_H
#define VF_PROXY_ERRAND_H

#include <stdbool.h>

#include "base/str.h"
#include "proxy/exchange.h"

struct vf_errand;
struct vf_proxy;
struct vf_socket;
struct vf_sockets;

/* What is asked for. Borrowed for the call. */
struct vf_errand_wish {
    struct vf_str tenant, pool;
    struct vf_str method;
    struct vf_str hash_key; /* for consistent_hash; data NULL: what the exchange has, see new */
    uint32_t pool_hint;     /* where the pool was last time: an index of VF_SNAP_POOLS */
};

/* The limits of the pool, in milliseconds; UINT64_MAX is off. */
struct vf_errand_limits {
    uint64_t connect_ms, response_ms, response_body_ms, idle_ms;
};

/* Makes an errand. `ex`, which may be NULL, is the exchange on whose behalf it goes: its snapshot,
 * its client's address and the request's own hash key count. Returns 0; UV_ENOENT: there is no
 * such pool; UV_ENOTSUP: this process has no pools; UV_ENOMEM. */
int vf_errand_new(struct vf_proxy *proxy, const struct vf_errand_wish *wish, struct vf_exchange *ex,
                  struct vf_errand **out);

/* Ends it: it is not in flight any more, and what it was is counted. NULL is left alone. */
void vf_errand_free(struct vf_errand *errand);

/* Where the pool is: for the next wish. */
uint32_t vf_errand_pool_index(const struct vf_errand *errand);
void vf_errand_limits(const struct vf_errand *errand, struct vf_errand_limits *out);

/* Chooses a backend and gets a connection to it: *socket, the caller's. Returns 0: a kept one;
 * VF_PENDING: the socket's `writing` operation will end, with `connect_ms` as limit; VF_ENOBACKEND:
 * no backend is left, see vf_errand_why; UV_EMFILE: too many sockets are open. Backends that fail
 * at once are passed over. */
int vf_errand_open(struct vf_errand *errand, struct vf_sockets *sockets, uint64_t connect_ms,
                   struct vf_socket **socket);

/* The same once more, on a new connection to the same backend: the kept one had been closed. */
int vf_errand_reopen(struct vf_errand *errand, struct vf_sockets *sockets, uint64_t connect_ms,
                     struct vf_socket **socket);

/* A new connection stands. */
void vf_errand_connected(struct vf_errand *errand, struct vf_socket *socket);

/* The request was sent. */
void vf_errand_sent(struct vf_errand *errand);

/* The head of the answer came. */
void vf_errand_answered(struct vf_errand *errand, uint32_t status);

/* Content passed, for the counters. */
void vf_errand_passed(struct vf_errand *errand, uint64_t bytes_sent, uint64_t bytes_received);

/* It failed on this backend (enum vf_upstream_failure); `is_broken_off`: the backend has closed the
 * connection, or reset it. The socket is the caller's business. */
void vf_errand_failed(struct vf_errand *errand, int failure, bool is_broken_off);

/* The address of the backend, "192.0.2.1:80" as in the configuration; empty: none was chosen. */
void vf_errand_backend(const struct vf_errand *errand, struct vf_str *out);

/* After VF_ENOBACKEND: says why, as problem documents do: "pool_full", "no_backend",
 * "backend_unreachable" or "connect_timeout". Static memory. */
const char *vf_errand_why(const struct vf_errand *errand);

#endif
