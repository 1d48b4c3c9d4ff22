#include "lua/hold.h"

#include <stdlib.h>

#include "net/socket.h"
#include "net/udp.h"

struct vf_hold {
    struct vf_task_thing thing; /* first member */
    struct vf_socket *socket;   /* this or that, the other is NULL */
    struct vf_udp *udp;
    uint32_t plugin; /* that has to close it: state slot + 1; 0: none, core code closes it */
    bool is_owned;   /* by a task */
};

static bool is_open(const struct vf_hold *hold)
{
    return hold->socket != NULL ? vf_socket_is_open(hold->socket) : vf_udp_is_open(hold->udp);
}

static void on_task_end(struct vf_task_thing *thing, struct vf_task *task, bool was_cut)
{
    struct vf_hold *hold = (struct vf_hold *)thing;
    struct vf_tasks *tasks = vf_task_tasks(task);
    hold->is_owned = false;
    if (hold->plugin != 0 && !was_cut && is_open(hold) && tasks->on_left_open != NULL)
        tasks->on_left_open(tasks, hold->plugin - 1);
    if (hold->socket != NULL)
        vf_socket_close(hold->socket);
    else
        vf_udp_close(hold->udp);
}

static struct vf_hold *make(struct vf_task *task, bool is_plugins)
{
    struct vf_hold *hold = calloc(1, sizeof(*hold));
    if (hold == NULL)
        return NULL;
    hold->thing.on_task_end = on_task_end;
    vf_hold_take(hold, task, is_plugins);
    return hold;
}

struct vf_hold *vf_hold_socket(struct vf_task *task, struct vf_socket *socket, bool is_plugins)
{
    struct vf_hold *hold = make(task, is_plugins);
    if (hold == NULL)
        vf_socket_free(socket);
    else
        hold->socket = socket;
    return hold;
}

struct vf_hold *vf_hold_udp(struct vf_task *task, struct vf_udp *udp, bool is_plugins)
{
    struct vf_hold *hold = make(task, is_plugins);
    if (hold == NULL)
        vf_udp_free(udp);
    else
        hold->udp = udp;
    return hold;
}

void vf_hold_take(struct vf_hold *hold, struct vf_task *task, bool is_plugins)
{
    vf_hold_give(hold);
    hold->plugin = is_plugins ? vf_task_tasks(task)->run.plugin : 0;
    hold->is_owned = true;
    vf_task_own(task, &hold->thing);
}

void vf_hold_give(struct vf_hold *hold)
{
    if (hold->is_owned)
        vf_task_disown(&hold->thing);
    hold->is_owned = false;
}

struct vf_socket *vf_hold_release(struct vf_hold *hold)
{
    struct vf_socket *socket = hold->socket;
    vf_hold_give(hold);
    free(hold);
    return socket;
}

void vf_hold_free(struct vf_hold *hold)
{
    vf_hold_give(hold);
    if (hold->socket != NULL)
        vf_socket_free(hold->socket);
    else
        vf_udp_free(hold->udp);
    free(hold);
}

void vf_hold_lost(struct vf_hold *hold)
{
    struct vf_task *task = hold->thing.task;
    if (hold->is_owned) {
        vf_task_disown(&hold->thing);
        hold->thing.on_task_end(&hold->thing, task, false);
    }
    vf_hold_free(hold);
}
