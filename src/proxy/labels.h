/* proxy/labels.h - what an exchange is known by: the names of its route, pool and so on, for logs
 * and plugins. They come from its snapshot as long as it has one. A tunnel may stand for weeks
 * and must not keep the configuration that it began with: it takes with it what is needed at its
 * end. */
#ifndef VF_PROXY_LABELS_H
#define VF_PROXY_LABELS_H

#include "base/str.h"

struct vf_exchange;

struct vf_labels {
    struct vf_str listener, route, tenant, pool, backend; /* empty: none */
    struct vf_str route_pool; /* that the route names, whatever a plugin chose */
};

/* Fills *out with views that live as long as the exchange has its snapshot, or took its leave of
 * it. */
void vf_labels(const struct vf_exchange *ex, struct vf_labels *out);

/* Copies what the exchange still needs of its snapshot and releases that. Without memory it keeps
 * the snapshot. */
void vf_labels_unpin(struct vf_exchange *ex);

#endif
