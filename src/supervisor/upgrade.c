#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "snapshot/snapshot.h"
#include "supervisor/core.h"
#include "supervisor/handover.h"
#include "supervisor/notify.h"

enum {
    MAX_GENERATIONS = 3,
    PROBE_WAIT_MS = 30000,
    TABLE_FD = VF_PROBE_TABLE_FD, /* where the probe finds the handover table ... */
    CONF_FD = 4                   /* ... and the conf's text, if it is not a file */
};

/* --- Probe --- */

static void reject(const char *why)
{
    vf_log_error(NULL, "upgrade.rejected", "reason=%s", why);
}

static void forget_probe(struct vf_upgrade *upgrade)
{
    vf_timer_stop(&upgrade->super->timers, &upgrade->deadline);
    if (upgrade->binary_fd >= 0)
        close(upgrade->binary_fd);
    if (upgrade->table_fd >= 0)
        close(upgrade->table_fd);
    upgrade->binary_fd = upgrade->table_fd = -1;
    upgrade->probe = 0;
    upgrade->is_passed = false;
}

static uint32_t count_generations(const struct vf_supervisor *super)
{
    uint32_t n = 0;
    for (uint32_t generation = 0; generation <= super->generation; generation++)
        for (const struct vf_child *child = super->children; child != NULL; child = child->next)
            if (child->generation == generation) {
                n++;
                break;
            }
    return n;
}

static const char *obstacle(const struct vf_supervisor *super)
{
    if (super->phase != VF_SUPER_RUNNING)
        return "not running yet, or stopping";
    if (super->upgrade.probe != 0 || super->upgrade.is_passed)
        return "another binary is being probed";
    if (count_generations(super) >= MAX_GENERATIONS)
        return "three generations are running: the oldest still drains";
    return NULL;
}

/* Takes two descriptors to fixed places, whatever numbers they have now. */
static void place_fds(int table_fd, int conf_fd)
{
    int table = fcntl(table_fd, F_DUPFD, CONF_FD + 1);
    int conf = conf_fd >= 0 ? fcntl(conf_fd, F_DUPFD, CONF_FD + 1) : -1;
    dup2(table, TABLE_FD);
    close(table);
    if (conf >= 0) {
        dup2(conf, CONF_FD);
        close(conf);
    }
}

static _Noreturn void become_probe(const struct vf_supervisor *super, int binary_fd, int table_fd)
{
    char program[] = "veloflux", role[] = "--role=probe";
    char *argv[] = {program, role, NULL};
    const struct vf_snap_settings *settings = vf_snap_settings(super->snapshot);
    gid_t gid = settings->gid;
    sigset_t none;
    sigemptyset(&none);
    place_fds(table_fd, super->options.conf_fd);
    if (settings->change_user && geteuid() == 0 &&
        (setgroups(1, &gid) < 0 || setresgid(gid, gid, gid) < 0 ||
         setresuid(settings->uid, settings->uid, settings->uid) < 0))
        _exit(1);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execveat(binary_fd, "", argv, environ, AT_EMPTY_PATH);
    fprintf(stderr, "veloflux: cannot execute %s: %s\n", super->binary_path, strerror(errno));
    _exit(1);
}

static int start_probe(struct vf_supervisor *super)
{
    struct vf_upgrade *upgrade = &super->upgrade;
    int fd = open(super->binary_path, O_PATH | O_CLOEXEC);
    /* beyond the places that become_probe fills */
    upgrade->binary_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, CONF_FD + 1);
    int rc = upgrade->binary_fd < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    if (rc < 0 || (rc = upgrade->table_fd = vf_handover_write(super)) < 0)
        return rc;
    upgrade->probe = fork();
    if (upgrade->probe == 0)
        become_probe(super, upgrade->binary_fd, upgrade->table_fd);
    return upgrade->probe < 0 ? -errno : 0;
}

void vf_upgrade_start(struct vf_supervisor *super)
{
    const char *why = obstacle(super);
    if (why != NULL) {
        reject(why);
        return;
    }
    vf_log_info(NULL, "upgrade.probing", "binary=%s", super->binary_path);
    int rc = start_probe(super);
    if (rc < 0) {
        forget_probe(&super->upgrade);
        reject(strerror(-rc));
        return;
    }
    vf_supervisor_timer(super, &super->upgrade.deadline, PROBE_WAIT_MS);
}

static void on_deadline(struct vf_timer *timer)
{
    kill(VF_OWNER_OF(timer, struct vf_upgrade, deadline)->probe, SIGKILL);
}

bool vf_upgrade_probe_ended(struct vf_supervisor *super, pid_t pid, int status)
{
    struct vf_upgrade *upgrade = &super->upgrade;
    char why[96];
    if (upgrade->probe == 0 || pid != upgrade->probe)
        return false;
    upgrade->probe = 0;
    vf_timer_stop(&super->timers, &upgrade->deadline);
    bool is_ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (is_ok && vf_handover_is_vouched(upgrade->table_fd)) {
        upgrade->is_passed = true;
        return true;
    }
    if (is_ok)
        snprintf(why, sizeof(why), "the new binary is not VeloFlux: it did not answer the probe");
    else if (WIFSIGNALED(status))
        snprintf(why, sizeof(why), "the probe ended by signal %d", WTERMSIG(status));
    else
        snprintf(why, sizeof(why), "the probe ended with exit code %d", WEXITSTATUS(status));
    forget_probe(upgrade);
    reject(why);
    return true;
}

