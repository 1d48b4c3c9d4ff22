#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/snapshot.h"
#include "supervisor/core.h"
#include "supervisor/notify.h"

enum {
    FIRST_BACKOFF_MS = 100,
    MAX_BACKOFF_MS = 10000,
    CONTROL_BACKOFF_MS = 800,  /* of a control that was ready: it does not die of its start */
    BOOT_DEATHS = 3,           /* so many children may die before the first `ready` */
    CONTROL_SILENCE_MS = 60000 /* compiling 100,000 routes takes a while */
};

static const uint64_t YOUNG_NS = 10ULL * 1000000000;
static const uint64_t SILENCE_NS = 10ULL * 1000000000;
static const uint64_t LATE_WAKE_NS = 3ULL * 1000000000;

/* --- Posts --- */

static void on_restart(struct vf_timer *timer)
{
    vf_crew_fill(VF_OWNER_OF(timer, struct vf_post, restart)->super);
}

static void on_close_grace(struct vf_timer *timer);

static void init_post(struct vf_supervisor *super, struct vf_post *post, enum vf_process_kind kind,
                      uint32_t slot)
{
    *post = (struct vf_post){.super = super, .kind = kind, .slot = slot};
    post->restart.on_fire = on_restart;
}

void vf_crew_init(struct vf_supervisor *super)
{
    init_post(super, &super->control, VF_PROCESS_CONTROL, 0);
    init_post(super, &super->checker, VF_PROCESS_CHECKER, 0);
    for (uint32_t slot = 0; slot < VF_SLOTS_MAX; slot++)
        init_post(super, &super->workers[slot], VF_PROCESS_WORKER, slot);
    super->control.is_wanted = true;
    super->close_grace.on_fire = on_close_grace;
}

struct vf_post *vf_crew_post(struct vf_supervisor *super, enum vf_process_kind kind, uint32_t slot)
{
    if (kind == VF_PROCESS_CONTROL)
        return &super->control;
    return kind == VF_PROCESS_CHECKER ? &super->checker : &super->workers[slot];
}

static bool holds_post(struct vf_supervisor *super, const struct vf_child *child)
{
    return vf_crew_post(super, child->kind, child->slot)->child == child;
}

static void delay_restart(struct vf_post *post)
{
    post->backoff_ms = post->backoff_ms == 0 ? FIRST_BACKOFF_MS : post->backoff_ms * 2;
    if (post->backoff_ms > MAX_BACKOFF_MS)
        post->backoff_ms = MAX_BACKOFF_MS;
    vf_log_info(NULL, "process.delayed", "kind=%s slot=%u ms=%llu", vf_child_name(post->kind),
                post->slot + 1, (unsigned long long)post->backoff_ms);
    vf_supervisor_timer(post->super, &post->restart, post->backoff_ms);
}

/* A child that comes to a running house gets what the others run. */
static void bring_up_to_date(struct vf_supervisor *super, struct vf_child *child)
{
    vf_child_prepare(child, super->version, &super->copies);
    vf_child_tell(child, VF_LINK_PUBLISH, super->version, 0);
}

static void fill_post(struct vf_post *post)
{
    struct vf_supervisor *super = post->super;
    if (!post->is_wanted || post->child != NULL || vf_timer_is_running(&post->restart))
        return;
    int rc = vf_child_spawn(super, post->kind, post->slot, &post->child);
    if (rc < 0) {
        vf_log_error(NULL, "process.start_failed", "kind=%s slot=%u reason=%s",
                     vf_child_name(post->kind), post->slot + 1, strerror(-rc));
        delay_restart(post);
        return;
    }
    if (super->snapshot != NULL)
        bring_up_to_date(super, post->child);
}

/* The holder of a post that is wanted no more keeps serving until its sockets are closed. */
static void vacate(struct vf_post *post)
{
    post->is_wanted = false;
    vf_timer_stop(&post->super->timers, &post->restart);
    if (post->child != NULL && post->child->state == VF_CHILD_STARTING)
        vf_child_drain(post->child);
    post->child = NULL;
    post->backoff_ms = 0;
}

void vf_crew_fill(struct vf_supervisor *super)
{
    if (super->phase >= VF_SUPER_STOPPING)
        return;
    fill_post(&super->control);
    if (super->snapshot == NULL)
        return;
    super->checker.is_wanted = true;
    fill_post(&super->checker);
    for (uint32_t slot = 0; slot < VF_SLOTS_MAX; slot++) {
        struct vf_post *post = &super->workers[slot];
        if (slot < super->n_workers)
            post->is_wanted = true;
        else if (post->is_wanted)
            vacate(post);
        fill_post(post);
    }
}

static bool is_filled(const struct vf_post *post)
{
    return post->child != NULL && post->child->state == VF_CHILD_READY;
}

