#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/snapshot.h"
#include "supervisor/core.h"

enum { EXEC_FAILED = 127, HELD_ROOM = 16, STACK_SIZE = 256 << 20 };

const char *vf_child_name(enum vf_process_kind kind)
{
    static const char *const names[] = {[VF_PROCESS_WORKER] = "worker",
                                        [VF_PROCESS_CONTROL] = "control",
                                        [VF_PROCESS_CHECKER] = "checker"};
    return names[kind];
}

/* --- Starting one --- */

struct launch {
    int binary_fd, link;
    bool change_user;
    uid_t uid;
    gid_t gid;
    char role[32], slot[24];
};

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "veloflux: cannot start a child: %s: %s\n", what, strerror(errno));
    _exit(EXEC_FAILED);
}

static void drop_privileges(const struct launch *launch)
{
    if (setgroups(1, &launch->gid) < 0 || setresgid(launch->gid, launch->gid, launch->gid) < 0 ||
        setresuid(launch->uid, launch->uid, launch->uid) < 0)
        give_up("change of user");
}

/* A plugin that calls itself through functions of C (a callback of string.gsub, coroutines within
 * coroutines) fills C's stack before it comes to LuaJIT's bound, which is an error that can be
 * caught; the end of C's stack is not. What is not used takes no memory. */
static void raise_stack_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) < 0 || limit.rlim_cur >= STACK_SIZE)
        return;
    limit.rlim_cur = limit.rlim_max < STACK_SIZE ? limit.rlim_max : STACK_SIZE;
    setrlimit(RLIMIT_STACK, &limit);
}

/* What the new process does between fork and execution. Signals are blocked here because the
 * supervisor reads them from a descriptor. */
static _Noreturn void become(const struct launch *launch)
{
    char program[] = "veloflux";
    char *argv[] = {program, (char *)launch->role, (char *)launch->slot, NULL};
    sigset_t none;
    sigemptyset(&none);
    if (launch->link == VF_LINK_FD ? fcntl(launch->link, F_SETFD, 0) < 0
                                   : dup2(launch->link, VF_LINK_FD) < 0)
        give_up("link");
    if (launch->change_user)
        drop_privileges(launch);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* binding is our business alone */
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    raise_stack_limit();
    sigprocmask(SIG_SETMASK, &none, NULL);
    execveat(launch->binary_fd, "", argv, environ, AT_EMPTY_PATH);
    give_up("execution");
}

/* The first control reads the conf file with the supervisor's privileges and drops them itself. */
static void choose_user(const struct vf_supervisor *super, struct launch *launch)
{
    if (super->snapshot == NULL || geteuid() != 0)
        return;
    const struct vf_snap_settings *settings = vf_snap_settings(super->snapshot);
    launch->change_user = settings->change_user != 0;
    launch->uid = settings->uid;
    launch->gid = settings->gid;
}

static int fork_child(const struct vf_supervisor *super, struct vf_child *child, int link)
{
    struct launch launch = {.binary_fd = super->binary_fd, .link = link};
    choose_user(super, &launch);
    snprintf(launch.role, sizeof(launch.role), "--role=%s", vf_child_name(child->kind));
    snprintf(launch.slot, sizeof(launch.slot), "--slot=%u", child->slot + 1);
    child->pid = fork();
    if (child->pid == 0)
        become(&launch);
    return child->pid < 0 ? -errno : 0;
}

static void send_start(struct vf_supervisor *super, struct vf_child *child)
{
    struct vf_link_message message;
    vf_link_message_init(&message, VF_LINK_START);
    message.args[0] = (uint64_t)child->block;
    message.args[1] = child->slot;
    message.args[2] = child->generation;
    message.args[3] = VF_LOG_INFO;
    message.args[4] = VF_LOG_AUTO;
    if (super->snapshot != NULL) {
        message.args[3] = vf_snap_settings(super->snapshot)->log_level;
        message.args[4] = vf_snap_settings(super->snapshot)->log_format;
    }
    vf_link_message_fd(&message, super->state_fd);
    if (child->kind == VF_PROCESS_CONTROL) {
        message.args[5] = super->control_mode;
        message.args[6] = super->options.watch;
        vf_link_message_text(&message, super->options.conf);
        if (super->options.conf_fd >= 0)
            vf_link_message_fd(&message, super->options.conf_fd);
    }
    vf_child_send(child, &message);
}

/* Leases a block and marks whose it is. */
static int lease_block(struct vf_supervisor *super, struct vf_child *child)
{
    child->incarnation = ++super->last_incarnation;
    child->block = vf_state_lease(super->state, child->kind, child->slot, child->incarnation);
    if (child->block < 0)
        return -ENOSPC;
    struct vf_state_block *block = &super->state->blocks[child->block];
    block->generation = super->generation;
    block->process.heartbeat_ns = child->started_ns;
    return 0;
}

