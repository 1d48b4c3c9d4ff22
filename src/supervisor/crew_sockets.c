/* Who serves which socket, and which sockets are closed. */
#include "supervisor/core.h"
#include "supervisor/crew_parts.h"

static bool holds_post(struct vf_supervisor *super, const struct vf_child *child)
{
    return vf_crew_post(super, child->kind, child->slot)->child == child;
}

/* Returns the newest READY child of a kind and slot, whether it holds the post or is to leave. */
static struct vf_child *ready_child(const struct vf_supervisor *super, enum vf_process_kind kind,
                                    uint32_t slot)
{
    struct vf_child *found = NULL;
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        if (child->kind == kind && child->slot == slot && child->state == VF_CHILD_READY &&
            (found == NULL || child->incarnation > found->incarnation))
            found = child;
    return found;
}

/* A slot without a worker lends its sockets to the next slot that has one. */
static struct vf_child *sibling(const struct vf_supervisor *super, uint32_t slot)
{
    for (uint32_t i = 1; i < VF_SLOTS_MAX; i++) {
        struct vf_child *child = ready_child(super, VF_PROCESS_WORKER, (slot + i) % VF_SLOTS_MAX);
        if (child != NULL)
            return child;
    }
    return NULL;
}

static struct vf_child *server_of(const struct vf_supervisor *super, const struct vf_port *port,
                                  uint32_t slot)
{
    if (slot >= port->n_open)
        return NULL;
    if (port->kind != VF_LINK_SOCKET_PROXY)
        return ready_child(super, VF_PROCESS_CONTROL, 0);
    struct vf_child *child = ready_child(super, VF_PROCESS_WORKER, slot);
    return child != NULL ? child : sibling(super, slot);
}

static void settle_socket(struct vf_supervisor *super, struct vf_port *port, uint32_t slot)
{
    uint64_t id = vf_port_socket_id(port, slot);
    struct vf_child *server = server_of(super, port, slot);
    bool is_closing = slot >= port->n_open;
    if (server != NULL && vf_child_find_socket(server, id) == NULL)
        vf_child_listen(server, port, slot);
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        if (child != server || port->is_renamed)
            vf_child_unlisten(child, id, is_closing);
}

static uint64_t all_slots(uint32_t n_slots)
{
    return UINT64_MAX >> (VF_SLOTS_MAX - n_slots);
}

static uint64_t slots_with_worker(const struct vf_supervisor *super, uint32_t n_slots)
{
    uint64_t slots = 0;
    for (uint32_t slot = 0; slot < n_slots; slot++)
        if (ready_child(super, VF_PROCESS_WORKER, slot) != NULL)
            slots |= 1ULL << slot;
    return slots != 0 ? slots : all_slots(n_slots);
}

static void steer(struct vf_supervisor *super, struct vf_port *port)
{
    uint32_t n_slots = port->n_open < super->n_workers ? port->n_open : super->n_workers;
    if (port->kind != VF_LINK_SOCKET_PROXY || port->state != VF_PORT_LIVE || n_slots == 0)
        return;
    vf_port_steer(port, slots_with_worker(super, n_slots));
    vf_port_defer(port, all_slots(n_slots)); /* no more where one is steered away from for good */
}

static bool is_held(const struct vf_supervisor *super, uint64_t socket_id)
{
    for (const struct vf_child *child = super->children; child != NULL; child = child->next)
        if (vf_child_find_socket(child, socket_id) != NULL)
            return true;
    return false;
}

static void close_unheld(struct vf_supervisor *super, struct vf_port *port)
{
    while (port->n_sockets > port->n_open &&
           !is_held(super, vf_port_socket_id(port, port->n_sockets - 1)))
        vf_port_shrink(port, port->n_sockets - 1);
}

static bool is_to_close(const struct vf_supervisor *super, const struct vf_port *port)
{
    return port->state == VF_PORT_LEAVING ||
           (port->state == VF_PORT_LIVE && port->kind == VF_LINK_SOCKET_PROXY &&
            port->n_open > super->n_workers);
}

/* Who was on the way is in the queues by now: who serves them empties them. */
void vf_crew_on_close_grace(struct vf_timer *timer)
{
    struct vf_supervisor *super = VF_OWNER_OF(timer, struct vf_supervisor, close_grace);
    if (sibling(super, 0) == NULL && ready_child(super, VF_PROCESS_WORKER, 0) == NULL)
        return; /* settle starts the timer again when somebody can */
    for (size_t i = 0; i < VF_PORTS_MAX; i++) {
        struct vf_port *port = &super->ports.all[i];
        if (is_to_close(super, port))
            port->n_open = port->state == VF_PORT_LEAVING ? 0 : super->n_workers;
    }
    vf_crew_settle(super);
}

/* Has the slot no socket left that is open? */
static bool is_slot_closed(const struct vf_supervisor *super, uint32_t slot)
{
    for (size_t i = 0; i < VF_PORTS_MAX; i++) {
        const struct vf_port *port = &super->ports.all[i];
        if (port->state != VF_PORT_FREE && port->kind == VF_LINK_SOCKET_PROXY &&
            port->n_open > slot)
            return false;
    }
    return true;
}

/* A READY child without post leaves when its successor is READY, or its slot is closed. */
static void let_go(struct vf_supervisor *super, struct vf_child *child)
{
    if (child->state != VF_CHILD_READY || child->is_full || holds_post(super, child))
        return;
    struct vf_post *post = vf_crew_post(super, child->kind, child->slot);
    if (post->is_wanted ? vf_crew_is_filled(post)
                        : is_slot_closed(super, child->slot) && sibling(super, child->slot) != NULL)
        vf_child_drain(child);
}

void vf_crew_settle(struct vf_supervisor *super)
{
    bool any_to_close = false;
    if (super->phase >= VF_SUPER_STOPPING)
        return;
    for (size_t i = 0; i < VF_PORTS_MAX; i++) {
        struct vf_port *port = &super->ports.all[i];
        if (port->state != VF_PORT_LIVE && port->state != VF_PORT_LEAVING)
            continue;
        for (uint32_t slot = 0; slot < port->n_sockets; slot++)
            settle_socket(super, port, slot);
        port->is_renamed = false;
        steer(super, port);
        any_to_close = any_to_close || is_to_close(super, port);
        close_unheld(super, port);
    }
    if (any_to_close && !vf_timer_is_running(&super->close_grace))
        vf_supervisor_timer(super, &super->close_grace, VF_LISTENING_SETTLE_MS);
    for (struct vf_child *child = super->children; child != NULL; child = child->next)
        let_go(super, child);
}
