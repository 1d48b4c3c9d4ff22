#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/snapshot.h"
#include "supervisor/core.h"
#include "supervisor/notify.h"

enum {
    TICK_MS = 1000,
    MESSAGES = 64,        /* of one child at a time: others, and signals, have their turn */
    LAST_MESSAGES = 4096, /* more than a link holds of a child that has ended */
    FIRST_FREE_FD = 10,   /* our own descriptors stay clear of a child's fixed ones */
    START_FAILED = 1
};

/* --- Time --- */

uint64_t vf_supervisor_now_ms(void)
{
    return vf_clock_ns() / 1000000;
}

void vf_supervisor_timer(struct vf_supervisor *super, struct vf_timer *timer, uint64_t delay_ms)
{
    vf_timer_start(&super->timers, timer, vf_supervisor_now_ms() + delay_ms);
}

static void on_tick(struct vf_timer *timer)
{
    struct vf_supervisor *super = VF_OWNER_OF(timer, struct vf_supervisor, tick);
    vf_crew_check_heartbeats(super);
    vf_supervisor_timer(super, timer, TICK_MS);
}

/* --- Ends --- */

void vf_supervisor_quit(struct vf_supervisor *super, int exit_code)
{
    if (super->phase == VF_SUPER_DONE)
        return;
    super->phase = VF_SUPER_DONE;
    super->exit_code = exit_code;
}

void vf_supervisor_fail_start(struct vf_supervisor *super, const char *why)
{
    vf_log_error(NULL, "start.failed", "reason=%s", why);
    vf_supervisor_quit(super, START_FAILED);
}

void vf_supervisor_reloading(struct vf_supervisor *super, bool has_begun)
{
    if (has_begun == super->is_reloading)
        return;
    super->is_reloading = has_begun;
    if (has_begun)
        vf_notify_reloading();
    else
        vf_notify_ready();
}

/* The first time: drain and stop; again, or before anything was served: stop now. */
static void stop(struct vf_supervisor *super)
{
    if (super->phase == VF_SUPER_RUNNING)
        vf_stop_begin(super);
    else
        vf_supervisor_quit(super, 0);
}

/* --- Links --- */

/* Its link is closed: it has ended (how, wait will say), or is of no use any more. */
static void lose_link(struct vf_child *child)
{
    close(child->link);
    child->link = -1;
    if (child->state != VF_CHILD_LEAVING)
        kill(child->pid, SIGKILL);
}

/* Handles up to `most` messages of a child. */
static void read_link(struct vf_supervisor *super, struct vf_child *child, int most)
{
    struct vf_link_message message;
    int rc = -EAGAIN;
    while (child->link >= 0 && most-- > 0 && (rc = vf_link_receive(child->link, &message)) == 1) {
        vf_crew_message(super, child, &message);
        vf_link_message_deinit(&message);
    }
    if (rc == 0 || (rc < 0 && rc != -EAGAIN && rc != -EBADMSG))
        lose_link(child);
}

/* --- Signals --- */

void vf_supervisor_request_reload(struct vf_supervisor *super)
{
    struct vf_child *control = super->control.child;
    bool is_heard = control != NULL && control->state == VF_CHILD_READY;
    super->is_reload_wanted = !is_heard;
    if (!is_heard)
        return;
    vf_child_tell(control, VF_LINK_RELOAD, ++super->reload_sent, 0);
}

static void request_reload(struct vf_supervisor *super)
{
    super->is_reload_repeated = false;
    vf_supervisor_request_reload(super);
}

static void reopen_logs(struct vf_supervisor *super)
{
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        vf_child_tell(child, VF_LINK_REOPEN, 0, 0);
}

static struct vf_child *find_child(const struct vf_supervisor *super, pid_t pid)
{
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        if (child->pid == pid)
            return child;
    return NULL;
}

/* Returns the number of a child that has ended, which stays to be waited for; 0: there is none. */
static pid_t next_ended(void)
{
    siginfo_t info = {.si_pid = 0};
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ? info.si_pid : 0;
}

/* As process 1 of a container we also inherit strangers, which are reaped and forgotten. What a
 * child said before it ended is heard while its number is still its own. */
static void reap(struct vf_supervisor *super)
{
    int status;
    for (pid_t pid = next_ended(); pid > 0; pid = next_ended()) {
        struct vf_child *child = find_child(super, pid);
        if (child != NULL)
            read_link(super, child, LAST_MESSAGES);
        if (waitpid(pid, &status, 0) != pid)
            return;
        if (child != NULL)
            vf_crew_ended(super, child, status);
        else
            vf_upgrade_probe_ended(super, pid, status);
    }
}

static void on_signal(struct vf_supervisor *super, uint32_t number)
{
    if (number == SIGCHLD)
        reap(super);
    else if (number == SIGTERM || number == SIGINT || number == SIGQUIT)
        stop(super);
    else if (number == SIGHUP)
        request_reload(super);
    else if (number == SIGUSR1)
        reopen_logs(super);
    else if (number == SIGUSR2)
        vf_upgrade_start(super);
}

static void read_signals(struct vf_supervisor *super)
{
    struct signalfd_siginfo info;
    while (read(super->signal_fd, &info, sizeof(info)) == sizeof(info))
        on_signal(super, info.ssi_signo);
}

