#include "supervisor/ports.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/snapshot.h"

enum { SLOT_BITS = 8 };

/* A listener of the snapshot on trial, and where messages say it stands. */
struct wanted {
    const struct vf_snap_listener *listener;
    struct vf_str name;
    char path[40]; /* "listeners[0].address" */
};

uint64_t vf_port_socket_id(const struct vf_port *port, uint32_t slot)
{
    return (uint64_t)port->id << SLOT_BITS | slot;
}

struct vf_port *vf_ports_new(struct vf_ports *ports)
{
    for (size_t i = 0; i < VF_PORTS_MAX; i++) {
        struct vf_port *port = &ports->all[i];
        if (port->state != VF_PORT_FREE)
            continue;
        memset(port, 0, sizeof(*port));
        port->id = ++ports->last_id;
        return port;
    }
    return NULL;
}

struct vf_port *vf_ports_add(struct vf_ports *ports, enum vf_link_socket kind, const char *name,
                             int fd)
{
    struct vf_port *port = vf_ports_new(ports);
    if (port == NULL)
        return NULL;
    port->state = VF_PORT_LIVE;
    port->kind = kind;
    port->fds[0] = fd;
    port->n_sockets = port->n_committed = port->n_open = 1;
    snprintf(port->name, sizeof(port->name), "%s", name);
    return port;
}

static uint32_t sockets_needed(const struct vf_port *port, uint32_t n_slots)
{
    return port->kind == VF_LINK_SOCKET_PROXY ? n_slots : 1;
}

static bool is_named(const struct vf_port *port, struct vf_str name)
{
    return vf_str_eq(vf_str_from(port->name), name);
}

/* A port serves a listener when the address is the same; "any port" belongs to its listener. */
static bool serves(const struct vf_port *port, const struct wanted *wanted)
{
    bool is_admin = wanted->listener->kind == VF_LISTENER_ADMIN;
    if (port->state == VF_PORT_FREE || port->is_tried ||
        port->kind != (is_admin ? VF_LINK_SOCKET_ADMIN : VF_LINK_SOCKET_PROXY))
        return false;
    return vf_listening_same(&port->wanted, &wanted->listener->address) &&
           (port->wanted.port != 0 || is_named(port, wanted->name));
}

static struct vf_port *find_serving(struct vf_ports *ports, const struct wanted *wanted)
{
    for (size_t i = 0; i < VF_PORTS_MAX; i++)
        if (serves(&ports->all[i], wanted))
            return &ports->all[i];
    return NULL;
}

/* Our own sockets on the same port number, say on another address of the machine, are in the way
 * of a probe but not of the real thing. */
static bool has_port_number(const struct vf_ports *ports, uint16_t number)
{
    for (size_t i = 0; i < VF_PORTS_MAX; i++)
        if (ports->all[i].state != VF_PORT_FREE && ports->all[i].kind != VF_LINK_SOCKET_CLI &&
            ports->all[i].bound.port == number)
            return true;
    return false;
}

/* Two listeners on one address would share its connections by chance. */
static bool is_wanted_twice(const struct vf_ports *ports, const struct vf_snap_address *address)
{
    for (size_t i = 0; i < VF_PORTS_MAX; i++)
        if (ports->all[i].is_tried && address->port != 0 &&
            vf_listening_same(&ports->all[i].wanted, address))
            return true;
    return false;
}

static int first_socket(struct vf_ports *ports, const struct wanted *wanted, struct vf_port **out)
{
    const struct vf_snap_address *address = &wanted->listener->address;
    struct vf_snap_address bound;
    int rc = has_port_number(ports, address->port) ? 0 : vf_listening_probe(address);
    if (rc < 0)
        return rc;
    struct vf_port *port = vf_ports_new(ports);
    if (port == NULL)
        return -ENOSPC;
    int fd = vf_listening_open(address, &bound);
    if (fd < 0)
        return fd;
    vf_listening_steer(fd, (uint8_t[]){0}, 1); /* the next members wait until they are named */
    port->state = VF_PORT_TRIED;
    port->kind =
        wanted->listener->kind == VF_LISTENER_ADMIN ? VF_LINK_SOCKET_ADMIN : VF_LINK_SOCKET_PROXY;
    port->wanted = *address;
    port->bound = bound;
    port->fds[0] = fd;
    port->n_sockets = 1;
    *out = port;
    return 0;
}

static int more_sockets(struct vf_port *port, uint32_t n_needed)
{
    struct vf_snap_address bound;
    while (port->n_sockets < n_needed) {
        int fd = vf_listening_open(&port->bound, &bound);
        if (fd < 0)
            return fd;
        port->fds[port->n_sockets++] = fd;
    }
    return 0;
}

