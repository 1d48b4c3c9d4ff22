#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "checker/core.h"
#include "checker/plan.h"
#include "net/addresses.h"

enum { ADDRESSES = 4 /* of one name that one check tries */ };

/* --- The queue of due checks ---------------------------------------------------------------- */

static void enqueue(struct vf_check_target *target)
{
    struct vf_checker *checker = target->checker;
    target->is_queued = true;
    target->next_queued = NULL;
    *checker->queue_end = target;
    checker->queue_end = &target->next_queued;
}

static struct vf_check_target *dequeue(struct vf_checker *checker)
{
    struct vf_check_target *target = checker->queue;
    checker->queue = target->next_queued;
    if (checker->queue == NULL)
        checker->queue_end = &checker->queue;
    target->is_queued = false;
    return target;
}

static void leave_queue(struct vf_check_target *target)
{
    struct vf_checker *checker = target->checker;
    struct vf_check_target **link = &checker->queue;
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
static void rest(struct vf_check_target *target)
{
    struct vf_checker *checker = target->checker;
    uint64_t interval_ms = vf_check_health(target)->interval_ms;
    uint64_t tenth = interval_ms / 10;
    uint64_t wait_ms = interval_ms - tenth + vf_random_below(&checker->random, 2 * tenth + 1);
    uint64_t passed_ms = (vf_clock_ns() - target->started_ns) / 1000000;
    vf_reactor_timer(checker->reactor, &target->timer,
                     wait_ms > passed_ms ? wait_ms - passed_ms : 1);
}

static void log_change(const struct vf_check_target *target, const struct vf_check_result *result,
                       enum vf_health_status before)
{
    const struct vf_snapshot *snapshot = target->checker->snapshot;
    const struct vf_snap_backend *backend = vf_check_backend(target);
    struct vf_str pool = vf_snap_str(snapshot, vf_snap_pool(snapshot, backend->pool)->name);
    struct vf_str address = vf_snap_str(snapshot, backend->address_text);
    enum vf_log_level level =
        before == VF_HEALTH_UNKNOWN && result->is_ok ? VF_LOG_INFO : VF_LOG_WARN;
    vf_log_at(NULL, level, result->is_ok ? "backend.up" : "backend.down",
              "pool=%.*s backend=%.*s reason=%s", (int)pool.len, pool.data, (int)address.len,
              address.data, result->reason);
}

/* A check has come to its result. */
static void note(struct vf_check_target *target, const struct vf_check_result *result)
{
    struct vf_checker *checker = target->checker;
    const struct vf_snap_health *health = vf_check_health(target);
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

static void note_unresolved(struct vf_check_target *target)
{
    struct vf_check_result result = {.is_ok = false};
    snprintf(result.reason, sizeof(result.reason), "resolve: %s", vf_name_error(target->name));
    note(target, &result);
}

/* The check could not be made, for a reason that is ours: no result. */
static void skip(struct vf_check_target *target, int rc)
{
    struct vf_str address =
        vf_snap_str(target->checker->snapshot, vf_check_backend(target)->address_text);
    vf_log_error(NULL, "checker.skipped", "backend=%.*s err=%s", (int)address.len, address.data,
                 vf_error_name(rc));
    rest(target);
}

/* --- Probes --------------------------------------------------------------------------------- */

static struct vf_check_job *take_job(struct vf_checker *checker)
{
    struct vf_check_job *job = checker->spare;
    if (job == NULL)
        return calloc(1, sizeof(*job));
    checker->spare = job->next;
    return job;
}

static void drop_question(struct vf_check_job *job)
{
    free((char *)job->probe.plan.question);
    job->probe.plan.question = NULL;
}

static void retire_job(struct vf_checker *checker, struct vf_check_job *job)
{
    drop_question(job);
    if (job->target != NULL)
        job->target->job = NULL;
    job->target = NULL;
    job->next = checker->closed;
    checker->closed = job;
    checker->n_running--;
}

static bool tries_next_address(struct vf_check_target *target, const struct vf_probe *probe)
{
    if (target->name == NULL)
        return false;
    vf_name_failed(target->name, vf_addresses_tag(&probe->plan.address));
    return ++target->n_tries < ADDRESSES && vf_name_has_other(target->name);
}

static void on_judged(void *owner, const struct vf_check_result *result, bool is_connected)
{
    struct vf_check_job *job = owner;
    struct vf_check_target *target = job->target;
    if (!result->is_ok && !is_connected && tries_next_address(target, &job->probe))
        enqueue(target);
    else
        note(target, result);
}

static struct vf_checker *checker_of(const struct vf_check_job *job)
{
    return (struct vf_checker *)(void *)(uintptr_t)job->probe.stall;
}

static void on_closed(void *owner)
{
    struct vf_check_job *job = owner;
    retire_job(checker_of(job), job);
}

static const struct vf_probe_events probe_events = {.on_judged = on_judged, .on_closed = on_closed};

static int find_address(struct vf_check_target *target, struct vf_probe_plan *plan)
{
    if (target->name != NULL)
        return vf_name_take(target->name, &plan->address, &plan->address_len);
    vf_plan_literal_address(vf_check_backend(target), plan);
    return 0;
}

/* Probes of backends that speak TLS shake hands as exchanges do. */
static int secure(void *owner, struct vf_stream *stream)
{
    struct vf_check_job *job = owner;
    struct vf_checker *checker = checker_of(job);
    const struct vf_snapshot *snapshot = checker->snapshot;
    if (job->target == NULL) /* it has just gone */
        return UV_ECANCELED;
    const struct vf_snap_backend *backend = vf_check_backend(job->target);
    uint32_t tls = vf_snap_pool(snapshot, backend->pool)->tls;
    int rc = tls == VF_SNAP_NONE ? UV_ECANCELED : 0; /* it has just been taken away */
    if (rc == 0 && checker->records == NULL)
        rc = vf_tls_records_new(&checker->net, &checker->records);
    if (rc == 0)
        rc = vf_tls_records_connect(checker->records, snapshot, vf_snap_upstream_tls(snapshot, tls),
                                    VF_TLS_ASK_NOTHING, vf_snap_str(snapshot, backend->host),
                                    stream);
    return rc;
}

static int start_job(struct vf_check_target *target)
{
    struct vf_checker *checker = target->checker;
    struct vf_check_job *job = take_job(checker);
    int rc;
    if (job == NULL)
        return UV_ENOMEM;
    checker->n_running++;
    job->target = target;
    target->job = job;
    if ((rc = find_address(target, &job->probe.plan)) == 0 &&
        (rc = vf_plan_make(checker->snapshot, target->index, &job->probe.plan)) == 0) {
        const struct vf_snap_pool *pool =
            vf_snap_pool(checker->snapshot, vf_check_backend(target)->pool);
        job->probe.plan.secure = pool->tls == VF_SNAP_NONE ? NULL : secure;
        rc = vf_probe_start(&job->probe, checker->reactor, &checker->stall, &probe_events, job);
    }
    if (rc < 0)
        retire_job(checker, job);
    return rc;
}

/* A judged probe that still reads the rest of its answer makes way for the next check. */
static void end_job(struct vf_check_target *target)
{
    struct vf_check_job *job = target->job;
    if (job == NULL)
        return;
    vf_probe_stop(&job->probe);
    retire_job(target->checker, job);
}

static void begin(struct vf_check_target *target)
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
void vf_check_pump(struct vf_checker *checker)
{
    while (checker->closed != NULL) {
        struct vf_check_job *job = checker->closed;
        checker->closed = job->next;
        job->next = checker->spare;
        checker->spare = job;
    }
    while (checker->queue != NULL && checker->n_running < VF_CHECKER_CONCURRENT)
        begin(dequeue(checker));
}

void vf_check_on_due(struct vf_timer *timer)
{
    struct vf_check_target *target =
        (struct vf_check_target *)(void *)((char *)timer - offsetof(struct vf_check_target, timer));
    target->n_tries = 0;
    enqueue(target); /* the pump runs after this event */
}

void vf_check_on_name(void *owner, struct vf_name *name)
{
    struct vf_check_target *target = owner;
    (void)name;
    if (!target->waits_for_name)
        return;
    target->waits_for_name = false;
    enqueue(target);
    vf_check_pump(target->checker);
}

void vf_check_cancel(struct vf_check_target *target)
{
    leave_queue(target);
    end_job(target);
}
