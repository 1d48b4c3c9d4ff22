/* snapshot/router.h - which route answers a request.
 * Host classes are tried in order: the exact host, its one-level wildcard, "*"; a class none of
 * whose routes matches falls through to the next. Within a class the matching route of the lowest
 * rank wins; the builder ranks by priority, kind of path (exact, regular expression, prefix),
 * longer prefix, more conditions, name. So a lookup is one hash of the host and one of each path
 * segment, and the regular expressions of the host, best first, as long as they could still win.
 *
 * A router holds what must not be in a snapshot: compiled patterns (PCRE2, JIT when there is one),
 * cached by their text, so they survive reloads. One per process and thread. */
#ifndef VF_SNAPSHOT_ROUTER_H
#define VF_SNAPSHOT_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "snapshot/snapshot.h"

enum {
    VF_ROUTE_CAPTURES = 10, /* $0..$9 */
    VF_ROUTE_ALLOWS = 4     /* routes whose extension methods an Allow tells */
};

/* What is asked. All views are the caller's; the query changes nothing. */
struct vf_route_query {
    struct vf_str host;  /* Host or authority as received, validated by vf_host_is_valid; any case,
                            port and one trailing dot are ignored; empty: only "*" routes */
    struct vf_str path;  /* normalised by vf_path_normalise, or "*" */
    struct vf_str query; /* without the question mark; may be empty */
    uint32_t method;     /* http/method.h */
    struct vf_str method_name; /* looked at for VF_METHOD_OTHER */
    /* Returns the value of the first field `name` (lower case) of the request, data NULL when there
     * is none. May be NULL: a request without fields. */
    struct vf_str (*header)(void *owner, struct vf_str name);
    void *owner;
};

/* Header fields in an array, for callers that cannot make a function (Lua through FFI). */
struct vf_route_fields {
    const struct vf_str *pairs; /* name, value, name, value, ...; values are not NULL */
    size_t n_pairs;
};

/* A `header` of vf_route_query whose `owner` is a struct vf_route_fields. Names in any case. */
struct vf_str vf_route_fields_find(void *owner, struct vf_str name);

enum vf_route_outcome {
    VF_ROUTE_NOT_FOUND = 0,
    VF_ROUTE_FOUND,
    VF_ROUTE_METHOD /* routes match but for the method: 405, see `allow` */
};

struct vf_route_capture {
    uint32_t start; /* byte offset in the path; UINT32_MAX: the group did not take part */
    uint32_t end;   /* of the first byte behind it */
};

struct vf_route_match {
    uint32_t outcome;                          /* enum vf_route_outcome */
    uint32_t index;                            /* VF_SNAP_ROUTES, when found */
    const struct vf_snap_route *route;         /* the same; valid while the snapshot is held */
    uint64_t allow;                            /* bit 1 << method, with VF_ROUTE_METHOD */
    struct vf_str allow_more[VF_ROUTE_ALLOWS]; /* lists of extension methods, likewise */
    uint32_t n_allow_more;
    uint32_t prefix_bytes; /* how much of the path a prefix or exact route matched; regex: 0 */
    uint32_t n_captures;   /* regex: 1 + groups that took part, at most VF_ROUTE_CAPTURES */
    struct vf_route_capture captures[VF_ROUTE_CAPTURES];
};

struct vf_router;

/* Returns a router without compiled patterns, owned by the caller, or NULL when out of memory. */
struct vf_router *vf_router_new(void);
void vf_router_free(struct vf_router *router);

/* Drops compiled patterns that do not occur in `snapshot`. Called after a publication; patterns of
 * older snapshots that are still asked for are compiled again. */
void vf_router_sweep(struct vf_router *router, const struct vf_snapshot *snapshot);

/* How often a pattern hit the match limit, which counts as no match, since the router was made. */
uint64_t vf_router_limit_hits(const struct vf_router *router);

/* Finds the route for `query` and fills *match; returns match->outcome. Never fails: a pattern that
 * cannot be compiled or hits its limit matches nothing. */
enum vf_route_outcome vf_route_find(struct vf_router *router, const struct vf_snapshot *snapshot,
                                    const struct vf_route_query *query,
                                    struct vf_route_match *match);

/* Returns the methods of VF_ROUTE_METHOD as the value of an Allow field (RFC 9110 section 10.2.1),
 * in the arena; an empty view when that has no memory. */
struct vf_str vf_route_allow(const struct vf_route_match *match, struct vf_arena *arena);

/* Checks a pattern as the router would compile it. Returns 0, or UV_EINVAL with PCRE2's message and
 * the byte offset in `error` (NUL-terminated). */
int vf_regex_check(const char *pattern, size_t len, char *error, size_t error_size);

/* Why a route whose host and path match does not answer. */
enum vf_route_verdict {
    VF_VERDICT_WINS = 0,
    VF_VERDICT_RANK,     /* an earlier route of the list wins */
    VF_VERDICT_METHOD,   /* not for this method */
    VF_VERDICT_CONDITION /* a header or query condition does not hold */
};

enum vf_host_class { VF_HOST_EXACT = 0, VF_HOST_WILDCARD, VF_HOST_ANY, VF_HOST_CLASSES };

struct vf_route_rival {
    uint32_t index;      /* VF_SNAP_ROUTES */
    uint32_t verdict;    /* enum vf_route_verdict */
    uint32_t host_class; /* enum vf_host_class: a more specific class comes before any rank */
    uint32_t condition;  /* VF_SNAP_CONDITIONS, with VF_VERDICT_CONDITION */
};

/* Lists the routes whose host and path match `query`, in the order in which they are preferred,
 * each with what becomes of it. Writes at most `room` and returns how many there are; when those
 * are more, ask again with room for all. The method may be UINT32_MAX: any. */
size_t vf_route_explain(struct vf_router *router, const struct vf_snapshot *snapshot,
                        const struct vf_route_query *query, struct vf_route_rival *rivals,
                        size_t room);

/* Returns true when route `index` can never win: for each of its hosts there is a better route that
 * matches whatever it matches. Stores one of those in *by. Says false when in doubt (patterns are
 * not compared but for equality). */
bool vf_route_is_shadowed(const struct vf_snapshot *snapshot, uint32_t index, uint32_t *by);

#endif
