#include "proxy/tunnel.h"

#include <assert.h>

#include "http/method.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "proxy/labels.h"

void vf_tunnel_begin(struct vf_exchange *ex, struct vf_str protocol, const struct vf_fields *fields,
                     void *tunnel)
{
    assert(ex->handled && ex->client != NULL && tunnel != NULL);
    ex->tunnel = tunnel;
    ex->is_tunnel = true;
    ex->is_local = true;
    ex->request_state = VF_FLOW_BODY;
    ex->response_state = VF_FLOW_BODY;
    ex->response.status = 101;
    ex->response.reason = vf_status_reason(101);
    ex->response.connection_upgrade = protocol;
    ex->response.fields = *fields;
    vf_count_add(&ex->proxy->block->process.tunnels, 1);
    vf_client_send_head(ex);
    vf_labels_unpin(ex);
    vf_client_resume(ex);
}

void vf_tunnel_send(struct vf_exchange *ex, struct vf_str slice)
{
    vf_client_send_data(ex, slice);
}

bool vf_tunnel_is_blocked(const struct vf_exchange *ex)
{
    return vf_client_is_blocked(ex);
}

void vf_tunnel_hold(struct vf_exchange *ex, bool is_held)
{
    if (ex->tunnel_held == is_held)
        return;
    ex->tunnel_held = is_held;
    if (!is_held)
        vf_client_resume(ex);
}

/* The handler has taken its leave: nothing is told to it any more. */
static void detach(struct vf_exchange *ex)
{
    ex->tunnel = NULL;
    ex->handled = false;
}

void vf_tunnel_end(struct vf_exchange *ex)
{
    detach(ex);
    ex->response_state = VF_FLOW_DONE;
    vf_client_send_end(ex, NULL);
}

void vf_tunnel_cut(struct vf_exchange *ex, const char *reason)
{
    detach(ex);
    vf_client_close(ex, reason);
}