static int open_signals(void)
{
    static const int handled[] = {SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++)
        sigaddset(&set, handled[i]);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* --- The loop --- */

static int time_to_sleep(const struct vf_supervisor *super)
{
    int64_t next_ms = vf_timers_next(&super->timers, vf_supervisor_now_ms());
    return next_ms < 0 || next_ms > TICK_MS ? TICK_MS : (int)next_ms;
}

static void on_link(struct vf_supervisor *super, struct vf_child *child, short events)
{
    if ((events & POLLOUT) != 0) {
        child->is_full = false;
        super->is_unsettled = true;
    }
    if ((events & ~POLLOUT) != 0)
        read_link(super, child, MESSAGES);
}

static void settle(struct vf_supervisor *super)
{
    super->is_unsettled = false;
    vf_crew_settle(super);
    if (super->phase == VF_SUPER_STOPPING)
        vf_crew_stop(super);
}

static void turn(struct vf_supervisor *super)
{
    struct pollfd fds[1 + VF_STATE_BLOCKS] = {{.fd = super->signal_fd, .events = POLLIN}};
    struct vf_child *children[1 + VF_STATE_BLOCKS];
    nfds_t n = 1;
    for (struct vf_child *child = super->children; child != NULL && n < 1 + VF_STATE_BLOCKS;
         child = child->next) {
        if (child->link < 0)
            continue;
        children[n] = child;
        short events = child->is_full ? POLLIN | POLLOUT : POLLIN;
        fds[n++] = (struct pollfd){.fd = child->link, .events = events};
    }
    if (poll(fds, n, time_to_sleep(super)) > 0) {
        for (nfds_t i = 1; i < n; i++)
            if (fds[i].revents != 0)
                on_link(super, children[i], fds[i].revents);
        if (fds[0].revents != 0)
            read_signals(super);
    }
    if (super->is_unsettled)
        settle(super);
    vf_timers_run(&super->timers, vf_supervisor_now_ms());
    vf_upgrade_continue(super);
}

/* --- Begin and end --- */

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Whoever started us may have closed the standard ones; ours must not take their places. */
static void fill_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO && fcntl(fd, F_SETFD, 0) == 0);
    if (fd > STDERR_FILENO)
        close(fd);
}

static int open_own_image(struct vf_supervisor *super)
{
    int fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    super->binary_fd = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    close(fd);
    ssize_t n = readlink("/proc/self/exe", super->binary_path, sizeof(super->binary_path) - 1);
    if (n < 0 || super->binary_fd < 0)
        return -errno;
    super->binary_path[n] = '\0';
    return 0;
}

static int init(struct vf_supervisor *super)
{
    fill_standard_descriptors();
    vf_log_setup(VF_LOG_INFO, VF_LOG_AUTO, "supervisor");
    vf_timers_init(&super->timers, vf_supervisor_now_ms());
    super->tick.on_fire = on_tick;
    super->woken_ns = vf_clock_ns();
    super->copies = (struct vf_copies){-1, -1};
    super->datadir.lock_fd = super->options.conf_fd = super->usage.fd = -1;
    super->control_mode = VF_LINK_FRESH;
    vf_crew_init(super);
    vf_stop_init(super);
    vf_publish_init(super);
    vf_shelf_init(super);
    vf_upgrade_init(super);
    raise_descriptor_limit();
    int rc = open_own_image(super);
    if (rc == 0 && (rc = super->signal_fd = open_signals()) >= 0)
        rc = 0;
    return rc;
}

static void end_children(struct vf_supervisor *super)
{
    int status;
    if (super->upgrade.probe != 0) {
        kill(super->upgrade.probe, SIGKILL);
        waitpid(super->upgrade.probe, &status, 0);
    }
    while (super->children != NULL) {
        kill(super->children->pid, SIGKILL);
        waitpid(super->children->pid, &status, 0);
        vf_child_free(super, super->children);
    }
}

static void deinit(struct vf_supervisor *super)
{
    end_children(super);
    for (size_t i = 0; i < VF_PORTS_MAX; i++)
        vf_port_shrink(&super->ports.all[i], 0);
    if (super->pid_file[0] != '\0')
        unlink(super->pid_file);
    vf_usage_file_close(&super->usage);
    vf_datadir_close(&super->datadir);
    if (super->options.private_dir != NULL)
        vf_datadir_remove(super->options.private_dir);
    vf_shelf_close(super);
    vf_snapshot_release(&super->publish.snapshot);
    vf_snapshot_release(&super->snapshot);
}

static int run(struct vf_supervisor *super)
{
    vf_supervisor_timer(super, &super->tick, TICK_MS);
    vf_crew_fill(super);
    vf_crew_settle(super);
    while (super->phase != VF_SUPER_DONE)
        turn(super);
    deinit(super);
    if (super->is_ready)
        vf_log_info(NULL, "stopped", "exit_code=%d", super->exit_code);
    return super->exit_code;
}

/* One per process, and large: not on the stack. */
static struct vf_supervisor the_supervisor;

static int explain(const char *what, int rc)
{
    vf_log_error(NULL, "start.failed", "reason=%s err=%s", what, strerror(-rc));
    return START_FAILED;
}

int vf_supervisor_run(const struct vf_supervisor_options *options)
{
    struct vf_supervisor *super = &the_supervisor;
    int rc = init(super);
    super->options = *options;
    super->generation = 1;
    if (rc < 0)
        return explain("init", rc);
    if ((rc = super->state_fd = vf_state_create(&super->state)) < 0)
        return explain("state", rc);
    super->state->started_wall_ms = vf_clock_wall_ms();
    super->state->started_ns = vf_clock_ns();
    super->state->generation = super->generation;
    return run(super);
}

int vf_supervisor_take_over(int table_fd)
{
    struct vf_supervisor *super = &the_supervisor;
    int rc = init(super);
    if (rc == 0)
        rc = vf_upgrade_take_over(super, table_fd);
    if (rc < 0)
        return explain("handover", rc);
    return run(super);
}
