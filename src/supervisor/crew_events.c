/* What children say, and what follows from their ends. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/snapshot.h"
#include "supervisor/core.h"
#include "supervisor/crew_parts.h"
#include "supervisor/notify.h"

enum {
    CONTROL_BACKOFF_MS = 800, /* of a control that was ready: it does not die of its start */
    BOOT_DEATHS = 3           /* so many children may die before the first `ready` */
};

static const uint64_t YOUNG_NS = 10ULL * 1000000000;

static void log_started(const struct vf_child *child)
{
    static const char *const events[] = {[VF_PROCESS_WORKER] = "worker.started",
                                         [VF_PROCESS_CONTROL] = "control.started",
                                         [VF_PROCESS_CHECKER] = "checker.started"};
    vf_log_info(NULL, events[child->kind], "slot=%u pid=%ld version=%llu", child->slot + 1,
                (long)child->pid, (unsigned long long)child->running_version);
}

static void become_ready(struct vf_supervisor *super, struct vf_child *child)
{
    child->state = VF_CHILD_READY;
    if (child->kind == VF_PROCESS_CONTROL)
        super->control_mode = VF_LINK_RESUME; /* of its replacement */
    log_started(child);
    if (child == super->control.child && super->is_reload_wanted)
        vf_supervisor_request_reload(super);
    vf_crew_settle(super);
    if (super->is_upgrading && vf_crew_is_complete(super)) {
        super->is_upgrading = false;
        vf_log_info(NULL, "upgrade.done", "generation=%u version=%llu workers=%u",
                    super->generation, (unsigned long long)super->version, super->n_workers);
        vf_notify_ready();
    }
}

static void on_running(struct vf_supervisor *super, struct vf_child *child, uint64_t version)
{
    child->running_version = version;
    if (child->state == VF_CHILD_STARTING) {
        if (version == super->version)
            become_ready(super, child);
        else
            vf_crew_bring_up_to_date(super, child); /* another was published meanwhile */
    }
    vf_publish_running(super, child);
}

static void on_refused(struct vf_supervisor *super, struct vf_child *child,
                       const struct vf_link_message *message)
{
    if (child->state == VF_CHILD_STARTING && message->args[0] == super->version) {
        vf_log_error(NULL, "process.refused", "kind=%s slot=%u version=%llu reason=%s",
                     vf_child_name(child->kind), child->slot + 1,
                     (unsigned long long)message->args[0], message->text);
        vf_child_kill(child, "refuses the running snapshot");
    }
    vf_publish_refused(super, child, message);
}

/* The number says which of our requests the reload that ends came from: a later one may be on its
 * way to control still. */
static void on_reloading(struct vf_supervisor *super, bool has_begun, uint64_t number)
{
    if (!has_begun && number > super->reload_ended)
        super->reload_ended = number;
    vf_supervisor_reloading(super, has_begun);
}

static void set_log(struct vf_supervisor *super, const char *levels)
{
    if (vf_log_override(levels) < 0)
        return;
    vf_log_info(NULL, "log.levels", "levels=%s", levels[0] != '\0' ? levels : "conf");
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        vf_child_share_log(child);
}

/* Only the control that holds the post may change anything. */
static void on_control_message(struct vf_supervisor *super, struct vf_link_message *message)
{
    if (message->type == VF_LINK_OFFER_TABLE)
        vf_shelf_offer(super, super->control.child, message);
    else if (message->type == VF_LINK_OFFER)
        vf_publish_offer(super, message);
    else if (message->type == VF_LINK_COMMIT)
        vf_publish_commit(super, message->args[0]);
    else if (message->type == VF_LINK_SET_LOG)
        set_log(super, message->text);
    else if (message->type == VF_LINK_STOP)
        vf_stop_begin(super);
    else if (message->type == VF_LINK_RELOADING)
        on_reloading(super, message->args[0] != 0, message->args[1]);
}

void vf_crew_message(struct vf_supervisor *super, struct vf_child *child,
                     struct vf_link_message *message)
{
    switch ((enum vf_link_type)message->type) {
    case VF_LINK_PREPARED:
        vf_publish_prepared(super, child, message->args[0]);
        break;
    case VF_LINK_REFUSED:
        on_refused(super, child, message);
        break;
    case VF_LINK_RUNNING:
        on_running(super, child, message->args[0]);
        break;
    case VF_LINK_UNLISTENED:
        vf_child_forget_socket(child, message->args[0]);
        super->is_unsettled = true; /* more of them are on their way */
        break;
    default:
        if (child == super->control.child)
            on_control_message(super, message);
    }
}

/* --- Ends --- */