/* --- Execution in place --- */

/* Looks like the command that was given, for those who list processes. */
static void execute(struct vf_supervisor *super, int table_fd)
{
    char program[] = "veloflux", run[] = "run", dash_c[] = "-c", handover[32];
    char *argv[] = {program, run, dash_c, (char *)super->options.conf, handover, NULL};
    snprintf(handover, sizeof(handover), "--handover=%d", table_fd);
    vf_handover_inherit(super, 1);
    fcntl(table_fd, F_SETFD, 0);
    execveat(super->upgrade.binary_fd, "", argv, environ, AT_EMPTY_PATH);
    int rc = errno;
    vf_handover_inherit(super, 0);
    reject(strerror(rc));
}

void vf_upgrade_continue(struct vf_supervisor *super)
{
    if (!super->upgrade.is_passed || super->publish.state != VF_PUBLISH_IDLE)
        return;
    if (super->phase == VF_SUPER_RUNNING) {
        int table_fd = vf_handover_write(super);
        vf_log_info(NULL, "upgrade.executing", "binary=%s generation=%u", super->binary_path,
                    super->generation + 1);
        vf_notify_reloading();
        if (table_fd >= 0) {
            execute(super, table_fd);
            close(table_fd);
        } else {
            reject(strerror(-table_fd));
        }
        vf_notify_ready();
    }
    forget_probe(&super->upgrade);
}

/* --- The next image --- */

/* The blocks of the old children are in an area that this binary cannot read. */
static int renew_state(struct vf_supervisor *super)
{
    vf_log_warn(NULL, "upgrade.state_renewed", "reason=%s",
                "the layout of the state area changed: counters begin anew");
    close(super->state_fd);
    super->state_fd = vf_state_create(&super->state);
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        child->block = -1;
    return super->state_fd < 0 ? super->state_fd : 0;
}

static int map_state(struct vf_supervisor *super)
{
    super->state = vf_state_map(super->state_fd);
    if (super->state == NULL) {
        int rc = renew_state(super);
        if (rc < 0)
            return rc;
        super->state->published_version = super->version;
    }
    super->state->generation = super->generation;
    return 0;
}

/* A snapshot of another layout is of no use, and none is without the tables that it needs: control
 * compiles the model again. */
static void map_snapshot(struct vf_supervisor *super, bool has_tables)
{
    char fault[128];
    int rc = super->copies.whole >= 0 && has_tables
                 ? vf_copies_map(&super->copies, &super->snapshot, fault, sizeof(fault))
                 : -1;
    super->control_mode = VF_LINK_RESUME;
    if (rc == 0) {
        vf_settings_apply(super);
        return;
    }
    super->control_mode = VF_LINK_RECOMPILE;
    vf_copies_close(&super->copies);
}

/* Room for our workers is made when control offers its first snapshot. Without the file nothing is
 * metered, which is better than nothing is served. */
static void adopt_usage(struct vf_supervisor *super)
{
    char fault[PATH_MAX + 128];
    if (vf_usage_file_adopt(&super->usage, super->usage.fd, super->datadir.path, 1, fault,
                            sizeof(fault)) < 0)
        vf_log_error(NULL, "usage.failed", "reason=%s", fault);
}

int vf_upgrade_take_over(struct vf_supervisor *super, int fd)
{
    int rc = vf_handover_read(super, fd, 1);
    close(fd);
    if (rc < 0)
        return rc;
    vf_handover_inherit(super, 0);
    super->generation++;
    super->is_ready = super->is_upgrading = true;
    super->phase = VF_SUPER_RUNNING;
    if ((rc = map_state(super)) < 0)
        return rc;
    adopt_usage(super);
    map_snapshot(super, vf_shelf_check(super));
    return 0;
}

void vf_upgrade_init(struct vf_supervisor *super)
{
    super->upgrade = (struct vf_upgrade){.super = super, .binary_fd = -1, .table_fd = -1};
    super->upgrade.deadline.on_fire = on_deadline;
}

int vf_supervisor_probe(int table_fd, char *conf, size_t conf_bytes, int *conf_fd)
{
    struct vf_supervisor *super = calloc(1, sizeof(*super));
    if (super == NULL)
        return -ENOMEM;
    super->options.conf_fd = -1;
    int rc = vf_handover_read(super, table_fd, 0);
    if (rc == 0)
        snprintf(conf, conf_bytes, "%s", super->options.conf);
    *conf_fd = super->options.conf_fd >= 0 ? CONF_FD : -1;
    free((char *)super->options.conf);
    free((char *)super->options.private_dir);
    free(super);
    return rc;
}

int vf_supervisor_vouch(int table_fd)
{
    return vf_handover_vouch(table_fd);
}
