/* supervisor/ports.h - the listening sockets that the supervisor holds, and who should serve them.
 * A port is one address with one socket for each worker slot (the admin address and the command
 * line's unix socket have one socket, for control). Ports are tried before a configuration is
 * committed: what the new one needs is bound, and closed again if it is refused.
 *
 *   FREE -> TRIED -> LIVE -> LEAVING -> FREE;  TRIED -> FREE when refused;
 *   LEAVING -> LIVE when the address comes back before it is closed
 *
 * A socket is closed only when no child holds it any more, and only as the last of its port, so
 * that the number of a socket in its reuseport group is always its slot. */
#ifndef VF_SUPERVISOR_PORTS_H
#define VF_SUPERVISOR_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/link.h"
#include "snapshot/layout.h"
#include "supervisor/listening.h"

struct vf_snapshot;

enum { VF_PORTS_MAX = 72, VF_SLOTS_MAX = VF_LISTENING_MEMBERS, VF_PORT_NAME_BYTES = 256 };

enum vf_port_state { VF_PORT_FREE = 0, VF_PORT_TRIED, VF_PORT_LIVE, VF_PORT_LEAVING };

struct vf_port {
    enum vf_port_state state;
    enum vf_link_socket kind;
    uint32_t id;                   /* unique over the supervisor's life */
    uint32_t n_sockets;            /* sockets of the slots 0 .. n_sockets - 1 */
    uint32_t n_committed;          /* of these, how many a refused trial leaves */
    uint32_t n_open;               /* of these, how many are served; the others are closing */
    uint64_t steered;              /* slots that get new connections, as bits; 0: not yet said */
    uint64_t deferred;             /* slots whose sockets wait for first bytes, as bits */
    int fds[VF_SLOTS_MAX];         /* owned */
    struct vf_snap_address wanted; /* as configured: its port may be 0 */
    struct vf_snap_address bound;  /* what the kernel gave */
    char name[VF_PORT_NAME_BYTES]; /* of the listener */
    bool may_defer;                /* its clients speak first: not so where bytes are passed on */
    bool is_tried;                 /* the snapshot on trial has it, as the listener trial_name */
    bool is_renamed;               /* commit changed the name: children listen anew */
    bool is_new;                   /* commit made it live: not logged yet */
    bool trial_may_defer;
    char trial_name[VF_PORT_NAME_BYTES];
};

struct vf_ports {
    struct vf_port all[VF_PORTS_MAX];
    uint32_t last_id;
};

/* Makes the ports of the listeners of `snapshot` exist, with `n_slots` sockets each, beside the
 * present ones. Returns 0, or -errno with nothing changed and a message for people in `fault`
 * ("listeners[0].address: 127.0.0.1:8000 is in use"). Followed by commit or abandon. */
int vf_ports_try(struct vf_ports *ports, const struct vf_snapshot *snapshot, uint32_t n_slots,
                 char *fault, size_t fault_bytes);

/* What was tried is live; live ports that the snapshot has not are LEAVING and refuse connections.
 */
void vf_ports_commit(struct vf_ports *ports);

/* Closes what the trial opened. */
void vf_ports_abandon(struct vf_ports *ports);

/* New connections to `port` are dropped from here on (see vf_listening_refuse), and none is
 * deferred; or they come in again. */
void vf_port_refuse(struct vf_port *port, bool refuse);

/* Sends new connections to the slots whose bits are set; at least one is. */
void vf_port_steer(struct vf_port *port, uint64_t slots);

/* Lets connections to the slots whose bits are set wait for their first bytes, the others not (see
 * vf_listening_defer); none where may_defer is not set. */
void vf_port_defer(struct vf_port *port, uint64_t slots);

/* Closes sockets of `port` from the last down to `n_left`; without any left the port is free. */
void vf_port_shrink(struct vf_port *port, uint32_t n_left);

/* Adds a live port with the one socket `fd`, which it owns. Returns it, or NULL without room. */
struct vf_port *vf_ports_add(struct vf_ports *ports, enum vf_link_socket kind, const char *name,
                             int fd);

/* Returns an unused port with a number of its own, or NULL without room. */
struct vf_port *vf_ports_new(struct vf_ports *ports);

/* Returns the number of a socket on links. */
uint64_t vf_port_socket_id(const struct vf_port *port, uint32_t slot);

#endif
