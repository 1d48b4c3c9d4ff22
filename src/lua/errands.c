#include "lua/errands.h"

#include <stdlib.h>

#include "proxy/core.h"
#include "proxy/errand.h"

struct vf_errand_hold {
    struct vf_task_thing thing; /* first member */
    struct vf_errand *errand;   /* NULL: it has ended */
};

static void on_task_end(struct vf_task_thing *thing, struct vf_task *task, bool was_cut)
{
    struct vf_errand_hold *hold = (struct vf_errand_hold *)thing;
    (void)task;
    (void)was_cut;
    vf_errand_free(hold->errand);
    hold->errand = NULL;
}

int vf_errands_begin(struct vf_task *task, const struct vf_errand_wish *wish,
                     struct vf_errand_hold **out)
{
    struct vf_proxy *proxy = vf_task_tasks(task)->proxy;
    struct vf_errand_hold *hold = calloc(1, sizeof(*hold));
    if (hold == NULL)
        return UV_ENOMEM;
    int rc = proxy == NULL ? UV_ENOTSUP
                           : vf_errand_new(proxy, wish, vf_task_exchange(task), &hold->errand);
    if (rc < 0) {
        free(hold);
        return rc;
    }
    hold->thing.on_task_end = on_task_end;
    vf_task_own(task, &hold->thing);
    *out = hold;
    return 0;
}

struct vf_errand *vf_errands_get(const struct vf_errand_hold *hold)
{
    return hold->errand;
}

void vf_errands_end(struct vf_errand_hold *hold)
{
    if (hold->errand == NULL)
        return;
    vf_task_disown(&hold->thing);
    vf_errand_free(hold->errand);
    hold->errand = NULL;
}

void vf_errands_drop(struct vf_errand_hold *hold)
{
    vf_errands_end(hold);
    free(hold);
}

struct vf_upstreams *vf_errands_upstreams(struct vf_task *task)
{
    struct vf_proxy *proxy = vf_task_tasks(task)->proxy;
    return proxy != NULL ? proxy->upstreams : NULL;
}