static void describe_end(const struct vf_child *child, int status, char *out, size_t size)
{
    if (child->killed_for != NULL)
        snprintf(out, size, "killed: %s", child->killed_for);
    else if (WIFSIGNALED(status))
        snprintf(out, size, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        snprintf(out, size, "exit code %d", WEXITSTATUS(status));
    else
        snprintf(out, size, "drained");
}

static void log_ended(const struct vf_child *child, int status, bool is_expected)
{
    static const char *const events[] = {[VF_PROCESS_WORKER] = "worker.exited",
                                         [VF_PROCESS_CONTROL] = "control.exited",
                                         [VF_PROCESS_CHECKER] = "checker.exited"};
    char reason[96];
    describe_end(child, status, reason, sizeof(reason));
    vf_log_at(NULL, is_expected ? VF_LOG_INFO : VF_LOG_WARN, events[child->kind],
              "slot=%u pid=%ld reason=%s", child->slot + 1, (long)child->pid, reason);
}

/* A reload dies with its control. Its replacement tries once more, and no more than once: it may
 * be what control dies of. */
static void lose_reload(struct vf_supervisor *super)
{
    if (super->reload_ended < super->reload_sent && !super->is_reload_repeated)
        super->is_reload_wanted = super->is_reload_repeated = true;
    super->reload_ended = super->reload_sent;
    vf_supervisor_reloading(super, false);
}

/* A process that hung or crashed within a plugin would do so again: its replacement leaves the
 * plugin out for a while. A kill from outside says nothing about the plugin. */
static void trip_plugin(struct vf_supervisor *super, const struct vf_child *child, int status)
{
    uint32_t owner = super->state->blocks[child->block].process.phase_owner;
    bool is_fault =
        child->killed_for != NULL ||
        (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL && WTERMSIG(status) != SIGTERM);
    if (owner == 0 || owner > VF_STATE_PLUGINS || !is_fault || super->snapshot == NULL)
        return;
    uint64_t pause_ms = vf_snap_settings(super->snapshot)->plugin_limits.trip_pause_ms;
    super->state->plugin_tripped_ns[owner - 1] = vf_clock_ns() + pause_ms * 1000000;
    vf_log_error(NULL, "plugin.tripped", "plugin_slot=%u reason=%s pause_ms=%llu", owner - 1,
                 child->killed_for != NULL ? child->killed_for : "crash",
                 (unsigned long long)pause_ms);
}

static void replace(struct vf_supervisor *super, struct vf_post *post, const struct vf_child *child)
{
    post->child = NULL;
    if (super->phase >= VF_SUPER_STOPPING)
        return;
    if (super->phase == VF_SUPER_BOOTING) {
        bool is_first_control = child->kind == VF_PROCESS_CONTROL && super->snapshot == NULL;
        if (is_first_control)
            vf_supervisor_quit(super, 1); /* it has said why */
        else if (++super->n_boot_deaths >= BOOT_DEATHS)
            vf_supervisor_fail_start(super, "the processes do not stay alive");
        if (super->phase == VF_SUPER_DONE)
            return;
    }
    if (vf_clock_ns() - child->started_ns >= YOUNG_NS) {
        post->backoff_ms = 0;
        return;
    }
    bool was_ready = child->kind == VF_PROCESS_CONTROL && child->state == VF_CHILD_READY;
    if (was_ready && post->backoff_ms > CONTROL_BACKOFF_MS / 2)
        post->backoff_ms = CONTROL_BACKOFF_MS / 2;
    vf_crew_delay_restart(post);
}

void vf_crew_ended(struct vf_supervisor *super, struct vf_child *child, int status)
{
    struct vf_post *post = vf_crew_post(super, child->kind, child->slot);
    bool is_expected = child->state == VF_CHILD_LEAVING && WIFEXITED(status) &&
                       WEXITSTATUS(status) == 0 && child->killed_for == NULL;
    bool held_post = post->child == child;
    if (child->block >= 0) {
        trip_plugin(super, child, status);
        vf_state_end_lease(super->state, child->block);
    }
    if (super->snapshot != NULL || super->phase != VF_SUPER_BOOTING)
        log_ended(child, status, is_expected);
    if (!is_expected)
        super->state->restarts[child->kind]++;
    if (held_post && child->kind == VF_PROCESS_CONTROL)
        lose_reload(super);
    if (held_post)
        replace(super, post, child);
    vf_publish_lost(super, child);
    vf_child_free(super, child);
    vf_crew_fill(super);
    vf_crew_settle(super);
    if (super->phase == VF_SUPER_STOPPING)
        vf_crew_stop(super);
}
