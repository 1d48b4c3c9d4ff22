/* checker/plan.h - from the configuration of a health check to what a probe does. */
#ifndef VF_CHECKER_PLAN_H
#define VF_CHECKER_PLAN_H

#include "checker/probe.h"
#include "snapshot/snapshot.h"

/* Fills in everything but the address: times, expected status, and the question (HTTP: a GET behind
 * a PROXY header when the pool wants one), allocated: the caller frees plan->question. Returns 0 or
 * UV_ENOMEM. */
int vf_plan_make(const struct vf_snapshot *snapshot, uint32_t backend_index,
                 struct vf_probe_plan *plan);

/* Fills in a literal address. Returns false when the backend has a name instead. */
bool vf_plan_literal_address(const struct vf_snap_backend *backend, struct vf_probe_plan *plan);

/* Returns a hash of the check's configuration: another one means that it should run anew. */
uint64_t vf_plan_hash(const struct vf_snapshot *snapshot, uint32_t backend_index);

#endif
