/* supervisor/stop.c - the way to the end: nobody is let in any more, those who were on the way are,
 * and then the crew drains. */
#include "base/log.h"
#include "supervisor/core.h"
#include "supervisor/notify.h"

enum {
    /* It is asked whether handshakes are under way: soon, since mostly none is, and then now and
     * again, since the kernel goes through all its connections to answer. */
    FIRST_MS = 10,
    AGAIN_MS = 100,
};

static bool is_served(const struct vf_port *port)
{
    return port->kind == VF_LINK_SOCKET_PROXY &&
           (port->state == VF_PORT_LIVE || port->state == VF_PORT_LEAVING);
}

/* A kernel that does not say may have some. */
static bool is_anybody_awaited(const struct vf_supervisor *super)
{
    for (size_t i = 0; i < VF_PORTS_MAX; i++) {
        const struct vf_port *port = &super->ports.all[i];
        if (is_served(port) && vf_listening_is_awaited(&port->bound) != 0)
            return true;
    }
    return false;
}

/* The queues are emptied when everybody who was on the way is in them. */
static void on_stop_grace(struct vf_timer *timer)
{
    struct vf_supervisor *super = VF_OWNER_OF(timer, struct vf_supervisor, stop_grace);
    if (vf_supervisor_now_ms() < super->stop_due_ms && is_anybody_awaited(super)) {
        vf_supervisor_timer(super, timer, AGAIN_MS);
        return;
    }
    super->is_stop_sent = true;
    vf_crew_stop(super);
}

static void refuse_connections(struct vf_supervisor *super)
{
    for (size_t i = 0; i < VF_PORTS_MAX; i++) {
        struct vf_port *port = &super->ports.all[i];
        if (is_served(port))
            vf_port_refuse(port, true);
    }
}

void vf_stop_begin(struct vf_supervisor *super)
{
    if (super->phase != VF_SUPER_RUNNING)
        return;
    super->phase = VF_SUPER_STOPPING;
    super->state->stopping = 1;
    vf_log_info(NULL, "stopping", "version=%llu", (unsigned long long)super->version);
    vf_notify("STOPPING=1");
    refuse_connections(super);
    super->stop_due_ms = vf_supervisor_now_ms() + VF_LISTENING_SETTLE_MS;
    vf_supervisor_timer(super, &super->stop_grace, FIRST_MS);
}

void vf_stop_init(struct vf_supervisor *super)
{
    super->stop_grace.on_fire = on_stop_grace;
}
