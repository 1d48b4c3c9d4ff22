#include "supervisor/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "supervisor/core.h"

enum { FORMAT = 1, IP_HEX_BYTES = 33 };

/* --- Writing --- */

static void write_text(FILE *out, const char *key, const char *text)
{
    if (text != NULL && text[0] != '\0')
        fprintf(out, "%s %s\n", key, text);
}

static void write_house(FILE *out, const struct vf_supervisor *super)
{
    fprintf(out, "house %" PRIu32 " %" PRIu64 " %" PRIu32 " %" PRIu64 " %d %" PRIu32 "\n",
            super->generation, super->last_incarnation, super->ports.last_id, super->version,
            super->options.watch, super->n_workers);
    fprintf(out, "state %d\nsnapshot %d\nlock %d\nusage %d\nconf_fd %d\n", super->state_fd,
            super->copies.whole, super->datadir.lock_fd, super->usage.fd, super->options.conf_fd);
    write_text(out, "conf", super->options.conf);
    write_text(out, "private_dir", super->options.private_dir);
    write_text(out, "binary", super->binary_path);
    write_text(out, "data_dir", super->datadir.path);
    write_text(out, "pid_file", super->pid_file);
}

static void write_shelf(FILE *out, const struct vf_supervisor *super)
{
    for (uint32_t kind = 0; kind < VF_TABLES; kind++) {
        const struct vf_kept_table *kept = &super->shelf[kind];
        if (kept->fds[VF_KEPT_GENERATION] >= 0)
            fprintf(out, "table %" PRIu32 " %" PRIu64 " %d %d %d\n", kind, kept->sequence,
                    kept->fds[VF_KEPT_GENERATION], kept->fds[VF_KEPT_DELTA],
                    kept->fds[VF_KEPT_READER]);
    }
}

static void write_port(FILE *out, const struct vf_port *port)
{
    char hex[IP_HEX_BYTES];
    for (size_t i = 0; i < sizeof(port->wanted.ip); i++)
        snprintf(hex + 2 * i, 3, "%02x", port->wanted.ip[i]);
    fprintf(out, "port %" PRIu32 " %d %d %" PRIu32 " %u %u %" PRIu32 " %s %s\n", port->id,
            port->kind, port->state, port->wanted.family, port->wanted.port, port->bound.port,
            port->n_open, hex, port->name);
    for (uint32_t slot = 0; slot < port->n_sockets; slot++)
        fprintf(out, "socket %" PRIu32 " %d\n", port->id, port->fds[slot]);
    fprintf(out, "defers %" PRIu32 " %d\n", port->id, port->may_defer);
}

static void write_child(FILE *out, const struct vf_child *child)
{
    fprintf(out,
            "child %ld %d %" PRIu32 " %" PRIu32 " %" PRIu64 " %d %d %d %" PRIu64 " %" PRIu64 "\n",
            (long)child->pid, child->kind, child->slot, child->generation, child->incarnation,
            child->link, child->block, child->state, child->started_ns, child->running_version);
    for (uint32_t i = 0; i < child->n_held; i++)
        fprintf(out, "held %ld %" PRIu64 " %d\n", (long)child->pid, child->held[i].socket_id,
                child->held[i].is_released);
}

int vf_handover_write(const struct vf_supervisor *super)
{
    int fd = memfd_create("veloflux-handover", MFD_CLOEXEC);
    FILE *out = fd >= 0 ? fdopen(dup(fd), "w") : NULL;
    int rc = out == NULL ? -errno : 0;
    if (rc == 0) {
        fprintf(out, "veloflux-handover %d\n", FORMAT);
        write_house(out, super);
        write_shelf(out, super);
        for (size_t i = 0; i < VF_PORTS_MAX; i++)
            if (super->ports.all[i].state != VF_PORT_FREE)
                write_port(out, &super->ports.all[i]);
        for (const struct vf_child *child = super->children; child != NULL; child = child->next)
            write_child(out, child);
        fprintf(out, "end\n");
        rc = fclose(out) == EOF ? -errno : 0;
    }
    if (rc < 0 && fd >= 0)
        close(fd);
    return rc < 0 ? rc : fd;
}

static const char voucher[] = "vouched\n";
enum { VOUCHER_BYTES = sizeof(voucher) - 1 };

int vf_handover_vouch(int fd)
{
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0 || pwrite(fd, voucher, VOUCHER_BYTES, end) != VOUCHER_BYTES)
        return -errno;
    return 0;
}

int vf_handover_is_vouched(int fd)
{
    char last[VOUCHER_BYTES];
    off_t end = lseek(fd, 0, SEEK_END);
    return end >= VOUCHER_BYTES &&
           pread(fd, last, VOUCHER_BYTES, end - VOUCHER_BYTES) == VOUCHER_BYTES &&
           memcmp(last, voucher, VOUCHER_BYTES) == 0;
}

/* --- Reading --- */

