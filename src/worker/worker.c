#include "worker/worker.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lua/plugins.h"
#include "proxy/proxy.h"
#include "snapshot/follower.h"
#include "snapshot/snapshot.h"

enum {
    /* That one worker holds: its own and those lent to it. The first of 64 that is ready gets them
     * all, one for each of them of every port. */
    SOCKETS = 64 * 72,
    NAME_BYTES = 65 /* of a listener: the schema allows 64 */
};

/* A listening socket as the supervisor knows it. */
struct held {
    uint64_t id;
    int fd;
    char listener[NAME_BYTES];
    bool is_open; /* accepted from */
};

struct worker {
    uv_loop_t loop;
    struct vf_follower follower;
    struct vf_proxy *proxy;
    struct vf_plugins *plugins;
    struct held sockets[SOCKETS];
    size_t n_sockets;
    bool is_published;
    bool is_draining;
    int usage_rc; /* why there is no row of usage counters for us: nothing would be metered */
};

/* Buffers of blocked connections come and go: memory is not given back to the kernel each time. */
static void tune_malloc(void)
{
    mallopt(M_TRIM_THRESHOLD, 8 * 1024 * 1024);
    mallopt(M_MMAP_THRESHOLD, 4 * 1024 * 1024);
}

static void remove_socket(struct worker *worker, size_t index)
{
    worker->sockets[index] = worker->sockets[--worker->n_sockets];
}

static void open_socket(struct worker *worker, size_t index)
{
    struct held *socket = &worker->sockets[index];
    int rc = vf_proxy_listen(worker->proxy, vf_str_from(socket->listener), socket->fd);
    if (rc < 0) {
        vf_log_error(NULL, "listener.failed", "name=%s err=%s", socket->listener, uv_err_name(rc));
        remove_socket(worker, index);
        return;
    }
    socket->is_open = true;
}

static void on_listen(struct worker *worker, struct vf_link_message *message)
{
    if (worker->n_sockets == SOCKETS || worker->is_draining) {
        vf_follower_tell(&worker->follower, VF_LINK_UNLISTENED, message->args[0]);
        return; /* the descriptor is closed with the message */
    }
    struct held *socket = &worker->sockets[worker->n_sockets++];
    *socket = (struct held){.id = message->args[0], .fd = vf_link_take_fd(message, 0)};
    snprintf(socket->listener, sizeof(socket->listener), "%.64s", message->text);
    if (worker->is_published)
        open_socket(worker, worker->n_sockets - 1);
}

static void on_unlisten(struct worker *worker, const struct vf_link_message *message)
{
    for (size_t i = 0; i < worker->n_sockets; i++) {
        struct held *socket = &worker->sockets[i];
        if (socket->id != message->args[0])
            continue;
        if (socket->is_open)
            vf_proxy_unlisten(worker->proxy, socket->fd, message->args[1] != 0);
        else
            close(socket->fd);
        remove_socket(worker, i);
        break;
    }
    vf_follower_tell(&worker->follower, VF_LINK_UNLISTENED, message->args[0]);
}

/* Nobody is served any more, and plugins have shipped what they held. */
static void on_shipped(void *owner)
{
    struct worker *worker = owner;
    vf_plugins_stop(worker->plugins);
    vf_proxy_free(worker->proxy);
    vf_plugins_free(worker->plugins);
    worker->proxy = NULL;
    worker->plugins = NULL;
    vf_follower_close(&worker->follower, NULL);
}

static void on_drained(void *owner)
{
    struct worker *worker = owner;
    if (worker->plugins != NULL)
        vf_plugins_finish(worker->plugins, on_shipped, worker);
    else
        on_shipped(worker);
}

