/* spec/support/upstreams.c - the proxy's upstream pool without a proxy: only what it looks at is
 * there. Built by spec/support/native.lua, with the library under test. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/core.h"
#include "proxy/upstream.h"
#include "snapshot/state.h"

struct world {
    struct vf_proxy proxy;
    struct vf_snapshot snapshot;
    struct vf_snap_header header;
};

/* Returns what `net` and `reactor` belong to; `keepalive` connections are kept per peer. */
struct vf_upstreams *vf_spec_upstreams_new(struct vf_reactor *reactor, uint64_t keepalive)
{
    struct world *world = calloc(1, sizeof(*world));
    if (world == NULL)
        abort();
    int fd = vf_state_create(&world->proxy.state);
    int block = fd < 0 ? -1 : vf_state_lease(world->proxy.state, VF_PROCESS_WORKER, 0, 1);
    if (block < 0)
        abort();
    close(fd);
    world->header.settings.upstream_keepalive = keepalive;
    world->snapshot.header = &world->header;
    world->proxy.reactor = reactor;
    world->proxy.block = &world->proxy.state->blocks[block];
    world->proxy.snapshot = &world->snapshot;
    if (vf_upstreams_new(&world->proxy, &world->proxy.upstreams) < 0)
        abort();
    return world->proxy.upstreams;
}

/* Counters of all addresses that plugins have named. */
const struct vf_state_backend *vf_spec_upstreams_counts(const struct vf_upstreams *upstreams)
{
    const struct world *world = *(struct world *const *)upstreams; /* its first field: the proxy */
    return &world->proxy.block->backends[VF_STATE_TARGET_SLOT];
}

uint64_t vf_spec_upstreams_kept(const struct vf_upstreams *upstreams)
{
    return vf_count_get(&vf_spec_upstreams_counts(upstreams)->idle);
}

uint64_t vf_spec_upstreams_open(const struct vf_upstreams *upstreams)
{
    return vf_count_get(&vf_spec_upstreams_counts(upstreams)->open);
}

uint64_t vf_spec_upstreams_reused(const struct vf_upstreams *upstreams)
{
    return vf_count_get(&vf_spec_upstreams_counts(upstreams)->reused);
}

void vf_spec_upstreams_drop(struct vf_upstreams *upstreams)
{
    vf_upstreams_drop_idle(upstreams);
    vf_upstreams_reap(upstreams);
}

void vf_spec_upstreams_free(struct vf_upstreams *upstreams)
{
    struct world *world = *(struct world **)upstreams;
    vf_upstreams_free(upstreams);
    vf_state_unmap(world->proxy.state);
    free(world);
}
