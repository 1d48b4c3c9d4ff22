#include <stdio.h>

#include "base/log.h"
#include "snapshot/snapshot.h"
#include "supervisor/core.h"
#include "supervisor/notify.h"

enum {
    PREPARE_WAIT_MS = 2000, /* who is silent for longer is stuck: replaced, without a veto */
    LATE_MS = 500,          /* after that: it says nothing about them */
    RUNNING_WAIT_MS = 1000  /* then control is told how many lag behind */
};

/* --- Helpers --- */

/* Control and the workers map what is published; the checker too. */
static bool takes_part(const struct vf_supervisor *super, const struct vf_child *child)
{
    return child->state == VF_CHILD_READY && child->generation == super->generation;
}

static bool is_awaited(const struct vf_supervisor *super)
{
    for (const struct vf_child *child = super->children; child != NULL; child = child->next)
        if (child->is_awaited)
            return true;
    return false;
}

static void forget_offer(struct vf_publish *publish)
{
    vf_timer_stop(&publish->super->timers, &publish->deadline);
    for (struct vf_child *child = publish->super->children; child != NULL; child = child->next)
        child->is_awaited = false;
    vf_snapshot_release(&publish->snapshot);
    vf_copies_close(&publish->copies);
    publish->state = VF_PUBLISH_IDLE;
}

/* Control is told what became of its offer; at the start a refusal is the end. */
static void tell_refused(struct vf_supervisor *super, uint64_t version,
                         enum vf_link_refusal refusal, const char *why)
{
    struct vf_link_message message;
    if (super->phase == VF_SUPER_BOOTING) {
        vf_supervisor_fail_start(super, why);
        return;
    }
    if (super->control.child == NULL)
        return;
    vf_link_message_init(&message, VF_LINK_REFUSED);
    message.args[0] = version;
    message.args[1] = refusal;
    vf_link_message_text(&message, why);
    vf_child_send(super->control.child, &message);
}

/* --- Prepared --- */

/* All have prepared: control writes the model down and then says COMMIT. */
static void ask_for_commit(struct vf_supervisor *super)
{
    struct vf_publish *publish = &super->publish;
    vf_timer_stop(&super->timers, &publish->deadline);
    publish->state = VF_PUBLISH_WRITING;
    vf_child_tell(super->control.child, VF_LINK_PREPARED, publish->snapshot->version, 0);
}

static void continue_if_prepared(struct vf_supervisor *super)
{
    if (super->publish.state == VF_PUBLISH_PREPARING && !is_awaited(super))
        ask_for_commit(super);
}

static void send_prepare(struct vf_supervisor *super)
{
    struct vf_publish *publish = &super->publish;
    publish->state = VF_PUBLISH_PREPARING;
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        if (takes_part(super, child)) {
            child->is_awaited = child->kind != VF_PROCESS_CONTROL; /* its offer is its consent */
            vf_child_prepare(child, publish->snapshot->version, &publish->copies);
        }
    vf_supervisor_timer(super, &publish->deadline, PREPARE_WAIT_MS);
    continue_if_prepared(super);
}

static void abandon(struct vf_supervisor *super)
{
    struct vf_publish *publish = &super->publish;
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        if (takes_part(super, child))
            vf_child_tell(child, VF_LINK_ABANDON, publish->snapshot->version, 0);
    vf_ports_abandon(&super->ports);
    forget_offer(publish);
}

static void finish(struct vf_supervisor *super);

/* A predecessor of this control may have left a transaction half done. */
static void end_previous(struct vf_supervisor *super)
{
    if (super->publish.state == VF_PUBLISH_PUBLISHING)
        finish(super);
    else if (super->publish.state != VF_PUBLISH_IDLE)
        abandon(super);
}

void vf_publish_offer(struct vf_supervisor *super, struct vf_link_message *message)
{
    struct vf_publish *publish = &super->publish;
    enum vf_link_refusal refusal;
    char fault[VF_OFFER_FAULT_BYTES] = "";
    end_previous(super);
    if (super->phase >= VF_SUPER_STOPPING) {
        tell_refused(super, message->args[0], VF_LINK_UNABLE, "stopping");
        return;
    }
    publish->copies.whole = vf_link_take_fd(message, 0);
    if (vf_offer_accept(super, message->args[0], &refusal, fault) < 0) {
        forget_offer(publish);
        tell_refused(super, message->args[0], refusal, fault);
        return;
    }
    send_prepare(super);
}

void vf_publish_prepared(struct vf_supervisor *super, struct vf_child *child, uint64_t version)
{
    struct vf_publish *publish = &super->publish;
    if (publish->state != VF_PUBLISH_PREPARING || version != publish->snapshot->version)
        return;
    child->is_awaited = false;
    continue_if_prepared(super);
}

void vf_publish_refused(struct vf_supervisor *super, struct vf_child *child,
                        const struct vf_link_message *message)
{
    struct vf_publish *publish = &super->publish;
    uint64_t version = message->args[0];
    bool is_unable = message->args[1] == VF_LINK_UNABLE;
    char fault[VF_OFFER_FAULT_BYTES];
    if (publish->state != VF_PUBLISH_PREPARING || version != publish->snapshot->version)
        return;
    snprintf(fault, sizeof(fault), "%s: %.900s", vf_child_name(child->kind), message->text);
    abandon(super);
    tell_refused(super, version, is_unable ? VF_LINK_UNABLE : VF_LINK_UNFIT, fault);
}