int vf_child_spawn(struct vf_supervisor *super, enum vf_process_kind kind, uint32_t slot,
                   struct vf_child **out)
{
    int ends[2];
    struct vf_child *child = calloc(1, sizeof(*child));
    if (child == NULL)
        return -ENOMEM;
    child->kind = kind;
    child->slot = slot;
    child->generation = super->generation;
    child->started_ns = vf_clock_ns();
    int rc = vf_link_pair(ends);
    if (rc < 0)
        goto fail;
    child->link = ends[0];
    if ((rc = lease_block(super, child)) < 0)
        goto fail_link;
    rc = fork_child(super, child, ends[1]);
    close(ends[1]);
    ends[1] = -1;
    if (rc < 0)
        goto fail_block;
    super->state->blocks[child->block].pid = child->pid;
    child->next = super->children;
    super->children = child;
    send_start(super, child);
    if (vf_log_overrides()[0] != '\0')
        vf_child_share_log(child);
    vf_child_share_usage(super, child);
    *out = child;
    return 0;

fail_block:
    vf_state_end_lease(super->state, child->block);
fail_link:
    close(ends[0]);
    if (ends[1] >= 0)
        close(ends[1]);
fail:
    free(child);
    return rc;
}

void vf_child_free(struct vf_supervisor *super, struct vf_child *child)
{
    struct vf_child **at = &super->children;
    while (*at != child)
        at = &(*at)->next;
    *at = child->next;
    if (child->link >= 0)
        close(child->link);
    free(child->held);
    free(child);
}

/* --- Talking to it --- */

void vf_child_kill(struct vf_child *child, const char *reason)
{
    if (child->killed_for == NULL)
        child->killed_for = reason;
    kill(child->pid, SIGKILL);
}

void vf_child_send(struct vf_child *child, const struct vf_link_message *message)
{
    if (child->link >= 0 && vf_link_send(child->link, message) == -EAGAIN)
        vf_child_kill(child, "does not read its link");
}

void vf_child_tell(struct vf_child *child, enum vf_link_type type, uint64_t a, uint64_t b)
{
    struct vf_link_message message;
    vf_link_message_init(&message, type);
    message.args[0] = a;
    message.args[1] = b;
    vf_child_send(child, &message);
}

void vf_child_share_log(struct vf_child *child)
{
    struct vf_link_message message;
    vf_link_message_init(&message, VF_LINK_LOG);
    vf_link_message_text(&message, vf_log_overrides());
    vf_child_send(child, &message);
}

void vf_child_share_usage(const struct vf_supervisor *super, struct vf_child *child)
{
    struct vf_link_message message;
    if (super->usage.book == NULL)
        return;
    vf_link_message_init(&message, VF_LINK_USAGE);
    vf_link_message_fd(&message, super->usage.fd);
    vf_child_send(child, &message);
}

void vf_child_prepare(struct vf_child *child, uint64_t version, const struct vf_copies *copies)
{
    bool is_checker = child->kind == VF_PROCESS_CHECKER;
    struct vf_link_message message;
    child->sent_version = version;
    vf_link_message_init(&message, VF_LINK_PREPARE);
    message.args[0] = version;
    vf_link_message_fd(&message, is_checker ? copies->checker : copies->whole);
    vf_child_send(child, &message);
}

void vf_child_drain(struct vf_child *child)
{
    if (child->state == VF_CHILD_LEAVING)
        return;
    child->state = VF_CHILD_LEAVING;
    vf_child_tell(child, VF_LINK_DRAIN, 0, 0);
}

/* --- The sockets it holds --- */

struct vf_held *vf_child_find_socket(const struct vf_child *child, uint64_t socket_id)
{
    for (uint32_t i = 0; i < child->n_held; i++)
        if (child->held[i].socket_id == socket_id)
            return &child->held[i];
    return NULL;
}

static bool has_room_to_hold(struct vf_child *child)
{
    if (child->n_held < child->held_room)
        return true;
    uint32_t room = child->held_room + HELD_ROOM;
    struct vf_held *held = realloc(child->held, room * sizeof(*held));
    if (held == NULL)
        return false;
    child->held = held;
    child->held_room = room;
    return true;
}

bool vf_child_hold(struct vf_child *child, uint64_t socket_id, bool is_released)
{
    if (!has_room_to_hold(child))
        return false;
    child->held[child->n_held++] =
        (struct vf_held){.socket_id = socket_id, .is_released = is_released};
    return true;
}

/* Leaves room for what is not about sockets. */
static bool has_room_to_say(struct vf_child *child)
{
    if (child->link >= 0 && !child->is_full)
        child->is_full = !vf_link_has_room(child->link);
    return !child->is_full;
}

void vf_child_listen(struct vf_child *child, const struct vf_port *port, uint32_t slot)
{
    struct vf_link_message message;
    if (!has_room_to_say(child) || !vf_child_hold(child, vf_port_socket_id(port, slot), false))
        return; /* tried again at the next event */
    vf_link_message_init(&message, VF_LINK_LISTEN);
    message.args[0] = vf_port_socket_id(port, slot);
    message.args[1] = port->kind;
    vf_link_message_fd(&message, port->fds[slot]);
    vf_link_message_text(&message, port->name);
    vf_child_send(child, &message);
}

void vf_child_unlisten(struct vf_child *child, uint64_t socket_id, bool drain_queue)
{
    struct vf_held *held = vf_child_find_socket(child, socket_id);
    if (held == NULL || held->is_released || !has_room_to_say(child))
        return;
    held->is_released = true;
    vf_child_tell(child, VF_LINK_UNLISTEN, socket_id, drain_queue);
}

void vf_child_forget_socket(struct vf_child *child, uint64_t socket_id)
{
    struct vf_held *held = vf_child_find_socket(child, socket_id);
    if (held != NULL)
        *held = child->held[--child->n_held];
}