bool vf_crew_is_complete(const struct vf_supervisor *super)
{
    bool is_complete = is_filled(&super->control) && is_filled(&super->checker);
    for (uint32_t slot = 0; slot < super->n_workers; slot++)
        is_complete = is_complete && is_filled(&super->workers[slot]);
    return is_complete;
}

/* --- Who serves which socket --- */

/* Returns the newest READY child of a kind and slot, whether it holds the post or is to leave. */
static struct vf_child *ready_child(const struct vf_supervisor *super, enum vf_process_kind kind,
                                    uint32_t slot)
{
    struct vf_child *found = NULL;
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        if (child->kind == kind && child->slot == slot && child->state == VF_CHILD_READY &&
            (found == NULL || child->incarnation > found->incarnation))
            found = child;
    return found;
}

/* A slot without a worker lends its sockets to the next slot that has one. */
static struct vf_child *sibling(const struct vf_supervisor *super, uint32_t slot)
{
    for (uint32_t i = 1; i < VF_SLOTS_MAX; i++) {
        struct vf_child *child = ready_child(super, VF_PROCESS_WORKER, (slot + i) % VF_SLOTS_MAX);
        if (child != NULL)
            return child;
    }
    return NULL;
}

static struct vf_child *server_of(const struct vf_supervisor *super, const struct vf_port *port,
                                  uint32_t slot)
{
    if (slot >= port->n_open)
        return NULL;
    if (port->kind != VF_LINK_SOCKET_PROXY)
        return ready_child(super, VF_PROCESS_CONTROL, 0);
    struct vf_child *child = ready_child(super, VF_PROCESS_WORKER, slot);
    return child != NULL ? child : sibling(super, slot);
}

static void settle_socket(struct vf_supervisor *super, struct vf_port *port, uint32_t slot)
{
    uint64_t id = vf_port_socket_id(port, slot);
    struct vf_child *server = server_of(super, port, slot);
    bool is_closing = slot >= port->n_open;
    if (server != NULL && vf_child_find_socket(server, id) == NULL)
        vf_child_listen(server, port, slot);
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        if (child != server || port->is_renamed)
            vf_child_unlisten(child, id, is_closing);
}

static uint64_t all_slots(uint32_t n_slots)
{
    return UINT64_MAX >> (VF_SLOTS_MAX - n_slots);
}

static uint64_t slots_with_worker(const struct vf_supervisor *super, uint32_t n_slots)
{
    uint64_t slots = 0;
    for (uint32_t slot = 0; slot < n_slots; slot++)
        if (ready_child(super, VF_PROCESS_WORKER, slot) != NULL)
            slots |= 1ULL << slot;
    return slots != 0 ? slots : all_slots(n_slots);
}

static void steer(struct vf_supervisor *super, struct vf_port *port)
{
    uint32_t n_slots = port->n_open < super->n_workers ? port->n_open : super->n_workers;
    if (port->kind != VF_LINK_SOCKET_PROXY || port->state != VF_PORT_LIVE || n_slots == 0)
        return;
    vf_port_steer(port, slots_with_worker(super, n_slots));
    vf_port_defer(port, all_slots(n_slots)); /* no more where one is steered away from for good */
}

static bool is_held(const struct vf_supervisor *super, uint64_t socket_id)
{
    for (const struct vf_child *child = super->children; child != NULL; child = child->next)
        if (vf_child_find_socket(child, socket_id) != NULL)
            return true;
    return false;
}

static void close_unheld(struct vf_supervisor *super, struct vf_port *port)
{
    while (port->n_sockets > port->n_open &&
           !is_held(super, vf_port_socket_id(port, port->n_sockets - 1)))
        vf_port_shrink(port, port->n_sockets - 1);
}

static bool is_to_close(const struct vf_supervisor *super, const struct vf_port *port)
{
    return port->state == VF_PORT_LEAVING ||
           (port->state == VF_PORT_LIVE && port->kind == VF_LINK_SOCKET_PROXY &&
            port->n_open > super->n_workers);
}

/* Who was on the way is in the queues by now: who serves them empties them. */
static void on_close_grace(struct vf_timer *timer)
{
    struct vf_supervisor *super = VF_OWNER_OF(timer, struct vf_supervisor, close_grace);
    if (sibling(super, 0) == NULL && ready_child(super, VF_PROCESS_WORKER, 0) == NULL)
        return; /* settle starts the timer again when somebody can */
    for (size_t i = 0; i < VF_PORTS_MAX; i++) {
        struct vf_port *port = &super->ports.all[i];
        if (is_to_close(super, port))
            port->n_open = port->state == VF_PORT_LEAVING ? 0 : super->n_workers;
    }
    vf_crew_settle(super);
}

