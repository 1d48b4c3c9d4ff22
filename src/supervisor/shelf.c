/* The tables that the supervisor keeps: it hands them to its children, so that lookups go on
 * whoever dies, and never reads an entry. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "snapshot/table/table.h"
#include "supervisor/core.h"

void vf_shelf_init(struct vf_supervisor *super)
{
    for (uint32_t kind = 0; kind < VF_TABLES; kind++)
        super->shelf[kind] = (struct vf_kept_table){.fds = {-1, -1, -1}};
}

void vf_shelf_drop(struct vf_kept_table *kept)
{
    for (int i = 0; i < VF_KEPT_FDS; i++) {
        if (kept->fds[i] >= 0)
            close(kept->fds[i]);
        kept->fds[i] = -1;
    }
}

static bool is_kept(const struct vf_kept_table *kept)
{
    return kept->fds[VF_KEPT_GENERATION] >= 0;
}

void vf_shelf_close(struct vf_supervisor *super)
{
    for (uint32_t kind = 0; kind < VF_TABLES; kind++)
        vf_shelf_drop(&super->shelf[kind]);
}

/* --- Giving ----------------------------------------------------------------------------------- */

static void give(const struct vf_supervisor *super, struct vf_child *child, uint32_t kind)
{
    const struct vf_kept_table *kept = &super->shelf[kind];
    bool may_write = child->kind == VF_PROCESS_CONTROL;
    struct vf_link_message message;
    if (!is_kept(kept) || child->kind == VF_PROCESS_CHECKER)
        return;
    vf_link_message_init(&message, VF_LINK_TABLE);
    message.args[0] = kind;
    message.args[1] = kept->sequence;
    vf_link_message_fd(&message, kept->fds[VF_KEPT_GENERATION]);
    vf_link_message_fd(&message, kept->fds[may_write ? VF_KEPT_DELTA : VF_KEPT_READER]);
    vf_child_send(child, &message);
}

void vf_shelf_give(const struct vf_supervisor *super, struct vf_child *child)
{
    for (uint32_t kind = 0; kind < VF_TABLES; kind++)
        give(super, child, kind);
}

/* --- Taking ----------------------------------------------------------------------------------- */

/* Can processes of this build read it? */
static int check(uint32_t kind, const int fds[2])
{
    struct vf_table *table;
    int rc = vf_table_open(fds[0], fds[1], &table);
    if (rc < 0)
        return rc;
    if (vf_table_kind(table) != kind)
        rc = -EPROTO;
    vf_table_close(table);
    return rc;
}

/* Returns a descriptor of the same memfd that cannot write, or -errno. */
static int open_reader(int fd)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int reader = open(path, O_RDONLY | O_CLOEXEC);
    return reader < 0 ? -errno : reader;
}

static int take(struct vf_link_message *message, struct vf_kept_table *taken)
{
    taken->sequence = message->args[1];
    taken->fds[VF_KEPT_GENERATION] = vf_link_take_fd(message, 0);
    taken->fds[VF_KEPT_DELTA] = vf_link_take_fd(message, 1);
    if (message->args[0] >= VF_TABLES)
        return -EPROTO;
    int rc = check((uint32_t)message->args[0], taken->fds);
    return rc < 0 ? rc : (taken->fds[VF_KEPT_READER] = open_reader(taken->fds[VF_KEPT_DELTA]));
}

void vf_shelf_offer(struct vf_supervisor *super, struct vf_child *from,
                    struct vf_link_message *message)
{
    uint32_t kind = (uint32_t)message->args[0];
    struct vf_kept_table taken = {.fds = {-1, -1, -1}};
    int rc = take(message, &taken);
    if (rc < 0) {
        vf_log_error(NULL, "table.refused", "table=%u reason=%s", kind, strerror(-rc));
        vf_shelf_drop(&taken);
        vf_child_kill(from, "offers a table that cannot be used");
        return;
    }
    vf_shelf_drop(&super->shelf[kind]);
    super->shelf[kind] = taken;
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        if (child != from)
            give(super, child, kind);
}

bool vf_shelf_check(struct vf_supervisor *super)
{
    bool is_whole = true;
    for (uint32_t kind = 0; kind < VF_TABLES; kind++) {
        struct vf_kept_table *kept = &super->shelf[kind];
        int rc = is_kept(kept) ? check(kind, kept->fds) : 0;
        if (rc == 0)
            continue;
        vf_log_warn(NULL, "upgrade.table_renewed", "table=%u reason=%s", kind, strerror(-rc));
        vf_shelf_drop(kept);
        is_whole = false;
    }
    return is_whole;
}
