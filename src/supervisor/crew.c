/* The posts of the house, who holds them, and whether these are alive. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervisor/core.h"
#include "supervisor/crew_parts.h"

enum {
    FIRST_BACKOFF_MS = 100,
    MAX_BACKOFF_MS = 10000,
    CONTROL_SILENCE_MS = 60000 /* compiling 100,000 routes takes a while */
};

static const uint64_t SILENCE_NS = 10ULL * 1000000000;
static const uint64_t LATE_WAKE_NS = 3ULL * 1000000000;

static void on_restart(struct vf_timer *timer)
{
    vf_crew_fill(VF_OWNER_OF(timer, struct vf_post, restart)->super);
}

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
    super->close_grace.on_fire = vf_crew_on_close_grace;
}

struct vf_post *vf_crew_post(struct vf_supervisor *super, enum vf_process_kind kind, uint32_t slot)
{
    if (kind == VF_PROCESS_CONTROL)
        return &super->control;
    return kind == VF_PROCESS_CHECKER ? &super->checker : &super->workers[slot];
}

void vf_crew_delay_restart(struct vf_post *post)
{
    post->backoff_ms = post->backoff_ms == 0 ? FIRST_BACKOFF_MS : post->backoff_ms * 2;
    if (post->backoff_ms > MAX_BACKOFF_MS)
        post->backoff_ms = MAX_BACKOFF_MS;
    vf_log_info(NULL, "process.delayed", "kind=%s slot=%u ms=%llu", vf_child_name(post->kind),
                post->slot + 1, (unsigned long long)post->backoff_ms);
    vf_supervisor_timer(post->super, &post->restart, post->backoff_ms);
}

void vf_crew_bring_up_to_date(struct vf_supervisor *super, struct vf_child *child)
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
        vf_crew_delay_restart(post);
        return;
    }
    vf_shelf_give(super, post->child);
    if (super->snapshot != NULL)
        vf_crew_bring_up_to_date(super, post->child);
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

bool vf_crew_is_filled(const struct vf_post *post)
{
    return post->child != NULL && post->child->state == VF_CHILD_READY;
}

bool vf_crew_is_complete(const struct vf_supervisor *super)
{
    bool is_complete = vf_crew_is_filled(&super->control) && vf_crew_is_filled(&super->checker);
    for (uint32_t slot = 0; slot < super->n_workers; slot++)
        is_complete = is_complete && vf_crew_is_filled(&super->workers[slot]);
    return is_complete;
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
        if (!child->is_full)
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