/* --- Committed --- */

static void log_listeners(struct vf_supervisor *super)
{
    for (size_t i = 0; i < VF_PORTS_MAX; i++) {
        struct vf_port *port = &super->ports.all[i];
        char address[VF_LISTENING_TEXT_BYTES];
        if (!port->is_new || port->state != VF_PORT_LIVE)
            continue;
        port->is_new = false;
        vf_listening_format(&port->bound, address);
        vf_log_info(NULL, "listener.open", "name=%s address=%s", port->name, address);
    }
}

/* The offered snapshot is the current one from here on. */
static void adopt(struct vf_supervisor *super)
{
    struct vf_publish *publish = &super->publish;
    vf_snapshot_release(&super->snapshot);
    vf_copies_close(&super->copies);
    super->snapshot = publish->snapshot;
    super->copies = publish->copies;
    super->version = super->snapshot->version;
    super->state->published_version = super->version;
    publish->snapshot = NULL;
    publish->copies = (struct vf_copies){-1, -1};
}

static void announce(struct vf_supervisor *super)
{
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        if (takes_part(super, child)) {
            if (child->sent_version != super->version) /* it became READY meanwhile */
                vf_child_prepare(child, super->version, &super->copies);
            vf_child_tell(child, VF_LINK_PUBLISH, super->version, 0);
            child->is_awaited = child->kind == VF_PROCESS_WORKER;
        }
}

/* The first control offers before it has anything to map. */
static void bring_control(struct vf_supervisor *super)
{
    struct vf_child *control = super->control.child;
    if (control == NULL || control->state != VF_CHILD_STARTING)
        return;
    vf_child_prepare(control, super->version, &super->copies);
    vf_child_tell(control, VF_LINK_PUBLISH, super->version, 0);
}

static void finish_if_live(struct vf_supervisor *super)
{
    if (super->publish.state != VF_PUBLISH_PUBLISHING)
        return;
    bool is_live = super->is_ready ? !is_awaited(super) : vf_crew_is_complete(super);
    if (is_live)
        finish(super);
}

void vf_publish_commit(struct vf_supervisor *super, uint64_t version)
{
    struct vf_publish *publish = &super->publish;
    if (publish->state != VF_PUBLISH_WRITING || version != publish->snapshot->version)
        return;
    adopt(super);
    publish->state = VF_PUBLISH_PUBLISHING;
    vf_ports_commit(&super->ports);
    vf_timer_stop(&super->timers, &super->close_grace); /* a new grace for what leaves now */
    vf_settings_apply(super);
    log_listeners(super);
    announce(super);
    bring_control(super);
    vf_crew_fill(super);
    vf_crew_settle(super);
    if (super->is_ready)
        vf_supervisor_timer(super, &publish->deadline, RUNNING_WAIT_MS);
    finish_if_live(super);
}

static void log_ready(struct vf_supervisor *super)
{
    super->is_ready = true;
    super->phase = VF_SUPER_RUNNING;
    vf_log_info(NULL, "ready", "version=%llu workers=%u", (unsigned long long)super->version,
                super->n_workers);
    vf_notify_ready();
}

/* --- Live --- */

static void finish(struct vf_supervisor *super)
{
    uint32_t n_laggards = 0;
    for (const struct vf_child *child = super->children; child != NULL; child = child->next)
        n_laggards += child->is_awaited;
    forget_offer(&super->publish);
    if (!super->is_ready)
        log_ready(super);
    if (super->control.child != NULL)
        vf_child_tell(super->control.child, VF_LINK_LIVE, super->version, n_laggards);
}

void vf_publish_running(struct vf_supervisor *super, struct vf_child *child)
{
    if (child->running_version == super->version)
        child->is_awaited = false;
    finish_if_live(super);
}

/* A control that dies before the commit takes its offer with it. */
void vf_publish_lost(struct vf_supervisor *super, struct vf_child *child)
{
    child->is_awaited = false;
    bool is_open =
        super->publish.state == VF_PUBLISH_PREPARING || super->publish.state == VF_PUBLISH_WRITING;
    if (is_open && child->kind == VF_PROCESS_CONTROL && super->control.child == NULL) {
        abandon(super);
        return;
    }
    continue_if_prepared(super);
    finish_if_live(super);
}

static void kill_silent(struct vf_supervisor *super)
{
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        if (child->is_awaited) {
            child->is_awaited = false;
            vf_child_kill(child, "silent for 2 s at a reload");
        }
}

/* Late for a deadline, the machine stood still or had no time for us, and so for those who are
 * silent: they get theirs once more. */
static bool was_late(const struct vf_timer *deadline)
{
    return vf_supervisor_now_ms() > deadline->deadline_ms + LATE_MS;
}

static void on_deadline(struct vf_timer *timer)
{
    struct vf_publish *publish = VF_OWNER_OF(timer, struct vf_publish, deadline);
    if (publish->state == VF_PUBLISH_PUBLISHING) {
        finish(publish->super);
        return;
    }
    if (was_late(timer)) {
        vf_supervisor_timer(publish->super, timer, PREPARE_WAIT_MS);
        return;
    }
    kill_silent(publish->super);
    continue_if_prepared(publish->super);
}

void vf_publish_init(struct vf_supervisor *super)
{
    super->publish = (struct vf_publish){.super = super, .copies = {-1, -1}};
    super->publish.deadline.on_fire = on_deadline;
}
