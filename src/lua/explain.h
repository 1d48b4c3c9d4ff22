/* lua/explain.h - questions about a snapshot for `check` and the admin API: which route answers a
 * request and why, which backend it would get, and which routes can never answer. The router and
 * the balancers themselves are asked, so what they say is what happens. */
#ifndef VF_LUA_EXPLAIN_H
#define VF_LUA_EXPLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot/router.h"

struct vf_state;

struct vf_explain_field {
    const char *name; /* lower case, NUL-terminated */
    const char *value;
};

struct vf_explain_request {
    const char *method; /* NUL-terminated, as are all texts here */
    const char *host;   /* may be empty: only routes of "*" */
    const char *target; /* path and query, as sent */
    const struct vf_explain_field *fields;
    size_t n_fields;
};

/* Asks the snapshot of `size` bytes at `snapshot` which routes match. Writes at most `room` rivals
 * in order of preference, their number to *n_rivals, and the normal form of the path to `path` (as
 * long as the target, with a NUL). Returns 0; UV_EINVAL when the request is one that is refused or
 * the snapshot is broken, with the reason in `error`; UV_ENOMEM. */
int vf_explain(const void *snapshot, size_t size, const struct vf_explain_request *request,
               struct vf_route_rival *rivals, size_t room, size_t *n_rivals, char *path,
               char *error, size_t error_size);

/* The same of a snapshot that this process runs. */
int vf_explain_running(struct vf_snapshot *snapshot, const struct vf_explain_request *request,
                       struct vf_route_rival *rivals, size_t room, size_t *n_rivals, char *path,
                       char *error, size_t error_size);

/* Writes the rank of each route (VF_SNAP_ROUTES; 0 is preferred to 1), at most `room`. Returns how
 * many routes there are. */
uint32_t vf_explain_ranks(const struct vf_snapshot *snapshot, uint32_t *ranks, uint32_t room);

/* Asks new balancers which backend of a pool a request gets that comes now. That is an answer for
 * algorithms that look at nothing but the request, weights and loads; those that remember or draw
 * decide in each worker for itself. `hash_key` (NUL-terminated) may be NULL: none; `client`
 * is an IP address, or any other text: unknown. Returns the index (VF_SNAP_BACKENDS) or a negative
 * code: VF_ENOBACKEND when none is eligible, UV_ENOMEM. */
int64_t vf_explain_backend(struct vf_state *state, const struct vf_snapshot *snapshot,
                           uint32_t pool_index, const char *hash_key, const char *client);

struct vf_explain_shadow {
    uint32_t route; /* VF_SNAP_ROUTES: never answers */
    uint32_t by;    /* because of this one */
};

/* Lists those of `count` routes from index `first` on that can never answer; `shadows` has room for
 * as many. The snapshot is one that vf_snapb_finish has made: it is not checked again. Returns how
 * many there are. */
uint32_t vf_explain_shadows(const void *snapshot, size_t size, uint32_t first, uint32_t count,
                            struct vf_explain_shadow *shadows);

#endif
