#include "checker/checker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "checker/plan.h"
#include "net/resolver.h"

enum {
    SPREAD_MS = 1000,   /* over which first checks are spread at most */
    SPREAD_EACH_MS = 5, /* and per backend, so that a few are checked at once */
    ADDRESSES = 4       /* of one name that one check tries */
};

/* A probe and whose it is. Recycled: never freed within an event of its own. */
struct job {
    struct vf_probe probe; /* first member */
    struct job *next;      /* among the closed or the spare */
    struct target *target; /* NULL: its target has gone or was judged */
};

/* A backend with a health check:  RESTING -> QUEUED -> (waits for its name ->) PROBED -> RESTING */
struct target {
    uint64_t id;
    uint64_t plan_hash;
    struct vf_checker *checker;
    struct target *next_queued;
    struct vf_timer timer; /* runs while resting */
    struct vf_name *name;  /* NULL: a literal address */
    struct job *job;       /* the running probe */
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
    struct vf_snapshot *snapshot; /* in force, or NULL */
    struct target **targets;      /* sorted by id; owned */
    uint32_t n_targets;
    struct target *queue, **queue_end; /* due checks */
    struct job *closed, *spare;
    uint32_t n_running;
    struct vf_random random;
};

static const struct vf_snap_backend *backend_of(const struct target *target)
{
    return vf_snap_backend(target->checker->snapshot, target->index);
}

static const struct vf_snap_health *health_of(const struct target *target)
{
    return vf_snap_health(target->checker->snapshot, backend_of(target)->health);
}

/* --- The queue of due checks ---------------------------------------------------------------- */

static void enqueue(struct target *target)
{
    struct vf_checker *checker = target->checker;
    target->is_queued = true;
    target->next_queued = NULL;
    *checker->queue_end = target;
    checker->queue_end = &target->next_queued;
}

static struct target *dequeue(struct vf_checker *checker)
{
    struct target *target = checker->queue;
    checker->queue = target->next_queued;
    if (checker->queue == NULL)
        checker->queue_end = &checker->queue;
    target->is_queued = false;
    return target;
}

static void leave_queue(struct target *target)
{
    struct vf_checker *checker = target->checker;
    struct target **link = &checker->queue;
    if (!target->is_queued)
        return;
    while (*link != target)
        link = &(*link)->next_queued;
    *link = target->next_queued;
    if (checker->queue_end == &target->next_queued)
        checker->queue_end = link;
    target->is_queued = false;
}

/* --- Schedule and results ------------------------------------------------------------------- */

/* Rests until one interval, give or take 10 %, after the last check began. */
static void rest(struct target *target)
{
    struct vf_checker *checker = target->checker;
    uint64_t interval_ms = health_of(target)->interval_ms;
    uint64_t tenth = interval_ms / 10;
    uint64_t wait_ms = interval_ms - tenth + vf_random_below(&checker->random, 2 * tenth + 1);
    uint64_t passed_ms = (vf_clock_ns() - target->started_ns) / 1000000;
    vf_reactor_timer(checker->reactor, &target->timer,
                     wait_ms > passed_ms ? wait_ms - passed_ms : 1);
}

static void log_change(const struct target *target, const struct vf_check_result *result,
                       enum vf_health_status before)
{
    const struct vf_snapshot *snapshot = target->checker->snapshot;
    const struct vf_snap_backend *backend = backend_of(target);
    struct vf_str pool = vf_snap_str(snapshot, vf_snap_pool(snapshot, backend->pool)->name);
    struct vf_str address = vf_snap_str(snapshot, backend->address_text);
    enum vf_log_level level =
        before == VF_HEALTH_UNKNOWN && result->is_ok ? VF_LOG_INFO : VF_LOG_WARN;
    vf_log_at(NULL, level, result->is_ok ? "backend.up" : "backend.down",
              "pool=%.*s backend=%.*s reason=%s", (int)pool.len, pool.data, (int)address.len,
              address.data, result->reason);
}

/* A check has come to its result. */
static void note(struct target *target, const struct vf_check_result *result)
{
    struct vf_checker *checker = target->checker;
    const struct vf_snap_health *health = health_of(target);
    struct vf_backend_state *backend = &checker->state->backends[target->slot];
    uint64_t longest_ms = /* between two results: one that times out takes its time */
        health->interval_ms > health->timeout_ms ? health->interval_ms : health->timeout_ms;
    enum vf_health_status before = atomic_load(&backend->health);
    vf_count_add(&checker->totals->checks, 1);
    if (!result->is_ok)
        vf_count_add(&checker->totals->check_failures, 1);
    if (vf_verdict_note(&target->verdict, backend, result, health->rise, health->fall, longest_ms,
                        vf_clock_ns()))
        log_change(target, result, before);
    rest(target);
}

