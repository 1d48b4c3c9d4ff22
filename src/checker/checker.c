#include "checker/checker.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "checker/core.h"
#include "checker/plan.h"

enum {
    SPREAD_MS = 1000,  /* over which first checks are spread at most */
    SPREAD_EACH_MS = 5 /* and per backend, so that a few are checked at once */
};

/* --- Targets -------------------------------------------------------------------------------- */

static void free_target(struct vf_check_target *target)
{
    if (target == NULL)
        return;
    vf_reactor_timer_stop(target->checker->reactor, &target->timer);
    vf_check_cancel(target);
    vf_resolver_unwatch(target->name);
    free(target);
}

static struct vf_check_target *new_target(struct vf_checker *checker,
                                          const struct vf_snapshot *snapshot, uint32_t index)
{
    const struct vf_snap_backend *backend = vf_snap_backend(snapshot, index);
    struct vf_check_target *target = calloc(1, sizeof(*target));
    if (target == NULL)
        return NULL;
    target->checker = checker;
    target->id = backend->id;
    target->timer.on_fire = vf_check_on_due;
    if (backend->address.family == VF_FAMILY_NONE &&
        vf_resolver_watch(checker->resolver, vf_snap_str(snapshot, backend->host),
                          backend->address.port, vf_check_on_name, target, &target->name) < 0) {
        free(target);
        return NULL;
    }
    return target;
}

/* Nobody checks the backend any more: unless its slot has another owner, it becomes unknown. */
static void forget_target(struct vf_check_target *target)
{
    struct vf_state *state = target->checker->state;
    if (atomic_load(&state->backend_slots[target->slot].id) == target->id)
        vf_verdict_forget(&state->backends[target->slot]);
    free_target(target);
}

/* The order of `targets`: by the id of a backend. */
static int compare_indexes(const void *a, const void *b, void *snapshot)
{
    uint64_t left = vf_snap_backend(snapshot, *(const uint32_t *)a)->id;
    uint64_t right = vf_snap_backend(snapshot, *(const uint32_t *)b)->id;
    return (left > right) - (left < right);
}

/* Lists the backends of a snapshot that have a health check, sorted by id. */
static uint32_t list_checked(struct vf_snapshot *snapshot, uint32_t *indexes)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < vf_snap_count(snapshot, VF_SNAP_BACKENDS); i++)
        if (vf_snap_backend(snapshot, i)->health != VF_SNAP_NONE)
            indexes[n++] = i;
    qsort_r(indexes, n, sizeof(*indexes), compare_indexes, snapshot);
    return n;
}

/* Moves the target of `id` out of the old list, or returns NULL. *next walks along with the ids. */
static struct vf_check_target *take_old(struct vf_checker *checker, uint32_t *next, uint64_t id)
{
    while (*next < checker->n_targets && checker->targets[*next]->id < id)
        forget_target(checker->targets[(*next)++]);
    if (*next < checker->n_targets && checker->targets[*next]->id == id)
        return checker->targets[(*next)++];
    return NULL;
}

/* Has a target checked soon, in its place among `n` of them. */
static void check_soon(struct vf_check_target *target, uint32_t n)
{
    struct vf_checker *checker = target->checker;
    uint64_t spread_ms = vf_check_health(target)->interval_ms;
    if (spread_ms > SPREAD_MS)
        spread_ms = SPREAD_MS;
    if (spread_ms > (uint64_t)n * SPREAD_EACH_MS)
        spread_ms = (uint64_t)n * SPREAD_EACH_MS;
    vf_reactor_timer(checker->reactor, &target->timer,
                     vf_random_below(&checker->random, spread_ms + 1));
}

/* Whether a target waits for the next check, rather than is being checked. */
static bool is_resting(const struct vf_check_target *target)
{
    return vf_timer_is_running(&target->timer);
}

/* Lets a target, new or kept, follow the snapshot in force. */
static void update(struct vf_check_target *target, uint32_t index, uint32_t n)
{
    uint64_t hash = vf_plan_hash(target->checker->snapshot, index);
    bool is_new = target->plan_hash == 0;
    bool has_changed = target->plan_hash != hash;
    target->index = index;
    target->slot = vf_check_backend(target)->slot;
    target->plan_hash = hash;
    if (is_new || (has_changed && is_resting(target)))
        check_soon(target, n);
}

