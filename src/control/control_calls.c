/* What Lua calls in the control process. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/control.h"
#include "control/control_core.h"
#include "lua/database/database.h"
#include "lua/redis_client.h"
#include "snapshot/table/stage.h"

enum { WATCH_INTERVAL_MS = 500 };

static void on_answers(void *owner)
{
    (void)owner;
    vf_control_call_store("veloflux.store.database", "ready");
}

static void on_redis_events(void *owner)
{
    (void)owner;
    vf_control_call_store("veloflux.store.redis.wire", "ready");
}

const struct vf_database_host *vf_control_database_host(void)
{
    static const struct vf_database_host host = {.loop = &vf_control.loop, .on_ready = on_answers};
    return &host;
}

const struct vf_redis_host *vf_control_redis_host(void)
{
    static const struct vf_redis_host host = {.loop = &vf_control.loop,
                                              .on_ready = on_redis_events};
    return &host;
}

static void forget_offered(void)
{
    if (vf_control.offered > 0)
        close(vf_control.offered);
    vf_control.offered = 0;
}

bool vf_control_has_offered(int fd)
{
    struct stat own, other;
    bool is_same = vf_control.offered > 0 && fstat(vf_control.offered, &own) == 0 &&
                   fstat(fd, &other) == 0 && own.st_dev == other.st_dev &&
                   own.st_ino == other.st_ino;
    forget_offered();
    return is_same;
}

void vf_control_offer(uint64_t version, int fd)
{
    struct vf_link_message message;
    vf_link_message_init(&message, VF_LINK_OFFER);
    message.args[0] = version;
    vf_link_message_fd(&message, fd);
    vf_follower_send(&vf_control.follower, &message);
    forget_offered();
    vf_control.offered = fd;
}

void vf_control_offer_table(uint32_t kind, uint64_t sequence, int generation_fd, int delta_fd)
{
    struct vf_link_message message;
    vf_link_message_init(&message, VF_LINK_OFFER_TABLE);
    message.args[0] = kind;
    message.args[1] = sequence;
    vf_link_message_fd(&message, generation_fd);
    vf_link_message_fd(&message, delta_fd);
    vf_follower_send(&vf_control.follower, &message);
}

int vf_control_set_log(const char *text)
{
    struct vf_link_message message;
    int rc = vf_log_override(text);
    if (rc < 0 || vf_control.lua == NULL) /* without a house, in the plugin kit, that is all */
        return rc;
    vf_link_message_init(&message, VF_LINK_SET_LOG);
    vf_link_message_text(&message, text);
    vf_follower_send(&vf_control.follower, &message);
    return 0;
}

int vf_control_parse(double token, const char *data, size_t len)
{
    return vf_offload_parse(&vf_control.offload, token, data, len);
}

int vf_control_replace(double token, const char *path, const char *data, size_t len, uint32_t mode)
{
    return vf_offload_replace(&vf_control.offload, token, path, data, len, mode);
}

int vf_control_finish(double token, struct vf_snapb *builder, uint64_t version)
{
    return vf_offload_finish(&vf_control.offload, token, builder, version);
}

void vf_control_free_snapshot(struct vf_snapb *builder)
{
    vf_offload_free(&vf_control.offload, builder);
}

void vf_control_trim(void)
{
    vf_offload_trim(&vf_control.offload);
}

int vf_control_turns(struct vf_turn_figures *out)
{
    if (!vf_control.turns.is_open)
        return 0;
    *out = vf_control.turns.figures;
    return 1;
}

void vf_control_alarm(uint64_t delay_ms)
{
    vf_alarm_set(&vf_control.alarm, delay_ms);
}

void vf_control_stop_node(void)
{
    if (vf_control.lua != NULL)
        vf_follower_tell(&vf_control.follower, VF_LINK_STOP, 0);
}

int vf_control_publish_stage(struct vf_stage *stage)
{
    return vf_stage_publish(stage, vf_control_offer_table);
}

void vf_control_commit(uint64_t version)
{
    vf_follower_tell(&vf_control.follower, VF_LINK_COMMIT, version);
}

void vf_control_reloading(int is_reloading)
{
    struct vf_link_message message;
    if (is_reloading)
        vf_control.reload_begun = vf_control.reload_heard;
    vf_link_message_init(&message, VF_LINK_RELOADING);
    message.args[0] = (uint64_t)is_reloading;
    message.args[1] = vf_control.reload_begun;
    vf_follower_send(&vf_control.follower, &message);
}

uint64_t vf_control_published(void)
{
    return vf_control.follower.state->published_version;
}

void vf_control_set_config(int is_ok, const char *message)
{
    struct vf_state *state = vf_control.follower.state;
    atomic_fetch_add(&state->config_seq, 1);
    state->config_ok = (uint32_t)is_ok;
    state->config_wall_ms = vf_clock_wall_ms();
    snprintf(state->config_message, sizeof(state->config_message), "%s", message);
    atomic_fetch_add(&state->config_seq, 1);
}

void vf_control_log(const char *level, const char *event, uint64_t version, const char *message)
{
    enum vf_log_level at = level[0] == 'e'   ? VF_LOG_ERROR
                           : level[0] == 'w' ? VF_LOG_WARN
                                             : VF_LOG_INFO;
    if (version != 0)
        vf_log_at(NULL, at, event, "version=%llu message=%s", (unsigned long long)version, message);
    else
        vf_log_at(NULL, at, event, "message=%s", message);
}

int vf_control_drop(uint32_t uid, uint32_t gid)
{
    if (geteuid() != 0)
        return 0;
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return 0;
}

static void on_changed(uv_fs_poll_t *watch, int status, const uv_stat_t *before,
                       const uv_stat_t *after)
{
    (void)watch;
    (void)before;
    (void)after;
    if (status == 0) /* a file that is gone for a moment is being replaced */
        vf_control_raise("changed", 0, "");
}

int vf_control_watch(const char *path)
{
    if (vf_control.n_watches == VF_CONTROL_WATCHES)
        return UV_ENOSPC;
    uv_fs_poll_t *watch = &vf_control.watches[vf_control.n_watches];
    int rc = uv_fs_poll_init(&vf_control.loop, watch);
    if (rc < 0)
        return rc;
    vf_control.n_watches++;
    return uv_fs_poll_start(watch, on_changed, path, WATCH_INTERVAL_MS);
}
