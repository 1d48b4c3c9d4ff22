#include "control/metering.h"

#include "base/log.h"

enum { SYNC_INTERVAL_MS = 1000 };

/* Says it once, and once when it works again. */
static void report(struct vf_metering *metering, int rc)
{
    if (rc < 0 && !metering->has_failed)
        vf_log_error(NULL, "usage.sync_failed", "reason=%s", uv_strerror(rc));
    else if (rc >= 0 && metering->has_failed)
        vf_log_info(NULL, "usage.sync_works", "");
    metering->has_failed = rc < 0;
}

static void on_synced(uv_fs_t *request)
{
    struct vf_metering *metering = request->data;
    metering->is_syncing = false;
    report(metering, (int)request->result);
    uv_fs_req_cleanup(request);
}

static void on_interval(uv_timer_t *timer)
{
    struct vf_metering *metering = timer->data;
    if (metering->is_syncing)
        return;
    metering->sync.data = metering;
    metering->is_syncing =
        uv_fs_fdatasync(timer->loop, &metering->sync, metering->fd, on_synced) == 0;
}

void vf_metering_start(struct vf_metering *metering, uv_loop_t *loop, int fd)
{
    if (metering->is_started)
        return;
    metering->is_started = true;
    metering->fd = fd;
    metering->timer.data = metering;
    uv_timer_init(loop, &metering->timer);
    uv_timer_start(&metering->timer, on_interval, SYNC_INTERVAL_MS, SYNC_INTERVAL_MS);
}

void vf_metering_stop(struct vf_metering *metering)
{
    if (!metering->is_started)
        return;
    metering->is_started = false;
    uv_close((uv_handle_t *)&metering->timer, NULL);
}