static struct vf_port *port_of(struct vf_supervisor *super, uint32_t id)
{
    for (size_t i = 0; i < VF_PORTS_MAX; i++)
        if (super->ports.all[i].state != VF_PORT_FREE && super->ports.all[i].id == id)
            return &super->ports.all[i];
    return NULL;
}

static struct vf_child *child_of(struct vf_supervisor *super, long pid)
{
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        if (child->pid == pid)
            return child;
    return NULL;
}

static bool read_house(struct vf_supervisor *super, const char *fields)
{
    int watch;
    if (sscanf(fields, "%" SCNu32 " %" SCNu64 " %" SCNu32 " %" SCNu64 " %d %" SCNu32,
               &super->generation, &super->last_incarnation, &super->ports.last_id, &super->version,
               &watch, &super->n_workers) != 6)
        return false;
    super->options.watch = watch != 0;
    return super->n_workers <= VF_SLOTS_MAX;
}

static bool read_ip(struct vf_port *port, const char *hex)
{
    unsigned byte;
    for (size_t i = 0; i < sizeof(port->wanted.ip); i++) {
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
            return false;
        port->wanted.ip[i] = (uint8_t)byte;
    }
    memcpy(port->bound.ip, port->wanted.ip, sizeof(port->bound.ip));
    return true;
}

static bool read_port(struct vf_supervisor *super, const char *fields)
{
    uint32_t last_id = super->ports.last_id;
    struct vf_port *port = vf_ports_new(&super->ports);
    char hex[IP_HEX_BYTES];
    unsigned wanted, bound;
    int kind, state, at = 0;
    super->ports.last_id = last_id;
    if (port == NULL ||
        sscanf(fields, "%" SCNu32 " %d %d %" SCNu32 " %u %u %" SCNu32 " %32s %n", &port->id, &kind,
               &state, &port->wanted.family, &wanted, &bound, &port->n_open, hex, &at) != 8 ||
        at == 0 || strlen(hex) != IP_HEX_BYTES - 1 || !read_ip(port, hex))
        return false;
    port->kind = (enum vf_link_socket)kind;
    port->state = (enum vf_port_state)state;
    port->bound.family = port->wanted.family;
    port->wanted.port = (uint16_t)wanted;
    port->bound.port = (uint16_t)bound;
    snprintf(port->name, sizeof(port->name), "%s", fields + at);
    return state == VF_PORT_LIVE || state == VF_PORT_LEAVING;
}

static bool read_socket(struct vf_supervisor *super, const char *fields)
{
    uint32_t id;
    int fd;
    if (sscanf(fields, "%" SCNu32 " %d", &id, &fd) != 2)
        return false;
    struct vf_port *port = port_of(super, id);
    if (port == NULL || port->n_sockets == VF_SLOTS_MAX)
        return false;
    port->fds[port->n_sockets++] = fd;
    port->n_committed = port->n_sockets;
    return true;
}

/* What the sockets of a port do now is said to them once more, whatever it was. */
static bool read_defers(struct vf_supervisor *super, const char *fields)
{
    uint32_t id;
    int may_defer;
    if (sscanf(fields, "%" SCNu32 " %d", &id, &may_defer) != 2)
        return false;
    struct vf_port *port = port_of(super, id);
    if (port == NULL)
        return false;
    port->may_defer = may_defer != 0;
    for (uint32_t slot = 0; slot < port->n_sockets && !port->may_defer; slot++)
        port->deferred |= 1ULL << slot;
    return true;
}

static bool read_child(struct vf_supervisor *super, const char *fields)
{
    struct vf_child *child = calloc(1, sizeof(*child));
    long pid;
    int kind, state;
    if (child == NULL)
        return false;
    child->next = super->children;
    super->children = child;
    if (sscanf(fields, "%ld %d %" SCNu32 " %" SCNu32 " %" SCNu64 " %d %d %d %" SCNu64 " %" SCNu64,
               &pid, &kind, &child->slot, &child->generation, &child->incarnation, &child->link,
               &child->block, &state, &child->started_ns, &child->running_version) != 10)
        return false;
    child->pid = (pid_t)pid;
    child->kind = (enum vf_process_kind)kind;
    child->state = (enum vf_child_state)state;
    return kind >= VF_PROCESS_WORKER && kind <= VF_PROCESS_CHECKER && child->slot < VF_SLOTS_MAX &&
           child->block < VF_STATE_BLOCKS;
}

static bool read_held(struct vf_supervisor *super, const char *fields)
{
    long pid;
    uint64_t socket_id;
    int is_released;
    if (sscanf(fields, "%ld %" SCNu64 " %d", &pid, &socket_id, &is_released) != 3)
        return false;
    struct vf_child *child = child_of(super, pid);
    return child != NULL && vf_child_hold(child, socket_id, is_released != 0);
}

