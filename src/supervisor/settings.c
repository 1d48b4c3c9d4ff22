/* supervisor/settings.c - what the supervisor itself takes from a snapshot: log, pid file,
 * workers. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "snapshot/snapshot.h"
#include "supervisor/core.h"

void vf_settings_text(const struct vf_snapshot *snapshot, struct vf_snap_text text, char *out,
                      size_t size)
{
    struct vf_str view = vf_snap_str(snapshot, text);
    snprintf(out, size, "%.*s", (int)view.len, view.data);
}

void vf_settings_set_up_log(const struct vf_snapshot *snapshot)
{
    const struct vf_snap_settings *settings = vf_snap_settings(snapshot);
    vf_log_setup((enum vf_log_level)settings->log_level, (enum vf_log_format)settings->log_format,
                 "supervisor");
}

static void write_pid_file(struct vf_supervisor *super)
{
    char path[PATH_MAX];
    vf_settings_text(super->snapshot, vf_snap_settings(super->snapshot)->pid_file, path,
                     sizeof(path));
    if (strcmp(path, super->pid_file) == 0)
        return;
    if (super->pid_file[0] != '\0')
        unlink(super->pid_file);
    int rc = path[0] != '\0' ? vf_datadir_write_pid(path) : 0;
    if (rc < 0)
        vf_log_error(NULL, "pid_file.failed", "path=%s reason=%s", path, strerror(-rc));
    snprintf(super->pid_file, sizeof(super->pid_file), "%s", rc < 0 ? "" : path);
}

void vf_settings_apply(struct vf_supervisor *super)
{
    vf_settings_set_up_log(super->snapshot);
    super->n_workers = vf_snap_settings(super->snapshot)->workers;
    write_pid_file(super);
}