static void drain(struct worker *worker)
{
    if (worker->is_draining)
        return;
    worker->is_draining = true;
    worker->follower.state->blocks[worker->follower.block].process.draining = 1;
    for (size_t i = 0; i < worker->n_sockets; i++)
        if (!worker->sockets[i].is_open)
            close(worker->sockets[i].fd);
    worker->n_sockets = 0;
    vf_plugins_drain(worker->plugins);
    if (worker->is_published)
        vf_proxy_drain(worker->proxy, on_drained, worker);
    else
        on_drained(worker);
}

static void on_usage(struct worker *worker)
{
    worker->usage_rc = vf_usage_take_row(&worker->follower.usage);
    if (worker->usage_rc < 0)
        vf_log_error(NULL, "usage.failed", "err=%s", uv_err_name(worker->usage_rc));
    else if (worker->proxy != NULL)
        vf_proxy_meter(worker->proxy, &worker->follower.usage);
}

/* Lua begins with the first snapshot that has plugins. */
static int prepare_plugins(struct worker *worker, struct vf_snapshot *snapshot)
{
    struct vf_follower *follower = &worker->follower;
    if (worker->plugins == NULL && vf_snap_count(snapshot, VF_SNAP_PLUGINS) == 0)
        return 0;
    if (worker->plugins == NULL) {
        int rc = vf_plugins_new(&worker->loop, worker->proxy, follower->state, follower->block,
                                &worker->plugins);
        if (rc < 0)
            return rc;
    }
    return vf_plugins_prepare(worker->plugins, snapshot, follower->fault, sizeof(follower->fault));
}

static int on_prepare(void *owner, struct vf_snapshot *snapshot)
{
    struct worker *worker = owner;
    if (worker->usage_rc < 0)
        return worker->usage_rc;
    if (worker->proxy == NULL)
        return 0;
    int rc = vf_proxy_prepare(worker->proxy, snapshot);
    return rc < 0 ? rc : prepare_plugins(worker, snapshot);
}

static void on_publish(void *owner, struct vf_snapshot *snapshot)
{
    struct worker *worker = owner;
    if (worker->proxy == NULL)
        return;
    if (worker->plugins != NULL)
        vf_plugins_publish(worker->plugins, snapshot);
    vf_proxy_publish(worker->proxy, snapshot);
    worker->is_published = true;
    for (size_t i = worker->n_sockets; i-- > 0;)
        if (!worker->sockets[i].is_open)
            open_socket(worker, i);
}

static void on_message(void *owner, struct vf_link_message *message)
{
    struct worker *worker = owner;
    switch (message->type) {
    case VF_LINK_LISTEN:
        on_listen(worker, message);
        break;
    case VF_LINK_UNLISTEN:
        on_unlisten(worker, message);
        break;
    case VF_LINK_DRAIN:
        drain(worker);
        break;
    case VF_LINK_USAGE:
        on_usage(worker);
        break;
    case VF_LINK_REOPEN:
        if (worker->proxy != NULL)
            vf_proxy_reopen_logs(worker->proxy);
        break;
    default: /* of a newer supervisor */
        break;
    }
}

static void on_orphaned(void *owner)
{
    drain(owner);
}

int vf_worker_main(void)
{
    static struct worker worker;
    const struct vf_follower_handlers handlers = {.owner = &worker,
                                                  .on_prepare = on_prepare,
                                                  .on_publish = on_publish,
                                                  .on_message = on_message,
                                                  .on_orphaned = on_orphaned};
    tune_malloc();
    int rc = uv_loop_init(&worker.loop);
    if (rc < 0)
        return 1;
    if ((rc = vf_follower_open(&worker.follower, &worker.loop, "worker-%u")) < 0 ||
        (rc = vf_proxy_new(&worker.loop, worker.follower.state, worker.follower.block, NULL,
                           &worker.proxy)) < 0 ||
        (rc = vf_follower_start(&worker.follower, &handlers)) < 0) {
        vf_log_error(NULL, "worker.failed", "err=%s", uv_err_name(rc));
        return 1;
    }
    uv_run(&worker.loop, UV_RUN_DEFAULT);
    uv_loop_close(&worker.loop);
    return 0;
}