static int try_one(struct vf_ports *ports, const struct wanted *wanted, uint32_t n_slots)
{
    struct vf_port *port = find_serving(ports, wanted);
    if (wanted->name.len >= VF_PORT_NAME_BYTES)
        return -ENAMETOOLONG;
    if (is_wanted_twice(ports, &wanted->listener->address))
        return -EADDRINUSE;
    if (port == NULL) {
        int rc = first_socket(ports, wanted, &port);
        if (rc < 0)
            return rc;
    }
    port->is_tried = true;
    port->trial_may_defer = wanted->listener->mode != VF_LISTENER_TCP;
    memcpy(port->trial_name, wanted->name.data, wanted->name.len);
    port->trial_name[wanted->name.len] = '\0';
    return more_sockets(port, sockets_needed(port, n_slots));
}

static void explain(const struct wanted *wanted, int rc, char *fault, size_t fault_bytes)
{
    char address[VF_LISTENING_TEXT_BYTES];
    vf_listening_format(&wanted->listener->address, address);
    snprintf(fault, fault_bytes, "%s: %s %s", wanted->path, address, vf_listening_fault(rc));
}

int vf_ports_try(struct vf_ports *ports, const struct vf_snapshot *snapshot, uint32_t n_slots,
                 char *fault, size_t fault_bytes)
{
    uint32_t n_proxy = 0;
    for (uint32_t i = 0; i < vf_snap_count(snapshot, VF_SNAP_LISTENERS); i++) {
        struct wanted wanted = {.listener = vf_snap_listener(snapshot, i)};
        wanted.name = vf_snap_str(snapshot, wanted.listener->name);
        if (wanted.listener->kind == VF_LISTENER_ADMIN)
            snprintf(wanted.path, sizeof(wanted.path), "admin.address");
        else
            snprintf(wanted.path, sizeof(wanted.path), "listeners[%u].address", n_proxy++);
        int rc = try_one(ports, &wanted, n_slots);
        if (rc < 0) {
            explain(&wanted, rc, fault, fault_bytes);
            vf_ports_abandon(ports);
            return rc;
        }
    }
    return 0;
}

void vf_port_refuse(struct vf_port *port, bool refuse)
{
    for (uint32_t slot = 0; slot < port->n_sockets; slot++)
        vf_listening_refuse(port->fds[slot], refuse);
    if (refuse)
        vf_port_defer(port, 0);
}

static void commit_one(struct vf_port *port)
{
    if (port->state == VF_PORT_LEAVING)
        vf_port_refuse(port, false);
    port->is_new = port->state != VF_PORT_LIVE;
    port->is_renamed = strcmp(port->name, port->trial_name) != 0;
    port->state = VF_PORT_LIVE;
    port->n_committed = port->n_open = port->n_sockets;
    port->is_tried = false;
    port->may_defer = port->trial_may_defer;
    memcpy(port->name, port->trial_name, sizeof(port->name));
}

void vf_ports_commit(struct vf_ports *ports)
{
    for (size_t i = 0; i < VF_PORTS_MAX; i++) {
        struct vf_port *port = &ports->all[i];
        if (port->is_tried) {
            commit_one(port);
        } else if (port->state == VF_PORT_LIVE && port->kind != VF_LINK_SOCKET_CLI) {
            port->state = VF_PORT_LEAVING;
            vf_port_refuse(port, true);
        }
    }
}

void vf_ports_abandon(struct vf_ports *ports)
{
    for (size_t i = 0; i < VF_PORTS_MAX; i++) {
        struct vf_port *port = &ports->all[i];
        port->is_tried = false;
        if (port->state == VF_PORT_TRIED)
            vf_port_shrink(port, 0);
        else if (port->state != VF_PORT_FREE)
            vf_port_shrink(port, port->n_committed);
    }
}

void vf_port_steer(struct vf_port *port, uint64_t slots)
{
    uint8_t members[VF_SLOTS_MAX];
    size_t n = 0;
    if (slots == port->steered)
        return;
    for (uint32_t slot = 0; slot < port->n_sockets; slot++)
        if (slots >> slot & 1)
            members[n++] = (uint8_t)slot;
    if (vf_listening_steer(port->fds[0], members, n) == 0)
        port->steered = slots;
}

void vf_port_defer(struct vf_port *port, uint64_t slots)
{
    if (!port->may_defer)
        slots = 0;
    for (uint32_t slot = 0; slot < port->n_sockets; slot++) {
        uint64_t bit = 1ULL << slot;
        if (((slots ^ port->deferred) & bit) != 0 &&
            vf_listening_defer(port->fds[slot], (slots & bit) != 0) == 0)
            port->deferred ^= bit;
    }
}

void vf_port_shrink(struct vf_port *port, uint32_t n_left)
{
    while (port->n_sockets > n_left) {
        close(port->fds[--port->n_sockets]);
        port->deferred &= ~(1ULL << port->n_sockets);
    }
    if (port->n_committed > n_left)
        port->n_committed = n_left;
    if (port->n_open > n_left)
        port->n_open = n_left;
    if (port->n_sockets == 0)
        port->state = VF_PORT_FREE;
}
