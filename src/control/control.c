#include "control/control.h"

#include <errno.h>
#include <grp.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/admin.h"
#include "control/alarm.h"
#include "control/channels.h"
#include "control/metering.h"
#include "control/offload.h"
#include "control/plugins.h"
#include "control/turns.h"
#include "control/upkeep.h"
#include "lua/database.h"
#include "lua/redis_client.h"
#include "lua/state.h"
#include "snapshot/follower.h"
#include "snapshot/snapshot.h"
#include "snapshot/table_stage.h"

enum {
    SOCKETS = 256,
    NAME_BYTES = 136, /* of a listener: the schema allows 128 */
    WATCHES = 512,
    WATCH_INTERVAL_MS = 500
};

/* A listening socket of the admin address or the command line. */
struct held {
    uint64_t id;
    int fd;
    char name[NAME_BYTES];
    bool is_open;
};

static struct control {
    uv_loop_t loop;
    struct vf_follower follower;
    lua_State *lua;
    struct vf_admin *admin;
    struct vf_channels *channels;
    struct vf_control_plugins plugins;
    struct vf_metering metering;
    struct vf_upkeep upkeep;
    struct vf_alarm alarm;
    struct vf_turns turns;
    struct vf_offload offload;
    struct held sockets[SOCKETS];
    size_t n_sockets;
    uv_fs_poll_t watches[WATCHES];
    size_t n_watches;
    uint64_t reload_heard, reload_begun; /* numbers of the supervisor's requests */
    bool is_published;
    bool is_ending;
    int exit_code;
} control;

/* Lua */

static int with_traceback(lua_State *lua)
{
    luaL_traceback(lua, lua, lua_tostring(lua, 1), 1);
    return 1;
}

/* Calls veloflux.control.on_event(name, number, text). A fault there is logged and survived. */
static void raise_event(const char *name, uint64_t number, const char *text)
{
    lua_State *lua = control.lua;
    lua_pushcfunction(lua, with_traceback);
    lua_getglobal(lua, "require");
    lua_pushliteral(lua, "veloflux.control");
    lua_call(lua, 1, 1);
    lua_getfield(lua, -1, "on_event");
    lua_remove(lua, -2);
    lua_pushstring(lua, name);
    lua_pushnumber(lua, (lua_Number)number);
    lua_pushstring(lua, text);
    if (lua_pcall(lua, 3, 0, 1) != 0)
        vf_log_error(NULL, "control.fault", "event=%s error=%s", name, lua_tostring(lua, -1));
    lua_settop(lua, 0);
}

/* Calls a function of a store's module without arguments. A fault there is logged. */
static void call_store(const char *module, const char *name)
{
    if (vf_lua_call(control.lua, module, name, 0, NULL) != 0)
        vf_log_error(NULL, "control.fault", "event=%s error=%s", name,
                     lua_tostring(control.lua, -1));
    lua_settop(control.lua, 0);
}

static void on_answers(void *owner)
{
    (void)owner;
    call_store("veloflux.store.database", "ready");
}

static void on_redis_events(void *owner)
{
    (void)owner;
    call_store("veloflux.store.redis.wire", "ready");
}

/* What Lua calls */

const struct vf_database_host *vf_control_database_host(void)
{
    static const struct vf_database_host host = {.loop = &control.loop, .on_ready = on_answers};
    return &host;
}

const struct vf_redis_host *vf_control_redis_host(void)
{
    static const struct vf_redis_host host = {.loop = &control.loop, .on_ready = on_redis_events};
    return &host;
}

void vf_control_offer(uint64_t version, int fd)
{
    struct vf_link_message message;
    vf_link_message_init(&message, VF_LINK_OFFER);
    message.args[0] = version;
    vf_link_message_fd(&message, fd);
    vf_follower_send(&control.follower, &message);
    close(fd);
}