/* Replaces the targets by those of the snapshot in force, given by `indexes`, in `list`. */
static void replace_targets(struct vf_checker *checker, struct vf_check_target **list,
                            const uint32_t *indexes, uint32_t n)
{
    uint32_t n_new = 0, next = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t id = vf_snap_backend(checker->snapshot, indexes[i])->id;
        struct vf_check_target *target = take_old(checker, &next, id);
        if (target == NULL)
            target = new_target(checker, checker->snapshot, indexes[i]);
        if (target == NULL) {
            vf_log_error(NULL, "checker.out_of_memory", "backend_index=%u", indexes[i]);
            continue;
        }
        update(target, indexes[i], n);
        list[n_new++] = target;
    }
    while (next < checker->n_targets)
        forget_target(checker->targets[next++]);
    free(checker->targets);
    checker->targets = list;
    checker->n_targets = n_new;
}

void vf_checker_publish(struct vf_checker *checker, struct vf_snapshot *snapshot)
{
    uint32_t count = vf_snap_count(snapshot, VF_SNAP_BACKENDS);
    uint32_t *indexes = calloc((size_t)count + 1, sizeof(*indexes));
    struct vf_check_target **list = calloc((size_t)count + 1, sizeof(struct vf_check_target *));
    if (indexes == NULL || list == NULL) {
        vf_log_error(NULL, "checker.out_of_memory", "version=%" PRIu64, snapshot->version);
        free(indexes);
        free(list);
        return; /* the old configuration stays in force here */
    }
    struct vf_snapshot *old = checker->snapshot;
    checker->snapshot = vf_snapshot_retain(snapshot);
    replace_targets(checker, list, indexes, list_checked(snapshot, indexes));
    free(indexes);
    if (checker->records != NULL)
        vf_tls_records_sweep(checker->records, snapshot);
    vf_snapshot_release(&old);
    vf_check_pump(checker);
}

/* --- Life ----------------------------------------------------------------------------------- */

static void on_after_events(void *owner)
{
    vf_check_pump(owner);
}

int vf_checker_new(uv_loop_t *loop, struct vf_state *state, int block, struct vf_checker **out)
{
    struct vf_checker *checker = calloc(1, sizeof(*checker));
    int rc;
    if (checker == NULL)
        return UV_ENOMEM;
    checker->loop = loop;
    checker->state = state;
    checker->totals = &state->blocks[block].totals;
    checker->queue_end = &checker->queue;
    checker->random.state = vf_clock_ns();
    if ((rc = vf_reactor_new(loop, on_after_events, checker, &checker->reactor)) < 0) {
        free(checker);
        return rc;
    }
    struct vf_resolver_options options = {.failures = &checker->totals->resolve_failures};
    if ((rc = vf_resolver_new(loop, &options, &checker->resolver)) < 0) {
        vf_reactor_free(checker->reactor);
        free(checker);
        return rc;
    }
    vf_stall_init(&checker->stall, loop);
    *out = checker;
    return 0;
}

static void free_jobs(struct vf_check_job *job)
{
    while (job != NULL) {
        struct vf_check_job *next = job->next;
        free(job);
        job = next;
    }
}

static void on_stall_closed(struct vf_stall *stall)
{
    free(stall);
}

void vf_checker_free(struct vf_checker *checker)
{
    if (checker == NULL)
        return;
    for (uint32_t i = 0; i < checker->n_targets; i++)
        free_target(checker->targets[i]);
    free(checker->targets);
    checker->n_targets = 0;
    free_jobs(checker->closed);
    free_jobs(checker->spare);
    vf_tls_records_free(checker->records);
    vf_resolver_free(checker->resolver);
    vf_reactor_free(checker->reactor);
    vf_snapshot_release(&checker->snapshot);
    vf_stall_close(&checker->stall, on_stall_closed);
}
