/* lua/plugin_run.c - exchanges that run through the chains of plugins (proxy/phases.h). */
#include "lua/plugin_run.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "lua/plugins_core.h"
#include "proxy/exchange.h"
#include "proxy/phases.h"
#include "snapshot/snapshot.h"

enum { SPARE_RUNS = 1024 };

static struct vf_plugin_run *take_run(struct vf_plugins *plugins)
{
    struct vf_plugin_run *run = plugins->spare;
    if (run == NULL)
        return calloc(1, sizeof(*run));
    plugins->spare = run->next;
    plugins->n_spare--;
    memset(run, 0, sizeof(*run));
    return run;
}

static void give_run(struct vf_plugins *plugins, struct vf_plugin_run *run)
{
    if (plugins->n_spare >= SPARE_RUNS) {
        free(run);
        return;
    }
    run->next = plugins->spare;
    plugins->spare = run;
    plugins->n_spare++;
}

static void on_outcome(struct vf_task *task, enum vf_task_outcome outcome, void *owner);

/* An exchange whose plugins cannot run must not go by them: it is answered with 500. */
static void attach(void *owner, struct vf_exchange *ex, uint32_t index)
{
    struct vf_plugins *plugins = owner;
    struct vf_plugin_run *run = take_run(plugins);
    ex->phases = 1u << VF_PHASE_REWRITE; /* fails there, see run_phase */
    if (run == NULL)
        return;
    run->plugins = plugins;
    run->ex = ex;
    run->body_limit = vf_snap_settings(ex->snapshot)->plugin_limits.body_bytes;
    ex->plugins = run;
    if ((run->chain = vf_chains_take(&plugins->chains, ex->snapshot, index)) == NULL)
        return;
    if ((run->task = vf_task_take(&plugins->tasks, ex, on_outcome, run)) != NULL)
        ex->phases = run->chain->phases;
}

static void detach(void *owner, struct vf_exchange *ex)
{
    struct vf_plugins *plugins = owner;
    struct vf_plugin_run *run = ex->plugins;
    ex->plugins = NULL;
    if (run->task != NULL)
        vf_task_give(run->task);
    vf_chains_give(&plugins->chains, run->chain);
    give_run(plugins, run);
}

/* The plugin has answered. */
static enum vf_verdict give_answer(struct vf_plugin_run *run)
{
    struct vf_exchange *ex = run->ex;
    if (ex->head_sent) { /* a body filter gave up: the answer cannot be completed */
        vf_exchange_fail(ex, "plugin_error");
        return VF_VERDICT_END;
    }
    if (ex->request_state == VF_FLOW_BODY && ex->request.framing != VF_FRAMING_NONE)
        ex->close_client = ex->close_client || ex->request.expects_continue;
    run->has_answer = false;
    run->answered = true;
    if (ex->reason == NULL)
        ex->reason = "plugin";
    vf_exchange_answer(ex, run->status, vf_str_make("", 0), run->body, &run->fields);
    return VF_VERDICT_END;
}

static enum vf_verdict conclude(struct vf_plugin_run *run, enum vf_task_outcome outcome)
{
    struct vf_exchange *ex = run->ex;
    if (outcome == VF_TASK_DONE) {
        run->has_answer = false; /* of an exit that could not leave, and was caught */
        return VF_VERDICT_GO;
    }
    bool in_log = ex->waits == VF_PHASE_LOG;
    if (outcome == VF_TASK_FAILED)
        vf_log_error(NULL, "plugins.fault", "error=%s", run->plugins->tasks.message);
    if (in_log)
        return VF_VERDICT_GO;
    vf_phases_forget_wait(ex);
    if (outcome == VF_TASK_EXITS && run->has_answer)
        return give_answer(run);
    if (ex->head_sent)
        vf_exchange_fail(ex, "plugin_error");
    else
        vf_exchange_problem(ex, 500, "plugin_error", "A plugin of this route has failed.");
    return VF_VERDICT_END;
}

static enum vf_verdict run_phase(void *owner, struct vf_exchange *ex, enum vf_phase phase)
{
    struct vf_plugins *plugins = owner;
    struct vf_plugin_run *run = ex->plugins;
    if (run == NULL || run->task == NULL) {
        vf_phases_forget_wait(ex);
        ex->phases = 0;
        vf_exchange_problem(ex, 500, "plugin_error", "The plugins of this route cannot run.");
        return VF_VERDICT_END;
    }
    vf_guards_tidy(&plugins->guards);
    int function = run->switched ? plugins->dispatch : run->chain->functions[phase];
    enum vf_task_outcome outcome = vf_task_run(run->task, function, phase, (uint32_t)phase);
    if (outcome != VF_TASK_WAITS)
        return conclude(run, outcome);
    vf_phases_collect_now(ex);
    return VF_VERDICT_WAIT;
}

/* A phase that had waited has come to its end. */
static void on_outcome(struct vf_task *task, enum vf_task_outcome outcome, void *owner)
{
    struct vf_plugin_run *run = owner;
    (void)task;
    if (outcome == VF_TASK_WAITS) {
        vf_phases_collect_now(run->ex);
        return;
    }
    if (conclude(run, outcome) == VF_VERDICT_GO)
        vf_phases_resume(run->ex);
}

static void on_content(void *owner, struct vf_exchange *ex)
{
    (void)owner;
    vf_task_wake(ex->plugins->task);
}

static void cancel(void *owner, struct vf_exchange *ex, const char *why)
{
    (void)owner;
    vf_task_cancel(ex->plugins->task, why);
}

static void after_event(void *owner)
{
    struct vf_plugins *plugins = owner;
    if (plugins->tasks.ready != NULL)
        vf_tasks_run_ready(&plugins->tasks);
}

void vf_plugin_runs_join(struct vf_plugins *plugins, struct vf_proxy *proxy)
{
    const struct vf_phases phases = {.owner = plugins,
                                     .attach = attach,
                                     .run = run_phase,
                                     .on_content = on_content,
                                     .cancel = cancel,
                                     .detach = detach,
                                     .after_event = after_event};
    vf_proxy_set_phases(proxy, &phases);
}

void vf_plugin_runs_free(struct vf_plugins *plugins)
{
    while (plugins->spare != NULL) {
        struct vf_plugin_run *next = plugins->spare->next;
        free(plugins->spare);
        plugins->spare = next;
    }
}