/* Has the slot no socket left that is open? */
static bool is_slot_closed(const struct vf_supervisor *super, uint32_t slot)
{
    for (size_t i = 0; i < VF_PORTS_MAX; i++) {
        const struct vf_port *port = &super->ports.all[i];
        if (port->state != VF_PORT_FREE && port->kind == VF_LINK_SOCKET_PROXY &&
            port->n_open > slot)
            return false;
    }
    return true;
}

/* A READY child without post leaves when its successor is READY, or its slot is closed. */
static void let_go(struct vf_supervisor *super, struct vf_child *child)
{
    if (child->state != VF_CHILD_READY || holds_post(super, child))
        return;
    struct vf_post *post = vf_crew_post(super, child->kind, child->slot);
    if (post->is_wanted ? is_filled(post)
                        : is_slot_closed(super, child->slot) && sibling(super, child->slot) != NULL)
        vf_child_drain(child);
}

void vf_crew_settle(struct vf_supervisor *super)
{
    bool any_to_close = false;
    if (super->phase >= VF_SUPER_STOPPING)
        return;
    for (size_t i = 0; i < VF_PORTS_MAX; i++) {
        struct vf_port *port = &super->ports.all[i];
        if (port->state != VF_PORT_LIVE && port->state != VF_PORT_LEAVING)
            continue;
        for (uint32_t slot = 0; slot < port->n_sockets; slot++)
            settle_socket(super, port, slot);
        port->is_renamed = false;
        steer(super, port);
        any_to_close = any_to_close || is_to_close(super, port);
        close_unheld(super, port);
    }
    if (any_to_close && !vf_timer_is_running(&super->close_grace))
        vf_supervisor_timer(super, &super->close_grace, VF_LISTENING_SETTLE_MS);
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        let_go(super, child);
}

/* --- What children say --- */

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
            bring_up_to_date(super, child); /* another was published meanwhile */
    }
    vf_publish_running(super, child);
}

static void on_refused(struct vf_supervisor *super, struct vf_child *child, uint64_t version,
                       const char *why)
{
    if (child->state == VF_CHILD_STARTING && version == super->version) {
        vf_log_error(NULL, "process.refused", "kind=%s slot=%u version=%llu reason=%s",
                     vf_child_name(child->kind), child->slot + 1, (unsigned long long)version, why);
        vf_child_kill(child, "refuses the running snapshot");
    }
    vf_publish_refused(super, child, version, why);
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
        vf_supervisor_stop(super);
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
        on_refused(super, child, message->args[0], message->text);
        break;
    case VF_LINK_RUNNING:
        on_running(super, child, message->args[0]);
        break;
    case VF_LINK_UNLISTENED:
        vf_child_forget_socket(child, message->args[0]);
        vf_crew_settle(super);
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
    delay_restart(post);
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

/* --- Heartbeats --- */

static uint64_t silence_limit_ns(const struct vf_child *child)
{
    return child->kind == VF_PROCESS_CONTROL ? CONTROL_SILENCE_MS * 1000000ULL : SILENCE_NS;
}

void vf_crew_check_heartbeats(struct vf_supervisor *super)
{
    uint64_t now_ns = vf_clock_ns();
    bool we_slept = now_ns - super->woken_ns > LATE_WAKE_NS; /* stopped with all our children */
    super->woken_ns = now_ns;
    for (struct vf_child *child = super->children; child != NULL; child = child->next) {
        if (child->block < 0)
            continue;
        struct vf_state_block *block = &super->state->blocks[child->block];
        uint64_t beat_ns = block->process.heartbeat_ns;
        if (we_slept)
            block->process.heartbeat_ns = now_ns;
        else if (now_ns > beat_ns && now_ns - beat_ns > silence_limit_ns(child) &&
                 child->killed_for == NULL)
            vf_child_kill(child, "no heartbeat");
    }
}

/* --- The end of the house --- */

static bool stop_kind(struct vf_supervisor *super, enum vf_process_kind kind)
{
    bool any = false;
    for (struct vf_child *child = super->children; child != NULL; child = child->next) {
        if (child->kind != kind)
            continue;
        any = true;
        for (uint32_t i = 0; i < child->n_held; i++)
            vf_child_unlisten(child, child->held[i].socket_id, true);
        vf_child_drain(child);
    }
    return any;
}

void vf_crew_stop(struct vf_supervisor *super)
{
    if (!super->is_stop_sent || stop_kind(super, VF_PROCESS_WORKER))
        return;
    bool any = stop_kind(super, VF_PROCESS_CHECKER);
    if (!stop_kind(super, VF_PROCESS_CONTROL) && !any)
        vf_supervisor_quit(super, 0);
}
