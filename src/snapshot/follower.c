#include "snapshot/follower.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "snapshot/snapshot.h"
#include "snapshot/table/set.h"

enum { HEARTBEAT_MS = 250, START_WAIT_MS = 10000, SEND_WAIT_MS = 1000, OLD_ROOM = 4 };

static struct vf_state_process *own_process(struct vf_follower *follower)
{
    return &follower->state->blocks[follower->block].process;
}

/* A terminal's Ctrl-C and a service manager's SIGTERM reach the whole group; only the supervisor
 * acts on them, and tells us in order. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
}

static int receive_start(struct vf_link_message *message)
{
    struct pollfd link = {.fd = VF_LINK_FD, .events = POLLIN};
    if (poll(&link, 1, START_WAIT_MS) != 1 || vf_link_receive(VF_LINK_FD, message) != 1)
        return UV_EPROTO;
    if (message->type == VF_LINK_START && message->n_fds > 0)
        return 0;
    vf_link_message_deinit(message);
    return UV_EPROTO;
}

static int read_start(struct vf_follower *follower, struct vf_link_message *message)
{
    int fd = vf_link_take_fd(message, 0);
    follower->state = vf_state_map(fd);
    int rc = follower->state == NULL ? -errno : 0;
    close(fd);
    if (rc == 0 && message->args[0] >= VF_STATE_BLOCKS)
        rc = UV_EPROTO;
    follower->block = (int)message->args[0];
    follower->slot = (uint32_t)message->args[1];
    follower->mode = (enum vf_link_mode)message->args[5];
    follower->watches_conf = message->args[6] != 0;
    follower->conf_fd = vf_link_take_fd(message, 1);
    memcpy(follower->conf, message->text, sizeof(follower->conf));
    return rc;
}

static void name_process(struct vf_follower *follower, const char *name)
{
    char title[16]; /* what ps and top show; the kernel cuts at 15 */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(follower->process, sizeof(follower->process), name, follower->slot + 1);
#pragma GCC diagnostic pop
    snprintf(title, sizeof(title), "vf-%.12s", follower->process);
    prctl(PR_SET_NAME, title);
}

int vf_follower_open(struct vf_follower *follower, uv_loop_t *loop, const char *name)
{
    struct vf_link_message message;
    memset(follower, 0, sizeof(*follower));
    follower->loop = loop;
    follower->link = VF_LINK_FD;
    ignore_signals();
    int rc = receive_start(&message);
    if (rc < 0)
        return rc;
    rc = read_start(follower, &message);
    if (rc == 0) {
        name_process(follower, name);
        vf_log_setup((enum vf_log_level)message.args[3], (enum vf_log_format)message.args[4],
                     follower->process);
    }
    vf_link_message_deinit(&message);
    return rc;
}

/* Gives back what nobody else holds any more. */
static void sweep_old(struct vf_follower *follower)
{
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < follower->n_old; i++)
        if (follower->old[i]->refs > 1)
            follower->old[n_kept++] = follower->old[i];
        else
            vf_snapshot_release_on(&follower->old[i], follower->loop);
    follower->n_old = n_kept;
}

static void show_snapshots(struct vf_follower *follower)
{
    struct vf_state_process *process = own_process(follower);
    const struct vf_snapshot *running = follower->running;
    uint64_t oldest = running != NULL ? running->version : 0;
    for (uint32_t i = 0; i < follower->n_old; i++)
        if (follower->old[i]->version < oldest)
            oldest = follower->old[i]->version;
    process->pinned_version = oldest;
    process->running_version = running != NULL ? running->version : 0;
    process->n_snapshots = follower->n_old + (running != NULL) + (follower->prepared != NULL);
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct vf_follower *follower = timer->data;
    struct vf_state_process *process = own_process(follower);
    uint64_t now_ns = vf_clock_ns(), due_ns = follower->beat_ns + HEARTBEAT_MS * 1000000ULL;
    process->loop_lag_us = now_ns > due_ns ? (now_ns - due_ns) / 1000 : 0;
    process->heartbeat_ns = follower->beat_ns = now_ns;
    if (follower->n_old > 0) {
        sweep_old(follower);
        show_snapshots(follower);
    }
}

