/* checker/core.h - what the two halves of the checker share: checker.c, which decides who is
 * checked, and check.c, which checks them when they are due. Private to src/checker. */
#ifndef VF_CHECKER_CORE_H
#define VF_CHECKER_CORE_H

#include "base/random.h"
#include "checker/checker.h"
#include "checker/probe.h"
#include "net/resolver.h"
#include "proxy/tls_records.h"
#include "snapshot/snapshot.h"

/* A probe and whose it is. Recycled: never freed within an event of its own. */
struct vf_check_job {
    struct vf_probe probe;          /* first member */
    struct vf_check_job *next;      /* among the closed or the spare */
    struct vf_check_target *target; /* NULL: its target has gone */
};

/* A backend with a health check:  RESTING -> QUEUED -> (waits for its name ->) PROBED -> RESTING */
struct vf_check_target {
    uint64_t id;
    uint64_t plan_hash;
    struct vf_checker *checker;
    struct vf_check_target *next_queued;
    struct vf_timer timer;    /* runs while resting */
    struct vf_name *name;     /* NULL: a literal address */
    struct vf_check_job *job; /* the running probe */
    struct vf_verdict verdict;
    uint32_t slot, index; /* of the snapshot in force */
    uint32_t n_tries;     /* addresses tried by this check */
    bool is_queued, waits_for_name;
    uint64_t started_ns; /* of this check */
};

struct vf_checker {
    struct vf_stall stall; /* first member: what closes last frees us */
    uv_loop_t *loop;
    struct vf_state *state;
    struct vf_state_totals *totals;
    struct vf_reactor *reactor;
    struct vf_resolver *resolver;
    struct vf_net net;                /* of TLS connections: nothing is queued on them */
    struct vf_tls_records *records;   /* NULL: no check has had TLS yet */
    struct vf_snapshot *snapshot;     /* in force, or NULL */
    struct vf_check_target **targets; /* sorted by id; owned */
    uint32_t n_targets;
    struct vf_check_target *queue, **queue_end; /* due checks */
    struct vf_check_job *closed, *spare;
    uint32_t n_running;
    struct vf_random random;
};

/* The records of a target in the snapshot in force. */
static inline const struct vf_snap_backend *vf_check_backend(const struct vf_check_target *target)
{
    return vf_snap_backend(target->checker->snapshot, target->index);
}

static inline const struct vf_snap_health *vf_check_health(const struct vf_check_target *target)
{
    return vf_snap_health(target->checker->snapshot, vf_check_backend(target)->health);
}

/* timer.on_fire of a target: its check is due. */
void vf_check_on_due(struct vf_timer *timer);

/* on_change of a target's name. */
void vf_check_on_name(void *owner, struct vf_name *name);

/* Begins the checks that are due, as far as there is room. Called after every event. */
void vf_check_pump(struct vf_checker *checker);

/* Takes a target out of the queue and ends its probe, without a result. */
void vf_check_cancel(struct vf_check_target *target);

#endif