static void note_unresolved(struct target *target)
{
    struct vf_check_result result = {.is_ok = false};
    snprintf(result.reason, sizeof(result.reason), "resolve: %s", vf_name_error(target->name));
    note(target, &result);
}

/* The check could not be made, for a reason that is ours: no result. */
static void skip(struct target *target, int rc)
{
    struct vf_str address =
        vf_snap_str(target->checker->snapshot, backend_of(target)->address_text);
    vf_log_error(NULL, "checker.skipped", "backend=%.*s err=%s", (int)address.len, address.data,
                 vf_error_name(rc));
    rest(target);
}

/* --- Probes --------------------------------------------------------------------------------- */

static struct job *take_job(struct vf_checker *checker)
{
    struct job *job = checker->spare;
    if (job == NULL)
        return calloc(1, sizeof(*job));
    checker->spare = job->next;
    return job;
}

static void drop_question(struct job *job)
{
    free((char *)job->probe.plan.question);
    job->probe.plan.question = NULL;
}

static void retire_job(struct vf_checker *checker, struct job *job)
{
    drop_question(job);
    if (job->target != NULL)
        job->target->job = NULL;
    job->target = NULL;
    job->next = checker->closed;
    checker->closed = job;
    checker->n_running--;
}

static bool tries_next_address(struct target *target, const struct vf_probe *probe)
{
    if (target->name == NULL)
        return false;
    vf_name_failed(target->name, vf_name_tag(&probe->plan.address));
    return ++target->n_tries < ADDRESSES && vf_name_has_other(target->name);
}

static void on_judged(void *owner, const struct vf_check_result *result, bool is_connected)
{
    struct job *job = owner;
    struct target *target = job->target;
    if (!result->is_ok && !is_connected && tries_next_address(target, &job->probe))
        enqueue(target);
    else
        note(target, result);
}

static struct vf_checker *checker_of(const struct job *job)
{
    return (struct vf_checker *)(void *)(uintptr_t)job->probe.stall;
}

static void on_closed(void *owner)
{
    struct job *job = owner;
    retire_job(checker_of(job), job);
}

static const struct vf_probe_events probe_events = {.on_judged = on_judged, .on_closed = on_closed};

static int find_address(struct target *target, struct vf_probe_plan *plan)
{
    if (target->name != NULL)
        return vf_name_take(target->name, &plan->address, &plan->address_len);
    vf_plan_literal_address(backend_of(target), plan);
    return 0;
}

static int start_job(struct target *target)
{
    struct vf_checker *checker = target->checker;
    struct job *job = take_job(checker);
    int rc;
    if (job == NULL)
        return UV_ENOMEM;
    checker->n_running++;
    job->target = target;
    target->job = job;
    if ((rc = find_address(target, &job->probe.plan)) == 0 &&
        (rc = vf_plan_make(checker->snapshot, target->index, &job->probe.plan)) == 0)
        rc = vf_probe_start(&job->probe, checker->reactor, &checker->stall, &probe_events, job);
    if (rc < 0)
        retire_job(checker, job);
    return rc;
}

/* A judged probe that still reads the rest of its answer makes way for the next check. */
static void end_job(struct target *target)
{
    struct job *job = target->job;
    if (job == NULL)
        return;
    vf_probe_stop(&job->probe);
    retire_job(target->checker, job);
}

static void begin(struct target *target)
{
    if (target->n_tries == 0)
        target->started_ns = vf_clock_ns();
    end_job(target);
    if (target->name != NULL && vf_name_count(target->name) == 0) {
        if (vf_name_error(target->name) != NULL)
            note_unresolved(target);
        else
            target->waits_for_name = true;
        return;
    }
    int rc = start_job(target);
    if (rc < 0)
        skip(target, rc);
}

/* Begins what is due, as far as there is room; gives closed probes back first. */
static void pump(struct vf_checker *checker)
{
    while (checker->closed != NULL) {
        struct job *job = checker->closed;
        checker->closed = job->next;
        job->next = checker->spare;
        checker->spare = job;
    }
    while (checker->queue != NULL && checker->n_running < VF_CHECKER_CONCURRENT)
        begin(dequeue(checker));
}