void vf_control_offer_table(uint32_t kind, uint64_t sequence, int generation_fd, int delta_fd)
{
    struct vf_link_message message;
    vf_link_message_init(&message, VF_LINK_OFFER_TABLE);
    message.args[0] = kind;
    message.args[1] = sequence;
    vf_link_message_fd(&message, generation_fd);
    vf_link_message_fd(&message, delta_fd);
    vf_follower_send(&control.follower, &message);
}

int vf_control_set_log(const char *text)
{
    struct vf_link_message message;
    int rc = vf_log_override(text);
    if (rc < 0 || control.lua == NULL) /* without a house, in the plugin kit, that is all */
        return rc;
    vf_link_message_init(&message, VF_LINK_SET_LOG);
    vf_link_message_text(&message, text);
    vf_follower_send(&control.follower, &message);
    return 0;
}

int vf_control_parse(double token, const char *data, size_t len)
{
    return vf_offload_parse(&control.offload, token, data, len);
}

int vf_control_replace(double token, const char *path, const char *data, size_t len, uint32_t mode)
{
    return vf_offload_replace(&control.offload, token, path, data, len, mode);
}

int vf_control_turns(struct vf_turn_figures *out)
{
    if (!control.turns.is_open)
        return 0;
    *out = control.turns.figures;
    return 1;
}

void vf_control_alarm(uint64_t delay_ms)
{
    vf_alarm_set(&control.alarm, delay_ms);
}

void vf_control_stop_node(void)
{
    if (control.lua != NULL)
        vf_follower_tell(&control.follower, VF_LINK_STOP, 0);
}

int vf_control_publish_stage(struct vf_stage *stage)
{
    return vf_stage_publish(stage, vf_control_offer_table);
}

int vf_control_change_table(uint32_t kind, const char *key, size_t key_len, const char *value,
                            size_t value_len)
{
    struct vf_str text = vf_str_make(value, value_len);
    return vf_table_change(kind, vf_str_make(key, key_len), value != NULL ? &text : NULL,
                           vf_control_offer_table);
}

void vf_control_commit(uint64_t version)
{
    vf_follower_tell(&control.follower, VF_LINK_COMMIT, version);
}

void vf_control_reloading(int is_reloading)
{
    struct vf_link_message message;
    if (is_reloading)
        control.reload_begun = control.reload_heard;
    vf_link_message_init(&message, VF_LINK_RELOADING);
    message.args[0] = (uint64_t)is_reloading;
    message.args[1] = control.reload_begun;
    vf_follower_send(&control.follower, &message);
}

uint64_t vf_control_published(void)
{
    return control.follower.state->published_version;
}

void vf_control_set_config(int is_ok, const char *message)
{
    struct vf_state *state = control.follower.state;
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
        raise_event("changed", 0, "");
}

int vf_control_watch(const char *path)
{
    if (control.n_watches == WATCHES)
        return UV_ENOSPC;
    uv_fs_poll_t *watch = &control.watches[control.n_watches];
    int rc = uv_fs_poll_init(&control.loop, watch);
    if (rc < 0)
        return rc;
    control.n_watches++;
    return uv_fs_poll_start(watch, on_changed, path, WATCH_INTERVAL_MS);
}

/* Sockets */

static void open_socket(struct held *socket)
{
    int rc = vf_admin_listen(control.admin, socket->name, socket->fd);
    if (rc < 0)
        vf_log_error(NULL, "listener.failed", "name=%s err=%s", socket->name, uv_err_name(rc));
    socket->is_open = true; /* or closed by vf_admin_listen: not ours any more */
}

static void on_listen(struct vf_link_message *message)
{
    if (control.n_sockets == SOCKETS || control.is_ending) {
        vf_follower_tell(&control.follower, VF_LINK_UNLISTENED, message->args[0]);
        return;
    }
    struct held *socket = &control.sockets[control.n_sockets++];
    *socket = (struct held){.id = message->args[0], .fd = vf_link_take_fd(message, 0)};
    snprintf(socket->name, sizeof(socket->name), "%.*s", NAME_BYTES - 1, message->text);
    if (control.is_published)
        open_socket(socket);
}