void vf_follower_send(struct vf_follower *follower, const struct vf_link_message *message)
{
    if (follower->link >= 0)
        vf_link_send_wait(follower->link, message, SEND_WAIT_MS);
}

void vf_follower_tell(struct vf_follower *follower, enum vf_link_type type, uint64_t arg)
{
    struct vf_link_message message;
    vf_link_message_init(&message, type);
    message.args[0] = arg;
    vf_follower_send(follower, &message);
}

static void refuse(struct vf_follower *follower, uint64_t version, enum vf_link_refusal refusal,
                   const char *why)
{
    struct vf_link_message message;
    vf_link_message_init(&message, VF_LINK_REFUSED);
    message.args[0] = version;
    message.args[1] = refusal;
    vf_link_message_text(&message, why);
    vf_follower_send(follower, &message);
}

/* Control has proved a snapshot sound before it offers it: what cannot be opened is nobody's
 * configuration. */
static void prepare(struct vf_follower *follower, struct vf_link_message *message)
{
    const struct vf_follower_handlers *handlers = &follower->handlers;
    struct vf_snapshot *snapshot = NULL;
    int fd = message->n_fds > 0 ? message->fds[0] : -1;
    bool is_checked = handlers->is_checked != NULL && handlers->is_checked(handlers->owner, fd);
    int rc = is_checked ? vf_snapshot_open_checked(fd, &snapshot) : vf_snapshot_open(fd, &snapshot);
    if (rc < 0) {
        refuse(follower, message->args[0], VF_LINK_UNABLE,
               rc == UV_EINVAL ? vf_snapshot_fault() : uv_strerror(rc));
        return;
    }
    follower->fault[0] = '\0';
    if (handlers->on_prepare != NULL &&
        (rc = handlers->on_prepare(handlers->owner, snapshot)) < 0) {
        refuse(follower, message->args[0], rc == UV_EINVAL ? VF_LINK_UNFIT : VF_LINK_UNABLE,
               follower->fault[0] != '\0' ? follower->fault : uv_strerror(rc));
        vf_snapshot_release(&snapshot);
        return;
    }
    vf_snapshot_release(&follower->prepared);
    follower->prepared = snapshot;
    show_snapshots(follower);
    vf_follower_tell(follower, VF_LINK_PREPARED, message->args[0]);
}

/* Keeps the replaced snapshot in sight while somebody uses it. Without memory for the list it is
 * out of sight, but lives as long as its users. */
static void retire_running(struct vf_follower *follower)
{
    if (follower->running == NULL)
        return;
    if (follower->n_old == follower->old_room) {
        uint32_t room = follower->old_room + OLD_ROOM;
        struct vf_snapshot **old = realloc(follower->old, room * sizeof(struct vf_snapshot *));
        if (old == NULL) {
            vf_snapshot_release(&follower->running);
            return;
        }
        follower->old = old;
        follower->old_room = room;
    }
    follower->old[follower->n_old++] = follower->running;
    follower->running = NULL;
}

static void publish(struct vf_follower *follower, uint64_t version)
{
    const struct vf_follower_handlers *handlers = &follower->handlers;
    struct vf_snapshot *snapshot = follower->prepared;
    if (snapshot == NULL || snapshot->version != version)
        return; /* the supervisor misses the acknowledgement and says so */
    follower->prepared = NULL;
    const struct vf_snap_settings *settings = vf_snap_settings(snapshot);
    vf_log_setup((enum vf_log_level)settings->log_level, (enum vf_log_format)settings->log_format,
                 follower->process);
    if (handlers->on_publish != NULL)
        handlers->on_publish(handlers->owner, snapshot);
    retire_running(follower);
    follower->running = snapshot;
    sweep_old(follower);
    show_snapshots(follower);
    vf_follower_tell(follower, VF_LINK_RUNNING, version);
}

