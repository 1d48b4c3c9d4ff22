/* control/metering.h - brings what tenants have used to the disk, once a second.
 * The counters are in a mapped file (snapshot/usage.h); workers only store to memory, and the
 * kernel writes that back when it likes. The sync bounds what a power cut can lose. It runs on a
 * thread of libuv's pool, so a slow disk delays nothing but the next sync. */
#ifndef VF_CONTROL_METERING_H
#define VF_CONTROL_METERING_H

#include <stdbool.h>
#include <uv.h>

struct vf_metering { /* the caller's memory, zeroed; stays until the loop has ended */
    uv_timer_t timer;
    uv_fs_t sync;
    int fd;
    bool is_started, is_syncing, has_failed;
};

/* Syncs the file behind `fd`, which outlives the loop, once a second. Repeatable. */
void vf_metering_start(struct vf_metering *metering, uv_loop_t *loop, int fd);

/* No further sync. Repeatable, also before the start. */
void vf_metering_stop(struct vf_metering *metering);

#endif
