/* net/outside.h - the way out of this process: each connection that it makes begins here, each name
 * that it asks for is looked up here. Another outside may be put in place of the network, for the
 * whole process and before there is a loop: the plugin kit does, whose specs bring their own. */
#ifndef VF_NET_OUTSIDE_H
#define VF_NET_OUTSIDE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

struct vf_outside {
    void *owner; /* passed back as the first argument */
    /* As vf_outside_connect. */
    int (*connect)(void *owner, int type, const struct sockaddr_storage *address);
    /* Finds the address of a name, in lower case. Returns false when there is none. */
    bool (*lookup)(void *owner, const char *name, struct in_addr *out);
};

/* Begins a connection to `address` of `len` bytes: a socket of `type` (SOCK_STREAM, SOCK_DGRAM)
 * that does not block and is closed on exec; TCP sends at once. Returns the descriptor, which the
 * caller owns and whose connection may be under way, or UV_E*. */
int vf_outside_connect(int type, const struct sockaddr_storage *address, socklen_t len);

/* Uses `outside`, borrowed, from here on; NULL: the network. */
void vf_outside_replace(const struct vf_outside *outside);

/* Returns what was put in place of the network, or NULL. */
const struct vf_outside *vf_outside_replaced(void);

#endif
