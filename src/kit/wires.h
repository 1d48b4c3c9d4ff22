/* kit/wires.h - what a plugin under test has instead of a network: pairs of connected sockets in
 * this process. One end of a wire is the proxy's, the other the spec's: a client, or a host that
 * was made known under a name. Whoever connects to anybody else is refused, and no other name has
 * an address.
 *
 * The spec's ends are plain descriptors that do not block; see vf_wire_read. */
#ifndef VF_KIT_WIRES_H
#define VF_KIT_WIRES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/outside.h"

enum {
    VF_WIRES_HOSTS = 256,
    VF_WIRES_HOST_BYTES = 254,
    VF_WIRES_ARRIVALS = 1024,
    VF_WIRES_ENDS = 8192 /* open at once */
};

enum vf_wire_mode {
    VF_WIRE_ACCEPTS = 0,
    VF_WIRE_REFUSES,
    VF_WIRE_HANGS /* connecting never ends */
};

struct vf_wires_host {
    char name[VF_WIRES_HOST_BYTES]; /* a name, an address, or the path of a unix socket */
    int port;                       /* 0: any */
    enum vf_wire_mode mode;
};

/* A connection of the proxy's to a host. */
struct vf_wire_arrival {
    int fd; /* the host's end */
    int port;
    int is_datagram;
    char host[VF_WIRES_HOST_BYTES]; /* as the connection was asked for */
};

/* An end of the spec's, and what is known of the other. */
struct vf_wires_end {
    int fd;
    int other;      /* the proxy's descriptor, unless it was closed: then it may be another file */
    uint64_t inode; /* of what it was */
};

struct vf_wires {
    struct vf_outside outside;
    struct vf_wires_host hosts[VF_WIRES_HOSTS];
    size_t n_hosts;
    struct vf_wire_arrival arrivals[VF_WIRES_ARRIVALS]; /* not fetched yet: a ring */
    size_t first, n_arrivals;
    int hanging[VF_WIRES_ARRIVALS]; /* ends of connections that never stand */
    size_t n_hanging;
    struct vf_wires_end ends[VF_WIRES_ENDS];
    size_t n_ends;
};

/* Takes the place of the network until deinit. `wires` is the caller's, and large. */
void vf_wires_init(struct vf_wires *wires);

/* Closes what was not fetched and gives the network back. */
void vf_wires_deinit(struct vf_wires *wires);

/* Makes a host known, or says anew how it answers. Returns 0, UV_ENAMETOOLONG or UV_ENOSPC. */
int vf_wires_host(struct vf_wires *wires, const char *name, int port, enum vf_wire_mode mode);

/* Fetches the oldest connection that a host has got. Returns false when there is none. */
bool vf_wires_arrival(struct vf_wires *wires, struct vf_wire_arrival *out);

/* Makes a wire that does not block; fds[0] is for the proxy. Returns 0 or UV_E*. */
int vf_wires_open(struct vf_wires *wires, int type, int fds[2]);

/* Reads up to `room` bytes, or a datagram. Returns how many, 0 at the end, UV_EAGAIN,
 * UV_ECONNRESET or another UV_E*. */
ssize_t vf_wire_read(int fd, char *buffer, size_t room);

/* Writes what there is room for. Returns how many bytes, or UV_E*. */
ssize_t vf_wire_write(int fd, const char *data, size_t len);

/* The peer sees the end of file; it may go on sending. */
void vf_wire_finish(int fd);

/* Closes the spec's end; with `reset` the proxy finds its connection broken off. */
void vf_wires_close(struct vf_wires *wires, int fd, bool reset);

#endif