static void on_after_event(void *owner)
{
    pump(owner);
}

static void on_due(struct vf_timer *timer)
{
    struct target *target =
        (struct target *)(void *)((char *)timer - offsetof(struct target, timer));
    target->n_tries = 0;
    enqueue(target); /* on_after_event follows */
}

static void on_name(void *owner, struct vf_name *name)
{
    struct target *target = owner;
    (void)name;
    if (!target->waits_for_name)
        return;
    target->waits_for_name = false;
    enqueue(target);
    pump(target->checker);
}

/* --- Targets -------------------------------------------------------------------------------- */

static void free_target(struct target *target)
{
    if (target == NULL)
        return;
    vf_reactor_timer_stop(target->checker->reactor, &target->timer);
    leave_queue(target);
    end_job(target);
    vf_resolver_unwatch(target->name);
    free(target);
}

static struct target *new_target(struct vf_checker *checker, const struct vf_snapshot *snapshot,
                                 uint32_t index)
{
    const struct vf_snap_backend *backend = vf_snap_backend(snapshot, index);
    struct target *target = calloc(1, sizeof(*target));
    if (target == NULL)
        return NULL;
    target->checker = checker;
    target->id = backend->id;
    target->timer.on_fire = on_due;
    if (backend->address.family == VF_FAMILY_NONE &&
        vf_resolver_watch(checker->resolver, vf_snap_str(snapshot, backend->host),
                          backend->address.port, on_name, target, &target->name) < 0) {
        free(target);
        return NULL;
    }
    return target;
}

/* Nobody checks the backend any more: unless its slot has another owner, it becomes unknown. */
static void forget_target(struct target *target)
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
static struct target *take_old(struct vf_checker *checker, uint32_t *next, uint64_t id)
{
    while (*next < checker->n_targets && checker->targets[*next]->id < id)
        forget_target(checker->targets[(*next)++]);
    if (*next < checker->n_targets && checker->targets[*next]->id == id)
        return checker->targets[(*next)++];
    return NULL;
}

/* Has a target checked soon, in its place among `n` of them. */
static void check_soon(struct target *target, uint32_t n)
{
    struct vf_checker *checker = target->checker;
    uint64_t spread_ms = health_of(target)->interval_ms;
    if (spread_ms > SPREAD_MS)
        spread_ms = SPREAD_MS;
    if (spread_ms > (uint64_t)n * SPREAD_EACH_MS)
        spread_ms = (uint64_t)n * SPREAD_EACH_MS;
    vf_reactor_timer(checker->reactor, &target->timer,
                     vf_random_below(&checker->random, spread_ms + 1));
}

/* Whether a target waits for the next check, rather than is being checked. */
static bool is_resting(const struct target *target)
{
    return vf_timer_is_running(&target->timer);
}

/* Lets a target, new or kept, follow the snapshot in force. */
static void update(struct target *target, uint32_t index, uint32_t n)
{
    uint64_t hash = vf_plan_hash(target->checker->snapshot, index);
    bool is_new = target->plan_hash == 0;
    bool has_changed = target->plan_hash != hash;
    target->index = index;
    target->slot = backend_of(target)->slot;
    target->plan_hash = hash;
    if (is_new || (has_changed && is_resting(target)))
        check_soon(target, n);
}

/* Replaces the targets by those of the snapshot in force, given by `indexes`, in `list`. */
static void replace_targets(struct vf_checker *checker, struct target **list,
                            const uint32_t *indexes, uint32_t n)
{
    uint32_t n_new = 0, next = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t id = vf_snap_backend(checker->snapshot, indexes[i])->id;
        struct target *target = take_old(checker, &next, id);
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
    struct target **list = calloc((size_t)count + 1, sizeof(struct target *));
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
    vf_snapshot_release(&old);
    pump(checker);
}

/* --- Life ----------------------------------------------------------------------------------- */

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
    if ((rc = vf_reactor_new(loop, on_after_event, checker, &checker->reactor)) < 0) {
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

static void free_jobs(struct job *job)
{
    while (job != NULL) {
        struct job *next = job->next;
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
    vf_resolver_free(checker->resolver);
    vf_reactor_free(checker->reactor);
    vf_snapshot_release(&checker->snapshot);
    vf_stall_close(&checker->stall, on_stall_closed);
}