static void on_unlisten(const struct vf_link_message *message)
{
    for (size_t i = 0; i < control.n_sockets; i++) {
        struct held *socket = &control.sockets[i];
        if (socket->id != message->args[0])
            continue;
        if (socket->is_open)
            vf_admin_unlisten(control.admin, socket->fd, message->args[1] != 0);
        else
            close(socket->fd);
        *socket = control.sockets[--control.n_sockets];
        break;
    }
    vf_follower_tell(&control.follower, VF_LINK_UNLISTENED, message->args[0]);
}

/* Life */

static void on_drained(void *owner)
{
    (void)owner;
    vf_control_plugins_stop(&control.plugins);
    vf_admin_free(control.admin);
    control.admin = NULL;
    vf_control_plugins_deinit(&control.plugins);
    call_store("veloflux.store.database", "shutdown");
    call_store("veloflux.store.redis.wire", "shutdown");
    for (size_t i = 0; i < control.n_watches; i++)
        uv_close((uv_handle_t *)&control.watches[i], NULL);
    vf_metering_stop(&control.metering);
    vf_upkeep_stop(&control.upkeep);
    vf_alarm_close(&control.alarm);
    vf_turns_close(&control.turns);
    vf_follower_close(&control.follower, NULL);
}

static void end(void)
{
    if (control.is_ending)
        return;
    control.is_ending = true;
    for (size_t i = 0; i < control.n_sockets; i++)
        if (!control.sockets[i].is_open)
            close(control.sockets[i].fd);
    control.n_sockets = 0;
    vf_admin_drain(control.admin, on_drained, NULL);
}

/* The same, with a last word for Lua: it may hold what others wait for. */
static void end_in_order(void)
{
    if (!control.is_ending)
        raise_event("ending", 0, "");
    end();
}

void vf_control_give_up(void)
{
    control.exit_code = 1;
    end();
}

static void on_publish(void *owner, struct vf_snapshot *snapshot)
{
    (void)owner;
    if (control.is_ending)
        return;
    raise_event("published", snapshot->version, "");
    vf_control_plugins_publish(&control.plugins, snapshot);
    vf_admin_publish(control.admin, snapshot,
                     control.follower.usage.map != NULL ? &control.follower.usage : NULL);
    control.is_published = true;
    for (size_t i = 0; i < control.n_sockets; i++)
        if (!control.sockets[i].is_open)
            open_socket(&control.sockets[i]);
}

static void on_message(void *owner, struct vf_link_message *message)
{
    (void)owner;
    switch (message->type) {
    case VF_LINK_LISTEN:
        on_listen(message);
        break;
    case VF_LINK_UNLISTEN:
        on_unlisten(message);
        break;
    case VF_LINK_DRAIN:
        end_in_order();
        break;
    case VF_LINK_USAGE:
        if (!control.is_ending)
            vf_metering_start(&control.metering, &control.loop, control.follower.usage.fd);
        break;
    case VF_LINK_RELOAD:
        control.reload_heard = message->args[0];
        raise_event("reload", 0, "");
        break;
    case VF_LINK_PREPARED:
        raise_event("prepared", message->args[0], "");
        break;
    case VF_LINK_REFUSED:
        raise_event("refused", message->args[0], message->text);
        break;
    case VF_LINK_LIVE:
        raise_event("live", message->args[1], "");
        break;
    default: /* of a newer supervisor */
        break;
    }
}

static void on_orphaned(void *owner)
{
    (void)owner;
    end_in_order();
}

/* The conf that `veloflux proxy` made, or NULL. */
static char *read_conf_text(int fd)
{
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0)
        return NULL;
    char *text = calloc(1, (size_t)info.st_size + 1);
    if (text != NULL && pread(fd, text, (size_t)info.st_size, 0) != info.st_size) {
        free(text);
        return NULL;
    }
    return text;
}

