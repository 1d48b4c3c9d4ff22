#include "proxy/lending.h"

#include <stdlib.h>
#include <uv.h>

#include "net/socket.h"
#include "proxy/core.h"
#include "proxy/dispatch.h"
#include "proxy/upstream_conn.h"

struct vf_peer *vf_lending_target(struct vf_upstreams *upstreams, const char *address, size_t len)
{
    struct vf_snap_backend target = {.id = vf_dispatch_target_id(address, len),
                                     .slot = VF_STATE_TARGET_SLOT};
    return vf_upstreams_peer(upstreams, &target, vf_str_make(NULL, 0));
}

/* Kept ones */

static void link_kept(struct vf_loan *loan)
{
    struct vf_peer *peer = loan->peer;
    loan->prev = NULL;
    loan->next = peer->loans;
    if (peer->loans != NULL)
        peer->loans->prev = loan;
    else
        peer->loans_tail = loan;
    peer->loans = loan;
    loan->is_kept = true;
    vf_peer_kept_one(peer, 1);
}

static void unlink_kept(struct vf_loan *loan)
{
    struct vf_peer *peer = loan->peer;
    if (loan->prev != NULL)
        loan->prev->next = loan->next;
    else
        peer->loans = loan->next;
    if (loan->next != NULL)
        loan->next->prev = loan->prev;
    else
        peer->loans_tail = loan->prev;
    loan->is_kept = false;
    vf_peer_kept_one(peer, -1);
}

/* The socket closes. One that is kept is nobody else's. */
static void on_socket_end(void *owner)
{
    struct vf_loan *loan = owner;
    if (loan->is_kept) {
        unlink_kept(loan);
        vf_socket_free(loan->socket);
    }
    vf_peer_closed(loan->peer);
    free(loan);
}

void vf_loan_close(struct vf_loan *loan)
{
    vf_socket_close(loan->socket);
}

/* Kept ones whose TLS is another than what is wanted by now. */
static void drop_others(struct vf_peer *peer, uint64_t tls_id)
{
    while (peer->loans != NULL && peer->loans->tls_id != tls_id)
        vf_loan_close(peer->loans);
}

/* Lending */

static bool note(struct vf_peer *peer, struct vf_socket *socket, uint64_t tls_id)
{
    struct vf_loan *loan = calloc(1, sizeof(*loan));
    if (loan == NULL)
        return false;
    loan->peer = peer;
    loan->socket = socket;
    loan->tls_id = tls_id;
    vf_socket_on_end(socket, on_socket_end, loan);
    return true;
}

/* Makes a socket of a connection that an exchange had. */
static struct vf_socket *take_from_exchanges(struct vf_peer *peer, struct vf_sockets *sockets,
                                             uint64_t tls_id)
{
    struct vf_upstream_conn *up = vf_peer_find_idle(peer, tls_id, false);
    struct vf_socket *socket = up != NULL ? vf_socket_new(sockets) : NULL;
    if (socket == NULL || !note(peer, socket, tls_id)) {
        vf_socket_free(socket);
        return NULL;
    }
    vf_peer_take_idle(up);
    int rc = vf_socket_take_over(socket, &up->stream);
    vf_upstream_bury(up);
    if (rc == 0)
        return socket;
    vf_socket_free(socket);
    return NULL;
}

struct vf_socket *vf_lend_kept(struct vf_peer *peer, struct vf_sockets *sockets, uint64_t tls_id)
{
    drop_others(peer, tls_id);
    struct vf_loan *loan = peer->loans;
    struct vf_socket *socket;
    if (loan != NULL) {
        unlink_kept(loan);
        vf_socket_unpark(loan->socket);
        socket = loan->socket;
    } else if ((socket = take_from_exchanges(peer, sockets, tls_id)) == NULL) {
        return NULL;
    }
    vf_count_add(&vf_peer_counters(peer)->reused, 1);
    vf_peer_show(peer);
    return socket;
}

void vf_lend_new(struct vf_peer *peer, struct vf_socket *socket, uint64_t tls_id)
{
    vf_count_add(&vf_peer_counters(peer)->connects, 1);
    if (note(peer, socket, tls_id))
        vf_peer_opened(peer);
}

bool vf_lending_make_room(struct vf_upstreams *upstreams)
{
    for (unsigned n = 0; n < VF_PEER_BUCKETS; n++) {
        unsigned bucket = upstreams->oldest_bucket++ % VF_PEER_BUCKETS;
        for (struct vf_peer *peer = upstreams->buckets[bucket]; peer != NULL; peer = peer->next)
            if (peer->loans_tail != NULL) {
                vf_loan_close(peer->loans_tail);
                return true;
            }
    }
    return false;
}

void vf_lend_failed(struct vf_peer *peer)
{
    vf_count_add(&vf_peer_counters(peer)->connect_failures, 1);
}

void vf_lend_back(struct vf_socket *socket, uint64_t idle_ms)
{
    struct vf_loan *loan = vf_socket_end_owner(socket);
    struct vf_peer *peer = loan != NULL ? loan->peer : NULL;
    if (peer == NULL || !vf_peer_may_keep(peer) || vf_socket_park(socket, idle_ms) < 0) {
        vf_socket_free(socket);
        return;
    }
    link_kept(loan);
    vf_peer_bound_kept(peer);
    vf_peer_show(peer);
}

/* To exchanges */

struct vf_upstream_conn *vf_loan_take(struct vf_peer *peer, uint64_t tls_id)
{
    drop_others(peer, tls_id);
    while (peer->loans != NULL) {
        struct vf_loan *loan = peer->loans;
        struct vf_upstream_conn *up = vf_upstream_new(peer);
        if (up == NULL)
            return NULL;
        unlink_kept(loan);
        vf_socket_unpark(loan->socket);
        int rc = vf_socket_hand_over(loan->socket, &up->stream, &vf_upstream_events);
        if (rc == 0) /* the connection goes on */
            vf_socket_on_end(loan->socket, NULL, NULL);
        vf_socket_free(loan->socket); /* else it ends here */
        if (rc == 0) {
            up->tls_id = tls_id;
            free(loan);
            return up;
        }
        vf_upstream_bury(up);
    }
    return NULL;
}