static void use_usage(struct vf_follower *follower, struct vf_link_message *message)
{
    const struct vf_follower_handlers *handlers = &follower->handlers;
    if (follower->usage.map != NULL || message->n_fds == 0)
        return;
    int rc = vf_usage_open(&follower->usage, vf_link_take_fd(message, 0));
    if (rc < 0)
        vf_log_error(NULL, "usage.failed", "err=%s", uv_err_name(rc));
    else if (handlers->on_message != NULL)
        handlers->on_message(handlers->owner, message);
}

/* Without its table a process would answer from what is not true any more: better a new process.
 * One of another layout comes from the next binary, whose own processes can read it; we drain. */
static void use_table(const struct vf_link_message *message)
{
    int rc = message->n_fds == 2
                 ? vf_table_adopt((uint32_t)message->args[0], message->fds[0], message->fds[1])
                 : UV_EPROTO;
    if (rc == 0)
        return;
    vf_log_error(NULL, "table.failed", "table=%llu sequence=%llu err=%s",
                 (unsigned long long)message->args[0], (unsigned long long)message->args[1],
                 uv_err_name(rc));
    if (rc != UV_EPROTO)
        _exit(1);
}

static void handle(struct vf_follower *follower, struct vf_link_message *message)
{
    switch ((enum vf_link_type)message->type) {
    case VF_LINK_PREPARE:
        prepare(follower, message);
        break;
    case VF_LINK_PUBLISH:
        publish(follower, message->args[0]);
        break;
    case VF_LINK_ABANDON:
        vf_snapshot_release(&follower->prepared);
        show_snapshots(follower);
        break;
    case VF_LINK_TABLE:
        use_table(message);
        break;
    case VF_LINK_USAGE:
        use_usage(follower, message);
        break;
    case VF_LINK_LOG:
        (void)vf_log_override(message->text); /* what a newer binary says is not for us */
        break;
    default:
        if (follower->handlers.on_message != NULL)
            follower->handlers.on_message(follower->handlers.owner, message);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct vf_follower *follower = poll->data;
    struct vf_link_message message;
    int rc = -EAGAIN;
    (void)events;
    while (!follower->is_closing && (rc = vf_link_receive(follower->link, &message)) == 1) {
        handle(follower, &message);
        vf_link_message_deinit(&message);
    }
    if (follower->is_closing || rc == -EAGAIN || rc == -EBADMSG)
        return;
    (void)status;
    uv_poll_stop(poll);
    follower->handlers.on_orphaned(follower->handlers.owner);
}

int vf_follower_start(struct vf_follower *follower, const struct vf_follower_handlers *handlers)
{
    follower->handlers = *handlers;
    follower->poll.data = follower->heartbeat.data = follower;
    follower->beat_ns = vf_clock_ns();
    own_process(follower)->heartbeat_ns = follower->beat_ns;
    int rc = uv_poll_init(follower->loop, &follower->poll, follower->link);
    if (rc < 0)
        return rc;
    uv_timer_init(follower->loop, &follower->heartbeat);
    uv_timer_start(&follower->heartbeat, on_heartbeat, HEARTBEAT_MS, HEARTBEAT_MS);
    follower->n_open = 2;
    return uv_poll_start(&follower->poll, UV_READABLE, on_readable);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct vf_follower *follower = handle->data;
    if (--follower->n_open > 0)
        return;
    close(follower->link);
    follower->link = -1;
    if (follower->on_closed != NULL)
        follower->on_closed(follower->handlers.owner);
}

static void release_snapshots(struct vf_follower *follower)
{
    for (uint32_t i = 0; i < follower->n_old; i++)
        vf_snapshot_release(&follower->old[i]);
    free(follower->old);
    follower->old = NULL;
    follower->n_old = follower->old_room = 0;
    vf_snapshot_release(&follower->prepared);
    vf_snapshot_release(&follower->running);
}

void vf_follower_close(struct vf_follower *follower, void (*on_closed)(void *owner))
{
    if (follower->is_closing)
        return;
    follower->is_closing = true;
    follower->on_closed = on_closed;
    release_snapshots(follower);
    if (follower->conf_fd >= 0)
        close(follower->conf_fd);
    uv_close((uv_handle_t *)&follower->poll, on_handle_closed);
    uv_close((uv_handle_t *)&follower->heartbeat, on_handle_closed);
}