/* Pushes {mode, conf, text, watch, state, published}. */
static void push_context(lua_State *lua, const char *text)
{
    static const char *const modes[] = {
        [VF_LINK_FRESH] = "fresh", [VF_LINK_RESUME] = "resume", [VF_LINK_RECOMPILE] = "recompile"};
    const struct vf_follower *follower = &control.follower;
    lua_createtable(lua, 0, 6);
    lua_pushstring(lua, modes[follower->mode]);
    lua_setfield(lua, -2, "mode");
    lua_pushstring(lua, follower->conf);
    lua_setfield(lua, -2, "conf");
    lua_pushstring(lua, text); /* NULL: nil */
    lua_setfield(lua, -2, "text");
    lua_pushboolean(lua, follower->watches_conf);
    lua_setfield(lua, -2, "watch");
    lua_pushlightuserdata(lua, follower->state);
    lua_setfield(lua, -2, "state");
    lua_pushnumber(lua, (lua_Number)follower->state->published_version);
    lua_setfield(lua, -2, "published");
}

/* Calls veloflux.control.start{...}. Returns true when control shall run. */
static bool start_lua(void)
{
    lua_State *lua = control.lua;
    char *text = read_conf_text(control.follower.conf_fd);
    lua_pushcfunction(lua, with_traceback);
    lua_getglobal(lua, "require");
    lua_pushliteral(lua, "veloflux.control");
    int failed = lua_pcall(lua, 1, 1, 1);
    if (!failed) {
        lua_getfield(lua, -1, "start");
        push_context(lua, text);
        failed = lua_pcall(lua, 1, 1, 1);
    }
    free(text);
    if (failed)
        vf_log_error(NULL, "control.failed", "error=%s", lua_tostring(lua, -1));
    bool runs = !failed && lua_toboolean(lua, -1);
    lua_settop(lua, 0);
    return runs;
}

int vf_control_probe(const char *conf, int conf_fd)
{
    lua_State *lua = NULL;
    char *text = read_conf_text(conf_fd);
    const char *args[] = {conf, text};
    int exit_code = 1;
    if (vf_lua_new(&lua) == 0) {
        if (vf_lua_call(lua, "veloflux.control", "probe", text != NULL ? 2 : 1, args) == 0)
            exit_code = lua_toboolean(lua, -1) ? 0 : 1;
        else
            fprintf(stderr, "%s\n", lua_tostring(lua, -1));
        lua_close(lua);
    }
    free(text);
    return exit_code;
}

int vf_control_main(void)
{
    const struct vf_follower_handlers handlers = {
        .on_publish = on_publish, .on_message = on_message, .on_orphaned = on_orphaned};
    int rc = uv_loop_init(&control.loop);
    if (rc < 0)
        return 1;
    if ((rc = vf_follower_open(&control.follower, &control.loop, "control")) < 0 ||
        (rc = vf_lua_new(&control.lua)) < 0 ||
        (rc = vf_control_plugins_init(&control.plugins, control.lua, &control.loop)) < 0 ||
        (rc = vf_admin_new(&control.loop, control.follower.state, control.follower.block,
                           &control.plugins.tasks, &control.admin)) < 0 ||
        (rc = vf_control_plugins_open(&control.plugins, vf_admin_proxy(control.admin),
                                      control.follower.state, control.follower.block)) < 0 ||
        (rc = vf_follower_start(&control.follower, &handlers)) < 0) {
        vf_log_error(NULL, "control.failed", "err=%s", uv_err_name(rc));
        return 1;
    }
    control.channels = vf_admin_channels(control.admin);
    vf_upkeep_start(&control.upkeep, &control.loop, control.follower.state);
    vf_alarm_open(&control.alarm, &control.loop, control.lua);
    vf_turns_open(&control.turns, &control.loop);
    vf_offload_open(&control.offload, &control.loop, control.lua);
    if (!start_lua()) {
        control.exit_code = 1;
        end();
    }
    uv_run(&control.loop, UV_RUN_DEFAULT);
    vf_channels_free(control.channels);
    uv_loop_close(&control.loop);
    lua_close(control.lua);
    return control.exit_code;
}
