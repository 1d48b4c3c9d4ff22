#include "checker/process.h"

#include "checker/checker.h"
#include "snapshot/follower.h"

struct process {
    uv_loop_t loop;
    struct vf_follower follower;
    struct vf_checker *checker; /* NULL: ended */
};

static void end(struct process *process)
{
    if (process->checker == NULL)
        return;
    vf_checker_free(process->checker);
    process->checker = NULL;
    vf_follower_close(&process->follower, NULL);
}

static void on_publish(void *owner, struct vf_snapshot *snapshot)
{
    struct process *process = owner;
    if (process->checker != NULL)
        vf_checker_publish(process->checker, snapshot);
}

static void on_message(void *owner, struct vf_link_message *message)
{
    if (message->type == VF_LINK_DRAIN)
        end(owner);
}

static void on_orphaned(void *owner)
{
    end(owner);
}

int vf_checker_main(void)
{
    static struct process process;
    const struct vf_follower_handlers handlers = {.owner = &process,
                                                  .on_publish = on_publish,
                                                  .on_message = on_message,
                                                  .on_orphaned = on_orphaned};
    int rc = uv_loop_init(&process.loop);
    if (rc < 0)
        return 1;
    if ((rc = vf_follower_open(&process.follower, &process.loop, "checker")) < 0 ||
        (rc = vf_checker_new(&process.loop, process.follower.state, process.follower.block,
                             &process.checker)) < 0 ||
        (rc = vf_follower_start(&process.follower, &handlers)) < 0) {
        vf_log_error(NULL, "checker.failed", "err=%s", uv_err_name(rc));
        return 1;
    }
    uv_run(&process.loop, UV_RUN_DEFAULT);
    uv_loop_close(&process.loop);
    return 0;
}
