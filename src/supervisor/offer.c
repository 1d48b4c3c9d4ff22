/* supervisor/offer.c - a configuration that control offers: whether it can be, and what has to be
 * there before anybody maps it: the data directory, ports, places for tenants. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/snapshot.h"
#include "supervisor/core.h"

static bool same_text(const struct vf_snapshot *a, struct vf_snap_text text_a,
                      const struct vf_snapshot *b, struct vf_snap_text text_b)
{
    return vf_str_eq(vf_snap_str(a, text_a), vf_snap_str(b, text_b));
}

static int open_datadir(struct vf_supervisor *super, const struct vf_snapshot *snapshot,
                        char *fault)
{
    const struct vf_snap_settings *settings = vf_snap_settings(snapshot);
    bool change_user = settings->change_user && geteuid() == 0;
    char path[PATH_MAX];
    vf_settings_text(snapshot, settings->data_dir, path, sizeof(path));
    int rc = vf_datadir_open(&super->datadir, path, change_user, settings->uid, settings->gid,
                             fault, VF_OFFER_FAULT_BYTES);
    if (rc < 0)
        return rc;
    int fd = vf_datadir_socket(&super->datadir, change_user, settings->uid, settings->gid);
    if (fd < 0 || vf_ports_add(&super->ports, VF_LINK_SOCKET_CLI, "control.sock", fd) == NULL) {
        snprintf(fault, VF_OFFER_FAULT_BYTES, "data_dir: cannot open control.sock: %s",
                 strerror(-fd));
        return fd < 0 ? fd : -ENOSPC;
    }
    return 0;
}

/* Old and new workers count at the same time during an upgrade. */
static uint32_t rows_for(uint32_t n_workers)
{
    return 2 * n_workers + 2;
}

static int open_usage(struct vf_supervisor *super, const struct vf_snapshot *snapshot, char *fault)
{
    const struct vf_snap_settings *settings = vf_snap_settings(snapshot);
    int rc = vf_usage_file_open(&super->usage, super->datadir.path, rows_for(settings->workers),
                                fault, VF_OFFER_FAULT_BYTES);
    if (rc < 0)
        return rc;
    if (settings->change_user && geteuid() == 0)
        vf_usage_file_give(&super->usage, settings->uid, settings->gid);
    if (super->control.child != NULL)
        vf_child_share_usage(super, super->control.child);
    return 0;
}

/* The last step: tenants of what was refused need no place. */
static int enter_tenants(struct vf_supervisor *super, const struct vf_snapshot *snapshot,
                         char *fault)
{
    int rc = super->usage.book == NULL ? open_usage(super, snapshot, fault) : 0;
    if (rc == 0)
        rc = vf_usage_file_enter(&super->usage, snapshot,
                                 rows_for(vf_snap_settings(snapshot)->workers), fault,
                                 VF_OFFER_FAULT_BYTES);
    if (rc < 0)
        vf_ports_abandon(&super->ports);
    return rc;
}

/* What is bound to the running process stays until it is started anew. */
static int keeps_identity(const struct vf_supervisor *super, const struct vf_snapshot *offered,
                          char *fault)
{
    const struct vf_snap_settings *now = vf_snap_settings(super->snapshot);
    const struct vf_snap_settings *next = vf_snap_settings(offered);
    const char *changed = NULL;
    if (!same_text(super->snapshot, now->data_dir, offered, next->data_dir))
        changed = "data_dir";
    else if (now->change_user != next->change_user ||
             (now->change_user && (now->uid != next->uid || now->gid != next->gid)))
        changed = "user";
    if (changed == NULL)
        return 0;
    snprintf(fault, VF_OFFER_FAULT_BYTES, "%s: cannot change while running, restart instead",
             changed);
    return -EINVAL;
}

int vf_offer_accept(struct vf_supervisor *super, uint64_t version, enum vf_link_refusal *refusal,
                    char *fault)
{
    struct vf_publish *publish = &super->publish;
    int rc = vf_copies_map(&publish->copies, &publish->snapshot, fault, VF_OFFER_FAULT_BYTES);
    *refusal = rc < 0 ? VF_LINK_UNABLE : VF_LINK_UNFIT;
    if (rc < 0)
        return rc;
    uint32_t n_workers = vf_snap_settings(publish->snapshot)->workers;
    if (publish->snapshot->version != version || version <= super->version || n_workers == 0 ||
        n_workers > VF_SLOTS_MAX) {
        snprintf(fault, VF_OFFER_FAULT_BYTES,
                 "snapshot: version %llu with %u workers after version %llu",
                 (unsigned long long)version, n_workers, (unsigned long long)super->version);
        return -EINVAL;
    }
    if (super->snapshot == NULL)
        vf_settings_set_up_log(publish->snapshot);
    if (super->datadir.lock_fd < 0)
        rc = open_datadir(super, publish->snapshot, fault);
    else if (super->snapshot != NULL)
        rc = keeps_identity(super, publish->snapshot, fault);
    if (rc < 0)
        return rc;
    rc = vf_ports_try(&super->ports, publish->snapshot, n_workers, fault, VF_OFFER_FAULT_BYTES);
    if (rc < 0)
        return rc;
    *refusal = VF_LINK_UNABLE;
    return enter_tenants(super, publish->snapshot, fault);
}