/* A place that this binary does not have stays empty: control makes none for it. */
static bool read_table(struct vf_supervisor *super, const char *fields)
{
    struct vf_kept_table kept;
    uint32_t kind;
    if (sscanf(fields, "%" SCNu32 " %" SCNu64 " %d %d %d", &kind, &kept.sequence,
               &kept.fds[VF_KEPT_GENERATION], &kept.fds[VF_KEPT_DELTA],
               &kept.fds[VF_KEPT_READER]) != 5)
        return false;
    if (kind < VF_TABLES)
        super->shelf[kind] = kept;
    else
        vf_shelf_drop(&kept);
    return true;
}

static bool read_number(const char *fields, int *out)
{
    return sscanf(fields, "%d", out) == 1;
}

static bool read_path(const char *text, char out[PATH_MAX])
{
    return snprintf(out, PATH_MAX, "%s", text) < PATH_MAX;
}

/* Options are borrowed strings elsewhere; these live as long as the process. */
static bool read_option(const char *text, const char **out)
{
    *out = strdup(text);
    return *out != NULL;
}

static bool read_settings(struct vf_supervisor *super, const char *key, const char *fields)
{
    if (strcmp(key, "house") == 0)
        return read_house(super, fields);
    if (strcmp(key, "conf") == 0)
        return read_option(fields, &super->options.conf);
    if (strcmp(key, "private_dir") == 0)
        return read_option(fields, &super->options.private_dir);
    if (strcmp(key, "conf_fd") == 0)
        return read_number(fields, &super->options.conf_fd);
    return true;
}

static bool read_belongings(struct vf_supervisor *super, const char *key, const char *fields)
{
    if (strcmp(key, "state") == 0)
        return read_number(fields, &super->state_fd);
    if (strcmp(key, "snapshot") == 0)
        return read_number(fields, &super->copies.whole);
    if (strcmp(key, "lock") == 0)
        return read_number(fields, &super->datadir.lock_fd);
    if (strcmp(key, "usage") == 0)
        return read_number(fields, &super->usage.fd);
    if (strcmp(key, "binary") == 0)
        return read_path(fields, super->binary_path);
    if (strcmp(key, "data_dir") == 0)
        return read_path(fields, super->datadir.path);
    if (strcmp(key, "pid_file") == 0)
        return read_path(fields, super->pid_file);
    if (strcmp(key, "table") == 0)
        return read_table(super, fields);
    if (strcmp(key, "port") == 0)
        return read_port(super, fields);
    if (strcmp(key, "socket") == 0)
        return read_socket(super, fields);
    if (strcmp(key, "defers") == 0)
        return read_defers(super, fields);
    if (strcmp(key, "child") == 0)
        return read_child(super, fields);
    return strcmp(key, "held") == 0 ? read_held(super, fields) : true;
}

/* Returns 1 at the line `end`, 0 for another, -1 for one that is not understood. */
static int read_line(struct vf_supervisor *super, char *line, int adopt)
{
    char *fields = strchr(line, ' ');
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "end") == 0)
        return 1;
    if (fields == NULL)
        return 0; /* a key of another version */
    *fields++ = '\0';
    return read_settings(super, line, fields) && (!adopt || read_belongings(super, line, fields))
               ? 0
               : -1;
}

int vf_handover_read(struct vf_supervisor *super, int fd, int adopt)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    FILE *in = copy >= 0 ? fdopen(copy, "r") : NULL;
    char *line = NULL;
    size_t room = 0;
    int format = 0, found = 0;
    if (in == NULL)
        return -errno;
    rewind(in);
    if (getline(&line, &room, in) <= 0 || sscanf(line, "veloflux-handover %d", &format) != 1 ||
        format != FORMAT)
        found = -1;
    while (found == 0 && getline(&line, &room, in) > 0)
        found = read_line(super, line, adopt);
    free(line);
    fclose(in);
    return found == 1 && super->options.conf != NULL ? 0 : -EPROTO;
}

/* --- Descriptors --- */

static void inherit_one(int fd, int inherit)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, inherit ? 0 : FD_CLOEXEC);
}

void vf_handover_inherit(const struct vf_supervisor *super, int inherit)
{
    inherit_one(super->state_fd, inherit);
    inherit_one(super->copies.whole, inherit);
    inherit_one(super->datadir.lock_fd, inherit);
    inherit_one(super->usage.fd, inherit);
    inherit_one(super->options.conf_fd, inherit);
    for (uint32_t kind = 0; kind < VF_TABLES; kind++)
        for (int i = 0; i < VF_KEPT_FDS; i++)
            inherit_one(super->shelf[kind].fds[i], inherit);
    for (size_t i = 0; i < VF_PORTS_MAX; i++)
        for (uint32_t slot = 0; slot < super->ports.all[i].n_sockets; slot++)
            inherit_one(super->ports.all[i].fds[slot], inherit);
    for (const struct vf_child *child = super->children; child != NULL; child = child->next)
        inherit_one(child->link, inherit);
}
