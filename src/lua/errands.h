/* lua/errands.h - requests of plugins to pools (proxy/errand.h): each ends with its task at the
 * latest. Called through FFI by lua/veloflux/pdk/http. */
#ifndef VF_LUA_ERRANDS_H
#define VF_LUA_ERRANDS_H

#include "lua/task.h"

struct vf_errand;
struct vf_errand_hold;
struct vf_errand_wish;
struct vf_upstreams;

/* Makes one for the task, on behalf of its exchange if it has one. Returns as vf_errand_new. */
int vf_errands_begin(struct vf_task *task, const struct vf_errand_wish *wish,
                     struct vf_errand_hold **out);

/* The errand; NULL once it has ended. */
struct vf_errand *vf_errands_get(const struct vf_errand_hold *hold);

/* Ends it; may be repeated. */
void vf_errands_end(struct vf_errand_hold *hold);

/* Lua lets go of it: ends it, and frees the hold. */
void vf_errands_drop(struct vf_errand_hold *hold);

/* Where connections to addresses are kept (proxy/lending.h); NULL: nowhere in this process. */
struct vf_upstreams *vf_errands_upstreams(struct vf_task *task);

#endif
